//! What has to be chosen before there can be a plan: where, and back to what.

use super::page::Page;
use crate::domain::clean;
use crate::engine::operations::{Former, Kept};
use crate::tui::screens::View;
use crate::tui::screens::rollout::wording;
use crate::tui::text::pad;
use crate::tui::theme::Role;
use crate::tui::words;
use crossterm::event::KeyCode;
use std::sync::Arc;

/// Moves through a list; `None` where the key does not.
fn moved(place: usize, len: usize, code: KeyCode) -> Option<usize> {
    let last = len.saturating_sub(1);
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => place.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (place + 1).min(last),
        KeyCode::PageUp => place.saturating_sub(10),
        KeyCode::PageDown => (place + 10).min(last),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => return None,
    })
}

/// In which environment.
pub(super) struct Environments {
    names: Vec<Arc<str>>,
    place: usize,
}

impl Environments {
    pub(super) fn new(names: Vec<Arc<str>>) -> Self {
        Self { names, place: 0 }
    }

    /// Moves, or says what was chosen.
    pub(super) fn key(&mut self, code: KeyCode) -> Option<Arc<str>> {
        if code == KeyCode::Enter {
            return self.names.get(self.place).cloned();
        }
        self.place = moved(self.place, self.names.len(), code).unwrap_or(self.place);
        None
    }

    pub(super) fn page(&self, page: &mut Page<'_>) {
        page.say("where", "In which environment does Kyverno not answer?", Role::Text);
        page.blank();
        for (place, name) in self.names.iter().enumerate() {
            let (label, role) = wording::environment(name, page.view());
            page.choice(vec![(label, role)], place == self.place);
        }
        if self.names.is_empty() {
            page.say("", "There is no environment.", Role::Muted);
        }
    }
}

/// Back to what. Nothing is known of it yet while `list` is `None`.
#[derive(Default)]
pub(super) struct Formers {
    list: Option<Vec<Arc<Former>>>,
    place: usize,
}

impl Formers {
    pub(super) fn new(list: Vec<Arc<Former>>) -> Self {
        Self { list: Some(list), place: 0 }
    }

    /// Whether there is something to choose.
    pub(super) fn has_any(&self) -> bool {
        self.list.as_ref().is_some_and(|list| !list.is_empty())
    }

    /// Moves, or says what was chosen.
    pub(super) fn key(&mut self, code: KeyCode) -> Option<Arc<Former>> {
        let list = self.list.as_ref()?;
        if code == KeyCode::Enter {
            return list.get(self.place).cloned();
        }
        self.place = moved(self.place, list.len(), code).unwrap_or(self.place);
        None
    }

    /// ```text
    /// back to  what it was
    ///
    /// ▌ Nov 25 09:14   audit     before promote   jane as jane@example.com
    /// ```
    pub(super) fn page(&self, page: &mut Page<'_>) {
        let Some(list) = &self.list else {
            page.say("looking", "for archives and records that have it", Role::Muted);
            return;
        };
        if list.is_empty() {
            page.say(
                "nothing",
                "Neither an archive nor the history has another state of this policy here: there is nothing to go back to.",
                Role::Attention,
            );
            page.say(
                "",
                "An archive is written before each operation. What it was elsewhere or earlier can be applied with kubectl.",
                Role::Muted,
            );
            return;
        }
        page.say("back to", "what it was:", Role::Text);
        page.blank();
        for (place, former) in list.iter().enumerate() {
            page.choice(line(former, page.view()), place == self.place);
        }
    }
}

fn line(former: &Former, view: &View<'_>) -> Vec<(String, Role)> {
    let mode = format!("{} {}", view.theme.symbols.mode(former.mode), words::mode_word(former.mode));
    let from = match &former.kept {
        Kept::Archive { before, .. } => format!("before {}", clean(before)),
        Kept::History { .. } => "as recorded".to_owned(),
    };
    vec![
        (pad(&words::minute(former.at, view.zone), 15), Role::Text),
        (pad(&mode, 13), Role::Strong),
        (pad(&from, 18), Role::Text),
        (clean(former.actor.as_deref().unwrap_or_default()).into_owned(), Role::Muted),
    ]
}
