//! What a manifest or a `.torrent` says, for people and for scripts. A secret is not shown.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    catalogue::VERSION,
    cli::{
        Exit,
        input::{self, InputError},
        units,
    },
    manifest::{FileEntry, Manifest, ManifestError, shown},
    metainfo::{Torrent, convert, torrent::TorrentError},
};

/// Why a file cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{}: this is no manifest of a composition: {error}", .path.display())]
    Manifest { path: PathBuf, error: ManifestError },
    #[error("{}: {error}", .path.display())]
    Torrent { path: PathBuf, error: TorrentError },
}

impl ShowError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input(error) => error.exit(),
            Self::Manifest { .. } | Self::Torrent { .. } => Exit::BadManifest,
        }
    }
}

/// What such a file says; the one object of `--json`.
#[derive(Serialize)]
struct Facts {
    v: u32,
    name: String,
    size: u64,
    part_size: u32,
    parts: u32,
    info_hash: String,
    /// Of the whole file.
    sha1: Option<String>,
    conductors: Vec<String>,
    /// Addresses of a torrent's trackers; a manifest has conductors.
    trackers: Vec<String>,
    mirrors: Vec<String>,
    comment: Option<String>,
    created: Option<String>,
    /// Whether the manifest holds a secret.
    closed: bool,
    /// The files of a folder; none for a single file.
    files: Vec<Inside>,
    magnet: Option<String>,
}

/// A file of a folder.
#[derive(Serialize)]
struct Inside {
    size: u64,
    path: String,
    executable: bool,
}

/// Reads the file, and says what is in it. Blocks.
pub fn show(path: &Path, json: bool) -> Result<String, ShowError> {
    let facts = read(path)?;
    Ok(match json {
        // Plain data with text for keys always can be written.
        true => serde_json::to_string(&facts).unwrap_or_default() + "\n",
        false => text(&facts),
    })
}

fn read(path: &Path) -> Result<Facts, ShowError> {
    let bytes = input::read(path)?;
    let is_torrent = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent"));
    if is_torrent {
        let torrent = Torrent::parse(&bytes);
        return torrent.map(|torrent| of_torrent(&torrent)).map_err(|error| {
            let path = path.to_owned();
            ShowError::Torrent { path, error }
        });
    }
    match Manifest::parse(&bytes) {
        Ok(manifest) => Ok(of_manifest(&manifest)),
        Err(error) => Err(ShowError::Manifest { path: path.to_owned(), error }),
    }
}

fn of_manifest(manifest: &Manifest) -> Facts {
    Facts {
        v: VERSION,
        name: manifest.name.as_str().to_owned(),
        size: manifest.geometry.size(),
        part_size: manifest.geometry.part_size(),
        parts: manifest.geometry.parts(),
        info_hash: manifest.info_hash().to_string(),
        sha1: manifest.whole.map(|digest| digest.to_string()),
        conductors: manifest.conductors().map(|endpoint| endpoint.to_string()).collect(),
        trackers: Vec::new(),
        mirrors: manifest.mirrors().map(str::to_owned).collect(),
        comment: manifest.comment().map(str::to_owned),
        created: manifest.created().map(str::to_owned),
        closed: manifest.is_closed(),
        files: manifest.files().map(inside).collect(),
        magnet: convert::to_magnet(manifest).ok().map(|magnet| magnet.to_string()),
    }
}

/// A torrent says the same, and its info-hash is that of the bytes in it.
fn of_torrent(torrent: &Torrent) -> Facts {
    Facts {
        info_hash: torrent.info_hash().to_string(),
        sha1: torrent.whole.map(|digest| digest.to_string()),
        trackers: torrent.trackers.iter().flatten().cloned().collect(),
        mirrors: torrent.mirrors.clone(),
        comment: torrent.comment.clone(),
        created: torrent.created.and_then(convert::written_time),
        files: torrent.info().files.iter().filter(|file| !file.padding).cloned().map(inside).collect(),
        magnet: None,
        ..of_manifest(&Manifest::from(torrent.info()))
    }
}

fn inside(file: FileEntry) -> Inside {
    Inside { size: file.size, path: file.path.as_str().to_owned(), executable: file.executable }
}

fn text(facts: &Facts) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:<10} {}", shown(value));
    };
    line("name", &facts.name);
    line("size", &format!("{} ({} bytes)", units::size(facts.size), facts.size));
    line("parts", &format!("{} of {}", facts.parts, units::size(u64::from(facts.part_size))));
    line("info-hash", &facts.info_hash);
    line("sha1", facts.sha1.as_deref().unwrap_or("not known"));
    if facts.conductors.is_empty() && facts.trackers.is_empty() {
        line("conductor", "not known yet");
    }
    facts.conductors.iter().for_each(|conductor| line("conductor", conductor));
    facts.trackers.iter().for_each(|tracker| line("tracker", tracker));
    facts.mirrors.iter().for_each(|mirror| line("mirror", mirror));
    facts.comment.iter().for_each(|comment| line("comment", comment));
    facts.created.iter().for_each(|created| line("created", created));
    if facts.closed {
        line("closed", "yes: only those who have this manifest can take part");
    }
    facts.files.iter().for_each(|file| line("file", &format!("{}  {}", file.path, units::size(file.size))));
    facts.magnet.iter().for_each(|magnet| line("magnet", magnet));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = include_str!("../../../tests/data/original-example.orch");

    fn shown_as(name: &str, bytes: &[u8], json: bool) -> Result<String, ShowError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        show(&path, json)
    }

    #[test]
    fn a_manifest_and_its_torrent_say_the_same() {
        let more = "comment \u{202e}odd\nmirror http://m/x\n";
        let manifest = format!("{ORIGINAL}{more}");
        let text = shown_as("x.orch", manifest.as_bytes(), false).unwrap();
        for part in [
            "name       maxresdefault.jpg\n",
            "size       139 KiB (142044 bytes)\n",
            "parts      9 of 16 KiB\n",
            "sha1       2953289a34e0cc2bf776decc3f8b86622d66b705\n",
            "conductor  192.168.1.1:9999\n",
            "comment    \\u{202e}odd\n",
            "magnet     magnet:?xt=urn:btih:",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let torrent = convert::to_torrent(&Manifest::parse(manifest.as_bytes()).unwrap()).unwrap().render();
        let torrent = shown_as("x.torrent", &torrent, true).unwrap();
        let manifest = shown_as("x.orch", manifest.as_bytes(), true).unwrap();
        let object = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let (torrent, manifest) = (object(&torrent), object(&manifest));
        for key in ["name", "size", "part_size", "parts", "info_hash", "sha1", "mirrors", "comment"] {
            assert_eq!(torrent[key], manifest[key], "{key}");
        }
        assert_eq!(torrent["trackers"][0], "http://192.168.1.1:9999/announce");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let closed = format!("{ORIGINAL}secret 5ec2e7\n");
        for json in [true, false] {
            let text = shown_as("x.orch", closed.as_bytes(), json).unwrap();
            assert!(text.contains("closed") && !text.contains("5ec2e7") && !text.contains("magnet:"), "{text}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_3() {
        assert_eq!(shown_as("x.orch", b"hello", false).unwrap_err().exit(), Exit::BadManifest);
        assert_eq!(shown_as("x.torrent", b"hello", false).unwrap_err().exit(), Exit::BadManifest);
        assert_eq!(show(Path::new("/no/such.orch"), false).unwrap_err().exit(), Exit::Other);
    }
}
