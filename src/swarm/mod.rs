//! A swarm as one member sees it, as a state machine: what was heard and the time in, effects out.
//!
//! One task owns it; it knows no sockets, files, clock or randomness of its own (its dice are seeded by the caller).
//! All that changes is in one struct, [`Swarm`]; the rules stand beside it, split by what they decide:
//!
//! | file | decides |
//! |---|---|
//! | `admission` | who becomes a neighbour |
//! | `on_peer` | what follows from what a neighbour says |
//! | `assign` | which part is asked of whom, and what is taken from a slow one |
//! | `serve` | who is served, and what a first seed shows |
//! | `offer` | what members with nothing to send are given to send |
//! | `mirrors` | when an HTTP server is asked, and for what |
//! | `exchange` | whom a neighbour is told of, and whom we believe in |
//! | `on_tick` | whom to dial, who stalls |
//! | `copies` | machines that have everything, each counted once |
//! | `known_peers`, `neighbour`, `reveal` | plain data for these |

mod admission;
mod assign;
mod copies;
mod exchange;
mod fresh;
mod known_peers;
mod mirrors;
mod neighbour;
mod offer;
mod on_peer;
mod on_tick;
mod reveal;
mod serve;

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use copies::{Copies, Machine, Whole};
use fresh::Fresh;
pub(crate) use known_peers::{KnownPeers, STRANGERS, at_port, plain};
use neighbour::Neighbour;
use reveal::Reveal;

use crate::{
    geometry::{Geometry, PartIndex},
    mirror,
    peer::{Command, Event, Introduction, PeerKey, rates::Meter, session::Show},
    picker::{PartState, Picker},
    time::Time,
    wire::{bitfield::Bitfield, copy_id::CopyId, handshake::PeerId},
};

/// Members that are here for a moment, while all places are taken.
pub const MOST_GUESTS: usize = 4;

pub struct Config {
    pub geometry: Geometry,
    pub id: PeerId,
    /// Which copy this member holds, if it tells others.
    pub copy: Option<CopyId>,
    /// What is on the disk and verified at the start.
    pub have: Bitfield,
    /// Whether anything may be fetched yet: false while what is on the disk is still being checked.
    pub checked: bool,
    /// Connections at most, in all; [`MOST_GUESTS`] aside.
    pub max_peers: usize,
    /// We open connections ourselves while there are fewer than this in all; the rest is for who comes to us.
    pub max_dialled: usize,
    /// Seed of its dice.
    pub seed: u64,
}

/// What a swarm hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Addresses of members, from the conductor, the command line or other members.
    Endpoints(Vec<SocketAddr>),
    /// Addresses from strangers, whom nobody vouches for.
    Hearsay(Vec<SocketAddr>),
    /// Where members listened that are gone, as a conductor says.
    Left(Vec<SocketAddr>),
    /// Members that have everything, as a conductor says.
    Whole(Vec<Whole>),
    /// Somebody's 68 bytes came; answered with [`Effect::Admit`] or [`Effect::Refuse`].
    Introduced(PeerKey, Introduction),
    /// An address of [`Effect::Dial`] did not lead to an introduction.
    DialFailed(SocketAddr),
    /// An address of [`Effect::Dial`] led back to this member.
    Ourselves(SocketAddr),
    Peer(PeerKey, Event),
    Mirror(PeerKey, mirror::Event),
    /// This part is verified and on the disk.
    Have(PartIndex),
    /// What was on the disk is all known now: fetch the rest.
    Checked,
}

/// What a swarm wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Dial(SocketAddr),
    Admit(PeerKey, Show),
    Refuse(PeerKey, &'static str),
    Tell(PeerKey, Command),
    Mirror(PeerKey, mirror::Order),
    /// This mirror is not asked for a while, or never again.
    MirrorFailed(PeerKey, mirror::Failure),
    /// Every part is on the disk and verified.
    Complete,
}

/// The swarm in numbers, for people and programs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Those that are wanted, as a rule all.
    pub parts: u32,
    pub parts_done: u32,
    /// Of the parts that are wanted.
    pub bytes: u64,
    pub bytes_done: u64,
    /// Bytes of the whole composition that are not here.
    pub left: u64,
    /// Payload bytes that came, duplicates and wrong ones included.
    pub fetched: u64,
    /// Those of them that came from mirrors.
    pub mirrored: u64,
    /// Payload bytes sent to members.
    pub uploaded: u64,
    /// Bytes a second, over the last seconds.
    pub rate_down: f64,
    pub rate_up: f64,
    /// Members connected, we not counted, and how many of them have everything.
    pub members: usize,
    pub complete_members: usize,
    /// Mirrors that may still be asked, now or later.
    pub mirrors: usize,
    /// Machines that were ever seen to have everything, ours not counted.
    pub copies: usize,
    /// Wrong parts that came.
    pub wrong_parts: u64,
}

pub struct Swarm {
    config: Config,
    picker: Picker,
    /// What we have, as it is shown to a new neighbour.
    have: std::sync::Arc<Bitfield>,
    /// The parts that are wanted.
    wanted: Bitfield,
    /// Bytes of the parts that are wanted, and of those that we have.
    bytes_wanted: u64,
    bytes_done: u64,
    /// Bytes of all parts that we do not have.
    left: u64,
    checked: bool,
    neighbours: BTreeMap<PeerKey, Neighbour>,
    mirrors: mirrors::Mirrors,
    known: KnownPeers,
    /// Counts how often it changed who the neighbours are and where they listen.
    roster: u64,
    /// We were complete from the start: how we give each part away once.
    reveal: Option<Reveal>,
    /// Parts that came wrong in pieces from several members: fetched from one alone, to know whom to blame.
    suspect: BTreeSet<PartIndex>,
    /// How often a part was taken from one for another, and has not come since.
    moves: BTreeMap<PartIndex, u32>,
    /// What the lots are drawn with that decide who stays when there are too many.
    lots: u64,
    /// Parts that the neighbours are still to be told of.
    fresh: Fresh,
    /// Bytes a second that we move when there is something to move, in the busier direction.
    pace: f64,
    /// Machines that were seen to have everything.
    copies: Copies,
    dice: fastrand::Rng,
    effects: VecDeque<Effect>,
    down: Meter,
    up: Meter,
    fetched: u64,
    uploaded: u64,
    wrong_parts: u64,
}

impl Swarm {
    pub fn new(config: Config) -> Self {
        let mut dice = fastrand::Rng::with_seed(config.seed);
        let geometry = config.geometry;
        let complete = config.have.is_full();
        let mut swarm = Self {
            picker: Picker::new(geometry, &config.have, dice.u64(..)),
            reveal: complete.then(|| Reveal::new(geometry.all_parts(), &mut dice)),
            have: std::sync::Arc::new(config.have.clone()),
            wanted: Bitfield::all(&geometry),
            bytes_wanted: geometry.size(),
            bytes_done: bytes_of(&geometry, &config.have),
            left: geometry.size() - bytes_of(&geometry, &config.have),
            checked: config.checked,
            copies: Copies::new(config.id, config.copy),
            config,
            neighbours: BTreeMap::new(),
            mirrors: mirrors::Mirrors::default(),
            known: KnownPeers::default(),
            roster: 0,
            suspect: BTreeSet::new(),
            moves: BTreeMap::new(),
            lots: dice.u64(..),
            fresh: Fresh::default(),
            pace: 0.0,
            dice,
            effects: VecDeque::new(),
            down: Meter::default(),
            up: Meter::default(),
            fetched: 0,
            uploaded: 0,
            wrong_parts: 0,
        };
        if complete {
            swarm.effects.push_back(Effect::Complete);
        }
        swarm
    }

    /// Only these parts are fetched. To be called before anything is heard.
    pub fn want_only(&mut self, wanted: &Bitfield) {
        let geometry = self.geometry();
        let done = wanted.ones(&geometry).filter(|part| self.have.has(*part));
        self.bytes_done = done.map(|part| u64::from(geometry.part_len(part))).sum();
        self.bytes_wanted = bytes_of(&geometry, wanted);
        self.wanted = wanted.clone();
        self.picker.want_only(wanted);
    }

    pub fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Endpoints(addresses) => {
                addresses.into_iter().for_each(|a| self.known.add(a, now));
                self.dial(now);
            }
            Input::Hearsay(addresses) => {
                self.known.hear(addresses.into_iter(), STRANGERS, now);
                self.dial(now);
            }
            Input::Left(addresses) => addresses.into_iter().for_each(|address| self.known.left(address)),
            Input::Whole(members) => members.into_iter().for_each(|who| self.copies.claim(who)),
            Input::Introduced(key, introduction) => self.on_introduced(key, introduction, now),
            Input::DialFailed(address) => {
                self.known.failed(address, now);
                self.dial(now);
            }
            Input::Ourselves(address) => self.known.own(address),
            Input::Peer(key, event) => self.on_peer(key, event, now),
            Input::Mirror(key, event) => self.on_mirror(key, event, now),
            Input::Have(part) => self.on_have(part, now),
            Input::Checked => self.on_checked(now),
        }
        self.tell_of_parts(now);
    }

    /// To be called about every 100 ms.
    pub fn tick(&mut self, now: Time) {
        self.on_tick(now);
        self.tell_of_parts(now);
    }

    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn tell(&mut self, key: PeerKey, command: Command) {
        self.effects.push_back(Effect::Tell(key, command));
    }

    fn tell_all(&mut self, command: &Command) {
        for key in self.neighbours.keys() {
            self.effects.push_back(Effect::Tell(*key, command.clone()));
        }
    }

    fn tell_of_parts(&mut self, now: Time) {
        if let Some(parts) = self.fresh.due(now) {
            self.tell_all(&Command::Have(parts));
        }
    }

    fn geometry(&self) -> Geometry {
        self.config.geometry
    }

    fn is_complete(&self) -> bool {
        self.picker.is_complete()
    }

    /// A part is on the disk: everybody may know (a seed too: it counts who holds what it gave away).
    fn on_have(&mut self, part: PartIndex, now: Time) {
        if self.picker.state(part) == PartState::Present {
            return;
        }
        if let PartState::Fetching(key) | PartState::Moving(key, _) = self.picker.state(part) {
            // It came another way: from one that we parted from.
            self.tell(key, Command::Release(part));
        }
        self.picker.set(part, PartState::Present);
        self.moves.remove(&part);
        std::sync::Arc::make_mut(&mut self.have).insert(part);
        let len = u64::from(self.geometry().part_len(part));
        self.left -= len;
        self.neighbours.values_mut().for_each(|n| n.gains_nothing &= n.has.has(part));
        self.fresh.add(part);
        if self.wanted.has(part) {
            self.bytes_done += len;
        }
        if self.is_complete() {
            if let Some(parts) = self.fresh.all(now) {
                self.tell_all(&Command::Have(parts));
            }
            self.on_complete();
        } else if self.wanted.has(part) && self.picker.is_satisfied() {
            self.tell_all(&Command::Interest(false));
        }
    }

    fn on_complete(&mut self) {
        if !self.checked {
            // All of it was there before anything could be fetched: nobody else need have any of it yet.
            self.reveal = Some(Reveal::new(self.geometry().all_parts(), &mut self.dice));
        }
        self.effects.push_back(Effect::Complete);
        self.tell_all(&Command::Interest(false));
        self.tell_all(&Command::Complete);
        let keys: Vec<_> = self.neighbours.keys().copied().collect();
        keys.into_iter().for_each(|key| self.part_if_both_complete(key));
    }

    fn on_checked(&mut self, now: Time) {
        self.checked = true;
        let keys: Vec<_> = self.neighbours.keys().copied().collect();
        for key in keys {
            self.update_interest(key);
            self.assign(key, now);
        }
    }

    pub fn snapshot(&self, now: Time) -> Snapshot {
        let geometry = self.geometry();
        Snapshot {
            parts: self.wanted.count(),
            parts_done: match self.wanted.is_full() {
                true => self.have.count(),
                false => self.wanted.ones(&geometry).filter(|part| self.have.has(*part)).count() as u32,
            },
            bytes: self.bytes_wanted,
            bytes_done: self.bytes_done,
            left: self.left,
            fetched: self.fetched,
            mirrored: self.mirrors.fetched,
            uploaded: self.uploaded,
            rate_down: self.down.get(now) + self.mirrors.down.get(now),
            rate_up: self.up.get(now),
            members: self.neighbours.len(),
            complete_members: self.neighbours.values().filter(|n| n.is_complete()).count(),
            mirrors: self.mirrors.count(),
            copies: self.copies.count(),
            wrong_parts: self.wrong_parts,
        }
    }

    /// Where members were reached by dialling, and when last.
    pub fn reached(&self) -> Vec<(SocketAddr, Time)> {
        self.known.reached()
    }

    /// Machines that were ever seen to have everything, ours not, and what is claimed of others.
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Goes on counting from these copies, which an earlier swarm of the same member saw, or were prepared for it. To be
    /// called before anything is heard.
    pub fn go_on_counting(&mut self, copies: Copies) {
        self.copies = copies;
    }

    /// What was counted, for a later swarm of the same member.
    pub fn into_copies(self) -> Copies {
        self.copies
    }

    /// The neighbours that lack something.
    pub fn names_of_lacking(&self) -> impl Iterator<Item = String> {
        let lacking = self.neighbours.iter().filter(|(_, n)| !n.is_complete());
        lacking.filter_map(|(key, _)| self.name_of(*key))
    }

    /// Who a neighbour is, for people: its name or else its address; None: it is none any more. Not safe for a
    /// terminal.
    pub fn name_of(&self, key: PeerKey) -> Option<String> {
        let n = self.neighbours.get(&key)?;
        let name = n.hello.as_ref().and_then(|h| h.name.as_deref());
        Some(match name {
            Some(name) => format!("{name} ({})", n.introduction.address),
            None => n.introduction.address.to_string(),
        })
    }

    /// What we have.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }
}

/// The bytes of these parts.
fn bytes_of(geometry: &Geometry, parts: &Bitfield) -> u64 {
    parts.ones(geometry).map(|part| u64::from(geometry.part_len(part))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        peer::{Closed, Hello},
        wire::machine_id::MachineId,
    };

    fn introduction(id: u8) -> Introduction {
        let address = SocketAddr::from(([10, 0, 0, id], 9998));
        Introduction { id: PeerId([id; 20]), address, dialled: false, fast: true, extended: true }
    }

    /// What each of two new neighbours is shown.
    fn shown(swarm: &mut Swarm) -> Vec<Show> {
        for id in [1, 2] {
            swarm.handle(Input::Introduced(PeerKey(id.into()), introduction(id)), Time::ZERO);
        }
        std::iter::from_fn(|| swarm.next_effect())
            .filter_map(|effect| match effect {
                Effect::Admit(_, show) => Some(show),
                _ => None,
            })
            .collect()
    }

    fn swarm(have: Bitfield, checked: bool) -> Swarm {
        let geometry = Geometry::new(100, 1).unwrap();
        Swarm::new(Config {
            geometry,
            id: PeerId([9; 20]),
            copy: Some(CopyId([9; 8])),
            have,
            checked,
            max_peers: 9,
            max_dialled: 9,
            seed: 1,
        })
    }

    /// A neighbour that says which copy it holds, and then that it has all of it.
    fn is_whole(swarm: &mut Swarm, key: u32, copy: Option<CopyId>) {
        swarm.handle(Input::Introduced(PeerKey(key), introduction(key as u8)), Time::ZERO);
        let machine = copy.map(|copy| MachineId(copy.0));
        let hello = Hello { name: Some("vm".to_owned()), copy, machine, ..Hello::default() };
        for event in [Event::HasAll, Event::Hello(hello), Event::Closed(Closed::ByThem)] {
            swarm.handle(Input::Peer(PeerKey(key), event), Time::ZERO);
        }
    }

    #[test]
    fn a_machine_counts_when_a_connection_showed_that_it_is_whole() {
        let mut swarm = swarm(Bitfield::none(&Geometry::new(100, 1).unwrap()), true);
        (1..5).for_each(|life| is_whole(&mut swarm, life, Some(CopyId([1; 8]))));
        assert_eq!(swarm.snapshot(Time::ZERO).copies, 1);
        let told = |id: u8, copy: u8| Whole {
            id: PeerId([id; 20]),
            name: Some("vm".to_owned()),
            copy: Some(CopyId([copy; 8])),
        };
        // The same in two other lives, our own copy in an earlier life, and another.
        swarm.handle(Input::Whole(vec![told(11, 1), told(12, 1), told(13, 9), told(14, 2)]), Time::ZERO);
        let names = |swarm: &Swarm| swarm.copies().seen().map(|machine| machine.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&swarm), swarm.copies().claimed().count()), (vec!["vm".to_owned()], 1));
        (5..7).for_each(|key| is_whole(&mut swarm, key, None));
        assert_eq!(swarm.snapshot(Time::ZERO).copies, 3, "another client is known by its address");
    }

    #[test]
    fn one_connection_counts_as_one_machine_at_most() {
        let mut swarm = swarm(Bitfield::none(&Geometry::new(100, 1).unwrap()), true);
        swarm.handle(Input::Introduced(PeerKey(1), introduction(1)), Time::ZERO);
        let hello = |n| Event::Hello(Hello { machine: Some(MachineId([n; 8])), ..Hello::default() });
        let events = (1..20).flat_map(|n| [hello(n), Event::HasAll]);
        events.for_each(|event| swarm.handle(Input::Peer(PeerKey(1), event), Time::ZERO));
        assert_eq!(swarm.copies().count(), 1);
    }

    #[test]
    fn a_member_that_is_met_at_another_address_has_both() {
        let mut swarm = swarm(Bitfield::none(&Geometry::new(100, 1).unwrap()), true);
        swarm.handle(Input::Introduced(PeerKey(1), introduction(1)), Time::ZERO);
        swarm.handle(Input::Peer(PeerKey(1), Event::Hello(Hello::default())), Time::ZERO);
        swarm.handle(Input::Peer(PeerKey(1), Event::HasAll), Time::ZERO);
        let again = Introduction { address: "[fd00::1]:9998".parse().unwrap(), dialled: true, ..introduction(1) };
        swarm.handle(Input::Introduced(PeerKey(2), again), Time::from_secs(5));
        let addresses: Vec<_> = swarm.copies().seen().map(|machine| machine.addresses.clone()).collect();
        assert_eq!(addresses, [["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<core::net::IpAddr>().unwrap()).to_vec()]);
    }

    #[test]
    fn a_first_seed_reveals_to_the_second_neighbour() {
        let geometry = Geometry::new(100, 1).unwrap();
        let mut known = swarm(Bitfield::all(&geometry), true);
        assert_eq!(shown(&mut known), [Show::Everything, Show::Nothing]);
    }

    /// What a first seed tells a neighbour that takes all that it is shown, beside one that has a tenth, asked for some parts
    /// more, and takes nothing.
    fn told_beside_a_slow_one(others: impl Fn(&mut Swarm)) -> Vec<Command> {
        let geometry = Geometry::new(100, 1).unwrap();
        let mut seed = swarm(Bitfield::all(&geometry), true);
        let tell = |seed: &mut Swarm, key, event| seed.handle(Input::Peer(PeerKey(key), event), Time::ZERO);
        seed.handle(Input::Introduced(PeerKey(1), introduction(1)), Time::ZERO);
        (0..10).for_each(|part| tell(&mut seed, 1, Event::Has(geometry.part(part).unwrap())));
        (10..15).for_each(|part| tell(&mut seed, 1, Event::Wants(geometry.part(part).unwrap())));
        others(&mut seed);
        seed.handle(Input::Introduced(PeerKey(2), introduction(2)), Time::ZERO);
        tell(&mut seed, 2, Event::HasNone);
        seed.tick(Time::ZERO);
        let mut told = Vec::new();
        while let Some(effect) = seed.next_effect() {
            if let Effect::Tell(PeerKey(2), command) = effect {
                if let Command::Have(parts) = &command {
                    for part in parts.iter() {
                        tell(&mut seed, 2, Event::Wants(*part));
                        tell(&mut seed, 2, Event::Sent(*part));
                    }
                }
                told.push(command);
            }
        }
        told
    }

    #[test]
    fn a_first_seed_that_would_idle_shows_what_slow_ones_have() {
        let told = told_beside_a_slow_one(|_| {});
        let parts = |command: &Command| if let Command::Have(parts) = command { parts.len() } else { 0 };
        let new: usize = told.iter().map(parts).sum();
        assert_eq!(new, 85, "what nobody has or waits for comes first: {told:?}");
        assert!(told.contains(&Command::ShowAll), "{told:?}");
    }

    #[test]
    fn a_first_seed_that_others_wait_for_does_not() {
        let told = told_beside_a_slow_one(|seed| {
            seed.handle(Input::Introduced(PeerKey(3), introduction(3)), Time::ZERO);
            seed.handle(Input::Peer(PeerKey(3), Event::Asks), Time::ZERO);
        });
        assert!(!told.contains(&Command::ShowAll), "{told:?}");
    }

    #[test]
    fn one_that_proved_its_copy_first_does_the_same() {
        let geometry = Geometry::new(100, 1).unwrap();
        let mut proving = swarm(Bitfield::none(&geometry), false);
        geometry.all_parts().for_each(|part| proving.handle(Input::Have(part), Time::ZERO));
        proving.handle(Input::Checked, Time::ZERO);
        assert_eq!(shown(&mut proving), [Show::Everything, Show::Nothing]);
    }

    #[test]
    fn parts_that_come_fast_are_told_together_and_all_before_the_end() {
        let geometry = Geometry::new(100, 1).unwrap();
        let mut swarm = swarm(Bitfield::none(&geometry), true);
        swarm.handle(Input::Introduced(PeerKey(1), introduction(1)), Time::ZERO);
        geometry.all_parts().for_each(|part| swarm.handle(Input::Have(part), Time::from_millis(part.get().into())));
        let told = std::iter::from_fn(|| swarm.next_effect()).filter_map(|effect| match effect {
            Effect::Tell(_, command) => Some(command),
            _ => None,
        });
        let mut parts = Vec::new();
        for command in told.take_while(|command| *command != Command::Complete) {
            if let Command::Have(some) = command {
                parts.push(some.len());
            }
        }
        assert_eq!(parts, [1, 10, 10, 10, 10, 10, 10, 10, 10, 10, 9]);
    }

    #[test]
    fn one_that_fetched_its_copy_shows_it_to_all() {
        let geometry = Geometry::new(100, 1).unwrap();
        let mut fetched = swarm(Bitfield::none(&geometry), true);
        geometry.all_parts().for_each(|part| fetched.handle(Input::Have(part), Time::ZERO));
        assert_eq!(shown(&mut fetched), [Show::Everything, Show::Everything]);
    }

    #[test]
    fn who_wants_only_some_parts_asks_for_no_other_and_is_no_seed() {
        let geometry = Geometry::new(100, 1).unwrap();
        let mut swarm = swarm(Bitfield::none(&geometry), true);
        let mut wanted = Bitfield::none(&geometry);
        for part in geometry.all_parts().skip(40).take(5) {
            wanted.insert(part);
        }
        swarm.want_only(&wanted);
        swarm.handle(Input::Introduced(PeerKey(1), introduction(1)), Time::ZERO);
        for event in [Event::HasAll, Event::Choked(false)] {
            swarm.handle(Input::Peer(PeerKey(1), event), Time::ZERO);
        }
        let effects = |swarm: &mut Swarm| std::iter::from_fn(|| swarm.next_effect()).collect::<Vec<_>>();
        let asked: Vec<_> = effects(&mut swarm)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Tell(_, Command::Fetch(part)) => Some(part),
                _ => None,
            })
            .collect();
        assert_eq!(asked.iter().map(|part| part.get()).collect::<Vec<_>>(), [40, 41, 42, 43, 44]);
        asked.iter().for_each(|part| swarm.handle(Input::Have(*part), Time::ZERO));
        let snapshot = swarm.snapshot(Time::ZERO);
        assert_eq!((snapshot.bytes, snapshot.bytes_done, snapshot.parts_done, snapshot.left), (5, 5, 5, 95));
        let effects = effects(&mut swarm);
        assert!(effects.contains(&Effect::Tell(PeerKey(1), Command::Interest(false))));
        assert!(!effects.contains(&Effect::Complete));
    }

    /// Who is admitted when a member that we dialled dials us this long after.
    fn admitted(id: u8, after: Time) -> Vec<PeerKey> {
        let mut swarm = swarm(Bitfield::none(&Geometry::new(100, 1).unwrap()), true);
        let dialled = Introduction { dialled: true, ..introduction(id) };
        swarm.handle(Input::Introduced(PeerKey(1), dialled), Time::ZERO);
        swarm.handle(Input::Introduced(PeerKey(2), introduction(id)), after);
        std::iter::from_fn(|| swarm.next_effect())
            .filter_map(|effect| match effect {
                Effect::Admit(key, _) => Some(key),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn of_two_connections_opened_at_once_that_of_the_greater_id_stays() {
        assert_eq!(admitted(20, Time::from_secs(1)), [PeerKey(1), PeerKey(2)]);
        assert_eq!(admitted(3, Time::from_secs(1)), [PeerKey(1)]);
    }

    #[test]
    fn of_two_connections_opened_one_after_the_other_the_first_stays() {
        assert_eq!(admitted(20, Time::from_secs(2)), [PeerKey(1)]);
    }

    #[test]
    fn who_is_connected_is_not_dialled_again() {
        let mut swarm = swarm(Bitfield::none(&Geometry::new(100, 1).unwrap()), true);
        let address = SocketAddr::from(([10, 0, 0, 1], 4240));
        swarm.handle(Input::Introduced(PeerKey(1), introduction(1)), Time::ZERO);
        swarm.handle(Input::Endpoints(vec![address]), Time::from_secs(5));
        let dialled = Introduction { address, dialled: true, ..introduction(1) };
        swarm.handle(Input::Introduced(PeerKey(2), dialled), Time::from_secs(5));
        (5..100).for_each(|second| swarm.tick(Time::from_secs(second)));
        let dials = std::iter::from_fn(|| swarm.next_effect()).filter(|e| *e == Effect::Dial(address)).count();
        assert_eq!(dials, 1, "it did not say on which port it listens (rqbit), so that it had to be found out");
    }
}
