//! Where one composition tells people how it stands: in its own place on the screen, or, where there are too many of
//! them, as a share of what all do together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    swarm::Snapshot,
    ui::{Report, Screen, View},
};

/// A composition's way to the screen of its member.
#[derive(Clone)]
pub struct Teller {
    screen: Arc<Screen>,
    slot: usize,
    /// None: it has a place of its own.
    sum: Option<Arc<Sum>>,
}

impl Teller {
    /// With a place of its own. `slot`: which composition, counted from 0 in the order of the command line.
    pub fn new(screen: Arc<Screen>, slot: usize) -> Self {
        Self { screen, slot, sum: None }
    }

    /// One of many: what it does is added up, and of what happens only warnings and errors are told.
    pub fn of_many(screen: Arc<Screen>, slot: usize, sum: Arc<Sum>) -> Self {
        Self { screen, slot, sum: Some(sum) }
    }

    /// As [`Screen::update`].
    pub fn update(&self, view: &View) {
        match &self.sum {
            Some(sum) => drop(sum.lock().now.insert(self.slot, view.swarm)),
            None => self.screen.update(self.slot, view),
        }
    }

    /// As [`Screen::event`].
    pub fn event(&self, report: &Report) {
        if self.sum.is_none() || matches!(report, Report::Warning { .. } | Report::Error { .. }) {
            self.screen.event(report);
        }
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

    /// Gives the place up; to be called before the last words. `uploaded`: bytes sent since the place was taken.
    pub fn finish(&self, uploaded: u64) {
        match &self.sum {
            Some(sum) => sum.lock().leave(self.slot, uploaded),
            None => self.screen.leave(self.slot),
        }
    }
}

/// What many compositions do together.
#[derive(Default)]
pub struct Sum(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    /// Those that are awake.
    now: HashMap<usize, Snapshot>,
    /// Bytes sent by those that are not any more.
    uploaded: u64,
}

impl Parts {
    fn leave(&mut self, slot: usize, uploaded: u64) {
        self.now.remove(&slot);
        self.uploaded += uploaded;
    }
}

impl Sum {
    /// Connections, bytes sent and the rate, of all together.
    pub fn snapshot(&self) -> Snapshot {
        let parts = self.lock();
        let mut sum = Snapshot { uploaded: parts.uploaded, ..Snapshot::default() };
        for one in parts.now.values() {
            sum.members += one.members;
            sum.uploaded += one.uploaded;
            sum.rate_up += one.rate_up;
        }
        sum
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
