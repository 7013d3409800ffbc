//! What a plan writes, all of it, as lines of a page: a created object as YAML, an updated one as a unified diff, a commit file by file.
//!
//! Holds what is shown of each step. Not here: what surrounds it (`preview`), the text of an object (`ops::written`).

use super::page::Page;
use crate::ops::diff::{Change, Line};
use crate::ops::plan::{CommitPlan, Step, Verb};
use crate::ops::written::{Folded, Form, Written as Text};
use crate::tui::theme::Role;
use crate::tui::words;

/// The key that shows our own annotations, which are one line otherwise.
pub(super) const UNFOLD: &str = "ctrl-o";

/// What is shown of a step. It is made once: comparing and printing objects takes its time.
pub(super) struct Written {
    full: Vec<Piece>,
    /// The same with our own annotations as one line; `None` where that leaves nothing out.
    folded: Option<Vec<Piece>>,
}

/// A piece of text, as a page takes it.
enum Piece {
    Said(&'static str, String, Role),
    Code(String, Role),
    Verbatim(String, Role),
}

impl Written {
    /// What a step writes.
    pub(super) fn of(step: &Step) -> Self {
        match (&step.verb, Text::of(step)) {
            (Verb::Commit { commit }, _) => Self { full: committed(step, commit), folded: None },
            (_, Some(text)) => object(step, &text),
            (_, None) => Self { full: places(step), folded: None },
        }
    }

    /// Whether something of it can be shown as one line.
    pub(super) fn folds(&self) -> bool {
        self.folded.is_some()
    }

    /// Shows it.
    pub(super) fn page(&self, unfolded: bool, page: &mut Page<'_>) {
        for piece in self.folded.as_ref().filter(|_| !unfolded).unwrap_or(&self.full) {
            match piece {
                Piece::Said(about, text, role) => page.say(about, text, *role),
                Piece::Code(text, role) => page.code(text, *role),
                Piece::Verbatim(text, role) => page.verbatim(text, *role),
            }
        }
    }
}

fn heading(step: &Step, how: &str) -> Piece {
    Piece::Said("change", format!("{} {}{how}", step.verb.as_str(), step.object), Role::Strong)
}

fn verbatim<'a>(lines: impl Iterator<Item = &'a str>, role: impl Fn(&str) -> Role) -> impl Iterator<Item = Piece> {
    lines.map(move |line| Piece::Verbatim(line.to_owned(), role(line)))
}

fn object(step: &Step, text: &Text) -> Written {
    let shown = |lines: &[String]| {
        let (how, role): (_, fn(&str) -> Role) = match text.form {
            Form::Created => (format!(", {}", words::counted(lines.len() as u64, "line", "lines")), |_| Role::Good),
            Form::Updated => (String::new(), role_of),
        };
        [heading(step, &how)].into_iter().chain(verbatim(lines.iter().map(String::as_str), role)).collect::<Vec<_>>()
    };
    let fold = |folded: &Folded| Piece::Said("", format!("{} ({UNFOLD} shows them)", folded.left_out), Role::Muted);
    let mut full = shown(&text.full);
    if text.full.is_empty() {
        full.push(Piece::Said("", "nothing changes".to_owned(), Role::Muted));
    }
    let folded = text.folded.as_ref().map(|folded| shown(&folded.lines).into_iter().chain([fold(folded)]).collect());
    Written { full, folded }
}

/// Place by place, where there is no object afterwards.
fn places(step: &Step) -> Vec<Piece> {
    let line = |line: &Line| {
        let (mark, role) = match line.change {
            Change::Added => ("", Role::Good),
            Change::Removed => ("", Role::Fault),
            Change::Changed => ("~ ", Role::Attention),
        };
        Piece::Code(format!("{mark}{line}"), role)
    };
    [heading(step, "")].into_iter().chain(step.diff.iter().map(line)).collect()
}

/// Where a commit is pushed to, what of each file changes, and its message, word for word.
fn committed(step: &Step, commit: &CommitPlan) -> Vec<Piece> {
    let push = if commit.is_proposal() {
        format!("{}, a branch of its own: open a pull request afterwards; nothing changes before it is merged", commit.to)
    } else {
        format!("{} itself: the tool that reads it applies it", commit.to)
    };
    let mut pieces = vec![
        heading(step, ""),
        Piece::Said("git", format!("{}, branch {}", commit.repo, commit.branch), Role::Text),
        Piece::Said("push", push, Role::Attention),
    ];
    for file in &commit.files {
        pieces.push(Piece::Said("file", file.path.clone(), Role::Strong));
        pieces.extend(verbatim(file.diff.lines(), role_of));
    }
    for (place, line) in commit.message.lines().enumerate() {
        pieces.push(Piece::Said(if place == 0 { "message" } else { "" }, line.to_owned(), Role::Muted));
    }
    pieces
}

fn role_of(line: &str) -> Role {
    match line.as_bytes().first() {
        Some(b'+') => Role::Good,
        Some(b'-') => Role::Fault,
        _ => Role::Muted,
    }
}
