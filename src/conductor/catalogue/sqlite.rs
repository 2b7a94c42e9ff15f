//! A catalogue in one SQLite file.
//!
//! One process at a time writes: it holds the lock on a file beside the catalogue from the first moment to the last,
//! since the index in memory is only true while nobody else writes. Others may read meanwhile ([`Sqlite::open_to_read`]).
//! A change is on the disk when it is confirmed (rollback journal, `synchronous = FULL`), and a crash leaves either all of
//! it or nothing.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, params};

use super::{Entry, Store, StoreError, store::Put};
use crate::{manifest::Name, metainfo::InfoHash};

/// The form of the tables; a later one has a larger number.
const VERSION: i64 = 1;
/// Tells such a file from other programs' databases: the bytes `orch`.
const APPLICATION: i64 = 0x6f72_6368;

const TABLES: &str = "CREATE TABLE composition (
    info_hash BLOB PRIMARY KEY CHECK (length(info_hash) = 20),
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    part_size INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    owner TEXT,
    registered INTEGER NOT NULL,
    manifest BLOB NOT NULL
) STRICT";

/// How long a change waits for somebody who reads the file, and a reader for a change.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the name of the lock's file ends in, behind that of the catalogue.
const LOCK: &str = "-lock";

/// A catalogue in a file.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
    /// Held by the one who writes.
    _lock: Option<File>,
}

/// `$XDG_DATA_HOME/orchestra/catalogue.sqlite`, else in `~/.local/share`; None where neither is known.
pub fn default_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("orchestra/catalogue.sqlite"))
}

impl Sqlite {
    /// Opens the catalogue at `path`; it and its folder are made when missing.
    ///
    /// # Errors
    /// Another process has it open, it is no catalogue, or the disk says no.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        }
        let lock = lock(path)?;
        let failed = |error| failed(path, error);
        let connection = Connection::open(path).map_err(failed)?;
        // An older conductor that has it open lets go only at its end.
        connection.busy_timeout(Duration::ZERO).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        prepare(&connection, path)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), file: identity(path)?, _lock: Some(lock) })
    }

    /// Opens the catalogue at `path` to read it as it is at one moment, whoever else uses it; nothing can be written.
    ///
    /// # Errors
    /// It is not there, it is no catalogue, an older conductor uses it, or the disk says no.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let file = identity(path)?;
        let failed = |error| failed(path, error);
        // Where it may be written, a change that a crash left half done is taken back first.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
        connection.pragma_update(None, "query_only", true).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        // Held to the end: all is read as it is now.
        connection.execute_batch("BEGIN").map_err(failed)?;
        match form(&connection, path)? {
            Form::Ours => Ok(Self { connection, path: path.to_owned(), file, _lock: None }),
            Form::Empty => Err(StoreError::Strange { path: path.to_owned() }),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        failed(&self.path, error)
    }
}

/// Sees to it that the tables are there.
fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| failed(path, error);
    connection.execute_batch("BEGIN EXCLUSIVE").map_err(failed)?;
    if let Form::Empty = form(connection, path)? {
        connection.execute_batch(TABLES).map_err(failed)?;
        connection.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
        connection.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    }
    connection.execute_batch("COMMIT").map_err(failed)
}

/// What a file is, if it can be used.
enum Form {
    Empty,
    Ours,
}

fn form(connection: &Connection, path: &Path) -> Result<Form, StoreError> {
    let failed = |error| failed(path, error);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (0, 0) if tables.map_err(failed)? == 0 => Ok(Form::Empty),
        (APPLICATION, VERSION) => Ok(Form::Ours),
        (APPLICATION, _) => Err(StoreError::Later { path: path.to_owned() }),
        _ => Err(StoreError::Strange { path: path.to_owned() }),
    }
}

/// Takes the lock of the catalogue at `path`.
fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = |error| StoreError::File { path: path.to_owned(), error };
    let file = File::options().create(true).truncate(false).write(true).open(lock_of(path)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(LOCK);
    name.into()
}

/// Removes the lock's file of a catalogue that nobody knows yet.
pub fn remove_lock(path: &Path) {
    if let Err(error) = fs::remove_file(lock_of(path)) {
        log::debug!("{}: {error}", path.display());
    }
}

/// Device and inode.
fn identity(path: &Path) -> Result<(u64, u64), StoreError> {
    let failed = |error: io::Error| StoreError::File { path: path.to_owned(), error };
    fs::metadata(path).map(|file| (file.dev(), file.ino())).map_err(failed)
}

fn failed(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path },
        Some(ErrorCode::NotADatabase) => StoreError::Strange { path },
        _ => StoreError::Sqlite { path, error },
    }
}

/// The entry in a row; None where some other hand made it unsound.
fn entry(row: &Row<'_>) -> rusqlite::Result<Option<Entry>> {
    let name: String = row.get("name")?;
    let (Ok(name), info_hash) = (Name::new(&name), row.get::<_, [u8; 20]>("info_hash")?) else {
        return Ok(None);
    };
    Ok(Some(Entry {
        info_hash: InfoHash(info_hash),
        name,
        size: row.get::<_, i64>("size")?.cast_unsigned(),
        part_size: row.get("part_size")?,
        parts: row.get("parts")?,
        owner: row.get("owner")?,
        registered: row.get::<_, i64>("registered")?.cast_unsigned(),
        length: row.get::<_, i64>("length")?.cast_unsigned(),
    }))
}

fn write(change: &Transaction<'_>, Put { entry, manifest, instead_of }: &Put<'_>) -> rusqlite::Result<()> {
    if let Some(old) = instead_of {
        change.execute("DELETE FROM composition WHERE info_hash = ?1", [old.0])?;
    }
    change.execute(
        "INSERT OR REPLACE INTO composition
         (info_hash, name, size, part_size, parts, owner, registered, manifest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            entry.info_hash.0,
            entry.name.as_str(),
            entry.size.cast_signed(),
            entry.part_size,
            entry.parts,
            entry.owner,
            entry.registered.cast_signed(),
            manifest
        ],
    )?;
    Ok(())
}

impl Store for Sqlite {
    fn load(&mut self) -> Result<Vec<Entry>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Entry>> {
            let mut rows = self.connection.prepare(
                "SELECT info_hash, name, size, part_size, parts, owner, registered, length(manifest) AS length
                 FROM composition",
            )?;
            let entries = rows.query_map([], entry)?;
            entries.filter_map(Result::transpose).collect()
        };
        read().map_err(|error| self.failed(error))
    }

    fn manifest(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT manifest FROM composition WHERE info_hash = ?1";
        let found = self.connection.query_row(select, [info_hash.0], |row| row.get(0));
        found.optional().map_err(|error| self.failed(error))
    }

    /// By a change that changes nothing: it goes to the disk as any other.
    fn probe(&mut self) -> Result<(), StoreError> {
        if identity(&self.path)? != self.file {
            return Err(StoreError::Moved { path: self.path.clone() });
        }
        self.connection.pragma_update(None, "user_version", VERSION).map_err(|error| self.failed(error))
    }

    fn put(&mut self, puts: &[Put<'_>]) -> Result<(), StoreError> {
        let mut write = || {
            let change = self.connection.transaction()?;
            puts.iter().try_for_each(|put| write(&change, put))?;
            change.commit()
        };
        write().map_err(|error| failed(&self.path, error))
    }

    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError> {
        let removed = self.connection.execute("DELETE FROM composition WHERE info_hash = ?1", [info_hash.0]);
        removed.map(drop).map_err(|error| self.failed(error))
    }
}
