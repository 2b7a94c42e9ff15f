//! The files of a folder: the parts run over their concatenation, in order.

use std::str::FromStr;

use super::{ExtraError, FilePath};

/// One file of a folder: what a `file` line says of it, and an `executable` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// In bytes.
    pub size: u64,
    pub path: FilePath,
    /// Whether it is to be a program, for those who may read it.
    pub executable: bool,
    /// No file on the disk (BEP 47): zeroes between the files of a foreign torrent, or a link in it, which is not made.
    pub padding: bool,
}

impl FileEntry {
    /// An ordinary file.
    pub fn new(size: u64, path: FilePath) -> Self {
        Self { size, path, executable: false, padding: false }
    }
}

impl FromStr for FileEntry {
    type Err = ExtraError;

    fn from_str(text: &str) -> Result<Self, ExtraError> {
        let (size, path) = text.split_once(' ').ok_or(ExtraError::File)?;
        let size = super::parse::number(size).ok_or(ExtraError::File)?;
        Ok(Self::new(size, path.parse().map_err(ExtraError::Path)?))
    }
}

/// The sum of the sizes, in bytes; None beyond 2^64 - 1.
pub(crate) fn total(files: &[FileEntry]) -> Option<u64> {
    files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.size))
}

/// The first path found that stands in another's way: it is there twice, or lies in a folder where the other has a file.
/// What is no file on the disk is in nobody's way: many a torrent has it under one name.
pub(crate) fn clash(files: &[FileEntry]) -> Option<&FilePath> {
    let mut paths: Vec<_> = files.iter().filter(|file| !file.padding).map(|file| &file.path).collect();
    // Component by component: what lies in a folder then follows directly on a file of the folder's path.
    paths.sort_by(|a, b| a.components().cmp(b.components()));
    paths.windows(2).find_map(|pair| {
        let &[first, second] = pair else { return None };
        let mut start = second.components();
        first.components().all(|name| start.next() == Some(name)).then_some(second)
    })
}
