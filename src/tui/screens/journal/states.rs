//! What stands in place of an empty list, in words.
//!
//! What lives here: sentences. What does not: whether the chain holds (`banner`).

use super::Journal;
use crate::domain::clean;
use crate::tui::keys::Verb;
use crate::tui::pen::Pen;
use crate::tui::screens::View;
use crate::tui::text::wrap;
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws why there is no row.
pub(super) fn draw(journal: &Journal, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let (sentences, role) = sentences(journal, view);
    let columns = usize::from(area.width).saturating_sub(6);
    let mut line = u16::from(area.height > 6);
    for (i, text) in sentences.iter().enumerate() {
        for part in wrap(&clean(text), columns) {
            Pen::new(buffer, view.theme, area, line).put("   ", Role::Text).put(&part, if i == 0 { role } else { Role::Muted });
            line = line.saturating_add(1);
        }
    }
}

/// What is so, and what may be done about it.
fn sentences(journal: &Journal, view: &View<'_>) -> (Vec<String>, Role) {
    let book = &journal.book;
    let dots = if view.theme.symbols.cut.is_ascii() { "..." } else { "…" };
    if !journal.has_place {
        let what = "There is no data folder, so there is no journal: set HOME.".to_owned();
        return (vec![what, "Without one nothing can be changed from here, either.".to_owned()], Role::Attention);
    }
    if let Some(why) = &book.trouble {
        return (vec![format!("The journal cannot be read: {why}."), "It is tried again every other second.".to_owned()], Role::Fault);
    }
    if !book.read {
        return (vec![format!("reading the journal{dots}")], Role::Strong);
    }
    let steps = book.steps().len() as u64;
    if steps > 0 {
        let which = if book.has_older() { "newest " } else { "" };
        let none = format!("None of the {which}{} passes the filter: {}", words::counted(steps, "step", "steps"), journal.sieve.source());
        let none = if steps == 1 { format!("The only step does not pass the filter: {}", journal.sieve.source()) } else { none };
        let way = format!("{} clears it, {} changes it.", view.keys.of(Verb::Back), view.keys.of(Verb::Filter));
        let older = if journal.asking.is_reading() { format!("Older ones are being read{dots}") } else { String::new() };
        return (vec![none, way, older].into_iter().filter(|text| !text.is_empty()).collect(), Role::Attention);
    }
    if book.unreadable > 0 {
        let lines = words::counted(book.unreadable, "line", "lines");
        return (vec![format!("The journal has no entry that can be read, and {lines} that cannot.")], Role::Fault);
    }
    let what = "Nothing has been done yet.".to_owned();
    let here = "Every promotion, demotion, rollback, hold and unblock will stand here, from this screen and from the command line: who did it, when and where, and what \
                became of it."
        .to_owned();
    let how = "Rollout and Violations begin one: their footers name the keys. Each is noted before it is sent and again when its outcome is known, and each entry is chained to the one before."
        .to_owned();
    (vec![what, here, how], Role::Strong)
}
