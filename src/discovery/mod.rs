//! How a member finds the others.
//!
//! Every source is a task that sends what it learns into one bounded channel, and ends when its token is cancelled. It
//! knows addresses, not members: whom to dial is up to the swarm. One module a source: [`conductor`], [`lan`];
//! what was found lasts beyond the process in [`remembered`].

pub mod conductor;
pub mod lan;
pub mod remembered;

use std::net::SocketAddr;

use crate::manifest::Endpoint;

/// What a source learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovered {
    /// Where members listen; any of them may have been told before.
    Found(Vec<SocketAddr>),
    /// The conductor answers, for the first time or again.
    Reached { conductor: Endpoint },
    /// The conductor does not answer; it is tried again. Told once until it is reached.
    Unreachable { conductor: Endpoint, why: String },
    /// The conductor answers, and does not take us; it is tried again. Told once until that changes.
    Refused { conductor: Endpoint, why: String },
}
