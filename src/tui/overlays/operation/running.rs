//! Plans while they are carried out, and what became of them.
//!
//! What lives here: both in words. What does not: doing it (`engine::operations`).

use super::page::Page;
use super::watch::{self, Seen};
use super::{environment_of, is_done, policy_of, preview};
use crate::domain::journal::StepResult;
use crate::domain::{Mode, clean};
use crate::engine::operations::{Declined, Outcome, Stage};
use crate::ops::plan::{Direction, Operation, Plan};
use crate::tui::acting::{Carried, Progress};
use crate::tui::screens::View;
use crate::tui::screens::rollout::wording::Spans;
use crate::tui::theme::{Role, Symbols};
use crate::tui::words;
use jiff::Timestamp;
use std::sync::Arc;

/// Plans that are being carried out.
pub(super) struct Running {
    pub(super) plans: Arc<[Plan]>,
    /// What the fleet showed of each plan's target before.
    pub(super) before: Vec<Option<Seen>>,
    pub(super) since: Timestamp,
    pub(super) progress: Progress,
}

/// The steps on the way, as a person reads them, and whether a plan takes them.
fn stages(plan: &Plan) -> Vec<(u8, String)> {
    let mut stages = Vec::new();
    if plan.direction == Direction::Up {
        stages.push((0, "the gate is judged again".to_owned()));
    }
    stages.push((1, "what it was made from is looked at again".to_owned()));
    stages.push((2, "the server is asked once more".to_owned()));
    stages.push((3, "what is there is saved".to_owned()));
    stages.push((4, "noted in the journal, and written".to_owned()));
    stages.push((5, "followed until the environment shows it".to_owned()));
    stages
}

fn rank(stage: Stage) -> u8 {
    match stage {
        Stage::Gate => 0,
        Stage::Basis => 1,
        Stage::Rehearsal => 2,
        Stage::Archive => 3,
        Stage::Write { .. } | Stage::FindOut { .. } => 4,
        Stage::Follow { .. } => 5,
    }
}

impl Running {
    pub(super) fn page(&self, page: &mut Page<'_>) {
        let view = page.view();
        let symbols = view.theme.symbols;
        let place = self.progress.plan.min(self.plans.len().saturating_sub(1));
        for (at, plan) in self.plans.iter().enumerate() {
            if self.plans.len() > 1 {
                let mark = match at.cmp(&place) {
                    std::cmp::Ordering::Less => (symbols.met, Role::Good),
                    std::cmp::Ordering::Equal => (symbols.point, Role::Accent),
                    std::cmp::Ordering::Greater => (symbols.nothing, Role::Muted),
                };
                page.line(&format!("{} of {}", at + 1, self.plans.len()), one_line(plan, mark, view));
            }
        }
        let Some(plan) = self.plans.get(place) else { return };
        if self.plans.len() > 1 {
            page.blank();
        }
        let now = self.progress.stage.map_or(0, rank);
        for (i, (at, words)) in stages(plan).into_iter().enumerate() {
            let (mark, role, text) = match at.cmp(&now) {
                std::cmp::Ordering::Less => (symbols.met, Role::Good, Role::Muted),
                std::cmp::Ordering::Equal => (symbols.point, Role::Accent, Role::Strong),
                std::cmp::Ordering::Greater => (symbols.nothing, Role::Muted, Role::Muted),
            };
            // Without a gate to look at again, the next thing is the first.
            let first = i == 0 && at > now;
            let (mark, role, text) = if first { (symbols.point, Role::Accent, Role::Strong) } else { (mark, role, text) };
            page.line(if i == 0 { "doing" } else { "" }, vec![(format!("{mark} "), role), (words, text)]);
        }
        if let Some(Stage::FindOut { .. }) = self.progress.stage {
            page.say("", "The answer to the write was lost. The object is read until it tells what became of it.", Role::Attention);
        }
        page.blank();
        page.say("since", &format!("{}, {} ago", words::clock(self.since, view.zone), words::span(self.since, view.now)), Role::Muted);
        page.say("", "It goes on whatever you look at; ending the program waits for it.", Role::Muted);
    }
}

fn one_line(plan: &Plan, (mark, role): (&str, Role), view: &View<'_>) -> Spans {
    let what = policy_of(plan).map(|policy| clean(&policy.report_name()).into_owned()).unwrap_or_default();
    let mut spans = vec![(format!("{mark} "), role), (format!("{what} "), Role::Text)];
    spans.extend(preview::target(plan, view));
    spans
}

/// What became of plans.
pub(super) struct Ended {
    pub(super) plans: Arc<[Plan]>,
    pub(super) carried: Carried,
    pub(super) before: Vec<Option<Seen>>,
    /// When it ended.
    pub(super) at: Timestamp,
}

fn mark(result: StepResult, symbols: &Symbols) -> (&'static str, Role) {
    match result {
        StepResult::Done => (symbols.met, Role::Good),
        StepResult::Unchanged | StepResult::Skipped => (symbols.none, Role::Muted),
        StepResult::Unknown => ("?", Role::Attention),
        StepResult::Failed | StepResult::Refused => (symbols.unmet, Role::Fault),
    }
}

impl Ended {
    /// Whether everything was done.
    pub(super) fn is_done(&self) -> bool {
        self.carried.len() == self.plans.len() && self.carried.iter().all(is_done)
    }

    /// Whether nobody knows what became of something.
    pub(super) fn is_unknown(&self) -> bool {
        self.carried.iter().any(|result| result.as_ref().is_ok_and(Outcome::is_unknown))
    }

    /// Whether there is one policy that was changed, and something kept to put it back to.
    pub(super) fn leaves_something(&self) -> bool {
        let [plan] = &*self.plans else { return false };
        let done = |outcome: &Outcome| outcome.undo.is_some() && outcome.steps.iter().any(|step| step.result == StepResult::Done);
        self.carried.iter().any(|result| result.as_ref().is_ok_and(done))
            && plan.operation != Operation::Unblock
            && plan.steps.iter().any(|step| step.before.is_some())
    }

    /// One sentence for each plan, for the messages.
    pub(super) fn sentences(&self) -> Vec<String> {
        let said = |(plan, result): (&Plan, &Result<Outcome, Declined>)| {
            let what = plan.steps.first().map(|step| clean(&step.object.to_string()).into_owned()).unwrap_or_default();
            let began = format!("{} {what} in {}", plan.operation, clean(environment_of(plan)));
            match result {
                Ok(outcome) => {
                    let worst = outcome.steps.iter().find(|step| !matches!(step.result, StepResult::Done | StepResult::Unchanged));
                    let told = worst.or(outcome.steps.last());
                    told.map_or_else(|| began.clone(), |step| format!("{began}: {}: {}", step.result, clean(&step.reason)))
                }
                Err(why) => format!("{began}: not done: {}", clean(&why.to_string())),
            }
        };
        self.plans.iter().zip(self.carried.iter()).map(said).collect()
    }

    /// The same as text, with where it was before.
    pub(super) fn text(&self) -> String {
        let undo = self.carried.iter().filter_map(|result| result.as_ref().ok()?.undo.as_ref());
        let undo = undo.map(|path| format!("what was there before is in {}", path.display()));
        self.sentences().into_iter().chain(undo).map(|line| line + "\n").collect()
    }

    pub(super) fn page(&self, page: &mut Page<'_>) {
        for (place, plan) in self.plans.iter().enumerate() {
            if place > 0 {
                page.blank();
            }
            match self.carried.get(place) {
                Some(Ok(outcome)) => self.outcome(place, plan, outcome, page),
                Some(Err(why)) => {
                    page.line("not done", vec![(title(plan), Role::Strong)]);
                    page.say("", "Nothing was written:", Role::Fault);
                    let text = super::stopped::Stopped { policy: None, why: super::stopped::Why::Declined(why.clone()), reason: None };
                    for line in text.text().lines() {
                        page.say("", line, Role::Text);
                    }
                }
                None => page.line("not tried", vec![(title(plan), Role::Muted)]),
            }
        }
        page.blank();
        let journal = format!("{}; `policydeck audit show` has it all", words::clock(self.at, page.view().zone));
        page.say("journal", &journal, Role::Muted);
    }

    fn outcome(&self, place: usize, plan: &Plan, outcome: &Outcome, page: &mut Page<'_>) {
        let view = page.view();
        for step in &outcome.steps {
            let (shape, role) = mark(step.result, view.theme.symbols);
            let what = format!(" {} {}", step.verb, clean(&step.object.to_string()));
            page.line(step.result.as_str(), vec![(shape.to_owned(), role), (what, Role::Strong)]);
            let text = if role == Role::Good { Role::Text } else { role };
            page.say("", &step.reason, text);
            for warning in &step.warnings {
                page.say("kyverno", warning, Role::Attention);
            }
        }
        if let Some(policy) = policy_of(plan).filter(|_| plan.operation != Operation::Unblock) {
            let before = self.before.get(place).and_then(Option::as_ref);
            page.line("before", before_it(before, view));
            let seen = watch::seen(view.fleet, environment_of(plan), &policy);
            page.line("now", after_it(outcome, seen.as_ref(), view));
        }
        match &outcome.undo {
            Some(path) => {
                let changed = outcome.steps.iter().any(|step| step.result == StepResult::Done);
                let how = match plan.operation {
                    _ if !changed => "what was there is in".to_owned(),
                    Operation::Unblock => "Kyverno writes its webhooks anew when it is back; what was there is in".to_owned(),
                    _ if !self.leaves_something() => format!("{}; what was there is in", plan.undo.words()),
                    _ => format!("{} rolls back to what was there; it is in", view.keys.of(crate::tui::screens::operations::ROLLBACK)),
                };
                page.say(if changed { "undo" } else { "kept" }, &format!("{how} {}", path.display()), Role::Text);
            }
            None => page.say("", "Nothing was written.", Role::Text),
        }
        if outcome.is_unknown() {
            page.say("look", "Look at the object before anything else is done: nobody knows whether the write happened.", Role::Attention);
        }
    }
}

fn title(plan: &Plan) -> String {
    plan.steps.first().map(|step| clean(&step.object.to_string()).into_owned()).unwrap_or_default()
}

/// `▒ audit, 3 failing`.
fn before_it(seen: Option<&Seen>, view: &View<'_>) -> Spans {
    let Some(seen) = seen else { return vec![(format!("{} not there", view.theme.symbols.absent), Role::Muted)] };
    let faults = match (seen.faults, seen.evaluated_at) {
        (Some(0), None) => UNTIL_A_SCAN.to_owned(),
        (Some(faults), _) => failing(faults),
        (None, _) => UNKNOWN.to_owned(),
    };
    mode_and(seen.mode, faults, view)
}

/// The same after a write, as the operation reports it: the fleet's numbers may still be those of before. Where the operation reports nothing of what it
/// wrote, only the mode is known.
fn after_it(outcome: &Outcome, seen: Option<&Seen>, view: &View<'_>) -> Spans {
    if let Some(effect) = outcome.steps.iter().rev().find_map(|step| step.effect) {
        return mode_and(effect.mode, effect.violations.map_or_else(|| UNTIL_A_SCAN.to_owned(), failing), view);
    }
    let wrote = outcome.steps.iter().any(|step| matches!(step.result, StepResult::Done | StepResult::Unknown));
    match seen {
        Some(seen) if wrote => mode_and(seen.mode, UNKNOWN.to_owned(), view),
        seen => before_it(seen, view),
    }
}

const UNKNOWN: &str = ", violations unknown";
const UNTIL_A_SCAN: &str = ", violations unknown until the first scan";

fn failing(count: u64) -> String {
    format!(", {} failing", words::number(count))
}

fn mode_and(mode: Mode, faults: String, view: &View<'_>) -> Spans {
    vec![(format!("{} {}", view.theme.symbols.mode(mode), words::mode_word(mode)), Role::Strong), (faults, Role::Text)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::operations::{Effect, StepOutcome};
    use crate::ops::plan::ObjectRef;

    fn outcome(result: StepResult, effect: Option<Effect>) -> Outcome {
        let object = ObjectRef {
            group: "kyverno.io".to_owned(),
            version: "v1".to_owned(),
            kind: "ClusterPolicy".to_owned(),
            plural: "clusterpolicies".to_owned(),
            namespace: None,
            name: "one".to_owned(),
        };
        let (reason, diff, warnings) = (String::new(), Vec::new(), Vec::new());
        let step = StepOutcome { environment: "qac".to_owned(), verb: "patch", object, result, reason, diff, effect, warnings };
        Outcome { plan: "5f0c".to_owned(), undo: None, dry_run: false, steps: vec![step] }
    }

    #[test]
    fn after_a_write_the_operation_says_what_is_known() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let zone = jiff::tz::TimeZone::UTC;
        let (theme, keys, road) = (
            crate::tui::theme::Theme::new(crate::tui::ColorDepth::None, true),
            crate::tui::Keymap::default(),
            crate::ops::road::Road::default(),
        );
        let fleet = crate::fleet::view::FleetView::default();
        let view = View { fleet: &fleet, now: at(20), theme: &theme, zone: &zone, road: &road, keys: &keys };
        let seen = |faults, evaluated_at| Seen { mode: Mode::Audit, revision: None, faults, evaluated_at };
        for (faults, evaluated_at, expected) in [
            (Some(0), None, "violations unknown until the first scan"),
            (Some(0), Some(at(9)), "0 failing"),
            (Some(3), Some(at(9)), "3 failing"),
            (None, Some(at(9)), "violations unknown"),
        ] {
            let seen = seen(faults, evaluated_at);
            assert_eq!(before_it(Some(&seen), &view)[1].0, format!(", {expected}"));
            assert_eq!(
                after_it(&outcome(StepResult::Refused, None), Some(&seen), &view),
                before_it(Some(&seen), &view),
                "nothing was written"
            );
        }
        // Whatever the fleet shows, before a scan or after it.
        let effect = |violations, before| Some(Effect { mode: Mode::Enforce, violations, before, evaluated: 60 });
        for seen in [None, Some(seen(Some(7), Some(at(9)))), Some(seen(Some(7), Some(at(19))))] {
            for (effect, expected) in [
                (effect(Some(3), None), "3 failing"),
                (effect(Some(0), None), "0 failing"),
                (effect(None, Some(7)), "violations unknown until the first scan"),
                (effect(None, None), "violations unknown until the first scan"),
            ] {
                let said = after_it(&outcome(StepResult::Done, effect), seen.as_ref(), &view);
                assert!(said[0].0.ends_with("enforce"), "{said:?}");
                assert_eq!(said[1].0, format!(", {expected}"), "{seen:?}");
            }
        }
        for result in [StepResult::Done, StepResult::Unknown] {
            let said = after_it(&outcome(result, None), Some(&seen(Some(7), Some(at(19)))), &view);
            assert_eq!(said[1].0, ", violations unknown", "{result}");
        }
    }
}
