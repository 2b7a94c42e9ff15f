//! Numbers that nobody can guess: fresh ones, and the one that outlives the program.
//!
//! What is kept is the key of the connection ids, in the user's state folder, readable for that user alone: clients
//! go on using an id for a minute after the conductor was started again. Who reads it can send in another's name over
//! UDP, no more. Where it cannot be kept, a fresh one serves.

use std::{
    io,
    io::Write,
    path::{Path, PathBuf},
};

use super::table::Seed;
use crate::storage::{own, state_folder};

/// The name of the file in the state folder.
const NAME: &str = "conductor-key";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} is not the key of a conductor; remove it to have a new one made")]
    Broken(PathBuf),
}

/// Bytes that were never seen before.
pub fn fresh() -> Result<[u8; 16], SecretError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A seed for this run.
pub fn fresh_seed() -> Result<Seed, SecretError> {
    let [a, b] = [fresh()?, fresh()?].map(|bytes| u128::from_be_bytes(bytes) as u64);
    Ok(Seed(a, b))
}

/// The key that this user's conductors have had since the first, or a fresh one where it cannot be kept.
pub fn kept() -> Result<[u8; 16], SecretError> {
    let Some(folder) = state_folder() else {
        log::warn!("neither HOME nor XDG_STATE_HOME is set: clients over UDP ask again after each start");
        return fresh();
    };
    kept_in(&folder).or_else(|error| {
        log::warn!("{error}; clients over UDP ask again after each start");
        fresh()
    })
}

fn kept_in(folder: &Path) -> Result<[u8; 16], SecretError> {
    let path = folder.join(NAME);
    let failed = |source| SecretError::File { path: path.clone(), source };
    match read(&path)? {
        Some(key) => Ok(key),
        None => {
            let key = fresh()?;
            own::make_folder(folder).map_err(failed)?;
            // A temporary file is for its user alone, and appears under its name whole.
            let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
            writeln!(file, "{}", hex::encode(key)).map_err(failed)?;
            match file.persist_noclobber(&path) {
                Ok(_) => Ok(key),
                // Another conductor was started at the same moment.
                Err(error) => read(&path)?.ok_or(SecretError::File { path, source: error.error }),
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<[u8; 16]>, SecretError> {
    let text = match own::open(path).and_then(io::read_to_string) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SecretError::File { path: path.into(), source }),
    };
    let mut key = [0; 16];
    hex::decode_to_slice(text.trim_end(), &mut key).map_err(|_| SecretError::Broken(path.into()))?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_user_alone() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("orchestra");
        let key = kept_in(&folder).unwrap();
        assert_ne!(key, [0; 16]);
        assert_eq!(kept_in(&folder).unwrap(), key);
        let mode = fs::metadata(folder.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_key_is_said_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "abc").unwrap();
        assert!(matches!(kept_in(folder.path()), Err(SecretError::Broken(_))));
        assert_eq!(fs::read_to_string(folder.path().join(NAME)).unwrap(), "abc");
    }
}
