//! The secret that places what strangers send in tables, so that nobody can choose what collides.

use core::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// Two numbers that nobody outside knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64, pub u64);

impl Seed {
    /// A number that only who knows the seed can foresee.
    pub fn place(self, what: &impl Hash) -> u64 {
        self.hash_one(what)
    }
}

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
