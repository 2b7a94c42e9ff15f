//! What is shared from under its final name is looked at once in a while: somebody may change it, cut it short, or take it
//! away. Nobody is to be given what was verified only once, and exit code 0 has to be true of what is on the disk.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Owner, Stage, ending::Ending};
use crate::{
    member::{blocking, report, teller::Teller},
    storage::StorageError,
    ui::Report,
};

/// As often as that at most, and so much more seldom that it takes a hundredth of a thread: a folder may have many files.
const EVERY: Duration = Duration::from_secs(3);
const SHARE: u32 = 100;

/// The look that is taken now, and when the next is due.
#[derive(Default)]
pub(super) struct Vigil {
    looking: Option<oneshot::Receiver<Result<(), StorageError>>>,
    began: Option<Instant>,
    next: Option<Instant>,
    warned: bool,
}

impl Owner {
    /// Ends it if what is shared was changed; that it is gone from its place is said, once, as it can be read still.
    pub(super) fn watch(&mut self, screen: &Teller) -> Option<Ending> {
        // What may sleep is looked after by who wakes it.
        if !matches!(self.stage, Stage::Whole { .. }) || self.wanted.is_some() {
            return None;
        }
        let error = self.look()?;
        match error {
            StorageError::ChangedSince { .. } => Some(self.spoilt(&error)),
            error => {
                if !std::mem::replace(&mut self.vigil.warned, true) {
                    log::warn!("{error}");
                    screen.event(&Report::Warning { name: None, text: error.to_string() });
                }
                None
            }
        }
    }

    /// What was found wrong since it was last asked.
    fn look(&mut self) -> Option<StorageError> {
        let now = Instant::now();
        if let Some(looking) = &mut self.vigil.looking {
            let found = looking.try_recv().ok()?;
            let took = self.vigil.began.map_or(Duration::ZERO, |began| now - began);
            self.vigil.looking = None;
            self.vigil.next = Some(now + EVERY.max(took * SHARE));
            return found.err();
        }
        if now >= *self.vigil.next.get_or_insert(now + EVERY) {
            let (tell, looking) = oneshot::channel();
            let store = self.parts.store.clone();
            // Off the runtime: the disk may be another machine's. Nobody listens any more only at the end.
            tokio::task::spawn_blocking(move || drop(tell.send(store.look_closely())));
            (self.vigil.looking, self.vigil.began) = (Some(looking), Some(now));
        }
        None
    }

    /// Before it is said that it is whole and verified for the last time.
    pub(super) async fn look_a_last_time(&mut self, last: Ending) -> Ending {
        if last.error.is_some() || !matches!(self.stage, Stage::Whole { .. }) {
            return last;
        }
        let store = self.parts.store.clone();
        match blocking(move || store.look_after()).await {
            Ok(()) => last,
            Err(error) => self.spoilt(&error),
        }
    }

    fn spoilt(&mut self, error: &StorageError) -> Ending {
        self.stage = Stage::Spoilt;
        Ending { exit: report::exit_of(error), error: Some(error.to_string()) }
    }
}
