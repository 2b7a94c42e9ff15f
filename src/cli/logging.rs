//! The log of a program: lines with a time and a level, in a file that cannot fill the disk.
//!
//! `FOLDER/PROGRAM.log` is appended to; once it has 10 MiB it becomes `PROGRAM.log.1`, that `PROGRAM.log.2`, and what
//! was there is gone. The level is that of `RUST_LOG` (default `info`). A log that cannot be written never stops the
//! program: it is said once, on stderr. A crash loses no line that was logged before it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use env_logger::{Builder, Env, Target};

use crate::ui::to_stderr;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDir {
    /// A folder, made when it is missing.
    Folder(PathBuf),
    /// `-`: stderr, where a progress bar gives way to plain lines.
    Stderr,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("no log is written: cannot make the folder {}: {error}; --log-dir DIR puts it elsewhere", .path.display())]
    Folder { path: PathBuf, error: io::Error },
    #[error("no log is written: cannot open {}: {error}; --log-dir DIR puts it elsewhere", .path.display())]
    Open { path: PathBuf, error: io::Error },
    #[error("no log is written: another logger is at work in this process already")]
    Taken(#[from] log::SetLoggerError),
}

/// A log file is as large as this at most, in bytes.
const MAX_LEN: u64 = 10 << 20;
/// So many files are kept: the one that is written and those before it.
const KEPT: usize = 3;

/// Starts the log of this program (`member` writes `member.log`).
///
/// # Errors
/// The log cannot be written. The caller says so once, on stderr, and goes on.
pub fn start(program: &str, place: &LogDir) -> Result<(), LogError> {
    let target = match place {
        LogDir::Stderr => Target::Stderr,
        LogDir::Folder(folder) => {
            fs::create_dir_all(folder).map_err(|error| LogError::Folder { path: folder.clone(), error })?;
            let path = folder.join(format!("{program}.log"));
            let file = Rotated::open(path.clone(), MAX_LEN).map_err(|error| LogError::Open { path, error })?;
            Target::Pipe(Box::new(file))
        }
    };
    Builder::from_env(Env::default().default_filter_or("info")).target(target).try_init()?;
    Ok(())
}

/// A file that is put aside when it is full.
struct Rotated {
    path: PathBuf,
    file: File,
    len: u64,
    max_len: u64,
    /// A write failed, and this was said.
    failed: bool,
}

impl Rotated {
    fn open(path: PathBuf, max_len: u64) -> io::Result<Self> {
        let file = open(&path)?;
        let len = file.metadata()?.len();
        Ok(Self { path, file, len, max_len, failed: false })
    }

    /// Puts the full file aside, unless another process that logs here has done so already.
    fn rotate(&mut self) -> io::Result<()> {
        if is_same_file(&self.file, &self.path)? {
            for age in (1..KEPT).rev() {
                let newer = aged(&self.path, age - 1);
                if newer.exists() {
                    fs::rename(newer, aged(&self.path, age))?;
                }
            }
        }
        self.file = open(&self.path)?;
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + line.len() as u64 > self.max_len {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.len += line.len() as u64;
        Ok(())
    }
}

impl Write for Rotated {
    /// One line a call; that is how env_logger writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.append(line)
            && !self.failed
        {
            self.failed = true;
            to_stderr(&format!("the log cannot be written: {}: {error}; going on without", self.path.display()));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// `x.log`, then `x.log.1`, `x.log.2`.
fn aged(path: &Path, age: usize) -> PathBuf {
    match age {
        0 => path.to_owned(),
        _ => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{age}"));
            name.into()
        }
    }
}

fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_put_aside_and_three_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rotated::open(folder.path().join("x.log"), 10).unwrap();
        for line in ["one 456\n", "two 456\n", "three 6\n", "four 56\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(folder.path(), "x.log"), "four 56\n");
        assert_eq!(read(folder.path(), "x.log.1"), "three 6\n");
        assert_eq!(read(folder.path(), "x.log.2"), "two 456\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_log_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        for line in ["one\n", "two\n"] {
            let mut log = Rotated::open(path.clone(), 100).unwrap();
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(folder.path(), "x.log"), "one\ntwo\n");
    }

    #[test]
    fn two_that_log_into_one_file_put_it_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut one = Rotated::open(path.clone(), 10).unwrap();
        let mut two = Rotated::open(path, 10).unwrap();
        one.write_all(b"from 1..\n").unwrap();
        two.write_all(b"from 2..\n").unwrap();
        one.write_all(b"more 1..\n").unwrap();
        two.write_all(b"more 2..\n").unwrap();
        assert_eq!(read(folder.path(), "x.log"), "more 1..\nmore 2..\n");
        assert_eq!(read(folder.path(), "x.log.1"), "from 1..\nfrom 2..\n");
    }

    #[test]
    fn a_log_that_cannot_be_written_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rotated::open(folder.path().join("x.log"), 10).unwrap();
        log.write_all(b"one 456\n").unwrap();
        // A folder in the way of the file that would be put aside.
        fs::create_dir_all(folder.path().join("x.log.1/in/the/way")).unwrap();
        fs::create_dir_all(folder.path().join("x.log.2/in/the/way")).unwrap();
        log.write_all(b"two 456\n").unwrap();
        assert!(log.failed);
        assert!(start("x", &LogDir::Folder(folder.path().join("x.log"))).is_err());
    }
}
