//! Small swarms with faults drawn by lot: who joins and leaves when, who is slow, stops, stalls, chokes, lies or sends
//! junk. One honest seed stays. Nobody waits for ever, and nobody idles while somebody offers what it lacks: see [`Watch`].

use std::{
    ops::{AddAssign, Range},
    thread,
};

use orchestra::{
    geometry::Geometry,
    swarm::Config,
    wire::{bitfield::Bitfield, handshake::PeerId},
};

use super::{
    liar::Liar,
    member::Member,
    odd::{Odd, Oddity},
    queue::Nanos,
    scenario::id_of,
    watch::Watch,
    world::{Fault, Host, Network, World},
};

const KIB: u32 = 1024;
const MS: Nanos = 1_000_000;
/// Bytes a second of a link that is not slow.
const RATE: u64 = 1_250_000;
/// A script that has not ended by then never does.
const GIVE_UP: Nanos = 300_000 * MS;
/// Conversations that do not report at once do so within so many microseconds.
const LAG: u64 = 20_000;

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Turns at which a staller sent nothing; requests refused or never answered.
    pub withheld: u64,
    pub lies: u64,
    /// Blocks sent in answer to what was taken back; blocks after long waits; chokes.
    pub junk: u64,
    pub drips: u64,
    pub chokes: u64,
    /// Events that a stopped host was late for; members that left before they were whole.
    pub stopped: u64,
    pub left: u64,
    pub wrong_bytes: u64,
    pub wrong_parts: u64,
    /// Bytes that came after they were taken back; parts that were whole when they were to be fetched.
    pub late: u64,
    pub found_whole: u64,
}

impl Faults {
    fn counts(&self) -> [u64; 11] {
        let Self { withheld, lies, junk, drips, chokes, stopped, left, wrong_bytes, wrong_parts, late, found_whole } =
            *self;
        [withheld, lies, junk, drips, chokes, stopped, left, wrong_bytes, wrong_parts, late, found_whole]
    }

    pub fn all_happened(&self) -> bool {
        self.counts().iter().all(|count| *count > 0)
    }

    fn of(world: &World) -> Self {
        let mut faults = Self { stopped: world.stopped, left: world.left, ..Self::default() };
        for host in &world.hosts {
            let tally = host.actor.tally();
            faults.withheld += if host.fault == Fault::None { 0 } else { host.withheld };
            faults.lies += tally.lies;
            faults.junk += tally.junk;
            faults.drips += tally.drips;
            faults.chokes += tally.chokes;
            faults.wrong_bytes += host.sent_wrong;
            faults.wrong_parts += tally.wrong_parts;
            faults.late += tally.unwanted;
            faults.found_whole += tally.found_whole;
        }
        faults
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.withheld += other.withheld;
        self.lies += other.lies;
        self.junk += other.junk;
        self.drips += other.drips;
        self.chokes += other.chokes;
        self.stopped += other.stopped;
        self.left += other.left;
        self.wrong_bytes += other.wrong_bytes;
        self.wrong_parts += other.wrong_parts;
        self.late += other.late;
        self.found_whole += other.found_whole;
    }
}

/// Runs these scripts on all cores. Returns what went wrong, and the faults of all.
pub fn run_all(scripts: Range<u64>) -> (Vec<String>, Faults) {
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = |n: u64| {
        let numbers = scripts.clone().filter(move |number| number % threads == n);
        numbers.map(run).collect::<Vec<_>>()
    };
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let shares: Vec<_> = (0..threads).map(|n| scope.spawn(move || share(n))).collect();
        shares.into_iter().for_each(|share| outcomes.extend(share.join().expect("a share of the scripts")));
    });
    let (mut wrong, mut faults) = (Vec::new(), Faults::default());
    for (complaint, happened) in outcomes {
        wrong.extend(complaint);
        faults += happened;
    }
    wrong.sort();
    (wrong, faults)
}

/// Runs one script.
fn run(number: u64) -> (Option<String>, Faults) {
    let mut world = Script::new(number).build();
    world.run(GIVE_UP);
    let waiting: Vec<_> = world.awaited().collect();
    let never = (!waiting.is_empty()).then(|| format!("hosts {waiting:?} are never whole"));
    let complaint = world.complaint.clone().or(never).map(|what| format!("script {number}: {what}"));
    (complaint, Faults::of(&world))
}

struct Script {
    dice: fastrand::Rng,
    geometry: Geometry,
    hosts: u64,
}

impl Script {
    fn new(number: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(number);
        let part_size = [16, 32, 64, 128][dice.usize(..4)] * KIB;
        let parts = [8, 16, 32, 64][dice.usize(..4)];
        let geometry = Geometry::new(parts * u64::from(part_size), part_size.into()).expect("a script is well formed");
        Self { dice, geometry, hosts: 0 }
    }

    fn build(mut self) -> World {
        let delay = [200_000, 2 * MS, 20 * MS][self.dice.usize(..3)];
        let network = Network { delay, quantum: 4 * KIB, window: 64 * KIB };
        let mut world = World::new(network, None, self.dice.u64(..));
        self.add_seed(&mut world);
        for _ in 0..self.dice.u32(1..6) {
            self.add_member(&mut world);
        }
        for _ in 0..self.dice.u32(..3) {
            self.add_bad_member(&mut world);
        }
        for _ in 0..self.dice.u32(..4) {
            self.add_odd(&mut world);
        }
        world
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.dice.u32(..n) == 0
    }

    fn ms(&mut self, range: Range<u64>) -> Nanos {
        self.dice.u64(range) * MS
    }

    fn next_id(&mut self) -> PeerId {
        self.hosts += 1;
        id_of(self.hosts - 1)
    }

    fn member(&mut self, have: Bitfield) -> Member {
        let config = Config {
            geometry: self.geometry,
            id: self.next_id(),
            copy: None,
            have,
            checked: true,
            max_peers: 30,
            max_dialled: 28,
            seed: self.dice.u64(..),
        };
        let lags = self.dice.bool();
        let member = Member::new(config);
        if lags { member.with_lag(LAG) } else { member }
    }

    fn add_seed(&mut self, world: &mut World) {
        let up = RATE * [1, 1, 4][self.dice.usize(..3)];
        let seed = self.member(Bitfield::all(&self.geometry));
        world.add(Host::new(Box::new(seed), Fault::None, up, up), 0, None, false);
    }

    /// An honest one: it may be slow, stop for a while, leave midway, and leave as soon as it is whole.
    fn add_member(&mut self, world: &mut World) {
        let watch = Watch::new(id_of(0));
        let member = self.member(Bitfield::none(&self.geometry)).watched(watch);
        let (up, down) = [(1, 1), (1, 1), (1, 1), (10, 10), (25, 1), (25, 5)][self.dice.usize(..6)];
        let leaves = if self.one_in(8) { Some(self.ms(200..6_000)) } else { None };
        let after = if self.dice.bool() { Some(self.ms(0..300)) } else { None };
        let host = Host::new(Box::new(member), Fault::None, RATE / up, RATE / down).leaving_after(after);
        let number = world.hosts.len() as u32;
        let latest = if self.one_in(4) { 5_000 } else { 100 };
        let starts = self.ms(1..latest);
        world.add(host, starts, leaves, leaves.is_none());
        if self.one_in(6) {
            let (at, time) = (self.ms(100..4_000), self.ms(300..8_000));
            world.stop(number, at, time);
        }
    }

    /// One of ours whose driver stalls, or sends what is wrong.
    fn add_bad_member(&mut self, world: &mut World) {
        let member = self.member(Bitfield::none(&self.geometry));
        let fault = match self.dice.bool() {
            true => Fault::Corrupts,
            false => Fault::Stalls { after: self.dice.u64(..self.geometry.size() / 2) },
        };
        let starts = self.ms(1..1_000);
        world.add(Host::new(Box::new(member), fault, RATE, RATE), starts, None, false);
    }

    /// Another program that says that it has everything.
    fn add_odd(&mut self, world: &mut World) {
        let (id, seed) = (self.next_id(), self.dice.u64(..));
        let odd = |what| Box::new(Odd::new(self.geometry, id, what, seed));
        let actor: Box<dyn super::actor::Actor> = match self.dice.u32(..8) {
            0 | 1 => odd(Oddity::AnswersLate),
            2 => odd(Oddity::Drips),
            3 => odd(Oddity::Chokes),
            4 => odd(Oddity::ChokesInSilence),
            5 => odd(Oddity::RejectsSome),
            what => Box::new(Liar::new(id, what == 6)),
        };
        let fault = if self.dice.bool() { Fault::Corrupts } else { Fault::None };
        let rate = RATE / [1, 1, 10][self.dice.usize(..3)];
        let starts = self.ms(1..1_500);
        let leaves = if self.dice.bool() { Some(starts + self.ms(500..15_000)) } else { None };
        world.add(Host::new(actor, fault, rate, rate), starts, leaves, false);
    }
}
