//! From what was typed to a composition that can be worked with: a manifest, a `.torrent`, or a magnet link.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    cli::{
        Exit,
        input::{self, InputError},
        meant::instead,
    },
    composer::word,
    manifest::{FileEntry, Manifest, ManifestError, NOT_KNOWN, shown},
    metainfo::{
        Info, InfoHash, Magnet, Torrent, Tracker,
        info::InfoError,
        magnet::{MagnetError, is_magnet},
        torrent::TorrentError,
    },
};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{error}; {question}")]
    NotThere { error: InputError, question: String },
    #[error("{path}: this is no manifest of a composition: {error}; ask for it again where it came from")]
    Bad { path: PathBuf, error: ManifestError },
    #[error("{}: this is no manifest; to share the file itself: member share {}", .path.display(), word(.path))]
    Composition { path: PathBuf },
    #[error("{path}: this torrent cannot be fetched: {error}")]
    BadTorrent { path: PathBuf, error: TorrentError },
    #[error("{name}: what the magnet link names cannot be fetched: {error}")]
    BadInfo { name: String, error: InfoError },
    #[error("{0}")]
    BadLink(#[from] MagnetError),
    #[error("{path}: closed orchestras are not supported yet; this version of member takes open ones")]
    Closed { path: PathBuf },
}

impl LoadError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input(error) | Self::NotThere { error, .. } => error.exit(),
            Self::Closed { .. } => Exit::Other,
            Self::BadLink(_) => Exit::Usage,
            Self::Bad { .. } | Self::Composition { .. } | Self::BadTorrent { .. } | Self::BadInfo { .. } => {
                Exit::BadManifest
            }
        }
    }
}

/// What a person named.
#[derive(Debug)]
pub enum Named {
    Composition(Composition),
    /// Nothing is known of it yet but its info-hash.
    Magnet(Magnet),
}

impl Named {
    /// What people call it; safe for a terminal.
    pub fn name(&self) -> String {
        match self {
            Self::Composition(composition) => composition.manifest.name.shown().into_owned(),
            Self::Magnet(magnet) => name_of(magnet),
        }
    }
}

/// What a magnet link's composition is called until its name is known.
pub fn name_of(magnet: &Magnet) -> String {
    let name = magnet.name.as_deref().map(shown).filter(|name| !name.is_empty());
    name.map_or_else(|| magnet.hash.to_string(), |name| name.chars().take(100).collect())
}

/// A composition, and the swarm that shares it.
#[derive(Debug)]
pub struct Composition {
    pub manifest: Manifest,
    /// The files of a folder, in order, with the padding that a manifest cannot hold; none for a single file.
    pub files: Vec<FileEntry>,
    /// The info dictionary to the byte: the swarm is named after it, and who comes by a magnet link asks for it.
    pub info: Arc<[u8]>,
    pub info_hash: InfoHash,
    /// Who conducts it.
    pub trackers: Trackers,
    /// Members that say that they have it.
    pub members: Vec<SocketAddr>,
    /// Addresses that are said to have the same bytes (BEP 19), as they were written.
    pub mirrors: Vec<String>,
    /// What else of this name was named, for people: it would go to the same place.
    pub namesakes: Box<[String]>,
}

/// Tells each of these, with what a person called it, of the others that have its name and are something else.
pub fn introduce<'a>(all: impl IntoIterator<Item = (&'a mut Composition, String)>) {
    let mut all: Vec<_> = all.into_iter().collect();
    let known: Vec<_> =
        all.iter().map(|(one, label)| (one.manifest.name.clone(), one.info_hash, label.clone())).collect();
    for (one, _) in &mut all {
        let others = known.iter().filter(|(name, hash, _)| *name == one.manifest.name && *hash != one.info_hash);
        one.namesakes = others.map(|(_, _, label)| label.clone()).collect();
    }
}

/// Those that are asked, and the addresses that are not (for people).
#[derive(Clone, Debug, Default)]
pub struct Trackers {
    pub asked: Vec<Tracker>,
    pub passed_over: Vec<String>,
}

impl Trackers {
    /// Of a torrent or a magnet link: over plain HTTP, each once.
    pub fn of<'a>(urls: impl IntoIterator<Item = &'a String>) -> Self {
        let mut all = Self::default();
        for url in urls {
            match Tracker::from_url(url) {
                Some(tracker) if !all.asked.contains(&tracker) => all.asked.push(tracker),
                Some(_) => {}
                None => all.passed_over.push(shown(url).into_owned()),
            }
        }
        all
    }

    /// What to tell people about those that are not asked.
    pub fn warning(&self) -> Option<String> {
        let (first, rest) = self.passed_over.split_first()?;
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!("not asked for members: {first}{more}; only trackers with http:// addresses are"))
    }
}

impl Composition {
    /// `path`: what people call it.
    ///
    /// # Errors
    /// It asks for what this version cannot do.
    pub fn of_manifest(manifest: Manifest, path: PathBuf) -> Result<Self, LoadError> {
        if manifest.is_closed() {
            return Err(LoadError::Closed { path });
        }
        let info: Arc<[u8]> = manifest.info_bytes().into();
        let asked = manifest.conductors().map(Tracker::from).collect();
        let trackers = Trackers { asked, passed_over: Vec::new() };
        let files = manifest.files().collect();
        let mirrors = manifest.mirrors().map(str::to_owned).collect();
        let info_hash = InfoHash::of(&info);
        Ok(Self { info_hash, info, manifest, files, trackers, members: Vec::new(), mirrors, namesakes: Box::default() })
    }

    fn of_torrent(torrent: &Torrent) -> Self {
        let mut manifest = Manifest::from(torrent.info());
        manifest.whole = torrent.whole.filter(|whole| *whole != NOT_KNOWN);
        Self {
            manifest,
            files: torrent.info().files.clone(),
            info: torrent.info_bytes().clone(),
            info_hash: torrent.info_hash(),
            trackers: Trackers::of(torrent.trackers.iter().flatten()),
            members: Vec::new(),
            mirrors: torrent.mirrors.clone(),
            namesakes: Box::default(),
        }
    }

    /// From the info dictionary that a magnet link led to, with the mirrors that the link names. `name`: what it is called
    /// for people until then.
    pub fn of_info(info: Arc<[u8]>, trackers: Trackers, mirrors: Vec<String>, name: &str) -> Result<Self, LoadError> {
        let read = Info::parse(&info).map_err(|error| LoadError::BadInfo { name: name.to_owned(), error })?;
        let (manifest, info_hash) = (Manifest::from(&read), InfoHash::of(&info));
        Ok(Self {
            manifest,
            files: read.files,
            info_hash,
            info,
            trackers,
            members: Vec::new(),
            mirrors,
            namesakes: Box::default(),
        })
    }
}

/// Reads what was named. Blocks.
///
/// # Errors
/// It cannot be read, or is none, or asks for what this version cannot do.
pub fn load(named: OsString) -> Result<Named, LoadError> {
    if let Some(link) = named.to_str().filter(|text| is_magnet(text)) {
        return Ok(Named::Magnet(link.parse()?));
    }
    let path = PathBuf::from(named);
    let bytes = input::read(&path).map_err(|error| unread(&path, error))?;
    let is_torrent = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent"));
    let composition = match is_torrent {
        true => Composition::of_torrent(&torrent(path, &bytes)?),
        false => {
            let manifest = Manifest::parse(&bytes);
            let manifest = manifest.map_err(|error| match is_named_like_one(&path) {
                true => LoadError::Bad { path: path.clone(), error },
                false => LoadError::Composition { path: path.clone() },
            })?;
            Composition::of_manifest(manifest, path)?
        }
    };
    Ok(Named::Composition(composition))
}

/// Whether a person meant a manifest, by its ending.
fn is_named_like_one(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("orch"))
}

/// Where nothing is there something else may have been meant.
fn unread(path: &Path, error: InputError) -> LoadError {
    match path.to_str().filter(|_| error.is_not_there()).and_then(instead) {
        Some(question) => LoadError::NotThere { error, question },
        None => error.into(),
    }
}

fn torrent(path: PathBuf, bytes: &[u8]) -> Result<Torrent, LoadError> {
    Torrent::parse(bytes).map_err(|error| LoadError::BadTorrent { path, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::info::is_private;

    const INFO: &str = "d6:lengthi3e4:name1:x12:piece lengthi2e6:pieces40:aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbe";

    fn load_file(name: &str, text: &str) -> Result<Composition, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        match load(path.into())? {
            Named::Composition(composition) => Ok(composition),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_worked_with_has_its_exit_code() {
        assert_eq!(load("/no/such.orch".into()).unwrap_err().exit(), Exit::Other);
        assert_eq!(load_file("x.orch", "hello").unwrap_err().exit(), Exit::BadManifest);
        let error = load_file("a b.iso", "hello").unwrap_err();
        assert_eq!(error.exit(), Exit::BadManifest);
        assert!(error.to_string().contains("member share '/") && error.to_string().ends_with("a b.iso'"), "{error}");
        let empty = "0.0.0.0:0\nx\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n";
        assert!(load_file("x.orch", empty).is_ok());
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path().into()).unwrap_err().exit(), Exit::BadManifest);
        assert_eq!(load("magnet:?xt=urn:btih:00".into()).unwrap_err().exit(), Exit::Usage);
        assert_eq!(load_file("x.Torrent", "hello").unwrap_err().exit(), Exit::BadManifest);
        let secret = format!("{empty}secret {}\n", "00".repeat(32));
        assert_eq!(load_file("x.orch", &secret).unwrap_err().exit(), Exit::Other);
    }

    #[test]
    fn a_torrent_is_fetched_by_its_own_bytes() {
        let info = INFO.replace("d6:", "d9:file treede6:").replace("4:name", "12:meta versioni2e4:name");
        let torrent = format!(
            "d8:announce18:http://t/x?k=1&z=213:announce-listll10:udp://t:12el18:http://t/x?k=1&z=2ee\
             4:info{info}4:sha120:cccccccccccccccccccce"
        );
        let composition = load_file("x.torrent", &torrent).unwrap();
        assert_eq!(&composition.info[..], info.as_bytes());
        assert_eq!(composition.info_hash, InfoHash::of(info.as_bytes()));
        assert_ne!(composition.info_hash, composition.manifest.info_hash());
        assert_eq!(composition.manifest.whole.map(|whole| whole.0), Some([b'c'; 20]));
        assert_eq!(composition.trackers.asked.len(), 1);
        assert!(composition.trackers.warning().is_some_and(|text| text.contains("udp://t:12")));
    }

    #[test]
    fn what_its_author_calls_private_is() {
        let torrent = |info: &str| is_private(&load_file("x.torrent", &format!("d4:info{info}e")).unwrap().info);
        assert!(torrent(&format!("{}7:privatei1ee", INFO.strip_suffix('e').unwrap())));
        assert!(!torrent(INFO) && !torrent(&format!("{}7:privatei0ee", INFO.strip_suffix('e').unwrap())));
    }

    #[test]
    fn a_torrent_of_several_files_is_taken_and_one_of_version_2_alone_refused() {
        let several =
            "d4:infod5:filesld6:lengthi3e4:pathl1:aeee4:name1:f12:piece lengthi3e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
        assert_eq!(load_file("x.torrent", several).unwrap().files.len(), 1);
        let v2 = "d4:infod9:file treede12:meta versioni2e4:name1:x12:piece lengthi16384eee";
        let error = load_file("x.torrent", v2).unwrap_err();
        assert_eq!((error.exit(), error.to_string().contains("hybrid")), (Exit::BadManifest, true), "{error}");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["2:..", "6:../etc", "4:a\nbc", "3:/ab"] {
            let torrent = format!("d4:info{}e", INFO.replace("1:x", name));
            let error = load_file("x.torrent", &torrent).unwrap_err();
            assert_eq!((error.exit(), error.to_string().contains("name")), (Exit::BadManifest, true), "{error}");
        }
    }

    #[test]
    fn a_magnet_link_is_one_in_any_case() {
        let link = format!("MAGNET:?xt=urn:btih:{}", "0".repeat(40));
        assert!(matches!(load(link.into()), Ok(Named::Magnet(_))));
    }
}
