//! A file of a repository as it may be shown: lengths in place of the values of Secrets.
//!
//! What lives here: finding in the text what [`Veil`] replaces in the objects. What does not: which values those are.

use super::yaml::{Document, Node, Shape, read};
use crate::kinds::secret::Veil;
use serde_json::Value;
use std::ops::Range;

/// The text with all else as it is. A text that is no YAML has no objects, and is not committed.
pub(super) fn over(veil: &mut Veil, text: &str) -> String {
    let mut places = Vec::new();
    for Document { root, value } in read(text).unwrap_or_default() {
        let shown = veil.over(&value);
        compare(&root, &value, &shown, &mut places);
    }
    let mut out = String::new();
    let mut done = 0;
    for (place, word) in places {
        out.push_str(text.get(done..place.start).unwrap_or_default());
        out.push_str(&word);
        done = place.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// The places of what differs, in the order of the text, and what stands there instead.
fn compare(node: &Node, value: &Value, shown: &Value, out: &mut Vec<(Range<usize>, String)>) {
    if value == shown {
        return;
    }
    match (&node.shape, value, shown) {
        (Shape::Mapping { entries, .. }, Value::Object(before), Value::Object(after)) => {
            for entry in entries {
                // What is merged in from an anchor (`<<`) is shown where the anchor is.
                if let (Some(one), Some(other)) = (before.get(&entry.key), after.get(&entry.key)) {
                    compare(&entry.value, one, other, out);
                }
            }
        }
        (Shape::Sequence { items, .. }, Value::Array(before), Value::Array(after)) => {
            items.iter().zip(before.iter().zip(after)).for_each(|(item, (one, other))| compare(item, one, other, out));
        }
        // JSON on one line is YAML, too.
        _ => out.push((node.start..node.end, shown.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_where_they_stand() {
        let text = "# a file\nkind: ConfigMap\ndata: {a: hunter2}\n---\napiVersion: v1\nkind: Secret # of ours\ndata:\n  a: aHVudGVyMg==\nstringData:\n  # twice\n  \
                    b: |\n    hunter2\n    hunter3\n  c: 'hunter2'\n---\nkind: ClusterPolicy\nspec:\n  rules:\n  - name: r\n    generate:\n      \
                    {kind: Secret, name: s, data: {stringData: {d: hunter2}}}\n";
        let shown = over(&mut Veil::default(), text);
        let says = "# a file\nkind: ConfigMap\ndata: {a: hunter2}\n---\napiVersion: v1\nkind: Secret # of ours\ndata:\n  a: \"7 bytes\"\nstringData:\n  # twice\n  \
                    b: |\n    \"16 bytes\"\n  c: \"7 bytes (value 2)\"\n---\nkind: ClusterPolicy\nspec:\n  rules:\n  - name: r\n    generate:\n      \
                    {kind: Secret, name: s, data: {stringData: {d: \"7 bytes (value 2)\"}}}\n";
        assert_eq!(shown, says);
        let plain = "a: 1\n---\n[broken";
        assert_eq!(over(&mut Veil::default(), plain), plain);
    }
}
