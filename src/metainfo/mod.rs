//! A composition in BitTorrent's written forms.

/// SHA-1 of the raw bytes of an info dictionary (BEP 3): the name of a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);
