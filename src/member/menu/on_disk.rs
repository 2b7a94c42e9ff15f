//! What of a list is on the disk already. Blocks; a look at each name, and nothing is read of any file.

use std::{fs, path::Path};

use super::list::Here;
use crate::{
    catalogue::Composition,
    manifest::Name,
    metainfo::InfoHash,
    storage::{Proofs, Stamp},
};

/// What is under these names in this folder, as far as it is remembered that it was verified. Folders are not looked into.
pub fn found(there: &[Composition], folder: &Path) -> Vec<(InfoHash, Here)> {
    let proofs = Proofs::of_this_user();
    let look = |one: &Composition| {
        // What a conductor lists is no name before it is checked.
        let name = Name::new(&one.name).ok()?;
        let path = folder.join(name.as_str());
        let stamp =
            fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file).map(|meta| Stamp::from_metadata(&meta));
        let is_whole =
            |stamp: &Stamp| proofs.as_ref().is_some_and(|proofs| proofs.holds(&path, stamp, one.info_hash, None));
        if stamp.as_ref().is_some_and(is_whole) {
            return Some((one.info_hash, Here::OnDisk { whole: true }));
        }
        let part = folder.join(format!("{}.part", name.as_str()));
        fs::symlink_metadata(part).ok().map(|_| (one.info_hash, Here::OnDisk { whole: false }))
    };
    there.iter().filter_map(look).collect()
}
