//! Writes a copy of a catalogue into a file, while conductors use it: a catalogue itself, for `--store sqlite:FILE`.
//!
//! A catalogue in a file is read as it is at one moment, under a lock that lets others read and holds up changes until
//! the copy is read. The copy appears under its name only when it is whole and on the disk.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::catalogue::{
    Entry, Keep, Store, StoreError,
    redis::RedisStore,
    sqlite::{self, Sqlite},
    store::Put,
};

/// Manifests that are written in one change of the copy, in bytes, unless one alone is longer.
const MAX_AT_ONCE: u64 = 8 << 20;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("a catalogue in memory ends with its conductor and cannot be copied: name its store with --store")]
    Memory,
    #[error("it is not known where the catalogue is: neither HOME nor XDG_DATA_HOME is set; name it with --store")]
    Nowhere,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is there already: --force replaces it", .0.display())]
    There(PathBuf),
    #[error("cannot write {}: {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// Copies the catalogue that is kept there into `file`; gives how many compositions it has. Blocks.
///
/// # Errors
/// The catalogue cannot be read, the copy cannot be written, or `file` is there and not to be replaced.
pub fn write(keep: &Keep, file: &Path, replace: bool) -> Result<usize, BackupError> {
    if !replace && file.symlink_metadata().is_ok() {
        return Err(BackupError::There(file.to_owned()));
    }
    let mut source: Box<dyn Store> = match keep {
        Keep::Memory => return Err(BackupError::Memory),
        Keep::Here => Box::new(Sqlite::open_to_read(&sqlite::default_path().ok_or(BackupError::Nowhere)?)?),
        Keep::Sqlite(path) => Box::new(Sqlite::open_to_read(path)?),
        Keep::Redis(place) => Box::new(RedisStore::new(place.clone())),
    };
    let failed = |error| BackupError::Write { path: file.to_owned(), error };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let copied = copy(&mut *source, &mut Sqlite::open(new.path())?)?;
    sqlite::remove_lock(new.path());
    let persisted = match replace {
        true => new.persist(file),
        false => new.persist_noclobber(file),
    };
    persisted.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::There(file.to_owned()),
        _ => failed(error.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(copied)
}

/// What was removed since the entries were read is left out.
fn copy(from: &mut dyn Store, to: &mut dyn Store) -> Result<usize, StoreError> {
    let entries = from.load()?;
    let (mut copied, mut some, mut length) = (0, Vec::new(), 0);
    for entry in &entries {
        let Some(manifest) = from.manifest(&entry.info_hash)? else { continue };
        length += manifest.len() as u64;
        some.push((entry, manifest));
        if length > MAX_AT_ONCE {
            copied += put(to, &some)?;
            (some, length) = (Vec::new(), 0);
        }
    }
    Ok(copied + put(to, &some)?)
}

fn put(to: &mut dyn Store, some: &[(&Entry, Vec<u8>)]) -> Result<usize, StoreError> {
    let puts: Vec<Put<'_>> = some.iter().map(|(entry, manifest)| Put { entry, manifest, instead_of: None }).collect();
    to.put(&puts)?;
    Ok(puts.len())
}
