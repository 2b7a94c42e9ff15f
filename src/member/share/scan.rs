//! What there is to share: files that are named, and the entries of folders that are named, each folder in these being one
//! composition; or the named folders themselves, each as one. It only looks.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::look::{Glass, Look};
use crate::{
    composer::Rules,
    manifest::{Name, NameError},
    storage::Writers,
};

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
    #[error("{0}: a symbolic link: --follow-links shares what it leads to, and so does naming it")]
    Link(PathBuf),
    #[error("{0}: a symbolic link that leads nowhere")]
    Nowhere(PathBuf),
    #[error("{0}: no ordinary file, and holds nothing to share: name a file or a folder")]
    Special(PathBuf),
    #[error("{path}: not shared: {error}: rename it")]
    Name { path: PathBuf, error: NameError },
    #[error("{0}: not shared: its name is not UTF-8: rename it")]
    NotUtf8(PathBuf),
    #[error("{path}: cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
}

/// What is named, and how it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Named {
    pub paths: Vec<PathBuf>,
    /// Each folder is one composition, and not each entry of it.
    pub as_one: bool,
    pub rules: Rules,
}

/// Looks at these files and folders. Blocks.
pub fn scan(named: &Named) -> Found {
    let glass = Glass { rules: named.rules.clone(), writers: Writers::now() };
    let mut found = Found::default();
    for path in &named.paths {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() && !named.as_one => found.folder(path, &glass),
            Ok(meta) if meta.is_dir() || meta.is_file() => found.entry(path.clone(), &meta, &glass),
            // In a folder it is passed over in silence; who names it means it.
            Ok(_) => found.passed.push(Passed::Special(path.clone())),
            Err(_) if path.is_symlink() => found.passed.push(Passed::Nowhere(path.clone())),
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
    fn folder(&mut self, folder: &Path, glass: &Glass) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.passed.push(Passed::Unreadable { path: folder.to_owned(), error }),
        };
        for entry in entries {
            match entry {
                Ok(entry) if is_none(&entry.path()) || is_logs(&entry.path(), &glass.rules) => {}
                Ok(entry) => self.inside(entry.path(), glass),
                Err(error) => self.passed.push(Passed::Unreadable { path: folder.to_owned(), error }),
            }
        }
    }

    /// What is in a folder that is named.
    fn inside(&mut self, path: PathBuf, glass: &Glass) {
        let is_link = path.is_symlink();
        if is_link && !glass.rules.follow_links {
            return self.passed.push(Passed::Link(path));
        }
        match fs::metadata(&path) {
            Ok(meta) => self.entry(path, &meta, glass),
            Err(_) if is_link => self.passed.push(Passed::Nowhere(path)),
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.passed.push(Passed::Unreadable { path, error }),
        }
    }

    fn entry(&mut self, path: PathBuf, meta: &fs::Metadata, glass: &Glass) {
        let name = path.file_name().and_then(|name| name.to_str()).map(Name::new);
        match name {
            // Pipes, sockets and devices hold nothing to share.
            _ if !meta.is_file() && !meta.is_dir() => {}
            Some(Ok(_)) => self.look(path, meta.is_dir(), glass),
            Some(Err(error)) => self.passed.push(Passed::Name { path, error }),
            None => self.passed.push(Passed::NotUtf8(path)),
        }
    }

    fn look(&mut self, path: PathBuf, is_folder: bool, glass: &Glass) {
        match Look::at(&path, glass) {
            // No composition yet.
            Ok(look) if is_folder && look.is_empty_folder() => {}
            Ok(look) => self.all.push((path, look)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.passed.push(Passed::Unreadable { path, error }),
        }
    }
}

/// Whether this folder is that of our own logs.
fn is_logs(path: &Path, rules: &Rules) -> bool {
    rules.logs.as_ref().is_some_and(|logs| path.canonicalize().is_ok_and(|real| real == *logs))
}

/// Whether what is at this path does not matter to what is shared of the folder `named`, one of them all.
pub fn passes_over(all: &Named, named: &Path, path: &Path) -> bool {
    if all.rules.logs.as_ref().is_some_and(|logs| path.starts_with(logs)) {
        return true;
    }
    if all.as_one {
        return false;
    }
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

    fn named(paths: &[&Path]) -> Named {
        Named { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..Named::default() }
    }

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
        let found = scan(&named(&[folder.path(), &at("b")]));
        let names: Vec<_> = found.all.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(names, [at("a.iso"), at("b"), at("sub")]);
        let mut passed: Vec<_> = found.passed.iter().map(ToString::to_string).collect();
        passed.sort();
        assert_eq!(passed.len(), 2, "{passed:?}");
        assert!(passed[0].contains("control") && passed[1].contains("link"), "{passed:?}");
    }

    #[test]
    fn what_lies_in_something_passed_over_is_passed_over() {
        let all = named(&[Path::new("/d")]);
        let passes = |path| passes_over(&all, Path::new("/d"), Path::new(path));
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
        assert_eq!(scan(&named(&[&path])).all[0].0, path);
        assert!(scan(&named(&[&folder.path().join("gone")])).passed.is_empty());
        let nowhere = folder.path().join("nowhere");
        std::os::unix::fs::symlink("gone", &nowhere).unwrap();
        let found = scan(&named(&[&nowhere, Path::new("/dev/null")]));
        assert!(matches!(found.passed[..], [Passed::Nowhere(_), Passed::Special(_)]), "{:?}", found.passed);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(".hidden.part", &link).unwrap();
        assert_eq!(scan(&named(&[&link])).all[0].0, link, "under its own name");
    }

    #[test]
    fn a_folder_may_be_shared_as_one_with_links_and_without_our_logs() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::write(real.join("a"), "one").unwrap();
        fs::write(real.join(".b"), "three").unwrap();
        fs::create_dir(real.join("logs")).unwrap();
        fs::write(real.join("logs/member.log"), "log").unwrap();
        std::os::unix::fs::symlink("a", real.join("link")).unwrap();
        let mut all = Named { as_one: true, ..named(&[&real]) };
        all.rules.logs = Some(real.join("logs"));
        let size = |all: &Named| scan(all).all.iter().map(|(_, look)| look.stamp.size).collect::<Vec<_>>();
        assert_eq!(size(&all), [8]);
        all.rules.follow_links = true;
        assert_eq!(size(&all), [11]);
        all.as_one = false;
        assert_eq!(size(&all), [3, 3], "the link by itself");
        assert!(passes_over(&all, &real, &real.join("logs/member.log")));
        let whole = Named { as_one: true, ..all };
        assert!(!passes_over(&whole, &real, &real.join(".b")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_open_for_writing_is_seen_in_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let _open = fs::File::create(folder.path().join("sub/x")).unwrap();
        fs::write(folder.path().join("y"), "y").unwrap();
        let found = scan(&named(&[folder.path()]));
        let written: Vec<_> = found.all.iter().map(|(_, look)| (look.is_written, look.is_known)).collect();
        assert_eq!(written, [(true, true), (false, true)]);
    }
}
