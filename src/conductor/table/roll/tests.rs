use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::{
    announce::{Announce, http_request::read_announce},
    conductor::table::{address::Caller, member::Basis},
    wire::handshake::PeerId,
};

const SEED: Seed = Seed(1, 2);

fn who(n: u8) -> Who {
    let query = b"info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7&key=1";
    let announce = Announce { id: PeerId([n; 20]), ..read_announce(query).unwrap() };
    let here = "10.0.0.1".parse().unwrap();
    Who::new(&announce, &Caller::new(here, here), SEED)
}

fn door(address: &str, seconds: u64) -> Door {
    let expires = Second::at_or_after(Time::from_secs(seconds));
    Door { address: address.parse().unwrap(), basis: Basis::Seen, expires }
}

fn v4(n: u8) -> Door {
    door(&format!("10.0.0.{n}:7"), u64::from(n))
}

fn v6(n: u8) -> Door {
    door(&format!("[fd00::{n}]:7"), 300)
}

/// Somebody with one door or two.
fn member(n: u8) -> Member {
    let mut member = Member::new(who(n));
    member.open(v4(n));
    if n.is_multiple_of(3) {
        member.open(v6(n));
    }
    member
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, bool),
    Remove(u8),
    CountAmong(bool, u8),
    /// Another port in IPv4, on this basis.
    Move(u8, u16, Basis),
    CloseV4(u8),
    Expire(u8),
}

fn basis() -> impl Strategy<Value = Basis> {
    prop_oneof![Just(Basis::Seen), Just(Basis::Held), Just(Basis::Beside), Just(Basis::Claimed)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = || 1u8..40;
    let step = prop_oneof![
        4 => (n(), any::<bool>()).prop_map(|(n, seed)| Step::Add(n, seed)),
        1 => n().prop_map(Step::Remove),
        2 => (any::<bool>(), n()).prop_map(|(seeds, n)| Step::CountAmong(seeds, n)),
        1 => (n(), 0u16..9, basis()).prop_map(|(n, port, basis)| Step::Move(n, port, basis)),
        1 => n().prop_map(Step::CloseV4),
        1 => n().prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 0..200)
}

/// What a roll should hold: the doors of each, and whether it is a seed.
type Model = HashMap<u8, (Vec<Door>, bool)>;

fn take(roll: &mut Roll, model: &mut Model, step: Step) {
    match step {
        Step::Add(n, seed) => {
            if roll.find(&who(n)).is_none() {
                roll.add(member(n), seed);
                model.insert(n, (member(n).doors().collect(), seed));
            }
        }
        Step::Remove(n) => {
            let removed = roll.find(&who(n)).map(|place| roll.remove(place).who);
            assert_eq!(removed, model.remove(&n).map(|_| who(n)));
        }
        Step::CountAmong(seeds, n) => {
            if let Some(place) = roll.find(&who(n)) {
                let place = roll.count_among(seeds, place);
                assert_eq!(roll.who(place), who(n));
                model.get_mut(&n).unwrap().1 = seeds;
            }
        }
        Step::Move(n, port, basis) => {
            // Those who are not known by their address share one.
            let address = if basis.is_known_by_it() { format!("10.1.0.{n}:{port}") } else { "10.1.0.1:1".to_owned() };
            let door = Door { basis, ..door(&address, 400) };
            if let Some(place) = roll.find(&who(n)) {
                roll.open(place, door, 0);
                let doors = &mut model.get_mut(&n).unwrap().0;
                doors.retain(|door| door.address.is_ipv6());
                doors.push(door);
            }
        }
        Step::CloseV4(n) => {
            if let Some(place) = roll.find(&who(n)) {
                let doors = &mut model.get_mut(&n).unwrap().0;
                doors.retain(|door| door.address.is_ipv6());
                let last = doors.is_empty();
                assert_eq!(roll.close(place, Version::V4), last);
                if last {
                    model.remove(&n);
                }
            }
        }
        Step::Expire(seconds) => {
            let now = Time::from_secs(seconds.into());
            roll.begin_walk();
            (0..roll.len()).rev().for_each(|place| _ = roll.expire(place, now));
            model.retain(|_, (doors, _)| {
                doors.retain(|door| !door.expires.has_come(now));
                !doors.is_empty()
            });
            assert!(!roll.is_due(now));
        }
    }
}

fn check(roll: &Roll, model: &Model) {
    assert_eq!(roll.len(), model.len());
    assert_eq!(roll.by_who.len(), model.len());
    assert_eq!(roll.seeds().len(), model.values().filter(|(_, seed)| *seed).count());
    let mut doors_with_port = 0;
    for (n, (doors, seed)) in model {
        let place = roll.find(&who(*n)).expect("it is there");
        assert_eq!(roll.is_seed(place), *seed);
        let held: HashSet<_> = roll.row[place].doors().map(|door| (door.address, door.basis as u32)).collect();
        assert_eq!(held, doors.iter().map(|door| (door.address, door.basis as u32)).collect());
        for door in doors.iter().filter(|door| door.basis.is_known_by_it() && door.address.port() != 0) {
            assert_eq!(roll.at(door.address), Some(place));
            doors_with_port += 1;
        }
    }
    assert_eq!(roll.by_address.len(), doors_with_port);
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds(steps in steps()) {
        let (mut roll, mut model) = (Roll::new(SEED, Arc::new(Crowd::new(SEED))), Model::new());
        for step in steps {
            take(&mut roll, &mut model, step);
            roll.shrink();
            check(&roll, &model);
        }
    }

    #[test]
    fn shuffled_comes_to_each_place_once(len in 0usize..300, seed: u64) {
        let mut seen: Vec<_> = shuffled(len, &mut fastrand::Rng::with_seed(seed)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
    }
}

#[test]
fn every_place_comes_first_about_as_often() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut first = [0; 10];
    for _ in 0..10_000 {
        first[shuffled(10, &mut dice).next().unwrap()] += 1;
    }
    assert!(first.iter().all(|&n| (800..1200).contains(&n)), "{first:?}");
}

#[test]
fn who_moves_past_a_walk_under_way_is_met_by_the_next() {
    let mut roll = Roll::new(SEED, Arc::new(Crowd::new(SEED)));
    (1..=9).for_each(|n| _ = roll.add(member(n), n < 5));
    let now = Time::from_secs(2);
    roll.begin_walk();
    (5..9).rev().for_each(|place| _ = roll.expire(place, now));
    // The first four are yet to be met; two of them are due, and one of these is moved to the end.
    let place = roll.find(&who(1)).unwrap();
    let moved = roll.remove(place);
    roll.add(moved, false);
    (0..5).rev().for_each(|place| _ = roll.expire(place, now));
    assert!(roll.find(&who(2)).is_none() && roll.find(&who(1)).is_some());
    assert!(roll.is_due(now));
}

#[test]
fn a_row_that_got_short_gives_memory_back() {
    let mut roll = Roll::new(SEED, Arc::new(Crowd::new(SEED)));
    for n in 0..=255u8 {
        for port in 1..5 {
            let mut member = Member::new(who(n));
            member.who.id.0[1] = port;
            member.open(door(&format!("10.0.0.{n}:{port}"), 1));
            roll.add(member, false);
        }
    }
    assert!(roll.row.capacity() < 1024 + 1024 / 4 + 3);
    while roll.len() > 10 {
        roll.remove(0);
    }
    roll.shrink();
    assert!(roll.row.capacity() <= SMALL && roll.by_who.capacity() <= 2 * SMALL);
    assert!(roll.find(&roll.row[9].who).is_some());
}
