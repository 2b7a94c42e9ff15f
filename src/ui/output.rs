//! Standard output of a command whose work is what it prints: losing some of it is no success.
//!
//! Nobody left to read it (a closed pipe, as of `| head -1`) is no loss: the reader had enough.

use std::io::{self, Write};

use super::to_stderr;
use crate::cli::Exit;

/// Why something printed on stdout did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("what was printed is lost: standard output: {0}")]
pub struct Lost(io::Error);

impl Lost {
    /// The loss in an error of writing to stdout; None if nobody reads there any more.
    pub fn of(error: io::Error) -> Option<Self> {
        (error.kind() != io::ErrorKind::BrokenPipe).then_some(Self(error))
    }
}

/// Prints all of this text.
///
/// # Errors
/// Some of it is lost.
pub fn print(text: &str) -> Result<(), Lost> {
    let mut out = io::stdout();
    flushed(out.write_all(text.as_bytes()))
}

/// Prints this line.
///
/// # Errors
/// As of [`print`].
pub fn print_line(line: &str) -> Result<(), Lost> {
    print(&format!("{line}\n"))
}

/// What came of writing to stdout, once all that was written there is on its way.
///
/// # Errors
/// As of [`print`].
pub fn flushed(written: io::Result<()>) -> Result<(), Lost> {
    match written.and_then(|()| io::stdout().flush()).map_err(Lost::of) {
        Err(Some(lost)) => Err(lost),
        Ok(()) | Err(None) => Ok(()),
    }
}

/// The exit code of a command that printed its answer and would end with `exit`: a loss is said, and is no success.
pub fn exit_of(printed: Result<(), Lost>, exit: Exit) -> Exit {
    let Err(lost) = printed else { return exit };
    log::error!("{lost}");
    to_stderr(&format!("error: {lost}"));
    if exit == Exit::Done { Exit::Disk } else { exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(kind: io::ErrorKind) -> Result<(), Lost> {
        Lost::of(kind.into()).map_or(Ok(()), Err)
    }

    #[test]
    fn a_loss_is_no_success_and_hides_no_other_error() {
        assert_eq!(exit_of(lost(io::ErrorKind::StorageFull), Exit::Done), Exit::Disk);
        assert_eq!(exit_of(lost(io::ErrorKind::StorageFull), Exit::OtherData), Exit::OtherData);
        assert_eq!(exit_of(Ok(()), Exit::Done), Exit::Done);
    }

    #[test]
    fn a_reader_that_had_enough_is_no_loss() {
        assert_eq!(exit_of(lost(io::ErrorKind::BrokenPipe), Exit::Done), Exit::Done);
    }
}
