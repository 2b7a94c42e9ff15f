//! Which part is asked of whom, and what is taken from a slow one.

use super::{
    Swarm,
    neighbour::{Fetch, Neighbour},
};
use crate::{
    geometry::PartIndex,
    peer::{Command, PeerKey},
    picker::{Among, PartState},
    time::Time,
};

/// Outstanding with one member: what it sends in this time, and at least one part or [`LEAST_OUTSTANDING`].
const AHEAD: f64 = 0.25;
/// With a complete member, while others are there to get it from: what it gives to us alone should be little.
const AHEAD_OF_SEED: f64 = 0.05;
/// With a client that is not ours: it may answer at its own pace, Transmission twice a second. With less outstanding than it
/// sends between two of its answers, it looks slow, and would be asked for ever less.
const AHEAD_OF_STRANGER: f64 = 2.0;
const LEAST_OUTSTANDING: u64 = 32 << 10;
/// And no more than this many times what came of it so far: a few bytes that came quickly say little of how fast it is.
const GROWTH: u64 = 4;
/// More is never asked of one member at a time.
const MOST_OUTSTANDING: u64 = 64 << 20;
/// Nor more parts, however small: each is a command in a queue that has to take others too.
const MOST_PARTS: usize = 512;
/// With less than this outstanding in all, a complete member may be asked for anything.
const HUNGRY: u64 = 64 << 10;
/// A complete member that gave nothing for so long, and for so many times what it takes to come round to all, is asked for what is missing, whoever else has it.
const SPARED_ROUNDS: u32 = 3;
const SPARED_TIME: Time = Time::from_millis(1000);
/// A pending part is taken from who would need this many times as long as the one who could have it instead.
const STEAL: f64 = 2.0;
const STEAL_MARGIN: f64 = 0.010;
/// An answer to a recall is waited for as long as this many times what the part would take the one who is to have it, and
/// never longer than [`MAX_RECALL`].
const RECALL: f64 = 2.0;
pub(super) const MAX_RECALL: Time = Time::from_millis(700);
/// Parts are being taken from others for one member as long as they are less than it sends in this time, or one part.
const AHEAD_OF_THIEF: f64 = 0.05;
/// A complete member is spared while the others together send at least this share of what it sends: no use is made of a
/// fast seed by waiting for a few slow members.
const WORTH_SPARING: f64 = 0.25;
/// A part that was moved is kept for twice this at first, and for two to the power of the second times this at most.
const FIRST_KEEP: Time = Time::from_millis(25);
const MAX_DOUBLINGS: u32 = 7;
/// Seconds without a byte after which an answer to a recall is not waited for.
const HOPELESS: f64 = 1.0;
/// A part that is fetched from one alone, to know whom to blame, is left to it for so much longer.
const SUSPECT_MARGIN: f64 = 1.0;
/// A part that has not begun to come after this many times what it should take is not counted on.
const OVERDUE: f64 = 4.0;

/// Seconds until a part comes that should take `due`, after having `waited` for the first byte of it, and whether that should
/// have come long ago. One who is served
/// in turn gets it soon after a long wait, so the longest wait is the worst reason to steal; well beyond that
/// something is wrong.
fn time_to_come(due: f64, waited: f64) -> (f64, bool) {
    let overdue = waited > OVERDUE * due;
    (if overdue { waited } else { (due - waited).max(0.0) }, overdue)
}

/// How long an answer to a recall is waited for, if the one who is to have the part needs this many seconds for it.
fn patience(own_time: f64) -> Time {
    Time::from_secs_f64((RECALL * own_time).min(MAX_RECALL.as_secs_f64()))
}

/// How long a member keeps a part that was taken from so many others before it came: longer each time, or one who gives it
/// would lose it to those who only say that they would, again and again.
fn keeps(moves: u32) -> Time {
    FIRST_KEEP * (1 << moves.min(MAX_DOUBLINGS))
}

/// A part that is asked of one and may be taken over by another.
struct Late {
    /// Seconds until it should be there.
    time: f64,
    victim: PeerKey,
    part: PartIndex,
    /// Bytes of it that have not come.
    left: u32,
    /// None of it came.
    waits: bool,
    /// And some should have come long ago.
    overdue: bool,
}

impl Swarm {
    /// Asks this neighbour for parts until enough is outstanding with it.
    pub(super) fn assign(&mut self, key: PeerKey, now: Time) {
        if !self.checked || self.picker.is_satisfied() {
            return;
        }
        let idle = self.neighbours.get(&key).is_some_and(|n| n.fetches.is_empty());
        if idle && !self.neighbours.get(&key).is_some_and(|n| n.has.exceeds(&self.have)) {
            // Nothing of what is missing is there: no look at part after part.
            return;
        }
        loop {
            let Some(n) = self.neighbours.get(&key).filter(|n| n.may_be_asked()) else {
                return;
            };
            let ahead = match n.is_complete() && self.neighbours.values().any(|n| n.counts()) {
                _ if !n.is_ours() => AHEAD_OF_STRANGER,
                true => AHEAD_OF_SEED,
                false => AHEAD,
            };
            let by_rate = (n.rate.get() * ahead) as u64;
            let part_size = u64::from(self.config.geometry.part_size());
            let proven = n.useful.saturating_mul(GROWTH).min(MOST_OUTSTANDING);
            let target = by_rate.min(proven).max(part_size).max(LEAST_OUTSTANDING);
            if n.is_on_trial(now) || n.outstanding() >= target || n.fetches.len() >= MOST_PARTS {
                if self.is_nearly_all_asked(n) {
                    break;
                }
                return;
            }
            match self.pick_for(key, now) {
                Some(part) => self.fetch(key, part, now),
                None => break,
            }
        }
        self.steal(key, now);
    }

    /// Neighbours that nothing is asked of get another chance: a part has become free.
    pub(super) fn assign_idle(&mut self, now: Time) {
        let idle: Vec<_> = self.neighbours.iter().filter(|(_, n)| n.fetches.is_empty()).map(|(k, _)| *k).collect();
        idle.into_iter().for_each(|key| self.assign(key, now));
    }

    /// Whether this neighbour will soon have sent what it has been asked for and all that is asked of nobody. An answer to a
    /// recall takes as long, so that it need not be waited for at the end.
    fn is_nearly_all_asked(&self, n: &Neighbour) -> bool {
        let free = self.picker.unasked() as f64 * f64::from(self.geometry().part_size());
        n.outstanding() as f64 + free < n.rate.get() * AHEAD_OF_THIEF
    }

    fn pick_for(&mut self, key: PeerKey, now: Time) -> Option<PartIndex> {
        let spread = self.neighbours.values().any(|n| n.counts());
        let outstanding = || self.neighbours.values().map(|n| n.outstanding()).sum::<u64>();
        let n = self.neighbours.get(&key)?;
        let turns = self.round().map_or(Time::ZERO, |round| round * SPARED_ROUNDS);
        let idle = n.fetches.is_empty() && now >= n.last_bytes + SPARED_TIME.max(turns);
        let spared = n.is_complete() && spread && !idle && outstanding() >= HUNGRY && self.is_worth_sparing(n);
        let among = if spared { Among::OnlyThere } else { Among::All };
        self.picker.pick(&n.has, among, !spread)
    }

    /// Whether the incomplete members give about as much as this complete one, as far as is known.
    fn is_worth_sparing(&self, seed: &Neighbour) -> bool {
        let others = self.neighbours.values().filter(|n| n.counts() && n.may_be_asked());
        others.map(|n| n.rate.get()).sum::<f64>() >= WORTH_SPARING * seed.rate.get()
    }

    pub(super) fn fetch(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        let left = self.geometry().part_len(part);
        let Some(n) = self.neighbours.get_mut(&key) else {
            return;
        };
        if n.outstanding() == 0 {
            // Who has lost a part for giving none of it still owes: or its stall would never be seen.
            n.last_bytes = now.saturating_sub(n.owed);
            n.rate.start(now);
        }
        let offered = std::mem::take(&mut n.offers);
        let kept_until = now + self.moves.get(&part).map_or(Time::ZERO, |moves| keeps(*moves));
        n.fetches.push(Fetch { part, left, began: None, offered, kept_until });
        self.picker.set(part, PartState::Fetching(key));
        self.tell(key, Command::Fetch(part));
    }

    /// In place of an end game: a connection that is empty, or soon will be, takes over the pending parts that would be ready
    /// last.
    pub(super) fn steal(&mut self, thief: PeerKey, now: Time) {
        while self.steal_one(thief, now) {}
    }

    fn may_take_over(&self, n: &Neighbour, now: Time) -> bool {
        n.may_take_over(now) && (n.fetches.is_empty() || self.is_nearly_all_asked(n))
    }

    /// Whether a part was taken from another for this one.
    fn steal_one(&mut self, thief: PeerKey, now: Time) -> bool {
        let Some(own) = self.neighbours.get(&thief).filter(|n| self.may_take_over(n, now)) else {
            return false;
        };
        let mean = self.mean_rate();
        let own_rate = if own.rate.get() > 0.0 { own.rate.get() } else { mean };
        let moving = self.moving_to(thief);
        if own_rate == 0.0 || moving > 0 && moving as f64 >= own_rate * AHEAD_OF_THIEF {
            return false;
        }
        let Some(late) = self.latest(thief, own, mean, now) else {
            return false;
        };
        // What came wrong from several is fetched from one alone, so that the other begins with nothing.
        let suspect = self.suspect.contains(&late.part);
        let (bytes, margin) = match suspect {
            true => (self.geometry().part_len(late.part), SUSPECT_MARGIN),
            false => (late.left, STEAL_MARGIN),
        };
        let own_time = f64::from(bytes) / own_rate + margin;
        let own_end = own.outstanding() as f64 / own_rate + own_time;
        let is_late = late.time > STEAL * own_end;
        if is_late {
            self.moves(late.part, late.victim, thief);
            if late.waits {
                self.edit(late.victim, |n| n.loses_one(now));
            }
            // An answer is not waited for where there should have been bytes long ago, whoever was to be served before.
            let hopeless = late.waits && late.time > HOPELESS && late.overdue;
            let command = match hopeless || suspect {
                true => Command::Release(late.part),
                false => Command::Recall(late.part, patience(own_time)),
            };
            self.tell(late.victim, command);
        }
        is_late
    }

    /// The same for a part that this neighbour offers itself for.
    pub(super) fn patience_for(&self, taker: &Neighbour, part: PartIndex) -> Time {
        match taker.rate.get() {
            0.0 => MAX_RECALL,
            rate => patience(f64::from(self.geometry().part_len(part)) / rate + STEAL_MARGIN),
        }
    }

    /// The part is being taken back from the first for the second.
    pub(super) fn moves(&mut self, part: PartIndex, from: PeerKey, to: PeerKey) {
        self.picker.set(part, PartState::Moving(from, to));
        *self.moves.entry(part).or_default() += 1;
    }

    /// Of the parts that the thief has and that are asked of others, the one that would be there last.
    fn latest(&self, thief: PeerKey, own: &Neighbour, mean: f64, now: Time) -> Option<Late> {
        let mut worst: Option<Late> = None;
        for (key, n) in self.neighbours.iter().filter(|(k, _)| **k != thief) {
            let rate = if n.rate.get() > 0.0 { n.rate.get() } else { mean };
            let waited = now.saturating_sub(n.last_bytes).as_secs_f64();
            let (mut ahead, mut earlier) = (0.0, 0.0_f64);
            for fetch in &n.fetches {
                ahead += f64::from(fetch.left);
                let (time, overdue) = match fetch.began {
                    Some(began) => {
                        let left = self.time_left(fetch, now.saturating_sub(began).as_secs_f64());
                        // What came before says nothing of one that fell silent in the middle.
                        earlier = earlier.max(if waited > n.silence() { left.max(waited) } else { left });
                        (earlier, false)
                    }
                    None => {
                        let (time, overdue) = time_to_come(ahead / rate, waited);
                        if overdue {
                            earlier = earlier.max(time);
                        }
                        // Parts come one after the other.
                        (time.max(earlier), overdue)
                    }
                };
                let taken = own.has.has(fetch.part)
                    && self.picker.state(fetch.part) == PartState::Fetching(*key)
                    && now >= fetch.kept_until;
                if taken && worst.as_ref().is_none_or(|worst| time > worst.time) {
                    let (part, left, waits) = (fetch.part, fetch.left, fetch.began.is_none());
                    worst = Some(Late { time, victim: *key, part, left, waits, overdue });
                }
            }
        }
        worst
    }

    /// Seconds until a part is whole of which some came in the last `seconds`.
    fn time_left(&self, fetch: &Fetch, seconds: f64) -> f64 {
        let came = self.geometry().part_len(fetch.part) - fetch.left;
        seconds * f64::from(fetch.left) / f64::from(came.max(1))
    }

    /// Bytes that are being taken from others for this one.
    pub(super) fn moving_to(&self, thief: PeerKey) -> u64 {
        let moving = |f: &&Fetch| matches!(self.picker.state(f.part), PartState::Moving(_, to) if to == thief);
        self.neighbours.values().flat_map(|n| n.fetches.iter().filter(moving)).map(|f| u64::from(f.left)).sum()
    }

    pub(super) fn mean_rate(&self) -> f64 {
        let rates = || self.neighbours.values().map(|n| n.rate.get()).filter(|r| *r > 0.0);
        let count = rates().count();
        if count == 0 { 0.0 } else { rates().sum::<f64>() / count as f64 }
    }
}

#[cfg(test)]
mod race;

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use crate::{
        geometry::{Geometry, PartIndex},
        peer::{Command, Event, Hello, Introduction, PeerKey},
        swarm::{Config, Effect, Input, Swarm},
        time::Time,
        wire::{bitfield::Bitfield, handshake::PeerId},
    };

    const KEY: PeerKey = PeerKey(1);

    /// A swarm with one neighbour, a complete one that is not ours and serves us.
    fn beside_a_stranger() -> Swarm {
        let geometry = Geometry::new(64 << 20, 16 << 10).unwrap();
        let have = Bitfield::none(&geometry);
        let id = PeerId([9; 20]);
        let mut swarm =
            Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 });
        let address = SocketAddr::from(([10, 0, 0, 1], 51413));
        let introduction = Introduction { id: PeerId([1; 20]), address, dialled: true, fast: true, extended: true };
        swarm.handle(Input::Introduced(KEY, introduction), Time::ZERO);
        for event in [Event::Hello(Hello::default()), Event::HasAll, Event::Choked(false)] {
            swarm.handle(Input::Peer(KEY, event), Time::ZERO);
        }
        swarm
    }

    #[test]
    fn who_answers_twice_a_second_is_asked_for_more_each_time() {
        let mut swarm = beside_a_stranger();
        let mut answered = 0;
        for pulse in 1..=6 {
            let now = Time::from_millis(500) * pulse;
            let asked = std::iter::from_fn(|| swarm.next_effect()).filter_map(|effect| match effect {
                Effect::Tell(KEY, Command::Fetch(part)) => Some(part),
                _ => None,
            });
            let asked: Vec<_> = asked.collect();
            answered = asked.len();
            for part in asked {
                swarm.handle(Input::Peer(KEY, Event::Received { part, bytes: 16 << 10 }), now);
                swarm.handle(Input::Peer(KEY, Event::Right(part)), now);
            }
        }
        assert!(answered > 200, "in the third second it is asked for {answered} parts a pulse");
    }

    pub(super) const A: PeerKey = PeerKey(1);
    pub(super) const B: PeerKey = PeerKey(2);

    /// A swarm that lacks these parts of 64 KiB of eight, and two neighbours of our own kind: A has all, B these.
    fn between(lacks: &[u32], of_b: &[u32]) -> Swarm {
        of_parts(8, 1 << 16, lacks, of_b)
    }

    /// The same with so many parts of this size.
    pub(super) fn of_parts(parts: u32, size: u64, lacks: &[u32], of_b: &[u32]) -> Swarm {
        let geometry = Geometry::new(u64::from(parts) * size, size).unwrap();
        let only = |parts: &mut dyn Iterator<Item = u32>| {
            let mut bits = Bitfield::none(&geometry);
            parts.for_each(|part| _ = bits.insert(geometry.part(part).unwrap()));
            bits
        };
        let have = only(&mut (0..parts).filter(|part| !lacks.contains(part)));
        let id = PeerId([9; 20]);
        let mut swarm =
            Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 });
        let b = match of_b.len() == parts as usize {
            true => Event::HasAll,
            false => Event::HasThese(only(&mut of_b.iter().copied())),
        };
        for (key, has) in [(B, b), (A, Event::HasAll)] {
            let n = key.0 as u8;
            let address = SocketAddr::from(([10, 0, 0, n], 9998));
            let who = Introduction { id: PeerId([n; 20]), address, dialled: true, fast: true, extended: true };
            swarm.handle(Input::Introduced(key, who), Time::ZERO);
            let hello = Hello { max_request: Some(1 << 20), ..Hello::default() };
            for event in [Event::Hello(hello), has, Event::Choked(false)] {
                swarm.handle(Input::Peer(key, event), Time::ZERO);
            }
        }
        swarm
    }

    /// What they are told about parts. What is to be given back is given back at once.
    fn told(swarm: &mut Swarm, now: Time) -> Vec<(PeerKey, Command)> {
        let mut told = Vec::new();
        while let Some(effect) = swarm.next_effect() {
            let Effect::Tell(key, command) = effect else { continue };
            if let Command::Release(part) | Command::Recall(part, _) = command {
                swarm.handle(Input::Peer(key, Event::Released { part, refused: false }), now);
            }
            if matches!(command, Command::Fetch(_) | Command::Release(_) | Command::Recall(..)) {
                told.push((key, command));
            }
        }
        told
    }

    /// Lets time pass in steps of 100 ms until this is told; when that was.
    fn until(swarm: &mut Swarm, from: Time, wanted: (PeerKey, Command), each: impl Fn(&mut Swarm, Time)) -> Time {
        for step in 1..1000 {
            let now = from + Time::from_millis(100) * step;
            each(swarm, now);
            swarm.tick(now);
            if told(swarm, now).contains(&wanted) {
                return now;
            }
        }
        panic!("{wanted:?} is never told");
    }

    fn part(swarm: &Swarm, part: u32) -> PartIndex {
        swarm.geometry().part(part).unwrap()
    }

    /// The part that this one is to fetch first.
    fn fetched(told: &[(PeerKey, Command)], of: PeerKey) -> PartIndex {
        let fetched = |(key, command): &(PeerKey, Command)| match command {
            Command::Fetch(part) if *key == of => Some(*part),
            _ => None,
        };
        told.iter().find_map(fetched).expect("it is asked for something")
    }

    /// A part comes from this one, so that it is known how fast it is.
    fn gives_one(swarm: &mut Swarm, key: PeerKey, index: u32, now: Time) {
        let part = part(swarm, index);
        swarm.handle(Input::Peer(key, Event::Received { part, bytes: 1 << 16 }), now);
        swarm.handle(Input::Peer(key, Event::Right(part)), now);
        swarm.handle(Input::Have(part), now);
    }

    /// Junk in answer to what was taken back: the part that is asked for meanwhile does not look as if it came.
    #[test]
    fn who_sends_only_what_was_taken_back_loses_what_it_is_asked_for() {
        let mut swarm = between(&[0, 1], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let asked = told(&mut swarm, Time::ZERO);
        let (of_a, of_b) = (fetched(&asked, A), fetched(&asked, B));
        gives_one(&mut swarm, A, of_a.get(), Time::from_millis(50));
        let junk = |swarm: &mut Swarm, now| swarm.handle(Input::Peer(B, Event::Late(1 << 16)), now);
        let at = until(&mut swarm, Time::from_millis(50), (A, Command::Fetch(of_b)), junk);
        assert!(at <= Time::from_secs(1), "{at:?}");
        assert_eq!(swarm.snapshot(at).rate_down, swarm.down.get(at), "junk is no progress");
    }

    /// It is fetched from one alone, to know whom to blame: not from one that holds it back for ever.
    #[test]
    fn a_suspect_part_is_taken_from_who_hardly_gives_any_of_it() {
        let mut swarm = between(&[0, 1], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let asked = told(&mut swarm, Time::ZERO);
        let (of_a, of_b) = (fetched(&asked, A), fetched(&asked, B));
        swarm.suspect.insert(of_b);
        gives_one(&mut swarm, A, of_a.get(), Time::from_millis(50));
        let drip = |swarm: &mut Swarm, now| {
            swarm.handle(Input::Peer(B, Event::Received { part: of_b, bytes: 1 }), now);
        };
        let at = until(&mut swarm, Time::from_millis(50), (A, Command::Fetch(of_b)), drip);
        assert!(at <= Time::from_secs(5), "{at:?}");
    }

    #[test]
    fn what_the_only_one_refused_it_is_asked_for_again() {
        let mut swarm = between(&[0], &[]);
        assert_eq!(told(&mut swarm, Time::ZERO), [(A, Command::Fetch(part(&swarm, 0)))]);
        let refused = Event::Released { part: part(&swarm, 0), refused: true };
        swarm.handle(Input::Peer(A, refused), Time::from_secs(1));
        let wanted = (A, Command::Fetch(part(&swarm, 0)));
        let at = until(&mut swarm, Time::from_secs(1), wanted, |_, _| {});
        assert!(at >= Time::from_secs(10) && at < Time::from_secs(12), "{at:?}");
    }

    #[test]
    fn who_stalled_is_asked_again_at_once_where_nobody_else_gives_anything() {
        let mut swarm = between(&[0], &[]);
        let wanted = part(&swarm, 0);
        assert_eq!(told(&mut swarm, Time::ZERO), [(A, Command::Fetch(wanted))]);
        let stalled = until(&mut swarm, Time::ZERO, (A, Command::Release(wanted)), |_, _| {});
        let again = until(&mut swarm, stalled, (A, Command::Fetch(wanted)), |_, _| {});
        assert!(again < stalled + Time::from_secs(1), "{stalled:?}, {again:?}");
    }

    /// Members come first, but not for ever.
    #[test]
    fn a_seed_that_idles_is_asked_for_what_members_have_and_do_not_give() {
        let mut swarm = between(&[0, 1, 2, 3], &[0, 1, 2, 3]);
        let first = told(&mut swarm, Time::ZERO);
        assert!(first.iter().filter(|(key, _)| *key == B).count() == 1, "{first:?}");
        let is_asked =
            |told: &[(PeerKey, Command)]| told.iter().any(|(key, c)| *key == A && matches!(c, Command::Fetch(_)));
        let mut asked = is_asked(&first);
        for step in 1..=10 {
            let now = Time::from_millis(100) * step;
            swarm.tick(now);
            asked |= is_asked(&told(&mut swarm, now));
        }
        assert!(asked, "within a second");
    }

    /// Two members offer themselves for the last part again and again, and neither gives it at once: the one that would
    /// must not lose it to the other each time.
    #[test]
    fn a_part_that_goes_from_hand_to_hand_stays_longer_with_each() {
        let mut swarm = between(&[0, 1], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let asked = told(&mut swarm, Time::ZERO);
        let (of_a, of_b) = (fetched(&asked, A), fetched(&asked, B));
        gives_one(&mut swarm, A, of_a.get(), Time::from_millis(5));
        let mut moved = Vec::new();
        for ms in (10..20_000).step_by(10) {
            let now = Time::from_millis(ms);
            for key in [A, B] {
                swarm.handle(Input::Peer(key, Event::Offer), now);
            }
            let told = told(&mut swarm, now);
            moved.extend(told.iter().filter(|(_, command)| *command == Command::Fetch(of_b)).map(|_| now));
        }
        let longest = moved.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest >= Time::from_secs(3), "{longest:?}");
        assert!(moved.len() < 30, "{moved:?}");
    }

    /// All that is asked of this one comes at once, until nothing more is; which parts that were.
    fn gives_all(swarm: &mut Swarm, giver: PeerKey, now: Time) -> Vec<u32> {
        let (mut gave, mut asked) = (Vec::new(), told(swarm, now));
        while !asked.is_empty() {
            for (key, command) in std::mem::take(&mut asked) {
                let Command::Fetch(part) = command else { continue };
                if key == giver {
                    let bytes = swarm.geometry().part_len(part);
                    swarm.handle(Input::Peer(key, Event::Received { part, bytes }), now);
                    swarm.handle(Input::Peer(key, Event::Right(part)), now);
                    gave.push(part.get());
                }
            }
            asked = told(swarm, now);
        }
        gave
    }

    #[test]
    fn a_fast_seed_is_not_spared_for_one_who_gives_nothing() {
        let mut swarm = between(&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 1, 2]);
        let gave = gives_all(&mut swarm, A, Time::from_millis(1));
        assert_eq!(gave.iter().filter(|part| **part < 3).count(), 2, "all but the one that B is asked for: {gave:?}");
    }

    #[test]
    fn several_parts_are_taken_from_a_slow_one_at_once_and_its_answer_is_not_waited_for_long() {
        let mut swarm = between(&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 1, 2, 3, 4, 5, 6]);
        let now = Time::from_millis(1);
        for (key, command) in told(&mut swarm, Time::ZERO) {
            let Command::Fetch(part) = command else { continue };
            swarm.handle(Input::Peer(key, Event::Received { part, bytes: 1 << 16 }), now);
            swarm.handle(Input::Peer(key, Event::Right(part)), now);
        }
        let now = Time::from_millis(300);
        swarm.tick(now);
        let recalled: Vec<_> = std::iter::from_fn(|| swarm.next_effect())
            .filter_map(|effect| match effect {
                Effect::Tell(B, Command::Recall(_, patience)) => Some(patience),
                _ => None,
            })
            .collect();
        assert!(
            recalled.len() > 1 && recalled.iter().all(|patience| *patience < Time::from_millis(100)),
            "{recalled:?}"
        );
    }
}
