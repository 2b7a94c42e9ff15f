//! The command line of `conductor`.

use std::ffi::OsString;

use clap::Parser;

use super::{
    LogDir,
    dotenv::DotEnv,
    exit::Exit,
    options::{Log, STYLES, flag},
    read,
};
use crate::manifest::Endpoint;

/// What a conductor was told, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to listen; empty: port 9999 of all addresses, IPv4 and IPv6.
    pub listen: Vec<Endpoint>,
    /// One JSON object a line on stdout instead of text for people.
    pub json: bool,
    /// Answers everybody however much they ask.
    pub no_rate_limit: bool,
    pub log_dir: LogDir,
    /// What of `.env` was not taken, for people.
    pub notes: Vec<String>,
}

/// Reads the arguments, the environment and `.env`.
///
/// # Errors
/// Wrong usage, `--help` and `--version`: the caller ends with [`clap::Error::exit`].
pub fn settings(args: impl IntoIterator<Item = OsString>) -> Result<Settings, clap::Error> {
    parse(args.into_iter().collect(), DotEnv::here())
}

fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Settings, clap::Error> {
    let (args, _) = read::<Args>(args, &dot_env)?;
    Ok(Settings {
        listen: args.listen,
        json: args.json,
        no_rate_limit: args.no_rate_limit,
        log_dir: args.log.log_dir(),
        notes: dot_env.notes,
    })
}

/// Keep the live list of which members share which composition
///
/// Members and other BitTorrent clients ask it over HTTP (/announce, /scrape) and over UDP for each other's
/// addresses; the compositions themselves never pass through it. It runs until Ctrl-C or SIGTERM.
#[derive(Parser, Clone, Debug)]
#[command(name = "conductor", version, max_term_width = 120, styles = STYLES, after_help = after_help())]
struct Args {
    /// Listen here (repeatable)
    ///
    /// TCP and UDP. :PORT is that port of all addresses, port 0 any free one. Default: :9999, IPv4 and IPv6.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', help_heading = "Network")]
    #[arg(env = "ORCHESTRA_CONDUCTOR_LISTEN", hide_env_values = true)]
    listen: Vec<Endpoint>,

    /// Answer every address however much it asks
    ///
    /// For load tests. Default: a public address gets 20 answers a second, a private one 2,000, this machine any number.
    #[arg(long, value_parser = flag(), help_heading = "Network")]
    #[arg(env = "ORCHESTRA_NO_RATE_LIMIT", hide_env_values = true)]
    no_rate_limit: bool,

    /// Write one JSON object a line on stdout instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag(), help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    log: Log,
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           conductor                              port 9999 of all addresses\n  \
           conductor --listen 10.0.0.1:9999       only there\n  \
           conductor --listen [::1]:0 --json      a free port, told as JSON\n\n{}",
        Exit::help(&[Exit::Done, Exit::Other, Exit::Usage])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &[&str], dot_env: &str) -> Result<Settings, clap::Error> {
        let args = std::iter::once(&"conductor").chain(args).map(OsString::from);
        parse(args.collect(), DotEnv::parse(dot_env))
    }

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn nothing_told_is_the_default() {
        let settings = told(&[], "").unwrap();
        assert!(settings.listen.is_empty() && !settings.json && !settings.no_rate_limit);
        assert_eq!(settings.log_dir, LogDir::Folder("logs".into()));
    }

    #[test]
    fn it_listens_where_it_is_told() {
        let settings = told(&["--listen", "[::1]:0", "--listen=:7", "--log-dir", "-"], "").unwrap();
        assert_eq!(settings.listen.len(), 2);
        assert_eq!(settings.log_dir, LogDir::Stderr);
        assert!(told(&["--no-rate-limit"], "").unwrap().no_rate_limit);
        let settings = told(&[], "ORCHESTRA_CONDUCTOR_LISTEN=10.0.0.1:1,:7").unwrap();
        assert_eq!(settings.listen.len(), 2);
    }
}
