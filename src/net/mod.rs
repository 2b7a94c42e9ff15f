//! What the programs need of the machine's network, and no more: listening sockets, addresses, and when to stop.
//!
//! What differs between systems (dual-stack sockets, address reuse, signals) stays in here.

pub mod front;
pub mod limiter;
pub mod listen;
pub mod network;
pub mod own_address;
pub mod progress;
pub mod range;
pub mod service;
pub mod shutdown;
pub mod tls;
pub mod utp;
pub mod via;
