//! A unified diff of two objects as YAML.

use crate::domain::clean_lines;
use crate::kinds::secret::{Veil, veiled};
use crate::kinds::transfer::bare;
use serde_json::Value;
use similar::TextDiff;

/// Lines around a change, as `diff -u` has them.
const AROUND: usize = 3;

/// An object as YAML, without what its server writes: as it would be committed, with the values of Secrets.
pub fn yaml(object: &Value) -> String {
    text(&bare(object))
}

/// The same for a screen: of the values of Secrets, the lengths.
pub fn shown(object: &Value) -> String {
    let object = bare(object);
    text(&veiled(&object).unwrap_or(object))
}

fn text(object: &Value) -> String {
    // Any JSON value can be written as YAML; JSON is YAML, too, if it ever cannot.
    serde_saphyr::to_string(object).unwrap_or_else(|_| format!("{object:#}\n"))
}

/// The unified diff from `before` to `after`, with `name` in its head; empty where nothing differs. Nothing in it drives a terminal, and it has no value of
/// a Secret: one that changes has another length, or another number.
pub fn unified(before: Option<&Value>, after: Option<&Value>, name: &str) -> String {
    let mut veil = Veil::default();
    let mut side_text = |object: Option<&Value>| object.map(|object| text(&veil.over(&bare(object)))).unwrap_or_default();
    let (old, new) = (side_text(before), side_text(after));
    if old == new {
        return String::new();
    }
    let side = |exists: bool, word: &str| if exists { format!("{word}/{name}") } else { "/dev/null".to_owned() };
    let diff = TextDiff::from_lines(&old, &new);
    let text =
        diff.unified_diff().context_radius(AROUND).header(&side(before.is_some(), "before"), &side(after.is_some(), "after")).to_string();
    let mut safe = clean_lines(&text).join("\n");
    safe.push('\n');
    safe
}
