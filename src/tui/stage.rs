//! Which screen is shown.
//!
//! What lives here: all screens, the one in front, and the way back from a visit. What does not: what a screen does (`screens`).

use super::screens::{Entry, REGISTRY, Screen};

/// See the module.
pub(crate) struct Stage {
    screens: Vec<Box<dyn Screen>>,
    current: usize,
    /// The screen that sent one to the current one.
    sender: Option<usize>,
}

impl Stage {
    /// All screens, the first in front.
    pub(crate) fn new() -> Self {
        Self { screens: REGISTRY.iter().map(Entry::make).collect(), current: 0, sender: None }
    }

    /// The place of the screen in front.
    pub(crate) fn place(&self) -> usize {
        self.current
    }

    /// What is known of the screen in front.
    pub(crate) fn entry(&self) -> &'static Entry {
        &REGISTRY[self.current]
    }

    /// The screen in front.
    pub(crate) fn screen(&self) -> &dyn Screen {
        self.screens[self.current].as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn screen_mut(&mut self) -> &mut dyn Screen {
        self.screens[self.current].as_mut()
    }

    /// Every screen, shown or not.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Screen>> {
        self.screens.iter_mut()
    }

    /// The next screen, or the one before.
    pub(crate) fn step(&mut self, forward: bool) {
        let len = self.screens.len();
        self.show((self.current + if forward { 1 } else { len - 1 }) % len);
    }

    /// The screen at a place, if there is one.
    pub(crate) fn show(&mut self, place: usize) {
        if place < self.screens.len() {
            (self.current, self.sender) = (place, None);
        }
    }

    /// The screen that takes a visit, if one does.
    pub(crate) fn send(&mut self, mut takes: impl FnMut(&mut dyn Screen) -> bool) {
        if let Some(place) = self.screens.iter_mut().position(|screen| takes(screen.as_mut())) {
            (self.current, self.sender) = (place, Some(self.current));
        }
    }

    /// Back from a visit.
    pub(crate) fn give_back(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.current = sender;
        }
    }
}
