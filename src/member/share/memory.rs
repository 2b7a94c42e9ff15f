//! What each shared file is, remembered in the user's state folder: an unchanged file is not hashed again, and while
//! nobody wants it its manifest takes no memory.
//!
//! A row counts only while the file's [`Stamp`] is the one in it, and it is written after the data was synced. The database
//! is this user's alone ([`own`]). Nothing else is believed: a manifest counts only under its info-hash, and vouches for nothing but this row's file. Where the database cannot be used it is kept in memory,
//! and everything is hashed again at the next start.
//!
//! Once a day it is tidied: a file that nobody asked about for [`MAX_AGE_DAYS`] is forgotten, and of more than [`MAX_FILES`]
//! those that were asked about the longest ago.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
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

/// When each file was last asked about, in days since 1970. A table of its own, so that older versions write into theirs.
const USED: &str = "CREATE TABLE IF NOT EXISTS used_1 (path BLOB PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID";
/// Files that are remembered, at most.
const MAX_FILES: u32 = 500_000;
/// Days after which a file that nobody asked about is forgotten.
const MAX_AGE_DAYS: u32 = 400;
/// Days for which it is not noted again that a file was asked about.
const USED_INTERVAL_DAYS: u32 = 7;

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
            connection.execute(USED, [])?;
            tidy(&connection, today(), MAX_FILES)?;
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
        let connection = self.lock();
        let row = connection.query_row(select, key, read).optional().map_err(|error| self.failed(error))?;
        if row.is_some() {
            is_used(&connection, path, today()).map_err(|error| self.failed(error))?;
        }
        drop(connection);
        Ok(row.and_then(|(hash, manifest, info)| composition(InfoHash(hash), &manifest, info)))
    }

    /// Remembers that this file is this composition while it has this stamp. Its data is on the disk.
    pub fn remember(&self, path: &Path, stamp: &Stamp, is: &Composition) -> Result<(), MemoryError> {
        let info = (is.manifest.info_hash() != is.info_hash).then_some(&is.info[..]);
        let row = params![path.as_os_str().as_bytes(), stamp.to_string(), is.info_hash.0, is.manifest.render(), info];
        let connection = self.lock();
        let written = connection.execute("INSERT OR REPLACE INTO file_2 VALUES (?1, ?2, ?3, ?4, ?5)", row);
        written.and_then(|_| is_used(&connection, path, today())).map_err(|error| self.failed(error))
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

/// Days since 1970.
fn today() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 86_400).unwrap_or(u32::MAX)
}

/// Notes that this file was asked about, unless that was noted of late.
fn is_used(connection: &Connection, path: &Path, today: u32) -> rusqlite::Result<()> {
    const NOTE: &str = "INSERT INTO used_1 VALUES (?1, ?2) ON CONFLICT (path) DO UPDATE SET day = ?2 WHERE day < ?3";
    let path = path.as_os_str().as_bytes();
    connection.execute(NOTE, params![path, today, today.saturating_sub(USED_INTERVAL_DAYS)])?;
    Ok(())
}

/// Forgets the files that nobody asked about for long, and those that are more than `most`; once a day. Files that an older
/// version remembered count as asked about today.
fn tidy(connection: &Connection, today: u32, most: u32) -> rusqlite::Result<()> {
    let last: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if last == today {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    transaction.execute("INSERT OR IGNORE INTO used_1 SELECT path, ?1 FROM file_2", [today])?;
    transaction.execute("DELETE FROM used_1 WHERE day < ?1", [today.saturating_sub(MAX_AGE_DAYS)])?;
    let too_many =
        "DELETE FROM used_1 WHERE path IN (SELECT path FROM used_1 ORDER BY day DESC, path LIMIT -1 OFFSET ?1)";
    transaction.execute(too_many, [most])?;
    transaction.execute("DELETE FROM file_2 WHERE path NOT IN (SELECT path FROM used_1)", [])?;
    transaction.execute("DELETE FROM used_1 WHERE path NOT IN (SELECT path FROM file_2)", [])?;
    transaction.pragma_update(None, "user_version", today)?;
    transaction.commit()
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
    fn what_nobody_asks_about_is_forgotten() {
        let memory = Memory::nowhere().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            let is = Composition::of_manifest(Manifest::parse(TEXT.as_bytes()).unwrap(), path.clone()).unwrap();
            memory.remember(&path, &stamp(&path), &is).unwrap();
            path
        };
        let paths = ["a", "b", "c"].map(file);
        let known = || -> u32 {
            memory
                .lock()
                .query_row("SELECT count(*) FROM file_2 JOIN used_1 USING (path)", [], |row| row.get(0))
                .unwrap()
        };
        let tidied = |today, most| {
            tidy(&memory.lock(), today, most).unwrap();
            known()
        };
        let (first, late) = (today(), today() + MAX_AGE_DAYS);
        assert_eq!(tidied(first + 1, MAX_FILES), 3);
        is_used(&memory.lock(), &paths[0], late).unwrap();
        is_used(&memory.lock(), &paths[1], late - 1).unwrap();
        assert_eq!(tidied(late, MAX_FILES), 3);
        assert_eq!(tidied(late, 1), 3, "once a day");
        assert_eq!(tidied(late + 1, MAX_FILES), 2, "nobody asked about the third");
        assert_eq!(tidied(late + 2, 1), 1);
        assert!(memory.recall(&paths[0], &stamp(&paths[0])).unwrap().is_some());
        memory.lock().execute("DELETE FROM used_1", []).unwrap();
        assert_eq!(tidied(late + 3, 1), 1, "an older version remembered it");
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
