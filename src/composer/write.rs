//! Puts what was composed on the disk: each file appears under its name only when it is whole and synced.
//!
//! A crash in between leaves at most a hidden temporary file beside it; an error leaves nothing.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::Access;
use tempfile::NamedTempFile;

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Output {
    /// Whether exactly this is on the disk already.
    pub fn is_there(&self) -> bool {
        let same_len = |found: fs::Metadata| found.is_file() && found.len() == self.bytes.len() as u64;
        fs::metadata(&self.path).is_ok_and(same_len) && fs::read(&self.path).is_ok_and(|bytes| bytes == self.bytes)
    }
}

/// Why an output was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{} exists already: give --force to replace it, or another name with -o", .0.display())]
    Exists(PathBuf),
    #[error("{} is no ordinary file and is left alone: give another name with -o", .0.display())]
    Special(PathBuf),
    #[error("cannot write into the folder {}: {error}; give another place with -o", .folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    #[error("cannot write {}: {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// Looks whether an output can be written at this path, before hours are spent on what goes into it.
pub fn check(path: &Path, force: bool) -> Result<(), WriteError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(WriteError::Special(path.to_owned())),
        Ok(_) if !force => return Err(WriteError::Exists(path.to_owned())),
        _ => {}
    }
    let folder = folder_of(path);
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| WriteError::Folder { folder: folder.to_owned(), error: error.into() })
}

/// Writes these files; with `force` in place of what is there.
///
/// The names appear in the order given, after all the data is on the disk.
pub fn write(outputs: &[Output], force: bool) -> Result<(), WriteError> {
    let mut written = Vec::with_capacity(outputs.len());
    for output in outputs {
        let file = write_temporary(output).map_err(|error| failed(output, error))?;
        written.push((output, file));
    }
    for (output, file) in written {
        check(&output.path, force)?;
        let renamed = match force {
            true => file.persist(&output.path),
            false => file.persist_noclobber(&output.path),
        };
        renamed.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists(output.path.clone()),
            _ => failed(output, e.error),
        })?;
        let folder = File::open(folder_of(&output.path));
        (folder.and_then(|folder| folder.sync_all())).map_err(|error| failed(output, error))?;
    }
    Ok(())
}

fn write_temporary(output: &Output) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".composer-")
        // What the umask leaves of it, as for any other new file: a manifest is there to be handed on.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder_of(&output.path))?;
    file.write_all(&output.bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn failed(output: &Output, error: io::Error) -> WriteError {
    WriteError::Write { path: output.path.clone(), error }
}

/// The folder that a path names a file in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(folder: &Path, name: &str, bytes: &[u8]) -> Output {
        Output { path: folder.join(name), bytes: bytes.to_vec() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_is_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = [output(folder.path(), "a", b"1"), output(folder.path(), "b", b"2")];
        write(&outputs, false).unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"2");
    }

    #[test]
    fn an_existing_file_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        write(&[output(folder.path(), "a", b"old")], false).unwrap();
        let new = [output(folder.path(), "a", b"new")];
        assert!(matches!(write(&new, false), Err(WriteError::Exists(_))));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
        write(&new, true).unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_is_no_ordinary_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let null = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        for path in [null.as_path(), folder.path()] {
            assert!(matches!(check(path, true), Err(WriteError::Special(_))));
        }
        let nowhere = folder.path().join("missing/a");
        assert!(matches!(check(&nowhere, false), Err(WriteError::Folder { .. })));
    }
}
