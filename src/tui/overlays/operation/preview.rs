//! A plan that waits for a confirmation: where first, then why it may, what changes, what to know, and how it is taken back.
//!
//! What lives here: what is shown and typed meanwhile. What does not: making the plan, carrying it out.

use super::page::Page;
use super::watch::{self, Seen};
use super::written::Written;
use super::{environment_of, policy_of, text_of, type_into};
use crate::domain::{Amount, Condition, ConditionName, ConditionState, Mode, clean};
use crate::fleet::view::FleetView;
use crate::ops::plan::{ConfirmLevel, Operation, Plan, to_file, too_old};
use crate::ops::rules::needs_second_eyes;
use crate::tui::acting::Prepared;
use crate::tui::screens::View;
use crate::tui::screens::rollout::wording::{self, Spans};
use crate::tui::theme::Role;
use crate::tui::words;
use crossterm::event::{KeyCode, KeyEvent};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use tui_input::Input;

/// A window in which a preview can be read.
const LEAST_COLUMNS: u16 = 40;
const LEAST_ROWS: u16 = 12;

/// Where the keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Ticket,
    /// The name that has to be typed.
    Name,
    No,
    Yes,
}

/// How much of a preview could be seen. What needs a name to be typed can only be confirmed once its end was in sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Not all of it yet.
    Part,
    /// Its end was in sight.
    End,
    /// The window, of so many columns and rows, is too small to read it.
    TooSmall(u16, u16),
}

/// What a key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Stay,
    Close,
    /// Why it is not enough.
    Say(String),
    /// The plan is to be made with this ticket.
    Ticket(Option<String>),
    /// It is confirmed.
    Go,
}

/// See the module.
pub(super) struct Preview {
    prepared: Vec<Prepared>,
    /// What each step of each plan writes.
    written: Vec<Vec<Written>>,
    pub(super) focus: Focus,
    pub(super) ticket: Input,
    /// The ticket that the plans have.
    has: Option<String>,
    pub(super) name: Input,
    /// What has to be typed, where that is so.
    pub(super) wanted: Option<String>,
    /// Why it cannot be confirmed.
    pub(super) barred: Option<String>,
    /// The plans are made again.
    pub(super) waits: bool,
    /// Whether our own annotations are shown in full.
    unfolded: bool,
    /// How much of it could be seen.
    pub(super) sight: Sight,
    /// What the fleet showed of each plan's target when it was made.
    pub(super) before: Vec<Option<Seen>>,
    /// The same of everything the plans were made from.
    basis: Vec<Vec<Option<Seen>>>,
}

impl Preview {
    pub(super) fn new(prepared: Vec<Prepared>, ticket: Option<&str>, fleet: &FleetView) -> Self {
        let names: BTreeSet<&str> = prepared.iter().filter_map(|one| typed_name(&one.plan)).collect();
        let barred = barred(&prepared, &names);
        let wanted = names.first().map(|name| (*name).to_owned());
        let before =
            prepared.iter().map(|one| policy_of(&one.plan).and_then(|policy| watch::seen(fleet, environment_of(&one.plan), &policy)));
        let before = before.collect();
        let basis = prepared.iter().map(|one| watch::basis(&one.plan, fleet)).collect();
        let written = prepared.iter().map(|one| one.plan.steps.iter().map(Written::of).collect()).collect();
        let focus = if wanted.is_some() { Focus::Name } else { Focus::No };
        Self {
            before,
            basis,
            prepared,
            written,
            focus,
            ticket: Input::new(ticket.unwrap_or_default().to_owned()),
            has: ticket.map(str::to_owned),
            name: Input::default(),
            wanted,
            barred,
            waits: false,
            unfolded: false,
            sight: Sight::Part,
        }
    }

    /// Made again because of its ticket, the keys go on from where they were. A name that was typed has to be typed again.
    pub(super) fn take_focus(&mut self, before: &Self) {
        if before.focus != Focus::Yes && (before.focus == Focus::Name) == self.wanted.is_some() {
            self.focus = before.focus;
        }
    }

    pub(super) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.prepared.iter().map(|one| &one.plan)
    }

    /// The plan as a file that somebody else can carry out.
    pub(super) fn file(&self) -> String {
        self.plans().filter_map(|plan| to_file(plan).ok()).collect()
    }

    /// The plans are being made again.
    pub(super) fn wait(&mut self) {
        self.waits = true;
        self.name = Input::default();
    }

    /// The line that pasted text goes into.
    pub(super) fn input(&mut self) -> Option<&mut Input> {
        match self.focus {
            Focus::Ticket => Some(&mut self.ticket),
            Focus::Name if self.takes_name() => Some(&mut self.name),
            _ => None,
        }
    }

    /// Whether the name can be typed now.
    fn takes_name(&self) -> bool {
        self.takes_name_at(self.sight)
    }

    fn takes_name_at(&self, sight: Sight) -> bool {
        !self.waits && sight == Sight::End
    }

    /// Whether keys that move within a line are for one that is typed.
    pub(super) fn types(&self) -> bool {
        self.types_at(self.sight)
    }

    /// The same once so much of it was seen.
    pub(super) fn types_at(&self, sight: Sight) -> bool {
        self.focus == Focus::Ticket || (self.focus == Focus::Name && self.takes_name_at(sight))
    }

    /// How much of it can be seen where so many lines are left below, in a window of that size.
    pub(super) fn sight_with(&self, left: usize, (columns, rows): (u16, u16)) -> Sight {
        match self.sight {
            _ if columns < LEAST_COLUMNS || rows < LEAST_ROWS => Sight::TooSmall(columns, rows),
            Sight::End => Sight::End,
            _ if left == 0 => Sight::End,
            _ => Sight::Part,
        }
    }

    /// Whether our own annotations can be shown as one line.
    pub(super) fn folds(&self) -> bool {
        self.written.iter().flatten().any(Written::folds)
    }

    /// Whether they are shown in full.
    pub(super) fn is_unfolded(&self) -> bool {
        self.unfolded
    }

    /// Shows our own annotations in full, or as one line. The end of what is shown then was not in sight yet.
    pub(super) fn unfold(&mut self) {
        if self.folds() {
            (self.unfolded, self.sight) = (!self.unfolded, Sight::Part);
        }
    }

    /// What enter does once so much of it was seen, where it does something.
    pub(super) fn enter_at(&self, sight: Sight) -> Option<&'static str> {
        match self.focus {
            Focus::Ticket => Some("take the ticket"),
            _ if self.waits => None,
            Focus::Name => self.takes_name_at(sight).then_some("go on"),
            Focus::No => Some("no"),
            Focus::Yes => Some("yes"),
        }
    }

    /// Why the plans no longer fit what the fleet shows.
    pub(super) fn moved(&self, fleet: &FleetView) -> Option<String> {
        self.plans().zip(&self.basis).find_map(|(plan, then)| watch::moved(plan, then, fleet))
    }

    /// Why the plans are too old for somebody who looks at them.
    pub(super) fn too_old(&self, now: Timestamp) -> Option<String> {
        self.plans().find_map(|plan| too_old(plan, now))
    }

    pub(super) fn key(&mut self, event: KeyEvent, plain: bool) -> Act {
        if self.barred.is_some() {
            return if plain && matches!(event.code, KeyCode::Enter | KeyCode::Char('q')) { Act::Close } else { Act::Stay };
        }
        match (self.focus, event.code) {
            (Focus::Ticket, KeyCode::Enter | KeyCode::Tab | KeyCode::BackTab) => self.leave_ticket(),
            (_, KeyCode::Tab | KeyCode::BackTab) => self.next(event.code == KeyCode::Tab),
            (Focus::Ticket, _) => {
                type_into(&mut self.ticket, event);
                Act::Stay
            }
            // What is shown is about to be replaced: nothing of it can be confirmed.
            _ if self.waits => Act::Stay,
            (Focus::Name, _) if !self.takes_name() => Act::Say(self.out_of_sight()),
            (Focus::Name, KeyCode::Enter) => self.named(),
            (Focus::Name, _) => {
                type_into(&mut self.name, event);
                Act::Stay
            }
            (Focus::Yes, KeyCode::Enter) | (_, KeyCode::Char('y' | 'Y')) if plain => Act::Go,
            (Focus::No, KeyCode::Enter) | (_, KeyCode::Char('n' | 'N' | 'q')) if plain => Act::Close,
            (Focus::No, KeyCode::Left | KeyCode::Right) => self.go_to(Focus::Yes),
            (Focus::Yes, KeyCode::Left | KeyCode::Right) => self.go_to(Focus::No),
            _ => Act::Stay,
        }
    }

    fn go_to(&mut self, focus: Focus) -> Act {
        self.focus = focus;
        Act::Stay
    }

    fn next(&mut self, forward: bool) -> Act {
        let next = match (self.focus, forward) {
            (Focus::No, true) | (Focus::Ticket, false) if self.wanted.is_none() => Focus::Yes,
            (Focus::Yes, false) => Focus::No,
            _ => Focus::Ticket,
        };
        self.go_to(next)
    }

    /// A ticket that is another one than the plans have needs other plans.
    fn leave_ticket(&mut self) -> Act {
        self.focus = if self.wanted.is_some() { Focus::Name } else { Focus::No };
        let ticket = text_of(&self.ticket);
        if ticket == self.has {
            return Act::Stay;
        }
        self.has.clone_from(&ticket);
        Act::Ticket(ticket)
    }

    /// Why nothing can be confirmed yet.
    fn out_of_sight(&self) -> String {
        match self.sight {
            Sight::TooSmall(columns, rows) => too_small(columns, rows),
            _ => "scroll to the end of the preview first: end or pgdn".to_owned(),
        }
    }

    fn named(&mut self) -> Act {
        let Some(wanted) = &self.wanted else { return Act::Stay };
        if self.name.value().trim() == wanted {
            return Act::Go;
        }
        let typed = clean(self.name.value().trim()).into_owned();
        let why = if typed.is_empty() { String::new() } else { format!("\"{typed}\" does not match. ") };
        Act::Say(format!("{why}Type {}, or esc to cancel.", clean(wanted)))
    }

    /// The plans in words.
    pub(super) fn page(&self, page: &mut Page<'_>) {
        for (place, ((prepared, written), before)) in self.prepared.iter().zip(&self.written).zip(&self.before).enumerate() {
            if self.prepared.len() > 1 {
                if place > 0 {
                    page.blank();
                }
                heading(&prepared.plan, place, self.prepared.len(), page);
            } else if let Some(step) = prepared.plan.steps.first() {
                page.say("policy", &step.object.to_string(), Role::Strong);
            }
            plan(prepared, written, before.as_ref(), self.unfolded, page);
        }
    }
}

/// Why a window is too small, and how large it must be.
pub(super) fn too_small(columns: u16, rows: u16) -> String {
    format!("this window ({columns}x{rows}) is too small to read the preview: {LEAST_COLUMNS}x{LEAST_ROWS} or more is needed to confirm")
}

/// The name that has to be typed for a plan.
fn typed_name(plan: &Plan) -> Option<&str> {
    match &plan.confirm {
        ConfirmLevel::TypeName(name) => Some(name),
        ConfirmLevel::Yes => None,
    }
}

fn barred(prepared: &[Prepared], names: &BTreeSet<&str>) -> Option<String> {
    if prepared.is_empty() {
        return Some("there is nothing to do".to_owned());
    }
    if let Some(one) = prepared.iter().find(|one| !one.rehearsed.is_done()) {
        return Some(format!("{} would not take it, so it cannot be carried out", environment_of(&one.plan)));
    }
    (names.len() > 1)
        .then(|| format!("they go to {}: promote them one after the other", names.iter().copied().collect::<Vec<_>>().join(" and ")))
}

fn heading(plan: &Plan, place: usize, of: usize, page: &mut Page<'_>) {
    let what = plan.steps.first().map(|step| clean(&step.object.to_string()).into_owned()).unwrap_or_default();
    let to = target(plan, page.view());
    let mut spans = vec![(what, Role::Strong), (" to ".to_owned(), Role::Muted)];
    spans.extend(to);
    page.line(&format!("{} of {of}", place + 1), spans);
}

/// Where a plan leads: `staging · enforce`.
pub(super) fn target(plan: &Plan, view: &View<'_>) -> Spans {
    let mut spans = vec![wording::environment(environment_of(plan), view)];
    if let Some(mode) = mode_after(plan) {
        spans.push((format!(" {} {}", view.theme.symbols.middot, words::mode_word(mode)), Role::Text));
    }
    spans
}

/// What the policy will do, where the plan is about that.
fn mode_after(plan: &Plan) -> Option<Mode> {
    match plan.operation {
        Operation::Promote => match plan.gate.pointer("/to/mode").and_then(Value::as_str) {
            Some("audit") => Some(Mode::Audit),
            Some("enforce") => Some(Mode::Enforce),
            _ => None,
        },
        Operation::Demote => Some(Mode::Audit),
        _ => None,
    }
}

fn plan(prepared: &Prepared, written: &[Written], before: Option<&Seen>, unfolded: bool, page: &mut Page<'_>) {
    let plan = &prepared.plan;
    place(prepared, page);
    gate(plan, page);
    for written in written {
        written.page(unfolded, page);
    }
    for note in &plan.notes {
        page.say("note", note, Role::Muted);
    }
    for step in &prepared.rehearsed.steps {
        let done = prepared.rehearsed.is_done();
        page.say("server", &step.reason, if done { Role::Good } else { Role::Fault });
        for warning in &step.warnings {
            page.say("kyverno", warning, Role::Attention);
        }
    }
    impact(plan, before, page);
    for warning in &plan.warnings {
        page.say("warning", warning, Role::Attention);
    }
    page.say("undo", plan.undo.words(), Role::Text);
}

/// Environment, context, server and cluster, and who it is that acts.
fn place(prepared: &Prepared, page: &mut Page<'_>) {
    let plan = &prepared.plan;
    let name = environment_of(plan);
    let view = page.view();
    let settings = view.road.environments().iter().find(|one| one.name == name);
    let context = settings.map(|one| one.context.as_deref().unwrap_or("in cluster").to_owned());
    let basis = plan.basis.iter().find(|basis| basis.environment == name);
    let mut pieces = vec![vec![wording::environment(name, view)]];
    let muted = |text: String| vec![(clean(&text).into_owned(), Role::Text)];
    pieces.extend(context.map(|context| muted(format!("context {context}"))));
    pieces.extend(basis.map(|basis| muted(basis.server.clone())).filter(|piece| !piece[0].0.is_empty()));
    pieces.extend(basis.map(|basis| muted(format!("cluster {}", basis.cluster_uid))));
    page.flow("where", pieces);
    let seen = prepared.seen_as.as_ref().map(|seen| format!(" (cluster user {seen})")).unwrap_or_default();
    let ticket = plan.ticket.as_ref().map(|ticket| format!(", ticket {ticket}")).unwrap_or_default();
    page.say("who", &format!("{}{seen}{ticket}", plan.made_by), Role::Text);
    if let Some(signer) = &plan.signer {
        page.say("signed", &format!("by {signer}"), Role::Text);
    } else if settings.is_some_and(|settings| needs_second_eyes(plan, settings)) {
        page.say("signed", "no: someone else has to apply this plan, from a file that you sign (`policydeck plan sign`)", Role::Attention);
    }
}

/// `OPEN  ✓ soak 7d 04h of 7d  ✓ violations 0, limit 0  …`; what is not known with its reason.
fn gate(plan: &Plan, page: &mut Page<'_>) {
    let Some(verdict) = plan.gate.get("verdict").and_then(Value::as_str) else { return };
    let symbols = page.view().theme.symbols;
    let conditions = conditions(&plan.gate);
    let role = if verdict == "open" { Role::Accent } else { Role::Attention };
    let mut pieces = vec![vec![(verdict.to_uppercase(), role)]];
    let piece = |condition: &Condition| {
        let (shape, _, role) = wording::state(condition, symbols);
        let value = wording::value(condition);
        let value = if value.is_empty() { clean(&condition.reason).into_owned() } else { value };
        vec![(shape.to_owned(), role), (format!(" {} {value}", condition.name.as_str()), Role::Text)]
    };
    pieces.extend(conditions.iter().filter(|condition| condition.state == ConditionState::Met).map(piece));
    page.flow("gate", pieces);
    for condition in conditions.iter().filter(|condition| condition.state != ConditionState::Met) {
        let (shape, _, role) = wording::state(condition, symbols);
        page.say("", &format!("{shape} {}: {}", condition.name.as_str(), condition.reason), role);
    }
    if let Some(reason) = plan.gate.get("acknowledged").and_then(Value::as_str) {
        page.say("", &format!("what is not known was acknowledged: {reason}"), Role::Attention);
    }
    for one in plan.gate.get("disregarded").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        page.say("", &format!("disregarded {} (by {}: {})", text("ref"), text("by"), text("reason")), Role::Attention);
    }
}

/// The conditions as the plan keeps them.
fn conditions(gate: &Value) -> Vec<Condition> {
    let read = |condition: &Value| {
        let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = ConditionName::ALL.into_iter().find(|name| name.as_str() == text("name"))?;
        let amount = |key: &str| {
            let number = condition.get(key)?.as_i64()?;
            Some(match name {
                ConditionName::Soak | ConditionName::Fresh => Amount::Time(SignedDuration::from_secs(number)),
                _ => Amount::Count(number.unsigned_abs()),
            })
        };
        let state = match text("state") {
            "met" => ConditionState::Met,
            "unmet" => ConditionState::Unmet,
            _ => ConditionState::Unknown,
        };
        let (source, reason) = (text("source").to_owned(), text("reason").to_owned());
        Some(Condition {
            name,
            state,
            value: amount("value"),
            limit: amount("limit"),
            source,
            evidence: Vec::new(),
            more_evidence: 0,
            reason,
        })
    };
    gate.get("conditions").and_then(Value::as_array).into_iter().flatten().filter_map(read).collect()
}

/// What it comes to for those who work there.
fn impact(plan: &Plan, before: Option<&Seen>, page: &mut Page<'_>) {
    if !plan.impact.is_empty() {
        plan.impact.iter().for_each(|line| page.say("impact", line, Role::Text));
        return;
    }
    let failing = before.map(|seen| match (seen.faults, seen.evaluated_at) {
        (Some(0), None) => "; violations unknown until the first scan".to_owned(),
        (Some(faults), _) => format!("; {} now", words::counted(faults, "workload fails", "workloads fail")),
        (None, _) => "; how many fail now is unknown".to_owned(),
    });
    let failing = failing.unwrap_or_default();
    match (plan.operation, mode_after(plan)) {
        (Operation::Promote, Some(Mode::Enforce)) => {
            page.say("impact", &format!("what violates it is blocked from then on{failing}"), Role::Text);
        }
        (Operation::Promote | Operation::Demote, Some(Mode::Audit)) => {
            page.say("impact", &format!("audit only: nothing is blocked{failing}"), Role::Text);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Gate, PolicyId, Stop, Verdict};

    #[test]
    fn a_gate_is_read_back_from_its_plan_as_it_was() {
        let condition = |name, state, value, limit| Condition {
            name,
            state,
            value,
            limit,
            source: "events".to_owned(),
            evidence: Vec::new(),
            more_evidence: 0,
            reason: "because".to_owned(),
        };
        let hours = |hours| Some(Amount::Time(SignedDuration::from_hours(hours)));
        let gate = Gate {
            policy: PolicyId { group: String::new(), kind: String::new(), namespace: None, name: "one".to_owned() },
            from: None,
            to: Stop { environment: "qac".into(), mode: Mode::Audit },
            verdict: Verdict::Unknown,
            opens_at: None,
            conditions: vec![
                condition(ConditionName::Soak, ConditionState::Met, hours(172), hours(168)),
                condition(ConditionName::Violations, ConditionState::Unmet, Some(Amount::Count(3)), Some(Amount::Count(0))),
                condition(ConditionName::Blocked, ConditionState::Unknown, None, Some(Amount::Count(0))),
                condition(ConditionName::Hold, ConditionState::Met, None, None),
            ],
            disregarded: Vec::new(),
        };
        assert_eq!(conditions(&serde_json::to_value(&gate).unwrap()), gate.conditions);
        assert_eq!(conditions(&Value::Null), []);
    }
}
