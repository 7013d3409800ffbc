//! Whether what the servers received was confirmed, and whether the journals explain it.

use crate::eyes::OURS;
use crate::objects::{Place, holds, mode, plural, said, strength, text, written};
use crate::repository::Pushed;
use crate::screen::Promise;
use policydeck::demo::Changed;
use serde_json::Value;
use std::path::Path;

/// The entries of a journal, in order, as they lie on the disk.
pub(crate) fn journal(folder: &Path) -> Result<Vec<Value>, String> {
    let Ok(files) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    let mut entries: Vec<Value> = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).map_err(|error| format!("{}: {error}: {line}", file.display()))?;
            if let Some(before) = entries.last()
                && (entry["prev"] != before["hash"] || entry["seq"].as_u64() != before["seq"].as_u64().map(|seq| seq + 1))
            {
                return Err(format!("the chain of the journal breaks at {line}"));
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn place_of(change: &Changed) -> Place {
    Place::of(&change.environment, &change.plural, change.after.as_ref().or(change.before.as_ref()).unwrap())
}

/// The version may be written otherwise: servers keep one.
fn bare(object: &Value) -> Value {
    let mut object = written(object);
    if let Some(all) = object.as_object_mut() {
        all.remove("apiVersion");
    }
    object
}

/// What previews begin with, on screens and in commands.
const VERBS: [&str; 8] = ["promote", "demote", "roll", "rollback", "hold", "release", "undo", "unblock"];

fn keeps(promise: &Promise, change: &Changed) -> Result<(), String> {
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    if let Some((was, becomes)) = &promise.objects {
        if was.as_ref().map(bare) != before.map(bare) {
            return Err("it was another object than the one that was shown".to_owned());
        }
        match (becomes, after) {
            (None, None) => {}
            (Some(becomes), Some(after)) if holds(&bare(after), &bare(becomes)) => {}
            _ => return Err("it became something else than what was shown".to_owned()),
        }
    }
    let fits = match promise.verb.as_str() {
        "create" => before.is_none() && after.is_some(),
        "delete" => before.is_some() && after.is_none(),
        "patch" | "replace" => before.is_some() && after.is_some(),
        _ => false,
    };
    if !fits {
        return Err(format!("a {} was shown", promise.verb));
    }
    let words = promise.shown.lines().filter_map(|line| line.split_whitespace().next().map(str::to_lowercase));
    let verb = words.into_iter().find(|word| VERBS.contains(&word.as_str()));
    match verb.as_deref() {
        Some("demote") if strength(after) > strength(before) => Err("a demotion made it refuse more".to_owned()),
        Some("hold" | "release") if before.map(said) != after.map(said) => Err("a hold changed what the policy says".to_owned()),
        Some("promote") if strength(after) < strength(before) => Err("a promotion made it refuse less".to_owned()),
        Some(_) => Ok(()),
        None => Err(format!("nothing says what was confirmed: {}", promise.shown)),
    }
}

fn told(change: &Changed) -> String {
    let object = |object: Option<&Value>| object.map_or_else(|| "nothing".to_owned(), |object| written(object).to_string());
    format!("{}\n  from {}\n  to   {}", place_of(change), object(change.before.as_ref()), object(change.after.as_ref()))
}

/// Every write was confirmed by somebody, once.
pub(crate) fn confirmed(start: usize, changes: &[Changed], promises: &mut [Promise]) -> Result<usize, String> {
    let mut writes = 0;
    for (at, change) in changes.iter().enumerate().filter(|(_, change)| change.manager == OURS) {
        let place = place_of(change);
        let mut why = Vec::new();
        let kept =
            promises.iter_mut().filter(|promise| !promise.kept && promise.at <= start + at && promise.place == place).find(|promise| {
                let fits = keeps(promise, change);
                if let Err(no) = &fits {
                    why.push(format!("{}: {no}", promise.shown.lines().next().unwrap_or_default()));
                }
                fits.is_ok()
            });
        match kept {
            Some(promise) => promise.kept = true,
            None => return Err(format!("nobody confirmed this write: {}\n  confirmed there was {why:#?}", told(change))),
        }
        writes += 1;
    }
    Ok(writes)
}

/// Every commit was confirmed by somebody, once, changes only what was shown, and stands in a journal.
pub(crate) fn pushed(commits: &[Pushed], promises: &mut [Promise], journals: &[Vec<Value>]) -> Result<(), String> {
    for commit in commits {
        let [(before, after)] = &commit.files[..] else {
            return Err(format!("a commit changes {} files: {commit:#?}", commit.files.len()));
        };
        let object = after.as_ref().or(before.as_ref()).unwrap();
        let place = Place::of("staging", &plural(text(object, "/kind")), object);
        let fits = |promise: &&mut Promise| {
            let becomes = promise.objects.as_ref().and_then(|(_, becomes)| becomes.as_ref());
            // What the repository says may be less than what the cluster has.
            let same = becomes.is_none_or(|becomes| after.as_ref().is_some_and(|after| mode(after) == mode(becomes)));
            !promise.kept && promise.verb == "commit" && promise.place == place && same
        };
        let Some(promise) = promises.iter_mut().find(fits) else {
            return Err(format!("nobody confirmed the commit {}\n{commit:#?}\n  {promises:#?}", commit.message));
        };
        promise.kept = true;
        let explains =
            |entry: &Value| entry["phase"] == "intent" && text(entry, "/plan") == commit.plan && text(entry, "/environment") == "staging";
        if !journals.iter().flatten().any(explains) {
            return Err(format!("no journal explains the commit {commit:#?}"));
        }
    }
    Ok(())
}

/// An intent, and what became of it.
struct Noted<'a> {
    intent: &'a Value,
    outcome: Option<&'a Value>,
    used: bool,
}

impl Noted<'_> {
    fn result(&self) -> &str {
        self.outcome.map_or("", |outcome| text(outcome, "/result"))
    }

    fn place(&self) -> Place {
        Place {
            environment: text(self.intent, "/environment").to_owned(),
            plural: plural(text(self.intent, "/object/kind")),
            namespace: text(self.intent, "/object/namespace").to_owned(),
            name: text(self.intent, "/object/name").to_owned(),
        }
    }

    fn explains(&self, change: &Changed) -> bool {
        let annotated = change.after.as_ref().map(|after| text(after, "/metadata/annotations/policydeck.dev~1plan"));
        let before = change.before.as_ref().map(|before| text(before, "/metadata/annotations/policydeck.dev~1plan"));
        // What a hold leaves alone names the plan of before.
        let ours = annotated.is_none_or(|plan| plan.is_empty() || Some(plan) == before || plan == text(self.intent, "/plan"));
        !self.used && ["done", "unknown", ""].contains(&self.result()) && self.place() == place_of(change) && ours
    }

    /// Whether the modes that it notes are those that were.
    fn modes(&self, change: &Changed) -> Result<(), String> {
        for (path, object) in [("/before/mode", &change.before), ("/after/mode", &change.after)] {
            let (noted, is) = (text(self.intent, path), object.as_ref().map(mode).unwrap_or_default());
            if ["audit", "enforce"].contains(&noted) && ["audit", "enforce"].contains(&is) && noted != is {
                return Err(format!("the journal has {noted} at {path}, it was {is}: {}", self.intent));
            }
        }
        Ok(())
    }
}

/// The journals explain every write, and tell of none that was not.
pub(crate) fn explained(changes: &[Changed], journals: &[Vec<Value>]) -> Result<(), String> {
    let mut noted: Vec<Noted<'_>> = Vec::new();
    for journal in journals {
        for intent in journal.iter().filter(|entry| entry["phase"] == "intent") {
            let outcome = journal.iter().find(|entry| entry["phase"] == "outcome" && entry["intent"] == intent["seq"]);
            noted.push(Noted { intent, outcome, used: false });
        }
    }
    for change in changes.iter().filter(|change| change.manager == OURS) {
        // What is certain is taken before what is not.
        let mut found: Vec<usize> = (0..noted.len()).filter(|at| noted[*at].explains(change)).collect();
        found.sort_by_key(|at| noted[*at].result() != "done");
        let Some(at) = found.first() else {
            return Err(format!("no journal explains this write: {}\n{journals:#?}", told(change)));
        };
        noted[*at].modes(change)?;
        noted[*at].used = true;
    }
    for one in noted.iter().filter(|one| !one.used && one.result() == "done") {
        let reason = one.outcome.map(|outcome| text(outcome, "/reason")).unwrap_or_default();
        if !reason.contains("commit") {
            return Err(format!("the journal tells of a write that no server received: {}\n  {reason}", one.intent));
        }
    }
    Ok(())
}
