//! A plan that waits for a confirmation: where first, then why it may, what changes, what to know, and how it is taken back.
//!
//! What lives here: what is shown and typed meanwhile. What does not: making the plan, carrying it out.

use super::page::Page;
use super::watch::{self, Seen};
use super::{environment_of, policy_of, text_of, type_into};
use crate::domain::{Amount, Condition, ConditionName, ConditionState, Mode, clean};
use crate::fleet::view::FleetView;
use crate::kinds::transfer::OURS;
use crate::ops::diff::Change;
use crate::ops::plan::{CommitPlan, ConfirmLevel, Operation, Plan, Verb, to_file, too_old};
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

/// Where the keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Ticket,
    /// The name that has to be typed.
    Name,
    No,
    Yes,
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
        let focus = if wanted.is_some() { Focus::Name } else { Focus::No };
        Self {
            before,
            basis,
            prepared,
            focus,
            ticket: Input::new(ticket.unwrap_or_default().to_owned()),
            has: ticket.map(str::to_owned),
            name: Input::default(),
            wanted,
            barred,
            waits: false,
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
            Focus::Name if !self.waits => Some(&mut self.name),
            _ => None,
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

    fn named(&mut self) -> Act {
        let Some(wanted) = &self.wanted else { return Act::Stay };
        if self.name.value().trim() == wanted {
            return Act::Go;
        }
        let typed = clean(self.name.value().trim()).into_owned();
        let why = if typed.is_empty() { "nothing was typed".to_owned() } else { format!("{typed} is not its name") };
        Act::Say(format!("{why}: type {} to go on, or esc", clean(wanted)))
    }

    /// The plans in words.
    pub(super) fn page(&self, page: &mut Page<'_>) {
        for (place, (prepared, before)) in self.prepared.iter().zip(&self.before).enumerate() {
            if self.prepared.len() > 1 {
                if place > 0 {
                    page.blank();
                }
                heading(&prepared.plan, place, self.prepared.len(), page);
            }
            plan(prepared, before.as_ref(), page);
        }
    }
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

fn plan(prepared: &Prepared, before: Option<&Seen>, page: &mut Page<'_>) {
    let plan = &prepared.plan;
    place(prepared, page);
    gate(plan, page);
    for step in &plan.steps {
        let added = step.diff.iter().filter(|line| line.change == Change::Added).count();
        let how = if step.before.is_none() { format!(", {}", words::counted(added as u64, "line", "lines")) } else { String::new() };
        page.say("change", &format!("{} {}{how}", step.verb.as_str(), step.object), Role::Strong);
        // What the policy will say comes before what we write beside it.
        let (ours, theirs): (Vec<_>, Vec<_>) = step.diff.iter().partition(|line| line.path.contains(OURS));
        for line in theirs {
            let (mark, role) = match line.change {
                Change::Added => ("", Role::Good),
                Change::Removed => ("", Role::Fault),
                Change::Changed => ("~ ", Role::Attention),
            };
            page.code(&format!("{mark}{line}"), role);
        }
        for line in ours {
            page.code(&line.to_string(), Role::Muted);
        }
        if let Verb::Commit { commit } = &step.verb {
            committed(commit, page);
        }
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

/// Where a commit is pushed to, what of each file changes, and its message, word for word.
fn committed(commit: &CommitPlan, page: &mut Page<'_>) {
    page.say("git", &format!("{}, branch {}", commit.repo, commit.branch), Role::Text);
    let push = if commit.is_proposal() {
        format!("{}, a branch of its own: open a pull request afterwards; nothing changes before it is merged", commit.to)
    } else {
        format!("{} itself: the tool that reads it applies it", commit.to)
    };
    page.say("push", &push, Role::Attention);
    for file in &commit.files {
        page.say("file", &file.path, Role::Strong);
        for line in file.diff.lines() {
            let role = match line.as_bytes().first() {
                Some(b'+') => Role::Good,
                Some(b'-') => Role::Fault,
                _ => Role::Muted,
            };
            page.verbatim(line, role);
        }
    }
    for (place, line) in commit.message.lines().enumerate() {
        page.say(if place == 0 { "message" } else { "" }, line, Role::Muted);
    }
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
    let seen = prepared.seen_as.as_ref().map(|seen| format!(", seen there as {seen}")).unwrap_or_default();
    let ticket = plan.ticket.as_ref().map(|ticket| format!(", ticket {ticket}")).unwrap_or_default();
    page.say("who", &format!("{}{seen}{ticket}", plan.made_by), Role::Text);
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
        Some(Condition { name, state, value: amount("value"), limit: amount("limit"), source, reason })
    };
    gate.get("conditions").and_then(Value::as_array).into_iter().flatten().filter_map(read).collect()
}

/// What it comes to for those who work there.
fn impact(plan: &Plan, before: Option<&Seen>, page: &mut Page<'_>) {
    if !plan.impact.is_empty() {
        plan.impact.iter().for_each(|line| page.say("impact", line, Role::Text));
        return;
    }
    let failing = before.map(|seen| match seen.faults {
        Some(faults) => format!("; {} now", words::counted(faults, "owner fails", "owners fail")),
        None => "; how many fail now is not known".to_owned(),
    });
    let failing = failing.unwrap_or_default();
    match (plan.operation, mode_after(plan)) {
        (Operation::Promote, Some(Mode::Enforce)) => {
            page.say("impact", &format!("what violates it is refused from then on{failing}"), Role::Text);
        }
        (Operation::Promote | Operation::Demote, Some(Mode::Audit)) => {
            page.say("impact", &format!("audit only: nothing is refused{failing}"), Role::Text);
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
        let condition =
            |name, state, value, limit| Condition { name, state, value, limit, source: "events".to_owned(), reason: "because".to_owned() };
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
        };
        assert_eq!(conditions(&serde_json::to_value(&gate).unwrap()), gate.conditions);
        assert_eq!(conditions(&Value::Null), []);
    }
}
