//! Which machine a member runs on: one name for it in each swarm, whatever folder the member works in.
//!
//! Copies are counted by machine, so that several folders of one machine count once. Pure: the words that tell the machine
//! from others are arguments.
//!
//! What it costs an attacker: anybody may name any id. One connection counts as one machine at most, and two connections
//! with the same id as one, so that a false id never takes a copy out of the count, and adds one only to a stranger that
//! connects from outside and shows every part.

use core::fmt;

use crate::{hashing::Hasher, metainfo::InfoHash};

/// Hashed first, so that the same words hashed for something else give something else.
const LABEL: &[u8] = b"Orchestra: a machine";

/// One machine in one swarm. Eight bytes of a SHA-1 over the info-hash and the machine's words: the words cannot be read
/// from it, and the machine has another id in every other swarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub [u8; Self::LEN]);

impl MachineId {
    pub const LEN: usize = 8;

    /// The id of the machine that these words tell from others, in this composition's swarm.
    pub fn of(info_hash: InfoHash, machine: &[String]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(LABEL);
        hasher.update(&info_hash.0);
        for word in machine {
            // Each with its length before it: no two lists of words are hashed as the same bytes.
            hasher.update(&(word.len() as u64).to_be_bytes());
            hasher.update(word.as_bytes());
        }
        let digest = hasher.finish().0;
        Self(core::array::from_fn(|n| digest[n]))
    }

    /// Takes the bytes of a message; `None` where there are not eight.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn an_id_is_that_of_its_words_and_its_swarm() {
        let own = MachineId::of(HASH, &words(&["id", "vm"]));
        assert_eq!(own, MachineId::of(HASH, &words(&["id", "vm"])));
        assert_ne!(own, MachineId::of(HASH, &words(&["idv", "m"])));
        assert_ne!(own, MachineId::of(InfoHash([2; 20]), &words(&["id", "vm"])));
        assert_ne!(own, MachineId::of(HASH, &[]));
    }

    #[test]
    fn members_of_several_versions_on_one_machine_have_one_id() {
        assert_eq!(format!("{:?}", MachineId::of(HASH, &words(&["vm"]))), "c361bb4409d4cae8");
    }

    #[test]
    fn only_eight_bytes_are_an_id() {
        assert_eq!(MachineId::from_bytes(&[7; 8]), Some(MachineId([7; 8])));
        assert_eq!((MachineId::from_bytes(&[7; 9]), MachineId::from_bytes(b"")), (None, None));
    }
}
