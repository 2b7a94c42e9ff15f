//! One connected member, as the swarm sees it.

use core::net::IpAddr;
use std::collections::VecDeque;

use super::{copies::Sighting, exchange::Told};
use crate::{
    geometry::{Geometry, PartIndex},
    peer::{
        Hello, Introduction,
        liveness::Silence,
        rates::{BusyRate, Meter},
    },
    time::Time,
    wire::bitfield::Bitfield,
};

/// A part that it is to give us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pub part: PartIndex,
    /// Bytes that have not come yet, as far as the swarm was told.
    pub left: u32,
    /// When its first bytes came.
    pub began: Option<Time>,
    /// It had nothing to send when it was asked for it, and said so.
    pub offered: bool,
    /// It is not taken from it before.
    pub kept_until: Time,
}

/// It owed us bytes and sent none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// Nothing is asked of it until then.
    pub until: Time,
}

#[derive(Debug)]
pub(super) struct Neighbour {
    pub introduction: Introduction,
    /// Addresses at the other end of its connections: of this one first, then of others that were refused as second ones.
    pub addresses: Vec<IpAddr>,
    /// It leaves as soon as it was told of others: there is no place for it.
    pub guest: bool,
    /// It spreads nothing of what we give it, being the first seed: as [`Reveal`](super::reveal::Reveal) saw it at the last
    /// tick.
    pub overdrawn: bool,
    /// When it was admitted.
    pub since: Time,
    /// Whether it has been silent of late.
    pub silence: Silence,
    pub hello: Option<Hello>,
    /// Whom we told it of.
    pub told: Told,
    pub has: Bitfield,
    /// It does not serve us.
    pub choked: bool,
    pub interested: bool,
    /// We told it that we are interested.
    pub told_interest: bool,
    /// It sees everything that we have (always, unless we reveal part by part).
    pub sees_all: bool,

    pub fetches: Vec<Fetch>,
    pub rate: BusyRate,
    /// Payload bytes that came when they were wanted, and those that came when they were not any more.
    pub useful: u64,
    pub late: u64,
    /// When bytes last came, or were first owed.
    pub last_bytes: Time,
    pub longest_gap: Time,
    /// When a part was taken from it before any of it came, if nothing came since.
    pub lost_one: Option<Time>,
    /// How long it let us wait in vain until then, since bytes last came.
    pub owed: Time,
    pub stall: Option<Stall>,
    /// Length of its next pause.
    pub pause: Time,
    pub refusals: u32,
    /// Parts that it refused, and when they are believed to be there again, soonest first.
    pub refused: VecDeque<(Time, PartIndex)>,

    pub asks: bool,
    pub serving: bool,
    pub clogged: bool,
    pub served: Option<Time>,
    /// When it was last told that we have little to send.
    pub offered: Option<Time>,
    /// It has all that we have, as was found when it was last looked at, and we got nothing since that it lacks.
    pub gains_nothing: bool,
    /// It said that it has little to send, and was asked for nothing since.
    pub offers: bool,
    pub up: Meter,
}

/// Addresses of one neighbour that are remembered.
const MAX_ADDRESSES: usize = 8;

pub(super) const FIRST_PAUSE: Time = Time::from_secs(5);
pub(super) const LONGEST_PAUSE: Time = Time::from_secs(80);
/// Who lost a part takes over none from others for so long, unless it gives something.
const LOST_PAUSE: Time = Time::from_secs(2);
/// Time in which a neighbour that lost a part before any of it came is asked for nothing.
const TRIAL_PAUSE: Time = Time::from_millis(100);
/// Silence in the middle of a part: this many times the longest gap of late, between these numbers of seconds.
const SILENT_GAPS: f64 = 4.0;
const MIN_SILENCE: f64 = 0.1;
const MAX_SILENCE: f64 = 2.0;

impl Neighbour {
    pub fn new(introduction: Introduction, sees_all: bool, geometry: &Geometry, now: Time) -> Self {
        Self {
            addresses: vec![introduction.address.ip().to_canonical()],
            introduction,
            guest: false,
            overdrawn: false,
            since: now,
            silence: Silence::Over,
            hello: None,
            told: Told::default(),
            has: Bitfield::none(geometry),
            choked: true,
            interested: false,
            told_interest: false,
            sees_all,
            fetches: Vec::new(),
            rate: BusyRate::default(),
            useful: 0,
            late: 0,
            last_bytes: now,
            longest_gap: Time::ZERO,
            lost_one: None,
            owed: Time::ZERO,
            stall: None,
            pause: FIRST_PAUSE,
            refusals: 0,
            refused: VecDeque::new(),
            asks: false,
            serving: false,
            clogged: false,
            served: None,
            offered: None,
            gains_nothing: false,
            offers: false,
            up: Meter::default(),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.has.is_full()
    }

    /// Takes in that this member was met at this address too.
    pub fn met_at(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        if self.addresses.len() < MAX_ADDRESSES && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// What is known of a member that has everything.
    pub fn sighting(&self) -> Sighting {
        let hello = self.hello.clone().unwrap_or_default();
        let (id, addresses) = (self.introduction.id, self.addresses.clone());
        Sighting { id, name: hello.name, copy: hello.copy, machine: hello.machine, addresses }
    }

    /// One of our own members: it agreed on long requests.
    pub fn is_ours(&self) -> bool {
        self.hello.as_ref().is_some_and(|h| h.max_request.is_some())
    }

    /// Bytes asked of it that have not come yet.
    pub fn outstanding(&self) -> u64 {
        self.fetches.iter().map(|f| u64::from(f.left)).sum()
    }

    /// Whether it may be asked for anything.
    pub fn may_be_asked(&self) -> bool {
        !self.choked && self.stall.is_none() && self.silence < Silence::Overdue
    }

    /// Its parts count for rarity: a complete member says nothing about it, one that stalls or spreads nothing has them in
    /// vain.
    pub fn counts(&self) -> bool {
        !self.is_complete() && self.stall.is_none() && !self.overdrawn
    }

    /// Bytes of this part came that were asked for.
    pub fn received(&mut self, part: PartIndex, bytes: u32, now: Time) {
        if let Some(fetch) = self.fetches.iter_mut().find(|fetch| fetch.part == part) {
            fetch.began.get_or_insert(now);
            fetch.left = fetch.left.saturating_sub(bytes);
        }
        self.useful += u64::from(bytes);
        self.is_quits();
        self.rate.add(bytes, now);
        let gap = now.saturating_sub(self.last_bytes);
        // The longest gap of late: an old one counts less and less.
        self.longest_gap = gap.max(self.longest_gap.mul_f64(0.98));
        self.last_bytes = now;
    }

    /// A part was taken from it before any of it came.
    pub fn loses_one(&mut self, now: Time) {
        self.lost_one = Some(now);
        self.owed = now.saturating_sub(self.last_bytes);
    }

    /// What it owed before does not count any more.
    pub fn is_quits(&mut self) {
        self.lost_one = None;
        self.owed = Time::ZERO;
    }

    /// Whether it lost a part before any of it came and gave nothing since: it is then asked for one part at a time, and not at
    /// once.
    pub fn is_on_trial(&self, now: Time) -> bool {
        self.lost_one.is_some_and(|at| !self.fetches.is_empty() || now < at + TRIAL_PAUSE)
    }

    /// Seconds without a byte after which what came before says nothing of what comes: a few times the longest gap of late.
    pub fn silence(&self) -> f64 {
        (SILENT_GAPS * self.longest_gap.as_secs_f64()).clamp(MIN_SILENCE, MAX_SILENCE)
    }

    /// It may take over what was asked of others: not just after it lost a part itself for giving nothing.
    pub fn may_take_over(&self, now: Time) -> bool {
        self.may_be_asked() && self.lost_one.is_none_or(|at| now >= at + LOST_PAUSE)
    }

    /// Nothing that it was asked for is asked of it any more.
    pub fn forget(&mut self, part: PartIndex) -> Option<Fetch> {
        let at = self.fetches.iter().position(|f| f.part == part)?;
        Some(self.fetches.remove(at))
    }
}
