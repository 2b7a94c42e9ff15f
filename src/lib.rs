//! Orchestra puts one big file on many machines: fast, verified, with three small programs.
//!
//! ```text
//!  composer    file ──► hashing ──► manifest ──► .orch
//!
//!  member      .orch ──► manifest ──► geometry
//!                                         │
//!    discovery ──addresses──►┌────────────▼─────────┐
//!    (conductor, --peer)     │  swarm  (one owner)  │──snapshot──► ui
//!                            │  picker · choker     │
//!                            └──▲─────────────┬─────┘
//!                         events│             │commands
//!                            ┌──┴─────────────▼─────┐
//!         socket ◄── bytes ──┤ peer: driver│session │── parts ──► storage ──► hashing
//!                            └──────────────────────┘   (bytes never cross the owner)
//!
//!  conductor   http ──► announce ──► swarm table
//! ```
//!
//! Formats, decisions, the peer session and the swarm's state are pure: events and the time in, effects out.
//!
//! Words: a *composition* is the file; its *manifest* (`.orch`) says what it is; a *part* is what BitTorrent calls a
//! piece, and is cut into *blocks* of 16 KiB; a *member* shares a composition, a *seed* has all of it; the *conductor*
//! (a tracker) knows the members of each *swarm*.

// Formats and arithmetic
pub mod announce;
pub mod geometry;
pub mod hashing;
pub mod manifest;
pub mod metainfo;
pub mod time;
pub mod wire;

// Decisions
pub mod choker;
pub mod peer;
pub mod picker;
pub mod swarm;

// Edges
pub mod discovery;
pub mod net;
pub mod storage;

// The programs
pub mod cli;
pub mod composer;
pub mod conductor;
pub mod member;
pub mod ui;
