//! What happened, as plain data: one form for people and for scripts.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, Serializer};

use super::part_map;
use crate::{
    cli::{Exit, units},
    manifest::shown,
};

/// Something that happened to a composition. As JSON it is an object with its kind under `event`; keys are only
/// ever added. Sizes are bytes, times seconds. (How far it is comes from a [`View`](super::View), not from here.)
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// The manifest is read and the member listens.
    Start(Begun),
    /// A file is shared, by a member that shares files and folders.
    Shared(Begun),
    /// A file that was shared is gone, and shared no more.
    Withdrawn {
        name: String,
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        info_hash: String,
    },
    /// All files that were found are shared: how many, and their bytes. `get`: what fetches them elsewhere.
    Sharing { files: usize, size: u64, port: u16, get: Vec<String> },
    /// What is on disk is known, and something is missing.
    Fetch {
        name: String,
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        size: u64,
        missing: u64,
    },
    /// Only some files of a folder are wanted, so many bytes.
    Selected { name: String, wanted: usize, files: usize, size: u64 },
    /// What was on disk is checked, as `--check` asked. `wrong`: the parts that are wrong or missing, as runs of their
    /// numbers, first and last, counted from 1.
    Checked {
        name: String,
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        parts: u32,
        wrong: Vec<(u32, u32)>,
    },
    /// The file has its final name, whole and verified. `seconds` since the start; `sharing`: the member stays.
    Whole {
        name: String,
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        size: u64,
        fetched: u64,
        /// Bytes of `fetched` that came from mirrors.
        mirror: u64,
        #[serde(serialize_with = "write_seconds")]
        seconds: Duration,
        sharing: bool,
    },
    /// Machines that have it whole, of those that are waited for; those that have it and those that have not, as far as
    /// they are known, and those that have it only as conductors say.
    Copies {
        name: String,
        copies: usize,
        wanted: usize,
        whole: Vec<String>,
        lacking: Vec<String>,
        claimed: Vec<String>,
    },
    /// A catalogue is copied: so many compositions, in a file of so many bytes.
    Copied {
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        compositions: usize,
        size: u64,
    },
    /// Something that people should know; the member goes on.
    Warning { name: Option<String>, text: String },
    /// Why it ends without success, and what to do.
    Error {
        name: Option<String>,
        #[serde(serialize_with = "write_code")]
        code: Exit,
        text: String,
    },
    /// The last word about a composition.
    End(End),
}

/// What it is, where it is, and the port that the member listens on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Begun {
    pub name: String,
    #[serde(serialize_with = "write_path")]
    pub path: PathBuf,
    pub size: u64,
    pub parts: u32,
    pub part_size: u32,
    pub info_hash: String,
    pub port: u16,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct End {
    /// None: of what was asked for nothing is known.
    pub name: Option<String>,
    #[serde(serialize_with = "write_code")]
    pub code: Exit,
    /// Where the file is, or would have been, if that is known.
    #[serde(serialize_with = "write_maybe_path")]
    pub path: Option<PathBuf>,
    pub size: u64,
    /// Bytes on disk that are verified.
    pub have: u64,
    /// Payload bytes that came, from members and mirrors.
    pub fetched: u64,
    /// Those of them that came from mirrors.
    pub mirror: u64,
    /// Payload bytes sent to members.
    pub uploaded: u64,
    /// From the start to the end.
    #[serde(serialize_with = "write_seconds")]
    pub seconds: Duration,
    /// From the start until the file was whole and verified; None if it never was.
    #[serde(serialize_with = "write_maybe_seconds")]
    pub whole_after: Option<Duration>,
    /// Why it ended without success; None where it did not, or that was told long before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Report {
    /// The line for people, if there is one.
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Report::Start(Begun { name, size, parts, port, .. }) => {
                let size = units::size(*size);
                format!("{name}: {size} in {}; listening on port {port}", counted(u64::from(*parts), "part"))
            }
            // Said by who knows how many there are.
            Report::Shared(_) | Report::Withdrawn { .. } | Report::Sharing { .. } | Report::Copied { .. } => {
                return None;
            }
            Report::Fetch { name, path, size, missing } if missing == size => {
                format!("{name}: fetching {} to {}", units::size(*size), place(path))
            }
            Report::Fetch { name, path, size, missing } => {
                let (missing, size) = (units::size(*missing), units::size(*size));
                format!("{name}: fetching the missing {missing} of {size} to {}", place(path))
            }
            Report::Selected { name, wanted, files, size } => {
                format!("{name}: {wanted} of {} are wanted, {}", counted(*files as u64, "file"), units::size(*size))
            }
            Report::Checked { name, parts, wrong, .. } => format!("{name}: {}", checked(*parts, wrong)),
            Report::Whole { sharing: false, .. } => return None,
            Report::Whole { name, size, fetched, mirror, seconds, .. } => {
                format!("{name}: {}; sharing it", whole(*size, *fetched, *mirror, *seconds))
            }
            Report::Copies { name, copies, wanted, whole, lacking, claimed } => {
                let list = |word: &str, names: &[String]| match names {
                    [] => String::new(),
                    names => format!("{word}{}", shown(&names.join(", "))),
                };
                let (whole, lacking) = (list(": ", whole), list("; not yet: ", lacking));
                let claimed = list("; claimed, and not seen over a connection: ", claimed);
                format!("{name}: {copies} of {wanted} have it whole{whole}{lacking}{claimed}")
            }
            Report::Warning { name, text } => {
                let word = console::Style::new().for_stderr().yellow().apply_to("warning:");
                format!("{word} {}{}", of(name), shown(text))
            }
            Report::Error { name, text, .. } => {
                let word = console::Style::new().for_stderr().red().bold().apply_to("error:");
                // A list of what may be meant has lines.
                let lines: Vec<_> = text.lines().map(shown).collect();
                format!("{word} {}{}", of(name), lines.join("\n"))
            }
            Report::End(end) => return end.line(),
        })
    }
}

impl End {
    /// It ended before anything came of it.
    pub fn early(name: Option<String>, code: Exit, seconds: Duration) -> Self {
        let (path, whole_after, text) = (None, None, None);
        Self { name, code, path, size: 0, have: 0, fetched: 0, mirror: 0, uploaded: 0, seconds, whole_after, text }
    }

    /// The same, and why.
    pub fn failed(name: Option<String>, code: Exit, text: String, seconds: Duration) -> Self {
        Self { text: Some(text), ..Self::early(name, code, seconds) }
    }

    /// The last line for people. An error has had its line before.
    fn line(&self) -> Option<String> {
        let (name, size) = (self.name.as_ref()?, self.size);
        match (self.whole_after, self.code) {
            (Some(after), _) => {
                let whole = whole(size, self.fetched, self.mirror, after);
                Some(format!("{name}: {whole}: {}", place(self.path.as_ref()?)))
            }
            (None, Exit::Interrupted) if size == 0 => Some(format!("{name}: interrupted before its manifest came")),
            (None, Exit::Interrupted) => {
                let (have, size) = (units::size(self.have), units::size(size));
                Some(format!("{name}: interrupted; {have} of {size} are verified and kept: the same command goes on"))
            }
            (None, _) => None,
        }
    }
}

/// Runs of parts that people are told; a script is told all.
const MOST_RUNS: usize = 20;

/// `412 of 420 parts are right; wrong or missing: 3-5, 77, 100-103`.
fn checked(parts: u32, wrong: &[(u32, u32)]) -> String {
    let bad: u32 = wrong.iter().map(|(first, last)| last - first + 1).sum();
    let right = format!("{} of {} are right", parts - bad, counted(u64::from(parts), "part"));
    if wrong.is_empty() {
        return right;
    }
    format!("{right}; wrong or missing: {}", part_map::runs(wrong, MOST_RUNS))
}

/// `18.6 GiB whole and verified in 3 min 12 s (99 MiB/s)`; no time where nothing had to be fetched, and how much came
/// from mirrors where some did.
fn whole(size: u64, fetched: u64, mirror: u64, after: Duration) -> String {
    let size = units::size(size);
    if fetched == 0 {
        return format!("{size} whole and verified");
    }
    let rate = units::rate(fetched as f64 / after.as_secs_f64().max(0.001));
    let mirrored = match mirror {
        0 => String::new(),
        bytes => format!(", {} of it from mirrors", units::size(bytes)),
    };
    format!("{size} whole and verified in {} ({rate}){mirrored}", units::duration(after))
}

/// A path as people can paste it: what is in the current folder begins with `./`.
fn place(path: &Path) -> String {
    let path_as_text = path.display().to_string();
    let shown = shown(&path_as_text);
    match path.is_absolute() || shown.starts_with("./") || shown.starts_with("../") {
        true => shown.into_owned(),
        false => format!("./{shown}"),
    }
}

fn of(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default()
}

/// `1 part`, `2 parts`.
pub fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn write_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn write_maybe_path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => write_path(path, serializer),
        None => serializer.serialize_none(),
    }
}

fn write_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // To the millisecond: no more is meant.
    serializer.serialize_f64(time.as_millis() as f64 / 1000.0)
}

pub(super) fn write_maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => write_seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn write_code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn end() -> End {
        End {
            name: Some("vm.qcow2".to_owned()),
            code: Exit::Done,
            path: Some("vm.qcow2".into()),
            size: 20_000_000_000,
            have: 20_000_000_000,
            fetched: 20_000_000_000,
            mirror: 0,
            uploaded: 0,
            seconds: Duration::from_secs(200),
            whole_after: Some(Duration::from_secs(192)),
            text: None,
        }
    }

    #[test]
    fn the_last_line_is_that_of_the_contract() {
        let line = Report::End(end()).line().unwrap();
        assert_eq!(line, "vm.qcow2: 18.6 GiB whole and verified in 3 min 12 s (99 MiB/s): ./vm.qcow2");
    }

    #[test]
    fn what_was_there_already_took_no_time() {
        let end = End { fetched: 0, path: Some("/data/vm.qcow2".into()), ..end() };
        assert_eq!(end.line().unwrap(), "vm.qcow2: 18.6 GiB whole and verified: /data/vm.qcow2");
    }

    #[test]
    fn what_came_from_mirrors_is_said() {
        let line = Report::End(End { mirror: 5_000_000_000, ..end() }).line().unwrap();
        assert!(line.ends_with("(99 MiB/s), 4.7 GiB of it from mirrors: ./vm.qcow2"), "{line}");
    }

    #[test]
    fn interrupted_it_says_what_is_kept() {
        let end = End { code: Exit::Interrupted, have: 10_000_000_000, whole_after: None, ..end() };
        let line = end.line().unwrap();
        assert_eq!(line, "vm.qcow2: interrupted; 9.3 GiB of 18.6 GiB are verified and kept: the same command goes on");
        assert_eq!(End { code: Exit::Missing, whole_after: None, ..end }.line(), None);
    }

    #[test]
    fn a_check_says_which_parts_are_wrong() {
        assert_eq!(checked(420, &[]), "420 of 420 parts are right");
        assert_eq!(checked(420, &[(3, 5), (77, 77)]), "416 of 420 parts are right; wrong or missing: 3-5, 77");
        let many: Vec<_> = (0..30).map(|n| (2 * n + 1, 2 * n + 1)).collect();
        assert!(checked(100, &many).ends_with(", 39 and more"));
    }

    #[test]
    fn scripts_read_all_of_the_beginning() {
        let (name, path, info_hash) = ("x".to_owned(), "d/x".into(), "ab".to_owned());
        let begun = Begun { name, path, size: 20_000, parts: 2, part_size: 16_384, info_hash, port: 9998 };
        let fields = r#""name":"x","path":"d/x","size":20000,"parts":2,"part_size":16384,"info_hash":"ab","port":9998"#;
        for (report, event) in [(Report::Start(begun.clone()), "start"), (Report::Shared(begun), "shared")] {
            assert_eq!(serde_json::to_string(&report).unwrap(), format!(r#"{{"event":"{event}",{fields}}}"#));
        }
    }

    #[test]
    fn a_fetch_says_where_to() {
        let fetch = |missing| Report::Fetch { name: "x".to_owned(), path: "d/x".into(), size: 2048, missing };
        assert_eq!(fetch(2048).line().unwrap(), "x: fetching 2 KiB to ./d/x");
        assert_eq!(fetch(1024).line().unwrap(), "x: fetching the missing 1 KiB of 2 KiB to ./d/x");
    }
}
