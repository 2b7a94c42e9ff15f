//! What is simulated: all scenarios in one table, and how one becomes a [`World`].

use std::time::Duration;

use orchestra::{
    geometry::Geometry,
    swarm::Config,
    wire::{bitfield::Bitfield, handshake::PeerId},
};

use super::{
    actor::Actor,
    liar::Liar,
    member::Member,
    queue::Nanos,
    stock::Stock,
    world::{Fault, Host, Network, World},
};

const KIB: u32 = 1024;
/// Bytes a second of a link of 10 and of 100 Mbit/s.
const ETHERNET: u64 = 1_250_000;
const FAST: u64 = 12_500_000;
/// All start within this time, the seed first.
const STARTS: Nanos = 50_000_000;

/// How many of the leechers are not simply ours, here for good and on a full link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Crowd {
    /// Take requests and send nothing; every second of them after an eighth of the composition.
    pub stalling: usize,
    /// Say that they have everything; every second rejects what it is asked for, the others are silent.
    pub lying: usize,
    /// Send wrong bytes.
    pub corrupting: usize,
    /// Vanish at a random moment in the middle.
    pub leaving: usize,
    /// Other clients.
    pub stock: usize,
    /// Upload at a quarter of the rate.
    pub quarter: usize,
    /// Upload and download at a tenth of the rate; not counted.
    pub tenth: usize,
    /// Start after so many milliseconds.
    pub late: usize,
    pub late_by_ms: u64,
}

/// One seed, some leechers, and what is done to them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    pub name: &'static str,
    pub leechers: usize,
    pub parts: u32,
    pub part_size: u32,
    /// Bytes a second of every link, each way, and how much more the seed sends.
    pub rate: u64,
    pub seed_factor: u64,
    /// One way, in microseconds.
    pub delay_us: u64,
    pub max_peers: usize,
    pub max_dialled: usize,
    /// After so many milliseconds the conductor answers nobody, and who starts knows one other.
    pub conductor_dies: Option<u64>,
    pub crowd: Crowd,
}

const NOBODY: Crowd =
    Crowd { stalling: 0, lying: 0, corrupting: 0, leaving: 0, stock: 0, quarter: 0, tenth: 0, late: 0, late_by_ms: 0 };

/// 256 MiB in 1,024 parts on links of 100 Mbit/s.
const LAN: Scenario = Scenario {
    name: "24 leechers",
    leechers: 24,
    parts: 1024,
    part_size: 256 * KIB,
    rate: FAST,
    seed_factor: 1,
    delay_us: 750,
    max_peers: 30,
    max_dialled: 28,
    conductor_dies: None,
    crowd: NOBODY,
};

/// 64 MiB in 1,024 parts to 200 leechers on links of 10 Mbit/s.
pub const CROWDED: Scenario =
    Scenario { name: "200 leechers", leechers: 200, part_size: 64 * KIB, rate: ETHERNET, delay_us: 1000, ..LAN };

/// The same with 5 % that stall, lie or send wrong bytes, and 10 % that leave.
pub const HOSTILE: Scenario = Scenario {
    name: "200 leechers, 5 % bad, 10 % leave",
    crowd: Crowd { stalling: 4, lying: 3, corrupting: 3, leaving: 20, ..NOBODY },
    ..CROWDED
};

/// The same, half of them other clients.
pub const MIXED: Scenario =
    Scenario { name: "200 leechers, half stock", crowd: Crowd { stock: 100, ..NOBODY }, ..CROWDED };

/// A few leechers and few parts: what can be run at every change.
pub const SMALL: Scenario =
    Scenario { name: "8 leechers, 256 parts of 64 KiB", leechers: 8, parts: 256, part_size: 64 * KIB, ..LAN };

/// Every kind of bad member among few.
pub const SMALL_HOSTILE: Scenario = Scenario {
    name: "24 leechers, 256 parts, all kinds of bad",
    leechers: 24,
    crowd: Crowd { stalling: 2, lying: 2, corrupting: 1, leaving: 2, ..NOBODY },
    ..SMALL
};

/// Half of few are other clients.
pub const SMALL_MIXED: Scenario = Scenario {
    name: "24 leechers, 256 parts, half stock",
    leechers: 24,
    crowd: Crowd { stock: 12, ..NOBODY },
    ..SMALL
};

/// The conductor dies when a tenth is there, and ten come later that know one other each.
pub const ORPHANED: Scenario = Scenario {
    name: "100 leechers, the conductor dies",
    leechers: 100,
    rate: ETHERNET,
    conductor_dies: Some(1_300),
    crowd: Crowd { late: 10, late_by_ms: 2_000, ..NOBODY },
    ..SMALL
};

/// Nobody ever knows more than one other, but by being told.
pub const CONDUCTORLESS: Scenario =
    Scenario { name: "100 leechers without a conductor", conductor_dies: Some(0), crowd: NOBODY, ..ORPHANED };

/// The table of benches/RESULTS.md.
#[rustfmt::skip]
pub const TABLE: &[Scenario] = &[
    SMALL,
    SMALL_HOSTILE,
    SMALL_MIXED,
    ORPHANED,
    CONDUCTORLESS,
    Scenario { name: "1 leecher", leechers: 1, ..LAN },
    Scenario { name: "a second leecher after 5 s", leechers: 2, crowd: Crowd { late: 1, late_by_ms: 5_000, ..NOBODY }, ..LAN },
    Scenario { name: "8 leechers", leechers: 8, ..LAN },
    LAN,
    Scenario { name: "24, 64 parts of 4 MiB", parts: 64, part_size: 4096 * KIB, ..LAN },
    Scenario { name: "24, 256 parts of 1 MiB", parts: 256, part_size: 1024 * KIB, ..LAN },
    Scenario { name: "24, 4,096 parts of 64 KiB", parts: 4096, part_size: 64 * KIB, ..LAN },
    Scenario { name: "24, half upload at 1/4", crowd: Crowd { quarter: 12, ..NOBODY }, ..LAN },
    Scenario { name: "24, one stalls", crowd: Crowd { stalling: 1, ..NOBODY }, ..LAN },
    Scenario { name: "24, two leave", crowd: Crowd { leaving: 2, ..NOBODY }, ..LAN },
    Scenario { name: "24, one at a tenth", crowd: Crowd { tenth: 1, ..NOBODY }, ..LAN },
    Scenario { name: "24, seed 10 x", seed_factor: 10, ..LAN },
    Scenario { name: "24, half stock", crowd: Crowd { stock: 12, ..NOBODY }, ..LAN },
    Scenario { name: "100 leechers", leechers: 100, ..LAN },
    Scenario { name: "100, 5 stall", leechers: 100, crowd: Crowd { stalling: 5, ..NOBODY }, ..LAN },
    CROWDED,
    HOSTILE,
    MIXED,
    Scenario { name: "1,000 leechers", leechers: 1000, ..LAN },
];

/// What a leecher is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Honest,
    Stalls { after: u64 },
    Lies { rejects: bool },
    Corrupts,
    Leaves,
    Stock,
    Quarter,
    Tenth,
    Late,
}

impl Crowd {
    fn kinds(&self, size: u64) -> Vec<Kind> {
        let mut kinds = Vec::new();
        kinds.extend((0..self.stalling).map(|i| Kind::Stalls { after: (i as u64 % 2) * size / 8 }));
        kinds.extend((0..self.lying).map(|i| Kind::Lies { rejects: i % 2 == 0 }));
        kinds.extend([Kind::Corrupts].repeat(self.corrupting));
        kinds.extend([Kind::Leaves].repeat(self.leaving));
        kinds.extend([Kind::Stock].repeat(self.stock));
        kinds.extend([Kind::Quarter].repeat(self.quarter));
        kinds.extend([Kind::Tenth].repeat(self.tenth));
        kinds.extend([Kind::Late].repeat(self.late));
        kinds
    }

    /// Leechers that are there to the end and count.
    pub fn counted(&self, leechers: usize) -> usize {
        leechers - self.stalling - self.lying - self.corrupting - self.leaving - self.tenth
    }
}

pub(super) fn id_of(host: u64) -> PeerId {
    let mut id = *b"-OC0100-............";
    id[12..].copy_from_slice(&host.to_be_bytes());
    PeerId(id)
}

impl Scenario {
    pub fn size(&self) -> u64 {
        u64::from(self.parts) * u64::from(self.part_size)
    }

    fn geometry(&self) -> Geometry {
        Geometry::new(self.size(), u64::from(self.part_size)).expect("a scenario is well formed")
    }

    /// Seconds that the last of the counted takes at least: what the seed must send once, what one of them must
    /// receive, and what all together must send.
    pub fn bound(&self) -> f64 {
        let (size, rate) = (self.size() as f64, self.rate as f64);
        let seed = rate * self.seed_factor as f64;
        let counted = self.crowd.counted(self.leechers) as f64;
        let slow = self.crowd.quarter as f64;
        let all = seed + (counted - slow) * rate + slow * rate / 4.0;
        let late = self.crowd.late_by_ms as f64 / 1000.0;
        (size / seed).max(late + size / rate).max(counted * size / all)
    }

    /// When a run that does not end is ended.
    pub fn give_up(&self) -> Nanos {
        (self.bound() * 10e9) as Nanos + 60_000_000_000
    }

    /// The seed is host 0; the leechers follow, their kinds shuffled.
    pub fn build(&self, seed: u64) -> World {
        let mut dice = fastrand::Rng::with_seed(seed);
        let network = Network {
            delay: self.delay_us * 1000,
            quantum: if self.leechers < 500 { 16 } else { 32 } * KIB,
            window: 128 * KIB,
        };
        let mut world = World::new(network, self.conductor_dies.map(|ms| ms * 1_000_000), dice.u64(..));
        let up = self.rate * self.seed_factor;
        let first = self.member(0, Bitfield::all(&self.geometry()), dice.u64(..));
        world.add(Host::new(first, Fault::None, up, up), 0, None, false);
        let mut kinds = self.crowd.kinds(self.size());
        kinds.resize(self.leechers, Kind::Honest);
        dice.shuffle(&mut kinds);
        for (i, kind) in kinds.into_iter().enumerate() {
            self.add_leecher(&mut world, i as u64 + 1, kind, &mut dice);
        }
        world
    }

    fn add_leecher(&self, world: &mut World, number: u64, kind: Kind, dice: &mut fastrand::Rng) {
        let seed = dice.u64(..);
        let actor = match kind {
            Kind::Lies { rejects } => Box::new(Liar::new(id_of(number), rejects)),
            Kind::Stock => self.stock(number, seed),
            _ => self.member(number, Bitfield::none(&self.geometry()), seed),
        };
        let fault = match kind {
            Kind::Stalls { after } => Fault::Stalls { after },
            Kind::Corrupts => Fault::Corrupts,
            _ => Fault::None,
        };
        let (up, down) = match kind {
            Kind::Quarter => (self.rate / 4, self.rate),
            Kind::Tenth => (self.rate / 10, self.rate / 10),
            _ => (self.rate, self.rate),
        };
        let starts = match kind {
            Kind::Late => self.crowd.late_by_ms * 1_000_000,
            _ => dice.u64(1..STARTS),
        };
        let middle = || (self.bound() * (0.1 + 0.8 * dice.f64()) * 1e9) as Nanos;
        let leaves = (kind == Kind::Leaves).then(middle);
        let stays = matches!(kind, Kind::Honest | Kind::Stock | Kind::Quarter | Kind::Late);
        world.add(Host::new(actor, fault, up, down), starts, leaves, stays);
    }

    fn member(&self, number: u64, have: Bitfield, seed: u64) -> Box<dyn Actor> {
        Box::new(Member::new(Config {
            geometry: self.geometry(),
            id: id_of(number),
            copy: None,
            have,
            checked: true,
            max_peers: self.max_peers,
            max_dialled: self.max_dialled,
            seed,
        }))
    }

    fn stock(&self, number: u64, seed: u64) -> Box<dyn Actor> {
        let (peers, dialled) = (self.max_peers, self.max_dialled);
        Box::new(Stock::new(self.geometry(), id_of(number), peers, dialled, seed))
    }
}

/// Virtual seconds.
pub fn seconds(at: Nanos) -> f64 {
    Duration::from_nanos(at).as_secs_f64()
}
