//! Operations in the program: their dialog, and an end that waits for what is under way.
//!
//! What lives here: between the dialog and everything else. What does not: the dialog itself (`overlays::operation`).

use super::{App, Effect};
use crate::tui::acting::{Operations, Progress, Wish};
use crate::tui::keys::Verb;
use crate::tui::msg::Answer;
use crate::tui::overlays::operation::{Act, Dialog};
use crate::tui::pace::due;
use crate::tui::screens::operations::{PROMOTE, is_operation};
use crossterm::event::KeyEvent;
use jiff::{SignedDuration, Timestamp};

/// So long the program waits for what becomes of a write before it ends without knowing.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);
const UNDER_WAY: &str = "A write is in progress; waiting for its result";

/// Whether the program is about to end.
#[derive(Debug, Default)]
pub(super) struct Quitting {
    /// Until when it waits for what is under way.
    until: Option<Timestamp>,
    /// It ended without knowing.
    given_up: bool,
    words: Option<String>,
}

impl App {
    /// Why a verb cannot work here and now.
    pub(super) fn blocked(&self, verb: Verb) -> Option<&'static str> {
        if is_operation(verb) {
            if let Operations::Impossible(why) = self.options.operations {
                return Some(why);
            }
            if self.operation.as_ref().is_some_and(Dialog::is_writing) {
                return None;
            }
            if self.options.read_only {
                return Some("the screen was started with --read-only: nothing is changed");
            }
            let watched = |name: &str| self.fleet.environments.iter().any(|view| *view.name == *name);
            if verb == PROMOTE && !self.options.road.environments().iter().all(|one| watched(&one.name)) {
                return Some("only a part of the pipeline is shown: start without -e to promote");
            }
        }
        self.stage.screen().blocked(verb, &self.fleet)
    }

    /// Begins an operation; one that is being carried out is looked at again instead.
    pub(super) fn operate(&mut self, wish: Wish, effects: &mut Vec<Effect>) {
        if let Some(writing) = self.operation.as_mut().filter(|operation| operation.is_writing()) {
            writing.come_back();
            self.say("one thing at a time: this is still under way".to_owned());
            return;
        }
        let acknowledge = matches!(self.options.operations, Operations::Possible { acknowledge: true });
        self.overlay = None;
        self.operation = Some(self.with_stage(effects, |_, cx| Dialog::open(wish, acknowledge, cx)));
    }

    /// A key, if an operation takes it.
    pub(super) fn operation_key(&mut self, event: KeyEvent, verb: Option<Verb>, effects: &mut Vec<Effect>) -> bool {
        let Some(mut dialog) = self.operation.take_if(|dialog| !dialog.is_aside()) else { return false };
        self.said = None;
        let act = self.with_stage(effects, |_, cx| dialog.key(event, verb, cx));
        if act != Act::Close {
            self.operation = Some(dialog);
        }
        if let Act::Run(verb) = act {
            self.run(verb, effects);
        }
        if self.options.save.is_none() && effects.iter().any(|effect| matches!(effect, Effect::Save(_))) {
            effects.retain(|effect| !matches!(effect, Effect::Save(_)));
            self.say("cannot save: no home folder".to_owned());
        }
        true
    }

    pub(super) fn operation_answered(&mut self, number: u64, answer: &Answer, effects: &mut Vec<Effect>) {
        let Some(mut dialog) = self.operation.take() else { return };
        let was_writing = dialog.is_writing();
        let told = self.with_stage(effects, |_, cx| dialog.answered(number, answer, cx));
        let ended = was_writing && !dialog.is_writing();
        self.operation = Some(dialog);
        for sentence in &told {
            self.tell(sentence.clone());
        }
        if ended {
            // What was judged before is not how it is now.
            self.with_screen(effects, |screen, cx| screen.shown(cx));
            if self.quitting.until.take().is_some() {
                self.quitting.words = Some(told.join("; "));
                effects.push(Effect::Quit);
            }
        }
    }

    pub(super) fn operation_progress(&mut self, progress: Progress) {
        if let Some(dialog) = &mut self.operation {
            dialog.progress(progress);
        }
    }

    pub(super) fn operation_clock(&mut self, effects: &mut Vec<Effect>) {
        if let Some(dialog) = &mut self.operation {
            dialog.clock(self.now);
        }
        if self.quitting.until.is_some_and(|until| due(until, PATIENCE, self.now)) {
            self.quitting.given_up = true;
            self.quitting.words = Some(
                "what became of the write is not known; `policydeck audit show` has what was meant to be done, and the cluster has to be looked at"
                    .to_owned(),
            );
            effects.push(Effect::Quit);
        }
    }

    /// Ends the program, once it is known what became of a write that is under way.
    pub(super) fn quit(&mut self, effects: &mut Vec<Effect>) {
        if !self.operation.as_ref().is_some_and(Dialog::is_writing) {
            effects.push(Effect::Quit);
            return;
        }
        self.quitting.until.get_or_insert(self.now + PATIENCE);
        self.say(format!("{UNDER_WAY}; then the program ends"));
    }

    /// A program that is stopped cannot find out what becomes of a write.
    pub(super) fn suspend(&mut self, effects: &mut Vec<Effect>) {
        if self.operation.as_ref().is_some_and(Dialog::is_writing) {
            self.say(UNDER_WAY.to_owned());
        } else {
            effects.push(Effect::Suspend);
        }
    }

    /// What is to be said after the screen was left.
    pub(crate) fn last_words(&self) -> Option<&str> {
        self.quitting.words.as_deref()
    }

    /// Whether it ended without waiting any longer for what is under way.
    pub(crate) fn has_given_up(&self) -> bool {
        self.quitting.given_up
    }
}
