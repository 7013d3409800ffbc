//! A plan file with its signature: read once, so that what is verified is what is applied.
//!
//! What lives here: reading both, signing, and verifying who signed. What does not: whether that is enough (`ops::rules`), planning again (`again`).

use super::{Declined, Operator, StepOutcome};
use crate::domain::journal::Signer;
use crate::files::signature::{self, beside, read_signature};
use crate::files::{FileError, LARGEST_PLAN, read_regular, who, write_atomic};
use crate::ops::plan::{Plan, from_file};
use crate::ops::rules::{another_person, four_eyes, needs_second_eyes};
use crate::settings::EnvironmentSettings;
use std::path::{Path, PathBuf};

/// A plan file.
#[derive(Debug, Clone)]
pub struct PlanFile {
    path: PathBuf,
    content: Vec<u8>,
    plan: Plan,
}

impl PlanFile {
    /// Reads a plan file.
    ///
    /// # Errors
    /// It cannot be read, or is no plan; in words.
    pub fn read(path: &Path) -> Result<Self, String> {
        let content = read_regular(path, LARGEST_PLAN).map_err(|error| error.what)?;
        let text = std::str::from_utf8(&content).map_err(|_| format!("{} is not text", path.display()))?;
        let plan = from_file(text).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self { path: path.to_owned(), content, plan })
    }

    /// The plan as the file has it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Signs the file with a key, and writes the signature next to it; its path.
    ///
    /// # Errors
    /// `ssh-keygen` does not sign, or the signature cannot be written; in words.
    pub async fn sign(&self, key: &Path) -> Result<PathBuf, String> {
        let signature = signature::sign(&self.content, key).await.map_err(|error| error.to_string())?;
        let beside = beside(&self.path);
        write_atomic(&beside, &signature).map_err(|error: FileError| error.what)?;
        Ok(beside)
    }

    /// Who signed the file, as the environment knows the keys; `None` where it has no signature, or the environment knows no keys.
    ///
    /// # Errors
    /// The signature does not count; in words that name the file and the remedy.
    async fn signer(&self, settings: &EnvironmentSettings) -> Result<Option<Signer>, String> {
        let Some(allowed) = &settings.rules.allowed_signers else { return Ok(None) };
        let file = self.path.display();
        let signature = read_signature(&self.path).map_err(|error| error.what)?;
        let Some(signature) = signature else { return Ok(None) };
        let verified = signature::verify(&self.content, &signature, allowed).await;
        verified.map(Some).map_err(|why| {
            format!(
                "the signature {} of {file} is not valid with {}: {why}. Its maker signs it again: `policydeck plan sign {file} --key KEY`.",
                beside(&self.path).display(),
                allowed.display()
            )
        })
    }
}

impl Operator {
    /// The plan that a file asks for, planned again, with who signed the file, and the steps of the file that no longer apply.
    ///
    /// # Errors
    /// See [`Operator::made_again`]; or the plan needs a second person, and nothing proves who made it.
    pub async fn of_file(&self, file: &PlanFile) -> Result<(Plan, Vec<StepOutcome>), Declined> {
        let (mut plan, left_out) = self.made_again(&file.plan).await?;
        let environment = plan.steps.first().map(|step| step.environment.clone()).unwrap_or_default();
        let settings = self.settings(&environment)?;
        let needed = needs_second_eyes(&plan, settings);
        if needed {
            // A signature would not help the maker.
            another_person(&plan, settings, &who(self.seen_as(&environment).await))?;
        }
        match file.signer(settings).await {
            Err(why) if needed => return Err(four_eyes(settings, &why).into()),
            // What makes policies block less is applied all the same.
            Err(why) => plan.warnings.push(why),
            Ok(None) if needed && settings.rules.allowed_signers.is_some() => {
                let (path, beside) = (file.path.display(), beside(&file.path));
                let why = format!(
                    "{path} is not signed (there is no {}). Its maker signs it: `policydeck plan sign {path} --key KEY`.",
                    beside.display()
                );
                return Err(four_eyes(settings, &why).into());
            }
            Ok(signer) => plan.signer = signer,
        }
        Ok((plan, left_out))
    }
}
