//! What is done with hostile bytes, one function a decoder: it decodes them, and what is found must hold together.
//!
//! The same functions run under libFuzzer (`fuzz_targets/`) and as plain tests over the corpora (`tests/corpora.rs`).
//! A failure is a panic.

pub mod announce_answer;
pub mod announce_request;
pub mod bencode;
pub mod conversation;
pub mod dht;
pub mod dotenv;
pub mod exchange;
pub mod extensions;
pub mod handshake;
pub mod lan_packet;
pub mod magnet;
pub mod manifest;
pub mod messages;
pub mod search;
pub mod state_file;
pub mod torrent;

/// One decoder's name, which is that of its target and of its corpus, and what is done with the bytes.
pub type Body = (&'static str, fn(&[u8]));

pub const ALL: &[Body] = &[
    ("announce_answer", announce_answer::run),
    ("announce_request", announce_request::run),
    ("bencode", bencode::run),
    ("conversation", conversation::run),
    ("dht", dht::run),
    ("dotenv", dotenv::run),
    ("exchange", exchange::run),
    ("extensions", extensions::run),
    ("handshake", handshake::run),
    ("lan_packet", lan_packet::run),
    ("magnet", magnet::run),
    ("manifest", manifest::run),
    ("messages", messages::run),
    ("search", search::run),
    ("state_file", state_file::run),
    ("torrent", torrent::run),
];
