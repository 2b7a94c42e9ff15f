//! How a member finds the others.
//!
//! Every source is a task that sends what it learns into one bounded channel, and ends when its token is cancelled. It
//! knows addresses, not members: whom to dial is up to the swarm. One module a source: [`conductor`], [`live`], [`lan`],
//! [`dht`]; what was found lasts beyond the process in [`remembered`]. Who can be asked what is shared is another question,
//! for [`dns_sd`].

pub mod conductor;
pub mod dht;
pub mod dns_sd;
pub mod lan;
pub mod live;
mod pace;
pub mod remembered;
pub mod resolve;
mod told;

use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{announce::live::Copy, manifest::Endpoint};

/// What a source learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovered {
    /// Where members listen; any of them may have been told before.
    Found(Vec<SocketAddr>),
    /// Where strangers say that members listen, whom nobody vouches for.
    Hearsay(Vec<SocketAddr>),
    /// No node of the DHT has answered for a while; it goes on trying. Told once until one does.
    NoNodes,
    /// Where members listened that are gone.
    Left(Vec<SocketAddr>),
    /// These members have all of it.
    Whole(Vec<Copy>),
    /// Whether the conductor could connect to us at this address.
    Reachable { conductor: Endpoint, address: SocketAddr, open: bool },
    /// The conductor answers, for the first time or again.
    Reached { conductor: Endpoint },
    /// The conductor does not answer; it is tried again. Told once until it is reached.
    Unreachable { conductor: Endpoint, why: String },
    /// The conductor answers, and does not take us; it is tried again. Told once until that changes.
    Refused { conductor: Endpoint, why: String },
}

/// Who wants to hear of the members of a composition, from a source that serves many at once.
#[derive(Debug)]
struct Listener {
    found: mpsc::Sender<Discovered>,
    until: CancellationToken,
}

impl Listener {
    fn is_gone(&self) -> bool {
        self.found.is_closed() || self.until.is_cancelled()
    }
}
