//! A filter while it is typed.
//!
//! What lives here: editing it, and applying it with every key. What does not: what it means (the screens).

use super::{App, Effect};
use crate::domain::clean;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// A filter being typed, and the one to go back to.
pub(super) struct Typing {
    pub(super) input: Input,
    before: String,
    pub(super) problem: Option<String>,
}

impl Typing {
    /// Begins with the filter in force.
    pub(super) fn new(before: &str) -> Self {
        Self { input: Input::new(before.to_owned()), before: before.to_owned(), problem: None }
    }
}

impl App {
    pub(super) fn type_filter(&mut self, event: KeyEvent, effects: &mut Vec<Effect>) {
        let Some(typing) = &mut self.typing else { return };
        match (event.code, event.modifiers) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL) => {
                self.quit(effects);
                return;
            }
            (KeyCode::Enter, _) => {
                let (problem, before) = (typing.problem.take(), typing.before.clone());
                self.typing = None;
                if let Some(problem) = problem {
                    self.apply_filter(&before, effects);
                    self.say(problem);
                }
                return;
            }
            (KeyCode::Esc, _) => {
                self.typing = None;
                self.apply_filter("", effects);
                return;
            }
            _ => {
                typing.input.handle_event(&Event::Key(event));
            }
        }
        let text = typing.input.value().to_owned();
        self.apply_filter(&text, effects);
    }

    /// The filter works while it is typed; what is not understood (yet) leaves the last one in force.
    fn apply_filter(&mut self, text: &str, effects: &mut Vec<Effect>) {
        let problem = self.with_screen(effects, |screen, cx| screen.set_filter(text, cx)).err();
        if let Some(typing) = &mut self.typing {
            typing.problem = problem;
        }
    }

    pub(super) fn paste(&mut self, text: &str, effects: &mut Vec<Effect>) {
        if let Some(operation) = self.operation.as_mut().filter(|operation| !operation.is_aside()) {
            operation.paste(text);
        } else if let Some(overlay) = &mut self.overlay {
            overlay.paste(text);
        } else if let Some(typing) = &mut self.typing {
            let value = format!("{}{}", typing.input.value(), clean(text));
            typing.input = Input::new(value.clone());
            self.apply_filter(&value, effects);
        }
    }
}
