//! Why nothing was composed, in words for the person who asked, and as an exit code.

use std::{io, path::PathBuf};

use super::write::WriteError;
use crate::{
    catalogue::AskError,
    cli::{Exit, input::InputError, units},
    manifest::{ExtraError, Fault, ManifestError, NameError},
    metainfo::{convert::ConvertError, torrent::TorrentError},
    mirror::address::MirrorError,
};

/// Why nothing was composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    #[error("cannot read {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{} is a folder without files: there is nothing to compose", .0.display())]
    NoFiles(PathBuf),
    #[error(
        "{} holds no files and {links} symbolic links: --follow-links takes in what they lead to", .folder.display()
    )]
    OnlyLinks { folder: PathBuf, links: usize },
    #[error("{} holds more than 1,048,576 files: compose an archive of it", .0.display())]
    TooManyFiles(PathBuf),
    #[error("{} lies in the folder that is to be composed: start composer somewhere else, or give another place with -o and --log-dir", .0.display())]
    Inside(PathBuf),
    #[error("{} is no ordinary file: copy what it holds into one and compose that", .0.display())]
    Special(PathBuf),
    #[error("the name of {} is not UTF-8, which every manifest is: rename the file", .0.display())]
    NameNotUtf8(PathBuf),
    #[error("{}: {error}: rename the file", .path.display())]
    Name { path: PathBuf, error: NameError },
    #[error("{} changed while it was read: compose it again when nobody writes to it", .0.display())]
    Changed(PathBuf),
    #[error("a part size of {} bytes does not fit: it must be a multiple of 16K, at most 128M", .0)]
    PartSize(u64),
    #[error("parts of {} would be more than 1,048,576: take at least {}", units::size(*.given), units::size(*.least))]
    TooManyParts { given: u64, least: u64 },
    #[error("{} bytes are more than 1,048,576 parts of 128 MiB hold: split the file", .0)]
    TooLarge(u64),
    #[error("{} would be written over what it is made from: give another name with -o", .0.display())]
    OutputIsInput(PathBuf),
    #[error("the manifest and the .torrent would both be {}: give another name with -o", .0.display())]
    OneNameForTwo(PathBuf),
    #[error("the comment: {0}")]
    Comment(ExtraError),
    #[error("--mirror {mirror}: {error}")]
    Mirror { mirror: String, error: MirrorError },
    #[error("the mirrors: {0}")]
    MirrorLine(ExtraError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{}, {error}", .path.display())]
    Manifest { path: PathBuf, error: ManifestError },
    #[error("{}: {error}", .path.display())]
    Torrent { path: PathBuf, error: TorrentError },
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// What was hashed does not hold together: a fault of this program.
    #[error("the manifest does not hold together: {0}")]
    Fault(#[from] Fault),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the manifest holds a secret and is registered nowhere: hand it to its members yourself")]
    Secret,
    /// `again`: what to type.
    #[error("{error}\n{} is written; register it later with: {again}", .orch.display())]
    Register { orch: PathBuf, error: Box<AskError>, again: String },
    /// Only where it was to be registered.
    #[error(
        "{} exists already: unless {} has changed since, register it as it is with: {command}; --force composes it anew",
        .orch.display(), .path.display()
    )]
    Composed { path: PathBuf, orch: PathBuf, command: String },
    #[error("interrupted: {} is written, and not registered", .0.display())]
    NotRegistered(PathBuf),
    #[error("interrupted: nothing was written")]
    Interrupted,
}

impl ComposeError {
    /// What to tell the script that started composer.
    pub fn exit(&self) -> Exit {
        match self {
            Self::PartSize(_)
            | Self::TooManyParts { .. }
            | Self::Convert(ConvertError::Empty | ConvertError::Closed)
            | Self::OutputIsInput(_)
            | Self::Inside(_)
            | Self::OneNameForTwo(_)
            | Self::Comment(_)
            | Self::Mirror { .. }
            | Self::MirrorLine(_)
            | Self::Secret => Exit::Usage,
            Self::Input(error) => error.exit(),
            Self::Register { error, .. } => error.exit(),
            Self::Manifest { .. } | Self::Torrent { .. } | Self::Convert(_) => Exit::BadManifest,
            Self::Composed { .. } | Self::Write(WriteError::Exists(_) | WriteError::Special(_)) => Exit::OtherData,
            Self::Write(WriteError::Folder { .. } | WriteError::Write { .. }) => Exit::Disk,
            Self::Interrupted | Self::NotRegistered(_) => Exit::Interrupted,
            Self::Read { .. }
            | Self::NoFiles(_)
            | Self::TooManyFiles(_)
            | Self::Special(_)
            | Self::OnlyLinks { .. }
            | Self::NameNotUtf8(_)
            | Self::Name { .. }
            | Self::Changed(_)
            | Self::TooLarge(_)
            | Self::Fault(_) => Exit::Other,
        }
    }
}
