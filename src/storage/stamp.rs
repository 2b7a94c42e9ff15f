//! What tells a file from every other, and from itself after a change.

use std::{fmt, fs::File, io, os::unix::fs::MetadataExt, str::FromStr};

/// Device, inode, size, and both times in nanoseconds: the same stamp means that nobody touched the file since (but by
/// setting the clock back, or writing to the device beneath).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub device: u64,
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i128,
    /// Nanoseconds since 1970; no program can set this one.
    pub changed: i128,
}

impl Stamp {
    /// The stamp of this open file, now.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_metadata(&file.metadata()?))
    }

    pub fn from_metadata(meta: &std::fs::Metadata) -> Self {
        let nanoseconds = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The same file with the same data: a rename changes `changed` alone.
    pub fn is_same_data(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} {}", self.device, self.inode, self.size, self.modified, self.changed)
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stamp")]
pub struct NotAStamp;

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Self, NotAStamp> {
        let mut words = text.split(' ');
        fn next<'a, T: FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Result<T, NotAStamp> {
            words.next().and_then(|w| w.parse().ok()).ok_or(NotAStamp)
        }
        let stamp = Self {
            device: next(&mut words)?,
            inode: next(&mut words)?,
            size: next(&mut words)?,
            modified: next(&mut words)?,
            changed: next(&mut words)?,
        };
        words.next().is_none().then_some(stamp).ok_or(NotAStamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    #[test]
    fn a_stamp_is_read_back_as_written() {
        let file = tempfile::tempfile().unwrap();
        let stamp = Stamp::of(&file).unwrap();
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        assert_eq!("1 2 3 4".parse::<Stamp>(), Err(NotAStamp));
        assert_eq!("1 2 3 4 5 6".parse::<Stamp>(), Err(NotAStamp));
    }

    proptest! {
        #[test]
        fn any_stamp_is_read_back_and_a_spoilt_one_never_panics(
            numbers: [u64; 3], times: [i128; 2], at: prop::sample::Index, with: char,
        ) {
            let [device, inode, size] = numbers;
            let [modified, changed] = times;
            let stamp = Stamp { device, inode, size, modified, changed };
            let text = stamp.to_string();
            prop_assert_eq!(text.parse(), Ok(stamp));
            let at = at.index(text.len());
            let _ = text[..at].parse::<Stamp>();
            let _ = format!("{}{with}{}", &text[..at], &text[at + 1..]).parse::<Stamp>();
        }
    }

    #[test]
    fn a_written_file_has_another_stamp() {
        let mut file = tempfile::tempfile().unwrap();
        let before = Stamp::of(&file).unwrap();
        file.write_all(b"x").unwrap();
        let after = Stamp::of(&file).unwrap();
        assert!(!before.is_same_data(&after));
        assert!(before.is_same_file(&after));
    }
}
