//! The exit codes: what every program tells the script that started it.
//!
//! They are a contract (in `--help` and the README). 0 is never given for a file that was not verified.

use std::process::ExitCode;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The file on disk is whole and verified, or the command did its job.
    Done = 0,
    /// Anything that has no code of its own.
    Other = 1,
    /// Wrong usage, or an ambiguous name.
    Usage = 2,
    /// The manifest is bad; also when all parts are right and the whole file's checksum is not.
    BadManifest = 3,
    /// Nobody had the missing parts within the time allowed.
    Missing = 4,
    /// The disk is full, not writable, broken or gone.
    Disk = 5,
    /// Other data is on the disk under the composition's name.
    OtherData = 6,
    /// No conductor and no member ever answered.
    NobodyAnswered = 7,
    /// The own copy is whole, but not all copies that were waited for.
    CopiesMissing = 8,
    /// The conductor refused.
    Refused = 9,
    /// Everybody who was asked answered, and none knows the name.
    UnknownName = 10,
    /// Interrupted before the file was whole.
    Interrupted = 130,
}

impl Exit {
    pub const ALL: [Exit; 12] = [
        Exit::Done,
        Exit::Other,
        Exit::Usage,
        Exit::BadManifest,
        Exit::Missing,
        Exit::Disk,
        Exit::OtherData,
        Exit::NobodyAnswered,
        Exit::CopiesMissing,
        Exit::Refused,
        Exit::UnknownName,
        Exit::Interrupted,
    ];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Of several compositions' ends the one to give: that of the highest code.
    pub fn worst(ends: impl IntoIterator<Item = Exit>) -> Exit {
        ends.into_iter().max_by_key(|exit| exit.code()).unwrap_or(Exit::Done)
    }

    /// One line for `--help`.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "the file on disk is whole and verified, or the command did its job",
            Exit::Other => "anything else",
            Exit::Usage => "wrong usage, or an ambiguous name",
            Exit::BadManifest => "bad manifest (also: all parts right, the whole file's checksum wrong)",
            Exit::Missing => "nobody had the missing parts within the time allowed",
            Exit::Disk => "disk full, not writable, broken or gone",
            Exit::OtherData => "other data is on disk under that name",
            Exit::NobodyAnswered => "no conductor and no member ever answered",
            Exit::CopiesMissing => "own copy whole, but not all that were waited for",
            Exit::Refused => "the conductor refused",
            Exit::UnknownName => "nobody who answers knows that name",
            Exit::Interrupted => "interrupted before it was whole",
        }
    }

    /// The section of `--help` that lists these codes.
    pub fn help(codes: &[Exit]) -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in codes {
            text += &format!("  {:>3}  {}\n", exit.code(), exit.meaning());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]);
    }

    #[test]
    fn of_several_the_worst_is_told() {
        assert_eq!(Exit::worst([]), Exit::Done);
        assert_eq!(Exit::worst([Exit::Disk, Exit::Done]), Exit::Disk);
        assert_eq!(Exit::worst([Exit::Missing, Exit::Interrupted, Exit::Disk]), Exit::Interrupted);
    }
}
