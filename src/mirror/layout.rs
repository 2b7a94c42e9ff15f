//! Which file of a mirror holds which byte of a composition.

use std::ops::Range;

use url::Url;

use super::{Failure, address::Mirror};
use crate::manifest::{FileEntry, Name};

/// A composition as it lies on every mirror of it.
#[derive(Clone, Debug)]
pub struct Layout {
    name: Name,
    /// Of a folder, in order, with its padding; none for a single file.
    files: Vec<FileEntry>,
    /// Where each of them ends in the composition; for a single file one end, its size.
    ends: Vec<u64>,
}

/// What holds the byte at an offset of the composition, and those after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// So many zeroes, which no mirror has: padding between the files of a foreign torrent.
    Zeroes { left: u64 },
    /// A file of `size` bytes, from `at` on to its end.
    File { number: usize, at: u64, size: u64 },
}

impl Layout {
    /// Of a composition of this name and size; `files` are those of a folder, none for a single file.
    pub fn new(name: Name, size: u64, files: Vec<FileEntry>) -> Self {
        let mut end = 0u64;
        let mut ends: Vec<u64> = Vec::with_capacity(files.len().max(1));
        for file in &files {
            end = end.saturating_add(file.size);
            ends.push(end);
        }
        if files.is_empty() {
            ends.push(size);
        }
        Self { name, files, ends }
    }

    /// What holds this byte; None behind the last.
    pub fn place(&self, offset: u64) -> Option<Place> {
        // Empty files end where they start: none of them is the first that ends behind the offset.
        let number = self.ends.partition_point(|end| *end <= offset);
        let end = *self.ends.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(match self.files.get(number) {
            Some(file) if file.padding => Place::Zeroes { left: end - offset },
            _ => Place::File { number, at: offset - start, size: end - start },
        })
    }

    /// Where on this mirror the file of this number is.
    ///
    /// # Errors
    /// Its address would be too long.
    pub fn url(&self, mirror: &Mirror, number: usize) -> Result<Url, Failure> {
        let url = match self.files.get(number) {
            Some(file) => mirror.file_in(&self.name, &file.path),
            None => mirror.file(&self.name),
        };
        url.map_err(|error| Failure::Never(format!("the address of a file on it: {error}")))
    }
}

/// The bytes of a file of `size` bytes that are asked for at once: from `at` on, at most to its end and at most `most`.
pub fn range(at: u64, size: u64, most: u64) -> Range<u64> {
    at..at.saturating_add(most).min(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(sizes: &[(u64, bool)]) -> Layout {
        let entry = |(n, (size, padding)): (usize, &(u64, bool))| FileEntry {
            padding: *padding,
            ..FileEntry::new(*size, n.to_string().parse().unwrap())
        };
        let files: Vec<_> = sizes.iter().enumerate().map(entry).collect();
        Layout::new("f".parse().unwrap(), 0, files)
    }

    #[test]
    fn a_single_file_is_one_place() {
        let layout = Layout::new("x".parse().unwrap(), 10, Vec::new());
        assert_eq!(layout.place(3), Some(Place::File { number: 0, at: 3, size: 10 }));
        assert_eq!(layout.place(10), None);
        let mirror = Mirror::parse("http://h/y", false).unwrap();
        assert_eq!(layout.url(&mirror, 0).unwrap().as_str(), "http://h/y");
    }

    #[test]
    fn empty_files_hold_nothing_and_padding_is_no_file() {
        let layout = layout(&[(0, false), (3, false), (0, false), (2, true), (1, false)]);
        assert_eq!(layout.place(2), Some(Place::File { number: 1, at: 2, size: 3 }));
        assert_eq!(layout.place(3), Some(Place::Zeroes { left: 2 }));
        assert_eq!(layout.place(5), Some(Place::File { number: 4, at: 0, size: 1 }));
        let mirror = Mirror::parse("http://h/y", true).unwrap();
        assert_eq!(layout.url(&mirror, 4).unwrap().as_str(), "http://h/y/f/4");
    }

    proptest! {
        #[test]
        fn every_byte_is_in_the_file_that_it_is_in(files in prop::collection::vec((0u64..5, any::<bool>()), 1..12)) {
            let layout = layout(&files);
            let bytes: Vec<(usize, u64)> =
                files.iter().enumerate().flat_map(|(n, (size, _))| (0..*size).map(move |at| (n, at))).collect();
            for (offset, (number, at)) in bytes.iter().enumerate() {
                let (size, padding) = files[*number];
                let place = match padding {
                    true => Place::Zeroes { left: size - at },
                    false => Place::File { number: *number, at: *at, size },
                };
                prop_assert_eq!(layout.place(offset as u64), Some(place));
            }
            prop_assert_eq!(layout.place(bytes.len() as u64), None);
        }
    }
}
