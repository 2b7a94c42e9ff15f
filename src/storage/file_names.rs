//! Names that the file system refuses, or takes for one another: found before the first byte is asked for.
//!
//! A manifest's names are legal names of real files, and still not every file system has room for them: exFAT and NTFS
//! refuse `a:b`, and to them, and to macOS, `README` and `readme` are one file, whose bytes would replace each other.
//! Nobody can know what a file system takes but itself, so names that are in doubt are made in an empty folder beside the
//! composition, which is gone right after. Names of letters, digits and `-_.` that differ by more than case are not in
//! doubt: as a rule nothing is made.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::Path,
};

use super::{StorageError, os};

/// No file system that is in use refuses a plain name up to this many bytes.
const SURELY_SHORT: usize = 100;
/// Names that FAT and NTFS keep for devices, with any ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A folder in which names can be tried.
pub(super) trait Trial {
    /// Makes an empty file of this name: an error of the kind `AlreadyExists` if the file system takes it for one that
    /// was made before.
    fn make(&mut self, name: &str) -> io::Result<()>;
    /// Removes all that was made.
    fn clear(&mut self) -> io::Result<()>;
}

/// What is wrong with the names.
#[derive(Debug)]
pub(super) enum Trouble {
    Refused(String, io::Error),
    Same(String, String),
    /// It could not be tried.
    Failed(io::Error),
}

/// Tries these paths, which are relative, as names in this folder, which is there.
pub(super) fn check<'a>(folder: &Path, paths: impl Iterator<Item = &'a str>) -> Result<(), StorageError> {
    let mut trial = None;
    let refused = |trouble| match trouble {
        Trouble::Refused(name, source) => StorageError::NameRefused { path: folder.join(&name), name, source },
        Trouble::Same(one, other) => StorageError::OneName { path: folder.to_owned(), one, other },
        Trouble::Failed(error) => StorageError::io(folder, "try names in it", error),
    };
    find_trouble(paths, &mut InFolder { folder, trial: &mut trial }).map_err(refused)
}

/// Tries these paths.
pub(super) fn find_trouble<'a>(paths: impl Iterator<Item = &'a str>, trial: &mut dyn Trial) -> Result<(), Trouble> {
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for path in paths {
        let mut rest = path;
        loop {
            let (folder, name) = rest.rsplit_once('/').unwrap_or(("", rest));
            let is_new = folders.entry(folder).or_default().insert(name);
            if folder.is_empty() || !is_new {
                break;
            }
            rest = folder;
        }
    }
    let mut doubts = Doubts::default();
    for (folder, names) in &folders {
        for name in names.iter().filter(|name| doubts.has(name)) {
            match trial.make(name) {
                // Another spelling of one that was tried: whether that matters is seen below.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(trouble(join(folder, name), error)),
                Ok(()) => {}
            }
        }
    }
    trial.clear().map_err(Trouble::Failed)?;
    let mut alike =
        folders.iter().flat_map(|(folder, names)| alike(names).map(move |names| (*folder, names))).peekable();
    if alike.peek().is_none() || !takes_two_for_one(trial)? {
        return Ok(());
    }
    alike.try_for_each(|(folder, names)| find_same(folder, &names, trial))
}

/// Whether the file system takes any two names for one.
fn takes_two_for_one(trial: &mut dyn Trial) -> Result<bool, Trouble> {
    let mut does = false;
    for name in ["a", "A", "b", "b.", "\u{e9}", "e\u{301}"] {
        does |= trial.make(name).is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
    }
    trial.clear().map_err(Trouble::Failed)?;
    Ok(does)
}

/// Of the names of one folder, each group that may be one name to some file system.
fn alike<'a>(names: &BTreeSet<&'a str>) -> impl Iterator<Item = Vec<&'a str>> + use<'a> {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        alike.entry(alike_key(name)).or_default().push(name);
    }
    alike.into_values().filter(|names| names.len() > 1)
}

/// Of these names in one folder, two that the file system takes for one.
fn find_same(folder: &str, names: &[&str], trial: &mut dyn Trial) -> Result<(), Trouble> {
    let mut made: Vec<&str> = Vec::new();
    for name in names {
        match trial.make(name) {
            Ok(()) => made.push(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // The nearest of them: its letters are the same.
                let same = made.iter().find(|other| other.to_lowercase() == name.to_lowercase());
                let other = same.or(made.first()).copied().unwrap_or(name);
                return Err(Trouble::Same(join(folder, other), join(folder, name)));
            }
            Err(error) => return Err(trouble(join(folder, name), error)),
        }
    }
    trial.clear().map_err(Trouble::Failed)
}

/// Names with the same key may be one to some file system. Letters beyond ASCII may be spelt in several ways (é as one
/// character, or as e and an accent), and FAT drops dots and blanks at the end.
fn alike_key(name: &str) -> String {
    match name.is_ascii() {
        true => name.trim_end_matches(['.', ' ']).to_lowercase(),
        false => "\u{80}".to_owned(),
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn trouble(name: String, error: io::Error) -> Trouble {
    use rustix::io::Errno;
    const REFUSALS: [Errno; 5] = [Errno::INVAL, Errno::ILSEQ, Errno::NAMETOOLONG, Errno::NOENT, Errno::PROTO];
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    match number.is_some_and(|number| REFUSALS.contains(&number)) {
        true => Trouble::Refused(name, error),
        false => Trouble::Failed(error),
    }
}

/// Chooses the names that may be refused: each with something that none before had.
#[derive(Default)]
struct Doubts {
    seen: HashSet<char>,
    at_the_end: HashSet<char>,
    devices: HashSet<String>,
    longest: (usize, usize),
}

impl Doubts {
    fn has(&mut self, name: &str) -> bool {
        let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let mut doubt = false;
        for c in name.chars().filter(odd) {
            doubt |= self.seen.insert(c);
        }
        if let Some(last) = name.chars().last().filter(|c| odd(c) || *c == '.') {
            doubt |= self.at_the_end.insert(last);
        }
        let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_numbered = stem.len() == 4 && (stem.starts_with("com") || stem.starts_with("lpt"));
        if is_numbered || DEVICES.contains(&stem.as_str()) {
            doubt |= self.devices.insert(stem);
        }
        // Some count bytes, some the units of UTF-16.
        let len = (name.len(), name.encode_utf16().count());
        if len.0 > SURELY_SHORT && (len.0 > self.longest.0 || len.1 > self.longest.1) {
            self.longest = (len.0.max(self.longest.0), len.1.max(self.longest.1));
            doubt = true;
        }
        doubt
    }
}

/// A folder of its own below the one where the composition goes, made when the first name is tried.
struct InFolder<'a> {
    folder: &'a Path,
    trial: &'a mut Option<tempfile::TempDir>,
}

impl Trial for InFolder<'_> {
    fn make(&mut self, name: &str) -> io::Result<()> {
        let folder = match self.trial {
            Some(folder) => folder,
            None => self.trial.insert(tempfile::Builder::new().prefix(".orchestra-").tempdir_in(self.folder)?),
        };
        os::create_new(&folder.path().join(name)).map(drop)
    }

    fn clear(&mut self) -> io::Result<()> {
        let Some(folder) = self.trial else { return Ok(()) };
        for entry in fs::read_dir(folder.path())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    /// A file system like exFAT, in short.
    #[derive(Default)]
    struct Fat {
        there: BTreeSet<String>,
        tried: Vec<String>,
    }

    impl Trial for Fat {
        fn make(&mut self, name: &str) -> io::Result<()> {
            self.tried.push(name.to_owned());
            if name.contains(['"', '*', ':', '<', '>', '?', '|']) || name.encode_utf16().count() > 255 {
                return Err(Errno::INVAL.into());
            }
            // é as one character or two.
            let key = name.trim_end_matches(['.', ' ']).to_lowercase().replace("e\u{301}", "é");
            self.there.insert(key).then_some(()).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
        }

        fn clear(&mut self) -> io::Result<()> {
            self.there.clear();
            Ok(())
        }
    }

    fn trouble_of(paths: &[&str]) -> Result<Vec<String>, Trouble> {
        let mut fat = Fat::default();
        find_trouble(paths.iter().copied(), &mut fat).map(|()| fat.tried)
    }

    #[test]
    fn plain_names_are_not_even_tried() {
        let plain = ["README.md", "src/lib.rs", "src/bin/a-b_c.rs", "docs/README.md", "x"];
        assert!(trouble_of(&plain).unwrap().is_empty());
    }

    #[test]
    fn a_name_that_is_refused_is_named_with_its_path() {
        for bad in ["a/what?.txt", "a:b/c", "a/b/12:30"] {
            match trouble_of(&["a/x", "y", bad]) {
                Err(Trouble::Refused(name, _)) => assert!(bad.starts_with(&name) && name.contains([':', '?'])),
                other => panic!("{bad}: {other:?}"),
            }
        }
        let long = "日".repeat(80);
        assert_eq!(trouble_of(&[&long, "a b"]).unwrap().len(), 2);
    }

    #[test]
    fn names_that_are_one_are_named_both() {
        for [one, other] in
            [["a/README", "a/readme"], ["Docs/x", "docs/y"], ["x", "x."], ["deep/er/é", "deep/er/e\u{301}"]]
        {
            match trouble_of(&["z", one, other, "a/b"]) {
                Err(Trouble::Same(..)) => {}
                other => panic!("{one}: {other:?}"),
            }
        }
        assert!(trouble_of(&["a/README", "b/readme", "é", "ü"]).is_ok(), "in two folders they are two");
    }

    #[test]
    fn few_of_many_alike_are_tried_for_what_is_refused() {
        let many: Vec<String> = (0..1000).map(|n| format!("{} song {n}.mp3", "日本語")).collect();
        let mut fat = Fat::default();
        let mut doubts = Doubts::default();
        let tried = many.iter().filter(|name| doubts.has(name)).map(|name| fat.make(name)).count();
        assert_eq!(tried, 1);
    }

    #[test]
    fn a_real_folder_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), ["a b", "A B", "é/x", "con", &"x".repeat(200)].into_iter()).unwrap();
        let error = check(folder.path(), ["x".repeat(256).as_str()].into_iter()).unwrap_err();
        assert!(matches!(&error, StorageError::NameRefused { name, .. } if name.len() == 256), "{error}");
        assert!(error.is_of_the_disk());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
