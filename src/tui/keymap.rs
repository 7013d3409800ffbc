//! The keys as a person has set them: the table of keys with the overrides of the configuration.
//!
//! What lives here: [`Keymap`]: which chord means what, and how it is shown. What does not: the table itself (`keys`).

use super::keys::{Binding, Chord, GENERAL, MOVING, Verb};
use super::screens::REGISTRY;
use crate::domain::near::nearest;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

/// Terminals send these as another key: set to one of them, an action could never be reached.
const SENT_AS: [(&str, &str); 3] = [("ctrl-i", "tab"), ("ctrl-m", "enter"), ("ctrl-[", "esc")];

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keymap {
    overrides: Arc<[Override]>,
}

/// A chord that stands in place of all keys of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Override {
    verb: Verb,
    chord: Chord,
    text: String,
}

/// Every binding of every screen.
fn all() -> impl Iterator<Item = &'static Binding> {
    REGISTRY.iter().flat_map(|screen| screen.keys).chain(MOVING).chain(GENERAL)
}

/// The actions whose keys may be changed, by the names they have in the configuration.
pub fn actions() -> &'static [&'static str] {
    static ACTIONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut seen = HashSet::new();
        // Screens share some.
        all().filter_map(|binding| binding.verb.action()).filter(|action| seen.insert(*action)).collect()
    });
    &ACTIONS
}

impl Keymap {
    /// Takes overrides (action → key), or says which of them cannot be: an unknown action or key, or a key that means something else
    /// on the same screen.
    pub fn new(overrides: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut taken = Vec::with_capacity(overrides.len());
        for (action, text) in overrides {
            let Some(binding) = all().find(|binding| binding.verb.action() == Some(action)) else {
                let hint = match nearest(action, actions().iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", actions().join(", ")),
                };
                return Err(format!("keys.{action}: there is no such action; {hint}"));
            };
            let chord: Chord =
                text.trim().parse().map_err(|why| format!("keys.{action}: {why}; write for example `ctrl-p`, `P` or `f5`"))?;
            let text = chord.to_string();
            if let Some((_, other)) = SENT_AS.iter().find(|(key, _)| *key == text) {
                return Err(format!("keys.{action}: terminals send `{text}` as `{other}`; choose another key"));
            }
            taken.push(Override { verb: binding.verb, chord, text });
        }
        let keymap = Self { overrides: taken.into() };
        keymap.conflict().map_or(Ok(keymap), Err)
    }

    /// Two actions of one screen with the same key, of which at least one was set.
    fn conflict(&self) -> Option<String> {
        for screen in REGISTRY {
            let on_screen = || screen.keys.iter().chain(MOVING).chain(GENERAL);
            for Override { verb, chord, text } in &*self.overrides {
                if !on_screen().any(|binding| binding.verb == *verb) {
                    continue;
                }
                if let Some(other) = on_screen().find(|binding| binding.verb != *verb && self.verb_of(binding, *chord).is_some()) {
                    let action = verb.action().unwrap_or_default();
                    let other = other.verb.action().unwrap_or(other.word);
                    return Some(format!("keys.{action}: `{text}` is the key of `{other}`, too; choose another key for one of them"));
                }
            }
        }
        None
    }

    fn set(&self, verb: Verb) -> Option<&Override> {
        self.overrides.iter().find(|o| o.verb == verb)
    }

    /// What `chord` means by this binding.
    fn verb_of(&self, binding: &Binding, chord: Chord) -> Option<Verb> {
        match self.set(binding.verb) {
            Some(set) => (set.chord == chord).then_some(binding.verb),
            None => binding.verb_for(chord),
        }
    }

    /// The verb that `chord` means, the screen's own table first.
    pub(crate) fn lookup(&self, own: &[Binding], chord: Chord) -> Option<Verb> {
        own.iter().chain(MOVING).chain(GENERAL).find_map(|binding| self.verb_of(binding, chord))
    }

    /// The key to show for a binding where there is room for one.
    pub(crate) fn key(&self, binding: &Binding) -> &str {
        self.set(binding.verb).map_or_else(|| binding.key(), |set| set.text.as_str())
    }

    /// All keys of a binding, as help shows them.
    pub(crate) fn keys_text(&self, binding: &Binding) -> String {
        self.set(binding.verb).map_or_else(|| binding.keys_text(), |set| set.text.clone())
    }

    /// The key to name in a sentence.
    pub(crate) fn of(&self, verb: Verb) -> &str {
        all().find(|binding| binding.verb == verb).map_or("", |binding| self.key(binding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keymap(pairs: &[(&str, &str)]) -> Result<Keymap, String> {
        Keymap::new(&pairs.iter().map(|(action, key)| ((*action).to_owned(), (*key).to_owned())).collect())
    }

    #[test]
    fn actions_have_names_of_their_own_that_never_change() {
        let unique: std::collections::BTreeSet<_> = actions().iter().collect();
        assert_eq!(unique.len(), actions().len());
        assert!(actions().iter().all(|a| a.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{:?}", actions());
    }

    #[test]
    fn an_override_takes_the_place_of_all_keys() {
        let own = REGISTRY[0].keys;
        let chord = |text: &str| text.parse::<Chord>().unwrap();
        for (action, key, verb, before) in [
            ("sort", "f5", Verb::Own("sort"), ["s", ">"]),
            ("down", "V", Verb::Down, ["down", "j"]),
            ("quit", "ctrl-q", Verb::Quit, ["ctrl-c", "ctrl-c"]),
            ("raw", "alt-R", Verb::Own("raw"), ["u", "u"]),
            ("pause", "ctrl-P", Verb::Pause, ["P", "P"]),
        ] {
            let keymap = keymap(&[(action, key)]).unwrap();
            assert_eq!(keymap.lookup(own, chord(key)), Some(verb), "{action}");
            for key in before {
                assert_eq!(keymap.lookup(own, chord(key)), None, "{action}");
            }
            assert_eq!(keymap.of(verb), chord(key).to_string());
        }
        assert_eq!(keymap(&[("sort", "u"), ("raw", "s")]).unwrap().lookup(own, chord("u")), Some(Verb::Own("sort")), "swapped");
        assert_eq!(Keymap::default().of(Verb::Own("raw")), "u");
        assert_eq!(Keymap::default().lookup(own, chord("4")), Some(Verb::Environment(4)));
    }

    #[test]
    fn what_cannot_be_is_refused_with_names() {
        for (pairs, words) in [
            (&[("sorrt", "f5")][..], &["keys.sorrt", "`sort`"][..]),
            (&[("sort", "u")], &["keys.sort", "`u`", "`raw`"]),
            (&[("sort", "7")], &["keys.sort", "`7`", "`environment`"]),
            (&[("raw", "f2"), ("sort", "f2")], &["keys.raw", "`f2`", "`sort`"]),
            (&[("sort", "hyper-x")], &["keys.sort: no such key"]),
            (&[("sort", "ctrl-i")], &["keys.sort", "`tab`"]),
            (&[("environment", "x")], &["keys.environment", "no such action"]),
        ] {
            let why = keymap(pairs).unwrap_err();
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
        }
    }
}
