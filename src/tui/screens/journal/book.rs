//! What was read of the journal, and whether it holds.
//!
//! What lives here: taking answers. What does not: when questions are asked (`asking`), what is listed of it (`super`).

use crate::domain::clean;
use crate::domain::journal::{Mark, News, Page, Spot, StepResult, Steps, Verified};
use crate::engine::Failure;
use crate::tui::words;

/// Whether the chain of hashes holds.
#[derive(Debug, Default)]
pub(super) enum Chain {
    /// Nobody looked yet.
    #[default]
    Unchecked,
    /// What a look at all of it found, kept up to date.
    Known(Verified),
    /// It could not be looked at.
    Unreadable(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    steps: Steps,
    /// Steps of which nobody knows what became, and whether some are not as they were written: as far as they were read.
    unknown: usize,
    pub(super) altered: bool,
    /// Where what is older ends, if there is any.
    before: Option<Spot>,
    mark: Option<Mark>,
    /// Questions for older entries that were answered.
    older: u32,
    /// Lines that could not be read.
    pub(super) unreadable: u64,
    /// Whether it was read at all.
    pub(super) read: bool,
    /// Why it cannot be read, or why nothing newer can.
    pub(super) trouble: Option<String>,
    /// Why nothing older can be read.
    pub(super) older_trouble: Option<String>,
    pub(super) chain: Chain,
}

/// What has to be asked after news came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// There are more steps, or they are others.
    List,
    /// The same, and the chain has to be looked at again.
    Check,
    /// Everything is read anew, and looked at again.
    Anew,
}

/// A failure in a sentence.
fn words_of(failure: &Failure) -> String {
    let what = clean(&failure.what).into_owned();
    if failure.hint.is_empty() { what } else { format!("{what}; {}", clean(&failure.hint)) }
}

impl Book {
    pub(super) fn steps(&self) -> &Steps {
        &self.steps
    }

    pub(super) fn before(&self) -> Option<(&Spot, u32)> {
        Some((self.before.as_ref()?, self.older))
    }

    pub(super) fn has_older(&self) -> bool {
        self.before.is_some()
    }

    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    fn add(&mut self, page: &Page) {
        // An intent before its outcome, as they were written.
        page.found.iter().rev().for_each(|found| self.steps.take(found));
        self.unreadable += page.unreadable;
        self.unknown = self.steps.newest_first().filter(|step| step.result() == StepResult::Unknown).count();
        self.altered = self.steps.newest_first().any(|step| !step.intact);
    }

    pub(super) fn take_newest(&mut self, answer: Result<&Page, &Failure>) {
        match answer {
            Ok(page) => {
                (self.steps, self.unreadable, self.older) = (Steps::default(), 0, 0);
                self.add(page);
                (self.before, self.mark) = (page.before.clone(), page.mark.clone());
                (self.read, self.trouble, self.older_trouble) = (true, None, None);
            }
            Err(failure) => self.trouble = Some(words_of(failure)),
        }
    }

    pub(super) fn take_older(&mut self, answer: Result<&Page, &Failure>) {
        match answer {
            Ok(page) => {
                self.add(page);
                (self.before, self.older_trouble) = (page.before.clone(), None);
                self.older += 1;
            }
            Err(failure) => self.older_trouble = Some(words_of(failure)),
        }
    }

    pub(super) fn take_news(&mut self, answer: Result<&News, &Failure>) -> Then {
        let news = match answer {
            Ok(news) => news,
            Err(failure) => {
                self.trouble = Some(words_of(failure));
                return Then::Nothing;
            }
        };
        self.trouble = None;
        match news {
            News::Nothing => Then::Nothing,
            News::Other => Then::Anew,
            News::Grown(page) => {
                self.add(page);
                self.mark.clone_from(&page.mark);
                let strange = page.unreadable > 0;
                let Chain::Known(verified) = &mut self.chain else { return if strange { Then::Anew } else { Then::List } };
                // What is broken already is looked at again only when somebody comes back.
                let broken = !verified.holds();
                let goes_on = broken || page.found.iter().rev().all(|found| verified.goes_on(found));
                // One that was not whole has been moved aside by whoever wrote since.
                let settled = !broken && !verified.checked.flaws.is_empty() && !page.found.is_empty();
                match (goes_on && !strange, settled) {
                    (false, _) => Then::Anew,
                    (true, true) => Then::Check,
                    (true, false) => Then::List,
                }
            }
        }
    }

    pub(super) fn take_check(&mut self, answer: Result<&Verified, &Failure>) {
        self.chain = match answer {
            Ok(verified) => Chain::Known(verified.clone()),
            Err(failure) => Chain::Unreadable(words_of(failure)),
        };
    }

    /// `3 unknown · 212 steps`, `newest 212 steps`.
    pub(super) fn status(&self, middot: &str) -> String {
        if self.steps.is_empty() {
            return String::new();
        }
        let unknown = if self.unknown > 0 { format!("{} unknown {middot} ", words::number(self.unknown as u64)) } else { String::new() };
        let steps = words::counted(self.steps.len() as u64, "step", "steps");
        format!("{unknown}{}{steps}", if self.has_older() { "newest " } else { "" })
    }
}
