//! One step in full: its entries, read again from the files, and what the cluster shows of it where nobody knows its outcome.
//!
//! What lives here: what was asked and what came. What does not: drawing (`entry_view`).

use super::book::Book;
use crate::domain::journal::{Record, Spot, Step, StepResult, Whole};
use crate::domain::{clean, escape_json};
use crate::engine::operations::Compared;
use crate::engine::{JournalAnswer, JournalQuestion};
use crate::tui::keys::Verb;
use crate::tui::msg::{Answer, Ask};
use crate::tui::screens::Cx;
use crate::tui::screens::lists::moved;
use std::sync::Arc;

/// What the cluster shows of a step, where its outcome is not known.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its outcome is known, or its entries have not been read yet.
    NotAsked,
    /// Asked, under this number.
    Asked(u64),
    /// This is what it shows.
    Known(Compared),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) key: u64,
    result: StepResult,
    spots: Vec<Spot>,
    asked: Option<u64>,
    /// Its entries, the intent first; or why they cannot be read.
    pub(super) entries: Option<Result<Arc<[Whole]>, String>>,
    pub(super) fate: Fate,
    /// Whether the lines of the file are shown instead of what they say.
    pub(super) lines: bool,
    /// First line in sight, of what they say and of the lines.
    scroll: [usize; 2],
    /// Lines, and how many of them were in sight when drawn last.
    drawn: (usize, usize),
}

impl Opened {
    /// Opens a step and reads its entries.
    pub(super) fn open(step: &Step, lines: bool, cx: &mut Cx<'_>) -> Self {
        let mut opened = Self {
            key: step.key,
            result: step.result(),
            spots: step.spots(),
            asked: None,
            entries: None,
            fate: Fate::NotAsked,
            lines,
            scroll: [0, 0],
            drawn: (0, 0),
        };
        opened.ask(cx);
        opened
    }

    fn ask(&mut self, cx: &mut Cx<'_>) {
        if let Some(journal) = cx.journal.cloned() {
            self.asked = Some(cx.ask(Ask::Journal { journal, question: JournalQuestion::Whole(self.spots.clone()) }));
        }
    }

    /// After more was read: its outcome may have come.
    pub(super) fn refresh(&mut self, book: &Book, cx: &mut Cx<'_>) {
        let Some(step) = book.steps().get(self.key) else { return };
        if step.spots() != self.spots {
            (self.result, self.spots, self.fate) = (step.result(), step.spots(), Fate::NotAsked);
            self.ask(cx);
        }
    }

    /// Takes an answer, if it is one of this step's.
    pub(super) fn answered(&mut self, number: u64, answer: &Answer, cx: &mut Cx<'_>) {
        match answer {
            Answer::Journal(JournalAnswer::Whole(answer)) if self.asked == Some(number) => {
                self.asked = None;
                self.entries = Some(match answer {
                    Ok(entries) => Ok(Arc::clone(entries)),
                    Err(failure) => Err(clean(&failure.what).into_owned()),
                });
                if self.result == StepResult::Unknown
                    && let Some(record) = self.record()
                {
                    self.fate = Fate::Asked(cx.ask(Ask::Fate(Box::new(record.clone()))));
                }
            }
            Answer::Fate(compared) if matches!(self.fate, Fate::Asked(asked) if asked == number) => {
                self.fate = Fate::Known(compared.clone());
            }
            _ => {}
        }
    }

    /// What its first entry says, if it concerns an object of an environment.
    fn record(&self) -> Option<&Record> {
        let record = &self.entries.as_ref()?.as_ref().ok()?.first()?.entry.record;
        (record.environment.is_some() && record.object.is_some()).then_some(record)
    }

    /// Shows the lines of the file, or what they say.
    pub(super) fn show_lines(&mut self, lines: bool) {
        self.lines = lines && !self.lines;
    }

    /// One level back; `false` where there is none.
    pub(super) fn back(&mut self) -> bool {
        std::mem::take(&mut self.lines)
    }

    pub(super) fn scroll(&mut self, verb: Verb) {
        let (lines, height) = self.drawn;
        let last = lines.saturating_sub(height);
        let scroll = &mut self.scroll[usize::from(self.lines)];
        if let Some(to) = moved((*scroll).min(last), last, height.saturating_sub(1).max(1), verb) {
            *scroll = to;
        }
    }

    /// The first line in sight, of so many of which so many have room.
    pub(super) fn top(&mut self, lines: usize, height: usize) -> usize {
        self.drawn = (lines, height);
        let scroll = &mut self.scroll[usize::from(self.lines)];
        *scroll = (*scroll).min(lines.saturating_sub(height));
        *scroll
    }

    /// The entries as they stand in the file.
    pub(super) fn copy(&self, cx: &mut Cx<'_>) {
        let Some(Ok(entries)) = &self.entries else {
            *cx.say = Some("the entry has not been read".to_owned());
            return;
        };
        let text: Vec<_> = entries.iter().map(|whole| escape_json(&whole.text)).collect();
        let text = text.join("\n") + "\n";
        cx.copy(&format!("entry {}", self.key), text);
    }
}
