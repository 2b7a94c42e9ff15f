//! The files of a folder as the one run of bytes that its parts go over.
//!
//! A file is made when the first byte of it is written, with its full length. What is missing reads as an end of the
//! file, what is padding as zeroes; no byte of either is on the disk.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    handles::Handles,
    root::{Access, Root, There},
};
use crate::{
    hashing::{Hasher, file::Source, holes::is_hole},
    manifest::FileEntry,
    storage::{
        Stamp,
        disk::{Disk, write_zeros},
        files::Slice,
        os,
        zeros::Zeros,
    },
};

/// Files that are synced one by one; with more the whole file system is, which is quicker.
const FEW: usize = 64;

/// A folder's files. Those that are fetched lie in one folder; some of them may have their final names already, in
/// another.
pub struct Tree {
    leaves: Vec<Leaf>,
    /// The numbers of those that are not empty.
    filled: Vec<usize>,
    writes: bool,
    zeros: Option<Zeros>,
    root: Root,
    /// The folder of the final name, where files have theirs before the whole has.
    named: OnceLock<Root>,
    open: Handles,
    /// Written, and not synced since.
    dirty: Mutex<BTreeSet<usize>>,
}

struct Leaf {
    entry: FileEntry,
    /// Where its bytes start in the composition.
    start: u64,
    /// Whether it lies in the folder of the final name; there it is only read.
    named: AtomicBool,
    /// Whether room is set aside for it: it is wanted.
    wanted: bool,
    /// It was there once: if it is missing now somebody took it away, and it must not be made again without its bytes.
    seen: AtomicBool,
}

impl Leaf {
    fn end(&self) -> u64 {
        self.start + self.entry.size
    }
}

impl Tree {
    /// To read what is there, and to change nothing.
    pub fn to_read(root: Root, files: &[FileEntry]) -> Self {
        Self::new(root, false, files, |_| false)
    }

    /// To be fetched; `wanted` tells the numbers of those that will be, `zeros` where no room need be set aside.
    pub(in crate::storage) fn to_write(
        root: Root,
        files: &[FileEntry],
        wanted: impl Fn(usize) -> bool,
        zeros: Zeros,
    ) -> Self {
        Self { zeros: Some(zeros), ..Self::new(root, true, files, wanted) }
    }

    fn new(root: Root, writes: bool, files: &[FileEntry], wanted: impl Fn(usize) -> bool) -> Self {
        let (mut start, mut filled) = (0, Vec::new());
        let leaf = |(number, entry): (usize, &FileEntry)| {
            let (named, seen) = (AtomicBool::new(false), AtomicBool::new(false));
            let leaf = Leaf { entry: entry.clone(), start, named, wanted: wanted(number), seen };
            start = leaf.end();
            if entry.size > 0 {
                filled.push(number);
            }
            leaf
        };
        let leaves = files.iter().enumerate().map(leaf).collect();
        let (named, open, dirty) = (OnceLock::new(), Handles::default(), Mutex::default());
        Self { leaves, filled, writes, zeros: None, root, named, open, dirty }
    }

    /// Files that are in this folder, whole, have their final names there. To be called before anything is read.
    ///
    /// # Errors
    /// What looking gave; `Ok(false)` if one of them has another size.
    pub fn some_are_named(&self, folder: Root) -> io::Result<bool> {
        for leaf in self.leaves.iter().filter(|leaf| !leaf.entry.padding) {
            match folder.look(&leaf.entry.path).map_err(|error| about(leaf, error))? {
                Some(there) if there.stamp.size != leaf.entry.size => return Ok(false),
                Some(_) => leaf.named.store(true, Ordering::Release),
                None => {}
            }
        }
        let _ = self.named.set(folder);
        Ok(true)
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The files, in order, padding too.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.leaves.iter().map(|leaf| &leaf.entry)
    }

    /// Whether the file of this number has its final name already.
    pub fn is_named(&self, number: usize) -> bool {
        self.leaves[number].named.load(Ordering::Acquire)
    }

    /// Whether anything of this range belongs to a file that has its final name already.
    pub fn has_named_in(&self, range: &Range<u64>) -> bool {
        self.on_disk(range).any(|number| self.is_named(number))
    }

    /// Whether all that this range has on the disk belongs to files that have their final names already.
    pub fn is_named_in(&self, range: &Range<u64>) -> bool {
        self.on_disk(range).all(|number| self.is_named(number))
    }

    /// Every file as it is there now; None where one is missing, and of padding.
    ///
    /// # Errors
    /// Also if something else than a plain file has the name of one, or something else than a folder is on the way.
    pub fn survey(&self) -> io::Result<Vec<Option<There>>> {
        let look = |leaf: &Leaf| match leaf.entry.padding {
            true => Ok(None),
            false => self.place(leaf).look(&leaf.entry.path).map_err(|error| about(leaf, error)),
        };
        self.leaves.iter().map(look).collect()
    }

    /// Whether every file is there, in its size.
    pub fn is_all_there(&self, survey: &[Option<There>]) -> bool {
        (0..self.leaves.len()).all(|number| self.is_there(number, survey))
    }

    /// The same of one, by its number.
    pub fn is_there(&self, number: usize, survey: &[Option<There>]) -> bool {
        let entry = &self.leaves[number].entry;
        entry.padding || survey[number].is_some_and(|there| there.stamp.size == entry.size)
    }

    /// The folder's own, with the files' in the place of its times: the same one means that nobody touched any of them, or
    /// gave a folder in it another name.
    pub fn stamp(&self) -> io::Result<Stamp> {
        self.stamp_of(&self.survey()?)
    }

    /// The same, of files that were looked at.
    pub fn stamp_of(&self, survey: &[Option<There>]) -> io::Result<Stamp> {
        let (mut data, mut all) = (Hasher::new(), Hasher::new());
        for (leaf, there) in self.leaves.iter().zip(survey) {
            let path = leaf.entry.path.as_str();
            let line = |stamp: Stamp| format!("{stamp} {path}");
            let untimed = there.map(|there| line(Stamp { changed: 0, ..there.stamp })).unwrap_or_default();
            data.update((untimed + "\n").as_bytes());
            all.update((there.map(|there| line(there.stamp)).unwrap_or_default() + "\n").as_bytes());
        }
        let own = Stamp::of(self.root.file())?;
        let size = survey.iter().flatten().map(|there| there.stamp.size).sum();
        Ok(Stamp { size, modified: number(data), changed: number(all), ..own })
    }

    /// What holds the byte at this offset, and so many after it.
    pub fn slice(&self, offset: u64) -> io::Result<Slice> {
        let number = self.number_at(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        let leaf = &self.leaves[number];
        let len = leaf.end() - offset;
        if leaf.entry.padding {
            return Ok(Slice::Zeroes { len });
        }
        let file = self.open_to_read(number)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Slice::File { file, at: offset - leaf.start, len })
    }

    /// Whether no byte of this range was ever written.
    pub fn is_hole(&self, range: &Range<u64>) -> bool {
        self.on_disk(range).all(|number| match self.open_to_read(number) {
            Ok(Some(file)) => is_hole(&file, &self.inside(number, range)),
            Ok(None) => true,
            Err(_) => false,
        })
    }

    /// As [`os::is_warm`], of all files in this range.
    pub fn is_warm(&self, range: Range<u64>) -> bool {
        self.on_disk(&range).all(|number| match self.open_to_read(number) {
            Ok(Some(file)) => os::is_warm(&file, self.inside(number, &range)),
            _ => false,
        })
    }

    /// As [`os::warm`].
    pub fn warm(&self, range: Range<u64>) -> io::Result<()> {
        for number in self.on_disk(&range) {
            let file = self.open_to_read(number)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            os::warm(&file, self.inside(number, &range))?;
        }
        Ok(())
    }

    /// Makes the file of this number, if it is missing: an empty one has no byte that would.
    pub fn make(&self, number: usize) -> io::Result<()> {
        match self.leaves[number].entry.padding || self.is_named(number) {
            true => Ok(()),
            false => self.open(number).map(|_| ()),
        }
    }

    /// The same of every file with bytes in this range.
    pub fn make_in(&self, range: &Range<u64>) -> io::Result<()> {
        self.on_disk(range).try_for_each(|number| self.make(number))
    }

    /// The folder of the final name, where [`Tree::has_name`] puts files.
    pub fn named(&self) -> Option<&Root> {
        self.named.get()
    }

    /// Says where files get their final names, unless it is known.
    pub fn name_in(&self, folder: Root) {
        let _ = self.named.set(folder);
    }

    /// The file of this number was moved to the folder of the final name.
    pub fn has_name(&self, number: usize) {
        self.leaves[number].named.store(true, Ordering::Release);
    }

    fn place(&self, leaf: &Leaf) -> &Root {
        match leaf.named.load(Ordering::Acquire) {
            true => self.named.get().unwrap_or(&self.root),
            false => &self.root,
        }
    }

    /// The number of the file that holds the byte at this offset.
    fn number_at(&self, offset: u64) -> Option<usize> {
        self.within(&(offset..offset.saturating_add(1))).next()
    }

    /// The numbers of the files with bytes in this range.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = usize> + use<'_> {
        let first = self.filled.partition_point(|number| self.leaves[*number].end() <= range.start);
        let end = range.end;
        self.filled[first..].iter().copied().take_while(move |number| self.leaves[*number].start < end)
    }

    /// The same without padding.
    fn on_disk(&self, range: &Range<u64>) -> impl Iterator<Item = usize> + use<'_> {
        self.within(range).filter(|number| !self.leaves[*number].entry.padding)
    }

    /// What of this range lies in the file of this number, counted from its start.
    fn inside(&self, number: usize, range: &Range<u64>) -> Range<u64> {
        let leaf = &self.leaves[number];
        range.start.max(leaf.start) - leaf.start..range.end.min(leaf.end()) - leaf.start
    }

    /// Opens the file of this number, and makes it if it was never there and may be written.
    fn open(&self, number: usize) -> io::Result<Arc<File>> {
        let leaf = &self.leaves[number];
        let access = match self.writes && !leaf.named.load(Ordering::Acquire) {
            false => Access::Read,
            true if leaf.seen.load(Ordering::Acquire) => Access::Change,
            true => Access::Make,
        };
        self.open_for(number, access)
    }

    /// The same, but nothing is made; None if it is missing.
    fn open_to_read(&self, number: usize) -> io::Result<Option<Arc<File>>> {
        let leaf = &self.leaves[number];
        let write = self.writes && !leaf.named.load(Ordering::Acquire);
        match self.open_for(number, if write { Access::Change } else { Access::Read }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_for(&self, number: usize, access: Access) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(number) {
            return Ok(file);
        }
        let leaf = &self.leaves[number];
        let file = Arc::new(self.open_anew(leaf, access).map_err(|error| about(leaf, error))?);
        self.open.keep(number, file.clone());
        Ok(file)
    }

    fn open_anew(&self, leaf: &Leaf, access: Access) -> io::Result<File> {
        let file = self.place(leaf).open_file(&leaf.entry.path, access)?;
        if access != Access::Read && !leaf.seen.swap(true, Ordering::AcqRel) {
            self.set_length(&file, leaf)?;
        }
        Ok(file)
    }

    /// A file that is to be written has its length from the start, and if it is wanted its room.
    fn set_length(&self, file: &File, leaf: &Leaf) -> io::Result<()> {
        let range = leaf.start..leaf.end();
        match file.metadata()?.len() == leaf.entry.size {
            true => Ok(()),
            false if leaf.wanted => {
                let data = self.zeros.as_ref().map_or(vec![range.clone()], |zeros| zeros.others_in(&range));
                let data: Vec<_> = data.into_iter().map(|run| run.start - leaf.start..run.end - leaf.start).collect();
                os::make_room(file, leaf.entry.size, &data)
            }
            false => file.set_len(leaf.entry.size),
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files in {:?}", self.leaves.len(), self.root)
    }
}

impl Disk for Tree {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(number) = self.number_at(offset) else { return Ok(0) };
        let leaf = &self.leaves[number];
        let len = (leaf.end() - offset).min(into.len() as u64) as usize;
        let into = &mut into[..len];
        if leaf.entry.padding {
            into.fill(0);
            return Ok(len);
        }
        match self.open_to_read(number)? {
            Some(file) => FileExt::read_at(&*file, into, offset - leaf.start),
            None => Ok(0),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let number = self.number_at(offset).ok_or(io::ErrorKind::WriteZero)?;
        let leaf = &self.leaves[number];
        let len = (leaf.end() - offset).min(bytes.len() as u64) as usize;
        if leaf.entry.padding {
            return Ok(len);
        }
        if self.is_named(number) {
            return self.compare(number, &bytes[..len], offset - leaf.start);
        }
        // Before it is written: what is synced meanwhile is synced once more.
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        FileExt::write_at(&*self.open(number)?, &bytes[..len], offset - leaf.start).map_err(|error| about(leaf, error))
    }

    fn clear(&self, range: Range<u64>) -> io::Result<()> {
        if self.has_named_in(&range) {
            return write_zeros(self, range);
        }
        for number in self.on_disk(&range) {
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            let file = self.open(number)?;
            Disk::clear(&*file, self.inside(number, &range)).map_err(|error| about(&self.leaves[number], error))?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        #[cfg(target_os = "linux")]
        if dirty.len() > FEW {
            return Ok(rustix::fs::syncfs(self.root.file())?);
        }
        dirty.into_iter().try_for_each(|number| self.open(number)?.sync_data())
    }
}

impl Tree {
    /// In place of writing to a file that has its final name, where only the right bytes are: `AlreadyExists` if there
    /// are others.
    fn compare(&self, number: usize, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        let read = FileExt::read_exact_at(&*self.open(number)?, &mut there, offset);
        match read.is_ok() && there == bytes {
            true => Ok(bytes.len()),
            false => Err(about(&self.leaves[number], io::ErrorKind::AlreadyExists.into())),
        }
    }

    /// Brings what anybody wrote to any of the files to the disk itself.
    pub fn sync_all(&self) -> io::Result<()> {
        match self.leaves.len() > FEW {
            true => sync_all(self.root.file()),
            false => self.on_disk(&(0..u64::MAX)).try_for_each(|number| self.open(number)?.sync_data()),
        }
    }

    /// Brings the names of all files to the disk itself, as [`Disk::sync`] does with their bytes.
    pub fn sync_names(&self) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for (number, leaf) in self.leaves.iter().enumerate().filter(|(_, leaf)| !leaf.entry.padding) {
            let path = leaf.entry.path.as_str();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folders.insert((folder, self.is_named(number))) && folders.len() <= FEW {
                match self.place(leaf).sync_folder_of(&leaf.entry.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    // Without files that are wanted there is no folder.
                    _ => {}
                }
            }
        }
        match folders.len() > FEW {
            true => sync_all(self.root.file()),
            false => Ok(()),
        }
    }
}

/// What was written to the file system of this folder.
#[cfg(target_os = "linux")]
fn sync_all(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_all(_: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

impl Source for Tree {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        Disk::read_exact_at(self, into, offset)
    }

    fn is_hole(&self, range: &Range<u64>) -> bool {
        // Padding is zeros; what is missing is not.
        let is_hole = |number: usize| {
            let file = || self.open_to_read(number).ok().flatten();
            self.leaves[number].entry.padding || file().is_some_and(|file| is_hole(&file, &self.inside(number, range)))
        };
        self.leaves.last().is_some_and(|last| range.end <= last.end()) && self.within(range).all(is_hole)
    }
}

/// An error with the path of the file: that of the folder, which the caller knows, is not enough.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
struct About {
    path: String,
    source: io::Error,
}

fn about(leaf: &Leaf, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), About { path: leaf.entry.path.shown().into_owned(), source })
}

/// Enough of a SHA-1 to tell any two apart.
fn number(hasher: Hasher) -> i128 {
    let digest = hasher.finish().0;
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    i128::from_be_bytes(bytes)
}
