//! The optional lines of a manifest: `key value`. Unknown keys are kept as they are and mean nothing.

use std::str::FromStr;

use super::{Endpoint, EndpointError, FileEntry, FilePath, NameError};

/// One optional line. Its text holds no line break or other control character, and a value that this program
/// understands is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    key: String,
    value: String,
}

/// Why an optional line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtraError {
    #[error("expected `key value` or the end of the manifest")]
    Form,
    #[error("{0:?} is no key: expected up to 64 letters, digits and signs")]
    Key(String),
    #[error("the value of `{0}` has a control character in it")]
    Control(String),
    #[error("the value of `{0}` is longer than a line may be")]
    TooLong(String),
    #[error("a further conductor: {0}")]
    Conductor(EndpointError),
    #[error("expected `file SIZE PATH`")]
    File,
    #[error("a file's path is not safe: {0}")]
    Path(NameError),
}

impl Extra {
    /// A line of this key and value.
    pub fn new(key: &str, value: &str) -> Result<Self, ExtraError> {
        // A later version may have keys of any look.
        if key.is_empty() || key.len() > 64 || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ExtraError::Key(key.chars().take(64).collect()));
        }
        if value.is_empty() {
            return Err(ExtraError::Form);
        }
        if value.contains(char::is_control) {
            return Err(ExtraError::Control(key.to_owned()));
        }
        if key.len() + 1 + value.len() > super::MAX_LINE {
            return Err(ExtraError::TooLong(key.to_owned()));
        }
        match key {
            "conductor" => drop(value.parse::<Endpoint>().map_err(ExtraError::Conductor)?),
            "file" => drop(value.parse::<FileEntry>()?),
            "executable" => drop(value.parse::<FilePath>().map_err(ExtraError::Path)?),
            _ => {}
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    /// The line of one file of a folder.
    pub fn file(file: &FileEntry) -> Self {
        Self { key: "file".to_owned(), value: format!("{} {}", file.size, file.path.as_str()) }
    }

    /// The line that makes a file of a folder a program.
    pub fn executable(path: &FilePath) -> Self {
        Self { key: "executable".to_owned(), value: path.as_str().to_owned() }
    }

    /// Visible ASCII, no space.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The rest of the line, never empty. Pass it through [`super::shown`] before a person sees it.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// From a line as it stands in a manifest.
impl FromStr for Extra {
    type Err = ExtraError;

    fn from_str(line: &str) -> Result<Self, ExtraError> {
        let (key, value) = line.split_once(' ').ok_or(ExtraError::Form)?;
        Self::new(key, value)
    }
}
