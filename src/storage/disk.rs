//! What the store asks of the operating system for one open file, as a trait: a test puts a disk that fails, is full or
//! is slow in its place.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use super::os;
use crate::hashing::holes::is_hole;

/// One open file. Offsets and lengths are in bytes.
pub trait Disk: Send + Sync {
    /// Reads some bytes; 0 at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of these bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes these bytes zeros, which take no room where the file system has holes.
    fn clear(&self, range: Range<u64>) -> io::Result<()> {
        write_zeros(self, range)
    }
    /// Brings the data (and the length) to the disk itself.
    fn sync(&self) -> io::Result<()>;

    /// Reads exactly this many bytes; a shorter file is `UnexpectedEof`.
    fn read_exact_at(&self, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !into.is_empty() {
            match self.read_at(into, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    into = &mut into[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of these bytes.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Zeros for this many bytes and more, between multiples of it, are left out of what is written: a hole has them.
pub const HOLE: usize = 64 << 10;
/// Compared with at once; a hole is a multiple of it.
const ZEROS: &[u8] = &[0; HOLE];

/// Writes all of these bytes, and leaves a hole where there are many zeros.
pub fn write_sparse(disk: &dyn Disk, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        let (zeros, len) = run(&bytes[at..], offset + at as u64);
        let start = offset + at as u64;
        match zeros {
            true => disk.clear(start..start + len as u64)?,
            false => disk.write_all_at(&bytes[at..at + len], start)?,
        }
        at += len;
    }
    Ok(())
}

/// How many bytes in front are alike: all of them zeros of a hole, or none.
fn run(bytes: &[u8], offset: u64) -> (bool, usize) {
    let mut kind = None;
    let mut len = 0;
    while len < bytes.len() {
        let to_border = HOLE - ((offset + len as u64) % HOLE as u64) as usize;
        let next = &bytes[len..bytes.len().min(len + to_border)];
        let zeros = next.len() == HOLE && next == ZEROS;
        if *kind.get_or_insert(zeros) != zeros {
            break;
        }
        len += next.len();
    }
    (kind.unwrap_or(false), len)
}

/// Writes zeros, which take room.
pub(super) fn write_zeros<D: Disk + ?Sized>(disk: &D, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(HOLE as u64);
        disk.write_all_at(&ZEROS[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

impl Disk for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn clear(&self, range: Range<u64>) -> io::Result<()> {
        // Also what looks like a hole may have room set aside for it.
        match os::make_hole(self, &range)? || is_hole(self, &range) {
            true => Ok(()),
            false => write_zeros(self, range),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_with_holes_reads_the_same(
            offset in 0u64..200_000, runs in prop::collection::vec((any::<bool>(), 1usize..200_000), 0..6),
        ) {
            let bytes: Vec<u8> = runs.iter().flat_map(|(zeros, len)| vec![u8::from(!zeros); *len]).collect();
            let file = tempfile::tempfile().unwrap();
            // What was there before is written over.
            Disk::write_all_at(&file, &vec![9; bytes.len()], offset).unwrap();
            write_sparse(&file, &bytes, offset).unwrap();
            let mut there = vec![5; bytes.len()];
            Disk::read_exact_at(&file, &mut there, offset).unwrap();
            prop_assert!(there == bytes);
            prop_assert_eq!(file.metadata().unwrap().len(), if bytes.is_empty() { 0 } else { offset + bytes.len() as u64 });
        }
    }
}
