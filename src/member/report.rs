//! What a member tells people about how it stands.

use std::time::Duration;

use crate::{cli::Exit, storage::StorageError, swarm::Snapshot, time::Time, ui::Phase};

/// The exit code of what went wrong with the disk.
pub fn exit_of(error: &StorageError) -> Exit {
    match error {
        StorageError::Different { .. } | StorageError::Appeared { .. } => Exit::OtherData,
        error if error.is_about_room() => Exit::Disk,
        _ => Exit::Other,
    }
}

/// Nothing comes for this long: then it is called waiting.
const WAITING_AFTER: Time = Time::from_secs(3);

/// What it is waiting for, if nothing came since `last`; to be read after "waiting for".
pub fn waiting(snapshot: &Snapshot, conductors: usize, reached: bool, last: Time, now: Time) -> Option<Phase> {
    if now < last + WAITING_AFTER {
        return None;
    }
    let what = match (snapshot.members, conductors, reached) {
        (0, 0, _) => "a member; the manifest names no conductor: give --conductor or --peer",
        (0, _, false) => "the conductor to answer",
        (0, _, true) => "a member that has it",
        _ if snapshot.complete_members > 0 => "a member to send",
        _ => "a member that has the missing parts",
    };
    Some(Phase::Waiting(what.to_owned()))
}

/// How long the rest takes at the present rate.
pub fn eta(snapshot: &Snapshot) -> Option<Duration> {
    let left = snapshot.bytes.saturating_sub(snapshot.bytes_done);
    (snapshot.rate_down > 1.0).then(|| Duration::from_secs_f64((left as f64 / snapshot.rate_down).min(1e9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_told_by_the_rate() {
        let snapshot = Snapshot { bytes: 1000, bytes_done: 400, rate_down: 100.0, ..Snapshot::default() };
        assert_eq!(eta(&snapshot), Some(Duration::from_secs(6)));
        assert_eq!(eta(&Snapshot { rate_down: 0.0, ..snapshot }), None);
    }

    #[test]
    fn it_is_not_waiting_while_parts_come() {
        let snapshot = Snapshot::default();
        let (last, now) = (Time::from_secs(10), Time::from_secs(12));
        assert_eq!(waiting(&snapshot, 1, true, last, now), None);
        let later = Time::from_secs(13);
        assert_eq!(waiting(&snapshot, 1, true, last, later), Some(Phase::Waiting("a member that has it".into())));
        assert_eq!(waiting(&snapshot, 1, false, last, later), Some(Phase::Waiting("the conductor to answer".into())));
    }
}
