//! How long a file has to rest before it is taken up: one that is being written is neither read nor shared.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::look::Look;

/// Rest of a file after its last change.
pub const QUIET: Duration = Duration::from_secs(2);
/// Rest of a file that may well be written still: the programs that might write to it cannot be seen, or it changed again
/// and again after it was taken up.
const LONG_QUIET: Duration = Duration::from_secs(60);
/// A file that changed so often within [`LONG_QUIET`] of being taken up is written bit by bit.
const MAX_CHANGES: u32 = 2;

/// Files that changed after they were taken up: how often in a row, and when last.
#[derive(Debug, Default)]
pub struct Restless(HashMap<PathBuf, (u32, Instant)>);

/// What a file still has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: it is taken up.
    Rested,
    /// The rest of its rest.
    For(Duration),
    /// A program has it open for writing.
    Writer,
}

impl Restless {
    /// It was taken up, and changed.
    pub fn changed(&mut self, path: &Path) {
        self.0.retain(|_, (_, last)| last.elapsed() < LONG_QUIET);
        let (count, last) = self.0.entry(path.to_owned()).or_insert((0, Instant::now()));
        (*count, *last) = (*count + 1, Instant::now());
    }

    /// What this file, as it was looked at, waits for. `first`: it was there at the start.
    pub fn wait(&self, path: &Path, look: &Look, first: bool) -> Wait {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128 - look.changed;
        let age = Duration::from_nanos(u64::try_from(since).unwrap_or(u64::MAX));
        let rest = match self.0.get(path) {
            _ if look.is_written => return Wait::Writer,
            Some((MAX_CHANGES.., last)) if last.elapsed() < LONG_QUIET => LONG_QUIET,
            _ if !look.is_known => LONG_QUIET,
            _ if first => return Wait::Rested,
            _ => QUIET,
        };
        match rest.checked_sub(age).filter(|left| !left.is_zero()) {
            Some(left) => Wait::For(left),
            None => Wait::Rested,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Stamp;

    /// A file that was changed so many seconds ago.
    fn look(age: u64) -> Look {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128;
        let changed = now - i128::from(age) * 1_000_000_000;
        let stamp = Stamp { device: 1, inode: 1, size: 1, modified: changed, changed };
        Look { stamp, changed, is_written: false, is_known: true }
    }

    fn rests(wait: Wait) -> u64 {
        match wait {
            Wait::For(left) => left.as_secs_f64().ceil() as u64,
            Wait::Rested => 0,
            Wait::Writer => panic!("a writer"),
        }
    }

    #[test]
    fn a_file_rests_for_two_seconds_and_not_at_the_start() {
        let (restless, path) = (Restless::default(), Path::new("x"));
        assert_eq!(rests(restless.wait(path, &look(0), false)), 2);
        assert_eq!(rests(restless.wait(path, &look(3), false)), 0);
        assert_eq!(rests(restless.wait(path, &look(0), true)), 0);
    }

    #[test]
    fn one_that_may_be_written_still_rests_longer() {
        let (mut restless, path) = (Restless::default(), Path::new("x"));
        let written = Look { is_written: true, ..look(1_000) };
        assert_eq!(restless.wait(path, &written, true), Wait::Writer);
        let unknown = |age| Look { is_known: false, ..look(age) };
        assert_eq!(rests(restless.wait(path, &unknown(10), true)), 50);
        assert_eq!(rests(restless.wait(path, &unknown(61), false)), 0);
        restless.changed(path);
        assert_eq!(rests(restless.wait(path, &look(0), false)), 2, "once may happen");
        restless.changed(path);
        assert_eq!(rests(restless.wait(path, &look(0), false)), 60);
        assert_eq!(rests(restless.wait(Path::new("y"), &look(0), false)), 2);
    }
}
