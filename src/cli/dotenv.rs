//! `.env` in the current directory: the settings of last resort.
//!
//! Not trusted, since it may have come with a download: only the settings named in [`ALLOWED`] are taken (no command,
//! no folder, no file, no token, nothing that changes what is fetched or from whom, what others are told of this machine, or
//! a file that is there), each line by itself and
//! without substitution, so that no variable of the user's environment can be carried out through a name or an address.
//! A conductor may be named, as the one of a network often is: it gets no token, is not asked what a name means, and can only
//! name peers, whose bytes are verified. Only a regular file of at most
//! [`MAX_BYTES`] is read: a pipe of that name would hold the program up.
//! Nothing here changes the environment of the process: what is found becomes arguments.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use rustix::fs::{Mode, OFlags};

use super::options::{is_switch, parse_switch};

/// Variables that `.env` may set: none that runs a command, names a file or a folder, decides what is fetched or from whom, says
/// something of this machine to others, replaces data, holds a secret, or tells more people than usual; it may have come
/// with a download.
const ALLOWED: [&str; 24] = [
    "ORCHESTRA_CHECK",
    "ORCHESTRA_COLOR",
    "ORCHESTRA_COMMENT",
    "ORCHESTRA_CONDUCTOR",
    "ORCHESTRA_CONDUCTOR_LISTEN",
    "ORCHESTRA_DOWNLOAD",
    "ORCHESTRA_EXIT_WHEN_DONE",
    "ORCHESTRA_HOPS",
    "ORCHESTRA_INTERFACE",
    "ORCHESTRA_JSON",
    "ORCHESTRA_LINKS",
    "ORCHESTRA_LISTEN",
    "ORCHESTRA_NO_CONDUCTOR",
    "ORCHESTRA_NO_LAN",
    "ORCHESTRA_NO_PROGRESS",
    "ORCHESTRA_NO_SEARCH",
    "ORCHESTRA_PART_SIZE",
    "ORCHESTRA_PORT",
    "ORCHESTRA_QUIET",
    "ORCHESTRA_SEED_RATIO",
    "ORCHESTRA_SEED_TIME",
    "ORCHESTRA_TIMEOUT",
    "ORCHESTRA_UPLOAD",
    "ORCHESTRA_VERBOSE",
];

/// Length of the largest `.env` that is taken, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What was found in `.env`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotEnv {
    settings: Vec<(String, String)>,
    /// What was not taken and why, for people.
    pub notes: Vec<String>,
}

impl DotEnv {
    /// Reads `.env` in the current directory, if there is one.
    pub fn here() -> Self {
        Self::at(Path::new(".env"))
    }

    /// Reads the regular file at `path`, if there is one; anything else there is noted and passed over.
    fn at(path: &Path) -> Self {
        let passed_over = |why: &str| Self {
            settings: Vec::new(),
            notes: vec![format!(".env is not taken: {why}; going on without it")],
        };
        match bytes_at(path) {
            Ok(Some(bytes)) if bytes.len() as u64 > MAX_BYTES => {
                passed_over(&format!("it is larger than {} KiB", MAX_BYTES >> 10))
            }
            Ok(Some(bytes)) => Self::parse(&String::from_utf8_lossy(&bytes)),
            Ok(None) => passed_over("it is no regular file"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => passed_over(&format!("it cannot be read ({error})")),
        }
    }

    /// Takes the settings of ours out of a `.env`; of two for one key the last counts.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            if !line.starts_with("ORCHESTRA_") {
                continue;
            }
            match setting(line) {
                Ok((key, value)) => {
                    found.settings.retain(|(known, _)| *known != key);
                    found.settings.push((key, value));
                }
                Err(why) => {
                    let key = line.split(['=', ' ']).next().unwrap_or_default();
                    let note = format!(".env line {}: {} ignored: {why}", index + 1, key.escape_debug());
                    found.notes.push(note);
                }
            }
        }
        found
    }

    /// What `.env` says for this key.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let (_, value) = self.settings.iter().find(|(known, _)| known == key)?;
        Some(value)
    }

    /// The options of this program that are set here and that neither the command line nor the environment has
    /// given, as arguments.
    pub(super) fn arguments(&self, command: &Command, typed: &ArgMatches) -> Vec<OsString> {
        let missing = command.get_arguments().filter(|arg| !is_given(arg, typed));
        missing.filter_map(|arg| self.argument(arg)).collect()
    }

    fn argument(&self, arg: &Arg) -> Option<OsString> {
        let value = self.value(arg.get_env()?.to_str()?)?;
        let long = arg.get_long()?;
        if !is_switch(arg) {
            return Some(format!("--{long}={value}").into());
        }
        match parse_switch(value) {
            Some(true) => Some(format!("--{long}").into()),
            Some(false) => None,
            // For clap to refuse, with the name of the switch.
            None => Some(format!("--{long}={value}").into()),
        }
    }
}

/// The content of the regular file at `path`, one byte more than [`MAX_BYTES`] at most; None if it is something else.
fn bytes_at(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    // Another file may take its place in between: opening a pipe must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn is_given(arg: &Arg, typed: &ArgMatches) -> bool {
    let source = typed.value_source(arg.get_id().as_str());
    !matches!(source, None | Some(ValueSource::DefaultValue))
}

/// One line `KEY=VALUE`, the value perhaps in quotes, perhaps with a comment behind it.
fn setting(line: &str) -> Result<(String, String), &'static str> {
    let key = line.split(['=', ' ']).next().unwrap_or_default();
    if !ALLOWED.contains(&key) {
        return Err("this may not be set here; use the environment or the command line");
    }
    // A value that names a variable of the environment would be a way out for what that variable holds.
    if line.contains('$') {
        return Err("a value with $ is not taken from here");
    }
    let mut settings = dotenvy::from_read_iter(line.as_bytes());
    match settings.next() {
        Some(Ok(setting)) => Ok(setting),
        _ => Err("expected KEY=VALUE, the value in quotes if it has spaces"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn settings_are_found_among_other_lines() {
        let found = DotEnv::parse(
            "\u{feff}DATABASE_URL=$SECRET\nexport ORCHESTRA_PORT=7000 # mine\r\nnonsense '\n\
             ORCHESTRA_COMMENT=\"rack 4\"\nORCHESTRA_PORT=7001\n",
        );
        assert_eq!(found.value("ORCHESTRA_PORT"), Some("7001"));
        assert_eq!(found.value("ORCHESTRA_COMMENT"), Some("rack 4"));
        assert_eq!(found.value("DATABASE_URL"), None);
        assert!(found.notes.is_empty());
    }

    #[test]
    fn no_command_no_folder_no_token_and_nothing_that_changes_files_what_is_fetched_or_what_others_see() {
        let refused = [
            "ON_COMPLETE",
            "OUTPUT",
            "LOG_DIR",
            "COMPOSER_OUTPUT",
            "TOKEN",
            "TOKEN_FILE",
            "REPAIR",
            "FORCE",
            "UNTIL_ALL",
            "ONLY",
            "FROM",
            "LAN",
            "NEIGHBOUR",
            "PEER",
            "ADVERTISE",
            "NAME",
        ];
        for key in refused {
            let found = DotEnv::parse(&format!("ORCHESTRA_{key}=x"));
            assert!(found.settings.is_empty(), "{key}");
            assert_eq!(found.notes.len(), 1, "{key}");
        }
    }

    #[test]
    fn nothing_of_the_environment_gets_into_a_value() {
        let found = DotEnv::parse("ORCHESTRA_COMMENT=$HOME\nORCHESTRA_CONDUCTOR=\"${HOME}.example.org\"");
        assert!(found.settings.is_empty());
        assert_eq!(found.notes.len(), 2);
    }

    #[test]
    fn a_note_cannot_play_with_the_terminal() {
        let found = DotEnv::parse("ORCHESTRA_\u{1b}[2J=1");
        assert!(!found.notes[0].contains('\u{1b}'));
    }

    #[test]
    fn only_a_small_regular_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert_eq!(DotEnv::at(&path), DotEnv::default());
        fs::create_dir(&path).unwrap();
        assert!(DotEnv::at(&path).notes[0].contains("no regular file"));
        fs::remove_dir(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(DotEnv::at(&path).notes[0].contains("no regular file"));
        fs::remove_file(&path).unwrap();
        let setting = "ORCHESTRA_PORT=7\n";
        fs::write(&path, setting.repeat(MAX_BYTES as usize / setting.len())).unwrap();
        assert_eq!(DotEnv::at(&path).value("ORCHESTRA_PORT"), Some("7"));
        fs::write(&path, setting.repeat(MAX_BYTES as usize / setting.len() + 1)).unwrap();
        let large = DotEnv::at(&path);
        assert!(large.settings.is_empty() && large.notes[0].contains("larger than 64 KiB"), "{large:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(port: u16, name in "[a-z 0-9.-]{1,20}") {
            let found = DotEnv::parse(&format!("ORCHESTRA_PORT={port}\nORCHESTRA_COMMENT='{name}'\n"));
            let port = port.to_string();
            prop_assert_eq!(found.value("ORCHESTRA_PORT"), Some(port.as_str()));
            prop_assert_eq!(found.value("ORCHESTRA_COMMENT"), Some(name.as_str()));
        }

        #[test]
        fn no_text_panics(text in "(?s).{0,60}", line in "ORCHESTRA_COMMENT=(?s).{0,20}") {
            DotEnv::parse(&text);
            DotEnv::parse(&line);
        }
    }
}
