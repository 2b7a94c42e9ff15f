//! What there is to share: files that are named, and the files of folders that are named, each folder in these being one
//! composition. It only looks.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::look::Look;
use crate::manifest::{Name, NameError};

/// Endings of what belongs to a composition and is none.
const NONE: [&str; 3] = ["orch", "torrent", "part"];

/// What a look found.
#[derive(Debug, Default)]
pub struct Found {
    /// Files and folders.
    pub all: Vec<(PathBuf, Look)>,
    pub passed: Vec<Passed>,
}

/// What was passed over, for people to know.
#[derive(Debug, thiserror::Error)]
pub enum Passed {
    #[error("{0}: a symbolic link, which nobody shares through: name what it leads to")]
    Link(PathBuf),
    #[error("{0}: no ordinary file, and holds nothing to share: name a file or a folder")]
    Special(PathBuf),
    #[error("{path}: not shared: {error}: rename it")]
    Name { path: PathBuf, error: NameError },
    #[error("{0}: not shared: its name is not UTF-8: rename it")]
    NotUtf8(PathBuf),
    #[error("{path}: cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
}

/// Looks at these files and folders. Blocks.
pub fn scan(named: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in named {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => found.folder(path),
            // In a folder it is passed over in silence; who names it means it.
            Ok(meta) if !meta.is_file() && !path.is_symlink() => found.passed.push(Passed::Special(path.clone())),
            Ok(_) => found.entry(path.clone()),
            // It leads nowhere.
            Err(_) if path.is_symlink() => found.passed.push(Passed::Link(path.clone())),
            // It was there: it is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.passed.push(Passed::Unreadable { path: path.clone(), error }),
        }
    }
    found.all.sort_by(|a, b| a.0.cmp(&b.0));
    found.all.dedup_by(|a, b| a.0 == b.0);
    found
}

impl Found {
    fn folder(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.passed.push(Passed::Unreadable { path: folder.to_owned(), error }),
        };
        for entry in entries {
            match entry {
                Ok(entry) if is_none(&entry.path()) => {}
                Ok(entry) => self.entry(entry.path()),
                Err(error) => self.passed.push(Passed::Unreadable { path: folder.to_owned(), error }),
            }
        }
    }

    fn entry(&mut self, path: PathBuf) {
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.passed.push(Passed::Unreadable { path, error }),
        };
        let name = path.file_name().and_then(|name| name.to_str()).map(Name::new);
        match name {
            _ if meta.is_symlink() => self.passed.push(Passed::Link(path)),
            // Pipes, sockets and devices hold nothing to share.
            _ if !meta.is_file() && !meta.is_dir() => {}
            Some(Ok(_)) => self.look(path, meta.is_dir()),
            Some(Err(error)) => self.passed.push(Passed::Name { path, error }),
            None => self.passed.push(Passed::NotUtf8(path)),
        }
    }

    fn look(&mut self, path: PathBuf, is_folder: bool) {
        match Look::at(&path) {
            // No composition yet.
            Ok(look) if is_folder && look.is_empty_folder() => {}
            Ok(look) => self.all.push((path, look)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.passed.push(Passed::Unreadable { path, error }),
        }
    }
}

/// Whether what is at this path does not matter to what is shared of the folder `named`.
pub fn passes_over(named: &Path, path: &Path) -> bool {
    let first = path.strip_prefix(named).ok().and_then(|below| below.components().next());
    first.is_some_and(|first| is_none(Path::new(first.as_os_str())))
}

/// Hidden, a log, or what belongs to a composition.
fn is_none(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().is_some_and(|end| NONE.iter().any(|none| end.eq_ignore_ascii_case(none)));
    name.starts_with('.') || name == "logs" || name.ends_with(".part.state") || ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_files_and_says_what_it_passes_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b", "a.iso", ".hidden", "a.orch", "b.Torrent", "c.part", "c.part.state", "bad\nname"] {
            fs::write(at(name), "x").unwrap();
        }
        fs::create_dir_all(at("sub/deep")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("sub/deep/x"), "x").unwrap();
        fs::create_dir(at("logs")).unwrap();
        std::os::unix::fs::symlink("b", at("link")).unwrap();
        let found = scan(&[folder.path().to_owned(), at("b")]);
        let names: Vec<_> = found.all.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(names, [at("a.iso"), at("b"), at("sub")]);
        let mut passed: Vec<_> = found.passed.iter().map(ToString::to_string).collect();
        passed.sort();
        assert_eq!(passed.len(), 2, "{passed:?}");
        assert!(passed[0].contains("control") && passed[1].contains("link"), "{passed:?}");
    }

    #[test]
    fn what_lies_in_something_passed_over_is_passed_over() {
        let passes = |path| passes_over(Path::new("/d"), Path::new(path));
        for path in ["/d/logs/member.log", "/d/.git/x/y", "/d/x.part/a", "/d/x.orch"] {
            assert!(passes(path), "{path}");
        }
        for path in ["/d", "/d/sub/.hidden", "/d/sub/logs/x", "/e/logs"] {
            assert!(!passes(path), "{path}");
        }
    }

    #[test]
    fn what_is_named_is_shared_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".hidden.part");
        fs::write(&path, "x").unwrap();
        assert_eq!(scan(std::slice::from_ref(&path)).all[0].0, path);
        assert!(scan(&[folder.path().join("gone")]).passed.is_empty());
        let nowhere = folder.path().join("nowhere");
        std::os::unix::fs::symlink("gone", &nowhere).unwrap();
        let found = scan(&[nowhere, "/dev/null".into()]);
        assert!(matches!(found.passed[..], [Passed::Link(_), Passed::Special(_)]), "{:?}", found.passed);
    }
}
