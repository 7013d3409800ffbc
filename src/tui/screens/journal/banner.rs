//! Whether the chain of hashes holds, in words.
//!
//! What lives here: sentences. What does not: the check (`domain::journal`).

use super::book::{Book, Chain};
use crate::domain::clean;
use crate::domain::journal::{Flaw, FlawKind, HEAD_FILE, Verified};
use crate::tui::screens::View;
use crate::tui::theme::Role;
use crate::tui::words;

/// What is said above the list.
pub(super) struct Banner {
    pub(super) shape: &'static str,
    pub(super) text: String,
    pub(super) role: Role,
}

/// `chain verified: 42 entries in 2 files, the oldest of Nov 18 2025`, or the first break with its place and what to do.
pub(super) fn banner(book: &Book, checking: bool, view: &View<'_>) -> Banner {
    let symbols = view.theme.symbols;
    let say = |shape, text: String, role| Banner { shape, text, role };
    match &book.chain {
        Chain::Unchecked if checking => {
            say(symbols.connecting, "checking whether every entry is as it was written".to_owned(), Role::Muted)
        }
        Chain::Unchecked => say(symbols.unknown, "not checked yet".to_owned(), Role::Muted),
        Chain::Unreadable(why) => {
            say(symbols.unknown, format!("whether entries are as they were written is not known: {why}"), Role::Attention)
        }
        Chain::Known(verified) => match verified.breaks().next() {
            Some(first) => say(symbols.fail, broken(verified, first), Role::Fault),
            None => match verified.checked.flaws.first() {
                Some(flaw) => {
                    let text = format!("{}; but {}: {}", all_of(verified, view), clean(&flaw.place()), clean(&means(flaw)));
                    say(symbols.unknown, text, Role::Attention)
                }
                None => say(symbols.met, all_of(verified, view), Role::Good),
            },
        },
    }
}

fn all_of(verified: &Verified, view: &View<'_>) -> String {
    let checked = &verified.checked;
    let entries = words::counted(checked.entries, "entry", "entries");
    let files = words::counted(checked.files.len() as u64, "file", "files");
    let oldest =
        verified.oldest.map(|at| format!(", the oldest of {}", at.to_zoned(view.zone.clone()).strftime("%b %e %Y"))).unwrap_or_default();
    format!("chain verified: {entries} in {files}{oldest}")
}

fn broken(verified: &Verified, first: &Flaw) -> String {
    let more = verified.breaks().count() - 1;
    let more = if more == 0 { String::new() } else { format!(" {} more (`policydeck audit verify`).", words::number(more as u64)) };
    format!("chain broken at {}: {}.{more} {}", clean(&first.place()), clean(&first.means), remedy(first.kind))
}

fn means(flaw: &Flaw) -> String {
    if flaw.file == HEAD_FILE { format!("{}; the next operation makes it anew and notes that", flaw.means) } else { flaw.means.clone() }
}

/// What to do about a break.
fn remedy(kind: FlawKind) -> &'static str {
    match kind {
        FlawKind::Changed | FlawKind::Swapped => "Compare the file with an export or a copy of it, and find out who may write there.",
        FlawKind::Removed | FlawKind::MissingFile | FlawKind::Truncated => {
            "Look for what is missing in an export or a copy of the file, and find out who may write there."
        }
        FlawKind::NotWhole | FlawKind::NoHead => "",
    }
}
