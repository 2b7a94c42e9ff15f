//! What a person may have meant by a word that names no file: a command that is misspelled, or something to be fetched by
//! its name.

use std::path::Path;

use super::ask::WORDS;
use crate::{catalogue::place::Typed, manifest::shown, metainfo::InfoHash};

/// What other programs call the commands.
const ELSEWHERE: [(&str, &str); 10] = [
    ("check", "verify"),
    ("delete", "unregister"),
    ("download", "get"),
    ("fetch", "get"),
    ("find", "search"),
    ("info", "show"),
    ("ls", "list"),
    ("remove", "unregister"),
    ("seed", "share"),
    ("upload", "share"),
];

/// A question about a word that was taken for a file's name, where no such file is.
pub fn instead(word: &str) -> Option<String> {
    if let Some(command) = command(word) {
        return Some(format!("did you mean member {command}?"));
    }
    let is_named = word.parse::<InfoHash>().is_ok() || is_at_a_host(word);
    is_named.then(|| format!("did you mean member get {}?", shown(word)))
}

/// The command that is spelled nearly so, or called so elsewhere.
fn command(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == word).map(|(_, command)| *command);
    let distance = |command: &str| strsim::osa_distance(&word, command);
    // One letter of three may be wrong.
    let near = WORDS.into_iter().filter(|command| distance(command) <= command.len() / 3);
    elsewhere.or_else(|| near.min_by_key(|command| distance(command)))
}

/// Whether it is HOST/NAME, and no path: a folder is there, or an ending says what is meant.
fn is_at_a_host(word: &str) -> bool {
    let path = Path::new(word);
    let is_manifest = path.extension().is_some_and(|ending| ending == "orch" || ending == "torrent");
    let is_path = word.starts_with(['/', '.', '~']) || path.parent().is_some_and(Path::is_dir);
    let names_a_host = || Typed::parse(word, false).is_ok_and(|typed| typed.conductor.is_some());
    !is_manifest && !is_path && names_a_host()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_a_command_is_asked_about() {
        for (word, command) in [
            ("lits", "list"),
            ("List", "list"),
            ("gte", "get"),
            ("neighbors", "neighbours"),
            ("histroy", "history"),
            ("fetch", "get"),
            ("ls", "list"),
        ] {
            assert_eq!(instead(word), Some(format!("did you mean member {command}?")), "{word}");
        }
        for word in ["big.orch", "isos", "x", "", "show.orch", "magnet"] {
            assert_eq!(instead(word), None, "{word}");
        }
    }

    #[test]
    fn a_name_at_a_host_and_an_info_hash_are_fetched_with_get() {
        for word in
            ["10.0.0.1/big.iso", "head:7/alice/x", "head/x", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "[fd00::1]/x"]
        {
            assert_eq!(instead(word), Some(format!("did you mean member get {word}?")), "{word}");
        }
        for word in ["./head/x", "/head/x", "head/x.orch", "src/x", "~/x"] {
            assert_eq!(instead(word), None, "{word}");
        }
    }
}
