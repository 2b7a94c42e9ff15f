//! When a mirror is asked, for what, and when it is left alone.
//!
//! Members come first: a mirror's bytes are somebody's bill, and who fetches from a member spreads what others lack. A
//! mirror is asked for runs of parts
//! 1. that no connected member has, once members had a moment to be found: in order while there is no member at all, else
//!    from a random place among them, so that members that ask the same mirror get different parts to swap;
//! 2. that members do have, while they give less than the mirror did: found out by letting them do alone for a few
//!    seconds, after which the mirror helps for a while, twice as long each time that they were slow.
//!
//! A member that has nothing left to do takes over what a mirror has not begun, or what it holds without sending.
//! Whoever fails is asked again later and later; whoever sends two wrong parts, or has not the bytes, never again.

use std::collections::{BTreeMap, VecDeque};

use super::{Effect, Swarm};
use crate::{
    geometry::PartIndex,
    mirror::{Event, Failure, Order},
    peer::{
        PeerKey,
        rates::{BusyRate, Meter},
    },
    picker::{Among, PartState},
    time::Time,
    wire::bitfield::Bitfield,
};

/// Members have so long to be found.
const GRACE: Time = Time::from_secs(1);
/// Members do alone for so long before they are called slow: [`Meter`] looks back as far.
const WATCH: Time = Time::from_secs(4);
/// How long a mirror helps slow members at first, and at most.
const FIRST_HELP: Time = Time::from_secs(2);
const LONGEST_HELP: Time = Time::from_secs(64);
/// Members that give less, in bytes a second, are slow where nothing is known of the mirrors yet.
const SLOW: f64 = (1 << 20) as f64;
/// Bytes asked of a mirror in one request: what it gives in this time, within these bounds, and at least one part.
const AHEAD: f64 = 2.0;
const LEAST_RUN: u64 = 1 << 20;
const LONGEST_RUN: u64 = 4 << 20;
/// Parts in one request, however small they are.
const MOST_PARTS: usize = 1024;
/// Requests to one mirror at the same time: while one begins the other one brings something.
const MOST_REQUESTS: usize = 2;
const FIRST_PAUSE: Time = Time::from_secs(5);
const LONGEST_PAUSE: Time = Time::from_secs(300);
/// A mirror that sent nothing for so long is not counted on by members that could do its work.
const PATIENCE: Time = Time::from_secs(2);
/// A member takes work over that takes the mirror this many times as long.
const TAKE_OVER: f64 = 2.0;
const STRIKES: u32 = 2;

/// All mirrors of a composition.
#[derive(Debug)]
pub(super) struct Mirrors {
    all: BTreeMap<PeerKey, Mirror>,
    /// Every part: what each of them has.
    everything: Option<Bitfield>,
    /// Since when they could have been asked.
    since: Option<Time>,
    help: Help,
    /// How long they help next.
    next_help: Time,
    pub down: Meter,
    /// Payload bytes that came from them, wrong ones included.
    pub fetched: u64,
}

/// Whether mirrors are asked for what members have.
#[derive(Clone, Copy, Debug)]
enum Help {
    /// Members do alone.
    Not {
        since: Time,
    },
    Until(Time),
}

#[derive(Debug)]
struct Mirror {
    requests: Vec<Request>,
    rate: BusyRate,
    /// When bytes last came, or were first owed.
    last_bytes: Time,
    /// Nothing is asked of it until then.
    rests: Option<Time>,
    /// The length of its next pause.
    pause: Time,
    strikes: u32,
    /// Never again.
    left: bool,
}

#[derive(Debug)]
struct Request {
    first: PartIndex,
    /// What is still to come, in order.
    parts: VecDeque<PartIndex>,
    /// It ends before one of them.
    cut: bool,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            everything: None,
            since: None,
            help: Help::Not { since: Time::ZERO },
            next_help: FIRST_HELP,
            down: Meter::default(),
            fetched: 0,
        }
    }
}

impl Mirrors {
    /// Whether one of them is asked for something.
    pub fn are_busy(&self) -> bool {
        self.all.values().any(|mirror| !mirror.requests.is_empty())
    }

    /// How many may still be asked, now or later.
    pub fn count(&self) -> usize {
        self.all.values().filter(|mirror| !mirror.left).count()
    }

    /// What the fastest gave, in bytes a second; 0: not known.
    fn best_rate(&self) -> f64 {
        self.all.values().filter(|mirror| !mirror.left).map(|mirror| mirror.rate.get()).fold(0.0, f64::max)
    }
}

impl Mirror {
    fn new() -> Self {
        Self {
            requests: Vec::new(),
            rate: BusyRate::default(),
            last_bytes: Time::ZERO,
            rests: None,
            pause: FIRST_PAUSE,
            strikes: 0,
            left: false,
        }
    }

    fn may_be_asked(&self, now: Time) -> bool {
        !self.left && self.rests.is_none_or(|until| until <= now) && self.requests.len() < MOST_REQUESTS
    }

    fn is_silent(&self, now: Time) -> bool {
        now > self.last_bytes + PATIENCE
    }

    /// The request for this part ends early.
    fn cut(&mut self, part: PartIndex) {
        let cut = self.requests.iter_mut().filter(|request| request.parts.contains(&part));
        cut.for_each(|request| request.cut = true);
    }

    fn forget(&mut self, part: PartIndex) {
        self.requests.iter_mut().for_each(|request| request.parts.retain(|other| *other != part));
    }
}

impl Swarm {
    /// These have the same bytes over HTTP. The keys are no neighbour's, ever. To be called before anything is heard.
    pub fn use_mirrors(&mut self, keys: impl IntoIterator<Item = PeerKey>) {
        self.mirrors.all = keys.into_iter().map(|key| (key, Mirror::new())).collect();
        self.mirrors.everything = (!self.mirrors.all.is_empty()).then(|| Bitfield::all(&self.geometry()));
    }

    pub(super) fn on_mirror(&mut self, key: PeerKey, event: Event, now: Time) {
        if !self.mirrors.all.contains_key(&key) {
            return;
        }
        match event {
            Event::Received(bytes) => self.on_mirrored(key, bytes, now),
            Event::Right(part) => {
                self.edit_mirror(key, |mirror| {
                    mirror.forget(part);
                    mirror.pause = FIRST_PAUSE;
                });
                self.suspect.remove(&part);
                if self.picker.state(part) != PartState::Present {
                    self.picker.set(part, PartState::Writing);
                }
            }
            Event::Wrong { part, alone } => self.on_wrong_mirrored(key, part, alone, now),
            Event::Released(part) => {
                self.edit_mirror(key, |mirror| {
                    mirror.cut(part);
                    mirror.forget(part);
                });
                self.freed(key, part, now);
            }
            Event::Over { first, failure } => {
                let mut done = false;
                self.edit_mirror(key, |mirror| {
                    done = mirror.requests.iter().any(|request| request.first == first && !request.cut);
                    mirror.requests.retain(|request| request.first != first);
                });
                match failure {
                    Some(failure) => self.on_failure(key, failure, now),
                    // One that ended early is not asked again at once: whatever was in the way may be there still.
                    None if done => self.ask_mirrors(now),
                    None => {}
                }
            }
        }
    }

    /// What time brings.
    pub(super) fn tend_mirrors(&mut self, now: Time) {
        if self.mirrors.all.is_empty() || !self.checked || self.picker.is_satisfied() {
            return;
        }
        self.mirrors.since.get_or_insert(now);
        self.watch_members(now);
        self.ask_mirrors(now);
        self.relieve_mirrors(now);
    }

    fn edit_mirror(&mut self, key: PeerKey, change: impl FnOnce(&mut Mirror)) {
        if let Some(mirror) = self.mirrors.all.get_mut(&key) {
            change(mirror);
        }
    }

    fn on_mirrored(&mut self, key: PeerKey, bytes: u32, now: Time) {
        self.fetched += u64::from(bytes);
        self.mirrors.fetched += u64::from(bytes);
        self.mirrors.down.add(bytes, now);
        self.edit_mirror(key, |mirror| {
            mirror.rate.add(bytes, now);
            mirror.last_bytes = now;
        });
    }

    fn on_wrong_mirrored(&mut self, key: PeerKey, part: PartIndex, alone: bool, now: Time) {
        self.wrong_parts += 1;
        if self.picker.state(part).is_asked_of(key) {
            self.picker.set(part, PartState::Missing);
        }
        let mut strikes = 0;
        self.edit_mirror(key, |mirror| {
            mirror.forget(part);
            mirror.strikes += u32::from(alone);
            strikes = mirror.strikes;
        });
        if !alone {
            self.suspect.insert(part);
        }
        if strikes >= STRIKES {
            self.on_failure(key, Failure::Never("what it sends is wrong".to_owned()), now);
        }
        self.assign_idle(now);
    }

    fn on_failure(&mut self, key: PeerKey, failure: Failure, now: Time) {
        let Some(mirror) = self.mirrors.all.get_mut(&key).filter(|mirror| !mirror.left) else {
            return;
        };
        let for_good = matches!(failure, Failure::Never(_));
        if !for_good && mirror.rests.is_some_and(|until| until > now) {
            // Its other request failed too.
            return;
        }
        mirror.left = for_good;
        mirror.rests = Some(now + mirror.pause);
        mirror.pause = (mirror.pause * 2).min(LONGEST_PAUSE);
        for request in mirror.requests.iter_mut().filter(|_| for_good) {
            request.cut = true;
            if let Some(next) = request.parts.front() {
                self.effects.push_back(Effect::Mirror(key, Order::Cut(*next)));
            }
        }
        self.effects.push_back(Effect::MirrorFailed(key, failure));
    }

    /// Whether members are slow enough for mirrors to help with what members have.
    fn watch_members(&mut self, now: Time) {
        let members = self.down.get(now);
        let best = self.mirrors.best_rate();
        let slow = members < if best > 0.0 { best } else { SLOW };
        let mirrors = &mut self.mirrors;
        match mirrors.help {
            Help::Not { since } if now < since.max(mirrors.since.unwrap_or(now)) + WATCH => {}
            Help::Not { .. } if slow => {
                mirrors.help = Help::Until(now + mirrors.next_help);
                mirrors.next_help = (mirrors.next_help * 2).min(LONGEST_HELP);
            }
            Help::Not { .. } => mirrors.next_help = FIRST_HELP,
            // From members that give nothing there is nothing to be found out.
            Help::Until(end) if now >= end && members == 0.0 => mirrors.help = Help::Until(now + FIRST_HELP),
            Help::Until(end) if now >= end => mirrors.help = Help::Not { since: now },
            Help::Until(_) => {}
        }
    }

    fn ask_mirrors(&mut self, now: Time) {
        let ready = self.mirrors.since.is_some_and(|since| now >= since + GRACE);
        if !ready || !self.checked || self.picker.is_satisfied() {
            return;
        }
        let mut keys: Vec<_> = self.mirrors.all.keys().copied().collect();
        self.dice.shuffle(&mut keys);
        // One request each before the second of any.
        for _ in 0..MOST_REQUESTS {
            for key in &keys {
                if self.mirrors.all.get(key).is_some_and(|mirror| mirror.may_be_asked(now)) {
                    self.ask_mirror(*key, now);
                }
            }
        }
    }

    fn ask_mirror(&mut self, key: PeerKey, now: Time) {
        let parts = self.run_for(key);
        let (Some(first), Some(mirror)) = (parts.front().copied(), self.mirrors.all.get_mut(&key)) else {
            return;
        };
        if mirror.requests.is_empty() {
            mirror.rate.start(now);
            mirror.last_bytes = now;
        }
        parts.iter().for_each(|part| self.picker.set(*part, PartState::Fetching(key)));
        self.effects.push_back(Effect::Mirror(key, Order::Fetch { first, count: parts.len() as u32 }));
        mirror.requests.push(Request { first, parts, cut: false });
    }

    /// The parts that a mirror is to be asked for next.
    fn run_for(&mut self, key: PeerKey) -> VecDeque<PartIndex> {
        let mut run = VecDeque::new();
        let helps = matches!(self.mirrors.help, Help::Until(_));
        let somebody_has_all = self.neighbours.values().any(|n| n.is_complete() && n.stall.is_none());
        let (Some(everything), false) = (&self.mirrors.everything, somebody_has_all && !helps) else {
            return run;
        };
        let among = if helps { Among::All } else { Among::Unheld };
        let first = self.picker.pick(everything, among, self.neighbours.is_empty());
        let rate = self.mirrors.all.get(&key).map_or(0.0, |mirror| mirror.rate.get());
        let most = ((rate * AHEAD) as u64).clamp(LEAST_RUN, LONGEST_RUN);
        let (geometry, picker) = (self.geometry(), &self.picker);
        let wanted =
            |part: &PartIndex| picker.state(*part) == PartState::Missing && (helps || picker.holders(*part) == 0);
        let from = first.map_or(geometry.parts(), PartIndex::get);
        let parts = (from..geometry.parts()).filter_map(|number| geometry.part(number));
        let mut bytes = 0;
        for part in parts.take_while(wanted).take(MOST_PARTS) {
            bytes += u64::from(geometry.part_len(part));
            if bytes > most && !run.is_empty() {
                break;
            }
            run.push_back(part);
        }
        run
    }

    /// In place of an end game: members without work take over what would be ready last.
    fn relieve_mirrors(&mut self, now: Time) {
        let idle = self.neighbours.iter().filter(|(_, n)| n.fetches.is_empty() && n.may_take_over(now));
        let idle: Vec<_> = idle.map(|(key, _)| *key).filter(|key| self.moving_to(*key) == 0).collect();
        for member in idle {
            let Some((key, part)) = self.work_for(member, now) else { continue };
            let mut silent = false;
            self.edit_mirror(key, |mirror| {
                mirror.cut(part);
                silent = mirror.is_silent(now);
            });
            self.effects.push_back(Effect::Mirror(key, Order::Cut(part)));
            if silent {
                self.on_failure(key, Failure::Later("it sends nothing".to_owned()), now);
            }
        }
    }

    /// Of which mirror an idle member could do something sooner, and from which part on.
    fn work_for(&self, member: PeerKey, now: Time) -> Option<(PeerKey, PartIndex)> {
        let n = self.neighbours.get(&member)?;
        let len = |part: &PartIndex| f64::from(self.geometry().part_len(*part));
        let mut worst: Option<(f64, PeerKey, PartIndex)> = None;
        for (key, mirror) in &self.mirrors.all {
            let rate = mirror.rate.get();
            for request in mirror.requests.iter().filter(|request| !request.cut) {
                let silent = mirror.is_silent(now);
                // Half of what it has not begun; all of it, if it sends nothing.
                let from = if silent { 0 } else { request.parts.len().div_ceil(2) };
                let Some(part) = request.parts.get(from).filter(|part| n.has.has(**part)) else { continue };
                let time = match silent {
                    true => f64::INFINITY,
                    false if rate == 0.0 => continue,
                    false => request.parts.iter().map(len).sum::<f64>() / rate,
                };
                let own = if n.rate.get() > 0.0 { n.rate.get() } else { rate };
                let sooner = silent || time > TAKE_OVER * len(part) / own;
                if sooner && worst.is_none_or(|(longest, ..)| time > longest) {
                    worst = Some((time, *key, *part));
                }
            }
        }
        worst.map(|(_, mirror, part)| (mirror, part))
    }
}

#[cfg(test)]
mod tests;
