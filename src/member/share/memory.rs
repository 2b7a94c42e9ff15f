//! What each shared file is, remembered in the user's state folder: an unchanged file is not hashed again, and while
//! nobody wants it its manifest takes no memory.
//!
//! A row counts only while the file's [`Stamp`] is the one in it, and it is written after the data was synced. The database
//! is this user's alone ([`own`]). Nothing else is believed: a manifest counts only under its info-hash, and vouches for nothing but this row's file. Where the database cannot be used it is kept in memory,
//! and everything is hashed again at the next start.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    manifest::Manifest,
    member::load::{Composition, Trackers},
    metainfo::{InfoHash, Tracker},
    storage::{Stamp, note, own, state_folder},
};

/// How long another process may hold the database.
const PATIENCE: Duration = Duration::from_secs(5);
/// Another table is another version: what is remembered in an older one is hashed again.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS file_2 (
    path BLOB PRIMARY KEY, stamp TEXT NOT NULL, info_hash BLOB NOT NULL, manifest TEXT NOT NULL, info BLOB
) WITHOUT ROWID";

/// Why nothing is remembered; a member works without.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("{path}: cannot make the folder: {error}")]
    Folder { path: PathBuf, error: io::Error },
    #[error("{path}: {error}")]
    Sqlite { path: PathBuf, error: rusqlite::Error },
}

/// What is known of files. To be called where blocking is allowed.
pub struct Memory {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Memory {
    /// This user's: `$XDG_STATE_HOME/orchestra/shared.sqlite`. With it, why it is kept in memory, if it is.
    ///
    /// # Errors
    /// Not even in memory can it be kept.
    pub fn of_this_user() -> Result<(Self, Option<MemoryError>), MemoryError> {
        let kept = state_folder().map(|folder| Self::in_folder(&folder));
        match kept {
            Some(Ok(memory)) => Ok((memory, None)),
            Some(Err(error)) => Ok((Self::nowhere()?, Some(error))),
            None => Ok((Self::nowhere()?, None)),
        }
    }

    /// In this folder, made when missing.
    pub fn in_folder(folder: &Path) -> Result<Self, MemoryError> {
        let failed = |error| MemoryError::Folder { path: folder.to_owned(), error };
        own::make_folder(folder).map_err(failed)?;
        let path = folder.join("shared.sqlite");
        ours_alone(&path).map_err(failed)?;
        Self::with(|| Connection::open(&path), &path)
    }

    fn nowhere() -> Result<Self, MemoryError> {
        Self::with(Connection::open_in_memory, Path::new("memory"))
    }

    fn with(open: impl FnOnce() -> rusqlite::Result<Connection>, path: &Path) -> Result<Self, MemoryError> {
        let prepared = || {
            let connection = open()?;
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            // What a power cut takes is hashed again.
            connection.pragma_update(None, "synchronous", "off")?;
            connection.execute(TABLE, [])?;
            Ok(connection)
        };
        match prepared() {
            Ok(connection) => Ok(Self { connection: Mutex::new(connection), path: path.to_owned() }),
            Err(error) => Err(MemoryError::Sqlite { path: path.to_owned(), error }),
        }
    }

    /// What this file was when it had this stamp.
    pub fn recall(&self, path: &Path, stamp: &Stamp) -> Result<Option<Composition>, MemoryError> {
        let read = |row: &rusqlite::Row<'_>| {
            let (hash, manifest, info) = (row.get("info_hash")?, row.get("manifest")?, row.get("info")?);
            Ok::<([u8; 20], String, Option<Vec<u8>>), _>((hash, manifest, info))
        };
        let select = "SELECT info_hash, manifest, info FROM file_2 WHERE path = ?1 AND stamp = ?2";
        let key = params![path.as_os_str().as_bytes(), stamp.to_string()];
        let row = self.lock().query_row(select, key, read).optional().map_err(|error| self.failed(error))?;
        Ok(row.and_then(|(hash, manifest, info)| composition(InfoHash(hash), &manifest, info)))
    }

    /// Remembers that this file is this composition while it has this stamp. Its data is on the disk.
    pub fn remember(&self, path: &Path, stamp: &Stamp, is: &Composition) -> Result<(), MemoryError> {
        let info = (is.manifest.info_hash() != is.info_hash).then_some(&is.info[..]);
        let row = params![path.as_os_str().as_bytes(), stamp.to_string(), is.info_hash.0, is.manifest.render(), info];
        let written = self.lock().execute("INSERT OR REPLACE INTO file_2 VALUES (?1, ?2, ?3, ?4, ?5)", row);
        written.map(drop).map_err(|error| self.failed(error))
    }

    /// There is no such file any more.
    pub fn forget(&self, path: &Path) -> Result<(), MemoryError> {
        let gone = self.lock().execute("DELETE FROM file_2 WHERE path = ?1", [path.as_os_str().as_bytes()]);
        gone.map(drop).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> MemoryError {
        MemoryError::Sqlite { path: self.path.clone(), error }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that nobody else wrote what the database says: one that others may write is begun anew.
///
/// # Errors
/// A file of it belongs to somebody else.
fn ours_alone(database: &Path) -> io::Result<()> {
    let files = ["", "-wal", "-shm"].map(|end| note::beside(database, end));
    let there: Vec<_> = files.iter().filter_map(|path| Some((path, fs::symlink_metadata(path).ok()?))).collect();
    if let Some((path, _)) = there.iter().find(|(_, meta)| !meta.is_file() || !own::is_ours(meta)) {
        let text = format!("{} belongs to another user, or is a link", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    match there.iter().all(|(_, meta)| own::is_ours_alone(meta)) {
        true => Ok(()),
        false => there.iter().try_for_each(|(path, _)| fs::remove_file(path)),
    }
}

/// What a row says, if it holds together.
fn composition(hash: InfoHash, manifest: &str, info: Option<Vec<u8>>) -> Option<Composition> {
    let manifest = Manifest::parse(manifest.as_bytes()).ok()?;
    let info = info.unwrap_or_else(|| manifest.info_bytes());
    let asked = manifest.conductors().map(Tracker::from).collect();
    let trackers = Trackers { asked, passed_over: Vec::new() };
    let (files, is_it) = (manifest.files().collect(), InfoHash::of(&info) == hash);
    let mirrors = manifest.mirrors().map(str::to_owned).collect();
    let (info, members) = (info.into(), Vec::new());
    let known = |manifest| Composition {
        manifest,
        files,
        info,
        info_hash: hash,
        trackers,
        members,
        mirrors,
        namesakes: Box::default(),
    };
    is_it.then(|| known(manifest))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    const TEXT: &str = "head:1\nx\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n";

    fn stamp(path: &Path) -> Stamp {
        Stamp::from_metadata(&fs::metadata(path).unwrap())
    }

    #[test]
    fn a_file_is_known_until_it_changes_also_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::in_folder(&folder.path().join("state")).unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "").unwrap();
        let manifest = Manifest::parse(TEXT.as_bytes()).unwrap();
        let is = Composition::of_manifest(manifest, path.clone()).unwrap();
        assert!(memory.recall(&path, &stamp(&path)).unwrap().is_none());
        memory.remember(&path, &stamp(&path), &is).unwrap();
        let other = Memory::in_folder(&folder.path().join("state")).unwrap();
        let known = other.recall(&path, &stamp(&path)).unwrap().unwrap();
        assert_eq!((known.info_hash, known.trackers.asked), (is.info_hash, is.trackers.asked));
        let before = stamp(&path);
        fs::write(&path, "new").unwrap();
        assert!(memory.recall(&path, &stamp(&path)).unwrap().is_none());
        other.forget(&path).unwrap();
        assert!(memory.recall(&path, &before).unwrap().is_none());
    }

    #[test]
    fn a_database_that_others_may_write_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "").unwrap();
        let is = Composition::of_manifest(Manifest::parse(TEXT.as_bytes()).unwrap(), path.clone()).unwrap();
        let state = folder.path().join("state");
        Memory::in_folder(&state).unwrap().remember(&path, &stamp(&path), &is).unwrap();
        let database = state.join("shared.sqlite");
        assert!(Memory::in_folder(&state).unwrap().recall(&path, &stamp(&path)).unwrap().is_some());
        fs::set_permissions(&database, Permissions::from_mode(0o664)).unwrap();
        assert!(Memory::in_folder(&state).unwrap().recall(&path, &stamp(&path)).unwrap().is_none());
        fs::remove_file(&database).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &database).unwrap();
        assert!(Memory::in_folder(&state).is_err());
    }

    #[test]
    fn a_row_that_does_not_hold_together_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "").unwrap();
        let memory = Memory::nowhere().unwrap();
        let manifest = Manifest::parse(TEXT.as_bytes()).unwrap();
        let info: std::sync::Arc<[u8]> = b"as a torrent has it".as_slice().into();
        let info_hash = InfoHash::of(&info);
        let is = Composition { info_hash, info, ..Composition::of_manifest(manifest, path.clone()).unwrap() };
        memory.remember(&path, &stamp(&path), &is).unwrap();
        let known = memory.recall(&path, &stamp(&path)).unwrap().unwrap();
        assert_eq!(
            (known.info_hash, &known.info),
            (is.info_hash, &is.info),
            "the info bytes are kept where they differ"
        );
        assert!(composition(InfoHash([7; 20]), TEXT, None).is_none());
        assert!(composition(is.info_hash, "nothing", None).is_none());
    }
}
