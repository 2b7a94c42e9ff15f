//! One search in the DHT: asks ever nearer nodes, until the nearest have answered (BEP 5).
//!
//! What it costs an attacker: whatever he answers, a search asks [`MOST_ASKED`] nodes and keeps [`MOST_MEMBERS`] members;
//! and no two nodes at one address, unless that is our own machine.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use super::{
    krpc::{Contact, NodeId},
    table::BUCKET,
};

/// Questions under way at the same time.
const AT_ONCE: usize = 4;
/// Nodes that are asked in all.
const MOST_ASKED: usize = 100;
/// Nodes that are kept to be asked.
const MOST_KEPT: usize = 64;
/// Members that are passed on, and how many of those that one node tells of: a liar does not crowd out the others.
pub const MOST_MEMBERS: usize = 200;
const MOST_OF_ONE: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    /// With what an announce to it has to show.
    Answered(Option<Vec<u8>>),
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    contact: Contact,
    state: State,
}

#[derive(Debug)]
pub struct Lookup {
    target: NodeId,
    /// The nearest first.
    candidates: Vec<Candidate>,
    asked: usize,
    members: BTreeSet<SocketAddr>,
}

impl Lookup {
    /// Begins with these.
    pub fn new(target: NodeId, known: Vec<Contact>) -> Self {
        let mut lookup = Self { target, candidates: Vec::new(), asked: 0, members: BTreeSet::new() };
        known.into_iter().for_each(|contact| lookup.hear_of(contact));
        lookup
    }

    /// A node that may be nearer.
    pub fn hear_of(&mut self, contact: Contact) {
        let ip = contact.address.ip();
        let crowd = |other: &Candidate| {
            let same_ip = other.contact.address.ip() == ip && !ip.is_loopback();
            other.contact.address == contact.address || other.contact.id == contact.id || same_ip
        };
        if self.candidates.iter().any(crowd) {
            return;
        }
        let distance = contact.id.distance(&self.target);
        let at = self.candidates.partition_point(|other| other.contact.id.distance(&self.target) < distance);
        self.candidates.insert(at, Candidate { contact, state: State::New });
        if self.candidates.len() > MOST_KEPT
            && let Some(farthest) = self.candidates.iter().rposition(|other| other.state != State::Asked)
        {
            self.candidates.remove(farthest);
        }
    }

    /// Whom to ask now: one of the nearest that may answer, while not too many are asked.
    pub fn next_to_ask(&mut self) -> Option<Contact> {
        let asked = self.candidates.iter().filter(|candidate| candidate.state == State::Asked).count();
        if asked >= AT_ONCE || self.asked >= MOST_ASKED {
            return None;
        }
        let mut nearest = self.candidates.iter_mut().filter(|c| c.state != State::Failed).take(BUCKET);
        let next = nearest.find(|candidate| candidate.state == State::New)?;
        next.state = State::Asked;
        self.asked += 1;
        Some(next.contact)
    }

    /// Whether everybody has answered who will. To be asked when there is nobody to ask.
    pub fn is_over(&self) -> bool {
        !self.candidates.iter().any(|candidate| candidate.state == State::Asked)
    }

    /// It answered as this node, with a token. False: it is not who it was said to be.
    pub fn answered(&mut self, from: Contact, token: Option<Vec<u8>>) -> bool {
        let Some(candidate) = self.candidates.iter_mut().find(|c| c.contact.address == from.address) else {
            return false;
        };
        let honest = candidate.contact.id == from.id;
        candidate.state = if honest { State::Answered(token) } else { State::Failed };
        honest
    }

    pub fn failed(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.candidates.iter_mut().find(|c| c.contact.address == address) {
            candidate.state = State::Failed;
        }
    }

    /// Those of these members that are new.
    pub fn fresh(&mut self, members: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let room = MOST_OF_ONE.min(MOST_MEMBERS - self.members.len());
        members.into_iter().filter(|member| self.members.insert(*member)).take(room).collect()
    }

    /// The nearest of those that would take an announce, with what it has to show.
    pub fn takers(self) -> Vec<(SocketAddr, Vec<u8>)> {
        let takers = self.candidates.into_iter().filter_map(|candidate| match candidate.state {
            State::Answered(token) => Some((candidate.contact.address, token?)),
            _ => None,
        });
        takers.take(BUCKET).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: NodeId = NodeId([0; 20]);

    /// At a distance that grows with `n`.
    fn contact(n: u16) -> Contact {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let [high, low] = n.to_be_bytes();
        Contact { id: NodeId(id), address: SocketAddr::from(([10, 1, high, low], 6881)) }
    }

    #[test]
    fn the_nearest_are_asked_until_they_have_answered() {
        let mut lookup = Lookup::new(TARGET, vec![contact(100), contact(90)]);
        assert_eq!(lookup.next_to_ask(), Some(contact(90)));
        assert_eq!(lookup.next_to_ask(), Some(contact(100)));
        assert_eq!((lookup.next_to_ask(), lookup.is_over()), (None, false));
        assert!(lookup.answered(contact(90), Some(b"t".to_vec())));
        (1..=20).for_each(|n| lookup.hear_of(contact(n)));
        lookup.failed(contact(100).address);
        let mut asked = Vec::new();
        while let Some(next) = lookup.next_to_ask() {
            assert!(lookup.answered(next, (next != contact(2)).then(|| vec![1])));
            asked.push(next);
        }
        assert_eq!(asked, (1..=8).map(contact).collect::<Vec<_>>());
        assert!(lookup.is_over());
        let takers: Vec<_> = lookup.takers().into_iter().map(|(address, _)| address).collect();
        let expected: Vec<_> = [1, 3, 4, 5, 6, 7, 8, 90].into_iter().map(|n| contact(n).address).collect();
        assert_eq!(takers, expected);
    }

    #[test]
    fn only_so_many_are_asked_at_once() {
        let mut lookup = Lookup::new(TARGET, (1..=20).map(contact).collect());
        assert_eq!(std::iter::from_fn(|| lookup.next_to_ask()).count(), AT_ONCE);
        lookup.failed(contact(1).address);
        assert_eq!(lookup.next_to_ask(), Some(contact(5)));
    }

    /// Each answers that it knows somebody even nearer.
    #[test]
    fn a_liar_is_not_followed_for_ever() {
        let mut lookup = Lookup::new(TARGET, vec![contact(60_000)]);
        let (mut asked, mut next) = (0, 60_000);
        while let Some(contact_) = lookup.next_to_ask() {
            asked += 1;
            lookup.answered(contact_, None);
            for _ in 0..16 {
                next -= 1;
                lookup.hear_of(contact(next));
            }
        }
        assert_eq!(asked, MOST_ASKED);
        assert!(lookup.is_over() && lookup.candidates.len() <= MOST_KEPT);
    }

    #[test]
    fn one_machine_is_one_node() {
        let mut lookup = Lookup::new(TARGET, Vec::new());
        for n in 1..=9 {
            let address = SocketAddr::new(contact(1).address.ip(), n);
            lookup.hear_of(Contact { address, ..contact(n) });
        }
        assert_eq!(lookup.candidates.len(), 1);
        let asked = lookup.next_to_ask().unwrap();
        assert!(!lookup.answered(Contact { id: NodeId([7; 20]), ..asked }, Some(vec![1])), "another answers there");
        assert!(lookup.takers().is_empty());
    }

    #[test]
    fn members_are_passed_on_once_and_not_without_end() {
        let mut lookup = Lookup::new(TARGET, Vec::new());
        let members = |range: std::ops::Range<u16>| range.map(|n| contact(n).address).collect::<Vec<_>>();
        assert_eq!(lookup.fresh(members(0..30)).len(), 30);
        assert_eq!(lookup.fresh(members(20..40)).len(), 10);
        for lie in 1..99 {
            assert!(lookup.fresh(members(500 * lie..500 * lie + 500)).len() <= MOST_OF_ONE);
        }
        assert_eq!(lookup.members.len(), MOST_MEMBERS);
    }
}
