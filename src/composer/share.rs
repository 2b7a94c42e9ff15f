//! The command that shares a composition, as a line for a shell.

use std::{borrow::Cow, fmt::Write, os::unix::ffi::OsStrExt, path::Path};

use crate::manifest::shown;

/// `member ORCH`, and where the composition is unless it is in the current directory. `links`: they are followed in it.
pub fn command(orch: &Path, folder: Option<&Path>, links: bool) -> String {
    let mut line = format!("member {}", word(orch));
    if let Some(folder) = folder {
        // Writing to a String cannot fail.
        let _ = write!(line, " -o {}", word(folder));
    }
    if links {
        line.push_str(" --follow-links");
    }
    line
}

/// A path as one word that a shell reads back as it is, that no program takes for an option, and that is safe to
/// show: what a terminal would act on, or a reader be misled by, is written as `$'...'` (bash, zsh, ksh, POSIX 2024).
pub fn word(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let bytes = match bytes.first() {
        Some(b'-') => Cow::Owned([b"./", bytes].concat()),
        _ => Cow::Borrowed(bytes),
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Ok(text) if shown(text) == text => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(&bytes),
    }
}

fn is_plain(c: char) -> bool {
    // Not `=`: zsh takes a word that begins with it for the name of a program.
    c.is_alphanumeric() || "/._-+:,@%".contains(c)
}

fn escaped(bytes: &[u8]) -> String {
    let mut word = String::from("$'");
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => word.extend(['\\', char::from(byte)]),
            b' '..=b'~' => word.push(char::from(byte)),
            // Three octal digits: unlike \xHH they end by themselves. Writing to a String cannot fail.
            _ => drop(write!(word, "\\{byte:03o}")),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, process::Command};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_plain() {
        assert_eq!(command(Path::new("big.orch"), None, false), "member big.orch");
        let folder = Some(Path::new("/data/été 2024"));
        assert_eq!(command(Path::new("./big-1.orch"), folder, false), "member ./big-1.orch -o '/data/été 2024'");
        assert_eq!(command(Path::new("-v"), None, false), "member ./-v");
        assert_eq!(command(Path::new("it's"), None, true), r"member 'it'\''s' --follow-links");
        assert_eq!(command(Path::new("a\u{1b}[2J\n"), None, false), r"member $'a\033[2J\012'");
    }

    /// What this shell makes of the path in [`command`]; None where it is not installed.
    fn read_back(shell: &str, name: &[u8]) -> Option<Vec<u8>> {
        let path = Path::new(OsStr::from_bytes(name));
        let script = format!("member() {{ printf %s \"$1\"; }}; {}", command(path, None, false));
        let output = Command::new(shell).env("LC_ALL", "C").args(["-c", &script]).output();
        output.ok().map(|output| output.stdout)
    }

    #[test]
    fn what_zsh_would_expand_is_quoted() {
        for name in ["=ls", "~", "a*", "[x]", "a=b", "x^y", "a#b", "!x", "[fd00::5]:10000/x"] {
            for shell in ["bash", "zsh"] {
                let read = read_back(shell, name.as_bytes());
                assert!(read.is_none_or(|read| read == name.as_bytes()), "{shell}: {name}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_shell_reads_it_back(name in proptest::collection::vec(1u8.., 1..30)) {
            let expected = [if name[0] == b'-' { "./" } else { "" }.as_bytes(), &name].concat();
            for shell in ["bash", "zsh"] {
                // Not every machine has both.
                if let Some(read) = read_back(shell, &name) {
                    prop_assert_eq!(&read, &expected, "{}", shell);
                }
            }
        }
    }
}
