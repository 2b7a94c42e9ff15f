//! From what composer was told and the facts of a file to what will be written, and where.
//!
//! Pure: nothing is read or written here, so a plan that cannot work is refused before the first byte is hashed.

use std::path::{Path, PathBuf};

use super::{ComposeError, Digests};
use crate::{
    cli::composer::Settings,
    geometry::{BLOCK, Geometry, MAX_PART_SIZE, MAX_PARTS},
    manifest::{Endpoint, Extra, Fault, FileEntry, Manifest, Name},
    mirror::address::Mirror,
};

/// Everything in a manifest but the digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: Name,
    pub geometry: Geometry,
    pub conductor: Endpoint,
    pub extras: Vec<Extra>,
}

impl Plan {
    /// What to write about a file of this path and size (in bytes), perhaps a program, or a folder of these files.
    pub fn new(
        settings: &Settings,
        path: &Path,
        size: u64,
        files: &[FileEntry],
        executable: bool,
    ) -> Result<Self, ComposeError> {
        let (name, mirrors) = (name(path)?, mirrors(settings, &[], !files.is_empty())?);
        let lines = lines(&name, files, executable)?;
        Ok(Self {
            name,
            geometry: geometry(settings.part_size, size)?,
            conductor: settings.conductor.clone().unwrap_or(Endpoint::UNKNOWN),
            extras: extras(settings)?.into_iter().chain(mirrors).chain(lines).collect(),
        })
    }

    /// The manifest, now that the digests are known.
    pub fn manifest(self, digests: Digests) -> Result<Manifest, ComposeError> {
        let whole = Some(digests.whole);
        let (name, geometry) = (self.name, self.geometry);
        let manifest = Manifest::new(self.conductor, name, whole, geometry, digests.parts, self.extras);
        Ok(manifest?)
    }
}

/// The lines of the files of a folder, or of a single file of this name that is a program.
pub(super) fn lines(name: &Name, files: &[FileEntry], executable: bool) -> Result<Vec<Extra>, ComposeError> {
    let programs = files.iter().filter(|file| file.executable).map(|file| Extra::executable(&file.path));
    let mut lines: Vec<Extra> = files.iter().map(Extra::file).chain(programs).collect();
    if executable {
        let line = Extra::new("executable", name.as_str());
        lines.push(line.map_err(|error| ComposeError::Fault(Fault::Extra(error)))?);
    }
    Ok(lines)
}

/// An existing manifest with what composer was told to change in it.
pub fn revise(settings: &Settings, mut manifest: Manifest) -> Result<Manifest, ComposeError> {
    if let Some(conductor) = &settings.conductor {
        manifest.conductor = conductor.clone();
    }
    let known: Vec<_> = manifest.mirrors().map(str::to_owned).collect();
    let mirrors = mirrors(settings, &known, manifest.is_folder())?;
    manifest.replace(extras(settings)?.into_iter().chain(mirrors).collect())?;
    Ok(manifest)
}

pub(super) fn name(path: &Path) -> Result<Name, ComposeError> {
    let name =
        (path.file_name().and_then(|name| name.to_str())).ok_or_else(|| ComposeError::NameNotUtf8(path.to_owned()))?;
    Name::new(name).map_err(|error| ComposeError::Name { path: path.to_owned(), error })
}

pub(super) fn geometry(part_size: Option<u64>, size: u64) -> Result<Geometry, ComposeError> {
    let largest = u64::from(MAX_PARTS) * u64::from(MAX_PART_SIZE);
    if size > largest {
        return Err(ComposeError::TooLarge(size));
    }
    let given = part_size.unwrap_or_else(|| u64::from(Geometry::default_part_size(size)));
    if given == 0 || !given.is_multiple_of(u64::from(BLOCK)) {
        return Err(ComposeError::PartSize(given));
    }
    Geometry::new(size, given).map_err(|_| match given > u64::from(MAX_PART_SIZE) {
        true => ComposeError::PartSize(given),
        false => ComposeError::TooManyParts {
            given,
            least: size.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(u64::from(BLOCK)),
        },
    })
}

fn extras(settings: &Settings) -> Result<Vec<Extra>, ComposeError> {
    let comment = settings.comment.as_deref().filter(|text| !text.is_empty());
    (comment.map(|text| Extra::new("comment", text)))
        .transpose()
        .map(|extra| extra.into_iter().collect())
        .map_err(ComposeError::Comment)
}

/// The lines of the mirrors that are known and those that are new, each once.
fn mirrors(settings: &Settings, known: &[String], for_folder: bool) -> Result<Vec<Extra>, ComposeError> {
    let mut all: Vec<&String> = known.iter().collect();
    for mirror in &settings.mirrors {
        let failed = |error| ComposeError::Mirror { mirror: mirror.clone(), error };
        Mirror::parse(mirror, for_folder).map_err(failed)?;
        if !all.contains(&mirror) {
            all.push(mirror);
        }
    }
    all.into_iter().map(|mirror| Extra::new("mirror", mirror).map_err(ComposeError::MirrorLine)).collect()
}

/// Where the outputs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub orch: PathBuf,
    pub torrent: Option<PathBuf>,
}

impl Places {
    /// The manifest where `-o` says, else under the source's name with its extension replaced (a folder's name has none),
    /// in the current directory; the `.torrent` beside it.
    pub fn new(settings: &Settings, source: &Path, is_folder: bool) -> Result<Self, ComposeError> {
        let by_default = || {
            let mut name = source.file_name().unwrap_or(source.as_os_str()).to_owned();
            match is_folder {
                true => {
                    name.push(".orch");
                    PathBuf::from(name)
                }
                false => Path::new(&name).with_extension("orch"),
            }
        };
        let orch = settings.output.clone().unwrap_or_else(by_default);
        let torrent = settings.torrent.then(|| orch.with_extension("torrent"));
        if torrent.as_ref() == Some(&orch) {
            return Err(ComposeError::OneNameForTwo(orch));
        }
        Ok(Self { orch, torrent })
    }

    pub fn all(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.orch).chain(&self.torrent).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{LogDir, ScreenOptions, composer::Source};

    fn told(source: Source) -> Settings {
        Settings {
            source,
            conductor: None,
            part_size: None,
            output: None,
            torrent: false,
            magnet: false,
            comment: None,
            mirrors: Vec::new(),
            register: None,
            follow_links: false,
            force: false,
            screen: ScreenOptions::default(),
            log_dir: LogDir::Stderr,
            notes: Vec::new(),
        }
    }

    fn settings(path: &str) -> Settings {
        told(Source::Composition(path.into()))
    }

    fn plan(settings: &Settings, size: u64) -> Result<Plan, ComposeError> {
        let (Source::Composition(path) | Source::From(path)) = &settings.source;
        Plan::new(settings, path, size, &[], false)
    }

    #[test]
    fn the_three_forms() {
        let short = plan(&settings("/data/big.iso"), 1 << 30).unwrap();
        assert_eq!(short.name.as_str(), "big.iso");
        assert_eq!(short.conductor, Endpoint::UNKNOWN);
        assert_eq!(short.geometry.part_size(), 512 << 10);
        let long =
            Settings { conductor: Some("head:7".parse().unwrap()), part_size: Some(16 << 10), ..settings("big.iso") };
        let long = plan(&long, 1 << 20).unwrap();
        assert_eq!(long.conductor.to_string(), "head:7");
        assert_eq!(long.geometry.parts(), 64);
    }

    #[test]
    fn part_sizes_that_do_not_fit_are_refused() {
        let cut = |part_size, size| {
            let settings = Settings { part_size: Some(part_size), ..settings("x") };
            plan(&settings, size)
        };
        for part_size in [0, 1000, 24 << 10, 129 << 20, 1 << 40] {
            let refused = cut(part_size, 1 << 20);
            assert!(matches!(refused, Err(ComposeError::PartSize(_))));
        }
        match cut(16 << 10, (16 << 30) + 1) {
            Err(ComposeError::TooManyParts { least, .. }) => assert_eq!(least, 32 << 10),
            other => panic!("{other:?}"),
        }
        assert!(cut(32 << 10, (16 << 30) + 1).is_ok());
        let endless = plan(&settings("x"), u64::MAX);
        assert!(matches!(endless, Err(ComposeError::TooLarge(_))));
    }

    #[test]
    fn names_that_no_member_would_take_are_refused() {
        let refused = plan(&settings("a\nb"), 1);
        assert!(matches!(refused, Err(ComposeError::Name { .. })));
    }

    #[test]
    fn outputs_are_named_after_the_source() {
        let places = |source, output: Option<&str>| {
            let settings = Settings { torrent: true, output: output.map(PathBuf::from), ..told(source) };
            let (Source::Composition(path) | Source::From(path)) = &settings.source;
            let places = Places::new(&settings, path, false)?;
            Ok::<_, ComposeError>((places.orch, places.torrent.unwrap()))
        };
        let file = || Source::Composition("/data/a.tar.gz".into());
        let expected = ("a.tar.orch".into(), "a.tar.torrent".into());
        assert_eq!(places(file(), None).unwrap(), expected);
        let expected = ("/tmp/b".into(), "/tmp/b.torrent".into());
        assert_eq!(places(file(), Some("/tmp/b")).unwrap(), expected);
        let from = places(Source::From("d/a.torrent".into()), None).unwrap();
        assert_eq!(from.0, Path::new("a.orch"));
        let folder = Places::new(&settings("data/v1.2"), Path::new("data/v1.2"), true).unwrap();
        assert_eq!(folder.orch, Path::new("v1.2.orch"));
        let refused = places(file(), Some("b.torrent"));
        assert!(matches!(refused, Err(ComposeError::OneNameForTwo(_))));
    }

    #[test]
    fn a_manifest_is_revised() {
        let old = Manifest::parse(b"head:1\nx\n2953289a34e0cc2bf776decc3f8b86622d66b705\n0\n16384\n0\ncomment old\n");
        let old = old.unwrap();
        let settings =
            Settings { conductor: Some("tail:2".parse().unwrap()), comment: Some("new".into()), ..settings("x") };
        let new = revise(&settings, old.clone()).unwrap();
        assert_eq!((new.conductor.to_string().as_str(), new.comment()), ("tail:2", Some("new")));
        assert_eq!(new.whole, old.whole);
    }

    #[test]
    fn mirrors_are_kept_and_added_each_once() {
        let told = |mirror: &str| Settings { mirrors: vec![mirror.to_owned()], ..settings("x") };
        let text = "head:1\nx\n2953289a34e0cc2bf776decc3f8b86622d66b705\n0\n16384\n0\nmirror http://a/\ncomment old\n";
        let old = Manifest::parse(text.as_bytes()).unwrap();
        for (mirror, all) in [("http://b/x", &["http://a/", "http://b/x"][..]), ("http://a/", &["http://a/"])] {
            let new = revise(&told(mirror), old.clone()).unwrap();
            assert_eq!((new.mirrors().collect::<Vec<_>>(), new.comment()), (all.to_vec(), Some("old")));
            assert_eq!(new.info_hash(), old.info_hash());
        }
        for wrong in ["b/x", "ftp://b/x", "http://u:p@b/x"] {
            assert_eq!(plan(&told(wrong), 1).unwrap_err().exit(), crate::cli::Exit::Usage, "{wrong}");
        }
    }
}
