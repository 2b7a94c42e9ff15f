use std::collections::BTreeMap;

use super::*;
use crate::discovery::dht::krpc::Packet;

const SWARM: InfoHash = InfoHash([0x5a; 20]);
const PORT: u16 = 9998;

fn public(n: u8) -> SocketAddr {
    SocketAddr::from(([n, 1, 1, 1], 6881))
}

/// Nodes that hear each other, in virtual time.
#[derive(Default)]
struct World {
    nodes: BTreeMap<SocketAddr, Node>,
    now: Time,
    packets: usize,
    found: Vec<(SocketAddr, Vec<SocketAddr>)>,
}

impl World {
    fn add(&mut self, address: SocketAddr) -> &mut Node {
        let dice = fastrand::Rng::with_seed(self.nodes.len() as u64);
        self.nodes.entry(address).or_insert(Node::new(PORT, dice, self.now))
    }

    /// `count` nodes, each of which knows the first of them.
    fn of(count: u8) -> Self {
        let mut world = Self::default();
        for n in 1..=count {
            let now = world.now;
            world.add(public(n)).greet(public(1), now);
            world.run(Time::from_secs(1));
        }
        world
    }

    fn run(&mut self, time: Time) {
        let until = self.now + time;
        loop {
            self.deliver();
            let next = self.nodes.values().map(Node::deadline).min().unwrap_or(until);
            self.now = next.clamp(self.now, until);
            if self.now >= until {
                return;
            }
            let now = self.now;
            self.nodes.values_mut().filter(|node| node.deadline() <= now).for_each(|node| node.on_deadline(now));
        }
    }

    fn deliver(&mut self) {
        loop {
            let mut sent = Vec::new();
            for (from, node) in &mut self.nodes {
                sent.extend(std::iter::from_fn(|| node.next_packet()).map(|(to, bytes)| (*from, to, bytes)));
                let found = std::iter::from_fn(|| node.next_found());
                self.found.extend(found.map(|(_, members)| (*from, members)));
            }
            if sent.is_empty() {
                return;
            }
            for (from, to, bytes) in sent {
                self.packets += 1;
                if let Some(node) = self.nodes.get_mut(&to) {
                    node.hear(&bytes, from, self.now);
                }
            }
        }
    }

    fn found_by(&self, who: SocketAddr) -> BTreeSet<SocketAddr> {
        self.found.iter().filter(|(by, _)| *by == who).flat_map(|(_, members)| members.clone()).collect()
    }
}

fn member(n: u8) -> SocketAddr {
    SocketAddr::new(public(n).ip(), PORT)
}

#[test]
fn members_find_each_other_among_many_nodes() {
    let mut world = World::of(100);
    for n in [20, 70] {
        let now = world.now;
        world.nodes.get_mut(&public(n)).unwrap().share(SWARM, now);
        world.run(Time::from_secs(30));
    }
    assert_eq!(world.found_by(public(70)), [member(20)].into());
    assert!(world.found_by(public(20)).is_empty());
    world.run(Time::from_secs(400));
    assert_eq!(world.found_by(public(20)), [member(20), member(70)].into(), "it looks again");
    assert!(
        world.nodes.values().map(|node| node.table.nearest(&node.id, 999).len()).all(|known| (8..60).contains(&known))
    );
}

#[test]
fn who_comes_to_a_node_that_is_alone_is_known_to_it() {
    let mut world = World::of(2);
    assert!(world.nodes.values().all(|node| !node.is_alone()));
    let now = world.now;
    world.nodes.get_mut(&public(1)).unwrap().share(SWARM, now);
    world.run(Time::from_secs(5));
    world.nodes.get_mut(&public(2)).unwrap().share(SWARM, now);
    world.run(Time::from_secs(5));
    assert_eq!(world.found_by(public(2)), [member(1)].into());
}

/// Most of the nodes vanish: those that stay find each other all the same, and forget the dead.
#[test]
fn nodes_that_vanish_are_forgotten() {
    let mut world = World::of(60);
    world.nodes.retain(|address, _| address.ip().to_string().starts_with(['1', '2']));
    let left: Vec<_> = world.nodes.keys().copied().collect();
    for address in [left[3], left[9]] {
        let now = world.now;
        world.nodes.get_mut(&address).unwrap().share(SWARM, now);
        world.run(Time::from_secs(120));
    }
    assert_eq!(world.found_by(left[9]), [SocketAddr::new(left[3].ip(), PORT)].into());
    world.run(Time::from_secs(3 * 3600));
    for node in world.nodes.values() {
        assert!(node.table.nearest(&node.id, 999).iter().all(|contact| left.contains(&contact.address)));
        assert!(!node.is_alone() && node.asked.len() < 50);
    }
}

#[test]
fn without_anybody_nothing_is_asked_and_all_is_made_up_for_later() {
    let mut world = World::default();
    let now = world.now;
    world.add(public(1)).share(SWARM, now);
    world.nodes.get_mut(&public(1)).unwrap().greet(public(9), now);
    world.run(Time::from_secs(3600));
    assert_eq!(world.packets, 1, "the greeting");
    assert!(world.nodes[&public(1)].is_alone());
    world.add(public(2));
    let now = world.now;
    world.nodes.get_mut(&public(1)).unwrap().greet(public(2), now);
    world.run(Time::from_secs(1));
    let other = &world.nodes[&public(2)];
    assert_eq!(other.announced.some_of(SWARM, now, &mut fastrand::Rng::with_seed(1)), [member(1)]);
}

#[test]
fn thousands_of_compositions_are_looked_for_one_after_the_other() {
    let mut world = World::of(20);
    let before = world.packets;
    let now = world.now;
    for n in 0..2000u16 {
        let mut hash = [n as u8; 20];
        hash[..2].copy_from_slice(&n.to_be_bytes());
        world.nodes.get_mut(&public(5)).unwrap().share(InfoHash(hash), now);
    }
    let node = &world.nodes[&public(5)];
    assert!(node.searches.len() == SEARCHES && node.packets.len() <= 4 * SEARCHES);
    world.run(Time::from_secs(60));
    let told = |node: &Node| node.announced.some_of(InfoHash([7; 20]), now, &mut fastrand::Rng::with_seed(1)).len();
    assert!(world.packets > before + 2000 && world.nodes.values().map(told).sum::<usize>() <= BUCKET);
}

#[test]
fn what_is_shared_again_is_looked_for_once() {
    let mut world = World::of(5);
    let now = world.now;
    let node = world.nodes.get_mut(&public(1)).unwrap();
    for _ in 0..3 {
        node.share(SWARM, now);
        node.forget(SWARM);
    }
    node.share(SWARM, now);
    assert_eq!(node.searches.values().filter(|search| search.members_of == Some(SWARM)).count(), 1);
    world.run(Time::from_secs(60));
    assert_eq!(world.nodes[&public(1)].due.len(), 1);
}

fn node() -> Node {
    Node::new(PORT, fastrand::Rng::with_seed(1), Time::ZERO)
}

/// The questions that it asks, of whom.
fn questions(node: &mut Node) -> Vec<(SocketAddr, Vec<u8>, Query, bool)> {
    let sent = std::iter::from_fn(|| node.next_packet());
    sent.filter_map(|(to, bytes)| match krpc::read(&bytes)? {
        Packet { transaction, body: Body::Query { query, read_only, .. } } => Some((to, transaction, query, read_only)),
        _ => None,
    })
    .collect()
}

fn answers(node: &mut Node) -> usize {
    std::iter::from_fn(|| node.next_packet())
        .filter(|(_, b)| !matches!(krpc::read(b).unwrap().body, Body::Query { .. }))
        .count()
}

fn ask(node: &mut Node, from: SocketAddr, query: &Query, now: Time) {
    node.hear(&krpc::write_query(b"q", NodeId([9; 20]), query, true), from, now);
}

#[test]
fn an_answer_counts_from_whom_was_asked_and_once() {
    let mut node = node();
    node.greet(public(1), Time::ZERO);
    let (_, transaction, ..) = questions(&mut node).remove(0);
    let answer = krpc::write_answer(&transaction, &Answer::of(NodeId([3; 20])), public(8));
    for (bytes, from) in [(&answer[..], public(2)), (b"d1:rd2:id20:", public(1)), (b"garbage", public(1))] {
        node.hear(bytes, from, Time::ZERO);
        assert!(node.is_alone());
    }
    node.hear(&answer, public(1), Time::ZERO);
    assert!(!node.is_alone());
    node.on_deadline(PATIENCE);
    node.greet(public(1), PATIENCE);
    node.on_deadline(2 * PATIENCE);
    assert!(node.is_alone(), "it answered nothing of what followed");
    node.hear(&answer, public(1), Time::ZERO);
    assert!(node.is_alone(), "it was answered before");
}

/// A node tells of a million members, of some inside our network, and of nodes there.
#[test]
fn what_is_told_is_bounded_and_nobody_inside_is_believed_from_outside() {
    let mut node = node();
    node.share(SWARM, Time::ZERO);
    node.greet(public(1), Time::ZERO);
    let inside: SocketAddr = "192.168.1.1:80".parse().unwrap();
    let mut told = 0;
    for round in 0..100_000u32 {
        let asked = questions(&mut node);
        if asked.is_empty() {
            break;
        }
        for (to, transaction, ..) in asked {
            assert_ne!(to, inside);
            let id = NodeId([to.ip().to_string().split('.').next().unwrap().parse().unwrap(); 20]);
            let mut answer = Answer::of(id);
            answer.nodes = Some((0..8).map(|n| Contact { id: NodeId([n; 20]), address: public(n) }).collect());
            answer.nodes.as_mut().unwrap().push(Contact { id: NodeId([99; 20]), address: inside });
            let [a, b, c, _] = round.to_be_bytes();
            answer.members = (0..30).map(|n| SocketAddr::from(([a + 9, b, c, n], 7))).collect();
            answer.members.push(inside);
            answer.token = Some(vec![1]);
            node.hear(&krpc::write_answer(&transaction, &answer, public(8)), to, Time::ZERO);
        }
        for (_, members) in std::iter::from_fn(|| node.next_found()) {
            assert!(!members.contains(&inside));
            told += members.len();
        }
    }
    assert!((30..=super::super::lookup::MOST_MEMBERS).contains(&told), "{told}");
}

#[test]
fn others_are_answered_and_only_so_many() {
    let mut node = node();
    for query in [Query::Ping, Query::FindNode(NodeId([1; 20])), Query::GetPeers(SWARM), Query::Unknown] {
        ask(&mut node, public(3), &query, Time::ZERO);
        assert_eq!(answers(&mut node), 1, "{query:?}");
    }
    (0..10_000).for_each(|_| ask(&mut node, public(3), &Query::Ping, Time::ZERO));
    assert!(answers(&mut node) <= 200);
}

#[test]
fn an_announce_needs_a_token() {
    let mut node = node();
    let announce = |token: Vec<u8>| Query::Announce { info_hash: SWARM, port: None, token };
    ask(&mut node, public(3), &announce(vec![1]), Time::ZERO);
    let mut dice = fastrand::Rng::with_seed(1);
    assert!(node.announced.some_of(SWARM, Time::ZERO, &mut dice).is_empty());
    let token = node.announced.token(public(3).ip(), Time::ZERO);
    ask(&mut node, public(4), &announce(token.clone()), Time::ZERO);
    assert!(node.announced.some_of(SWARM, Time::ZERO, &mut dice).is_empty());
    ask(&mut node, public(3), &announce(token), Time::ZERO);
    assert_eq!(node.announced.some_of(SWARM, Time::ZERO, &mut dice), [public(3)]);
}

#[test]
fn who_cannot_be_reached_becomes_read_only() {
    let says_so = |node: &mut Node, now| {
        node.greet(public(1), now);
        questions(node).pop().is_some_and(|(.., read_only)| read_only)
    };
    let mut node = node();
    assert!(!says_so(&mut node, Time::ZERO));
    let later = TRIAL - Time::from_secs(60);
    node.on_deadline(later);
    assert!(!says_so(&mut node, later));
    ask(&mut node, public(1), &Query::Ping, later);
    assert_eq!(answers(&mut node), 1);
    node.on_deadline(TRIAL);
    assert!(says_so(&mut node, TRIAL), "whom it asked proves nothing");
    ask(&mut node, public(1), &Query::Ping, TRIAL);
    assert_eq!(answers(&mut node), 0);
    ask(&mut node, public(7), &Query::Ping, TRIAL);
    assert_eq!(answers(&mut node), 1, "a stranger");
    node.on_deadline(2 * TRIAL - Time::from_secs(1));
    assert!(!says_so(&mut node, 2 * TRIAL - Time::from_secs(1)));
    ask(&mut node, "10.0.0.1:6881".parse().unwrap(), &Query::Ping, 9 * TRIAL);
    assert_eq!(answers(&mut node), 1, "somebody nearby");
}
