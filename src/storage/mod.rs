//! The disk: one composition, from its first byte to its final name.
//!
//! A file being fetched is `NAME.part`, with what is known of it in `NAME.part.state`; once its checksum is right it is
//! renamed to `NAME`. A file that is there already is only ever read.
//!
//! Invariants:
//! - A part is told as [`DiskEvent::Written`] only after its SHA-1 was right and the write returned. Whoever sends
//!   bytes to others asks for that first: [`Store::file`] and [`Store::read_at`] give what is there, proven or not.
//! - A part is in one pair of hands at most: one [`Assembly`] for it exists, or none.
//! - Nothing that was not proven is trusted after a restart: what a note says counts only while the file's [`Stamp`]
//!   is the same.
//!
//! Unverified bytes in memory are bounded ([`pool::LIMIT`]), whatever other members send; on the disk nothing grows
//! beyond the composition's size. A crash loses the parts in memory, and `NAME.part` is then checked part by part.
//!
//! It is not: the choice of parts, or of whom to believe. Folders as compositions do not exist here yet.

mod assembly;
mod check;
pub mod disk;
mod event;
mod finish;
mod infos;
pub mod note;
mod open;
mod os;
mod partial;
pub mod pool;
pub mod proof;
mod stamp;
pub mod state;
mod store;
#[cfg(test)]
mod tests;
mod whole;
mod writer;

pub use assembly::Assembly;
pub use check::Check;
pub use event::{DiskEvent, StorageError};
pub use infos::Infos;
pub use open::{Contents, Existing, Found, Notes, Opened, open, open_on};
pub use proof::{Proofs, state_folder};
pub use stamp::Stamp;
pub use store::{Store, Verdict, Verified};
