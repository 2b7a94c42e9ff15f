//! The command line of `conductor`.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use super::{
    LogDir,
    dotenv::DotEnv,
    exit::Exit,
    options::{Log, STYLES, flag},
    read, tokens, wrong,
};
use crate::{
    catalogue::token::Owned,
    conductor::{catalogue::Keep, shared::RedisPlace},
    manifest::Endpoint,
};

/// What a conductor was told, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to listen; empty: port 9999 of all addresses, IPv4 and IPv6.
    pub listen: Vec<Endpoint>,
    /// Where the catalogue is kept.
    pub store: Keep,
    /// Who may write to the catalogue, the administrator first; nobody named means anyone.
    pub tokens: Vec<Owned>,
    /// Where the tokens are read again, if they came from a file.
    pub token_file: Option<PathBuf>,
    /// Only swarms of the catalogue are conducted.
    pub only_registered: bool,
    /// One JSON object a line on stdout instead of text for people.
    pub json: bool,
    /// Answers everybody however much they ask.
    pub no_rate_limit: bool,
    /// Where Prometheus may ask from anywhere.
    pub metrics: Option<SocketAddr>,
    /// Whether the local network is told that a conductor is here.
    pub lan: bool,
    pub log_dir: LogDir,
    /// What of `.env` was not taken, for people.
    pub notes: Vec<String>,
}

/// A copy of a catalogue, as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Where the catalogue is kept.
    pub store: Keep,
    pub file: PathBuf,
    /// A file that is there is replaced.
    pub force: bool,
    /// JSON on stdout instead of text for people.
    pub json: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Conduct(Box<Settings>),
    Backup(Backup),
}

/// Reads the arguments, the environment and `.env`.
///
/// # Errors
/// Wrong usage, `--help` and `--version`: the caller ends with [`clap::Error::exit`].
pub fn told(args: impl IntoIterator<Item = OsString>) -> Result<Told, clap::Error> {
    parse(args.into_iter().collect(), DotEnv::here())
}

fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    let (args, _) = read::<Args>(args, &dot_env)?;
    let store = args.store.unwrap_or_default();
    if let Some(Action::Backup { file, force }) = args.action {
        return Ok(Told::Backup(Backup { store, file, force, json: args.json }));
    }
    Ok(Told::Conduct(Box::new(Settings {
        listen: args.listen,
        store,
        tokens: tokens::all(args.token_file.as_deref()).map_err(wrong::<Args>)?,
        token_file: args.token_file,
        only_registered: args.allow == Allowed::Registered,
        json: args.json,
        no_rate_limit: args.no_rate_limit,
        metrics: args.metrics,
        lan: !args.no_lan,
        log_dir: args.log.log_dir(),
        notes: dot_env.notes,
    })))
}

/// What is done instead of conducting.
#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Copy the catalogue into FILE, also while conductors use it
    ///
    /// The copy is a catalogue itself: conductor --store sqlite:FILE. Which one is copied, --store says.
    Backup {
        file: PathBuf,

        /// Replace FILE if it is there
        #[arg(long)]
        force: bool,
    },
}

/// Which swarms are conducted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Allowed {
    /// All that are announced.
    All,
    /// Those of the catalogue alone.
    Registered,
}

/// `--store` as it is typed.
fn store(text: &str) -> Result<Keep, String> {
    match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Keep::Sqlite(path.into())),
        Some(("redis", _)) => RedisPlace::parse(text).map(Keep::Redis).map_err(|error| error.to_string()),
        _ if text == "memory" => Ok(Keep::Memory),
        _ => Err("expected memory, redis://HOST:PORT/DB, or sqlite: and the path of a file, such as \
                  sqlite:/var/lib/orchestra/catalogue"
            .to_owned()),
    }
}

/// Keep the live list of which members share which composition
///
/// Members and other BitTorrent clients ask it over HTTP (/announce, /scrape) and over UDP for each other's
/// addresses; the compositions themselves never pass through it. It also keeps a catalogue: "composer --register"
/// puts a composition in, "member list" and "member get NAME" use it. It runs until Ctrl-C or SIGTERM.
#[derive(Parser, Clone, Debug)]
#[command(name = "conductor", version, max_term_width = 120, styles = STYLES, after_help = after_help())]
#[command(disable_help_subcommand = true, subcommand_value_name = "backup FILE", subcommand_help_heading = "Instead")]
struct Args {
    #[command(subcommand)]
    action: Option<Action>,

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

    /// Serve /metrics here too, to whoever asks
    ///
    /// An address and a port, such as 10.0.0.1:9100, on a network that is trusted. Default: private addresses alone may
    /// ask for it, where everything else is asked.
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Network")]
    #[arg(env = "ORCHESTRA_METRICS", hide_env_values = true)]
    metrics: Option<SocketAddr>,

    /// Do not tell the local network that a conductor is here
    ///
    /// "member list" does not find it there then. Default: it is told (DNS-SD, _orchestra-conductor._tcp).
    #[arg(long, env = "ORCHESTRA_NO_LAN", hide_env_values = true, value_parser = flag(), help_heading = "Network")]
    no_lan: bool,

    /// Keep the catalogue here: sqlite:PATH, redis://HOST:PORT/DB, or memory for nothing kept
    ///
    /// Conductors on one Redis (or Valkey) share their members too: each member may ask any of them. A password goes into
    /// ORCHESTRA_STORE, where no list of processes shows it: redis://:PASSWORD@HOST:PORT/DB.
    /// Default: a file in the data folder of this user, ~/.local/share/orchestra/catalogue.sqlite.
    #[arg(long, value_name = "WHERE", value_parser = store, help_heading = "Catalogue")]
    #[arg(env = "ORCHESTRA_STORE", hide_env_values = true, global = true)]
    store: Option<Keep>,

    /// Conduct all swarms, or only those that are registered in the catalogue
    #[arg(long, value_name = "WHICH", value_enum, default_value = "all", help_heading = "Catalogue")]
    #[arg(env = "ORCHESTRA_ALLOW", hide_env_values = true)]
    allow: Allowed,

    /// Only who knows a token of this file may write to the catalogue
    ///
    /// One a line, OWNER TOKEN, the administrator's first: it may change every entry, the others what they registered. The
    /// file is read again when it has changed, and on SIGHUP.
    /// ORCHESTRA_TOKEN holds a single token instead, the administrator's. Default: anyone may register.
    #[arg(long, value_name = "PATH", env = "ORCHESTRA_TOKEN_FILE", hide_env_values = true, help_heading = "Catalogue")]
    token_file: Option<PathBuf>,

    /// Write one JSON object a line on stdout instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag(), help_heading = "Output")]
    #[arg(global = true)]
    json: bool,

    #[command(flatten)]
    log: Log,
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           conductor                              port 9999 of all addresses\n  \
           conductor --listen 10.0.0.1:9999       only there\n  \
           conductor --listen [::1]:0 --json      a free port, told as JSON\n  \
           conductor --token-file tokens          only who has a token may register\n  \
           conductor --store redis://head:6379/0  one of several that share members and catalogue\n  \
           conductor backup catalogue.bak         a copy of the catalogue, also while it is used\n\n{}",
        Exit::help(&[Exit::Done, Exit::Other, Exit::Usage])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &[&str], dot_env: &str) -> Result<Settings, clap::Error> {
        match all_told(args, dot_env)? {
            Told::Conduct(settings) => Ok(*settings),
            Told::Backup(backup) => panic!("{backup:?}"),
        }
    }

    fn all_told(args: &[&str], dot_env: &str) -> Result<Told, clap::Error> {
        let args = std::iter::once(&"conductor").chain(args).map(OsString::from);
        parse(args.collect(), DotEnv::parse(dot_env))
    }

    #[test]
    fn a_copy_is_of_the_store_that_is_named() {
        let copy = |store, force| Told::Backup(Backup { store, file: "x".into(), force, json: false });
        assert_eq!(all_told(&["backup", "x"], "").unwrap(), copy(Keep::Here, false));
        let sqlite = || Keep::Sqlite("y".into());
        assert_eq!(all_told(&["--store=sqlite:y", "backup", "x", "--force"], "").unwrap(), copy(sqlite(), true));
        assert_eq!(all_told(&["backup", "x", "--store=sqlite:y"], "").unwrap(), copy(sqlite(), false));
        assert_eq!(all_told(&["backup"], "").unwrap_err().exit_code(), 2);
        for args in [&["backup", "x", "--json"], &["--json", "backup", "x"]] {
            assert!(matches!(all_told(args, "").unwrap(), Told::Backup(Backup { json: true, .. })), "{args:?}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn nothing_told_is_the_default() {
        let settings = told(&[], "").unwrap();
        assert!(settings.listen.is_empty() && !settings.json && !settings.no_rate_limit && settings.lan);
        assert_eq!(settings.log_dir, LogDir::Folder("logs".into()));
        assert!(settings.store == Keep::Here && !settings.only_registered);
    }

    #[test]
    fn the_catalogue_is_kept_where_it_is_told() {
        let settings = told(&["--store", "memory", "--allow", "registered"], "").unwrap();
        assert!(settings.store == Keep::Memory && settings.only_registered);
        let settings = told(&["--store=sqlite:a b"], "ORCHESTRA_STORE=memory").unwrap();
        assert_eq!(settings.store, Keep::Sqlite("a b".into()));
        let settings = told(&["--store=redis://head:7/2"], "").unwrap();
        assert_eq!(settings.store, Keep::Redis(RedisPlace::parse("redis://head:7/2").unwrap()));
        for wrong in [
            "--store=sqlite:",
            "--store=disk",
            "--store=redis://",
            "--store=rediss://h/",
            "--allow=some",
            "--token-file=/no/such",
        ] {
            assert_eq!(told(&[wrong], "").unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn it_listens_where_it_is_told() {
        let settings = told(&["--listen", "[::1]:0", "--listen=:7", "--log-dir", "-"], "").unwrap();
        assert_eq!(settings.listen.len(), 2);
        assert_eq!(settings.log_dir, LogDir::Stderr);
        assert!(told(&["--no-rate-limit"], "").unwrap().no_rate_limit);
        assert!(!told(&["--no-lan"], "").unwrap().lan && !told(&[], "ORCHESTRA_NO_LAN=1").unwrap().lan);
        assert_eq!(told(&["--metrics=[::1]:7"], "").unwrap().metrics, "[::1]:7".parse().ok());
        let settings = told(&[], "ORCHESTRA_CONDUCTOR_LISTEN=10.0.0.1:1,:7").unwrap();
        assert_eq!(settings.listen.len(), 2);
    }
}
