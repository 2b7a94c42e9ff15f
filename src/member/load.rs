//! From the name that was typed to a manifest that can be worked with.

use std::path::PathBuf;

use crate::{
    cli::{
        Exit,
        input::{self, InputError},
    },
    manifest::{Manifest, ManifestError},
};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{path}: this is no manifest of a composition: {error}; ask for it again where it came from")]
    Bad { path: PathBuf, error: ManifestError },
    #[error("{path}: {what} are not supported yet; this version of member takes manifests of a single file")]
    NotYet { path: PathBuf, what: &'static str },
    #[error(
        "{path}: this version of member takes manifests; make one of a torrent of a single file with: \
         composer --from {path}"
    )]
    Torrent { path: PathBuf },
    #[error(
        "this version of member takes manifests (.orch), not magnet links: ask for the manifest of this composition"
    )]
    Magnet,
}

impl LoadError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input(error) => error.exit(),
            Self::NotYet { .. } | Self::Torrent { .. } => Exit::Other,
            Self::Magnet => Exit::Usage,
            Self::Bad { .. } => Exit::BadManifest,
        }
    }
}

/// Reads the manifest at `path`. Blocks.
///
/// # Errors
/// It cannot be read, or is none, or asks for what this version cannot do.
pub fn manifest(path: PathBuf) -> Result<Manifest, LoadError> {
    if path.as_os_str().as_encoded_bytes().starts_with(b"magnet:") {
        return Err(LoadError::Magnet);
    }
    let bytes = input::read(&path)?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent")) {
        return Err(LoadError::Torrent { path });
    }
    let manifest = match Manifest::parse(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Err(LoadError::Bad { path, error }),
    };
    if manifest.is_folder() {
        return Err(LoadError::NotYet { path, what: "folders" });
    }
    if manifest.is_closed() {
        return Err(LoadError::NotYet { path, what: "closed orchestras" });
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Manifest, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.orch");
        std::fs::write(&path, text).unwrap();
        manifest(path)
    }

    #[test]
    fn what_cannot_be_worked_with_has_its_exit_code() {
        assert_eq!(manifest("/no/such.orch".into()).unwrap_err().exit(), Exit::Other);
        assert_eq!(load("hello").unwrap_err().exit(), Exit::BadManifest);
        let empty = "0.0.0.0:0\nx\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n";
        assert!(load(empty).is_ok());
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(manifest(folder.path().into()).unwrap_err().exit(), Exit::BadManifest);
        assert_eq!(manifest("magnet:?xt=urn:btih:00".into()).unwrap_err().exit(), Exit::Usage);
        let torrent = folder.path().join("x.Torrent");
        std::fs::write(&torrent, "d4:infode").unwrap();
        let error = manifest(torrent).unwrap_err();
        assert_eq!(error.exit(), Exit::Other);
        assert!(error.to_string().contains("composer --from"), "{error}");
        let secret = format!("{empty}secret {}\n", "00".repeat(32));
        assert_eq!(load(&secret).unwrap_err().exit(), Exit::Other);
    }
}
