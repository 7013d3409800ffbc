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

    /// Its place in a list of one entry per text.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Bytes of text that reports may add. Numbers and places of texts have 32 bits, so all there can be is twice that.
pub(crate) const MOST: usize = 2 << 30;

/// The table of texts. Single texts are never removed; [`Strings::keep`] drops all at once that nothing names any more.
#[derive(Debug)]
pub(crate) struct Strings {
    arena: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
    /// Bytes at which [`Strings::has_room`] says no.
    most: usize,
    /// A text had no room and became the empty one.
    lost: bool,
}

impl Default for Strings {
    fn default() -> Self {
        Self::with_limit(MOST)
    }
}

impl Strings {
    /// A table that says it is full at so many bytes.
    pub(crate) fn with_limit(most: usize) -> Self {
        let hasher = hashbrown::DefaultHashBuilder::default();
        let mut strings = Self { arena: String::new(), ends: Vec::new(), index: HashTable::new(), hasher, most, lost: false };
        strings.intern("");
        strings
    }

    /// Whether texts of so many bytes may be added. Ask before taking in what others wrote.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.arena.len().saturating_add(bytes) <= self.most
    }

    /// Whether an eighth is free, so that it is not full again at once.
    pub(crate) fn is_roomy(&self) -> bool {
        self.has_room(self.most / 8)
    }

    /// Whether a text was lost because nothing more fits: what names it is wrong.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost
    }

    /// The number of `text`, new or known. What does not fit into 32 bits becomes the empty text, and [`Strings::has_lost`] says so.
    pub(crate) fn intern(&mut self, text: &str) -> StrId {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self.index.find(hash, |&id| slice(&self.arena, &self.ends, id) == text) {
            return StrId(id);
        }
        let Ok(end) = u32::try_from(self.arena.len() + text.len()) else {
            self.lost = true;
            return StrId::EMPTY;
        };
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

    /// How many texts there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all texts.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Keeps the texts whose numbers are marked in `live`, and the empty one. Returns the new number of each old one; those of dropped
    /// texts become [`StrId::EMPTY`].
    pub(crate) fn keep(&mut self, live: &[bool]) -> Vec<StrId> {
        let kept = || (0..self.ends.len() as u32).filter(|&id| id == 0 || live.get(id as usize) == Some(&true));
        let bytes = kept().map(|id| slice(&self.arena, &self.ends, id).len()).sum();
        let mut arena = String::with_capacity(bytes);
        let mut ends = Vec::with_capacity(kept().count());
        let mut numbers = vec![StrId::EMPTY; self.ends.len()];
        for id in kept() {
            arena.push_str(slice(&self.arena, &self.ends, id));
            if let Some(number) = numbers.get_mut(id as usize) {
                *number = StrId(ends.len() as u32);
            }
            ends.push(arena.len() as u32);
        }
        let hasher = &self.hasher;
        let mut index = HashTable::with_capacity(ends.len());
        for id in 0..ends.len() as u32 {
            index.insert_unique(hasher.hash_one(slice(&arena, &ends, id)), id, |&id| hasher.hash_one(slice(&arena, &ends, id)));
        }
        (self.arena, self.ends, self.index) = (arena, ends, index);
        numbers
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

    #[test]
    fn a_full_table_says_so_and_keeps_what_it_has() {
        let mut strings = Strings::with_limit(10);
        let id = strings.intern("12345678");
        assert_eq!((strings.has_room(2), strings.has_room(3), strings.has_lost()), (true, false, false));
        // What is taken in all the same has its own text: only 32 bits end that.
        let over = strings.intern("abc");
        assert_eq!((strings.get(id), strings.get(over), strings.has_room(0)), ("12345678", "abc", false));
        strings.keep(&[true, false, true]);
        assert!(strings.has_room(7));
    }

    #[test]
    fn what_is_not_kept_is_gone_and_the_rest_is_found() {
        let mut strings = Strings::default();
        let ids: Vec<StrId> = ["a", "größer", "c"].iter().map(|text| strings.intern(text)).collect();
        let numbers = strings.keep(&[false, false, true, true]);
        assert_eq!((strings.len(), strings.bytes()), (3, "größerc".len()));
        let new = |old: usize| numbers[ids[old].index()];
        assert_eq!((new(0), strings.get(new(1)), strings.get(new(2))), (StrId::EMPTY, "größer", "c"));
        assert_eq!((strings.find("a"), strings.find("größer"), strings.intern("c")), (None, Some(new(1)), new(2)));
        assert_eq!(strings.get(strings.find("").unwrap()), "");
    }
}
