//! Search without a server: members keep links to a few others, their neighbours, and a question travels over these.
//!
//! Neighbours need not share a composition. Their link is a peer connection that names [`NEIGHBOURS`] in place of a
//! composition's info-hash, with one message of our own ([`crate::wire::extension::search`]). [`relay`] answers questions,
//! passes them on, and sends answers back the way the question came; [`circle`] says whom to keep links with. Both are
//! pure; `member::neighbours` carries out what they want.
//!
//! It is not the swarm: nothing here moves a byte of a composition, and what is found is believed only by who fetches it,
//! since a composition is checked against its info-hash.

pub mod circle;
pub mod relay;

use crate::metainfo::InfoHash;

/// What a link among neighbours names in place of a composition's info-hash: SHA-1("orchestra-neighbours-1").
pub const NEIGHBOURS: InfoHash = InfoHash([
    0x69, 0x92, 0x3b, 0xd6, 0xc5, 0xc8, 0xc7, 0x11, 0x69, 0x90, 0x4f, 0x11, 0xc7, 0x89, 0x44, 0x6c, 0xd8, 0xab, 0x42,
    0xd1,
]);

/// The words of a text that is looked for, ready to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    pub fn of(text: &str) -> Self {
        Self(text.to_lowercase().split_whitespace().map(str::to_owned).collect())
    }

    /// Whether all of them are in this name, in whatever case; no words are in none.
    pub fn are_in(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        !self.0.is_empty() && self.0.iter().all(|word| name.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_an_info_hash_of_their_own() {
        assert_eq!(NEIGHBOURS, InfoHash::of(b"orchestra-neighbours-1"));
    }

    #[test]
    fn all_words_have_to_be_there() {
        let name = "Ubuntu 24.04 Desktop ÄÖ.iso";
        for (text, found) in
            [("ubuntu", true), ("desk 24", true), (" äö ", true), ("ubuntu server", false), ("", false), (" ", false)]
        {
            assert_eq!(Words::of(text).are_in(name), found, "{text:?}");
        }
    }
}
