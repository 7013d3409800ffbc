//! An operation from the key to its outcome: planned, previewed, confirmed, carried out.
//!
//! What lives here: the dialog's states and how keys and answers change them. Its parts: `preview` (a plan that waits for a confirmation),
//! `stopped` (why there is none), `running` (while it is carried out, and what became of it), `choices` (where, and back to what), `watch`
//! (whether what a plan was made from still stands), `written` (what a plan writes), `page` (text with words at its left), `view` (drawing). What does not: making plans and
//! carrying them out (`engine::operations`), which verb means which wish (the screens).
//!
//! ```text
//! choices ─▶ planning ─▶ preview ─▶ running ─▶ ended
//!               │           │          │
//!               └───────────┴──────────┴────▶ stopped
//! ```
//!
//! Keys and pasted text count only once the state they are meant for was drawn: what was typed before it was meant for something else.

mod choices;
mod page;
mod preview;
mod running;
mod stopped;
mod view;
mod watch;
mod written;

use crate::domain::{PolicyId, Tier, clean};
use crate::engine::operations::{Declined, Former, Outcome as Done};
use crate::fleet::view::FleetView;
use crate::ops::plan::{Operation, Plan};
use crate::tui::acting::{Carried, Deed, Preparation, Progress, Wish};
use crate::tui::keys::{Chord, Verb};
use crate::tui::msg::{Answer, Ask, Effect};
use crate::tui::screens::Cx;
use crate::tui::screens::operations::ROLLBACK;
use choices::{Environments, Formers};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use preview::{Preview, Sight};
use running::{Ended, Running};
use std::sync::Arc;
use stopped::{Stopped, Why};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// A line that somebody types is no longer than this.
const LONGEST: usize = 200;

/// What a key came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The dialog stays.
    Stay,
    /// The dialog closes.
    Close,
    /// The program does this.
    Run(Verb),
}

/// Where the operation is.
enum State {
    Environments(Environments),
    Formers(Formers),
    /// A hold's reason is asked for.
    Reason(Input),
    Planning(Timestamp),
    Preview(Box<Preview>),
    Stopped(Stopped),
    Running(Running),
    Ended(Ended),
}

/// See the module.
pub(crate) struct Dialog {
    wish: Wish,
    /// An unknown gate may be passed with a reason.
    acknowledge: bool,
    /// The question whose answer is waited for.
    pending: Option<u64>,
    state: State,
    /// The first line in sight, and how many there was room for.
    scroll: usize,
    height: usize,
    /// How much of a preview is on the screen that was painted last.
    sight: Option<Sight>,
    /// Whether somebody could see the state.
    drawn: bool,
    /// Somebody looks at something else while plans are carried out.
    aside: bool,
}

impl Dialog {
    /// Begins with a wish: what has to be chosen first is asked for, else plans are made.
    pub(crate) fn open(wish: Wish, acknowledge: bool, cx: &mut Cx<'_>) -> Self {
        let mut dialog = Self {
            wish,
            acknowledge,
            pending: None,
            state: State::Planning(cx.now),
            scroll: 0,
            height: 0,
            sight: None,
            drawn: false,
            aside: false,
        };
        dialog.begin(cx);
        dialog
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        match (&self.wish.deed, &self.wish.environment, self.wish.policies.first()) {
            (Deed::Unblock, None, _) => {
                let names = cx.fleet.environments.iter().map(|view| Arc::clone(&view.name)).collect();
                self.become_state(State::Environments(Environments::new(names)));
            }
            (Deed::Rollback(None), Some(environment), Some(policy)) => {
                let ask = Ask::Formers { environment: Arc::clone(environment), policy: policy.clone() };
                self.pending = Some(cx.ask(ask));
                self.become_state(State::Formers(Formers::default()));
            }
            _ => self.plan(cx),
        }
    }

    fn plan(&mut self, cx: &mut Cx<'_>) {
        self.pending = Some(cx.ask(Ask::Prepare(self.wish.clone())));
        self.become_state(State::Planning(cx.now));
    }

    /// Whatever comes next has to be seen before a key is meant for it.
    fn become_state(&mut self, state: State) {
        (self.state, self.scroll, self.sight, self.drawn) = (state, 0, None, false);
    }

    /// It was drawn where a person can see it.
    pub(crate) fn drawn(&mut self) {
        self.drawn = true;
        if let (State::Preview(preview), Some(sight)) = (&mut self.state, self.sight) {
            preview.sight = sight;
        }
    }

    /// Whether plans are being carried out.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether somebody looks at something else meanwhile.
    pub(crate) fn is_aside(&self) -> bool {
        self.aside
    }

    /// Looks at it again.
    pub(crate) fn come_back(&mut self) {
        (self.aside, self.drawn) = (false, false);
    }

    /// A key, with the verb it means elsewhere.
    pub(crate) fn key(&mut self, event: KeyEvent, verb: Option<Verb>, cx: &mut Cx<'_>) -> Act {
        let plain = event.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        if let Some(verb @ (Verb::Quit | Verb::Suspend | Verb::Redraw)) = verb.filter(|_| !plain) {
            return Act::Run(verb);
        }
        if !self.drawn {
            return Act::Stay;
        }
        if self.scrolls(event.code) {
            return Act::Stay;
        }
        if event.code == KeyCode::Esc {
            return self.escape(cx);
        }
        match &mut self.state {
            State::Environments(list) => {
                if let Some(name) = list.key(event.code) {
                    self.wish.environment = Some(name);
                    self.begin(cx);
                }
            }
            State::Formers(list) => {
                if let Some(former) = list.key(event.code) {
                    self.wish.deed = Deed::Rollback(Some(former));
                    self.plan(cx);
                }
            }
            State::Reason(input) => {
                if event.code != KeyCode::Enter {
                    type_into(input, event);
                } else if let Some(reason) = text_of(input) {
                    self.wish.deed = Deed::Hold(Some(reason));
                    self.plan(cx);
                }
            }
            State::Preview(_) => return self.preview_key(event, plain, verb, cx),
            State::Stopped(_) => return self.stopped_key(event, verb, cx),
            State::Ended(ended) if verb == Some(ROLLBACK) && ended.leaves_something() => self.roll_back(cx),
            State::Ended(ended) => match event.code {
                KeyCode::Enter | KeyCode::Char('q') if plain => return Act::Close,
                KeyCode::Char('c') if plain => cx.copy("what became of it", ended.text()),
                _ => {}
            },
            State::Planning(_) | State::Running(_) => {
                if plain && event.code == KeyCode::Char('q') {
                    return self.escape(cx);
                }
            }
        }
        Act::Stay
    }

    /// Back to what was there before the plan that was carried out.
    fn roll_back(&mut self, cx: &mut Cx<'_>) {
        let State::Ended(ended) = &self.state else { return };
        let Some((policy, plan)) = ended.plans.first().and_then(|plan| Some((policy_of(plan)?, plan))) else { return };
        self.wish = Wish::new(Deed::Rollback(None), vec![policy], Some(Arc::from(environment_of(plan))));
        self.begin(cx);
    }

    fn escape(&mut self, cx: &mut Cx<'_>) -> Act {
        if !self.is_writing() {
            return Act::Close;
        }
        self.aside = true;
        *cx.say = Some("It continues in the background; the result will appear here.".to_owned());
        Act::Stay
    }

    /// Moves through the text, except where keys move through a list.
    fn scrolls(&mut self, code: KeyCode) -> bool {
        if matches!(self.state, State::Environments(_) | State::Formers(_)) {
            return false;
        }
        // A line of what was read stays in sight.
        let page = self.height.saturating_sub(1).max(1);
        self.scroll = match code {
            KeyCode::Up => self.scroll.saturating_sub(1),
            KeyCode::Down => self.scroll.saturating_add(1),
            KeyCode::PageUp => self.scroll.saturating_sub(page),
            KeyCode::PageDown => self.scroll.saturating_add(page),
            KeyCode::Home if !self.types() => 0,
            KeyCode::End if !self.types() => usize::MAX / 2,
            _ => return false,
        };
        true
    }

    /// Whether keys that move within a line are for one that is typed.
    fn types(&self) -> bool {
        match &self.state {
            State::Reason(_) => true,
            State::Preview(preview) => preview.types(),
            State::Stopped(stopped) => stopped.reason.is_some(),
            _ => false,
        }
    }

    fn preview_key(&mut self, event: KeyEvent, plain: bool, verb: Option<Verb>, cx: &mut Cx<'_>) -> Act {
        let State::Preview(preview) = &mut self.state else { return Act::Stay };
        if verb == Some(Verb::Save) && !plain {
            cx.effects.push(Effect::Save(preview.file()));
            return Act::Stay;
        }
        if Chord::from(event).to_string() == written::UNFOLD {
            preview.unfold();
            return Act::Stay;
        }
        match preview.key(event, plain) {
            preview::Act::Stay => {}
            preview::Act::Close => return Act::Close,
            preview::Act::Say(why) => *cx.say = Some(why),
            preview::Act::Ticket(ticket) => {
                // The ticket is written into the policy: what is confirmed has to have it.
                self.wish.ticket = ticket;
                let number = cx.ask(Ask::Prepare(self.wish.clone()));
                preview.wait();
                self.pending = Some(number);
            }
            preview::Act::Go => return self.carry_out(cx),
        }
        Act::Stay
    }

    /// What was confirmed is what is carried out.
    fn carry_out(&mut self, cx: &mut Cx<'_>) -> Act {
        let State::Preview(preview) = &self.state else { return Act::Stay };
        let plans: Arc<[Plan]> = preview.plans().cloned().collect();
        if let Some(why) = preview.too_old(cx.now) {
            self.stop(Why::Moved(why));
            return Act::Stay;
        }
        *cx.last_number += 1;
        let number = *cx.last_number;
        cx.effects.push(Effect::CarryOut(number, Arc::clone(&plans)));
        self.pending = Some(number);
        let running = Running { before: preview.before.clone(), plans, since: cx.now, progress: Progress::default() };
        self.become_state(State::Running(running));
        Act::Stay
    }

    fn stop(&mut self, why: Why) {
        // What is withdrawn was about that environment.
        if let (State::Preview(preview), None) = (&self.state, &self.wish.environment) {
            self.wish.environment = preview.plans().next().map(|plan| Arc::from(environment_of(plan)));
        }
        self.become_state(State::Stopped(Stopped { policy: None, why, reason: None }));
    }

    fn stopped_key(&mut self, event: KeyEvent, verb: Option<Verb>, cx: &mut Cx<'_>) -> Act {
        let State::Stopped(stopped) = &mut self.state else { return Act::Stay };
        let plain = event.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        let manifest = stopped.manifest().map(str::to_owned);
        match (&mut stopped.reason, event.code) {
            (Some(input), KeyCode::Enter) => {
                if let Some(reason) = text_of(input) {
                    match stopped.refuted() {
                        refuted if refuted.is_empty() => self.wish.acknowledge = Some(reason),
                        refuted => {
                            self.wish.disregard.extend(refuted);
                            self.wish.reason = Some(reason);
                        }
                    }
                    self.plan(cx);
                }
            }
            (Some(input), _) => type_into(input, event),
            (None, KeyCode::Char('c')) if plain => match manifest {
                Some(manifest) => cx.copy("the manifest", manifest),
                None => cx.copy("the reason", stopped.text()),
            },
            (None, _) if verb == Some(Verb::Save) => match manifest {
                Some(manifest) => cx.effects.push(Effect::Save(manifest)),
                None => cx.effects.push(Effect::Save(stopped.text())),
            },
            (None, KeyCode::Enter | KeyCode::Char('q')) if plain => return Act::Close,
            (None, _) => {}
        }
        Act::Stay
    }

    /// Pasted text.
    pub(crate) fn paste(&mut self, text: &str) {
        if !self.drawn {
            return;
        }
        let input = match &mut self.state {
            State::Reason(input) => Some(input),
            State::Preview(preview) => preview.input(),
            State::Stopped(stopped) => stopped.reason.as_mut(),
            _ => None,
        };
        if let Some(input) = input {
            let value: String = format!("{}{}", input.value(), clean(text)).chars().take(LONGEST).collect();
            *input = Input::new(value);
        }
    }

    /// The wheel.
    pub(crate) fn wheel(&mut self, lines: isize) {
        self.scroll = self.scroll.saturating_add_signed(lines);
    }

    /// An answer, if it is the one waited for. What is to be told of it comes back.
    pub(crate) fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) -> Vec<String> {
        if self.pending != Some(number) {
            return Vec::new();
        }
        self.pending = None;
        match answer {
            Answer::Formers(formers) => match formers.as_ref() {
                Ok(formers) => {
                    let formers: Vec<Arc<Former>> = formers.iter().cloned().map(Arc::new).collect();
                    self.become_state(State::Formers(Formers::new(formers)));
                }
                Err(why) => self.stop(Why::Declined(why.clone())),
            },
            Answer::Prepared(preparation) => self.prepared(preparation, cx),
            Answer::CarriedOut(carried) => return self.carried_out(carried, cx),
            _ => {}
        }
        Vec::new()
    }

    fn prepared(&mut self, preparation: &Preparation, cx: &Cx<'_>) {
        match preparation {
            Preparation::Plans(plans) => {
                let mut next = Preview::new(plans.clone(), self.wish.ticket.as_deref(), cx.fleet);
                let scroll = self.scroll;
                let again = if let State::Preview(before) = &self.state {
                    next.take_focus(before);
                    true
                } else {
                    false
                };
                self.become_state(State::Preview(Box::new(next)));
                if again {
                    self.scroll = scroll;
                }
            }
            Preparation::ReasonWanted => self.become_state(State::Reason(Input::default())),
            Preparation::Declined { policy, why } => {
                let mut stopped = Stopped { policy: policy.clone(), why: Why::Declined(why.clone()), reason: None };
                let passable = matches!(why, Declined::Gate(gate) if gate.verdict == crate::domain::Verdict::Unknown);
                stopped.reason = (self.acknowledge && (passable || !stopped.refuted().is_empty())).then(Input::default);
                self.become_state(State::Stopped(stopped));
            }
        }
    }

    fn carried_out(&mut self, carried: &Carried, cx: &Cx<'_>) -> Vec<String> {
        let State::Running(running) = &self.state else { return Vec::new() };
        let ended = Ended { plans: Arc::clone(&running.plans), carried: Arc::clone(carried), before: running.before.clone(), at: cx.now };
        let told = ended.sentences();
        self.become_state(State::Ended(ended));
        self.aside = false;
        told
    }

    /// How far it is.
    pub(crate) fn progress(&mut self, progress: Progress) {
        if let State::Running(running) = &mut self.state {
            running.progress = progress;
        }
    }

    /// A newer view of the fleet: the target of a preview is frozen.
    pub(crate) fn fleet_changed(&mut self, fleet: &FleetView) {
        if let State::Preview(preview) = &self.state
            && let Some(why) = preview.moved(fleet)
        {
            self.pending = None;
            self.stop(Why::Moved(why));
        }
    }

    /// Time goes on: a plan that somebody looks at gets old.
    pub(crate) fn clock(&mut self, now: Timestamp) {
        let old = if let State::Preview(preview) = &self.state { preview.too_old(now) } else { None };
        if let Some(why) = old {
            self.pending = None;
            self.stop(Why::Moved(why));
        }
    }

    /// What is done: the word that titles begin with.
    fn word(&self) -> &'static str {
        let plan = match &self.state {
            State::Preview(preview) => preview.plans().next().map(|plan| plan.operation),
            State::Running(running) => running.plans.first().map(|plan| plan.operation),
            State::Ended(ended) => ended.plans.first().map(|plan| plan.operation),
            _ => None,
        };
        match (plan, &self.wish.deed) {
            (Some(Operation::Promote), _) | (None, Deed::Promote) => "Promote",
            (Some(Operation::Demote), _) | (None, Deed::Demote) => "Demote",
            (Some(Operation::Rollback), _) | (None, Deed::Rollback(_)) => "Roll back",
            (Some(Operation::Hold), _) => "Hold",
            (Some(Operation::Release), _) => "Release",
            (None, Deed::Hold(_)) => "Hold or release",
            (Some(Operation::Unblock), _) | (None, Deed::Unblock) => "Unblock",
            (Some(Operation::Undo), _) => "Undo",
        }
    }

    /// On what: a name, or how many.
    fn what(&self) -> String {
        match self.wish.policies.as_slice() {
            [] => "workloads".to_owned(),
            [one] => clean(&one.report_name()).into_owned(),
            many => format!("{} policies", many.len()),
        }
    }
}

/// Lets a key edit a line.
fn type_into(input: &mut Input, event: KeyEvent) {
    if !matches!(event.code, KeyCode::Char(_)) || input.value().chars().count() < LONGEST {
        input.handle_event(&Event::Key(event));
    }
}

/// What was typed, if it says anything.
fn text_of(input: &Input) -> Option<String> {
    let text = input.value().trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The policy that a plan is about.
fn policy_of(plan: &Plan) -> Option<PolicyId> {
    let object = &plan.steps.first()?.object;
    Some(PolicyId {
        group: object.group.clone(),
        kind: object.kind.clone(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    })
}

/// Where a plan writes.
fn environment_of(plan: &Plan) -> &str {
    plan.steps.first().map_or("", |step| step.environment.as_str())
}

/// The word and the mark of what became of a plan.
fn is_done(result: &Result<Done, Declined>) -> bool {
    result.as_ref().is_ok_and(Done::is_done)
}

fn is_production(name: &str, fleet: &FleetView) -> bool {
    fleet.environments.iter().any(|view| *view.name == *name && view.tier == Tier::Production)
}
