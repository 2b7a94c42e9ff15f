//! `--only GLOB`: which files of a folder are meant.
//!
//! A pattern without `/` is compared with every name on the way: `*.pdf` means such files wherever they are, `docs` all
//! that lies in a folder of that name. A pattern with `/` is compared with the path from the top of the folder on, `**`
//! standing for any folders, and means what lies below it too.

use std::str::FromStr;

use glob::{MatchOptions, Pattern, PatternError};

use crate::manifest::FilePath;

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Pattern,
    of_names: bool,
}

impl Glob {
    /// As it was typed.
    pub fn as_str(&self) -> &str {
        self.pattern.as_str()
    }

    /// Whether it means this file.
    pub fn means(&self, path: &FilePath) -> bool {
        if self.of_names {
            return path.components().any(|name| self.pattern.matches_with(name, OPTIONS));
        }
        let text = path.as_str();
        let folders = text.match_indices('/').map(|(at, _)| &text[..at]);
        folders.chain([text]).any(|start| self.pattern.matches_with(start, OPTIONS))
    }
}

impl FromStr for Glob {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim_start_matches("./").trim_end_matches('/');
        Ok(Self { pattern: Pattern::new(text)?, of_names: !text.contains('/') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_names_or_paths() {
        for (pattern, path, means) in [
            ("*.pdf", "a.pdf", true),
            ("*.pdf", "docs/deep/a.pdf", true),
            ("*.pdf", "a.pdf.txt", false),
            ("docs", "docs/deep/a.pdf", true),
            ("docs", "my/docs/a", true),
            ("docs", "docs2/a", false),
            ("docs/", "docs/a", true),
            ("./docs/*.pdf", "docs/a.pdf", true),
            ("docs/*.pdf", "docs/deep/a.pdf", false),
            ("docs/*", "docs/deep/a.pdf", true),
            ("docs/**/a.pdf", "docs/deep/er/a.pdf", true),
            ("/docs/a", "docs/a", false),
            ("*", ".hidden", true),
            ("[ab]?", "dir/b1", true),
            ("DOCS", "docs/a", false),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!(glob.means(&path.parse().unwrap()), means, "{pattern} {path}");
        }
        assert!("[".parse::<Glob>().is_err());
    }
}
