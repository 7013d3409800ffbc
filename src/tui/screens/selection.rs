//! Which row of a list is selected: known by what it is, never by where it is.
//!
//! Holds the rules that keep a key press on the row a person sees: a row that a person chose stays listed when news would hide it, and a row that was
//! operated on stays listed whatever would hide it, until the cursor moves. Not here: what is listed, and scrolling.

/// Why a list is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// Rows, numbers or their order changed.
    News,
    /// A person typed another filter.
    Filter,
}

/// The selected row of a list whose rows have identities.
#[derive(Debug, Clone)]
pub(super) struct Selection<K> {
    key: Option<K>,
    /// Its last place in the order.
    place: usize,
    /// Whether it is in the list now.
    listed: bool,
    /// Whether a person chose it; until then the cursor stays on top while the first rows come in.
    chosen: bool,
    /// Whether it was operated on.
    pinned: bool,
    /// What was selected before a filter dropped it: selected again once it is listed again.
    home: Option<K>,
    /// What was selected when the list was drawn last.
    seen: Option<K>,
}

impl<K> Default for Selection<K> {
    fn default() -> Self {
        Self { key: None, place: 0, listed: false, chosen: false, pinned: false, home: None, seen: None }
    }
}

impl<K: Clone + PartialEq> Selection<K> {
    /// The selected row; `None` where nothing is selected, or what was selected does not exist any more.
    pub(super) fn key(&self) -> Option<&K> {
        self.key.as_ref().filter(|_| self.listed)
    }

    /// What was selected and does not exist any more.
    pub(super) fn gone(&self) -> Option<&K> {
        self.key.as_ref().filter(|_| !self.listed)
    }

    /// Its place in the order.
    pub(super) fn place(&self) -> Option<usize> {
        self.listed.then_some(self.place)
    }

    /// Where moving begins: its place, or where it was last.
    pub(super) fn start(&self) -> usize {
        self.place
    }

    /// Whether a person chose it.
    pub(super) fn is_chosen(&self) -> bool {
        self.chosen
    }

    /// The row that stays listed, whatever would hide it.
    pub(super) fn kept(&self, because: Because) -> Option<&K> {
        self.key.as_ref().filter(|_| self.chosen && (self.pinned || because == Because::News))
    }

    /// Finds the selected row in a list that was made again.
    pub(super) fn settle(&mut self, because: Because, place_of: impl Fn(&K) -> Option<usize>, at: impl Fn(usize) -> Option<K>) {
        if !self.chosen {
            if because == Because::Filter {
                // A person who types a filter means a row of what it lists.
                self.seen = None;
            }
            self.go_to(0, at);
            return;
        }
        if let Some(place) = self.home.as_ref().filter(|_| because == Because::Filter).and_then(&place_of) {
            (self.key, self.place, self.listed) = (self.home.take(), place, true);
        } else if let Some(place) = self.key.as_ref().and_then(&place_of) {
            (self.place, self.listed) = (place, true);
        } else if because == Because::Filter || self.key.is_none() {
            if self.home.is_none() {
                self.home = self.key.take();
            }
            self.go_to(self.place, at);
        } else {
            // It does not exist any more. No other row takes its place under a key that was meant for it.
            self.listed = false;
        }
    }

    /// The row at `place`, or the nearest one before it.
    fn go_to(&mut self, place: usize, at: impl Fn(usize) -> Option<K>) {
        let found = (0..=place).rev().find_map(|place| Some((place, at(place)?)));
        (self.place, self.key) = found.map_or((0, None), |(place, key)| (place, Some(key)));
        self.listed = self.key.is_some();
    }

    /// A person put the cursor on a place.
    pub(super) fn choose(&mut self, place: usize, at: impl Fn(usize) -> Option<K>) {
        (self.chosen, self.pinned, self.home) = (true, false, None);
        self.go_to(place, at);
    }

    /// The selected row is the one that a person means: it stays selected when others move. Where nobody chose a row yet, that is the one that was
    /// drawn; where that is gone, no other takes its place.
    pub(super) fn stay(&mut self, place_of: impl Fn(&K) -> Option<usize>) {
        if !self.chosen
            && let Some(seen) = self.seen.clone()
        {
            let place = place_of(&seen);
            (self.key, self.place, self.listed) = (Some(seen), place.unwrap_or(self.place), place.is_some());
        }
        self.chosen |= self.key.is_some();
    }

    /// A verb acts on the selected row: it stays listed until the cursor moves.
    pub(super) fn pin(&mut self, place_of: impl Fn(&K) -> Option<usize>) {
        self.stay(place_of);
        (self.pinned, self.home) = (self.chosen, None);
    }

    /// Selects a row by what it is; the list has to be made again.
    pub(super) fn set(&mut self, key: K) {
        (self.key, self.home) = (Some(key), None);
        (self.chosen, self.pinned) = (true, true);
    }

    /// The list was drawn.
    pub(super) fn drawn(&mut self) {
        self.seen.clone_from(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists what passes, and what is kept.
    fn list(selection: &mut Selection<char>, because: Because, all: &str, passes: &str) -> String {
        let kept = selection.kept(because).copied();
        let listed: Vec<char> = all.chars().filter(|c| passes.contains(*c) || kept == Some(*c)).collect();
        selection.settle(because, |key| listed.iter().position(|c| c == key), |place| listed.get(place).copied());
        listed.into_iter().collect()
    }

    fn choose(selection: &mut Selection<char>, listed: &str, place: usize) {
        selection.choose(place, |place| listed.chars().nth(place));
    }

    #[test]
    fn until_a_person_chooses_the_cursor_stays_on_top() {
        let mut selection = Selection::default();
        assert_eq!((list(&mut selection, Because::News, "bc", "bc"), selection.key()), ("bc".to_owned(), Some(&'b')));
        assert_eq!((list(&mut selection, Because::News, "abc", "abc"), selection.key()), ("abc".to_owned(), Some(&'a')));
        assert_eq!(list(&mut selection, Because::News, "", ""), "");
        assert_eq!((selection.key(), selection.place()), (None, None));
    }

    #[test]
    fn what_a_person_chose_stays_listed_when_news_would_hide_it() {
        let mut selection = Selection::default();
        choose(&mut selection, "abc", 1);
        assert_eq!((list(&mut selection, Because::News, "abc", "ac"), selection.key()), ("abc".to_owned(), Some(&'b')));
        assert_eq!((list(&mut selection, Because::News, "cba", "ca"), selection.place()), ("cba".to_owned(), Some(1)));
        // A filter that a person types drops it, and gives it back.
        assert_eq!((list(&mut selection, Because::Filter, "abc", "ac"), selection.key()), ("ac".to_owned(), Some(&'c')));
        assert_eq!((list(&mut selection, Because::Filter, "abc", "a"), selection.key()), ("a".to_owned(), Some(&'a')));
        assert_eq!((list(&mut selection, Because::Filter, "abc", "abc"), selection.key()), ("abc".to_owned(), Some(&'b')));
    }

    #[test]
    fn what_was_operated_on_stays_listed_until_the_cursor_moves() {
        let mut selection = Selection::default();
        choose(&mut selection, "abc", 1);
        selection.pin(|_| None);
        for because in [Because::News, Because::Filter] {
            assert_eq!((list(&mut selection, because, "abc", "ac"), selection.key()), ("abc".to_owned(), Some(&'b')));
        }
        choose(&mut selection, "abc", 2);
        assert_eq!((list(&mut selection, Because::News, "abc", "ac"), selection.key()), ("ac".to_owned(), Some(&'c')));
    }

    #[test]
    fn nothing_takes_the_place_of_what_is_gone() {
        let mut selection = Selection::default();
        choose(&mut selection, "abc", 1);
        assert_eq!(list(&mut selection, Because::News, "ac", "ac"), "ac");
        assert_eq!((selection.key(), selection.place(), selection.start()), (None, None, 1));
        assert_eq!((list(&mut selection, Because::News, "abc", "abc"), selection.key()), ("abc".to_owned(), Some(&'b')));
    }

    #[test]
    fn a_verb_means_the_row_that_was_drawn() {
        let mut selection = Selection::default();
        list(&mut selection, Because::News, "bc", "bc");
        selection.drawn();
        list(&mut selection, Because::News, "abc", "abc");
        let place = |key: &char| "abc".find(*key);
        for pins in [false, true] {
            let act = |selection: &mut Selection<char>| if pins { selection.pin(place) } else { selection.stay(place) };
            let mut selection = selection.clone();
            act(&mut selection);
            assert_eq!((selection.key(), selection.place()), (Some(&'b'), Some(1)));
            // What was chosen is meant, drawn or not.
            choose(&mut selection, "abc", 2);
            act(&mut selection);
            assert_eq!(selection.key(), Some(&'c'));
        }
        // It is gone by then; or a filter was typed since.
        let mut gone = selection.clone();
        list(&mut gone, Because::News, "ac", "ac");
        gone.stay(|key| "ac".find(*key));
        assert_eq!((gone.key(), gone.gone()), (None, Some(&'b')));
        list(&mut selection, Because::Filter, "abc", "ac");
        selection.stay(|key| "ac".find(*key));
        assert_eq!(selection.key(), Some(&'a'));
    }
}
