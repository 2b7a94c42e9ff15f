//! Hostile input to the real programs: manifests, members, conductors. Each case says in one line of a table what was
//! sent and what that got (`cargo test --test hostile -- --nocapture`), and that an honest fetch went on beside it.

mod arena;
mod conductors;
mod floods;
mod foe;
mod manifests;
mod manners;
#[path = "../programs/netlab.rs"]
mod netlab;
mod peers;
mod poison;
#[path = "../programs/support.rs"]
mod support;
mod trust;

/// One line of the table.
fn row(kind: &str, input: &str, got: &str) {
    println!("| {kind:9} | {input:62} | {got}");
}
