//! Why there is no plan, or why one is not carried out.
//!
//! What lives here: the reasons in words, each with what can be done about it. What does not: judging (`ops`, `engine::operations`).

use super::page::Page;
use crate::domain::{Condition, ConditionName, ConditionState, EvidenceRef, Gate, PolicyId, Verdict, clean};
use crate::engine::operations::Declined;
use crate::tui::screens::rollout::wording;
use crate::tui::theme::Role;
use crate::tui::words;
use tui_input::Input;

/// Why.
pub(super) enum Why {
    Declined(Declined),
    /// The target moved, or the plan became old.
    Moved(String),
}

/// See the module.
pub(super) struct Stopped {
    /// Of which policy, where several were asked for.
    pub(super) policy: Option<PolicyId>,
    pub(super) why: Why,
    /// Why an unknown gate may be passed, where it may.
    pub(super) reason: Option<Input>,
}

impl Stopped {
    /// The gate that is not open.
    pub(super) fn gate(&self) -> Option<&Gate> {
        if let Why::Declined(Declined::Gate(gate)) = &self.why { Some(gate) } else { None }
    }

    /// The claims that may be disregarded: of the gate of one policy that is closed. One that is unknown is acknowledged.
    pub(super) fn refuted(&self) -> Vec<EvidenceRef> {
        let closed = self.gate().filter(|gate| gate.is_closed_by_claims() && self.policy.is_none());
        closed.map(|gate| gate.refutable().into_iter().cloned().collect()).unwrap_or_default()
    }

    /// What to commit instead.
    pub(super) fn manifest(&self) -> Option<&str> {
        let Why::Declined(Declined::Refused(refusal)) = &self.why else { return None };
        refusal.commit.as_ref().map(|commit| commit.manifest.as_str())
    }

    /// The reason as text.
    pub(super) fn text(&self) -> String {
        match &self.why {
            Why::Moved(why) => format!("{why}\n"),
            Why::Declined(Declined::Gate(gate)) => {
                let line = |condition: &Condition| {
                    let (name, state, value) = (condition.name.as_str(), condition.state.as_str(), wording::value(condition));
                    let evidence: Vec<String> = condition.evidence.iter().map(|proof| format!("  {}\n", proof.in_words())).collect();
                    format!("{name}; {state}; {value}; {}\n{}", clean(&condition.reason), evidence.concat())
                };
                let head = format!("{}: {} to {}\n", clean(&gate.policy.report_name()), gate.verdict.as_str(), gate.to);
                std::iter::once(head).chain(gate.conditions.iter().map(line)).collect()
            }
            Why::Declined(other) => format!("{}\n", clean(&other.to_string())),
        }
    }

    pub(super) fn page(&self, page: &mut Page<'_>, acknowledge: bool) {
        if let Some(policy) = &self.policy {
            page.say("policy", &format!("{}: nothing was done for any of them", policy.report_name()), Role::Strong);
            page.blank();
        }
        match &self.why {
            Why::Moved(why) => page.say("withdrawn", why, Role::Attention),
            Why::Declined(Declined::Gate(gate)) => closed(gate, acknowledge, !self.refuted().is_empty(), page),
            Why::Declined(Declined::Refused(refusal)) => {
                page.say(label(refusal.word), &refusal.text, Role::Attention);
                if let Some(commit) = &refusal.commit {
                    for (about, what) in [("repo", &commit.repo), ("branch", &commit.branch), ("folder", &commit.folder)] {
                        if let Some(what) = what {
                            page.say(about, what, Role::Text);
                        }
                    }
                    page.blank();
                    page.say("commit", "this manifest:", Role::Text);
                    for line in commit.shown.lines() {
                        page.verbatim(line, Role::Text);
                    }
                }
            }
            Why::Declined(Declined::Failed(failure)) => {
                page.say("failed", &failure.what, Role::Fault);
                page.say("", &failure.hint, Role::Text);
            }
            Why::Declined(Declined::Usage(why)) => page.say("not so", why, Role::Attention),
        }
    }
}

/// Every condition, what is lacking first; then when it can open, and whether it may be passed.
fn closed(gate: &Gate, acknowledge: bool, refutable: bool, page: &mut Page<'_>) {
    let view = page.view();
    let symbols = view.theme.symbols;
    let role = if gate.verdict == Verdict::Closed { Role::Fault } else { Role::Attention };
    page.line("gate", vec![(wording::verdict_sentence(gate, view), role)]);
    let refutable = acknowledge && refutable;
    if refutable {
        let words = "Only what is not verified closes it. That can be disregarded with a reason, which goes into the journal.";
        page.say("", words, Role::Text);
    }
    page.blank();
    let lacking = |condition: &&Condition| condition.state != ConditionState::Met;
    let met = gate.conditions.iter().filter(|condition| !lacking(condition));
    for condition in gate.conditions.iter().filter(lacking).chain(met) {
        let (shape, _, role) = wording::state(condition, symbols);
        let name = condition.name.as_str();
        let value = wording::value(condition);
        let reason = clean(&condition.reason);
        let dim = if lacking(&condition) { Role::Text } else { Role::Muted };
        page.line("", vec![(format!("{shape} "), role), (format!("{name:<12}{value}"), dim)]);
        // Of violations the reason names a key of the screen below.
        if lacking(&condition) && condition.name != ConditionName::Violations && !reason.is_empty() {
            page.say("", &format!("  {reason}"), Role::Muted);
        }
        if lacking(&condition) && matches!(condition.name, ConditionName::Violations | ConditionName::Blocked) {
            condition.evidence.iter().for_each(|proof| page.say("", &format!("  {}", proof.in_words()), Role::Muted));
            if condition.more_evidence > 0 {
                page.say("", &format!("  and {} more", condition.more_evidence), Role::Muted);
            }
        }
    }
    page.blank();
    match (gate.verdict, acknowledge) {
        (Verdict::Closed, _) if refutable => {}
        (Verdict::Closed, _) => {
            let when =
                gate.opens_at.map_or_else(String::new, |at| format!(" It can open on {} at the earliest.", words::minute(at, view.zone)));
            page.say("", &format!("A closed gate cannot be passed.{when}"), Role::Text);
        }
        (_, true) => page.say("", "What is not known may be passed with a reason, which goes into the journal.", Role::Text),
        (_, false) => {
            page.say("", "The configuration lets nobody pass what is not known (acknowledge_unknown = false).", Role::Text);
        }
    }
}

/// One word for a kind of refusal.
fn label(word: &str) -> &'static str {
    match word {
        "read-only" => "read-only",
        "gitops" => "gitops",
        "not-served" | "unknown-fields" => "schema",
        _ => "refused",
    }
}
