//! Where the members of a swarm were reached before: tried first at the next start, with nobody else to ask.
//!
//! One note a composition in the user's state folder, with at most [`MOST`] addresses of the last [`OLDEST`]. An address
//! says nothing of who is there now: whoever answers is met like any other. A note that is lost, or not as it was
//! written, counts as none.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::{
    metainfo::InfoHash,
    storage::{StorageError, note, own, state_folder},
};

/// Addresses that are kept of a swarm, those that were reached last.
pub const MOST: usize = 50;
/// Swarms that are kept, those that were written last.
const MOST_SWARMS: usize = 256;
/// Who was not reached for so long is forgotten.
const OLDEST: Duration = Duration::from_secs(14 * 24 * 3600);
const FIRST_LINE: &str = "orchestra members 1";

/// An address, and when a member was last reached there.
pub type Reached = (SocketAddr, SystemTime);

/// What one user's members have met.
#[derive(Clone, Debug)]
pub struct Remembered {
    folder: PathBuf,
}

impl Remembered {
    /// In `members` below the [`state_folder`]; None where there is none.
    pub fn of_this_user() -> Option<Self> {
        Some(Self::in_folder(state_folder()?.join("members")))
    }

    /// In this folder, made when missing.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Those of this swarm, the last reached first.
    pub fn of(&self, swarm: InfoHash, now: SystemTime) -> Vec<Reached> {
        let text = note::read(&self.place(swarm)).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Vec::new();
        }
        newest(lines.filter_map(parse).collect(), now)
    }

    /// Adds these to those of this swarm.
    ///
    /// # Errors
    /// The note cannot be written; the message names it.
    pub fn add(&self, swarm: InfoHash, reached: &[Reached], now: SystemTime) -> Result<(), StorageError> {
        // The interface that a link-local address is behind may be another one next time.
        let lasting = reached.iter().filter(|(address, _)| !is_link_local(address)).copied();
        let all = newest(lasting.chain(self.of(swarm, now)).collect(), now);
        let body = all.iter().fold(format!("{FIRST_LINE}\n"), |body, (address, at)| {
            let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            body + &format!("{address} {seconds}\n")
        });
        own::make_folder(&self.folder).map_err(|e| StorageError::io(&self.folder, "make the folder", e))?;
        note::write(&self.place(swarm), &body)?;
        note::forget_old(&self.folder, MOST_SWARMS, Duration::MAX, SystemTime::now())
    }

    fn place(&self, swarm: InfoHash) -> PathBuf {
        self.folder.join(swarm.to_string())
    }
}

fn parse(line: &str) -> Option<Reached> {
    let (address, seconds) = line.split_once(' ')?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
    Some((address.parse().ok()?, at))
}

/// Each address once, without those that are too old (or not reached yet: the clock was wrong).
fn newest(mut all: Vec<Reached>, now: SystemTime) -> Vec<Reached> {
    all.retain(|(_, at)| now.duration_since(*at).map_or(*at <= now + OLDEST, |age| age <= OLDEST));
    all.sort_by_key(|(address, at)| (std::cmp::Reverse(*at), *address));
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|(address, _)| seen.insert(*address));
    all.truncate(MOST);
    all
}

fn is_link_local(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SWARM: InfoHash = InfoHash([1; 20]);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_was_reached_is_remembered_the_last_first() {
        let dir = tempfile::tempdir().unwrap();
        let remembered = Remembered::in_folder(dir.path().join("state/members"));
        assert!(remembered.of(SWARM, at(0)).is_empty());
        let (a, b, c) = (address("10.0.0.1:9998"), address("[fd00::1]:9998"), address("[fe80::1%2]:9998"));
        remembered.add(SWARM, &[(a, at(1)), (b, at(2)), (c, at(3))], at(5)).unwrap();
        assert_eq!(remembered.of(SWARM, at(5)), [(b, at(2)), (a, at(1))]);
        remembered.add(SWARM, &[(a, at(9))], at(9)).unwrap();
        assert_eq!(remembered.of(SWARM, at(9)), [(a, at(9)), (b, at(2))]);
        assert!(remembered.of(InfoHash([2; 20]), at(9)).is_empty());
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let remembered = Remembered::in_folder(dir.path());
        let many: Vec<_> =
            (0..MOST as u16 + 20).map(|n| (SocketAddr::from(([10, 0, 0, 1], n + 1)), at(n.into()))).collect();
        remembered.add(SWARM, &many, at(100)).unwrap();
        let kept = remembered.of(SWARM, at(100));
        assert_eq!((kept.len(), kept[0].1), (MOST, at(69)));
        let later = at(50) + OLDEST;
        assert_eq!(remembered.of(SWARM, later).len(), 20);
        for swarm in 0..=u8::MAX {
            remembered.add(InfoHash([swarm; 20]), &many, at(100)).unwrap();
        }
        remembered.add(InfoHash::of(b"one more"), &many, at(100)).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MOST_SWARMS);
    }

    #[test]
    fn what_is_not_as_it_was_written_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let remembered = Remembered::in_folder(dir.path());
        remembered.add(SWARM, &[(address("10.0.0.1:1"), at(1))], at(1)).unwrap();
        let place = remembered.place(SWARM);
        let text = fs::read_to_string(&place).unwrap();
        fs::write(&place, text.replace("10.0.0.1", "10.0.0.2")).unwrap();
        assert!(remembered.of(SWARM, at(1)).is_empty());
        note::write(&place, &format!("{FIRST_LINE}\nnonsense\n10.0.0.1:1 x\n10.0.0.3:1 1800000001\n")).unwrap();
        assert_eq!(remembered.of(SWARM, at(1)), [(address("10.0.0.3:1"), at(1))]);
    }
}
