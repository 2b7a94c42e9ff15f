//! The disk: one composition, from its first byte to its final name.
//!
//! A file being fetched is `NAME.part`, with what is known of it in `NAME.part.state`; once its checksum is right it is
//! renamed to `NAME`. A file that is there already is only ever read. Of a folder the same is true: [`folder`].
//!
//! Invariants:
//! - A part is told as [`DiskEvent::Written`] only after its SHA-1 was right and the write returned. Whoever sends
//!   bytes to others asks for that first: [`Store::slice`] and [`Store::read_at`] give what is there, proven or not.
//! - A part is in one pair of hands at most: one [`Assembly`] for it exists, or none.
//! - Nothing that was not proven is trusted after a restart: what a note says counts only while the file's [`Stamp`]
//!   is the same.
//!
//! Unverified bytes in memory are bounded ([`pool::LIMIT`]), whatever other members send; on the disk nothing grows
//! beyond the composition's size. A crash loses the parts in memory, and `NAME.part` is then checked part by part.
//!
//! It is not: the choice of parts, or of whom to believe.

mod assembly;
mod check;
pub mod disk;
mod event;
mod file_names;
mod files;
mod finish;
mod folder;
mod infos;
pub mod note;
mod open;
mod os;
pub mod own;
mod partial;
pub mod pool;
pub mod proof;
mod selection;
mod stamp;
pub mod state;
mod store;
#[cfg(test)]
mod tests;
mod whole;
mod writer;
mod writers;
mod zeros;

pub use assembly::Assembly;
pub use check::Check;
pub use event::{DiskEvent, StorageError};
pub use files::Slice;
pub use folder::{Root, There, Tree};
pub use infos::Infos;
pub use open::{Contents, Existing, Found, Notes, Opened, Wishes, open, open_on};
pub use proof::{Proofs, state_folder};
pub use selection::Selection;
pub use stamp::Stamp;
pub use store::{Store, Verdict, Verified};
pub use writers::Writers;
