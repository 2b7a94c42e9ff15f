//! The command line of `member share`.

use std::{ffi::OsString, path::PathBuf};

use clap::Parser;

use super::{
    dotenv::DotEnv,
    exit::Exit,
    member::{self, End, Network, Origin, Settings},
    options::{Loudness, Output, STYLES, flag},
    read, tokens, wrong,
};
use crate::catalogue::Token;

/// The folder that is shared when none is named.
const DEFAULT: &str = "./shared";

/// What is to be shared, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Files and folders; never empty.
    pub paths: Vec<PathBuf>,
    /// Each folder that is named is one composition, and not each entry of it.
    pub as_one: bool,
    /// Whether it may be a conductor itself where it finds none.
    pub may_conduct: bool,
    /// What the conductor's catalogue may ask for.
    pub token: Option<Token>,
    pub settings: Settings,
}

/// `member share` as it was typed, with what the environment and `.env` say.
pub(super) fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Offer, clap::Error> {
    let (args, typed) = read::<Args>(args, &dot_env)?;
    let token = tokens::first(args.token_file.as_deref()).map_err(wrong::<Args>)?;
    let paths = match args.paths.is_empty() {
        true => vec![PathBuf::from(DEFAULT)],
        false => args.paths,
    };
    let screen = args.loudness.of(args.shown.screen());
    let conductors_from = Origin::of_conductor(&typed, &args.network.conductor);
    let settings = Settings {
        check: args.check,
        conductors_from,
        follow_links: args.follow_links,
        timeout: args.end.timeout,
        until: args.end.until().map_err(wrong::<Args>)?,
        ..member::on(args.network, screen, args.shown.log_dir(), dot_env)
    };
    Ok(Offer { paths, as_one: args.as_one, may_conduct: !args.no_conductor, token, settings })
}

/// Share files as they are, without manifests, until q is pressed
///
/// A file, or every file of a folder but hidden ones, logs/, *.part and manifests. They are hashed once and remembered,
/// and put into the catalogue of the conductor, so that "member get NAME" fetches them elsewhere. A folder is watched:
/// new and changed files are shared once nobody writes to them any more, and those that go are withdrawn. Without a
/// conductor (--conductor, or one on this machine) it is one itself.
#[derive(Parser, Clone, Debug)]
#[command(name = "member share", bin_name = "member share", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help())]
struct Args {
    /// Files and folders; default: ./shared
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Share a folder as one composition
    ///
    /// With all that is in it, for "member get" to fetch in one piece. Default: each entry of a folder by itself.
    #[arg(long, env = "ORCHESTRA_AS_ONE", hide_env_values = true, value_parser = flag())]
    as_one: bool,

    /// Follow symbolic links in folders
    ///
    /// What they lead to is shared as if it were there; links that leave a folder are named, and none is followed in a
    /// circle. Default: they are left out, and counted. A path that is named may always be a link.
    #[arg(long, env = "ORCHESTRA_FOLLOW_LINKS", hide_env_values = true, value_parser = flag())]
    follow_links: bool,

    /// Never be a conductor, also where there is none
    #[arg(long, env = "ORCHESTRA_NO_CONDUCTOR", hide_env_values = true, value_parser = flag())]
    no_conductor: bool,

    /// Hash what is on disk, whatever is remembered of it
    #[arg(long, env = "ORCHESTRA_CHECK", hide_env_values = true, value_parser = flag())]
    check: bool,

    /// Write to the catalogue with the first token of this file
    ///
    /// For a conductor that asks for one. ORCHESTRA_TOKEN holds a token itself.
    #[arg(long, value_name = "PATH", env = "ORCHESTRA_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    end: End,

    #[command(flatten)]
    network: Network,

    #[command(flatten)]
    loudness: Loudness,

    #[command(flatten)]
    shown: Output,
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           member share big.iso                  says what to type on the others\n  \
           member share ~/isos --conductor head  into the catalogue of that conductor\n  \
           member share game --as-one            the folder in one piece: member get HOST/game\n  \
           member share x.iso --until-all 20     until twenty machines have it, this one counted\n\n{}",
        Exit::help(&[Exit::Done, Exit::Other, Exit::Usage, Exit::Disk, Exit::CopiesMissing])
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::member::UntilAll;

    fn told(args: &[&str], dot_env: &str) -> Result<Offer, clap::Error> {
        let args = std::iter::once(&"member").chain(args).map(OsString::from);
        parse(args.collect(), DotEnv::parse(dot_env))
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_folder_is_shared_by_default() {
        let offer = told(&[], "").unwrap();
        assert_eq!((offer.paths, offer.may_conduct), (vec![PathBuf::from("./shared")], true));
        assert!(offer.settings.conductors.is_empty() && !offer.settings.until.done);
        let offer = told(&["a", "b", "--no-conductor", "--check"], "ORCHESTRA_CONDUCTOR=head").unwrap();
        assert_eq!((offer.paths.len(), offer.may_conduct, offer.settings.check), (2, false, true));
        assert_eq!(offer.settings.conductors[0].to_string(), "head:9999");
        assert_eq!(told(&["--output", "x"], "").unwrap_err().exit_code(), 2);
        let until = ["--until-all", "3", "--seed-time", "30m", "--seed-ratio", "1.5", "--exit-when-done"];
        let until = told(&until, "").unwrap().settings.until;
        assert_eq!((until.all, until.seed_ratio, until.done), (Some(UntilAll::Members(3)), Some(1.5), true));
    }
}
