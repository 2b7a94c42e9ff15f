//! What is on the disk at the start, and what to make of it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use tokio::sync::mpsc;

use super::{
    DiskEvent, Proofs, Stamp, StorageError, Store,
    check::Source,
    disk::Disk,
    finish::{Home, Names, Place},
    os,
    partial::{self, Partial},
    pool::Pool,
    store::{Parts, Shared},
    whole::{Follower, Task},
    writer,
};
use crate::{geometry::Geometry, hashing::Digest, metainfo::InfoHash, wire::bitfield::Bitfield};

/// What a composition should be.
#[derive(Clone)]
pub struct Contents {
    /// The file's name: one safe path component.
    pub name: String,
    pub geometry: Geometry,
    /// SHA-1 of each part.
    pub parts: Arc<[Digest]>,
    /// SHA-1 of the whole file, if it is known.
    pub whole: Option<Digest>,
    pub info_hash: InfoHash,
}

/// What to do about a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Share it; if it is not the composition, say so and leave it.
    Share,
    /// Take its good parts into `NAME.part`, fetch the rest, and put the result in its place.
    Repair,
}

/// What of the notes beside the composition and in the user's state folder is believed at the start. Either way new
/// ones are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notes {
    /// What they say of data that has not changed since.
    Believed,
    /// Nothing: what is on the disk is hashed.
    Ignored,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// `NAME`, remembered as whole and verified. Nothing is left to do but to share it.
    Whole,
    /// `NAME`, of the right size. [`Store::check`] tells whether it is the composition; no part may be fetched.
    Unproven,
    /// Some of it is on the disk and not proven: [`Store::check`] first, the rest may be fetched after
    /// [`DiskEvent::Checked`].
    Unchecked,
    /// What is on the disk is known; the rest may be fetched.
    Ready,
}

pub struct Opened {
    pub store: Store,
    pub found: Found,
    /// The parts known to be on the disk and right.
    pub have: Bitfield,
    pub events: mpsc::UnboundedReceiver<DiskEvent>,
}

/// Opens the composition in this folder, or makes room for it.
///
/// Blocks: it reads and makes files. The folder is made when missing.
pub fn open(
    contents: Contents,
    folder: &Path,
    existing: Existing,
    notes: Notes,
    proofs: Option<Proofs>,
) -> Result<Opened, StorageError> {
    open_on(contents, folder, existing, notes, proofs, |file| file)
}

/// As [`open`], with this disk in place of the file: for tests with a disk that fails.
pub fn open_on(
    contents: Contents,
    folder: &Path,
    existing: Existing,
    notes: Notes,
    proofs: Option<Proofs>,
    disk: impl FnOnce(Arc<File>) -> Arc<dyn Disk>,
) -> Result<Opened, StorageError> {
    debug_assert_eq!(contents.parts.len(), contents.geometry.parts() as usize);
    let names = Names::new(folder, &contents.name);
    let start = look_around(&contents, &names, folder, existing, notes, proofs.as_ref())?;
    let home = Home { names, place: start.place, proofs };
    let file = Arc::new(start.file);
    let setup = Setup {
        contents,
        found: start.found,
        have: start.have,
        sources: start.sources,
        disk: disk(file.clone()),
        file,
    };
    let path = home.path().to_owned();
    setup.start(home).map_err(|e| StorageError::io(path, "start a thread for it", e))
}

/// What has this name, links not followed; None if nothing has.
pub(super) fn plain_file(path: &Path) -> Result<Option<fs::Metadata>, StorageError> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StorageError::io(path, "look at it", e)),
    };
    let kind = meta.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(Some(meta)),
        _ if kind.is_dir() => "this is a folder",
        _ if kind.is_symlink() => "this is a symbolic link",
        _ => "this is a device or a pipe",
    };
    let path = path.to_owned();
    Err(StorageError::NotAFile { path, what })
}

/// What is on the disk at the start.
struct Start {
    file: File,
    found: Found,
    have: Bitfield,
    place: Place,
    sources: Vec<Source>,
}

fn look_around(
    contents: &Contents,
    names: &Names,
    folder: &Path,
    existing: Existing,
    notes: Notes,
    proofs: Option<&Proofs>,
) -> Result<Start, StorageError> {
    let Some(meta) = plain_file(&names.whole)? else {
        return fetch(contents, names, folder, existing, notes, None);
    };
    let file = os::open_existing(&names.whole, false).map_err(|e| StorageError::io(&names.whole, "open it", e))?;
    let right_size = meta.len() == contents.geometry.size();
    let holds = |proofs: &Proofs| proofs.holds(&names.whole, &file, contents.info_hash);
    let proven = right_size && notes == Notes::Believed && proofs.is_some_and(holds);
    match existing {
        Existing::Repair if !proven => fetch(contents, names, folder, existing, notes, Some(file)),
        _ if right_size => share(contents, names, file, proven),
        _ => Err(StorageError::Different { path: names.whole.clone() }),
    }
}

fn share(contents: &Contents, names: &Names, file: File, proven: bool) -> Result<Start, StorageError> {
    let stamp = stamp(&file, &names.whole)?;
    let (found, have, sources) = if proven {
        (Found::Whole, Bitfield::all(&contents.geometry), vec![])
    } else {
        let none = Bitfield::none(&contents.geometry);
        (Found::Unproven, none, vec![Source::Final])
    };
    Ok(Start { file, found, have, place: Place::Final { stamp }, sources })
}

/// `old` is the file under the final name, to be repaired.
fn fetch(
    contents: &Contents,
    names: &Names,
    folder: &Path,
    existing: Existing,
    notes: Notes,
    old: Option<File>,
) -> Result<Start, StorageError> {
    fs::create_dir_all(folder).map_err(|e| StorageError::io(folder, "make the folder", e))?;
    let replaces = old.as_ref().map(|f| stamp(f, &names.whole)).transpose()?;
    let Partial { file, have } = partial::open(contents, names, folder, existing, notes)?;
    let mut sources = Vec::new();
    if have.is_none() {
        sources.push(Source::Partial);
    }
    if let Some(old) = old {
        sources.push(Source::Other(Arc::new(old)));
    }
    let found = match sources[..] {
        [] => Found::Ready,
        _ => Found::Unchecked,
    };
    Ok(Start {
        file,
        found,
        have: have.unwrap_or_else(|| Bitfield::none(&contents.geometry)),
        place: Place::Part { replaces },
        sources,
    })
}

pub(super) fn stamp(file: &File, path: &Path) -> Result<Stamp, StorageError> {
    Stamp::of(file).map_err(|e| StorageError::io(path, "look at it", e))
}

/// All that a store is made of.
struct Setup {
    contents: Contents,
    found: Found,
    have: Bitfield,
    sources: Vec<Source>,
    file: Arc<File>,
    disk: Arc<dyn Disk>,
}

impl Setup {
    fn start(self, home: Home) -> io::Result<Opened> {
        let (events, told) = mpsc::unbounded_channel();
        let whole = Arc::new(AtomicBool::new(self.found == Found::Whole));
        let path: PathBuf = home.path().to_owned();
        let under_final_name = matches!(self.found, Found::Whole | Found::Unproven);
        let follower = match self.contents.whole {
            Some(expected) if !under_final_name => {
                let task = Task {
                    geometry: self.contents.geometry,
                    expected,
                    disk: self.disk.clone(),
                    path: path.clone(),
                    events: events.clone(),
                    whole: whole.clone(),
                };
                Some(Follower::start(task, self.have.clone())?)
            }
            _ => None,
        };
        let unchecked = matches!(self.found, Found::Unproven | Found::Unchecked);
        let shared = Arc::new(Shared {
            contents: self.contents,
            path,
            file: self.file,
            disk: self.disk,
            events,
            follower,
            whole,
            unchecked: AtomicBool::new(unchecked),
            parts: Mutex::new(Parts::new(self.have.clone())),
            lost: Mutex::new(false),
        });
        let parts_must_do = self.found != Found::Whole && shared.contents.whole.is_none();
        if parts_must_do && self.have.is_full() {
            shared.is_whole();
        }
        let jobs = writer::start(shared.clone())?;
        Ok(Opened {
            store: Store::new(shared, jobs, Pool::default(), home, self.sources),
            found: self.found,
            have: self.have,
            events: told,
        })
    }
}
