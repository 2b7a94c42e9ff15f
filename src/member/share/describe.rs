//! From a file or a folder on the disk to the composition that it is: remembered, described by a manifest beside it, or
//! hashed.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::memory::{Memory, MemoryError};
use crate::{
    composer::{self, ComposeError, Description, Rules},
    manifest::Manifest,
    member::load::{self, Composition, LoadError, Named},
    storage::{Proofs, Stamp},
};

/// Why a file is not shared.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A file or a folder, and what it is.
#[derive(Debug)]
pub struct Described {
    pub path: PathBuf,
    /// Of what this is true of.
    pub stamp: Stamp,
    pub composition: Composition,
    /// For people: a manifest beside it describes other data, something in it is left out.
    pub warnings: Vec<String>,
}

/// How it is found out what something is.
#[derive(Clone, Debug)]
pub struct How {
    /// What is remembered counts.
    pub believed: bool,
    pub rules: Rules,
}

/// What the file or folder at `path`, which has this stamp, is. Blocks.
///
/// `on_progress` is told how many of its bytes are hashed, and ends it by breaking off.
///
/// # Errors
/// It cannot be read, or changed meanwhile.
pub fn describe(
    path: &Path,
    stamp: &Stamp,
    memory: &Memory,
    how: &How,
    on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Described, DescribeError> {
    let believed = how.believed;
    let beside = beside(path).filter(|beside| beside.manifest.geometry.size() == stamp.size);
    let described = |composition, stamp, warnings| Described { path: path.to_owned(), stamp, composition, warnings };
    if believed && let Some(mut known) = logged(memory.recall(path, stamp)).flatten() {
        match &beside {
            None => return Ok(described(known, *stamp, Vec::new())),
            Some(beside) if beside.info_hash == known.info_hash && has_same_whole(beside, &known.manifest) => {
                known.trackers = beside.trackers.clone();
                known.mirrors = beside.mirrors.clone();
                return Ok(described(known, *stamp, Vec::new()));
            }
            Some(_) => {}
        }
    }
    let (composition, stamp, warnings) = match beside {
        Some(beside) if believed && is_proven(path, stamp, &beside) => (beside, *stamp, Vec::new()),
        beside => {
            let hashed = hash(path, beside, &how.rules, on_progress)?;
            log::info!("{}: hashed", path.display());
            hashed
        }
    };
    logged(memory.remember(path, &stamp, &composition));
    Ok(described(composition, stamp, warnings))
}

fn hash(
    path: &Path,
    beside: Option<Composition>,
    rules: &Rules,
    on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(Composition, Stamp, Vec<String>), DescribeError> {
    let geometry = beside.as_ref().map(|beside| beside.manifest.geometry);
    let Description { manifest, stamp, left_out: mut warnings } =
        composer::describe(path, geometry, rules, on_progress)?;
    if let Some(beside) = beside {
        if is_same(&beside, &manifest) {
            return Ok((beside, stamp, warnings));
        }
        warnings.push("it is not what the manifest beside it says: shared as what it is now".to_owned());
    }
    Ok((Composition::of_manifest(manifest, path.to_owned())?, stamp, warnings))
}

/// Whether what a manifest beside it says is what is there.
fn is_same(beside: &Composition, there: &Manifest) -> bool {
    let said = &beside.manifest;
    let files = beside.files.iter().map(|file| (file.size, file.path.clone()));
    let same_files = files.eq(there.files().map(|file| (file.size, file.path)));
    said.geometry == there.geometry && said.parts == there.parts && same_files && has_same_whole(beside, there)
}

fn has_same_whole(beside: &Composition, there: &Manifest) -> bool {
    beside.manifest.whole.is_none() || beside.manifest.whole == there.whole
}

/// Whether a note says that the file of this stamp is this composition: composer leaves one.
fn is_proven(path: &Path, stamp: &Stamp, composition: &Composition) -> bool {
    Proofs::of_this_user()
        .is_some_and(|proofs| proofs.holds(path, stamp, composition.info_hash, composition.manifest.whole))
}

/// What a manifest or a `.torrent` beside this file or folder says of one of its name, if one does.
fn beside(path: &Path) -> Option<Composition> {
    let name = path.file_name()?.to_str()?;
    let appended = |ending: &str| path.with_file_name(format!("{name}.{ending}"));
    let is_folder = path.is_dir();
    // A folder's name has no ending that composer would replace.
    let replaced = |ending: &str| if is_folder { appended(ending) } else { path.with_extension(ending) };
    let places = ["orch", "torrent"].map(|ending| [appended(ending), replaced(ending)]);
    let found = places.into_iter().flatten().filter(|place| place != path && place.is_file());
    found
        .filter_map(|place| read(&place))
        .find(|is| is.files.is_empty() != is_folder && is.manifest.name.as_str() == name)
}

fn read(place: &Path) -> Option<Composition> {
    match load::load(place.as_os_str().to_owned()) {
        Ok(Named::Composition(composition)) => Some(composition),
        Ok(Named::Magnet(_)) => None,
        Err(error) => {
            log::warn!("{error}");
            None
        }
    }
}

/// A member works without its memory: what fails there is only logged.
fn logged<T>(result: Result<T, MemoryError>) -> Option<T> {
    result.map_err(|error| log::warn!("what was hashed is not remembered: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hashing::Digest,
        member::share::look::{Glass, Look},
    };

    struct Desk {
        folder: tempfile::TempDir,
        memory: Memory,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::in_folder(&folder.path().join("state")).unwrap();
            Self { folder, memory }
        }

        fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        /// What it is, and whether it was hashed.
        fn describe(&self, path: &Path, believed: bool) -> (Described, bool) {
            let stamp = Look::at(path, &Glass::default()).unwrap().stamp;
            let mut hashed = false;
            let described =
                describe(path, &stamp, &self.memory, &How { believed, rules: Rules::default() }, &mut |_| {
                    hashed = true;
                    ControlFlow::Continue(())
                });
            (described.unwrap(), hashed)
        }
    }

    #[test]
    fn what_is_remembered_is_not_hashed_again() {
        let desk = Desk::new();
        let path = desk.write("x.iso", "data");
        let (first, hashed) = desk.describe(&path, true);
        assert!(hashed && first.composition.manifest.name.as_str() == "x.iso");
        let (second, hashed) = desk.describe(&path, true);
        assert!(!hashed && second.composition.info_hash == first.composition.info_hash);
        assert!(desk.describe(&path, false).1, "unless that is asked for");
        desk.write("x.iso", "date");
        let (third, hashed) = desk.describe(&path, true);
        assert!(hashed && third.composition.info_hash != first.composition.info_hash);
    }

    #[test]
    fn a_manifest_beside_it_is_used_if_it_is_true() {
        let desk = Desk::new();
        let path = desk.write("x.iso", "data");
        let (plain, _) = desk.describe(&path, true);
        let mut manifest = plain.composition.manifest;
        manifest.conductor = "head:7".parse().unwrap();
        desk.write("x.orch", manifest.render());
        let (with, hashed) = desk.describe(&path, true);
        assert_eq!((with.composition.trackers.asked.len(), hashed), (1, false));
        manifest.whole = Some(Digest([5; 20]));
        desk.write("x.orch", manifest.render());
        let (wrong, hashed) = desk.describe(&path, true);
        assert!(hashed && wrong.warnings.len() == 1 && wrong.composition.trackers.asked.is_empty());
        desk.write("x.iso", "date");
        let (other, _) = desk.describe(&path, true);
        assert!(other.warnings.len() == 1 && other.composition.trackers.asked.is_empty());
        desk.write("y.iso", "data");
        desk.write("y.orch", manifest.render());
        assert!(desk.describe(&desk.folder.path().join("y.iso"), true).0.composition.trackers.asked.is_empty());
    }

    #[test]
    fn a_folder_is_one_composition_remembered_until_something_in_it_changes() {
        let desk = Desk::new();
        let folder = desk.folder.path().join("photos 1.2");
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        desk.write("photos 1.2/deep/a", "data");
        desk.write("photos 1.2/b", "more");
        let (first, hashed) = desk.describe(&folder, true);
        assert!(hashed && first.composition.files.len() == 2);
        assert!(!desk.describe(&folder, true).1);
        let mut manifest = first.composition.manifest;
        manifest.conductor = "head:7".parse().unwrap();
        desk.write("photos 1.2.orch", manifest.render());
        let (with, hashed) = desk.describe(&folder, true);
        assert_eq!((with.composition.trackers.asked.len(), hashed), (1, false));
        std::fs::rename(folder.join("deep"), folder.join("a")).unwrap();
        let (renamed, hashed) = desk.describe(&folder, true);
        assert!(hashed && renamed.composition.info_hash != with.composition.info_hash);
        assert_eq!((renamed.warnings.len(), renamed.composition.trackers.asked.len()), (1, 0));
    }
}
