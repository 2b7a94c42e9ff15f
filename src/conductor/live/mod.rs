//! Live links: one WebSocket a member, over which it hears at once who joins and who leaves.
//!
//! The [`hub`] knows all links by swarm and spreads what changes, [`copies`] who has all of what; a [`link`](self::link) is the task behind one, with a
//! [`strand`] for each composition; [`reach`] dials each newcomer once. What a link says of its member goes into the one table by the same announce that comes over HTTP
//! and UDP: who has a link and who has none meet in one swarm.

mod copies;
pub mod hub;
pub mod link;
pub mod reach;
mod strand;

pub use hub::Hub;
pub use reach::Reach;
