//! How often members are heard and how many they hear of: the conductor's numbers.
//!
//! The list is to be live, so a small swarm announces every few seconds. A swarm of n members with interval i costs
//! n / i announces a second; the interval grows so that one swarm costs about 20 a second and all of them together
//! about 2,000, which one core answers with ease.

use core::time::Duration;

use crate::{metainfo::InfoHash, search::NEIGHBOURS, wire::handshake::PeerId};

/// The shortest interval, in seconds.
const SHORTEST: u32 = 5;
/// The longest interval, in seconds.
const LONGEST: u32 = 120;
/// The shortest among neighbours, who find each other by themselves once they have found one.
const SHORTEST_OF_NEIGHBOURS: u32 = 60;
/// Announces a second that one swarm may cost.
const SWARM_RATE: usize = 20;
/// Announces a second that all swarms together may cost, below the longest interval.
const TOTAL_RATE: usize = 2000;
/// Foreign clients may ignore a short interval (libtorrent never asks more often than every five minutes): they get
/// two of those and a minute.
const FOREIGN_LIFETIME: Duration = Duration::from_secs(11 * 60);
/// Members listed where the asker names no number.
const DEFAULT_WANTED: u32 = 50;
/// Members listed at most.
const MOST_WANTED: u32 = 200;

/// Seconds until a member's next announce, given how many members its swarm (of this info-hash) and all swarms have. It is the least
/// interval too: some clients (rqbit) take that for their period, and a longer one would make their list old.
pub fn interval(of: &InfoHash, in_swarm: usize, in_all: usize) -> u32 {
    let seconds = (in_swarm / SWARM_RATE).max(in_all / TOTAL_RATE);
    let shortest = if *of == NEIGHBOURS { SHORTEST_OF_NEIGHBOURS } else { SHORTEST };
    u32::try_from(seconds).unwrap_or(LONGEST).clamp(shortest, LONGEST)
}

/// How long a member is listed after an announce that was answered with this interval.
pub fn lifetime(id: &PeerId, interval: u32) -> Duration {
    if id.0.starts_with(b"-OC") { 2 * Duration::from_secs(interval.into()) } else { FOREIGN_LIFETIME }
}

/// How many members to list for somebody who wants this many.
pub fn wanted(numwant: Option<u32>) -> usize {
    numwant.unwrap_or(DEFAULT_WANTED).min(MOST_WANTED) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWARM: InfoHash = InfoHash([1; 20]);

    #[test]
    fn the_interval_grows_with_the_swarm_and_with_the_load() {
        assert_eq!(interval(&SWARM, 1, 1), 5);
        assert_eq!(interval(&SWARM, 119, 119), 5);
        assert_eq!(interval(&SWARM, 400, 400), 20);
        assert_eq!(interval(&SWARM, 1_000_000, 1_000_000), 120);
        assert_eq!(interval(&SWARM, 3, 60_000), 30);
        assert_eq!(interval(&NEIGHBOURS, 3, 3), 60);
    }

    #[test]
    fn our_own_members_go_after_two_intervals_and_foreign_ones_after_eleven_minutes() {
        let own = PeerId(*b"-OC0100-abcdefghijkl");
        let foreign = PeerId(*b"-TR4060-abcdefghijkl");
        assert_eq!(lifetime(&own, 5), Duration::from_secs(10));
        assert_eq!(lifetime(&foreign, 5), Duration::from_secs(660));
    }

    #[test]
    fn nobody_gets_more_than_two_hundred() {
        assert_eq!(wanted(None), 50);
        assert_eq!(wanted(Some(0)), 0);
        assert_eq!(wanted(Some(u32::MAX)), 200);
    }
}
