//! Where one composition tells people how it stands: its place on the screen.

use std::sync::Arc;

use crate::ui::{Report, Screen, View};

/// A composition's place on the screen of its member.
#[derive(Clone)]
pub struct Teller {
    screen: Arc<Screen>,
    slot: usize,
}

impl Teller {
    /// `slot`: which composition, counted from 0 in the order of the command line.
    pub fn new(screen: Arc<Screen>, slot: usize) -> Self {
        Self { screen, slot }
    }

    /// As [`Screen::update`].
    pub fn update(&self, view: &View) {
        self.screen.update(self.slot, view);
    }

    /// As [`Screen::event`].
    pub fn event(&self, report: &Report) {
        self.screen.event(report);
    }

    /// As [`Screen::say`].
    pub fn say(&self, line: &str) {
        self.screen.say(line);
    }

    /// As [`Screen::is_verbose`].
    pub fn is_verbose(&self) -> bool {
        self.screen.is_verbose()
    }

    /// As [`Screen::verbose`].
    pub fn verbose(&self, line: &str) {
        self.screen.verbose(line);
    }

    /// Gives the place up; to be called before the last words.
    pub fn finish(&self) {
        self.screen.leave(self.slot);
    }
}
