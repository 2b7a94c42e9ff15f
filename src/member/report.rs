//! What a member tells people about how it stands.

use std::time::Duration;

use crate::{
    announce::live::{self, Progress},
    cli::{Exit, units},
    geometry::PartIndex,
    storage::StorageError,
    swarm::{Snapshot, Swarm},
    time::Time,
    ui::Phase,
};

/// The exit code of what went wrong with the disk.
pub fn exit_of(error: &StorageError) -> Exit {
    match error {
        StorageError::Different { .. }
        | StorageError::Foreign { .. }
        | StorageError::Changed { .. }
        | StorageError::Disturbed { .. }
        | StorageError::ChangedSince { .. }
        | StorageError::Appeared { .. } => Exit::OtherData,
        StorageError::Gone { .. } => Exit::Disk,
        error if error.is_of_the_disk() => Exit::Disk,
        _ => Exit::Other,
    }
}

/// Nothing comes for this long: then it is called waiting.
const WAITING_AFTER: Time = Time::from_secs(3);

/// Whom a member has reached so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// There is no conductor to ask, and no member was met.
    NoConductor,
    Nobody,
    /// Every conductor refuses, and no member was met.
    Refused,
    /// A conductor, or a member.
    Somebody,
}

/// What it is waiting for, if nothing came since `last`; to be read after "waiting for".
pub fn waiting(snapshot: &Snapshot, reach: Reach, last: Time, now: Time) -> Option<Phase> {
    if now < last + WAITING_AFTER {
        return None;
    }
    let what = match snapshot.members {
        _ if snapshot.mirrors > 0 => "a mirror to answer, or a member that has the missing parts",
        0 => waiting_for_anybody(reach, last, now),
        _ if snapshot.complete_members > 0 => "a member to send",
        _ => "a member that has the missing parts",
    };
    Some(Phase::Waiting(what.to_owned()))
}

/// What it is waiting for while no member is there, likewise.
pub fn waiting_for_anybody(reach: Reach, last: Time, now: Time) -> &'static str {
    match reach {
        _ if now < last + WAITING_AFTER => "a member",
        Reach::NoConductor => {
            "a member; no conductor is named: start one on this network, or give --conductor or --peer"
        }
        Reach::Nobody => "the conductor to answer",
        Reach::Refused => "the conductor, which refuses",
        Reach::Somebody => "a member that has it",
    }
}

/// How it ends when nothing came for as long as was allowed: with what is missing, and what to do about it if somebody
/// answered. `mirrors`: there were some to ask.
pub fn gave_up(reach: Reach, mirrors: bool, after: Duration, missing: &str, advice: &str) -> (Exit, String) {
    let mirrors = if mirrors { ", and no mirror gave what is missing" } else { "" };
    let after = units::duration(after);
    match reach {
        Reach::Refused => (
            Exit::Refused,
            format!("every conductor refused for {after}: ask whoever runs it, or give --conductor or --peer"),
        ),
        Reach::Nobody => (
            Exit::NobodyAnswered,
            format!(
                "no conductor and no member answered within {after}{mirrors}: is the conductor running, and its address \
                 right?"
            ),
        ),
        Reach::NoConductor => (
            Exit::NobodyAnswered,
            format!("no member answered within {after}{mirrors}: no conductor is named, give --conductor or --peer"),
        ),
        Reach::Somebody => (Exit::Missing, format!("{missing} within {after}: {advice}")),
    }
}

/// These parts, in order, as runs of their numbers: first and last, counted from 1.
pub fn ranges(parts: &[PartIndex]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in parts.iter().map(|part| part.get() + 1) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// How long the rest takes at the present rate.
pub fn eta(snapshot: &Snapshot) -> Option<Duration> {
    let left = snapshot.bytes.saturating_sub(snapshot.bytes_done);
    (snapshot.rate_down > 1.0).then(|| Duration::from_secs_f64((left as f64 / snapshot.rate_down).min(1e9)))
}

/// How far it is, with rates and a map of the parts, for the live links.
pub fn progress(swarm: &Swarm, snapshot: &Snapshot) -> Progress {
    let bits = swarm.have().to_bytes();
    let has = |part: u32| bits.get(part as usize / 8).is_some_and(|byte| byte & (0x80 >> (part % 8)) != 0);
    Progress {
        uploaded: snapshot.uploaded,
        downloaded: snapshot.fetched,
        left: snapshot.bytes - snapshot.bytes_done,
        rate_up: snapshot.rate_up as u64,
        rate_down: snapshot.rate_down as u64,
        map: live::map(snapshot.parts, has),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::geometry::Geometry;

    #[test]
    fn a_disk_that_fails_is_5() {
        let code = |source: std::io::Error| exit_of(&StorageError::io("x.part", "write", source));
        for errno in [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::STALE, Errno::ACCESS, Errno::FBIG] {
            assert_eq!(code(errno.into()), Exit::Disk, "{errno}");
        }
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::MFILE, Errno::AGAIN] {
            assert_eq!(code(errno.into()), Exit::Other, "{errno}");
        }
        assert_eq!(exit_of(&StorageError::Moved { path: "x.part".into() }), Exit::Disk);
        assert_eq!(exit_of(&StorageError::Gone { path: "x".into() }), Exit::Disk);
    }

    #[test]
    fn the_rest_is_told_by_the_rate() {
        let snapshot = Snapshot { bytes: 1000, bytes_done: 400, rate_down: 100.0, ..Snapshot::default() };
        assert_eq!(eta(&snapshot), Some(Duration::from_secs(6)));
        assert_eq!(eta(&Snapshot { rate_down: 0.0, ..snapshot }), None);
    }

    #[test]
    fn who_gives_up_says_whom_it_waited_for() {
        let said = |reach, mirrors| gave_up(reach, mirrors, Duration::from_secs(9), "", "").1;
        assert!(said(Reach::Nobody, false).starts_with("no conductor and no member answered within 9 s: is"));
        assert!(said(Reach::Nobody, true).contains("within 9 s, and no mirror gave what is missing: is"));
        assert!(said(Reach::NoConductor, true).ends_with("missing: no conductor is named, give --conductor or --peer"));
    }

    #[test]
    fn parts_are_told_in_runs() {
        let geometry = Geometry::new(9, 1).unwrap();
        let parts: Vec<_> = [0, 1, 2, 5, 8].into_iter().filter_map(|n| geometry.part(n)).collect();
        assert_eq!(ranges(&parts), [(1, 3), (6, 6), (9, 9)]);
        assert_eq!(ranges(&[]), []);
    }

    #[test]
    fn it_is_not_waiting_while_parts_come() {
        let snapshot = Snapshot::default();
        let (last, now) = (Time::from_secs(10), Time::from_secs(12));
        assert_eq!(waiting(&snapshot, Reach::Somebody, last, now), None);
        let later = Time::from_secs(13);
        for (reach, what) in [(Reach::Somebody, "a member that has it"), (Reach::Nobody, "the conductor to answer")] {
            assert_eq!(waiting(&snapshot, reach, last, later), Some(Phase::Waiting(what.into())));
        }
    }
}
