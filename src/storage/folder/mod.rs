//! A composition that is a folder, on the disk.
//!
//! While it is fetched its files lie in the folder `NAME.part`, with what is known of them in `NAME.part.state`; once it
//! is whole that folder gets the name `NAME`. Where only some files are wanted, these get their final names in `NAME` as
//! soon as they are whole, and the rest stays in `NAME.part` until somebody wants it; a file that has its final name is
//! only read from then on.
//!
//! Invariants: no byte is read or written outside these two folders, whatever the paths say and whatever links are there
//! already ([`root`]); few files are open at a time, whatever their number ([`handles`]).

pub(super) mod finish;
mod handles;
pub(super) mod open;
mod root;
mod tree;

pub use root::{Root, There};
pub use tree::Tree;
