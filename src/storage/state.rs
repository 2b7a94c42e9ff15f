//! `NAME.part.state`: which parts of `NAME.part` are right. It counts only while the file's [`Stamp`] is the one in it, and
//! both are this user's alone ([`super::own`]);
//! otherwise it still tells whose file it is.

use std::path::Path;

use super::{Stamp, StorageError, note};
use crate::{geometry::Geometry, metainfo::InfoHash, wire::bitfield::Bitfield};

const HEAD: &str = "orchestra part state 1";

/// What a note says about a `NAME.part`.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// The composition that was being fetched.
    pub info_hash: InfoHash,
    pub stamp: Stamp,
    /// As in a bitfield message.
    pub parts: Vec<u8>,
}

impl State {
    pub fn new(info_hash: InfoHash, stamp: Stamp, parts: &Bitfield) -> Self {
        Self { info_hash, stamp, parts: parts.to_bytes() }
    }

    /// Writes it under this name. The caller has synced the data.
    pub fn write(&self, path: &Path) -> Result<(), StorageError> {
        note::write(path, &self.render())
    }

    /// What the note of this name says, if there is one and it is as it was written.
    pub fn read(path: &Path) -> Option<Self> {
        Self::parse(&note::read(path)?)
    }

    /// Which composition was being fetched, as the note says that lies there, whoever wrote it.
    pub fn whose(path: &Path) -> Option<InfoHash> {
        Self::parse(&note::read_anybodys(path)?).map(|state| state.info_hash)
    }

    /// The parts that this note proves for a file with this stamp.
    pub fn proves(&self, info_hash: InfoHash, stamp: &Stamp, geometry: &Geometry) -> Option<Bitfield> {
        (self.info_hash == info_hash && self.stamp == *stamp)
            .then(|| Bitfield::from_bytes(&self.parts, geometry))
            .flatten()
    }

    /// The body of the note ([`note::seal`]).
    pub fn render(&self) -> String {
        format!(
            "{HEAD}\ninfo-hash {}\nstamp {}\nparts {}\n",
            hex::encode(self.info_hash.0),
            self.stamp,
            hex::encode(&self.parts)
        )
    }

    /// From the body of a note; None if it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut info_hash = InfoHash([0; 20]);
        hex::decode_to_slice(lines.next()?.strip_prefix("info-hash ")?, &mut info_hash.0).ok()?;
        let stamp = lines.next()?.strip_prefix("stamp ")?.parse().ok()?;
        let parts = hex::decode(lines.next()?.strip_prefix("parts ")?).ok()?;
        lines.next().is_none().then_some(Self { info_hash, stamp, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_state() -> impl Strategy<Value = State> {
        (any::<[u8; 20]>(), any::<[u64; 3]>(), any::<[i64; 2]>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(hash, [device, inode, size], [modified, changed], parts)| State {
                info_hash: InfoHash(hash),
                stamp: Stamp { device, inode, size, modified: modified.into(), changed: changed.into() },
                parts,
            },
        )
    }

    proptest! {
        #[test]
        fn a_state_is_read_back_as_written(state in any_state()) {
            prop_assert_eq!(State::parse(&state.render()), Some(state));
        }

        #[test]
        fn a_spoilt_state_never_panics(state in any_state(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let text = state.render();
            let at = at.index(text.len());
            let _ = State::parse(&text[..at]);
            let mut bytes = text.into_bytes();
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                let _ = State::parse(&text);
            }
        }
    }
}
