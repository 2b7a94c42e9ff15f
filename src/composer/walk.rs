//! The files of a folder, in the order in which its parts go over them: by the names on the way, compared byte by byte.
//! So the same folder gives the same manifest everywhere.
//!
//! Devices and pipes are not in it: a composition is data alone. Links are followed only where that was asked for, never
//! in a circle, and those that leave the folder are named. Every other file is in it, also where its name begins with a
//! dot. A folder without files cannot be told in a manifest.

use std::{
    fs::{self, Metadata},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::ComposeError;
use crate::manifest::{FileEntry, FilePath, MAX_EXTRAS};

/// Folders that are looked through at most: links can lead into one folder on very many ways.
const MAX_FOLDERS: usize = MAX_EXTRAS;
/// Links out of the folder that people are told one by one, at most.
const MAX_LEAVING: usize = 10;

/// What a look through a folder takes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Links inside the folder are followed.
    pub follow_links: bool,
    /// This program's own log folder, as an absolute path without links: it is passed over.
    pub logs: Option<PathBuf>,
}

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// In order.
    pub files: Vec<FileEntry>,
    /// Links that lead out of the folder and are followed, with what they lead to; the first few.
    leaving: Vec<(PathBuf, PathBuf)>,
    /// Number of all such links.
    leaves: usize,
    links: LeftOut,
    circles: LeftOut,
    nowhere: LeftOut,
    logs: LeftOut,
    special: LeftOut,
    empty: LeftOut,
}

/// Things that are not in the composition: how many, and one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LeftOut {
    count: usize,
    one: PathBuf,
}

impl LeftOut {
    fn add(&mut self, path: &Path) {
        if self.count == 0 || path < self.one.as_path() {
            self.one = path.to_owned();
        }
        self.count += 1;
    }

    fn told(&self, one: &str, many: &str) -> Option<String> {
        let (count, path) = (self.count, self.one.display());
        match count {
            0 => None,
            1 => Some(format!("left out: 1 {one}, {path}")),
            _ => Some(format!("left out: {count} {many}, such as {path}")),
        }
    }
}

impl Walk {
    /// What is not in the composition, in lines for people; none if all is.
    pub fn left_out(&self) -> Vec<String> {
        let links = self.links.told("symbolic link", "symbolic links");
        let told = [
            links.map(|told| format!("{told} (--follow-links takes in what links lead to)")),
            self.circles.told("link that leads to a folder it is in", "links that lead to folders they are in"),
            self.nowhere.told("link that leads nowhere", "links that lead nowhere"),
            self.logs.told("folder of this program's logs", "folders of this program's logs"),
            self.special.told("device or pipe", "devices and pipes"),
            self.empty.told("empty folder", "empty folders"),
        ];
        self.told_leaving().into_iter().chain(told.into_iter().flatten()).collect()
    }

    /// Links that lead out of the folder, in lines for people.
    fn told_leaving(&self) -> Vec<String> {
        let line = |(link, to): &(PathBuf, PathBuf)| {
            format!("leads out of the folder: {} -> {}", link.display(), to.display())
        };
        let mut lines: Vec<_> = self.leaving.iter().map(line).collect();
        if self.leaves > self.leaving.len() {
            lines.push(format!("and {} more links lead out of the folder", self.leaves - self.leaving.len()));
        }
        lines
    }
}

/// A folder on the way through another.
struct Way {
    /// Below the first one, as it is named there.
    path: PathBuf,
    /// The same without links.
    real: PathBuf,
    /// Folders without links that the followed links on the way here were in.
    trail: Rc<Vec<PathBuf>>,
}

impl Way {
    /// Whether a link here to this folder leads back to where the way came from.
    fn comes_from(&self, target: &Path) -> bool {
        self.trail.iter().chain([&self.real]).any(|before| before.starts_with(target))
    }
}

/// Looks through a folder, which may be named by a link.
pub fn walk(root: &Path, rules: &Rules) -> Result<Walk, ComposeError> {
    let mut walk = Walk::default();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ComposeError::Read { path, error }
    };
    let top = root.canonicalize().map_err(failed(root))?;
    let mut ways = vec![Way { path: root.to_owned(), real: top.clone(), trail: Rc::default() }];
    let mut folders = 0;
    while let Some(way) = ways.pop() {
        folders += 1;
        if folders > MAX_FOLDERS || walk.files.len() > MAX_EXTRAS {
            return Err(ComposeError::TooManyFiles(root.to_owned()));
        }
        let mut is_empty = true;
        for entry in fs::read_dir(&way.path).map_err(failed(&way.path))? {
            is_empty = false;
            let entry = entry.map_err(failed(&way.path))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed(&way.path))?);
            let real = way.real.join(entry.file_name());
            match kind {
                _ if kind.is_dir() && rules.logs.as_ref() == Some(&real) => walk.logs.add(&path),
                _ if kind.is_dir() => ways.push(Way { path, real, trail: way.trail.clone() }),
                _ if kind.is_symlink() && rules.follow_links => walk.follow(root, &top, &way, path, &mut ways)?,
                _ if kind.is_symlink() => walk.links.add(&path),
                _ if kind.is_file() => {
                    let meta = entry.metadata().map_err(failed(&path))?;
                    walk.files.push(file(root, &path, &meta)?);
                }
                _ => walk.special.add(&path),
            }
        }
        if is_empty && way.path != root {
            walk.empty.add(&way.path);
        }
    }
    let programs = walk.files.iter().filter(|file| file.executable).count();
    match walk.files.len() {
        0 if walk.links.count > 0 => {
            return Err(ComposeError::OnlyLinks { folder: root.to_owned(), links: walk.links.count });
        }
        0 => return Err(ComposeError::NoFiles(root.to_owned())),
        count if count + programs > MAX_EXTRAS => return Err(ComposeError::TooManyFiles(root.to_owned())),
        _ => {}
    }
    walk.files.sort_by(|a, b| a.path.components().cmp(b.path.components()));
    walk.leaving.sort();
    walk.leaving.truncate(MAX_LEAVING);
    Ok(walk)
}

impl Walk {
    /// Takes in what this link leads to.
    fn follow(
        &mut self,
        root: &Path,
        top: &Path,
        way: &Way,
        path: PathBuf,
        ways: &mut Vec<Way>,
    ) -> Result<(), ComposeError> {
        let (Ok(real), Ok(meta)) = (path.canonicalize(), fs::metadata(&path)) else {
            self.nowhere.add(&path);
            return Ok(());
        };
        if meta.is_dir() && way.comes_from(&real) {
            self.circles.add(&path);
            return Ok(());
        }
        if !meta.is_dir() && !meta.is_file() {
            self.special.add(&path);
            return Ok(());
        }
        if !real.starts_with(top) {
            self.leaves += 1;
            self.leaving.push((path.clone(), real.clone()));
            self.bound_leaving();
        }
        if meta.is_file() {
            self.files.push(file(root, &path, &meta)?);
            return Ok(());
        }
        let mut trail = way.trail.to_vec();
        trail.push(way.real.clone());
        ways.push(Way { path, real, trail: Rc::new(trail) });
        Ok(())
    }

    /// Keeps the first by name, and not more than a few.
    fn bound_leaving(&mut self) {
        if self.leaving.len() > 2 * MAX_LEAVING {
            self.leaving.sort();
            self.leaving.truncate(MAX_LEAVING);
        }
    }
}

fn file(root: &Path, path: &Path, meta: &Metadata) -> Result<FileEntry, ComposeError> {
    let below = path.strip_prefix(root).unwrap_or(path);
    let names: Option<Vec<&str>> = below.iter().map(|name| name.to_str()).collect();
    let names = names.ok_or_else(|| ComposeError::NameNotUtf8(path.to_owned()))?;
    let below = FilePath::join(names).map_err(|error| ComposeError::Name { path: path.to_owned(), error })?;
    let executable = meta.permissions().mode() & 0o100 != 0;
    Ok(FileEntry { executable, ..FileEntry::new(meta.len(), below) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    use super::*;

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            path
        };
        for name in ["b", "a/z", "a-b", "a/b/c", ".hidden", "été", "Z", "c"] {
            write(name);
        }
        fs::set_permissions(write("run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/etc/passwd", folder.path().join("a/link")).unwrap();
        symlink("/", folder.path().join("root")).unwrap();
        fs::create_dir_all(folder.path().join("none/below")).unwrap();
        fs::create_dir(folder.path().join("nothing")).unwrap();
        let walk = walk(folder.path(), &Rules::default()).unwrap();
        let paths: Vec<_> = walk.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".hidden", "Z", "a/b/c", "a/z", "a-b", "b", "c", "run", "été"]);
        assert_eq!(walk.files.iter().map(|file| file.executable).filter(|x| *x).count(), 1);
        let told = walk.left_out();
        assert!(
            told[0].starts_with("left out: 2 symbolic links, such as ") && told[0].contains("a/link ("),
            "{told:?}"
        );
        assert!(told[1].starts_with("left out: 2 empty folders, such as "), "{told:?}");
    }

    #[test]
    fn what_no_member_could_take_is_refused() {
        let refused = |name: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
            walk(folder.path(), &Rules::default()).unwrap_err()
        };
        assert!(matches!(refused(b"a\\b"), ComposeError::Name { .. }));
        assert!(matches!(refused(b"a\n"), ComposeError::Name { .. }));
        assert!(matches!(refused(b"\xff"), ComposeError::NameNotUtf8(_)));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(walk(empty.path(), &Rules::default()), Err(ComposeError::NoFiles(_))));
    }

    fn follow(folder: &Path) -> Result<Walk, ComposeError> {
        walk(folder, &Rules { follow_links: true, logs: None })
    }

    fn paths(walk: &Walk) -> Vec<&str> {
        walk.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn links_are_followed_where_that_is_asked() {
        // As a Hugging Face cache has it: every file of a snapshot is a link to a blob.
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("blobs")).unwrap();
        fs::create_dir_all(at("snapshots/main/deep")).unwrap();
        fs::write(at("blobs/1"), "one").unwrap();
        fs::write(at("blobs/2"), "three").unwrap();
        symlink("../../blobs/1", at("snapshots/main/config.json")).unwrap();
        symlink("../../../blobs/2", at("snapshots/main/deep/model.bin")).unwrap();
        symlink("config.json", at("snapshots/main/same.json")).unwrap();
        let refused = walk(&at("snapshots/main"), &Rules::default()).unwrap_err();
        assert!(refused.to_string().contains("3 symbolic links") && refused.to_string().contains("--follow-links"));
        let walk = follow(&at("snapshots/main")).unwrap();
        assert_eq!(paths(&walk), ["config.json", "deep/model.bin", "same.json"]);
        assert_eq!(walk.files.iter().map(|file| file.size).collect::<Vec<_>>(), [3, 5, 3]);
        let told = walk.left_out();
        assert!(told[0].starts_with("leads out of the folder: ") && told[0].ends_with("/blobs/1"), "{told:?}");
        assert_eq!(told.len(), 3, "the one between them leads out of it too: {told:?}");
        symlink(at("snapshots/main"), at("link")).unwrap();
        assert_eq!(paths(&follow(&at("link")).unwrap()), paths(&walk), "the folder itself may be named by a link");
    }

    #[test]
    fn no_circle_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("a/deep")).unwrap();
        fs::create_dir(at("b")).unwrap();
        fs::write(at("a/x"), "x").unwrap();
        fs::write(at("b/y"), "y").unwrap();
        symlink(".", at("a/self")).unwrap();
        symlink("..", at("a/deep/up")).unwrap();
        symlink("../b", at("a/other")).unwrap();
        symlink("../a", at("b/back")).unwrap();
        symlink("lost", at("a/dangling")).unwrap();
        symlink("loop", at("a/loop")).unwrap();
        let walk = follow(&at("a")).unwrap();
        assert_eq!(paths(&walk), ["other/y", "x"]);
        let told = walk.left_out();
        assert!(told[0].ends_with("/b"), "{told:?}");
        assert!(
            told.iter().any(|line| line.starts_with("left out: 3 links that lead to folders they are in")),
            "{told:?}"
        );
        assert!(told.iter().any(|line| line.starts_with("left out: 2 links that lead nowhere")), "{told:?}");
    }

    #[test]
    fn our_own_logs_are_passed_over_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap();
        for name in ["logs", "deep/logs"] {
            fs::create_dir_all(real.join(name)).unwrap();
            fs::write(real.join(name).join("x"), "x").unwrap();
        }
        let own = walk(place.path(), &Rules { follow_links: false, logs: Some(real.join("logs")) }).unwrap();
        assert_eq!(paths(&own), ["deep/logs/x"]);
        assert!(own.left_out()[0].starts_with("left out: 1 folder of this program's logs"));
    }
}
