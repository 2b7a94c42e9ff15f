//! Which copy of a composition a member holds: one name for it over all of the member's lives.
//!
//! A peer id is new with every process, so that it cannot say how many copies there are: who is started anew in the same
//! folder would have made another. Pure: the machine's words and the folder are arguments.
//!
//! What it costs an attacker: anybody may name any id, as anybody may claim any peer id. Whoever names that of another
//! makes the two count as one, under the name that was said last; the other's own copy still counts, and its next hello
//! brings its name back. Nobody is refused or left because of an id. Under ever new ones somebody may count as many, as
//! under ever new peer ids.

use core::fmt;

use crate::{hashing::Hasher, metainfo::InfoHash, wire::handshake::PeerId};

/// What is hashed first, so that the same words hashed for something else give something else.
const LABEL: &[u8] = b"Orchestra: a copy";

/// One copy of a composition: the same after a restart, another for every other folder and machine.
///
/// Eight bytes of a SHA-1: nothing of what went in can be read from them. Among ten thousand copies two are the same by
/// chance in fewer than one of 10^11 swarms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyId(pub [u8; Self::LEN]);

impl CopyId {
    pub const LEN: usize = 8;

    /// The copy of this composition in this folder (its name there is the composition's) of the machine that these words
    /// tell from others.
    pub fn of(info_hash: InfoHash, machine: &[String], folder: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(LABEL);
        hasher.update(&info_hash.0);
        // Each with its length before it: no two lists of words are hashed as the same bytes.
        let mut add = |word: &[u8]| {
            hasher.update(&(word.len() as u64).to_be_bytes());
            hasher.update(word);
        };
        add(folder);
        machine.iter().for_each(|word| add(word.as_bytes()));
        Self::first_of(&hasher.finish().0)
    }

    fn first_of(digest: &[u8; 20]) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&digest[..Self::LEN]);
        Self(bytes)
    }

    /// From a message; None: it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From hex digits; None: it is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }
}

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one copy is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Copy(CopyId),
    /// A foreign client, or an older member: it does not name its copy.
    Peer(PeerId),
}

impl Holder {
    pub fn of(copy: Option<CopyId>, id: PeerId) -> Self {
        copy.map_or(Self::Peer(id), Self::Copy)
    }
}

/// Sixteen hex digits under a key of JSON that may be missing; what is none counts as missing.
pub mod hex_or_none {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    use super::CopyId;

    pub fn serialize<S: Serializer>(copy: &Option<CopyId>, to: S) -> Result<S::Ok, S::Error> {
        match copy {
            Some(copy) => to.collect_str(copy),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CopyId>, D::Error> {
        Ok(Value::deserialize(from)?.as_str().and_then(CopyId::from_hex))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_copy_is_the_same_as_long_as_composition_machine_and_folder_are() {
        let own = CopyId::of(HASH, &words(&["id", "vm", "02:00:00:00:00:01"]), b"/data");
        assert_eq!(own, CopyId::of(HASH, &words(&["id", "vm", "02:00:00:00:00:01"]), b"/data"));
        for other in [
            CopyId::of(InfoHash([2; 20]), &words(&["id", "vm", "02:00:00:00:00:01"]), b"/data"),
            CopyId::of(HASH, &words(&["id", "vm", "02:00:00:00:00:01"]), b"/data2"),
            CopyId::of(HASH, &words(&["id", "vm", "02:00:00:00:00:02"]), b"/data"),
            CopyId::of(HASH, &words(&["id", "v", "m02:00:00:00:00:01"]), b"/data"),
            CopyId::of(HASH, &words(&["id", "vm"]), b"/data"),
            CopyId::of(HASH, &[], b"/data"),
        ] {
            assert_ne!(own, other);
        }
    }

    #[test]
    fn what_is_hashed_stays_what_it_is() {
        // Members of two versions in one folder one after the other are one copy.
        assert_eq!(CopyId::of(HASH, &words(&["vm"]), b"/data").to_string(), "492e1d39214b9893");
    }

    #[test]
    fn only_eight_bytes_are_an_id() {
        assert_eq!(CopyId::from_bytes(&[7; 8]), Some(CopyId([7; 8])));
        assert_eq!((CopyId::from_bytes(&[7; 9]), CopyId::from_bytes(b"")), (None, None));
        assert_eq!(CopyId::from_hex("07070707070707ff"), Some(CopyId([7, 7, 7, 7, 7, 7, 7, 255])));
        for wrong in ["", "07", "070707070707070", "07070707070707fg", "0707070707070707ff", "é"] {
            assert_eq!(CopyId::from_hex(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 8]) {
            let copy = CopyId(bytes);
            prop_assert_eq!(CopyId::from_hex(&copy.to_string()), Some(copy));
        }

        #[test]
        fn other_text_is_none(text in "\\PC{0,40}") {
            let expected = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(CopyId::from_hex(&text).is_some(), expected);
        }
    }
}
