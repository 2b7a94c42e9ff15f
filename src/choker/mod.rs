//! Who is served next.
//!
//! Everybody is unchoked at once and for ever; what is scarce is the uplink, and it is given part by part. A few
//! members at a time have leave to get about one part each; when one is done, the next is chosen:
//!
//! - A member that is still fetching serves first those that lie behind: whose count of parts is more than
//!   max(1 % of all parts, 2) below the mean of its incomplete neighbours. Within each class, and for a member that
//!   is complete always, the one that was served least recently.
//! - A first seed serves those last that spread nothing of what it gives them.
//! - A member whose connection takes no more bytes for now keeps its leave but does not count among the few, so that
//!   a slow one never holds up the others.
//!
//! Strictly fewest-first, rarest-part-first and tit for tat were all measured to be slower.

use crate::{peer::PeerKey, time::Time};

/// Members that are served at the same time. Two keep the uplink busy while the next leave is being given; with five, 24
/// simulated leechers were done sooner than with two, while 200 did not mind.
const AT_ONCE: usize = 5;
/// A first seed serves fewer: what it gives is new to all and can be passed on when it is whole, so the sooner the better.
/// But only where a part is so small that it leaves in one go; a larger one goes as fast as its receiver takes it, and
/// more are needed to keep the uplink busy.
const AT_ONCE_OF_FIRST_SEED: usize = 2;
const SMALL_PART: u32 = 64 << 10;

/// How many members are served at the same time, when each gets so many bytes in its turn.
pub fn at_once(is_first_seed: bool, bytes: u32) -> usize {
    if is_first_seed && bytes <= SMALL_PART { AT_ONCE_OF_FIRST_SEED } else { AT_ONCE }
}

/// One who waits to be served.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub key: PeerKey,
    /// How many parts it has.
    pub parts: u32,
    /// When it was last given leave; None: never.
    pub served: Option<Time>,
    /// It is served when nobody else waits.
    pub last: bool,
}

/// The state of the neighbourhood that the rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Neighbours {
    /// Mean count of parts over our incomplete neighbours.
    pub mean_parts: f64,
    /// Parts of the composition.
    pub parts: u32,
    /// We are complete ourselves.
    pub seeding: bool,
}

/// The one to serve next.
pub fn next(waiting: impl Iterator<Item = Waiting>, around: Neighbours) -> Option<PeerKey> {
    let margin = (f64::from(around.parts) * 0.01).max(2.0);
    let ahead = |w: &Waiting| around.seeding || f64::from(w.parts) >= around.mean_parts - margin;
    waiting.min_by_key(|w| (w.last, ahead(w), w.served, w.key)).map(|w| w.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(key: u32, parts: u32, served: u64) -> Waiting {
        Waiting { key: PeerKey(key), parts, served: Some(Time::from_secs(served)), last: false }
    }

    const AROUND: Neighbours = Neighbours { mean_parts: 100.0, parts: 1000, seeding: false };

    #[test]
    fn those_behind_go_first_when_they_are_far_behind() {
        let all = [waiting(1, 100, 1), waiting(2, 91, 2), waiting(3, 80, 3)];
        assert_eq!(next(all.into_iter(), AROUND), Some(PeerKey(3)));
        assert_eq!(next(all[..2].iter().copied(), AROUND), Some(PeerKey(1)), "a little behind does not count");
    }

    #[test]
    fn a_seed_looks_only_at_who_waited_longest() {
        let all = [waiting(1, 0, 9), waiting(2, 100, 2)];
        assert_eq!(next(all.into_iter(), Neighbours { seeding: true, ..AROUND }), Some(PeerKey(2)));
    }

    #[test]
    fn who_is_to_be_last_is_served_when_nobody_else_waits() {
        let last = Waiting { last: true, ..waiting(1, 0, 1) };
        assert_eq!(next([last, waiting(2, 100, 9)].into_iter(), AROUND), Some(PeerKey(2)));
        assert_eq!(next([last].into_iter(), AROUND), Some(PeerKey(1)));
    }

    #[test]
    fn a_first_seed_gives_small_parts_to_few_at_a_time() {
        assert_eq!(at_once(true, 64 << 10), AT_ONCE_OF_FIRST_SEED);
        assert_eq!(at_once(true, 256 << 10), AT_ONCE);
        assert_eq!(at_once(false, 64 << 10), AT_ONCE);
    }

    #[test]
    fn who_was_never_served_waited_longest() {
        let fresh = Waiting { served: None, ..waiting(2, 100, 0) };
        assert_eq!(next([waiting(1, 100, 0), fresh].into_iter(), AROUND), Some(PeerKey(2)));
        assert_eq!(next(std::iter::empty(), AROUND), None);
    }
}
