//! Machines that have everything, each counted once: whatever folder its members work in, and however often they are
//! started anew.
//!
//! A machine counts when a connection showed that a member on it has every part. Our own members name their machine; an
//! older member or another client counts by the address at the other end of the connection. One connection counts as one
//! machine at most, and a machine that was counted stays counted: nothing that another says takes it away.
//!
//! What conductors say of others is a claim: it costs its author one line of text, so that it is shown to people and
//! never counted. What it costs an attacker to be counted: a connection to this member for each machine, from an address
//! where this member can answer, that shows every part.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{
    copy_id::{CopyId, Holder},
    handshake::PeerId,
    machine_id::MachineId,
};

/// Machines, peer ids and copy ids that are remembered: somebody who invents ever new ones cannot fill the memory.
const MAX_SEEN: usize = 50_000;
/// Claims that are remembered.
const MAX_CLAIMS: usize = 10_000;
/// Addresses of one machine that are remembered.
const MAX_ADDRESSES: usize = 8;

/// A copy that a conductor says is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub id: PeerId,
    /// The name that its member goes by; not safe for a terminal.
    pub name: Option<String>,
    pub copy: Option<CopyId>,
}

/// A member of which a connection showed that it has everything.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub id: PeerId,
    /// The name that it goes by; not safe for a terminal.
    pub name: Option<String>,
    pub copy: Option<CopyId>,
    pub machine: Option<MachineId>,
    /// Addresses at the other end of its connections; never empty.
    pub addresses: Vec<IpAddr>,
}

/// Identity that one machine is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Machine(MachineId),
    /// Another client, or an older member: it does not name its machine.
    At(IpAddr),
}

/// A machine that has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The newest name of a member on it, or what that member runs. Not safe for a terminal.
    pub name: String,
    /// Addresses under which it was met; at most [`MAX_ADDRESSES`].
    pub addresses: Vec<IpAddr>,
}

impl Machine {
    fn add_addresses(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            if !self.addresses.contains(address) && self.addresses.len() < MAX_ADDRESSES {
                self.addresses.push(*address);
            }
        }
    }
}

/// This member itself, which is counted by whoever owns it.
#[derive(Debug)]
struct Own {
    id: PeerId,
    copy: Option<CopyId>,
    machine: Option<MachineId>,
    addresses: Vec<IpAddr>,
}

impl Own {
    /// Whether what was seen is on this machine.
    fn is_on(&self, seen: &Sighting) -> bool {
        let is_here = |ip: &IpAddr| ip.is_loopback() || self.addresses.contains(ip);
        match seen.machine {
            _ if seen.id == self.id => true,
            Some(_) => seen.machine == self.machine,
            None => seen.addresses.iter().any(is_here),
        }
    }
}

/// All machines with a whole copy but this one, and what is claimed of others.
#[derive(Debug)]
pub struct Copies {
    own: Own,
    seen: BTreeMap<Identity, Machine>,
    /// Members and copies that were seen: what is claimed of them is known already.
    seen_ids: BTreeSet<PeerId>,
    seen_copies: BTreeSet<CopyId>,
    /// Names by copy, or by peer id where no copy is named.
    claims: BTreeMap<Holder, String>,
}

impl Copies {
    /// None yet, of a member that is this one and holds this copy.
    pub fn new(id: PeerId, copy: Option<CopyId>) -> Self {
        Self {
            own: Own { id, copy, machine: None, addresses: Vec::new() },
            seen: BTreeMap::new(),
            seen_ids: BTreeSet::new(),
            seen_copies: BTreeSet::new(),
            claims: BTreeMap::new(),
        }
    }

    /// Says which machine this member runs on, and the machine's addresses. To be called before anything is seen.
    pub fn is_on(&mut self, machine: Option<MachineId>, addresses: Vec<IpAddr>) {
        (self.own.machine, self.own.addresses) = (machine, addresses);
    }

    /// Counts the machine of this member unless it was counted, and takes its newest name.
    pub fn see(&mut self, seen: Sighting) {
        self.settle_claims(&seen);
        if self.own.is_on(&seen) {
            return;
        }
        let Some(identity) = identity_of(&seen) else { return };
        let name = seen.name.unwrap_or_else(|| nameless(seen.id));
        if let Some(known) = self.seen.get_mut(&identity) {
            known.name = name;
            known.add_addresses(&seen.addresses);
        } else if self.seen.len() < MAX_SEEN {
            let mut machine = Machine { name, addresses: Vec::new() };
            machine.add_addresses(&seen.addresses);
            self.seen.insert(identity, machine);
        }
    }

    /// What was claimed of it is seen now.
    fn settle_claims(&mut self, seen: &Sighting) {
        self.claims.remove(&Holder::Peer(seen.id));
        if self.seen_ids.len() < MAX_SEEN {
            self.seen_ids.insert(seen.id);
        }
        if let Some(copy) = seen.copy {
            self.claims.remove(&Holder::Copy(copy));
            if self.seen_copies.len() < MAX_SEEN {
                self.seen_copies.insert(copy);
            }
        }
    }

    /// Remembers what a conductor says, unless that was seen.
    pub fn claim(&mut self, whole: Whole) {
        let Whole { id, name, copy } = whole;
        let is_known = |copy: CopyId| Some(copy) == self.own.copy || self.seen_copies.contains(&copy);
        if id == self.own.id || self.seen_ids.contains(&id) || copy.is_some_and(is_known) {
            return;
        }
        let holder = Holder::of(copy, id);
        if copy.is_some() {
            // An older conductor may have told of it by its peer id alone.
            self.claims.remove(&Holder::Peer(id));
        }
        if self.claims.len() < MAX_CLAIMS || self.claims.contains_key(&holder) {
            self.claims.insert(holder, name.unwrap_or_else(|| nameless(id)));
        }
    }

    /// Number of machines that were seen to have everything.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    pub fn seen(&self) -> impl Iterator<Item = &Machine> {
        self.seen.values()
    }

    /// Names of the copies that are claimed and were not seen. Not safe for a terminal.
    pub fn claimed(&self) -> impl Iterator<Item = &str> {
        self.claims.values().map(String::as_str)
    }
}

fn identity_of(seen: &Sighting) -> Option<Identity> {
    let by_address = || seen.addresses.first().map(|ip| Identity::At(*ip));
    seen.machine.map(Identity::Machine).or_else(by_address)
}

/// A member without a name, by what its peer id says that it runs.
fn nameless(id: PeerId) -> String {
    format!("a member without a name ({})", String::from_utf8_lossy(&id.0[..8]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: CopyId = CopyId([9; 8]);
    const HERE: MachineId = MachineId([9; 8]);

    fn copies() -> Copies {
        let mut copies = Copies::new(PeerId([9; 20]), Some(OWN));
        copies.is_on(Some(HERE), vec![address(9)]);
        copies
    }

    fn address(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn name(name: &str) -> Option<String> {
        Some(name.to_owned()).filter(|name| !name.is_empty())
    }

    fn seen(id: u8, called: &str, copy: Option<u8>, machine: Option<u8>) -> Sighting {
        let (copy, machine) = (copy.map(|n| CopyId([n; 8])), machine.map(|n| MachineId([n; 8])));
        Sighting { id: PeerId([id; 20]), name: name(called), copy, machine, addresses: vec![address(id)] }
    }

    fn claimed(id: u8, called: &str, copy: Option<u8>) -> Whole {
        Whole { id: PeerId([id; 20]), name: name(called), copy: copy.map(|n| CopyId([n; 8])) }
    }

    fn names(copies: &Copies) -> Vec<&str> {
        copies.seen().map(|machine| machine.name.as_str()).collect()
    }

    fn claims(copies: &Copies) -> Vec<&str> {
        copies.claimed().collect()
    }

    #[test]
    fn a_machine_counts_once_whatever_folder_and_however_often() {
        let mut copies = copies();
        (1..5).for_each(|life| copies.see(seen(life, &format!("vm{life}"), Some(1), Some(1))));
        assert_eq!(names(&copies), ["vm4"], "under its newest name");
        copies.see(seen(5, "vm", Some(2), Some(1)));
        assert_eq!(names(&copies), ["vm"], "another folder of it");
        assert_eq!(copies.seen().next().unwrap().addresses, [1, 2, 3, 4, 5].map(address));
        copies.see(seen(6, "vm", Some(1), Some(2)));
        assert_eq!(copies.count(), 2);
    }

    #[test]
    fn what_a_conductor_says_never_counts() {
        let mut copies = copies();
        (1..20).for_each(|n| copies.claim(claimed(n, "invented", Some(n))));
        (1..20).for_each(|n| copies.claim(claimed(n + 100, "", None)));
        assert_eq!((copies.count(), claims(&copies).len()), (0, 37), "ours is not among them");
        copies.see(seen(1, "one", Some(1), Some(1)));
        copies.see(seen(101, "two", None, None));
        assert_eq!((copies.count(), claims(&copies).len()), (2, 35), "what was seen is claimed no more");
        copies.claim(claimed(1, "one", Some(1)));
        copies.claim(claimed(50, "one", Some(1)));
        copies.claim(claimed(101, "two", None));
        assert_eq!((copies.count(), claims(&copies).len()), (2, 35));
    }

    #[test]
    fn an_older_conductor_claims_nothing_twice() {
        let mut copies = copies();
        copies.claim(claimed(1, "vm", None));
        copies.claim(claimed(1, "vm", Some(1)));
        assert_eq!(claims(&copies), ["vm"]);
    }

    #[test]
    fn this_machine_is_no_other_in_any_life_or_folder() {
        let mut copies = copies();
        copies.see(seen(1, "we", Some(9), Some(9)));
        copies.see(seen(1, "we", Some(8), Some(9)));
        copies.see(seen(9, "we", Some(3), Some(3)));
        copies.see(Sighting { addresses: vec![[127, 0, 0, 1].into()], ..seen(2, "older", Some(4), None) });
        copies.see(Sighting { addresses: vec![address(9)], ..seen(3, "", None, None) });
        copies.claim(claimed(4, "we", Some(9)));
        copies.claim(claimed(9, "we", None));
        assert_eq!((copies.count(), claims(&copies).len()), (0, 0));
    }

    #[test]
    fn other_clients_and_older_members_count_by_their_address() {
        let mut copies = copies();
        copies.see(seen(b'q', "", None, None));
        copies.see(Sighting { addresses: vec![address(b'q')], ..seen(1, "", None, None) });
        copies.see(seen(2, "old", Some(2), None));
        assert_eq!(names(&copies), ["old", "a member without a name (\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1})"]);
    }

    #[test]
    fn a_stranger_cannot_take_a_machine_out_of_the_count() {
        let mut copies = copies();
        copies.see(seen(1, "one", Some(1), Some(1)));
        copies.see(seen(2, "other client", None, None));
        // It claims the peer ids of both, then the machine and the copy of one.
        copies.see(Sighting { addresses: vec![address(66)], ..seen(1, "bad", Some(7), Some(7)) });
        copies.see(Sighting { addresses: vec![address(66)], ..seen(2, "bad", Some(7), Some(7)) });
        copies.see(Sighting { addresses: vec![address(66)], ..seen(7, "bad", Some(1), Some(1)) });
        assert_eq!(copies.count(), 3);
        copies.see(seen(1, "one", Some(1), Some(1)));
        assert_eq!(names(&copies), ["one", "bad", "other client"], "its name is back with its next connection");
    }

    #[test]
    fn ever_new_ids_do_not_fill_the_memory() {
        let mut copies = copies();
        for n in 0..=MAX_SEEN as u32 {
            let (mut id, mut eight) = ([0; 20], [0; 8]);
            id[..4].copy_from_slice(&n.to_be_bytes());
            eight[..4].copy_from_slice(&n.to_be_bytes());
            let (id, copy) = (PeerId(id), Some(CopyId(eight)));
            copies.claim(Whole { id, name: None, copy });
            let machine = Some(MachineId(eight));
            let addresses = (0..9).map(address).collect();
            copies.see(Sighting { id: PeerId([1; 20]), name: None, copy: None, machine, addresses });
        }
        assert_eq!((copies.count(), claims(&copies).len()), (MAX_SEEN, MAX_CLAIMS));
        assert_eq!(copies.seen().next().unwrap().addresses.len(), MAX_ADDRESSES);
    }

    proptest! {
        #[test]
        fn as_many_count_as_machines_were_seen(lives in prop::collection::vec((0u8..4, 0u8..3, any::<bool>()), 0..40)) {
            let mut copies = copies();
            let mut there = BTreeSet::new();
            for (n, (machine, folder, is_seen)) in lives.into_iter().enumerate() {
                let (id, copy) = (100 + n as u8, Some(10 * machine + folder));
                if is_seen {
                    copies.see(seen(id, "vm", copy, Some(machine)));
                    there.insert(machine);
                } else {
                    copies.claim(claimed(id, "vm", copy));
                }
            }
            prop_assert_eq!(copies.count(), there.len());
        }
    }
}
