//! Orchestra puts one big file on many machines: fast, verified, with three small programs.
//!
//! ```text
//!  composer    file ──► hashing ──► manifest ──► .orch
//!
//!  member      .orch ──► manifest ──► geometry
//!                                         │
//!    discovery ──addresses──►┌────────────▼─────────┐
//!    (conductor, LAN, DHT...)│  swarm  (one owner)  │──snapshot──► ui
//!                            │  picker · choker     │
//!                            └──▲─────────────┬─────┘
//!                         events│             │commands
//!                            ┌──┴─────────────▼─────┐
//!         socket ◄── bytes ──┤ peer: driver│session │── parts ──► storage ──► hashing
//!                            └──────────────────────┘   (bytes never cross the owner)
//!
//!  conductor   http · udp · live ──► announce ──► swarm table ──► page, metrics
//! ```
//!
//! Formats, decisions, the peer session and the swarm's state are pure: events and the time in, effects out.
//!
//! In the order in which data flows:
//!
//! | module | what it is |
//! |---|---|
//! | [`geometry`] | size, parts, blocks: the only place that mints a part's index |
//! | [`hashing`] | SHA-1, of bytes and of a file on all cores |
//! | [`manifest`] | the `.orch` file |
//! | [`metainfo`] | the same as `.torrent`, magnet link and info-hash |
//! | [`wire`] | bytes to messages among members, and back |
//! | [`announce`] | bytes to messages with the conductor, and back |
//! | [`catalogue`] | the catalogue of compositions, between a conductor (or a member) and those who ask it |
//! | [`time`] | the time, as an argument |
//! | [`picker`] | which part from whom |
//! | [`choker`] | who is served next |
//! | [`peer`] | one conversation: its state machine, and the driver that owns its socket |
//! | [`mirror`] | the same bytes from an HTTP server |
//! | [`swarm`] | all conversations about one composition, as a state machine |
//! | [`storage`] | the disk: fetch, verify, resume, final name |
//! | [`net`] | listening sockets, addresses, limits, when to stop |
//! | [`discovery`] | how members find each other |
//! | [`search`] | questions among neighbours, with no server |
//! | [`composer`], [`conductor`], [`member`] | the three programs |
//! | [`cli`], [`ui`] | what people type, and what they see |
//!
//! Words: a *composition* is the file, or the folder; its *manifest* (`.orch`) says what it is; a *part* is what BitTorrent calls a
//! piece, and is cut into *blocks* of 16 KiB; a *member* shares a composition, a *seed* has all of it; the *conductor*
//! (a tracker) knows the members of each *swarm*.

pub mod announce;
pub mod catalogue;
pub mod choker;
pub mod cli;
pub mod composer;
pub mod conductor;
pub mod discovery;
pub mod geometry;
pub mod hashing;
pub mod manifest;
pub mod member;
pub mod metainfo;
pub mod mirror;
pub mod net;
pub mod peer;
pub mod picker;
pub mod search;
pub mod storage;
pub mod swarm;
pub mod time;
pub mod ui;
pub mod wire;
