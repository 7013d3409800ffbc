//! What a cluster shows of an intent whose outcome nobody wrote down.
//!
//! What lives here: the comparison, long after. What does not: finding out what became of a write that was just sent (`fate`), the journal itself.

use super::execute::{address, blocking, policy_of};
use crate::cluster::{cluster_uid, read};
use crate::domain::journal::{Phase, Record, Standing, Verb};
use crate::domain::{PolicyId, clean};
use crate::engine::EngineHandle;
use crate::files::archive::read_archive;
use crate::kinds::hold::read_hold;
use crate::kinds::mode::Kyverno;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, KindId};
use crate::ops::plan::{ObjectRef, Step, Verb as PlanVerb, from_file};
use crate::ops::unblock;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::path::Path;

/// Until when what was sent may still happen: an API server gives up a write after 34 s.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(35);

/// What a cluster shows of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It was carried out.
    CarriedOut,
    /// It was not: everything is as it was.
    NotCarriedOut,
    /// Neither can be told: something else was done since.
    Other,
    /// The cluster could not be asked.
    Unreadable,
}

impl Shown {
    /// The word used in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CarriedOut => "carried-out",
            Self::NotCarriedOut => "not-carried-out",
            Self::Other => "other",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The comparison of an intent with its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// What is shown.
    pub shown: Shown,
    /// The same in words, without a full stop.
    pub text: String,
}

impl Compared {
    fn new(shown: Shown, text: impl Into<String>) -> Self {
        Self { shown, text: text.into() }
    }
}

impl EngineHandle {
    /// Compares an intent without an outcome with what its cluster shows now.
    pub async fn compare(&self, intent: &Record, now: Timestamp) -> Compared {
        match self.shown(intent, now).await {
            Ok(compared) => compared,
            Err(why) => Compared::new(Shown::Unreadable, why),
        }
    }

    async fn shown(&self, intent: &Record, now: Timestamp) -> Result<Compared, String> {
        let (Some(environment), Some(object)) = (&intent.environment, &intent.object) else {
            return Err("it names no object of an environment".to_owned());
        };
        let signals = &self.environment(environment).map_err(|failure| failure.what)?.signals;
        let uid = cluster_uid(signals).await.map_err(|refusal| format!("{environment} could not be asked: {refusal}"))?;
        if intent.cluster_uid.as_ref().is_some_and(|known| *known != uid) {
            return Err(format!("{environment} is another cluster now ({uid})"));
        }
        let kyverno = self.kyverno(environment).await.map_err(|failure| failure.what)?;
        let kind = KindId::find(&object.group, &object.kind).map(KindId::kind);
        let live = match (kind, configuration(object)) {
            (Some(_), _) => self.policy_object(environment, object).await.map_err(|failure| failure.what)?,
            (None, Some(reference)) => {
                let live = read(signals, &address(&reference)).await;
                live.map_err(|refusal| format!("{environment}: {reference}: {refusal}"))?
            }
            (None, None) => return Err(format!("{object} is of a kind that is not known here")),
        };
        if was_committed(intent).await
            && let Some(kind) = kind
        {
            return Ok(applied(intent, kind, live.as_ref(), &kyverno));
        }
        Ok(judge(intent, kind, live.as_ref(), &kyverno, now))
    }
}

/// One of Kyverno's webhook configurations, as the journal names it.
fn configuration(object: &PolicyId) -> Option<ObjectRef> {
    unblock::CONFIGURATIONS.into_iter().find(|(kind, _, name)| (*kind, *name) == (&*object.kind, &*object.name)).map(unblock::address)
}

/// Whether an intent was one of a commit: the plan in its archive says so. Where that is gone, it is compared like any other write.
async fn was_committed(intent: &Record) -> bool {
    let Some(folder) = intent.undo.clone() else { return false };
    let archive = blocking(move || read_archive(Path::new(&folder))).await;
    let plan = archive.ok().and_then(|archive| from_file(&archive.plan?).ok());
    let is_it = |step: &Step| {
        intent.environment.as_deref() == Some(&*step.environment)
            && intent.object.as_ref() == Some(&policy_of(&step.object))
            && matches!(step.verb, PlanVerb::Commit { .. })
    };
    plan.is_some_and(|plan| plan.steps.iter().any(is_it))
}

/// What a cluster shows of a commit: a manifest in a repository names no plan, so what it says and does has to tell.
fn applied(intent: &Record, kind: &'static Kind, live: Option<&Value>, kyverno: &Kyverno) -> Compared {
    let standing = live.and_then(|live| {
        let mode = written_mode(kind, live, kyverno).ok()?;
        Some(Standing { revision: Some(revision(kind, live)), mode })
    });
    let mode = standing.as_ref().map_or_else(|| "it does not exist".to_owned(), |standing| format!("it is at {}", standing.mode));
    let held = live.and_then(read_hold).is_some();
    match intent.verb {
        Verb::Hold | Verb::Release if held == (intent.verb == Verb::Hold) => Compared::new(Shown::CarriedOut, "the commit was applied"),
        Verb::Hold | Verb::Release => Compared::new(Shown::NotCarriedOut, "the commit is not applied"),
        // Without an outcome it is unknown whether anything was pushed: another commit may say the same.
        _ if standing == intent.after && intent.phase == Phase::Intent => {
            Compared::new(Shown::Other, format!("{mode}, as was meant; whether by this commit is unknown"))
        }
        _ if standing == intent.after => Compared::new(Shown::CarriedOut, format!("the commit was applied: {mode}")),
        _ if standing == intent.before => Compared::new(Shown::NotCarriedOut, format!("the commit is not applied: {mode}, as before")),
        _ => Compared::new(Shown::Other, format!("it is neither what it was nor what was committed: {mode}")),
    }
}

fn judge(intent: &Record, kind: Option<&'static Kind>, live: Option<&Value>, kyverno: &Kyverno, now: Timestamp) -> Compared {
    let so_far = if now.duration_since(intent.at) < UNDER_WAY { "; it may still be under way" } else { "" };
    let not = |text: &str| Compared::new(Shown::NotCarriedOut, format!("{text}{so_far}"));
    let Some(live) = live else {
        return match (&intent.before, &intent.after) {
            (None, Some(_)) => not("it does not exist, as before"),
            (Some(_), Some(_)) => Compared::new(Shown::Other, "it does not exist any more"),
            (_, None) => Compared::new(Shown::CarriedOut, "it is gone, as was meant"),
        };
    };
    match intent.verb {
        Verb::Hold | Verb::Release => {
            let held = read_hold(live);
            let text = held.as_ref().map_or_else(|| "it is not held".to_owned(), |hold| format!("it is held: {}", clean(&hold.reason)));
            return if held.is_some() == (intent.verb == Verb::Hold) { Compared::new(Shown::CarriedOut, text) } else { not(&text) };
        }
        _ => {}
    }
    let plan = live.pointer("/metadata/annotations/policydeck.dev~1plan").and_then(Value::as_str);
    let standing = kind.and_then(|kind| {
        let mode = written_mode(kind, live, kyverno).ok()?;
        Some(Standing { revision: Some(revision(kind, live)), mode })
    });
    let mode = standing.as_ref().map_or_else(|| "there".to_owned(), |standing| format!("at {}", standing.mode));
    if plan.is_some() && plan == intent.plan.as_deref() {
        return Compared::new(Shown::CarriedOut, format!("it names this plan, and is {mode}"));
    }
    let named = plan.map(|plan| format!(" and names the plan {}", clean(plan))).unwrap_or_default();
    if intent.after.is_none() && intent.before.as_ref().is_none_or(|before| standing.as_ref().is_none_or(|now| now == before)) {
        return not("it still exists");
    }
    match standing {
        Some(now) if intent.before.as_ref() == Some(&now) => not(&format!("it is as it was: {mode}{named}")),
        Some(now) if intent.after.as_ref() == Some(&now) => {
            Compared::new(Shown::Other, format!("it is {mode}, as was meant, but does not name this plan{named}"))
        }
        _ => Compared::new(Shown::Other, format!("it is neither what it was nor what it was to be: {mode}{named}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;
    use crate::domain::journal::Who;
    use crate::kinds::Release;
    use serde_json::json;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn live(action: &str, annotations: &Value) -> Value {
        json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p", "annotations": annotations}, "spec":
            {"validationFailureAction": action, "rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {"message": "m", "deny": {}}}]}})
    }

    fn intent(verb: Verb, before: Option<Mode>, after: Option<Mode>) -> Record {
        let kind = KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind();
        let standing = |mode: Mode| Standing { revision: Some(revision(kind, &live("Audit", &json!({})))), mode };
        let mut record = Record::intent(AT, Who::default(), verb);
        record.plan = Some("k3v9".to_owned());
        record.before = before.map(standing);
        record.after = after.map(standing);
        record
    }

    #[test]
    fn the_object_tells_what_nobody_wrote_down() {
        use Shown::{CarriedOut, NotCarriedOut, Other};
        let kind = KindId::find("kyverno.io", "ClusterPolicy").map(KindId::kind);
        let kyverno = Kyverno::new(Release::UNKNOWN);
        let up = || intent(Verb::Promote, Some(Mode::Audit), Some(Mode::Enforce));
        let created = || intent(Verb::Promote, None, Some(Mode::Audit));
        let deleted = || intent(Verb::Other("undo".to_owned()), Some(Mode::Audit), None);
        let (ours, theirs) = (json!({"policydeck.dev/plan": "k3v9"}), json!({"policydeck.dev/plan": "other"}));
        let held = json!({"policydeck.dev/hold": "INC-7"});
        for (record, object, expected, words) in [
            (up(), Some(live("Enforce", &ours)), CarriedOut, "it names this plan, and is at enforce"),
            (up(), Some(live("Audit", &ours)), CarriedOut, "at audit"),
            (up(), Some(live("Audit", &json!({}))), NotCarriedOut, "it is as it was: at audit"),
            (up(), Some(live("Enforce", &theirs)), Other, "does not name this plan and names the plan other"),
            (up(), None, Other, "does not exist any more"),
            (created(), None, NotCarriedOut, "does not exist, as before"),
            (created(), Some(live("Enforce", &json!({}))), Other, "neither"),
            (deleted(), None, CarriedOut, "gone"),
            (deleted(), Some(live("Audit", &json!({}))), NotCarriedOut, "still exists"),
            (intent(Verb::Hold, Some(Mode::Audit), Some(Mode::Audit)), Some(live("Audit", &held)), CarriedOut, "held: INC-7"),
            (intent(Verb::Hold, Some(Mode::Audit), Some(Mode::Audit)), Some(live("Audit", &ours)), NotCarriedOut, "not held"),
            (intent(Verb::Release, Some(Mode::Audit), Some(Mode::Audit)), Some(live("Audit", &held)), NotCarriedOut, "held"),
        ] {
            let late = judge(&record, kind, object.as_ref(), &kyverno, AT + SignedDuration::from_mins(1));
            assert_eq!(late.shown, expected, "{}: {}", record.verb, late.text);
            assert!(late.text.contains(words) && !late.text.contains("under way"), "{}", late.text);
            let early = judge(&record, kind, object.as_ref(), &kyverno, AT + SignedDuration::from_secs(1));
            assert_eq!(early.text.contains("under way"), expected == NotCarriedOut, "{}", early.text);
        }
    }

    #[test]
    fn webhook_configurations_are_known_again() {
        let id = |kind: &str, name: &str| PolicyId {
            group: "admissionregistration.k8s.io".to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: name.to_owned(),
        };
        let found = configuration(&id("ValidatingWebhookConfiguration", "kyverno-resource-validating-webhook-cfg")).unwrap();
        assert_eq!(found.plural, "validatingwebhookconfigurations");
        assert_eq!(configuration(&id("ValidatingWebhookConfiguration", "another")), None);
        let gone = intent(Verb::Unblock, None, None);
        let kyverno = Kyverno::new(Release::UNKNOWN);
        let there = judge(&gone, None, Some(&json!({"metadata": {}})), &kyverno, AT + SignedDuration::from_mins(1));
        assert_eq!((there.shown, there.text.as_str()), (Shown::NotCarriedOut, "it still exists"));
        assert_eq!(judge(&gone, None, None, &kyverno, AT).shown, Shown::CarriedOut);
    }

    #[test]
    fn a_commit_is_known_by_what_the_cluster_says() {
        let kind = KindId::find("kyverno.io", "ClusterPolicy").unwrap().kind();
        let kyverno = Kyverno::new(Release::UNKNOWN);
        let standing = |action: &str| {
            let live = live(action, &json!({}));
            Standing { revision: Some(revision(kind, &live)), mode: written_mode(kind, &live, &kyverno).unwrap() }
        };
        let mut committed = intent(Verb::Promote, None, None);
        (committed.before, committed.after) = (Some(standing("Audit")), Some(standing("Enforce")));
        committed.phase = Phase::Outcome;
        let told =
            |record: &Record, action: Option<&str>| applied(record, kind, action.map(|action| live(action, &json!({}))).as_ref(), &kyverno);
        assert_eq!(told(&committed, Some("Enforce")), Compared::new(Shown::CarriedOut, "the commit was applied: it is at enforce"));
        assert_eq!(told(&committed, Some("Audit")).shown, Shown::NotCarriedOut);
        assert_eq!(told(&committed, None).shown, Shown::Other);
        committed.phase = Phase::Intent;
        assert_eq!(told(&committed, Some("Enforce")).shown, Shown::Other, "another commit may say the same");
    }
}
