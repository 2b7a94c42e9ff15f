//! The network's edges that every program shares.

pub mod limiter;
