//! Names of files and folders that are safe to put on a disk, and text that is safe to put on a terminal.
//!
//! A name from outside cannot leave the folder that it is put into, hide a line break or drive a terminal. It may still
//! look odd (spaces, bidirectional marks, device names of Windows): those are legal names of real files.

use std::{borrow::Cow, fmt::Write, str::FromStr};

/// The longest name, in bytes: file systems end at 255, some clients cut at 240, and `NAME.part` must fit too.
pub const MAX_NAME: usize = 240;

/// The longest path below a folder, in bytes: Linux takes no longer one in a call.
pub const MAX_PATH: usize = 4000;

/// One component of a path: not empty, not `.` or `..`, without separators and control characters.
///
/// It has no `Display`: take [`Name::as_str`] for the disk and [`Name::shown`] for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name would lead to another folder (. or ..)")]
    Dots,
    #[error("the name has a path separator (/ or \\) in it")]
    Separator,
    #[error("the name has a control character in it")]
    Control,
    #[error("the name is longer than {MAX_NAME} bytes")]
    TooLong,
    #[error("the path is longer than {MAX_PATH} bytes")]
    PathTooLong,
}

impl Name {
    /// Takes a name from outside if it is safe.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Dots),
            _ if text.contains(['/', '\\']) => Err(NameError::Separator),
            _ if text.contains(char::is_control) => Err(NameError::Control),
            _ if text.len() > MAX_NAME => Err(NameError::TooLong),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// As it is on the disk and in every written form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it may be shown: see [`shown`].
    pub fn shown(&self) -> Cow<'_, str> {
        shown(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// A path below a folder: safe names joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FilePath {
    /// From its components.
    pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, NameError> {
        let mut path = String::new();
        for name in names {
            let name = Name::new(name)?;
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name.as_str());
            if path.len() > MAX_PATH {
                return Err(NameError::PathTooLong);
            }
        }
        if path.is_empty() {
            return Err(NameError::Empty);
        }
        Ok(Self(path))
    }

    /// With `/` between the components.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of the folders on the way, and of the file.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// As it may be shown: see [`shown`].
    pub fn shown(&self) -> Cow<'_, str> {
        shown(&self.0)
    }
}

impl FromStr for FilePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::join(text.split('/'))
    }
}

/// Text from outside in a form that is safe for a terminal and cannot pass for other text: control characters, line
/// separators, bidirectional marks and invisible characters become `\u{202e}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(misleads) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if misleads(c) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "{}", c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unsafe_names_are_refused() {
        for (name, error) in [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("../x", NameError::Separator),
            ("/etc", NameError::Separator),
            ("a\\b", NameError::Separator),
            ("a\nb", NameError::Control),
            ("a\0", NameError::Control),
            ("\u{1b}[2J", NameError::Control),
            ("a\u{85}", NameError::Control),
            ("a\u{7f}", NameError::Control),
        ] {
            assert_eq!(Name::new(name), Err(error), "{name:?}");
        }
        assert_eq!(Name::new(&"x".repeat(241)), Err(NameError::TooLong));
        assert!(Name::new(&"x".repeat(240)).is_ok());
    }

    #[test]
    fn odd_names_are_legal() {
        for name in ["...x", "a..b.iso", " a ", "nul", "été.jpg", "a:b?*", "\u{202e}gpj.exe", "-rf"] {
            assert_eq!(Name::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn marks_that_mislead_are_shown() {
        assert_eq!(Name::new("a\u{202e}gpj").unwrap().shown(), "a\\u{202e}gpj");
        assert_eq!(shown("\u{1b}[2J"), "\\u{1b}[2J");
        assert!(matches!(shown("été 日本.iso"), Cow::Borrowed(_)));
    }

    #[test]
    fn paths_are_made_of_safe_names() {
        let path: FilePath = "a/b c/d".parse().unwrap();
        assert_eq!(path.components().collect::<Vec<_>>(), ["a", "b c", "d"]);
        for bad in ["", "/a", "a/", "a//b", "a/../b", "./a"] {
            assert!(bad.parse::<FilePath>().is_err(), "{bad}");
        }
        assert!(FilePath::join(["a", "b/c"]).is_err());
    }

    proptest! {
        #[test]
        fn a_name_stays_one_line_and_one_component(text in any::<String>()) {
            if let Ok(name) = Name::new(&text) {
                prop_assert_eq!(std::path::Path::new(name.as_str()).components().count(), 1);
                prop_assert_eq!(name.as_str().lines().count(), 1);
            }
            prop_assert!(!shown(&text).contains(misleads));
        }
    }
}
