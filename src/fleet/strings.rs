//! Every text once, named by a small number.
//!
//! A fleet of a million findings repeats a few thousand messages, names and categories; a row that holds numbers instead of texts
//! is twenty-four bytes.

use hashbrown::HashTable;
use std::hash::BuildHasher;

/// A text in a [`Strings`]. The empty text is [`StrId::EMPTY`] in every table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StrId(u32);

impl StrId {
    /// The empty text.
    pub(crate) const EMPTY: Self = Self(0);
}

/// The table of texts. Texts are never removed: what rows no longer name stays until the environment's state is made anew.
#[derive(Debug)]
pub(crate) struct Strings {
    arena: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
}

impl Default for Strings {
    fn default() -> Self {
        let mut strings =
            Self { arena: String::new(), ends: Vec::new(), index: HashTable::new(), hasher: hashbrown::DefaultHashBuilder::default() };
        strings.intern("");
        strings
    }
}

impl Strings {
    /// The number of `text`, new or known. When four gigabytes are full the text becomes empty rather than wrong.
    pub(crate) fn intern(&mut self, text: &str) -> StrId {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self.index.find(hash, |&id| slice(&self.arena, &self.ends, id) == text) {
            return StrId(id);
        }
        let Ok(end) = u32::try_from(self.arena.len() + text.len()) else { return StrId::EMPTY };
        let id = self.ends.len() as u32;
        self.arena.push_str(text);
        self.ends.push(end);
        let (arena, ends, hasher) = (&self.arena, &self.ends, &self.hasher);
        self.index.insert_unique(hash, id, |&id| hasher.hash_one(slice(arena, ends, id)));
        StrId(id)
    }

    /// The number of `text`, if it is known.
    pub(crate) fn find(&self, text: &str) -> Option<StrId> {
        let hash = self.hasher.hash_one(text);
        self.index.find(hash, |&id| slice(&self.arena, &self.ends, id) == text).map(|&id| StrId(id))
    }

    /// The text of a number.
    pub(crate) fn get(&self, id: StrId) -> &str {
        slice(&self.arena, &self.ends, id.0)
    }
}

fn slice<'a>(arena: &'a str, ends: &[u32], id: u32) -> &'a str {
    let index = id as usize;
    let start = if index == 0 { 0 } else { ends.get(index - 1).copied().unwrap_or_default() as usize };
    let end = ends.get(index).copied().unwrap_or_default() as usize;
    arena.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_once() {
        let mut strings = Strings::default();
        assert_eq!(strings.intern(""), StrId::EMPTY);
        let a = strings.intern("a");
        let b = strings.intern("größer");
        assert_eq!((strings.intern("a"), strings.find("größer"), strings.find("c")), (a, Some(b), None));
        assert_eq!((strings.get(a), strings.get(b), strings.get(StrId::EMPTY)), ("a", "größer", ""));
    }
}
