//! What is on the disk is looked at once in a while. Somebody may change what is shared from under its final name, cut it
//! short, or take it away: nobody is to be given what was verified only once, and exit code 0 has to be true of what is on
//! the disk. What is being fetched may be removed with its folder, or unmounted: what comes after that would be lost.

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Owner, Stage, ending::Ending};
use crate::{
    member::{blocking, report, teller::Teller},
    storage::StorageError,
    time::Time,
    ui::Report,
};

/// So long between two looks, or a hundred times what the last took, as a folder may have many files; a minute at most.
const EVERY: Time = Time::from_secs(3);
const SHARE: u32 = 100;
const SELDOM: Time = Time::from_secs(60);

/// The look that is taken now and since when, and when the next is due.
#[derive(Default)]
pub(super) struct Vigil {
    looking: Option<(Time, oneshot::Receiver<Result<(), StorageError>>)>,
    next: Time,
    warned: bool,
}

impl Owner {
    /// Ends it if what is shared was changed, what is fetched is gone, or the disk is broken. That what is shared is gone
    /// from its place is said once, as it can be read still.
    pub(super) fn watch(&mut self, screen: &Teller) -> Option<Ending> {
        if !self.is_on_guard() {
            return None;
        }
        match self.look()? {
            error @ StorageError::ChangedSince { .. } => Some(self.spoilt(&error)),
            error if error.is_of_the_disk() => Some(self.spoilt(&error)),
            error => {
                if !std::mem::replace(&mut self.vigil.warned, true) {
                    log::warn!("{error}");
                    screen.event(&Report::Warning { name: None, text: error.to_string() });
                }
                None
            }
        }
    }

    /// What may sleep is looked after by who wakes it.
    fn is_on_guard(&self) -> bool {
        matches!(self.stage, Stage::Whole { .. } | Stage::Fetching) && self.wanted.is_none()
    }

    /// What was found wrong since it was last asked.
    fn look(&mut self) -> Option<StorageError> {
        let now = self.now();
        if let Some((began, looking)) = &mut self.vigil.looking {
            let found = match looking.try_recv() {
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => Ok(()),
                Ok(found) => found,
            };
            let took = now.saturating_sub(*began);
            (self.vigil.looking, self.vigil.next) = (None, now + (took * SHARE).clamp(EVERY, SELDOM));
            return found.err();
        }
        if now >= self.vigil.next {
            let (tell, looking) = oneshot::channel();
            let store = self.parts.store.clone();
            // Off the runtime: the disk may be another machine's. Nobody listens any more only at the end.
            tokio::task::spawn_blocking(move || drop(tell.send(store.look_closely())));
            self.vigil.looking = Some((now, looking));
        }
        None
    }

    /// Before it is said that it is whole and verified for the last time.
    pub(super) async fn look_a_last_time(&mut self, last: Ending) -> Ending {
        if last.error.is_some() || !self.is_on_guard() {
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
