//! What can be wrong with a manifest, in words for the person who has it.

use super::{EndpointError, ExtraError, NameError};
use crate::geometry::GeometryError;

/// What is wrong with a manifest, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct ManifestError {
    /// Counted from 1.
    pub line: usize,
    pub fault: Fault,
}

/// What is wrong, in words that stand alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("this is not text: a manifest is a text file that ends in .orch")]
    NotText,
    #[error("the manifest is longer than 256 MiB: no composition needs that")]
    TooLong,
    #[error("the line is longer than 8 KiB")]
    LongLine,
    #[error("the manifest ends before {expected}: it was cut short, get it again")]
    Missing { expected: &'static str },
    #[error("the conductor: {0}")]
    Conductor(#[from] EndpointError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("expected {expected}, found {found:?}")]
    Unexpected { expected: &'static str, found: String },
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    #[error("{said} parts are not what the size and the part size come to ({needed})")]
    PartCount { said: u64, needed: u32 },
    #[error(transparent)]
    Extra(#[from] ExtraError),
    #[error("more than 1,048,576 optional lines")]
    TooManyExtras,
    #[error("the files of the folder come to {sum} bytes, but the size is {size}")]
    FilesSize { sum: u64, size: u64 },
    #[error("two files of the folder have the path {0:?}, or one is a folder of the other")]
    FilesClash(String),
}
