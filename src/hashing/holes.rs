//! Holes: ranges of a file that were never written, read as zeros and take no room on the disk.
//!
//! What a file system says of its holes is believed only of those that are known to say it rightly: a wrong hole would be a
//! wrong file, and others than these have told of holes where data was still on its way to the disk.

use std::{fs::File, ops::Range};

/// ext2 to 4, XFS, Btrfs, F2FS and tmpfs, by the numbers that Linux has for them.
#[cfg(target_os = "linux")]
const KNOWN: [u64; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994];

/// Whether this range lies in the file, and no byte of it was ever written; false where that cannot be told.
#[cfg(target_os = "linux")]
pub fn is_hole(file: &File, range: &Range<u64>) -> bool {
    use rustix::{fs, io::Errno};
    let nothing_before = |end| match fs::seek(file, fs::SeekFrom::Data(range.start)) {
        Ok(data) => data >= end,
        // Nothing was written up to the end of the file.
        Err(Errno::NXIO) => true,
        Err(_) => false,
    };
    nothing_before(range.end)
        && file.metadata().is_ok_and(|meta| range.end <= meta.len())
        && fs::fstatfs(file).is_ok_and(|stat| KNOWN.contains(&(stat.f_type as u64 & 0xFFFF_FFFF)))
}

#[cfg(not(target_os = "linux"))]
pub fn is_hole(_file: &File, _range: &Range<u64>) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_told_from_data() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let tells = is_hole(&file, &(0..1 << 20));
        file.write_all_at(&[0; 4096], 512 << 10).unwrap();
        assert_eq!(is_hole(&file, &(0..256 << 10)), tells);
        assert!(!is_hole(&file, &(512 << 10..768 << 10)));
        assert!(!is_hole(&file, &(768 << 10..(1 << 20) + 1)), "what is not there is no hole");
    }
}
