//! Small text notes that are either whole or not there: the last line is the SHA-1 of all before it, and a note appears
//! under its name only when it is written.
//!
//! A note is hostile input like any other: its size is bounded, what it says is compared with the file itself, and one that
//! another user wrote or may write ([`own`]) is none at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{StorageError, os, own};
use crate::hashing::Digest;

/// More than the longest note: 2^20 parts as hex digits, and a few lines.
const MAX_LEN: u64 = 1 << 20;

/// Writes `body`, whole lines of text, under this name, in place of what is there.
pub fn write(path: &Path, body: &str) -> Result<(), StorageError> {
    let new = beside(path, ".new");
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(StorageError::io(&new, "remove it", e)),
        _ => {}
    }
    let written = write_new(&new, body).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        // Half a note is of no use to anybody.
        let _ = fs::remove_file(&new);
        StorageError::io(path, "write the note", error)
    })
}

fn write_new(path: &Path, body: &str) -> io::Result<()> {
    os::create_private(path)?.write_all(seal(body).as_bytes())
}

/// The body of the note of this name; None if there is none that is ours alone, or it is not as it was written.
pub fn read(path: &Path) -> Option<String> {
    read_from(own::open(path).ok()?)
}

/// The same, whoever wrote it: good for what nobody can gain by.
pub fn read_anybodys(path: &Path) -> Option<String> {
    read_from(os::open_existing(path, false).ok()?)
}

fn read_from(file: File) -> Option<String> {
    let mut text = String::new();
    file.take(MAX_LEN).read_to_string(&mut text).ok()?;
    open_seal(&text).map(str::to_owned)
}

/// The text of a note of this body, whole lines of text.
pub fn seal(body: &str) -> String {
    format!("{body}check {}\n", Digest::of(body.as_bytes()))
}

/// The body of the note that is this text; None if it is not as it was written.
pub fn open_seal(text: &str) -> Option<&str> {
    let (rest, seal) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = &text[..rest.len() + 1];
    let expected: Digest = seal.strip_prefix("check ")?.parse().ok()?;
    (Digest::of(body.as_bytes()) == expected).then_some(body)
}

/// Removes the files of a folder of notes that were written `max_age` ago or longer, and of the others the oldest, so that
/// `most` stay.
pub fn forget_old(folder: &Path, most: usize, max_age: Duration, now: SystemTime) -> Result<(), StorageError> {
    let failed = |error| StorageError::io(folder, "tidy it", error);
    let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        all.push((entry.metadata().and_then(|data| data.modified()).map_err(failed)?, entry.path()));
    }
    all.sort();
    let too_many = all.len().saturating_sub(most);
    let is_stale = |written: SystemTime| now.duration_since(written).is_ok_and(|age| age >= max_age);
    for (nth, (written, path)) in all.into_iter().enumerate() {
        if nth < too_many || is_stale(written) {
            fs::remove_file(path).map_err(failed)?;
        }
    }
    Ok(())
}

/// This path with something added to its last component.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_note_is_read_back_as_written_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        assert_eq!(read(&path), None);
        write(&path, "one\n").unwrap();
        write(&path, "two\nlines\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("two\nlines\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn old_notes_and_those_that_are_too_many_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        for days in 0..5 {
            let path = dir.path().join(days.to_string());
            write(&path, "note\n").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(now - day * days).unwrap();
        }
        let left = |most, max_age| {
            forget_old(dir.path(), most, max_age, now).unwrap();
            let names =
                fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names.concat()
        };
        assert_eq!(left(9, day * 9), "01234");
        assert_eq!(left(9, day * 4), "0123");
        assert_eq!(left(2, day * 4), "01");
    }

    proptest! {
        #[test]
        fn a_sealed_body_is_read_back(lines in prop::collection::vec("\\PC{0,30}", 1..5)) {
            let body = lines.join("\n") + "\n";
            let text = seal(&body);
            prop_assert_eq!(open_seal(&text), Some(body.as_str()));
            for (end, _) in text.char_indices() {
                prop_assert_eq!(open_seal(&text[..end]), None);
            }
        }

        #[test]
        fn a_changed_or_cut_note_is_none(at in 0usize..60, flip in 1u8..=255) {
            let body = "orchestra\nparts 00ff\n";
            let text = seal(body);
            prop_assert_eq!(open_seal(&text), Some(body));
            let at = at % text.len();
            prop_assert_eq!(open_seal(&text[..at]), None);
            let mut bytes = text.into_bytes();
            bytes[at] ^= flip;
            // The case of a hex digit is no change.
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assume!(flip != 0x20);
                prop_assert_eq!(open_seal(&text), None);
            }
        }
    }
}
