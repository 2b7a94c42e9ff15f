//! The files of a folder, in the order in which its parts go over them: by the names on the way, compared byte by byte.
//! So the same folder gives the same manifest everywhere.
//!
//! Links are not followed and, like devices and pipes, not in it: a composition is data alone. Every other file is,
//! also where its name begins with a dot. A folder without files cannot be told in a manifest.

use std::{
    fs::{self, DirEntry},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::ComposeError;
use crate::manifest::{FileEntry, FilePath, MAX_EXTRAS};

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// In order.
    pub files: Vec<FileEntry>,
    links: LeftOut,
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
        let told = [
            self.links.told("symbolic link", "symbolic links"),
            self.special.told("device or pipe", "devices and pipes"),
            self.empty.told("empty folder", "empty folders"),
        ];
        told.into_iter().flatten().collect()
    }
}

/// Looks through a folder.
pub fn walk(root: &Path) -> Result<Walk, ComposeError> {
    let mut walk = Walk::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| ComposeError::Read { path: folder.clone(), error };
        let mut is_empty = true;
        for entry in fs::read_dir(&folder).map_err(failed)? {
            is_empty = false;
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            match kind {
                _ if kind.is_dir() => folders.push(entry.path()),
                _ if kind.is_symlink() => walk.links.add(&entry.path()),
                _ if kind.is_file() => walk.files.push(file(root, &entry)?),
                _ => walk.special.add(&entry.path()),
            }
        }
        if is_empty && folder != root {
            walk.empty.add(&folder);
        }
    }
    let programs = walk.files.iter().filter(|file| file.executable).count();
    match walk.files.len() {
        0 => return Err(ComposeError::NoFiles(root.to_owned())),
        count if count + programs > MAX_EXTRAS => return Err(ComposeError::TooManyFiles(root.to_owned())),
        _ => {}
    }
    walk.files.sort_by(|a, b| a.path.components().cmp(b.path.components()));
    Ok(walk)
}

fn file(root: &Path, entry: &DirEntry) -> Result<FileEntry, ComposeError> {
    let path = entry.path();
    let meta = entry.metadata().map_err(|error| ComposeError::Read { path: path.clone(), error })?;
    let below = path.strip_prefix(root).unwrap_or(&path);
    let names: Option<Vec<&str>> = below.iter().map(|name| name.to_str()).collect();
    let names = names.ok_or_else(|| ComposeError::NameNotUtf8(path.clone()))?;
    let below = FilePath::join(names).map_err(|error| ComposeError::Name { path: path.clone(), error })?;
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
        let walk = walk(folder.path()).unwrap();
        let paths: Vec<_> = walk.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".hidden", "Z", "a/b/c", "a/z", "a-b", "b", "c", "run", "été"]);
        assert_eq!(walk.files.iter().map(|file| file.executable).filter(|x| *x).count(), 1);
        let told = walk.left_out();
        assert!(told[0].starts_with("left out: 2 symbolic links, such as ") && told[0].ends_with("a/link"), "{told:?}");
        assert!(told[1].starts_with("left out: 2 empty folders, such as "), "{told:?}");
    }

    #[test]
    fn what_no_member_could_take_is_refused() {
        let refused = |name: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
            walk(folder.path()).unwrap_err()
        };
        assert!(matches!(refused(b"a\\b"), ComposeError::Name { .. }));
        assert!(matches!(refused(b"a\n"), ComposeError::Name { .. }));
        assert!(matches!(refused(b"\xff"), ComposeError::NameNotUtf8(_)));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(walk(empty.path()), Err(ComposeError::NoFiles(_))));
    }
}
