//! What came and went: a line of JSON for each in the user's state folder, and one for people in the log.
//!
//! It is for people and their scripts; nothing in it is believed or acted on. The file is kept to [`MOST_BYTES`], the
//! newest lines. A crash loses what was sent on connections that were open.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    cli::units,
    manifest::shown,
    metainfo::InfoHash,
    storage::{own, state_folder},
};

/// The version of the lines.
const VERSION: u32 = 1;
/// Longer than this, the file loses its older half.
const MOST_BYTES: u64 = 512 << 10;

/// Something that came or went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    v: u32,
    /// RFC 3339.
    pub time: String,
    pub name: String,
    /// None: it is several.
    #[serde(with = "hex_digits")]
    pub info_hash: Option<InfoHash>,
    /// Bytes of payload.
    pub bytes: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// It is whole and verified at this path, after so many seconds.
    Fetched { path: String, seconds: f64 },
    /// It is shared from this path.
    Shared { path: String },
    /// So much of it went to this member: its name and address, or the address alone. Not safe for a terminal.
    Sent { to: String },
}

impl Record {
    /// Of now.
    pub fn new(name: &str, info_hash: Option<InfoHash>, bytes: u64, what: What) -> Self {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Self { v: VERSION, time, name: name.to_owned(), info_hash, bytes, what }
    }

    /// For people, safe for a terminal.
    pub fn line(&self) -> String {
        let (time, size) = (self.time.replacen('T', " ", 1), units::size(self.bytes));
        let what = match &self.what {
            What::Fetched { path, seconds } => {
                let seconds = core::time::Duration::try_from_secs_f64(*seconds).unwrap_or_default();
                format!("fetched {}, {size} in {}: {path}", self.name, units::duration(seconds))
            }
            What::Shared { path } => format!("shared {}, {size}: {path}", self.name),
            What::Sent { to } => format!("sent {size} of {} to {to}", self.name),
        };
        format!("{}  {}", shown(&time), shown(&what))
    }
}

/// The file of one user.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
}

/// Why it is not kept, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the history in {path}: {error}")]
pub struct HistoryError {
    path: PathBuf,
    error: io::Error,
}

impl History {
    /// `history.jsonl` in the [`state_folder`]; None where there is none.
    pub fn of_this_user() -> Option<Self> {
        Some(Self { path: state_folder()?.join("history.jsonl") })
    }

    /// Adds these, and logs them. Blocks.
    ///
    /// # Errors
    /// The file cannot be written: they are in the log alone.
    pub fn add(&self, records: &[Record]) -> Result<(), HistoryError> {
        records.iter().for_each(|record| log::info!("{}", record.line()));
        self.append(records).map_err(|error| HistoryError { path: self.path.clone(), error })
    }

    fn append(&self, records: &[Record]) -> io::Result<()> {
        // Plain data with text for keys always can be written.
        let lines = records.iter().filter_map(|record| serde_json::to_string(record).ok()).map(|line| line + "\n");
        let lines: String = lines.collect();
        if let Some(folder) = self.path.parent() {
            own::make_folder(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        // In one piece, so that lines of two processes do not mix.
        file.write_all(lines.as_bytes())?;
        match file.metadata()?.len() > MOST_BYTES {
            true => shorten(&self.path),
            false => Ok(()),
        }
    }

    /// All that is kept, the oldest first. Blocks.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self) -> Result<Vec<Record>, HistoryError> {
        match fs::read_to_string(&self.path) {
            // A line that another version wrote is passed over.
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(HistoryError { path: self.path.clone(), error }),
        }
    }
}

/// An info-hash as its hex digits.
mod hex_digits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::metainfo::InfoHash;

    pub fn serialize<S: Serializer>(hash: &Option<InfoHash>, to: S) -> Result<S::Ok, S::Error> {
        hash.map(|hash| hash.to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<InfoHash>, D::Error> {
        Option::<String>::deserialize(from)?.map(|hash| hash.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Adds these to the history of this user. Blocks. That it cannot be kept is no reason to do anything else.
pub fn note(records: &[Record]) {
    if let Some(history) = History::of_this_user().filter(|_| !records.is_empty())
        && let Err(error) = history.add(records)
    {
        log::warn!("{error}");
    }
}

/// Keeps the newer half. What another process adds meanwhile is lost.
fn shorten(path: &Path) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    let from = text.len() / 2;
    let from = text.as_bytes()[from..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| from + at + 1);
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    new.write_all(&text.as_bytes()[from..])?;
    new.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: u64) -> Record {
        Record::new("big.iso", Some(InfoHash([1; 20])), bytes, What::Sent { to: "ws-05 (10.0.0.5:9998)".to_owned() })
    }

    #[test]
    fn what_is_added_is_read_again_the_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let history = History { path: folder.path().join("state/history.jsonl") };
        assert_eq!(history.read().unwrap(), []);
        let fetched = What::Fetched { path: "/d/big.iso".to_owned(), seconds: 12.5 };
        let records = [sent(1 << 20), Record::new("big.iso", None, 4 << 30, fetched)];
        records.iter().for_each(|record| history.add(std::slice::from_ref(record)).unwrap());
        assert_eq!(history.read().unwrap(), records);
        let line = records[1].line();
        assert!(line.ends_with("  fetched big.iso, 4 GiB in 13 s: /d/big.iso"), "{line}");
        assert!(sent(2048).line().ends_with("  sent 2 KiB of big.iso to ws-05 (10.0.0.5:9998)"));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let history = History { path: folder.path().join("history.jsonl") };
        let many: Vec<Record> = (0..1000).map(sent).collect();
        for _ in 0..8 {
            history.add(&many).unwrap();
            assert!(fs::metadata(&history.path).unwrap().len() <= MOST_BYTES);
        }
        let kept = history.read().unwrap();
        assert!(kept.len() > 1000 && kept.last() == many.last(), "{}", kept.len());
    }

    #[test]
    fn nothing_drives_the_terminal() {
        let line = Record::new("\u{1b}[2J", None, 1, What::Sent { to: "\u{202e}x".to_owned() }).line();
        assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
    }
}
