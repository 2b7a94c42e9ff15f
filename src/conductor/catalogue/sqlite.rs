//! A catalogue in one SQLite file.
//!
//! One process at a time: the file is locked from the first moment to the last, since the index in memory is only true
//! while nobody else writes. A change is on the disk when it is confirmed (rollback journal, `synchronous = FULL`), and
//! a crash leaves either all of it or nothing.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};

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

/// A catalogue in a file.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
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
        let failed = |error| failed(path, error);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::ZERO).map_err(failed)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        prepare(&connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        failed(&self.path, error)
    }
}

/// Takes the lock, and sees to it that the tables are there.
fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| failed(path, error);
    connection.execute_batch("BEGIN EXCLUSIVE").map_err(failed)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (0, 0) if tables.map_err(failed)? == 0 => {
            connection.execute_batch(TABLES).map_err(failed)?;
            connection.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
            connection.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        }
        (APPLICATION, VERSION) => {}
        (APPLICATION, _) => return Err(StoreError::Later { path: path.to_owned() }),
        _ => return Err(StoreError::Strange { path: path.to_owned() }),
    }
    connection.execute_batch("COMMIT").map_err(failed)
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
