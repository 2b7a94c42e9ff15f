use core::time::Duration;
use std::collections::HashSet;

use super::*;
use crate::{announce::Answer, net::network::Network, wire::handshake::PeerId};

const HASH: InfoHash = InfoHash([7; 20]);

/// A table with a clock and dice.
struct World {
    table: Table,
    now: Time,
    dice: fastrand::Rng,
    changes: Vec<Change>,
}

impl World {
    fn new() -> Self {
        Self { table: Table::new(Seed(1, 2)), now: Time::ZERO, dice: fastrand::Rng::with_seed(1), changes: Vec::new() }
    }

    fn say(&mut self, announce: &Announce, caller: Caller) -> Answer {
        let mut peers = Vec::new();
        let list = |listed| {
            peers.push(listed);
            true
        };
        let tell = |change| self.changes.push(change);
        let word = self.table.announce(announce, &caller, self.now, &mut self.dice, tell, list).unwrap();
        let Counts { complete, incomplete, .. } = word.counts;
        Answer {
            interval: word.interval,
            complete: Some(complete),
            incomplete: Some(incomplete),
            peers,
            ..Answer::default()
        }
    }

    fn changes(&mut self) -> Vec<(What, usize)> {
        self.changes.drain(..).map(|change| (change.what, change.members)).collect()
    }

    fn sweep_after(&mut self, seconds: u64) -> Vec<(What, usize)> {
        self.now += Duration::from_secs(seconds);
        self.changes.clear();
        self.table.sweep(self.now, |change| self.changes.push(change));
        self.changes()
    }
}

fn id(prefix: &str, n: u32) -> PeerId {
    let text = format!("{prefix}{n:0width$}", width = 20 - prefix.len());
    PeerId(text.into_bytes().try_into().expect("20 bytes"))
}

fn leecher(n: u32) -> Announce {
    Announce {
        info_hash: HASH,
        id: id("-OC0100-", n),
        port: 9998,
        ip: None,
        uploaded: 0,
        downloaded: 0,
        left: 100,
        event: None,
        numwant: None,
        compact: true,
        no_peer_id: false,
        key: Some(n),
    }
}

fn seed(n: u32) -> Announce {
    Announce { left: 0, ..leecher(n) }
}

fn from(source: &str) -> Caller {
    let source: core::net::IpAddr = source.parse().expect("an address");
    let reached = match source.is_ipv4() {
        true => "10.0.0.254",
        false => "fd00::ffff",
    };
    Caller::new(source, reached.parse().expect("an address"))
}

/// The n-th machine of a network.
fn at(n: u32) -> Caller {
    from(&format!("10.0.{}.{}", n / 250, n % 250 + 1))
}

fn addresses(answer: &Answer) -> HashSet<String> {
    answer.peers.iter().map(|peer| peer.address.to_string()).collect()
}

#[test]
fn members_hear_of_each_other_and_not_of_themselves() {
    let mut world = World::new();
    assert!(world.say(&seed(1), at(1)).peers.is_empty());
    let answer = world.say(&leecher(2), at(2));
    assert_eq!(addresses(&answer), ["10.0.0.2:9998".to_owned()].into());
    assert_eq!(answer.peers[0].id, Some(id("-OC0100-", 1)));
    assert_eq!((answer.complete, answer.incomplete), (Some(1), Some(1)));
    let answer = world.say(&seed(1), at(1));
    assert_eq!(addresses(&answer), ["10.0.0.3:9998".to_owned()].into());
    assert_eq!(world.changes(), [(What::Joined, 1), (What::Joined, 2)]);
}

#[test]
fn events_repeated_change_nothing_and_one_download_counts_once() {
    let mut world = World::new();
    for event in [Some(Event::Started), Some(Event::Started), None] {
        world.say(&Announce { event, ..leecher(1) }, at(1));
    }
    assert_eq!(world.table.counts(&HASH).downloaded, 0);
    for _ in 0..3 {
        let done = Announce { event: Some(Event::Completed), ..seed(1) };
        world.say(&done, at(1));
    }
    // It never lacked anything here: no download, whatever it says.
    let claim = Announce { event: Some(Event::Completed), ..seed(2) };
    world.say(&claim, at(2));
    let expected = Counts { complete: 2, incomplete: 0, downloaded: 1 };
    assert_eq!(world.table.counts(&HASH), expected);
    assert_eq!(world.table.members(), 2);
}

#[test]
fn stopped_takes_out_at_once_and_only_once() {
    let mut world = World::new();
    world.say(&seed(1), at(1));
    world.say(&leecher(2), at(2));
    world.changes();
    let stop = Announce { event: Some(Event::Stopped), ..seed(1) };
    assert!(world.say(&stop, at(1)).peers.is_empty());
    world.say(&stop, at(1));
    assert_eq!(world.changes(), [(What::Left, 1)]);
    assert!(world.say(&leecher(2), at(2)).peers.is_empty());
    assert_eq!(world.table.members(), 1);
}

/// A member may leave in the moment in which it completes, and says so with its last word.
#[test]
fn who_leaves_with_all_of_it_has_completed() {
    let mut world = World::new();
    world.say(&leecher(1), at(1));
    world.say(&leecher(2), at(2));
    world.say(&seed(3), at(3));
    world.changes();
    for whole in [seed(1), seed(3)] {
        let n = if whole.id == seed(1).id { 1 } else { 3 };
        world.say(&Announce { event: Some(Event::Stopped), ..whole }, at(n));
    }
    world.say(&Announce { event: Some(Event::Stopped), ..leecher(2) }, at(2));
    assert_eq!(world.changes.iter().map(|change| change.word_of.unwrap().left).collect::<Vec<_>>(), [0, 0, 0, 100]);
    assert_eq!(world.changes(), [(What::Completed, 3), (What::Left, 2), (What::Left, 1), (What::Left, 0)]);
}

#[test]
fn nobody_can_speak_for_another_without_its_key() {
    let mut world = World::new();
    world.say(&seed(1), at(1));
    let forged = Announce { event: Some(Event::Stopped), key: Some(99), ..seed(1) };
    world.say(&forged, at(66));
    let keyless = Announce { key: None, ..forged };
    world.say(&keyless, at(66));
    assert_eq!(world.table.members(), 1);
}

#[test]
fn our_own_go_after_two_intervals_and_foreign_ones_after_eleven_minutes() {
    let mut world = World::new();
    world.say(&seed(1), at(1));
    let foreign = Announce { id: id("-TR4060-", 2), ..leecher(2) };
    world.say(&foreign, at(2));
    assert_eq!(world.sweep_after(9), []);
    world.say(&seed(1), at(1));
    assert_eq!(world.sweep_after(9), []);
    assert_eq!(world.sweep_after(1), [(What::Silent, 1)]);
    assert_eq!(world.sweep_after(600), []);
    assert_eq!(world.sweep_after(41), [(What::Silent, 0)]);
    assert_eq!(world.table.members(), 0);
    assert_eq!(world.table.swarms(), 0);
}

#[test]
fn a_dual_stack_member_counts_once_and_is_shown_in_the_version_of_the_asker() {
    let mut world = World::new();
    world.say(&seed(1), from("10.0.0.1"));
    world.say(&seed(1), from("fd00::1"));
    assert_eq!(world.table.counts(&HASH).complete, 1);
    let answer = world.say(&leecher(2), from("10.0.0.2"));
    assert_eq!(addresses(&answer), ["10.0.0.1:9998".to_owned()].into());
    let answer = world.say(&leecher(2), from("fd00::2"));
    assert_eq!(addresses(&answer), ["[fd00::1]:9998".to_owned()].into());
    // A member that has only the other version is shown in that.
    let answer = world.say(&leecher(3), from("fd00::3"));
    assert_eq!(answer.peers.len(), 2);
    world.changes();
    let stop = Announce { event: Some(Event::Stopped), ..seed(1) };
    world.say(&stop, from("fd00::1"));
    assert_eq!(world.table.counts(&HASH).complete, 0);
}

#[test]
fn one_door_of_two_expires_alone() {
    let mut world = World::new();
    world.say(&seed(1), from("10.0.0.1"));
    world.say(&seed(1), from("fd00::1"));
    world.sweep_after(6);
    world.say(&seed(1), from("fd00::1"));
    assert_eq!(world.sweep_after(6), []);
    let answer = world.say(&leecher(2), from("10.0.0.2"));
    assert_eq!(addresses(&answer), ["[fd00::1]:9998".to_owned()].into());
}

#[test]
fn a_program_started_again_at_its_old_port_replaces_itself() {
    let mut world = World::new();
    world.say(&leecher(1), at(1));
    world.say(&leecher(2), at(1));
    assert_eq!(world.changes(), [(What::Joined, 1), (What::Replaced, 0), (What::Joined, 1)]);
    assert_eq!(world.table.members(), 1);
    let answer = world.say(&leecher(3), at(3));
    assert_eq!(answer.peers[0].id, Some(id("-OC0100-", 2)));
}

/// Who asks over a live link.
fn linked(caller: Caller) -> Caller {
    Caller { linked: true, ..caller }
}

fn naming(ip: &str, announce: Announce) -> Announce {
    Announce { ip: Some(ip.parse().expect("an address")), ..announce }
}

/// Everybody's view of a swarm in which the victim is `at(1)`: who stands at its address, by peer id.
fn at_the_victims(world: &mut World) -> HashSet<PeerId> {
    let answer = world.say(&leecher(99), at(99));
    let there = answer.peers.iter().filter(|peer| peer.address.to_string() == "10.0.0.2:9998");
    there.filter_map(|peer| peer.id).collect()
}

#[test]
fn who_was_seen_is_not_put_out_by_who_names_its_address() {
    for victim_is_linked in [false, true] {
        let mut world = World::new();
        let network = Network { ip: "10.0.0.254".parse().unwrap(), prefix: 24 };
        world.table.set_networks(Networks::new(vec![network]));
        let victim = Caller { linked: victim_is_linked, ..at(1) };
        world.say(&seed(1), victim);
        world.changes();
        let attack = naming("10.0.0.2", leecher(6));
        for bad in [linked(at(6)), linked(from("192.168.0.6"))] {
            world.say(&attack, bad);
            assert!(at_the_victims(&mut world).contains(&id("-OC0100-", 1)));
            world.say(&Announce { event: Some(Event::Stopped), ..attack.clone() }, bad);
            assert_eq!(at_the_victims(&mut world), [id("-OC0100-", 1)].into());
        }
        let of_victim = world.changes.iter().filter(|change| change.address.ip() == at(1).source);
        assert!(of_victim.clone().any(|change| change.what == What::Left && change.stays));
        assert!(!of_victim.clone().any(|change| change.what == What::Replaced));
        assert_eq!(of_victim.filter(|change| change.claimed).count(), 1, "one named it from another network");
    }
}

#[test]
fn both_stand_until_one_expires() {
    let mut world = World::new();
    world.say(&naming("10.0.0.2", leecher(6)), linked(at(6)));
    world.say(&seed(1), at(1));
    world.now += Duration::from_secs(5);
    world.say(&seed(1), at(1));
    world.changes.clear();
    assert_eq!(world.sweep_after(5), [(What::Silent, 1)]);
    assert!(world.changes.is_empty());
    assert_eq!(at_the_victims(&mut world), [id("-OC0100-", 1)].into());
}

/// Two machines behind one router, or two users of one machine.
#[test]
fn who_keeps_a_link_is_not_put_out_from_its_own_address() {
    let mut world = World::new();
    world.say(&seed(1), linked(at(1)));
    let bad = leecher(6);
    for caller in [at(1), linked(at(1))] {
        world.say(&bad, caller);
        assert_eq!(at_the_victims(&mut world), [1, 6].map(|n| id("-OC0100-", n)).into());
        // Its announces beside the link change nothing.
        world.say(&seed(1), at(1));
        world.say(&bad, caller);
        assert_eq!(at_the_victims(&mut world).len(), 2);
        world.say(&Announce { event: Some(Event::Stopped), ..bad.clone() }, caller);
        assert_eq!(at_the_victims(&mut world), [id("-OC0100-", 1)].into());
    }
}

/// A machine that lost its power: its link is taken for alive for a while.
#[test]
fn who_was_started_again_takes_the_address_once_the_old_link_is_gone() {
    let mut world = World::new();
    world.say(&leecher(1), linked(at(1)));
    world.say(&leecher(2), linked(at(1)));
    assert_eq!(world.table.members(), 2);
    world.say(&Announce { event: Some(Event::Stopped), ..leecher(1) }, linked(at(1)));
    world.say(&leecher(2), linked(at(1)));
    world.say(&leecher(3), at(1));
    assert_eq!(world.table.members(), 2);
    world.say(&Announce { event: Some(Event::Stopped), ..leecher(2) }, linked(at(1)));
    world.say(&leecher(3), at(1));
    world.say(&leecher(4), at(1));
    assert_eq!(world.table.members(), 1, "where nobody keeps a link the later one replaces the earlier");
}

#[test]
fn who_says_where_it_left_from_speaks_of_nobody_else() {
    let mut world = World::new();
    world.say(&leecher(1), at(1));
    world.say(&Announce { port: 9997, ..leecher(2) }, at(1));
    world.changes.clear();
    // Its own entry is at port 9997, whatever it says now.
    world.say(&Announce { event: Some(Event::Stopped), ..leecher(2) }, at(1));
    assert_eq!(world.changes.last().map(|change| change.address.port()), Some(9997));
}

#[test]
fn only_who_is_on_that_network_is_dialled_there() {
    let mut world = World::new();
    let network = Network { ip: "10.0.0.254".parse().unwrap(), prefix: 24 };
    world.table.set_networks(Networks::new(vec![network]));
    let mut dialled = |announce: Announce, caller: Caller| {
        world.changes.clear();
        world.say(&announce, caller);
        world.changes.iter().filter(|change| change.dial).map(|change| change.address.ip().to_string()).next()
    };
    assert_eq!(dialled(leecher(1), at(1)).as_deref(), Some("10.0.0.2"));
    assert_eq!(dialled(naming("10.0.0.9", leecher(2)), linked(at(2))).as_deref(), Some("10.0.0.9"));
    assert_eq!(dialled(naming("10.0.1.9", leecher(3)), linked(at(3))), None, "a network that the asker is not on");
    assert_eq!(dialled(naming("10.0.0.9", leecher(4)), linked(from("10.0.1.4"))), None);
    assert_eq!(dialled(leecher(5), linked(from("127.0.0.1"))), None, "a proxy's loopback is not the asker's");
    assert_eq!(dialled(naming("10.0.0.254", leecher(6)), linked(from("127.0.0.1"))), None);
}

#[test]
fn two_members_behind_one_address_are_two() {
    let mut world = World::new();
    world.say(&leecher(1), at(1));
    let other = Announce { port: 9997, ..leecher(2) };
    assert_eq!(world.say(&other, at(1)).peers.len(), 1);
    // Without a port it is counted and never shown.
    let closed = Announce { port: 0, ..leecher(3) };
    assert_eq!(world.say(&closed, at(3)).peers.len(), 2);
    let closed = Announce { port: 0, ..leecher(4) };
    assert_eq!(world.say(&closed, at(3)).peers.len(), 2);
    assert_eq!(world.table.members(), 4);
}

#[test]
fn a_member_that_moves_keeps_one_entry() {
    let mut world = World::new();
    world.say(&leecher(1), at(1));
    world.say(&leecher(1), at(2));
    let answer = world.say(&leecher(3), at(3));
    assert_eq!(addresses(&answer), ["10.0.0.3:9998".to_owned()].into());
}

#[test]
fn seeds_hear_of_leechers_alone_and_leechers_of_a_few_seeds_at_least() {
    let mut world = World::new();
    (0..300).for_each(|n| drop(world.say(&leecher(n), at(n))));
    (300..400).for_each(|n| drop(world.say(&seed(n), at(n))));
    let seeds: HashSet<_> = (300..400).map(|n| at(n).source).collect();
    let among = |answer: &Answer| {
        let ips = answer.peers.iter().map(|peer| peer.address.ip());
        ips.filter(|ip| seeds.contains(ip)).count()
    };
    let answer = world.say(&seed(300), at(300));
    assert_eq!((answer.peers.len(), among(&answer)), (50, 0));
    let answer = world.say(&leecher(0), at(0));
    assert_eq!((answer.peers.len(), among(&answer)), (50, 4));
    assert_eq!(addresses(&answer).len(), 50);
    let many = Announce { numwant: Some(1000), ..leecher(0) };
    assert_eq!(world.say(&many, at(0)).peers.len(), 200);
    let none = Announce { numwant: Some(0), ..leecher(0) };
    assert!(world.say(&none, at(0)).peers.is_empty());
}

#[test]
fn seeds_fill_the_list_where_leechers_are_few() {
    let mut world = World::new();
    (0..3).for_each(|n| drop(world.say(&leecher(n), at(n))));
    (3..103).for_each(|n| drop(world.say(&seed(n), at(n))));
    let answer = world.say(&leecher(0), at(0));
    assert!(answer.peers.len() >= 49, "{}", answer.peers.len());
}

/// aria2 does so while it has a magnet link and nothing else.
#[test]
fn a_foreign_client_that_lacks_nothing_and_fetched_nothing_hears_of_a_few_seeds() {
    let mut world = World::new();
    (0..9).for_each(|n| drop(world.say(&seed(n), at(n))));
    let aria2 = Announce { id: id("A2-1-36-0-", 9), ..seed(9) };
    assert_eq!(world.say(&aria2, at(9)).peers.len(), 4);
    assert!(world.say(&seed(10), at(10)).peers.is_empty());
    assert!(world.say(&Announce { downloaded: 1, ..aria2 }, at(9)).peers.is_empty());
}

#[test]
fn the_interval_is_short_for_few_and_longer_for_many() {
    let mut world = World::new();
    assert_eq!(world.say(&leecher(0), at(0)).interval, 5);
    (0..400).for_each(|n| drop(world.say(&leecher(n), at(n))));
    let answer = world.say(&leecher(0), at(0));
    assert_eq!(answer.interval, 20);
}

#[test]
fn swarms_do_not_mix() {
    let mut world = World::new();
    world.say(&seed(1), at(1));
    let other = Announce { info_hash: InfoHash([8; 20]), ..leecher(2) };
    assert!(world.say(&other, at(2)).peers.is_empty());
    assert_eq!(world.table.counts(&InfoHash([9; 20])), Counts::default());
}

#[test]
fn a_large_swarm_is_swept_in_slices_and_nobody_is_forgotten() {
    let mut world = World::new();
    (0..10_000).for_each(|n| drop(world.say(&leecher(n), at(n))));
    (10_000..10_010).for_each(|n| drop(world.say(&Announce { id: id("-TR4060-", n), ..seed(n) }, at(n))));
    assert_eq!(world.table.members(), 10_010);
    let gone = world.sweep_after(240);
    assert_eq!(gone.len(), 10_000);
    assert_eq!(gone.last(), Some(&(What::Silent, 10)));
    assert_eq!(world.table.members(), 10);
    assert_eq!(world.sweep_after(660).len(), 10);
    assert_eq!((world.table.members(), world.table.swarms()), (0, 0));
}

#[test]
fn who_cannot_be_shown_does_not_make_a_list_cost_more() {
    let mut world = World::new();
    (0..3000).for_each(|n| drop(world.say(&leecher(n), at(n))));
    let mut tried = 0;
    let list = |_| {
        tried += 1;
        false
    };
    world.table.announce(&leecher(0), &at(0), world.now, &mut world.dice, drop, list).unwrap();
    assert!((50..600).contains(&tried), "{tried}");
}

#[test]
fn a_full_swarm_refuses_newcomers_and_keeps_its_members() {
    let world = World::new();
    let mut dice = fastrand::Rng::with_seed(1);
    let mut say = |n: u32| {
        let announce = Announce { numwant: Some(0), port: 1 + (n % 60_000) as u16, ..leecher(n) };
        world.table.announce(&announce, &at(n / MAX_AT_ADDRESS), world.now, &mut dice, drop, |_| true)
    };
    for n in 0..MAX_IN_SWARM as u32 {
        say(n).unwrap();
    }
    assert_eq!(say(MAX_IN_SWARM as u32), Err(Full::Swarm));
    assert!(say(0).is_ok());
    assert_eq!(world.table.members(), MAX_IN_SWARM);
}

#[test]
fn who_fills_the_table_gives_way_to_who_does_not() {
    let mut world = World::new();
    // As many in each shard as a full table has in a tenth of one.
    world.table.max_swarms = 25_000;
    let mut say = |n: u32, caller: Caller| {
        let mut announce = Announce { numwant: Some(0), ..leecher(n) };
        announce.info_hash.0[..4].copy_from_slice(&n.to_be_bytes());
        let tell = |change| world.changes.push(change);
        let said = world.table.announce(&announce, &caller, world.now, &mut world.dice, tell, |_| true).map(drop);
        (said, world.table.counts(&announce.info_hash).incomplete)
    };
    let honest = |n: u32| from(&format!("2001:db8:{:x}:{:x}::1", n / 9, n % 9));
    // All /64 of a /56.
    let greedy = |n: u32| from(&format!("2001:db8:ffff:{:x}::1", n % 256));
    (0..100).for_each(|n| assert_eq!(say(n, honest(n)), (Ok(()), 1)));
    (100..25_000).for_each(|n| assert_eq!(say(n, greedy(n)), (Ok(()), 1)));
    assert_eq!(say(25_000, greedy(25_000)), (Err(Full::Table), 0), "not at the cost of others");
    (30_000..30_500).for_each(|n| assert_eq!(say(n, honest(n)), (Ok(()), 1)));
    (0..100).for_each(|n| assert_eq!(say(n, honest(n)), (Ok(()), 1)));
    let gone: Vec<_> = world.changes.iter().filter(|change| change.what == What::Crowded).collect();
    assert_eq!(gone.len(), 500);
    assert!(gone.iter().all(|change| change.address.to_string().starts_with("[2001:db8:ffff:")));
    assert_eq!((world.table.swarms(), world.table.members()), (25_000, 25_000));
    assert_eq!(world.table.crowd.count(greedy(0).source), 24_400);
}

#[test]
fn one_address_does_not_fill_the_table() {
    let world = World::new();
    let mut dice = fastrand::Rng::with_seed(1);
    let mut say = |n: u32, caller: Caller, event| {
        let announce = Announce { event, numwant: Some(0), port: 1 + n as u16, ..leecher(n) };
        world.table.announce(&announce, &caller, world.now, &mut dice, drop, |_| true).map(drop)
    };
    let one = from("10.9.9.9");
    for n in 0..MAX_AT_ADDRESS {
        assert_eq!(say(n, one, None), Ok(()));
    }
    assert_eq!(say(MAX_AT_ADDRESS, one, None), Err(Full::Address));
    assert_eq!(say(MAX_AT_ADDRESS, at(1), None), Ok(()), "others are let in");
    assert_eq!(say(0, one, None), Ok(()), "who is there goes on");
    assert_eq!(say(0, one, Some(Event::Stopped)), Ok(()));
    assert_eq!(say(MAX_AT_ADDRESS + 1, one, None), Ok(()), "who leaves makes room");
}
