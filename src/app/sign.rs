//! Signing plan files.

use crate::cli::args::PlanCommand;
use crate::cli::{Exit, Problem};
use crate::domain::clean;
use crate::engine::operations::PlanFile;
use crate::ops::plan::Plan;
use std::io::{self, Write as _};
use std::path::Path;

/// Runs a command about a plan file.
pub(super) async fn run(command: &PlanCommand) -> Result<Exit, Problem> {
    match command {
        PlanCommand::Sign { file, key } => {
            let read = PlanFile::read(file).map_err(Problem::usage)?;
            writeln!(io::stderr(), "{}", clean(&summary(read.plan())))?;
            signed(&read, key).await?;
            Ok(Exit::Done)
        }
    }
}

/// Signs a plan file and says so.
pub(super) async fn signed(file: &PlanFile, key: &Path) -> Result<(), Problem> {
    let beside = file.sign(key).await.map_err(Problem::failed)?;
    writeln!(io::stderr(), "The signature is in {}. Pass it on together with the plan file.", beside.display())?;
    Ok(())
}

/// What is signed. The file's own diff is left out: it is made again where the plan is applied, and may say anything here.
fn summary(plan: &Plan) -> String {
    let objects: Vec<String> = plan.steps.iter().map(|step| format!("{} in {}", step.object, step.environment)).collect();
    let maker = plan.maker.as_ref().map_or_else(|| plan.made_by.clone(), ToString::to_string);
    let mut text = format!("{} {}; plan {}, made at {} by {maker}", plan.operation, objects.join(", "), plan.id, plan.made_at);
    for (label, value) in [("ticket", &plan.ticket), ("reason", &plan.reason)] {
        if let Some(value) = value {
            text = format!("{text}, {label} {value}");
        }
    }
    text
}
