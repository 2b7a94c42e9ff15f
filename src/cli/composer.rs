//! The command line of `composer`.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgMatches, Parser, parser::ValueSource};

use super::{
    LogDir, ScreenOptions,
    dotenv::DotEnv,
    exit::Exit,
    is_trusted,
    options::{Output, STYLES, flag},
    read, tokens,
    units::parse_size,
    wrong,
};
use crate::{catalogue::Token, manifest::Endpoint};

/// What composer was told, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub source: Source,
    /// Line 1 of the manifest; none given: not known yet, or with [`Source::From`] as it was.
    pub conductor: Option<Endpoint>,
    /// In bytes, as it was given: not checked against what a manifest may have. Never with [`Source::From`].
    pub part_size: Option<u64>,
    /// Where the manifest goes; by default the composition's name with `.orch`, in the current folder.
    pub output: Option<PathBuf>,
    pub torrent: bool,
    pub magnet: bool,
    pub comment: Option<String>,
    /// HTTP servers that have the same bytes, besides those that [`Source::From`] names.
    pub mirrors: Vec<String>,
    /// Put it into the conductor's catalogue too.
    pub register: Option<Register>,
    /// Links in a folder are followed.
    pub follow_links: bool,
    /// An output that exists is replaced.
    pub force: bool,
    pub screen: ScreenOptions,
    pub log_dir: LogDir,
    /// What of `.env` was not taken, for people.
    pub notes: Vec<String>,
}

/// How a manifest is put into a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// In place of what is registered there under its name.
    pub replace: bool,
    /// What the conductor may ask for; None also where no person named the conductor.
    pub token: Option<Token>,
    /// There is a token, and it is kept from a conductor that only `.env` or a manifest names.
    pub token_is_kept: bool,
}

/// What a manifest is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The composition, which is read.
    Composition(PathBuf),
    /// A manifest or a `.torrent`; the composition is not read.
    From(PathBuf),
}

/// Reads the arguments, the environment and `.env`.
///
/// # Errors
/// Wrong usage, `--help` and `--version`: the caller ends with [`clap::Error::exit`].
pub fn settings(args: impl IntoIterator<Item = OsString>) -> Result<Settings, clap::Error> {
    parse(args.into_iter().collect(), DotEnv::here())
}

fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Settings, clap::Error> {
    let (args, matches) = read::<Args>(args, &dot_env)?;
    // In the environment it may stand for whenever something is registered.
    if args.replace && !args.register && matches.value_source("replace") == Some(ValueSource::CommandLine) {
        return Err(wrong::<Args>("--replace says what --register may do: give both"));
    }
    let (source, conductor, part_size) = places(&args, &matches).map_err(wrong::<Args>)?;
    // The environment, clap has seen to; what is named in its place has no option for `.env` to become.
    let conductor = conductor.or_else(|| dot_env.value("ORCHESTRA_CONDUCTOR").map(str::to_owned));
    let part_size = match source {
        Source::From(_) => None,
        Source::Composition(_) => part_size.or_else(|| dot_env.value("ORCHESTRA_PART_SIZE").map(str::to_owned)),
    };
    let register = match args.register {
        true => {
            let token = tokens::first(args.token_file.as_deref()).map_err(wrong::<Args>)?;
            let (named, told) = (is_conductor_named(&args, &matches), token.is_some());
            Some(Register { replace: args.replace, token: token.filter(|_| named), token_is_kept: told && !named })
        }
        false => None,
    };
    // An error names the variable that holds what is wrong.
    let blamed = |id: &str, variable: &str, text: &str, error: String| {
        let held = matches.get_one::<String>(id).is_some_and(|value| value == text);
        let is_of_variable = held && matches.value_source(id) == Some(ValueSource::EnvVariable);
        let variable = if is_of_variable { format!("the environment variable {variable}: ") } else { String::new() };
        wrong::<Args>(format_args!("{variable}{error}"))
    };
    let conductor = conductor
        .map(|text| parse_conductor(&text).map_err(|error| blamed("conductor", "ORCHESTRA_CONDUCTOR", &text, error)));
    let part_size = part_size
        .map(|text| parse_part_size(&text).map_err(|error| blamed("part_size", "ORCHESTRA_PART_SIZE", &text, error)));
    Ok(Settings {
        source,
        register,
        conductor: conductor.transpose()?,
        part_size: part_size.transpose()?,
        output: args.output,
        torrent: args.torrent,
        magnet: args.magnet,
        comment: args.comment,
        mirrors: args.mirror,
        follow_links: args.follow_links,
        force: args.force,
        screen: args.shown.screen(),
        log_dir: args.shown.log_dir(),
        notes: dot_env.notes,
    })
}

/// Whether a person named the conductor, on the command line or in the environment. What `.env` or line 1 of a manifest
/// names may be a stranger's.
fn is_conductor_named(args: &Args, matches: &ArgMatches) -> bool {
    is_trusted(matches, "conductor") || args.from.is_some() && is_trusted(matches, "file")
}

/// What the values in their places mean: with `--from` there is no FILE, and the first is the conductor.
fn places(args: &Args, matches: &ArgMatches) -> Result<(Source, Option<String>, Option<String>), &'static str> {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let Some(from) = &args.from else {
        let file = args.file.clone().ok_or("name the file to compose: composer FILE")?;
        return Ok((Source::Composition(file.into()), args.conductor.clone(), args.part_size.clone()));
    };
    if typed("conductor") || typed("part_size") {
        return Err("with --from there is no FILE and no PART_SIZE: composer --from X.orch [CONDUCTOR]");
    }
    let conductor = match &args.file {
        None => args.conductor.clone(),
        Some(text) => Some(text.clone().into_string().map_err(|_| "the conductor is not UTF-8 text")?),
    };
    Ok((Source::From(from.clone()), conductor, None))
}

fn parse_conductor(text: &str) -> Result<Endpoint, String> {
    if parse_size(text).is_ok() {
        return Err(format!(
            "{text} looks like a part size, but the conductor comes first: composer FILE CONDUCTOR {text}"
        ));
    }
    text.parse().map_err(|error| format!("invalid conductor {text:?}: {error}"))
}

fn parse_part_size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| format!("invalid part size {text:?}: {error}"))
}

/// Write the manifest of a file or a folder, for others to fetch it by
///
/// It is read once, on all cores; the manifest is a small text file ending in .orch. Give it to whoever wants
/// it, run a conductor where it says, and share it with "member FILE.orch".
#[derive(Parser, Clone, Debug)]
#[command(name = "composer", version, max_term_width = 120, styles = STYLES, after_help = after_help())]
#[command(
    override_usage = "composer [OPTIONS] FILE|FOLDER [CONDUCTOR] [PART_SIZE]\n       composer [OPTIONS] --from X.orch|X.torrent [CONDUCTOR]"
)]
struct Args {
    /// The file or folder to compose
    ///
    /// Of a folder all files are taken, also those below it and those whose names begin with a dot; symbolic links in it
    /// are followed only with --follow-links.
    #[arg(value_name = "FILE", required_unless_present = "from")]
    file: Option<OsString>,

    /// The conductor that the members will ask, HOST:PORT
    ///
    /// Without a port it is 9999; :9999 writes the address of this machine that others most likely reach, and says
    /// which. Default: not known yet; line 1 of the manifest can be edited later.
    #[arg(value_name = "CONDUCTOR", env = "ORCHESTRA_CONDUCTOR", hide_env_values = true)]
    conductor: Option<String>,

    /// Bytes in a part: a multiple of 16K, up to 128M
    ///
    /// Default: a 2048th of the file, from 16K to 16M.
    #[arg(value_name = "PART_SIZE", env = "ORCHESTRA_PART_SIZE", hide_env_values = true)]
    part_size: Option<String>,

    /// Follow symbolic links in the folder
    ///
    /// What they lead to is taken as if it were there; links that leave the folder are named first, and none is followed
    /// in a circle. Default: they are left out, and counted.
    #[arg(long, env = "ORCHESTRA_FOLLOW_LINKS", hide_env_values = true, value_parser = flag())]
    follow_links: bool,

    /// Make it from a manifest or a .torrent, without reading the file
    ///
    /// To convert a .torrent, or to write another conductor into a manifest.
    #[arg(long, value_name = "X.orch|X.torrent")]
    from: Option<PathBuf>,

    /// Keep this text in the manifest
    #[arg(long, value_name = "TEXT", env = "ORCHESTRA_COMMENT", hide_env_values = true)]
    comment: Option<String>,

    /// An HTTP server that has the same bytes (repeatable)
    ///
    /// The address of the file, or one ending in / below which it has the composition's name; of a folder, the address
    /// below which the folder is. Members ask it where they have too few others to fetch from, and check what comes.
    #[arg(long, value_name = "URL", env = "ORCHESTRA_MIRROR", hide_env_values = true, value_delimiter = ' ')]
    mirror: Vec<String>,

    /// Write the manifest here
    ///
    /// Default: the file's name with its extension replaced by .orch, in the current folder.
    #[arg(short, long, value_name = "PATH", help_heading = "What is written")]
    #[arg(env = "ORCHESTRA_COMPOSER_OUTPUT", hide_env_values = true)]
    output: Option<PathBuf>,

    /// Write NAME.torrent beside it, for other BitTorrent clients
    #[arg(long, env = "ORCHESTRA_TORRENT", hide_env_values = true, value_parser = flag(), help_heading = "What is written")]
    torrent: bool,

    /// Print the magnet link too
    #[arg(long, env = "ORCHESTRA_MAGNET", hide_env_values = true, value_parser = flag(), help_heading = "What is written")]
    magnet: bool,

    /// Put it into the conductor's catalogue too
    ///
    /// Others then fetch it by name, with "member get NAME". Without CONDUCTOR that is the one on this machine.
    #[arg(long, env = "ORCHESTRA_REGISTER", hide_env_values = true, value_parser = flag(), help_heading = "Catalogue")]
    register: bool,

    /// In place of what is registered there under its name
    #[arg(long, env = "ORCHESTRA_REPLACE", hide_env_values = true, value_parser = flag(), help_heading = "Catalogue")]
    replace: bool,

    /// The token that the conductor asks for is in this file
    ///
    /// It goes only to a conductor that is named here or in ORCHESTRA_CONDUCTOR, never to one that only a manifest names.
    /// Default: what ORCHESTRA_TOKEN holds, if anything.
    #[arg(long, value_name = "PATH", env = "ORCHESTRA_TOKEN_FILE", hide_env_values = true, help_heading = "Catalogue")]
    token_file: Option<PathBuf>,

    /// Replace what exists already
    ///
    /// Default: an output that exists is left alone.
    #[arg(long, env = "ORCHESTRA_FORCE", hide_env_values = true, value_parser = flag(), help_heading = "What is written")]
    force: bool,

    #[command(flatten)]
    shown: Output,
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           composer big.iso                           big.orch, the conductor to be filled in later\n  \
           composer big.iso 10.0.0.1:9999             with its conductor\n  \
           composer big.iso 10.0.0.1 1M --torrent     parts of 1 MiB, and big.torrent for other clients\n  \
           composer --from big.orch 10.0.0.2 --force  the same composition, another conductor\n  \
           composer big.iso --mirror http://host/isos/  also to be had at http://host/isos/big.iso\n  \
           composer big.iso 10.0.0.1 --register       and into its catalogue, for \"member get big.iso\"\n\n{}",
        Exit::help(&[
            Exit::Done,
            Exit::Other,
            Exit::Usage,
            Exit::BadManifest,
            Exit::Disk,
            Exit::OtherData,
            Exit::NobodyAnswered,
            Exit::Refused,
            Exit::Interrupted
        ])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &[&str], dot_env: &str) -> Result<Settings, clap::Error> {
        let args = std::iter::once(&"composer").chain(args).map(OsString::from);
        parse(args.collect(), DotEnv::parse(dot_env))
    }

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_three_forms_of_the_original() {
        let settings = told(&["big.iso"], "").unwrap();
        assert_eq!(settings.source, Source::Composition("big.iso".into()));
        assert_eq!((settings.conductor, settings.part_size), (None, None));
        let settings = told(&["big.iso", "head"], "").unwrap();
        assert_eq!(settings.conductor.unwrap().to_string(), "head:9999");
        let settings = told(&["big.iso", "10.0.0.1:7", "16K"], "").unwrap();
        assert_eq!(settings.part_size, Some(16 << 10));
    }

    #[test]
    fn from_a_manifest_only_the_conductor_is_named() {
        let settings = told(&["--from", "x.orch", "head"], "ORCHESTRA_PART_SIZE=1M").unwrap();
        assert_eq!(settings.source, Source::From("x.orch".into()));
        assert_eq!(settings.conductor.unwrap().to_string(), "head:9999");
        assert_eq!(settings.part_size, None);
        assert!(told(&["--from", "x.orch", "big.iso", "head"], "").is_err());
    }

    #[test]
    fn dot_env_fills_the_places_that_are_empty() {
        let dot_env = "ORCHESTRA_CONDUCTOR=head\nORCHESTRA_PART_SIZE=1M";
        let settings = told(&["big.iso"], dot_env).unwrap();
        assert_eq!(settings.conductor.unwrap().to_string(), "head:9999");
        assert_eq!(settings.part_size, Some(1 << 20));
        let settings = told(&["big.iso", "other:1"], dot_env).unwrap();
        assert_eq!(settings.conductor.unwrap().to_string(), "other:1");
    }

    #[test]
    fn a_token_goes_only_to_a_conductor_that_a_person_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "0123456789abcdef").unwrap();
        let told = |args: &[&str], dot_env: &str| {
            let file = ["--register", "--token-file", path.to_str().unwrap()];
            let register = told(&[args, &file].concat(), dot_env).unwrap().register.unwrap();
            (register.token.is_some(), register.token_is_kept)
        };
        assert_eq!(told(&["big.iso", "head"], ""), (true, false));
        assert_eq!(told(&["--from", "x.orch", "head"], "ORCHESTRA_CONDUCTOR=evil"), (true, false));
        assert_eq!(told(&["--from", "x.orch"], ""), (false, true), "line 1 names it");
        assert_eq!(told(&["--from", "x.orch"], "ORCHESTRA_CONDUCTOR=evil"), (false, true));
        assert_eq!(told(&["big.iso"], "ORCHESTRA_CONDUCTOR=evil"), (false, true));
        assert_eq!(told(&["big.iso"], ""), (false, true), "whoever listens on this machine");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (args, words) in [
            (&[][..], "FILE"),
            (&["big.iso", "1M"], "comes first"),
            (&["big.iso", "a/b"], "conductor"),
            (&["big.iso", "head", "many"], "part size"),
            (&["big.iso", "--frm"], "--from"),
            (&["big.iso", "--replace"], "--register"),
        ] {
            let error = told(args, "").unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
