//! Who has everything, each copy counted once: however often its member is started anew, and whoever tells of it.
//!
//! Members say themselves which copy they hold, and so does a conductor of theirs; a foreign client and an older conductor
//! do not say it, and then it is the peer id that counts. What is counted stays: nobody who says whose copy it holds takes
//! away what another said of its own. Only what a conductor told of a peer id, without naming a copy, gives way to what
//! that member says itself; it would be counted twice else. Who connects under the peer ids of older members can so make
//! them count as one, until they are met; there are fewer then, never more.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{
    copy_id::{CopyId, Holder},
    handshake::PeerId,
};

/// Copies and peer ids that are remembered: whoever names ever new ones cannot fill the memory.
const MOST: usize = 50_000;

/// A member that has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub id: PeerId,
    /// How people see it; not safe for a terminal.
    pub name: Option<String>,
    pub copy: Option<CopyId>,
}

/// Who says that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Itself,
    Conductor,
}

#[derive(Debug)]
struct Counted {
    /// Of its member's latest life.
    id: PeerId,
    name: Option<String>,
    source: Source,
}

/// All copies but our own.
#[derive(Debug)]
pub struct Copies {
    id: PeerId,
    own: Option<CopyId>,
    counted: BTreeMap<Holder, Counted>,
    /// Members that named their copy, ours in an earlier life among them.
    named: BTreeSet<PeerId>,
}

impl Copies {
    /// None yet, of a member that is this one and holds this copy.
    pub fn new(id: PeerId, own: Option<CopyId>) -> Self {
        Self { id, own, counted: BTreeMap::new(), named: BTreeSet::new() }
    }

    /// Counts it unless it was, and takes its newest name.
    pub fn count(&mut self, whole: Whole, source: Source) {
        let Whole { id, name, copy } = whole;
        let holder = Holder::of(copy, id);
        match holder {
            _ if id == self.id => return,
            Holder::Copy(_) => self.name_copy(id),
            Holder::Peer(_) if source == Source::Conductor && self.named.contains(&id) => return,
            Holder::Peer(_) => {}
        }
        if copy.is_some() && copy == self.own {
            return;
        }
        if let Some(known) = self.counted.get_mut(&holder) {
            known.id = id;
            known.name = name.or(known.name.take());
            if source == Source::Itself {
                known.source = source;
            }
        } else if self.counted.len() < MOST {
            self.counted.insert(holder, Counted { id, name, source });
        }
    }

    /// This member is counted by its copy, not by what an older conductor told.
    fn name_copy(&mut self, id: PeerId) {
        if self.named.len() < MOST {
            self.named.insert(id);
        }
        let by_id = Holder::Peer(id);
        if self.counted.get(&by_id).is_some_and(|told| told.source == Source::Conductor) {
            self.counted.remove(&by_id);
        }
    }

    pub fn len(&self) -> usize {
        self.counted.len()
    }

    /// The name of each holder, or what its id says that it runs. Not safe for a terminal.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.counted.values().map(|counted| match &counted.name {
            Some(name) => name.clone(),
            None => format!("a member without a name ({})", String::from_utf8_lossy(&counted.id.0[..8])),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: CopyId = CopyId([9; 8]);

    fn copies() -> Copies {
        Copies::new(PeerId([9; 20]), Some(OWN))
    }

    fn whole(id: u8, name: &str, copy: Option<u8>) -> Whole {
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Whole { id: PeerId([id; 20]), name, copy: copy.map(|n| CopyId([n; 8])) }
    }

    fn names(copies: &Copies) -> Vec<String> {
        copies.names().collect()
    }

    #[test]
    fn a_copy_is_counted_once_however_often_its_member_is_started_anew() {
        let mut copies = copies();
        for source in [Source::Itself, Source::Conductor] {
            (1..5).for_each(|life| copies.count(whole(life, &format!("vm{life}"), Some(1)), source));
        }
        assert_eq!(names(&copies), ["vm4"], "under its newest name");
        copies.count(whole(5, "vm", Some(2)), Source::Conductor);
        assert_eq!(copies.len(), 2);
    }

    #[test]
    fn our_own_copy_is_no_other_in_any_life() {
        let mut copies = copies();
        copies.count(whole(1, "we", Some(9)), Source::Conductor);
        copies.count(whole(1, "we", None), Source::Conductor);
        copies.count(whole(9, "we", None), Source::Conductor);
        copies.count(whole(9, "we", Some(3)), Source::Itself);
        assert_eq!(copies.len(), 0);
    }

    #[test]
    fn foreign_clients_and_older_members_count_by_their_peer_id() {
        let mut copies = copies();
        copies.count(whole(b'q', "", None), Source::Itself);
        copies.count(whole(b'q', "", None), Source::Itself);
        copies.count(whole(2, "old", None), Source::Conductor);
        copies.count(whole(2, "", None), Source::Itself);
        assert_eq!(names(&copies), ["old", "a member without a name (qqqqqqqq)"]);
    }

    #[test]
    fn an_older_conductor_does_not_make_a_member_count_twice() {
        for told_first in [true, false] {
            let mut copies = copies();
            let told = whole(1, "vm", None);
            if told_first {
                copies.count(told.clone(), Source::Conductor);
            }
            copies.count(whole(1, "vm", Some(1)), Source::Itself);
            copies.count(told, Source::Conductor);
            assert_eq!(names(&copies), ["vm"]);
        }
    }

    #[test]
    fn a_stranger_cannot_take_a_copy_out_of_the_count() {
        let mut copies = copies();
        copies.count(whole(1, "one", Some(1)), Source::Conductor);
        copies.count(whole(2, "foreign", None), Source::Itself);
        // It claims the peer ids of both, and a copy of its own; then the copy of one.
        copies.count(whole(1, "bad", Some(7)), Source::Itself);
        copies.count(whole(2, "bad", Some(7)), Source::Itself);
        copies.count(whole(7, "bad", Some(1)), Source::Itself);
        assert_eq!(copies.len(), 3);
        copies.count(whole(1, "one", Some(1)), Source::Conductor);
        assert_eq!(names(&copies), ["one", "bad", "foreign"], "its name is back with its next word");
    }

    #[test]
    fn ever_new_ids_do_not_fill_the_memory() {
        let mut copies = copies();
        for n in 0..=MOST as u32 {
            let (mut id, mut copy) = ([0; 20], [0; 8]);
            id[..4].copy_from_slice(&n.to_be_bytes());
            copy[..4].copy_from_slice(&n.to_be_bytes());
            copies.count(Whole { id: PeerId(id), name: None, copy: Some(CopyId(copy)) }, Source::Itself);
        }
        assert_eq!((copies.len(), copies.named.len()), (MOST, MOST));
    }

    proptest! {
        #[test]
        fn as_many_count_as_there_are_copies(lives in prop::collection::vec((0u8..4, any::<bool>()), 0..40)) {
            let mut copies = copies();
            let mut there = BTreeSet::new();
            for (n, (copy, itself)) in lives.into_iter().enumerate() {
                let source = if itself { Source::Itself } else { Source::Conductor };
                copies.count(whole(100 + n as u8, "vm", Some(copy)), source);
                there.insert(copy);
            }
            prop_assert_eq!(copies.len(), there.len());
        }
    }
}
