//! When the journal is read.
//!
//! What lives here: the pace, and which answers are waited for. What does not: what they mean (`book`).
//!
//! While the screen is shown, the engine looks at the length of the newest file every other second; entries are read when it has grown. All of the
//! chain is looked at when the screen is opened, and when what was written does not go on from it.

use super::book::Book;
use crate::engine::JournalQuestion;
use crate::tui::msg::Ask;
use crate::tui::pace::due;
use crate::tui::screens::Cx;
use jiff::{SignedDuration, Timestamp};

/// How often somebody looks whether there is more.
const LOOK: SignedDuration = SignedDuration::from_millis(1_500);
/// An answer that takes longer is not waited for: somebody else may have it.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// A question that waits for its answer.
type Pending = Option<(u64, Timestamp)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Asking {
    page: Pending,
    news: Pending,
    check: Pending,
    due: Option<Timestamp>,
}

fn waits(pending: Pending, now: Timestamp) -> bool {
    pending.is_some_and(|(_, since)| !due(since + PATIENCE, PATIENCE, now))
}

fn is(pending: &mut Pending, number: u64) -> bool {
    pending.take_if(|(asked, _)| *asked == number).is_some()
}

fn ask(question: JournalQuestion, cx: &mut Cx<'_>) -> Pending {
    let journal = cx.journal.cloned()?;
    Some((cx.ask(Ask::Journal { journal, question }), cx.now))
}

impl Asking {
    /// The screen is shown: the chain is looked at, and what is not there yet is read.
    pub(super) fn shown(&mut self, book: &Book, cx: &mut Cx<'_>) {
        if cx.paused && book.read {
            self.due = Some(cx.now + LOOK);
            return;
        }
        self.check(cx);
        self.look(book, cx);
    }

    /// Looks whether there is more; the first time, and after a failure, at the newest entries.
    pub(super) fn look(&mut self, book: &Book, cx: &mut Cx<'_>) {
        self.due = cx.journal.is_some().then(|| cx.now + LOOK);
        if (cx.paused && book.read) || waits(self.news, cx.now) || waits(self.page, cx.now) {
            return;
        }
        if book.read && book.trouble.is_none() {
            self.news = ask(JournalQuestion::News(book.mark().cloned()), cx);
        } else {
            self.page = ask(JournalQuestion::Newest, cx);
        }
    }

    /// Reads everything anew.
    pub(super) fn anew(&mut self, cx: &mut Cx<'_>) {
        self.page = ask(JournalQuestion::Newest, cx);
        self.check(cx);
    }

    /// Looks at the whole chain.
    pub(super) fn check(&mut self, cx: &mut Cx<'_>) {
        if !waits(self.check, cx.now) {
            self.check = ask(JournalQuestion::Check, cx);
        }
    }

    /// Reads what is older, if there is any.
    pub(super) fn older(&mut self, book: &Book, cx: &mut Cx<'_>) {
        if waits(self.page, cx.now) || book.older_trouble.is_some() {
            return;
        }
        if let Some((before, asked)) = book.before() {
            self.page = ask(JournalQuestion::Older(before.clone(), asked), cx);
        }
    }

    /// Somebody has written: look at once.
    pub(super) fn soon(&mut self, now: Timestamp) {
        if self.due.is_some() {
            self.due = Some(now);
        }
    }

    pub(super) fn is_page(&mut self, number: u64) -> bool {
        is(&mut self.page, number)
    }

    pub(super) fn is_news(&mut self, number: u64) -> bool {
        is(&mut self.news, number)
    }

    pub(super) fn is_check(&mut self, number: u64) -> bool {
        is(&mut self.check, number)
    }

    /// Whether entries are being read.
    pub(super) fn is_reading(&self) -> bool {
        self.page.is_some()
    }

    /// Whether the chain is being looked at.
    pub(super) fn is_checking(&self) -> bool {
        self.check.is_some()
    }

    /// Whether it is time for [`Self::look`].
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|at| due(at, LOOK, now))
    }

    /// When to be called.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.due
    }
}
