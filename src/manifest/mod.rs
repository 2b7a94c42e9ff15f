//! The manifest: the small text file (`.orch`) that says what a composition is and who conducts it.
//!
//! Pure: text in, [`Manifest`] out, and back. Its fixed lines are the conductor, the name, the SHA-1 of the whole, the
//! size, the part size, the number of parts and one SHA-1 a part; what follows are optional lines, [`Extra`]s. It maps
//! one to one to a BitTorrent info dictionary ([`crate::metainfo`]), so its info-hash is defined by the manifest alone.
//!
//! No line says where a composition is holes (a disk image is, for the most part): a part of zeros has the SHA-1 of as many
//! zeros. So it is known in the manifest of any version and in every `.torrent`, and nobody can say it wrongly. What is
//! shorter than a part is found when it is written.
//!
//! A manifest is hostile input. What [`Manifest::parse`] and [`Manifest::new`] give holds together: there are as many
//! digests as the geometry has parts, every name is safe on a disk, the files of a folder add up to the size. Counts are
//! checked against each other and against the lines that are really there before anything is allocated, so a manifest
//! costs memory in proportion to its own length.

pub mod endpoint;
mod error;
mod extra;
pub(crate) mod files;
pub mod name;
mod parse;
mod render;

use std::{collections::HashSet, sync::Arc};

pub use endpoint::{Endpoint, EndpointError, Host};
pub use error::{Fault, ManifestError};
pub use extra::{Extra, ExtraError};
pub use files::FileEntry;
pub use name::{FilePath, Name, NameError, shown};
pub(crate) use render::NOT_KNOWN;

use crate::{
    geometry::Geometry,
    hashing::Digest,
    metainfo::{Info, InfoHash, info},
};

/// The longest manifest that is read, in bytes. The part lines take at most 41 MiB of it.
pub const MAX_BYTES: usize = 256 << 20;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 8 << 10;
/// The most optional lines, and so the most files in a folder.
pub const MAX_EXTRAS: usize = 1 << 20;

/// What a composition is, and who conducts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Line 1; [`Endpoint::UNKNOWN`] where it is not known yet. May be changed at will.
    pub conductor: Endpoint,
    /// The file's name, or the folder's.
    pub name: Name,
    /// SHA-1 of the whole composition, where it is known.
    pub whole: Option<Digest>,
    /// Its size, and how it is cut into parts.
    pub geometry: Geometry,
    /// SHA-1 of each part, in order; exactly as many as the geometry has parts.
    pub parts: Arc<[Digest]>,
    extras: Vec<Extra>,
}

impl Manifest {
    /// Puts a manifest together.
    ///
    /// # Errors
    /// If the number of digests is not the geometry's number of parts, or the files of a folder do not add up to the
    /// size or stand in each other's way.
    pub fn new(
        conductor: Endpoint,
        name: Name,
        whole: Option<Digest>,
        geometry: Geometry,
        parts: impl Into<Arc<[Digest]>>,
        extras: Vec<Extra>,
    ) -> Result<Self, Fault> {
        let parts = parts.into();
        if parts.len() as u64 != u64::from(geometry.parts()) {
            return Err(Fault::PartCount { said: parts.len() as u64, needed: geometry.parts() });
        }
        let manifest = Self { conductor, name, whole, geometry, parts, extras };
        manifest.check_files()?;
        Ok(manifest)
    }

    /// Reads a manifest; lines may end in `\n` or `\r\n`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        parse::parse(bytes)
    }

    /// The manifest as text: always the same bytes for the same manifest.
    pub fn render(&self) -> String {
        render::render(self)
    }

    /// The info dictionary (BEP 3) of this composition, in its canonical form.
    pub fn info_bytes(&self) -> Vec<u8> {
        let files: Vec<_> = self.files().collect();
        info::encode(&self.name, &self.geometry, &self.parts, &files)
    }

    /// The name of this composition's swarm.
    pub fn info_hash(&self) -> InfoHash {
        InfoHash::of(&self.info_bytes())
    }

    /// The conductors that are known: line 1, then the further ones.
    pub fn conductors(&self) -> impl Iterator<Item = Endpoint> + '_ {
        let further = self.values("conductor").filter_map(|v| v.parse().ok());
        std::iter::once(self.conductor.clone()).chain(further).filter(|endpoint| !endpoint.is_unknown())
    }

    /// Whether the composition is a folder; otherwise it is one file.
    pub fn is_folder(&self) -> bool {
        self.values("file").next().is_some()
    }

    /// The files of a folder, in the order in which the parts run over them; none for a single file.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> + '_ {
        let programs: HashSet<&str> = self.values("executable").collect();
        let files = self.values("file").filter_map(|v| v.parse().ok());
        files.map(move |file: FileEntry| FileEntry { executable: programs.contains(file.path.as_str()), ..file })
    }

    /// Whether the composition is a single file that is to be a program, for those who may read it.
    pub fn is_executable(&self) -> bool {
        !self.is_folder() && self.values("executable").any(|path| path == self.name.as_str())
    }

    /// Whether the manifest carries a secret: its members speak to nobody who lacks it, and nothing that names the
    /// composition may be published.
    pub fn is_closed(&self) -> bool {
        self.values("secret").next().is_some()
    }

    /// What its author says of it. Pass it through [`shown`] before a person sees it.
    pub fn comment(&self) -> Option<&str> {
        self.values("comment").next()
    }

    /// When it was composed, RFC 3339 as its author wrote it.
    pub fn created(&self) -> Option<&str> {
        self.values("created").next()
    }

    /// HTTP sources of the same bytes (BEP 19).
    pub fn mirrors(&self) -> impl Iterator<Item = &str> {
        self.values("mirror")
    }

    /// The optional lines, in order.
    pub fn extras(&self) -> &[Extra] {
        &self.extras
    }

    /// Writes these in place of all optional lines of the same keys, at the end.
    ///
    /// # Errors
    /// As [`Manifest::new`]; the manifest is then unchanged.
    pub fn replace(&mut self, extras: Vec<Extra>) -> Result<(), Fault> {
        let mut changed = self.clone();
        changed.extras.retain(|old| extras.iter().all(|new| new.key() != old.key()));
        changed.extras.extend(extras);
        changed.check_files()?;
        *self = changed;
        Ok(())
    }

    /// The values of all optional lines of this key.
    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.extras.iter().filter(move |extra| extra.key() == key).map(Extra::value)
    }

    /// Checks the files of a folder against the size and each other.
    fn check_files(&self) -> Result<(), Fault> {
        if !self.is_folder() {
            return Ok(());
        }
        let files: Vec<_> = self.files().collect();
        let size = self.geometry.size();
        match files::total(&files) {
            Some(sum) if sum == size => {}
            sum => {
                let sum = sum.unwrap_or(u64::MAX);
                return Err(Fault::FilesSize { sum, size });
            }
        }
        match files::clash(&files) {
            Some(path) => Err(Fault::FilesClash(path.as_str().to_owned())),
            None => Ok(()),
        }
    }
}

/// What the swarm's info dictionary says, with nothing that only a manifest holds.
impl From<&Info> for Manifest {
    fn from(info: &Info) -> Self {
        let programs = info.files.iter().filter(|file| file.executable).map(|file| Extra::executable(&file.path));
        let extras = info.files.iter().map(Extra::file).chain(programs).collect();
        Self {
            conductor: Endpoint::UNKNOWN,
            name: info.name.clone(),
            whole: None,
            geometry: info.geometry,
            parts: info.parts.clone(),
            extras,
        }
    }
}

#[cfg(test)]
mod tests;
