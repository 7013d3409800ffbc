//! Operations from the command line: plan, preview, confirmation, execution.
//!
//! What lives here: the order of it, prompts, plan files. What does not: what a plan says (`ops`), how it is carried out (`engine::operations`), how either
//! looks (`cli::preview`, `cli::outcome`).

use super::{Loaded, failure, load, style, wiring};
use crate::cli::args::{Act, ActFlags, DryRun, Globals};
use crate::cli::document::{self, Head};
use crate::cli::settle::settle;
use crate::cli::show::choose;
use crate::cli::{Exit, Problem, gate, outcome, preview};
use crate::domain::{PolicyId, clean};
use crate::engine::HistoryReader;
use crate::engine::operations::{Declined, GitRoad, Keeping, Operator, Outcome, Request};
use crate::files::{self, Paths, archive, who};
use crate::kinds::{KindId, read_policy};
use crate::ops::plan::{ConfirmLevel, Plan, from_file, to_file};
use crate::ops::road::Road;
use crate::settings::EnvironmentSettings;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

/// Runs one operation to its end.
pub(super) async fn run(act: &Act, globals: &Globals) -> Result<Exit, Problem> {
    // Where a policy stands on its road shows only on the whole of it; -e says where to act.
    let whole = Globals { environments: Vec::new(), ..globals.clone() };
    let loaded = load::load(&whole, wiring::actions())?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "{warning}")?;
    }
    let paths = Paths::find().map_err(|error| Problem::failed(error.what))?;
    let keeping = Keeping { journal: paths.journal(), archives: paths.archives() };
    let engine = wiring::start_engine(&loaded, false);
    let road = Road::new(loaded.options.environments.clone());
    let me = who(None);
    let by = if me.host.is_empty() { me.to_string() } else { format!("{me}@{}", me.host) };
    let operator =
        Operator::new(engine.clone(), road, keeping, loaded.settings.acknowledge_unknown, HistoryReader::new(wiring::history_file()?), by);
    let git = GitRoad::new(paths.repositories(), act.flags().follow);
    let operator = operator.with_git(git.clone());
    let asked = Asked { act, globals, loaded: &loaded, operator: &operator, git: &git, archives: &paths.archives() };
    tokio::select! {
        result = asked.run(&engine) => result,
        () = tell(&git) => Ok(Exit::Failed),
        why = failure(&engine) => Err(Problem::failed(format!("a part of the program failed: {why}"))),
    }
}

struct Asked<'a> {
    act: &'a Act,
    globals: &'a Globals,
    loaded: &'a Loaded,
    operator: &'a Operator,
    git: &'a GitRoad,
    archives: &'a Path,
}

impl Asked<'_> {
    fn flags(&self) -> &ActFlags {
        self.act.flags()
    }

    fn environments(&self) -> &[EnvironmentSettings] {
        &self.loaded.options.environments
    }

    async fn run(&self, engine: &crate::engine::EngineHandle) -> Result<Exit, Problem> {
        let fleet = settle(engine.fleet(), self.environments().len(), self.globals.wait).await;
        let plans = if let Some(file) = &self.flags().plan {
            let text = files::read_text(file).map_err(|error| Problem::usage(error.what))?;
            vec![from_file(&text).map_err(Problem::usage)?]
        } else {
            let mut plans = Vec::new();
            for policy in self.act.policies() {
                let policy = choose(policy, &fleet, &[])?;
                plans.push(self.plan(&policy).await.map_err(|declined| decline(&declined))?);
            }
            if let Act::Unblock(_) = self.act {
                plans.push(self.operator.unblock(self.environment()?, &self.request()).await.map_err(|declined| decline(&declined))?);
            }
            plans
        };
        let mut outcomes = Vec::new();
        for plan in &plans {
            match self.settle_plan(plan).await? {
                Some(outcome) => outcomes.push(outcome),
                None => return Ok(Exit::Done),
            }
            if !outcomes.last().is_some_and(Outcome::is_done) {
                break;
            }
        }
        self.tell(&outcomes)
    }

    fn request(&self) -> Request {
        let acknowledge = if let Act::Promote(args) = self.act { args.acknowledge_unknown.clone() } else { None };
        Request { ticket: self.flags().ticket.clone(), acknowledge }
    }

    /// The one environment that -e names.
    fn environment(&self) -> Result<&str, Problem> {
        match self.globals.environments.as_slice() {
            [one] => Ok(one),
            _ if self.environments().len() == 1 => Ok(&self.environments()[0].name),
            _ => {
                let names: Vec<&str> = self.environments().iter().map(|one| one.name.as_str()).collect();
                Err(Problem::usage(format!("name one environment with -e: {}", names.join(", "))))
            }
        }
    }

    async fn plan(&self, policy: &PolicyId) -> Result<Plan, Declined> {
        let request = self.request();
        let here = || self.environment().map_err(|problem| Declined::Usage(problem.message));
        match self.act {
            Act::Promote(args) => self.operator.promote(policy, args.to.as_deref(), &request).await,
            Act::Demote(_) => self.operator.demote(policy, here()?, &request).await,
            Act::Hold(args) => self.operator.hold(policy, here()?, Some(args.reason.as_deref().unwrap_or_default()), &request).await,
            Act::Release(_) => self.operator.hold(policy, here()?, None, &request).await,
            Act::Rollback(args) => {
                let former = self.former(policy, here()?, args.archive.as_deref())?;
                self.operator.rollback(policy, here()?, &former, &request).await
            }
            Act::Unblock(_) => self.operator.unblock(here()?, &request).await,
        }
    }

    /// What the policy was: from the archive that is named, else from the newest of that environment that has it.
    fn former(&self, policy: &PolicyId, environment: &str, archive: Option<&Path>) -> Result<Value, Declined> {
        let is_it = |object: &Value| {
            let kind = KindId::of_object(object).map(KindId::kind);
            kind.is_some_and(|kind| read_policy(kind, object).is_ok_and(|read| read.id == *policy))
        };
        let folders = match archive {
            Some(folder) => vec![folder.to_owned()],
            None => archive::newest_first(self.archives).map_err(|error| Declined::Usage(error.what))?,
        };
        for folder in folders {
            let read = match archive::read_archive(&folder) {
                Ok(read) => read,
                Err(error) if archive.is_some() => return Err(Declined::Usage(error.what)),
                // One that is damaged says so when it is named.
                Err(_) => continue,
            };
            if read.manifest.environment == environment
                && let Some(object) = read.objects.into_iter().find(is_it)
            {
                return Ok(object);
            }
        }
        Err(Declined::Usage(format!("no archive has {policy} of {environment}; name one with --archive")))
    }

    /// One plan from preview to outcome; `None` where it was only written to a file.
    async fn settle_plan(&self, plan: &Plan) -> Result<Option<Outcome>, Problem> {
        let flags = self.flags();
        let rehearsed = if flags.dry_run == DryRun::Client { None } else { Some(self.operator.rehearse(plan).await) };
        write!(io::stderr(), "{}", preview::preview(plan, self.environments(), rehearsed.as_ref()))?;
        if let Some(file) = &flags.plan_out {
            let text = to_file(plan).map_err(Problem::failed)?;
            files::write_atomic(file, text.as_bytes()).map_err(|error| Problem::failed(error.what))?;
            writeln!(io::stderr(), "The plan is in {}. Somebody else can carry it out: --plan {}", file.display(), file.display())?;
            return Ok(None);
        }
        match (flags.dry_run, rehearsed) {
            (DryRun::Client, _) => return Ok(Some(Outcome { plan: plan.id.clone(), undo: None, dry_run: true, steps: Vec::new() })),
            (DryRun::Server, Some(rehearsed)) => return Ok(Some(rehearsed)),
            // What a server refuses needs no confirmation.
            (_, Some(rehearsed)) if !rehearsed.is_done() => return Ok(Some(Outcome { dry_run: false, ..rehearsed })),
            _ => {}
        }
        confirm(plan, flags)?;
        // From here on an interruption would leave open what was done: it waits until that is known.
        let carrying = self.operator.carry_out(plan);
        tokio::pin!(carrying);
        loop {
            tokio::select! {
                done = &mut carrying => return done.map(Some).map_err(|declined| decline(&declined)),
                _ = tokio::signal::ctrl_c() => {
                    self.git.stop_waiting();
                    writeln!(io::stderr(), "a write is under way; what becomes of it is being found out")?;
                }
            }
        }
    }

    fn tell(&self, outcomes: &[Outcome]) -> Result<Exit, Problem> {
        let items: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.steps).map(outcome::item).collect();
        let exit = outcome::exit(outcomes);
        let first = outcomes.first();
        let undo = first.and_then(|outcome| outcome.undo.as_ref()).map(|path| path.display().to_string());
        let head = Head::new("Outcome", Timestamp::now(), exit != Exit::Unknown)
            .with("plan", json!(first.map(|outcome| &outcome.plan)))
            .with("undo", json!(undo))
            .with("dryRun", json!(first.is_some_and(|outcome| outcome.dry_run)));
        let mut out = BufWriter::new(io::stdout());
        document::write(&mut out, style(self.globals, self.loaded, io::stdout().is_terminal()), head, (), &items)?;
        if let Some(undo) = undo {
            writeln!(io::stderr(), "What was there before is in {undo}")?;
        }
        Ok(exit)
    }
}

/// Says what is going on with git, for as long as somebody works with it; never ends.
async fn tell(git: &GitRoad) {
    let mut said = git.said();
    while said.changed().await.is_ok() {
        let what = said.borrow_and_update().clone();
        // Who has closed stderr does not want to know.
        let _ = writeln!(io::stderr(), "{}", clean(&what));
    }
    std::future::pending::<()>().await;
}

/// Why there is no plan, with the exit status that belongs to it.
fn decline(declined: &Declined) -> Problem {
    match declined {
        Declined::Gate(judged) => Problem { exit: gate::exit(judged.verdict), message: preview::closed(judged) },
        Declined::Refused(refusal) => {
            let commit = refusal.commit.as_ref().map(|commit| format!("\n{}", commit.manifest)).unwrap_or_default();
            Problem::failed(format!("{refusal}{commit}"))
        }
        Declined::Usage(why) => Problem::usage(why.clone()),
        Declined::Failed(_) => Problem::failed(declined.to_string()),
    }
}

/// Asks, unless the command line has answered already.
fn confirm(plan: &Plan, flags: &ActFlags) -> Result<(), Problem> {
    let name = match &plan.confirm {
        ConfirmLevel::Yes if flags.yes => return Ok(()),
        ConfirmLevel::Yes => None,
        ConfirmLevel::TypeName(name) if flags.confirm.as_deref() == Some(name) => return Ok(()),
        ConfirmLevel::TypeName(name) => Some(name),
    };
    let unconfirmed = |how: &str| Problem::usage(format!("nothing was done: {how}"));
    if let (Some(name), Some(typed)) = (name, &flags.confirm) {
        return Err(unconfirmed(&format!("--confirm {typed} is not the name of the environment, which is {name}")));
    }
    if !io::stdin().is_terminal() {
        let how = name.map_or_else(|| "confirm it with --yes".to_owned(), |name| format!("confirm it with --confirm {name}"));
        return Err(unconfirmed(&how));
    }
    match name {
        Some(name) => write!(io::stderr(), "Type {name} to go on: ")?,
        None => write!(io::stderr(), "Go on? [y/N] ")?,
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let agreed = match name {
        Some(name) => line.trim() == name,
        None => matches!(line.trim(), "y" | "Y" | "yes"),
    };
    if agreed { Ok(()) } else { Err(Problem { exit: Exit::Interrupted, message: "nothing was done".to_owned() }) }
}
