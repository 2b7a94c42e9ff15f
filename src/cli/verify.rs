//! The command line of `member verify`.

use std::{ffi::OsString, path::PathBuf};

use clap::Parser;

use super::{
    LogDir, ScreenOptions,
    dotenv::DotEnv,
    exit::Exit,
    options::{Loudness, Output, STYLES},
    read,
};

/// What is to be verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// The manifest or torrent.
    pub manifest: OsString,
    /// The folder that the composition is in; or the file itself.
    pub place: PathBuf,
    pub screen: ScreenOptions,
    pub log_dir: LogDir,
    /// What of `.env` was not taken, for people.
    pub notes: Vec<String>,
}

/// `member verify` as it was typed, with what the environment and `.env` say.
pub(super) fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Verify, clap::Error> {
    let (Args { manifest, place, loudness, shown }, _) = read::<Args>(args, &dot_env)?;
    let screen = loudness.of(shown.screen());
    Ok(Verify { manifest, place, screen, log_dir: shown.log_dir(), notes: dot_env.notes })
}

/// Say which parts of a composition on disk are wrong, with nobody asked and nothing changed
///
/// All of it is read, whatever is remembered of it.
#[derive(Parser, Clone, Debug)]
#[command(name = "member verify", bin_name = "member verify", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help())]
pub(super) struct Args {
    /// The manifest; also a .torrent
    #[arg(value_name = "FILE.orch")]
    manifest: OsString,

    /// The folder that the composition is in; also the file itself, under any name
    #[arg(value_name = "DIR", default_value = ".")]
    place: PathBuf,

    #[command(flatten)]
    loudness: Loudness,

    #[command(flatten)]
    shown: Output,
}

fn after_help() -> String {
    let codes = [Exit::Done, Exit::Other, Exit::Usage, Exit::BadManifest, Exit::OtherData, Exit::Interrupted];
    format!("Examples:\n  member verify big.orch\n  member verify big.orch /data --json\n\n{}", Exit::help(&codes))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_folder_is_the_current_one_by_default() {
        Args::command().debug_assert();
        let told = |args: &[&str]| {
            let args = std::iter::once(&"member").chain(args).map(OsString::from);
            parse(args.collect(), DotEnv::default())
        };
        let verify = told(&["x.orch"]).unwrap();
        assert_eq!((verify.manifest, verify.place), ("x.orch".into(), ".".into()));
        assert_eq!(told(&["x.orch", "d", "--json"]).unwrap().place, PathBuf::from("d"));
        assert_eq!(told(&[]).unwrap_err().exit_code(), 2);
    }
}
