//! What is on the disk at the start, and what to make of it.

use std::{
    cell::OnceCell,
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use tokio::sync::mpsc;

use super::{
    DiskEvent, Proofs, Selection, Stamp, StorageError, Store,
    check::Source,
    disk::Disk,
    file_names,
    files::Files,
    finish::{Home, Names, Place},
    folder, os,
    partial::{self, Partial},
    pool::Pool,
    store::{Judge, Parts, Shared},
    whole::{Follower, Task},
    writer,
    zeros::Zeros,
};
use crate::{geometry::Geometry, hashing::Digest, manifest::FileEntry, metainfo::InfoHash, wire::bitfield::Bitfield};

/// What a composition should be.
#[derive(Clone)]
pub struct Contents {
    /// The file's name, or the folder's: one safe path component.
    pub name: String,
    /// The files of a folder, in order, padding too; none for a single file. Their sizes add up to the geometry's.
    pub files: Vec<FileEntry>,
    /// A single file that is to be a program, for those who may read it.
    pub executable: bool,
    /// Those of them that are wanted; None: all.
    pub only: Option<Selection>,
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

/// What a person asked for, and what it may take.
#[derive(Clone)]
pub struct Wishes {
    pub existing: Existing,
    pub notes: Notes,
    /// An older file, or folder, whose parts that are still the same are taken over.
    pub old: Option<PathBuf>,
    /// Memory for parts on their way, for all compositions of a process together.
    pub pool: Pool,
    /// Links in a folder that is shared are followed.
    pub follow_links: bool,
}

/// What is there is shared, notes are believed, there is nothing older, and memory of its own.
impl Default for Wishes {
    fn default() -> Self {
        let (existing, notes) = (Existing::Share, Notes::Believed);
        Self { existing, notes, old: None, pool: Pool::default(), follow_links: false }
    }
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
    wishes: &Wishes,
    proofs: Option<Proofs>,
) -> Result<Opened, StorageError> {
    open_on(contents, folder, wishes, proofs, |disk| disk)
}

/// As [`open`], with this disk in place of the file or the folder: for tests with a disk that fails.
pub fn open_on(
    mut contents: Contents,
    folder: &Path,
    wishes: &Wishes,
    proofs: Option<Proofs>,
    disk: impl FnOnce(Arc<dyn Disk>) -> Arc<dyn Disk>,
) -> Result<Opened, StorageError> {
    debug_assert_eq!(contents.parts.len(), contents.geometry.parts() as usize);
    let (names, theirs) = Names::new(folder, &contents.name).beside_others();
    let zeros = OnceCell::new();
    let ask = Ask { contents: &contents, names: &names, folder, wishes, proofs: proofs.as_ref(), zeros };
    let mut start = match contents.files.is_empty() {
        true => ask.look_around()?,
        false => folder::open::look_around(&ask)?,
    };
    if let (Found::Ready | Found::Unchecked, Some(old)) = (start.found, &wishes.old) {
        start.sources.push(Source::Other(ask.open_old(old)?));
        start.found = Found::Unchecked;
    }
    if let (Found::Ready | Found::Unchecked, Some(theirs)) = (start.found, &theirs) {
        let (theirs, part) = (theirs.display(), ask.names.part.display());
        log::warn!("{theirs} belongs to somebody else: its good parts are copied, and the rest is fetched, to {part}");
    }
    if let (Found::Ready | Found::Unchecked, Some(theirs)) =
        (start.found, theirs.and_then(|path| ask.open_theirs(&path)))
    {
        start.sources.push(Source::Other(theirs));
        start.found = Found::Unchecked;
    }
    let Start { files, found, have, place, sources } = start;
    let zeros = ask.zeros.into_inner().map(|zeros| zeros.parts().clone());
    let zeros = zeros.unwrap_or_else(|| Bitfield::none(&contents.geometry));
    if matches!(place, Place::Final { .. }) {
        // All of it is there, or said to be.
        contents.only = None;
    }
    let home = Home { names, place, proofs };
    let pool = wishes.pool.clone();
    let setup = Setup { contents, found, have, zeros, sources, disk: disk(files.disk()), files, pool };
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
pub(super) struct Start {
    pub files: Files,
    pub found: Found,
    pub have: Bitfield,
    pub place: Place,
    pub sources: Vec<Source>,
}

/// What is asked of the disk.
pub(super) struct Ask<'a> {
    pub contents: &'a Contents,
    pub names: &'a Names,
    pub folder: &'a Path,
    pub wishes: &'a Wishes,
    pub proofs: Option<&'a Proofs>,
    zeros: OnceCell<Zeros>,
}

impl Ask<'_> {
    /// The wanted parts that are nothing but zeros. Hashes a few MiB when it is asked for the first time.
    pub fn zeros(&self) -> &Zeros {
        let Contents { geometry, parts, only, .. } = self.contents;
        self.zeros.get_or_init(|| Zeros::of(geometry, parts, only.as_ref().map(|only| only.parts())))
    }

    /// Bytes of this range that take room in the folder.
    pub fn room_for(&self, range: &Range<u64>) -> u64 {
        let holes = if os::has_holes(self.folder) { self.zeros().bytes_in(range) } else { 0 };
        range.end - range.start - holes
    }

    /// Bytes that still have to come, of which these parts are there; zeros need not come.
    pub fn missing(&self, have: &Bitfield) -> u64 {
        let geometry = &self.contents.geometry;
        let missing = geometry.all_parts().filter(|part| !have.has(*part) && !self.zeros().parts().has(*part));
        missing.map(|part| u64::from(geometry.part_len(part))).sum()
    }

    /// Adds the parts that are zeros to those that are there, and sees to it that they are.
    fn add_zeros(&self, files: &Files, have: &mut Bitfield) -> Result<(), StorageError> {
        let geometry = &self.contents.geometry;
        let zeros = geometry.all_parts().filter(|part| self.zeros().parts().has(*part));
        for part in zeros {
            let there = have.has(part) || files.clear(&geometry.part_range(part)).map_err(|e| self.cannot_write(e))?;
            if there {
                have.insert(part);
            }
        }
        Ok(())
    }

    fn cannot_write(&self, error: io::Error) -> StorageError {
        StorageError::io(&self.names.part, "write", error)
    }

    fn look_around(&self) -> Result<Start, StorageError> {
        let names = self.names;
        let Some(meta) = plain_file(&names.whole)? else { return self.fetch(None) };
        let file = os::open_existing(&names.whole, false).map_err(|e| StorageError::io(&names.whole, "open it", e))?;
        let right_size = meta.len() == self.contents.geometry.size();
        let stamp = stamp(&file, &names.whole)?;
        let parts_are_proven = right_size && self.are_parts_proven(&stamp);
        match self.wishes.existing {
            Existing::Repair if !parts_are_proven => self.fetch(Some((file, stamp))),
            _ if right_size || self.is_thorough() => {
                Ok(self.share(Files::One(Arc::new(file)), stamp, right_size, parts_are_proven))
            }
            _ => Err(StorageError::Different { path: names.whole.clone() }),
        }
    }

    /// Whether a note that is believed says that what has the final name, with this stamp, has all parts right.
    pub fn are_parts_proven(&self, stamp: &Stamp) -> bool {
        let holds = |proofs: &Proofs| proofs.holds(&self.names.whole, stamp, self.contents.info_hash, None);
        self.believed().is_some_and(holds)
    }

    /// The SHA-1 of the whole, unless a note that is believed says that right parts make it.
    fn whole_to_verify(&self) -> Option<Digest> {
        let known = |whole: &Digest| self.believed().is_some_and(|p| p.make_whole(self.contents.info_hash, *whole));
        self.contents.whole.filter(|whole| !known(whole))
    }

    fn believed(&self) -> Option<&Proofs> {
        self.proofs.filter(|_| self.wishes.notes == Notes::Believed)
    }

    /// Whether all that is there is looked at, also what cannot be the composition any more.
    pub fn is_thorough(&self) -> bool {
        self.wishes.notes == Notes::Ignored
    }

    /// What is under the final name is shared, once it is proven; what of it has not the right size, part by part.
    pub fn share(&self, files: Files, stamp: Stamp, right_size: bool, parts_are_proven: bool) -> Start {
        let whole = self.whole_to_verify();
        let source = Source::Final { right_size, thorough: self.is_thorough(), whole };
        let geometry = &self.contents.geometry;
        let (found, have, sources) = match parts_are_proven && whole.is_none() {
            true => (Found::Whole, Bitfield::all(geometry), vec![]),
            false => (Found::Unproven, Bitfield::none(geometry), vec![source]),
        };
        Start { files, found, have, place: Place::Final { stamp }, sources }
    }

    /// `old` is the file under the final name, to be repaired.
    fn fetch(&self, old: Option<(File, Stamp)>) -> Result<Start, StorageError> {
        make_folder(self.folder)?;
        file_names::check(self.folder, [self.contents.name.as_str()].into_iter())?;
        let Partial { file, have } = partial::open(self)?;
        let (old, replaces) = old.unzip();
        let place = Place::Part { replaces };
        let old = old.map(|old| Source::Other(Arc::new(old)));
        self.go_on(Files::One(Arc::new(file)), have, place, old)
    }

    /// What is not whole is fetched; `have` is None where that must be found out.
    pub fn go_on(
        &self,
        files: Files,
        have: Option<Bitfield>,
        place: Place,
        old: Option<Source>,
    ) -> Result<Start, StorageError> {
        let partial = have.is_none().then_some(Source::Partial);
        let sources: Vec<_> = partial.into_iter().chain(old).collect();
        let found = if sources.is_empty() { Found::Ready } else { Found::Unchecked };
        let mut have = have.unwrap_or_else(|| Bitfield::none(&self.contents.geometry));
        self.add_zeros(&files, &mut have)?;
        Ok(Start { files, found, have, place, sources })
    }

    /// An older file or folder, to read.
    fn open_old(&self, path: &Path) -> Result<Arc<dyn Disk>, StorageError> {
        self.try_open_old(path).map_err(|error| match error {
            StorageError::NotAFile { path, what } | StorageError::NotAFolder { path, what } => {
                StorageError::NotOlder { path, what }
            }
            error => error,
        })
    }

    /// What another user left of it, to read; None if it cannot be of use.
    fn open_theirs(&self, path: &Path) -> Option<Arc<dyn Disk>> {
        if self.contents.files.is_empty() && plain_file(path).ok()??.len() != self.contents.geometry.size() {
            return None;
        }
        self.try_open_old(path).ok()
    }

    fn try_open_old(&self, path: &Path) -> Result<Arc<dyn Disk>, StorageError> {
        let missing = || StorageError::io(path, "open it", io::ErrorKind::NotFound.into());
        match self.contents.files.is_empty() {
            true => {
                plain_file(path)?.ok_or_else(missing)?;
                let old = os::open_existing(path, false).map_err(|e| StorageError::io(path, "open it", e))?;
                Ok(Arc::new(old))
            }
            false => Ok(folder::open::old(path, self.contents)?.ok_or_else(missing)?),
        }
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(folder).map_err(|e| StorageError::io(folder, "make the folder", e))
}

pub(super) fn stamp(file: &File, path: &Path) -> Result<Stamp, StorageError> {
    Stamp::of(file).map_err(|e| StorageError::io(path, "look at it", e))
}

/// All that a store is made of.
struct Setup {
    contents: Contents,
    found: Found,
    have: Bitfield,
    /// Parts of zeros, where that was looked for.
    zeros: Bitfield,
    sources: Vec<Source>,
    files: Files,
    disk: Arc<dyn Disk>,
    pool: Pool,
}

impl Setup {
    fn start(self, home: Home) -> io::Result<Opened> {
        let (events, told) = mpsc::unbounded_channel();
        let whole = Arc::new(AtomicBool::new(self.found == Found::Whole));
        let path: PathBuf = home.path().to_owned();
        let under_final_name = matches!(self.found, Found::Whole | Found::Unproven);
        let judge = match self.contents.whole {
            _ if under_final_name => Judge::Check,
            Some(expected) if self.contents.only.is_none() => {
                let task = Task {
                    geometry: self.contents.geometry,
                    expected,
                    zeros: self.zeros.clone(),
                    disk: self.disk.clone(),
                    path: path.clone(),
                    events: events.clone(),
                    whole: whole.clone(),
                };
                Judge::Follower(Follower::start(task, self.have.clone())?)
            }
            _ => Judge::Parts,
        };
        let unchecked = matches!(self.found, Found::Unproven | Found::Unchecked);
        let only = self.contents.only.as_ref().map(|only| only.parts().clone());
        let shared = Arc::new(Shared {
            contents: self.contents,
            path,
            final_path: home.names.whole.clone(),
            files: self.files,
            disk: self.disk,
            events,
            judge,
            zeros: self.zeros,
            whole,
            unchecked: AtomicBool::new(unchecked),
            parts: Mutex::new(Parts::new(self.have.clone(), only)),
            lost: Mutex::new(false),
        });
        if matches!(shared.judge, Judge::Parts) && shared.lock().are_all_in() {
            shared.is_whole();
        }
        let jobs = writer::start(shared.clone())?;
        Ok(Opened {
            store: Store::new(shared, jobs, self.pool, home, self.sources),
            found: self.found,
            have: self.have,
            events: told,
        })
    }
}
