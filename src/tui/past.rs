//! What the screen asks of the history, and how it is answered.
//!
//! What lives here: answers put together from records, outside of the screen's turn. What does not: the records (`engine::HistoryReader`), how they are
//! drawn (`screens::rollout`).

use crate::domain::history::{EnvironmentKey, Interval, RevisionText, Standing, Timeline};
use crate::domain::{ManagedBy, PolicyKey, Revision};
use crate::engine::{Failure, HistoryReader};
use crate::kinds::managed_by::managed_by;
use crate::ops::diff::{shown, unified};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// A policy over time, and how it stands now.
#[derive(Debug, Clone)]
pub struct Told {
    /// What is on record of the window.
    pub timeline: Timeline,
    /// Since when it is what it is, for each road of the timeline; `None` where it is absent or nothing is on record.
    pub standings: Vec<Option<Standing>>,
    /// When it was read: nothing is known after it.
    pub at: Timestamp,
}

/// What a policy said on one side of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// It did not exist.
    Absent,
    /// This, and it is on record.
    Recorded(Revision),
    /// This, but its text is not on record.
    Lost(Revision),
}

/// What a policy said before and after a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Before.
    pub before: Side,
    /// From then on.
    pub after: Side,
    /// The tool that kept it, as its newest text on record of the two says.
    pub owner: Option<ManagedBy>,
    /// The unified diff of both; where only one is on record, that one. Safe for a terminal.
    pub text: Vec<String>,
}

/// Which moment of which policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Where.
    pub environment: EnvironmentKey,
    /// Which policy.
    pub policy: PolicyKey,
    /// What it said before.
    pub before: Option<Revision>,
    /// What it said from then on.
    pub after: Option<Revision>,
}

/// Reads a policy over time; `None` where nothing has been recorded yet.
pub async fn timeline(
    history: &HistoryReader,
    policy: PolicyKey,
    window: Interval,
    width: usize,
    now: Timestamp,
) -> Result<Option<Arc<Told>>, Failure> {
    let Some(timeline) = history.timeline(policy.clone(), window, width, now).await? else { return Ok(None) };
    let mut standings = Vec::with_capacity(timeline.roads.len());
    for road in &timeline.roads {
        standings.push(history.standing(road.environment.clone(), policy.clone(), None, now).await?);
    }
    Ok(Some(Arc::new(Told { timeline, standings, at: now })))
}

/// Reads what a policy said before and after a moment.
pub async fn compare(history: &HistoryReader, moment: Moment) -> Result<Arc<Compared>, Failure> {
    let texts = history.revisions(moment.environment.clone(), moment.policy.clone()).await?;
    let stopped = |_| Failure { what: "the history is not read any more: the program ends".to_owned(), hint: String::new() };
    // A text may be as large as an object can be.
    tokio::task::spawn_blocking(move || Arc::new(compared(&moment, &texts))).await.map_err(stopped)
}

fn compared(moment: &Moment, texts: &[RevisionText]) -> Compared {
    let object = |revision: &Revision| -> Option<Value> {
        let text = texts.iter().find(|known| known.revision == *revision)?.object.as_deref()?;
        serde_json::from_str(text).ok()
    };
    let side = |revision: &Option<Revision>| match revision {
        None => (Side::Absent, None),
        Some(revision) => match object(revision) {
            Some(object) => (Side::Recorded(revision.clone()), Some(object)),
            None => (Side::Lost(revision.clone()), None),
        },
    };
    let ((before, old), (after, new)) = (side(&moment.before), side(&moment.after));
    let owner = new.as_ref().or(old.as_ref()).and_then(managed_by);
    let lines = |object: &Value| crate::domain::clean_lines(&shown(object));
    let text = match (&before, &after) {
        (Side::Lost(_), _) => new.as_ref().map(lines).unwrap_or_default(),
        (_, Side::Lost(_)) => old.as_ref().map(lines).unwrap_or_default(),
        _ if before == after => new.as_ref().map(lines).unwrap_or_default(),
        _ => unified(old.as_ref(), new.as_ref(), &moment.policy.id.report_name()).lines().map(str::to_owned).collect(),
    };
    Compared { before, after, owner, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Mode, PolicyId};
    use serde_json::json;

    fn moment(before: Option<&str>, after: Option<&str>) -> Moment {
        let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "p".into() };
        let revision = |text: &str| Revision(text.to_owned());
        Moment {
            environment: EnvironmentKey { name: "dev".into(), cluster_uid: "u".into() },
            policy: PolicyKey { source: "kyverno".into(), id: Arc::new(id) },
            before: before.map(revision),
            after: after.map(revision),
        }
    }

    fn texts() -> Vec<RevisionText> {
        let text = |revision: &str, object: Option<Value>| RevisionText {
            revision: Revision(revision.to_owned()),
            at: Timestamp::UNIX_EPOCH,
            until: None,
            mode: Mode::Audit,
            actor: None,
            object: object.map(|object| object.to_string()),
        };
        let object = |message: &str| json!({"kind": "ClusterPolicy", "metadata": {"name": "p", "labels": {"argocd.argoproj.io/instance": "guard"}}, "spec": {"message": message}});
        vec![text("a", Some(object("one\u{1b}[2J"))), text("b", Some(object("two"))), text("c", None)]
    }

    #[test]
    fn what_is_not_on_record_is_said_and_what_is_can_be_read() {
        let of = |before, after| compared(&moment(before, after), &texts());
        let revision = |text: &str| Revision(text.to_owned());
        let changed = of(Some("a"), Some("b"));
        assert_eq!((&changed.before, &changed.after), (&Side::Recorded(revision("a")), &Side::Recorded(revision("b"))));
        assert!(changed.text.iter().any(|line| line == "+  message: two"), "{:?}", changed.text);
        assert!(!changed.text.concat().contains('\u{1b}'));
        assert_eq!(changed.owner.map(|owner| owner.tool).as_deref(), Some("Argo CD"));

        let created = of(None, Some("b"));
        assert_eq!(created.before, Side::Absent);
        assert!(created.text.iter().skip(3).all(|line| line.starts_with('+')), "{:?}", created.text);
        assert!(of(Some("b"), None).text.iter().skip(3).all(|line| line.starts_with('-')));

        let lost = of(Some("c"), Some("b"));
        assert_eq!(lost.before, Side::Lost(revision("c")));
        assert!(lost.text.contains(&"  message: two".to_owned()), "the one side that is known, as it was: {:?}", lost.text);
        assert_eq!(of(Some("c"), Some("d")).text, Vec::<String>::new());
        // Only its mode changed.
        assert!(of(Some("b"), Some("b")).text.contains(&"  message: two".to_owned()));
    }
}
