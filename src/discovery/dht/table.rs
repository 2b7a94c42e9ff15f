//! The nodes that a node knows (BEP 5): many that are near to it, few that are far.
//!
//! Those with equally many bits in common with us share a bucket of [`BUCKET`]. Only who answered us gets in; who has
//! failed to answer [`FAILURES`] times in a row goes, at once where another wants the place.
//!
//! What it costs an attacker: one place an address, so that a bucket takes as many machines as it has places; those that
//! answer longest stay.

use core::net::{IpAddr, SocketAddr};

use super::krpc::{Contact, NodeId};
use crate::time::Time;

/// Nodes with equally many bits in common with us, and how many of the nearest are told and asked.
pub const BUCKET: usize = 8;
/// So often nothing may come in a row.
const FAILURES: u8 = 2;

#[derive(Clone, Copy, Debug)]
struct Known {
    contact: Contact,
    heard: Time,
    failures: u8,
}

#[derive(Debug)]
pub struct Table {
    id: NodeId,
    known: Vec<Known>,
}

impl Table {
    /// Of this node, which knows nobody yet.
    pub fn new(id: NodeId) -> Self {
        Self { id, known: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// It answered.
    pub fn heard(&mut self, contact: Contact, now: Time) {
        if let Some(known) = self.known.iter_mut().find(|known| known.contact == contact) {
            (known.heard, known.failures) = (now, 0);
            return;
        }
        // At this address there is another node now.
        self.known.retain(|known| known.contact.address != contact.address);
        if !self.has_room(&contact) {
            return;
        }
        let bucket = self.bucket(&contact);
        let full = self.known.iter().filter(|known| self.bucket(&known.contact) == bucket).count() >= BUCKET;
        if full {
            let fails = |known: &Known| known.failures > 0 && self.bucket(&known.contact) == bucket;
            if let Some(at) = self.known.iter().position(fails) {
                self.known.remove(at);
            }
        }
        self.known.push(Known { contact, heard: now, failures: 0 });
    }

    /// Whether it would get in if it answered.
    pub fn has_room(&self, contact: &Contact) -> bool {
        let crowd = |known: &Known| {
            let ip = contact.address.ip();
            known.contact.id == contact.id || (known.contact.address.ip() == ip && !shares(ip))
        };
        let bucket = self.bucket(contact);
        let sound = self.known.iter().filter(|known| known.failures == 0 && self.bucket(&known.contact) == bucket);
        contact.id != self.id && !self.known.iter().any(crowd) && sound.count() < BUCKET
    }

    /// Who is there did not answer.
    pub fn failed(&mut self, address: SocketAddr) {
        self.known.retain_mut(|known| {
            known.failures += u8::from(known.contact.address == address);
            known.failures < FAILURES
        });
    }

    /// The nearest to this that we know.
    pub fn nearest(&self, target: &NodeId, count: usize) -> Vec<Contact> {
        let mut all: Vec<Contact> = self.known.iter().map(|known| known.contact).collect();
        all.sort_by_key(|contact| contact.id.distance(target));
        all.truncate(count);
        all
    }

    /// Who was not heard for the longest time, and when it was last.
    pub fn longest_silent(&self) -> Option<(Contact, Time)> {
        self.known.iter().min_by_key(|known| known.heard).map(|known| (known.contact, known.heard))
    }

    fn bucket(&self, contact: &Contact) -> usize {
        self.id.common_bits(&contact.id)
    }
}

/// On one's own machine every node has the same address.
fn shares(ip: IpAddr) -> bool {
    ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(first: u8, n: u8) -> Contact {
        let mut id = [n; 20];
        id[0] = first;
        Contact { id: NodeId(id), address: SocketAddr::from(([first, n, 0, 1], 6881)) }
    }

    #[test]
    fn few_are_known_far_away_and_more_nearby() {
        let mut table = Table::new(NodeId([0; 20]));
        for n in 1..=100 {
            table.heard(contact(0x80, n), Time::ZERO);
            table.heard(contact(0x40, n), Time::ZERO);
        }
        assert_eq!(table.known.len(), 2 * BUCKET);
        table.heard(contact(0, 1), Time::ZERO);
        assert_eq!(table.nearest(&NodeId([0; 20]), 1), [contact(0, 1)]);
        assert!(!table.has_room(&Contact { id: NodeId([0; 20]), ..contact(3, 3) }), "itself");
    }

    #[test]
    fn who_does_not_answer_makes_room() {
        let mut table = Table::new(NodeId([0; 20]));
        (1..=8).for_each(|n| table.heard(contact(0x80, n), Time::from_secs(n.into())));
        table.heard(contact(0x80, 9), Time::ZERO);
        assert!(!table.nearest(&NodeId([9; 20]), 99).contains(&contact(0x80, 9)));
        table.failed(contact(0x80, 3).address);
        assert_eq!(table.known.len(), 8, "once is no shame");
        table.heard(contact(0x80, 9), Time::ZERO);
        let known = table.nearest(&NodeId([9; 20]), 99);
        assert!(known.contains(&contact(0x80, 9)) && !known.contains(&contact(0x80, 3)));
        (0..2).for_each(|_| table.failed(contact(0x80, 9).address));
        assert_eq!(table.known.len(), 7);
        assert_eq!(table.longest_silent(), Some((contact(0x80, 1), Time::from_secs(1))));
    }

    #[test]
    fn one_machine_has_one_place() {
        let mut table = Table::new(NodeId([0; 20]));
        let at = |id, ip, port| Contact { id: NodeId([id; 20]), address: SocketAddr::from((ip, port)) };
        let (there, here) = ([9, 9, 9, 9], [127, 0, 0, 1]);
        table.heard(at(0x80, there, 1), Time::ZERO);
        table.heard(at(0x40, there, 2), Time::ZERO);
        assert_eq!(table.known.len(), 1);
        table.heard(at(0x41, there, 1), Time::ZERO);
        assert_eq!(table.nearest(&NodeId([0; 20]), 9), [at(0x41, there, 1)], "it has a new name");
        table.heard(at(0x20, here, 1), Time::ZERO);
        table.heard(at(0x21, here, 2), Time::ZERO);
        assert_eq!(table.known.len(), 3);
    }
}
