//! The small file that a person named as a manifest or a torrent, as bytes.
//!
//! It may be anything: it is looked at before it is opened, and nothing is read of what no manifest can be. Whether the
//! bytes mean something is for the parsers to say.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::Exit;
use crate::{composer::word, manifest::MAX_BYTES};

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{path}: cannot read the manifest: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error(
        "{path}: this is a folder, and no manifest: give its manifest, NAME.orch, or share what is in it with: \
         member share {path}"
    )]
    Folder { path: PathBuf },
    #[error("{path}: this is no ordinary file, and no manifest: save what it gives into one, and give that")]
    Special { path: PathBuf },
    #[error(
        "{}: larger than any manifest can be ({} MiB at most): to share the file itself: member share {}; \
         to make its manifest: composer {}",
        .path.display(), MAX_BYTES >> 20, word(.path), word(.path)
    )]
    TooLarge { path: PathBuf },
}

impl InputError {
    /// Whether nothing is there.
    pub fn is_not_there(&self) -> bool {
        matches!(self, Self::Read { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// What to tell the script that started the program.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } => Exit::Other,
            Self::Folder { .. } | Self::Special { .. } | Self::TooLarge { .. } => Exit::BadManifest,
        }
    }
}

/// Reads the ordinary file at `path`, of at most [`MAX_BYTES`]. Blocks.
///
/// # Errors
/// It is something else, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    let failed = |error| InputError::Read { path: path.to_owned(), error };
    // Looked at first: opening a pipe would wait for somebody to write to it.
    let found = fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(InputError::Folder { path: path.to_owned() });
    }
    if !found.is_file() {
        return Err(InputError::Special { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    if found.len() <= MAX_BYTES as u64 {
        // It may have grown since.
        File::open(path).map_err(failed)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if found.len().max(bytes.len() as u64) > MAX_BYTES as u64 {
        return Err(InputError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_ordinary_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(InputError::Folder { .. })));
        assert!(matches!(read(Path::new("/dev/null")), Err(InputError::Special { .. })));
        assert_eq!(read(Path::new("/no/such/file")).unwrap_err().exit(), Exit::Other);
        let path = folder.path().join("x");
        fs::write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap(), b"text");
        File::options().write(true).open(&path).unwrap().set_len(MAX_BYTES as u64 + 1).unwrap();
        assert!(matches!(read(&path), Err(InputError::TooLarge { .. })));
    }
}
