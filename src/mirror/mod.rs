//! The same bytes from an HTTP server (BEP 19): a *mirror* helps where members are few or slow.
//!
//! [`address`] says where on a mirror each file of a composition is, [`layout`] which file holds which byte, [`answer`] what
//! an answer is worth, [`pace`] whether it comes fast enough; these are pure. [`client`] makes the requests, [`stream`] joins
//! their bodies to the bytes of the composition, and [`errand`] puts some parts together from these. When a mirror is asked,
//! and for what, is the swarm's decision: it gives an [`Order`] and hears [`Event`]s.
//!
//! Invariant: bytes of a mirror go the way of a member's: into the same assembly, through the same SHA-1. A part that
//! [`Event::Released`] sets free is put away before the swarm hears of it; one told as [`Event::Right`] is with the writer.
//!
//! A manifest comes from a stranger, and so does what a mirror answers. What that costs: a request is a plain `GET`; no
//! redirect leads to a private address unless the mirror is at one itself, and no request with a query goes to one; a
//! mirror that is silent for half a minute, sends wrong parts or another length is left alone.

pub mod address;
pub mod answer;
pub mod client;
pub mod errand;
pub mod layout;
pub mod pace;
pub mod stream;

use crate::geometry::PartIndex;

/// What a mirror is to do, as the swarm says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Get so many parts, this one and those that follow it; answered with [`Event::Over`] in the end.
    Fetch { first: PartIndex, count: u32 },
    /// The request that was to get this part ends before it: this part and those behind it are released.
    Cut(PartIndex),
}

/// What the swarm hears of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Payload bytes that came since the last such event.
    Received(u32),
    /// A whole part came and was checked: its bytes are right.
    Right(PartIndex),
    /// A whole part came and is wrong. `alone`: every byte of it came from this mirror.
    Wrong { part: PartIndex, alone: bool },
    /// This part is free again; what came of it is kept for the one who fetches it next.
    Released(PartIndex),
    /// The request that began with this part is over; every part of it was told of before.
    Over { first: PartIndex, failure: Option<Failure> },
}

/// Why a mirror gave less than it was asked for, to be read after its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may do better later.
    #[error("{0}")]
    Later(String),
    /// It has not what is wanted, and asking again is no use.
    #[error("{0}")]
    Never(String),
}
