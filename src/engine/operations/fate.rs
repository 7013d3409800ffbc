//! What became of a write whose answer does not tell, by a look at the object itself.
//!
//! What lives here: whether a write happened that got no answer, and whether one that was refused met an object that somebody else had changed.
//! What does not: sending it (`execute`), comparing the journal with a cluster long after (`compare`).

use super::Operator;
use crate::domain::clean;
use crate::domain::journal::StepResult;
use crate::kinds::transfer::bare;
use crate::ops::plan::{Expect, Step, Verb};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long one look at the object may take: a server that hangs is asked again.
const LOOK: Duration = Duration::from_secs(5);
/// Where an object names the plan that wrote it.
const PLAN: &str = "/metadata/annotations/policydeck.dev~1plan";

impl Operator {
    /// Whether a write was refused because the object is not what it was when the plan was made.
    pub(super) async fn look(&self, step: &Step) -> Look {
        // Where it cannot be read, what the server said has to do.
        let Ok(live) = self.read(&step.environment, &step.object).await else { return Look::Same };
        let (live, before) = match (live, &step.before) {
            (None, None) => return Look::Same,
            (None, Some(_)) => return Look::Changed("it was deleted".to_owned()),
            (Some(live), None) if is_of_plan(Some(&live), step) => return Look::Ours,
            (Some(live), None) => return Look::Changed(format!("it was created{}", by(&live))),
            (Some(live), Some(before)) => (live, before),
        };
        if is_of_plan(Some(&live), step) {
            // Something on the way sent it twice, and only the second answer came back.
            return Look::Ours;
        }
        if bare(&live) != bare(before) {
            return Look::Changed(format!("it was changed{}", by(&live)));
        }
        let text = |path: &str| live.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let Some((uid, resource_version)) = text("/metadata/uid").zip(text("/metadata/resourceVersion")) else { return Look::Same };
        let now = Expect { uid, resource_version };
        if step.expect().is_none_or(|expected| *expected == now) {
            return Look::Same;
        }
        let mut pinned = step.clone();
        if let Verb::Patch { expect, .. } | Verb::Replace { expect, .. } | Verb::Delete { expect } = &mut pinned.verb {
            *expect = now;
        }
        Look::Pinned(Box::new(pinned))
    }

    /// What became of a write that got no answer: the object tells, once it can be read again.
    pub(super) async fn find_out(&self, step: &Step, why: &str, sent: Instant) -> (StepResult, String) {
        let deadline = Instant::now() + self.timing.find_out;
        loop {
            let asked = Instant::now();
            if let Ok(Ok(live)) = timeout(LOOK, self.read(&step.environment, &step.object)).await
                && let Some((result, seen)) = fate(step, live.as_ref(), asked.duration_since(sent) >= self.timing.busy)
            {
                return (result, format!("the answer was lost ({why}), {seen}"));
            }
            if Instant::now() >= deadline {
                return (StepResult::Unknown, format!("the answer was lost ({why}), and the cluster could not be read since"));
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Why a write was refused, by a look at the object.
pub(super) enum Look {
    /// It is what it was: what the server said is the reason.
    Same,
    /// The write happened nevertheless.
    Ours,
    /// Only its status and version moved; the step for it as it is now.
    Pinned(Box<Step>),
    /// Somebody else changed it; how.
    Changed(String),
}

/// What an object tells of a write without an answer; `None` while it cannot tell. `over` says that no server can be busy with the write any more.
fn fate(step: &Step, live: Option<&Value>, over: bool) -> Option<(StepResult, String)> {
    if carries(live, step) {
        return Some((StepResult::Done, "but the cluster shows the change".to_owned()));
    }
    if is_of_plan(live, step) {
        return Some((StepResult::Done, format!("but the cluster shows the change, and that {} was changed again since", step.object)));
    }
    if live.map(bare) != step.before.as_ref().map(bare) {
        return Some((StepResult::Unknown, format!("and {} is neither what it was nor what it was to be", step.object)));
    }
    // A write that is still on its way is for the version it expects, and fails on any other.
    let version = live.and_then(|live| live.pointer("/metadata/resourceVersion")?.as_str());
    let moved = step.expect().is_some_and(|expect| version.is_some_and(|version| version != expect.resource_version));
    (over || moved).then(|| (StepResult::Failed, "and the cluster shows that nothing changed".to_owned()))
}

/// Whether the object names the step's plan as the one that wrote it, and did not before.
fn is_of_plan(live: Option<&Value>, step: &Step) -> bool {
    let plan = |object: Option<&Value>| object?.pointer(PLAN)?.as_str().map(str::to_owned);
    let ours = plan(step.after.as_ref());
    ours.is_some() && plan(live) == ours && plan(step.before.as_ref()) != ours
}

/// Whether the object is what the step was to make of it. Servers fill in defaults, so what the step wrote has to be there, not alone.
pub(super) fn carries(live: Option<&Value>, step: &Step) -> bool {
    match (live, &step.after) {
        (None, None) => true,
        (Some(live), Some(after)) => contains(&bare(live), &bare(after)),
        _ => false,
    }
}

/// Whether everything in `part` is in `whole` as well.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (whole, part) => whole == part,
    }
}

/// By whom an object was changed last, as far as it says: ` by ana@laptop with plan k3v9`.
fn by(live: &Value) -> String {
    let said = |path: &str| live.pointer(path).and_then(Value::as_str).map(|text| clean(text).into_owned());
    let plan = said(PLAN).map(|plan| format!(" (its annotations name the plan {plan}")).unwrap_or_default();
    match (plan.is_empty(), said("/metadata/annotations/policydeck.dev~1by")) {
        (true, _) => String::new(),
        (false, Some(who)) => format!("{plan} of {who})"),
        (false, None) => format!("{plan})"),
    }
}

pub(super) fn changed(step: &Step, how: &str) -> String {
    format!(
        "somebody else was faster with {} in {}: {how} since this plan was made. Nothing was written; look at it and plan again",
        step.object, step.environment
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::plan::ObjectRef;
    use serde_json::json;

    fn object(mode: &str, plan: Option<&str>, version: &str) -> Value {
        let mut object =
            json!({"metadata": {"name": "p", "uid": "u", "resourceVersion": version, "annotations": {}}, "spec": {"mode": mode}});
        if let Some(plan) = plan {
            object["metadata"]["annotations"]["policydeck.dev/plan"] = plan.into();
        }
        object
    }

    fn step(verb: Verb, before: Option<Value>, after: Option<Value>) -> Step {
        let text = str::to_owned;
        let (group, version, kind) = (text("kyverno.io"), text("v1"), text("ClusterPolicy"));
        let object = ObjectRef { group, version, kind, plural: text("clusterpolicies"), namespace: None, name: text("p") };
        Step { environment: text("dev"), object, verb, before, after, diff: Vec::new(), managers: Vec::new(), gives_back: Vec::new() }
    }

    #[test]
    fn an_object_as_it_was_says_nothing_while_the_write_may_still_come() {
        let (before, after) = (object("Audit", Some("old"), "7"), object("Enforce", Some("new"), "7"));
        let expect = Expect { uid: "u".to_owned(), resource_version: "7".to_owned() };
        let patch = step(Verb::Patch { patch: json_patch::Patch(Vec::new()), expect }, Some(before.clone()), Some(after.clone()));
        let create = step(Verb::Create { manifest: after.clone() }, None, Some(after.clone()));
        let fate = |step: &Step, live: Option<Value>, over: bool| super::fate(step, live.as_ref(), over).map(|(result, _)| result);
        let (same, status) = (object("Audit", Some("old"), "7"), object("Audit", Some("old"), "8"));
        let (others, since) = (object("Warn", Some("old"), "8"), object("Warn", Some("new"), "9"));
        for (what, step, live, over, expected) in [
            ("it shows the change", &patch, Some(after.clone()), false, Some(StepResult::Done)),
            ("as it was, early", &patch, Some(same.clone()), false, None),
            ("as it was, late", &patch, Some(same), true, Some(StepResult::Failed)),
            ("as it was, but of a version that refuses the write", &patch, Some(status), false, Some(StepResult::Failed)),
            ("changed by somebody else", &patch, Some(others), true, Some(StepResult::Unknown)),
            ("changed by us, then by somebody else", &patch, Some(since), false, Some(StepResult::Done)),
            ("gone", &patch, None, true, Some(StepResult::Unknown)),
            ("not there yet", &create, None, false, None),
            ("never there", &create, None, true, Some(StepResult::Failed)),
            ("there", &create, Some(after), false, Some(StepResult::Done)),
        ] {
            assert_eq!(fate(step, live, over), expected, "{what}");
        }
    }
}
