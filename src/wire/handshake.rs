//! The 68 bytes that open every conversation (BEP 3), one form for both directions.

/// Who somebody says they are: 20 bytes, ours start with `-OC` (BEP 20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);
