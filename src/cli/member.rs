//! The command line of `member`.

use std::{
    ffi::OsString,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use super::{
    LogDir, ScreenOptions,
    ask::Get,
    dotenv::DotEnv,
    exit::Exit,
    only::Glob,
    options::{Loudness, Output, STYLES, flag},
    read,
    units::{parse_duration, parse_rate},
    wrong,
};
use crate::manifest::{Endpoint, Host};

/// The port of a member that is told none; the next free one where it is taken.
pub const DEFAULT_PORT: u16 = 9998;

/// The neighbours of a member that is told no number.
const DEFAULT_LINKS: usize = 6;

/// What a member was told, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Manifests, torrents and magnet links, in the order given.
    pub compositions: Vec<OsString>,
    /// Compositions that are named in a catalogue.
    pub gets: Vec<Get>,
    /// Where the compositions are or go; to be made when missing.
    pub output: PathBuf,
    /// The address to listen on; by default all.
    pub listen: Option<IpAddr>,
    /// The network interface to use; by default any.
    pub interface: Option<String>,
    /// The port to listen on, no other will do; by default [`DEFAULT_PORT`] or the next free one. 0: any.
    pub port: Option<u16>,
    /// Conductors besides the manifests'.
    pub conductors: Vec<Endpoint>,
    /// Members known by address.
    pub peers: Vec<Endpoint>,
    /// How others reach this member, where it cannot be seen.
    pub advertise: Option<Endpoint>,
    /// When to end.
    pub until: Until,
    /// No new part for so long ends it.
    pub timeout: Option<Duration>,
    /// Bytes a second, at most; by default no limit.
    pub upload: Option<u64>,
    pub download: Option<u64>,
    /// A program to run once a composition is whole; started without a shell, the path is its only argument.
    pub on_complete: Option<PathBuf>,
    /// Hash what is on disk, whatever is remembered of it.
    pub check: bool,
    /// Other data under the composition's name is replaced, its good parts taken.
    pub repair: bool,
    /// The files of a folder that are wanted, if any of these means them; empty: all.
    pub only: Vec<Glob>,
    /// An older file, or folder, whose parts that are still the same are taken.
    pub from: Option<PathBuf>,
    /// How people see this member.
    pub name: String,
    /// Whether members on the same network may be looked for, and told what is shared here.
    pub lan: bool,
    /// Whether members may be looked for in the DHT; None: no.
    pub dht: Option<Dht>,
    /// Whether links with neighbours are kept, and their questions answered.
    pub search: bool,
    /// Neighbours known by address.
    pub neighbours: Vec<Endpoint>,
    /// How many neighbours are looked for besides.
    pub links: usize,
    pub screen: ScreenOptions,
    pub log_dir: LogDir,
    /// What of `.env` was not taken, for people.
    pub notes: Vec<String>,
}

/// How members are looked for in the DHT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dht {
    /// Where to begin; with none of them at nodes that everybody knows.
    pub nodes: Vec<Endpoint>,
}

/// When a member ends by itself: as soon as the first of these is met; never, if there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Until {
    /// As soon as the own copy is whole.
    pub done: bool,
    /// Having shared for so long after the own copy was whole.
    pub seed_time: Option<Duration>,
    /// Having uploaded so many times the composition's size.
    pub seed_ratio: Option<f64>,
    /// As soon as these have it whole.
    pub all: Option<UntilAll>,
}

/// Whose copies are waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum UntilAll {
    /// So many members, this one counted.
    Members(u32),
    /// The members of these names.
    Named(Vec<String>),
}

/// `member FILE.orch` as it was typed, with what the environment and `.env` say.
pub(super) fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Settings, clap::Error> {
    let (args, _) = read::<Args>(args, &dot_env)?;
    settings_of(args, dot_env)
}

/// What these arguments mean.
pub(super) fn settings_of(args: Args, dot_env: DotEnv) -> Result<Settings, clap::Error> {
    let end = args.end;
    let all = match end.until_all {
        None => None,
        Some(Wanted::Members(count)) => Some(UntilAll::Members(count)),
        Some(Wanted::NamedIn(path)) => Some(UntilAll::Named(names(&path).map_err(wrong::<Args>)?)),
    };
    let screen = args.loudness.of(args.shown.screen());
    Ok(Settings {
        compositions: args.compositions,
        output: args.output,
        until: Until { done: end.exit_when_done, seed_time: end.seed_time, seed_ratio: end.seed_ratio, all },
        timeout: end.timeout,
        on_complete: args.on_complete,
        check: args.check,
        repair: args.repair,
        only: args.only,
        from: args.from,
        ..on(args.network, screen, args.shown.log_dir(), dot_env)
    })
}

/// Settings of a member that was told only this.
pub(super) fn on(network: Network, screen: ScreenOptions, log_dir: LogDir, dot_env: DotEnv) -> Settings {
    Settings {
        compositions: Vec::new(),
        gets: Vec::new(),
        output: PathBuf::from("."),
        listen: network.listen,
        interface: network.interface,
        port: network.port,
        conductors: network.conductor,
        peers: network.peer,
        advertise: network.advertise,
        until: Until::default(),
        timeout: None,
        upload: network.upload,
        download: network.download,
        on_complete: None,
        check: false,
        repair: false,
        only: Vec::new(),
        from: None,
        name: network.name.unwrap_or_else(host_name),
        lan: !network.no_lan,
        dht: network.dht.then_some(Dht { nodes: network.dht_bootstrap }),
        search: !network.no_search,
        neighbours: network.neighbour,
        links: network.links.unwrap_or(DEFAULT_LINKS),
        screen,
        log_dir,
        notes: dot_env.notes,
    }
}

/// Fetch a composition from other members, verify it, and share it until q is pressed
///
/// A manifest (.orch) says what the composition is and where its conductor is. A .torrent does as well, and so does a
/// magnet link, for which the rest is asked of other members. What is on disk already is checked and
/// shared, what is missing is fetched from everybody who has it. Pressing q or Ctrl-C leaves at once; the same command
/// goes on where it was.
#[derive(Parser, Clone, Debug)]
#[command(name = "member", version, max_term_width = 120, styles = STYLES, after_help = after_help())]
#[command(override_usage = "member [OPTIONS] FILE.orch...\n       member get [OPTIONS] NAME|HASH...\n       \
                            member share [OPTIONS] [PATH...]\n       \
                            member list|locate|show|history|search|neighbours ...       (see member list --help)\n       \
                            member                            (on a terminal: a menu)")]
pub(super) struct Args {
    /// The manifests of the compositions; also .torrent files and magnet links
    #[arg(required = true, value_name = "FILE.orch")]
    compositions: Vec<OsString>,

    /// Fetch into this folder, or share what is there
    ///
    /// It is made when missing. Default: the current folder.
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    #[arg(env = "ORCHESTRA_OUTPUT", hide_env_values = true)]
    output: PathBuf,

    /// Hash what is on disk, whatever is remembered of it
    ///
    /// The result is remembered anew. Default: what was verified once and has not changed since is not read again.
    #[arg(long, env = "ORCHESTRA_CHECK", hide_env_values = true, value_parser = flag())]
    check: bool,

    /// Replace other data that is on disk under the name, taking its good parts
    ///
    /// They go to NAME.part, the rest is fetched, and the file is swapped once it is whole; so is each file of a folder,
    /// and what does not belong to the composition stays. Default: other data is left alone, and the exit code is 6.
    #[arg(long, env = "ORCHESTRA_REPAIR", hide_env_values = true, value_parser = flag())]
    repair: bool,

    /// Take the parts that are still the same from this older file or folder
    ///
    /// It is only read: what is the same at the same place in it (of a folder, in the file of the same path) is not
    /// fetched.
    #[arg(long, value_name = "OLD", env = "ORCHESTRA_FROM", hide_env_values = true)]
    from: Option<PathBuf>,

    /// Fetch only those files of a folder (repeatable)
    ///
    /// '*.pdf' means such files wherever they are, 'docs' a whole folder, 'docs/**/a.txt' a path. They get their final
    /// names when they are whole; the rest can come later, with another pattern or without any. Quote it, or the shell
    /// reads it first. Default: all.
    #[arg(long, value_name = "GLOB", env = "ORCHESTRA_ONLY", hide_env_values = true)]
    only: Vec<Glob>,

    /// Run this program once the file is whole
    ///
    /// It is started without a shell; the file's path is its argument and in ORCHESTRA_PATH.
    #[arg(long, value_name = "CMD", env = "ORCHESTRA_ON_COMPLETE", hide_env_values = true)]
    on_complete: Option<PathBuf>,

    #[command(flatten)]
    network: Network,

    #[command(flatten)]
    end: End,

    #[command(flatten)]
    loudness: Loudness,

    #[command(flatten)]
    shown: Output,
}

/// The same options for a composition that a catalogue names.
#[derive(Clone, Debug)]
pub(super) struct GetArgs {
    pub args: Args,
    /// The local network is asked alone.
    pub lan: bool,
}

impl CommandFactory for GetArgs {
    fn command() -> Command {
        Self::command_for_update()
    }

    fn command_for_update() -> Command {
        let name = |arg: Arg| arg.value_name("NAME|HASH").help(GET_NAME).long_help(None);
        Args::command()
            .name("member get")
            .bin_name("member get")
            .about("Fetch a composition by its name, from who has it here or at a conductor, and share it until q is pressed")
            .long_about(None)
            .override_usage(
                "member get [OPTIONS] [HOST[:PORT]/][OWNER/]NAME|HASH...\n       \
                             member get [OPTIONS] HOST[:PORT]/|URL|MAGNET...",
            )
            .mut_arg("compositions", name)
            .arg(
                Arg::new("lan")
                    .long("lan")
                    .help("Ask the local network alone for the names, and no conductor that it does not lead to")
                    .help_heading("Network")
                    .env("ORCHESTRA_LAN")
                    .hide_env_values(true)
                    .value_parser(flag())
                    .action(ArgAction::SetTrue),
            )
    }
}

/// What `member get` is given.
const GET_NAME: &str = "The compositions' names or info-hashes in the catalogue, and perhaps which conductor's; HOST/ \
                        alone if it has only one; an address of its catalogue; a magnet link";

impl FromArgMatches for GetArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { args: Args::from_arg_matches(matches)?, lan: matches.get_flag("lan") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.lan = matches.get_flag("lan");
        self.args.update_from_arg_matches(matches)
    }
}

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct Network {
    /// Listen on this address of this machine
    ///
    /// Default: all addresses, IPv4 and IPv6.
    #[arg(long, value_name = "ADDR", env = "ORCHESTRA_LISTEN", hide_env_values = true)]
    listen: Option<IpAddr>,

    /// Listen, connect and announce only through this network interface
    ///
    /// Linux only. Names are looked up as the system does it. Default: any.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_INTERFACE", hide_env_values = true)]
    interface: Option<String>,

    /// Listen on this port
    ///
    /// Default: 9998, or the next free one; said at the start. 0 takes any free port.
    #[arg(long, value_name = "N", env = "ORCHESTRA_PORT", hide_env_values = true)]
    port: Option<u16>,

    /// Ask this conductor too (repeatable)
    ///
    /// Besides those that the manifest names. Without a port it is 9999.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(env = "ORCHESTRA_CONDUCTOR", hide_env_values = true)]
    conductor: Vec<Endpoint>,

    /// Connect to this member (repeatable)
    ///
    /// For members whose address is known; no conductor is needed then. Without a port it is 9998.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = member_endpoint)]
    #[arg(env = "ORCHESTRA_PEER", hide_env_values = true)]
    peer: Vec<Endpoint>,

    /// Tell others that this member is reached here
    ///
    /// For a member behind a forwarded port: members and conductors are told this port. The address goes to the
    /// conductors; ours believes it only where both it and the address that it sees are private. :PORT tells the
    /// port alone. Default: the port listened on, at the address that the conductor sees.
    #[arg(long, value_name = "HOST:PORT", value_parser = advertised)]
    #[arg(env = "ORCHESTRA_ADVERTISE", hide_env_values = true)]
    advertise: Option<Endpoint>,

    /// Send at most so much: 10M is 10 MiB/s, 100Mbit also works
    ///
    /// Default: no limit.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    #[arg(env = "ORCHESTRA_UPLOAD", hide_env_values = true)]
    upload: Option<u64>,

    /// Receive at most so much
    ///
    /// Default: no limit.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    #[arg(env = "ORCHESTRA_DOWNLOAD", hide_env_values = true)]
    download: Option<u64>,

    /// Call this member so
    ///
    /// It is what people see and what --until-all @HOSTS compares. Default: the host name.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_NAME", hide_env_values = true, value_parser = member_name)]
    name: Option<String>,

    /// Do not look for members on the local network, nor tell it what is shared
    ///
    /// Members are then found through conductors, --peer and other members alone. Default: everybody on every network of
    /// this machine is told what is shared (BEP 14, UDP port 6771), and may ask for the list and the manifests (DNS-SD, UDP
    /// port 5353, then the member's own port); --interface and --listen say where.
    #[arg(long, env = "ORCHESTRA_NO_LAN", hide_env_values = true, value_parser = flag())]
    no_lan: bool,

    /// Look for members in the public DHT, and tell it what is shared
    ///
    /// For a magnet link without a tracker, mostly. Everybody in the world can then find out that this address shares it:
    /// the DHT is public. It uses UDP at the port listened on; open that in the firewall to be found. Private torrents
    /// stay out of it. Default: nobody there is asked or told.
    #[arg(long, env = "ORCHESTRA_DHT", hide_env_values = true, value_parser = flag())]
    dht: bool,

    /// Begin with this node of the DHT (repeatable)
    ///
    /// It counts together with --dht alone. Without a port it is 6881. Default: those who answered last time, and nodes that everybody knows.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = node_endpoint)]
    #[arg(env = "ORCHESTRA_DHT_BOOTSTRAP", hide_env_values = true)]
    dht_bootstrap: Vec<Endpoint>,

    /// Keep a link with this member, to be searched through (repeatable)
    ///
    /// For members that share something else, and are not found by themselves. Without a port it is 9998.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = member_endpoint)]
    #[arg(env = "ORCHESTRA_NEIGHBOUR", hide_env_values = true)]
    neighbour: Vec<Endpoint>,

    /// Look for so many neighbours, up to 32
    ///
    /// 0: only those of --neighbour, and who comes. Default: 6.
    #[arg(long, value_name = "N", env = "ORCHESTRA_LINKS", hide_env_values = true)]
    links: Option<usize>,

    /// Keep no links with neighbours, and answer no searches
    ///
    /// It goes before --neighbour and --links. Default: neighbours are told the names, sizes and info-hashes of what is shared here when a search means them.
    #[arg(long, env = "ORCHESTRA_NO_SEARCH", hide_env_values = true, value_parser = flag())]
    no_search: bool,
}

/// Settings of somebody who asks neighbours, and shares nothing.
pub(super) fn of_asker(
    neighbours: Vec<Endpoint>,
    conductors: Vec<Endpoint>,
    interface: Option<String>,
    no_lan: bool,
    log_dir: LogDir,
    dot_env: DotEnv,
) -> Settings {
    let network = Network {
        listen: None,
        interface,
        port: Some(0),
        conductor: conductors,
        peer: Vec::new(),
        advertise: None,
        upload: None,
        download: None,
        name: None,
        no_lan,
        dht: false,
        dht_bootstrap: Vec::new(),
        neighbour: neighbours,
        links: None,
        no_search: true,
    };
    on(network, ScreenOptions { quiet: true, ..ScreenOptions::default() }, log_dir, dot_env)
}

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "When to end (the first that is met; default: q)")]
struct End {
    /// End as soon as everything is whole and verified
    #[arg(long, env = "ORCHESTRA_EXIT_WHEN_DONE", hide_env_values = true, value_parser = flag())]
    exit_when_done: bool,

    /// End having shared for so long, such as 30m or 2h
    ///
    /// Counted from when everything is whole. A number alone is seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    #[arg(env = "ORCHESTRA_SEED_TIME", hide_env_values = true)]
    seed_time: Option<Duration>,

    /// End having sent so many times the size
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    #[arg(env = "ORCHESTRA_SEED_RATIO", hide_env_values = true)]
    seed_ratio: Option<f64>,

    /// End when so many have it whole, or all that are named in a file
    ///
    /// N members, this one and those that left counted; or @HOSTS: the file HOSTS names them, one a line (see --name).
    /// It says who has it and who has not. If it ends before, the exit code is 8.
    #[arg(long, value_name = "N|@HOSTS", value_parser = wanted)]
    #[arg(env = "ORCHESTRA_UNTIL_ALL", hide_env_values = true)]
    until_all: Option<Wanted>,

    /// Give up when no new part came for so long
    ///
    /// The exit code is 4; 7 if nobody ever answered, 9 if every conductor refused and no member was met. Default: wait, saying once a minute what for.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    #[arg(env = "ORCHESTRA_TIMEOUT", hide_env_values = true)]
    timeout: Option<Duration>,
}

/// `--until-all` as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Members(u32),
    NamedIn(PathBuf),
}

fn wanted(text: &str) -> Result<Wanted, &'static str> {
    if let Some(path) = text.strip_prefix('@').filter(|path| !path.is_empty()) {
        return Ok(Wanted::NamedIn(path.into()));
    }
    match text.parse() {
        Ok(count) if count > 0 => Ok(Wanted::Members(count)),
        _ => Err("expected how many members, such as 3, or @ and a file that names them, such as @hosts.txt"),
    }
}

/// The names in this file, one a line; empty lines and what is behind a # do not count.
fn names(path: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read the names of --until-all from {}: {error}", path.display()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let names: Vec<String> = lines.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match names.is_empty() {
        true => Err(format!("{} names no member: write one name a line", path.display())),
        false => Ok(names),
    }
}

/// A member's address; without a port it is [`DEFAULT_PORT`].
pub(super) fn member_endpoint(text: &str) -> Result<Endpoint, String> {
    endpoint(text, DEFAULT_PORT)
}

/// A node of the DHT; without a port it is the one that most have.
fn node_endpoint(text: &str) -> Result<Endpoint, String> {
    endpoint(text, 6881)
}

fn endpoint(text: &str, port: u16) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
    let with_port = format!("{text}:{port}").parse::<Endpoint>();
    let bare_ip = text.parse::<IpAddr>().map(|ip| Endpoint { host: Host::Ip(ip), port });
    Ok(bare_ip.ok().or(with_port.ok()).unwrap_or(endpoint))
}

/// As [`member_endpoint`], if others can dial it.
fn advertised(text: &str) -> Result<Endpoint, String> {
    let endpoint = member_endpoint(text)?;
    match endpoint.is_unknown() {
        true => Err("expected an address and a port that others can reach".into()),
        false => Ok(endpoint),
    }
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err("expected a number such as 1.5"),
    }
}

/// A name that people can read and other members can show.
fn member_name(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a name has at least one letter"),
        _ if text.len() > 64 => Err("a name has at most 64 bytes"),
        _ if text.chars().any(char::is_control) => Err("a name has no control characters"),
        _ => Ok(text.to_owned()),
    }
}

fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    member_name(&name).unwrap_or_else(|_| "member".to_owned())
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           member big.orch                               fetch into this folder, or share what is here, until q\n  \
           member big.orch -o /data --exit-when-done     fetch into /data, and leave\n  \
           member big.orch --seed-time 30m --upload 10M  help the others for half an hour, gently\n  \
           member a.orch b.orch                          both, on one port\n  \
           member big.orch --peer 10.0.0.5:9998          without a conductor: that member has it\n  \
           member 'magnet:?xt=urn:btih:...'              in quotes: the shell takes & for itself\n  \
           member 'magnet:?xt=urn:btih:...' --dht        without any tracker: found through the public DHT\n  \
           member share big.iso                          share it without a manifest; says what to type elsewhere\n  \
           member share                                  share the files in ./shared\n  \
           member list                                   what is shared here, and on the local network\n  \
           member get big.iso                            fetch it by name, from whoever has it there\n  \
           member get 10.0.0.1/big.iso                   fetch it by name, from that conductor's catalogue\n  \
           member locate 10.0.0.1/big.iso                who has it, and which parts\n  \
           member history                                what came and went on this machine\n  \
           member                                        on a terminal: a menu for all of that\n  \
           member show big.orch                          what the manifest says\n  \
           member search ubuntu                          ask the neighbours, and theirs, who has such a thing\n\n{}\
         Of several compositions it is the highest of their codes.\n",
        Exit::help(&Exit::ALL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &[&str], dot_env: &str) -> Result<Settings, clap::Error> {
        let args = std::iter::once(&"member").chain(args).map(OsString::from);
        parse(args.collect(), DotEnv::parse(dot_env))
    }

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_manifest_is_enough() {
        let settings = told(&["x.orch"], "").unwrap();
        assert_eq!(settings.compositions, ["x.orch"]);
        assert_eq!(settings.output, Path::new("."));
        assert_eq!(settings.until, Until::default());
        assert!(settings.lan && settings.search && settings.dht.is_none());
        assert!(settings.screen.progress && !settings.name.is_empty());
    }

    #[test]
    fn everything_that_is_typed_arrives() {
        let args = "a.orch b.orch -o d --listen ::1 --interface eth0 --port 0 --conductor h --conductor i:1 \
                    --peer 10.0.0.1 --peer [::1]:5 --advertise h:1 --exit-when-done --seed-time 30m --seed-ratio 1.5 \
                    --until-all 3 --timeout 10 --upload 10M --download 100Mbit --on-complete ./x --check --repair \
                    --dht --dht-bootstrap 10.0.0.9,n:1 --from old --only *.pdf --only docs --name n --no-lan \
                    --neighbour 10.0.0.2 --links 3 --json -v --no-progress --color never --log-dir -";
        let settings = told(&args.split_whitespace().collect::<Vec<_>>(), "").unwrap();
        let shown = |endpoints: &[Endpoint]| endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>();
        assert_eq!(settings.compositions, ["a.orch", "b.orch"]);
        assert_eq!(settings.listen, Some("::1".parse().unwrap()));
        assert_eq!(settings.port, Some(0));
        assert_eq!(shown(&settings.conductors), ["h:9999", "i:1"]);
        assert_eq!(shown(&settings.peers), ["10.0.0.1:9998", "[::1]:5"]);
        assert_eq!(settings.dht.map(|dht| shown(&dht.nodes)), Some(vec!["10.0.0.9:6881".into(), "n:1".into()]));
        assert_eq!((shown(&settings.neighbours), settings.links), (vec!["10.0.0.2:9998".to_owned()], 3));
        assert_eq!(settings.until.seed_time, Some(Duration::from_secs(1_800)));
        assert_eq!(settings.until.all, Some(UntilAll::Members(3)));
        assert_eq!(settings.timeout, Some(Duration::from_secs(10)));
        assert_eq!((settings.upload, settings.download), (Some(10 << 20), Some(12_500_000)));
        assert_eq!(settings.only.iter().map(Glob::as_str).collect::<Vec<_>>(), ["*.pdf", "docs"]);
        assert_eq!(settings.from, Some("old".into()));
        assert!(settings.check && settings.repair && !settings.lan && settings.until.done);
        assert!(settings.screen.json && settings.screen.verbose && !settings.screen.progress);
        assert_eq!(settings.log_dir, LogDir::Stderr);
    }

    #[test]
    fn a_member_without_a_port_has_9998() {
        for (text, shown) in [("h", "h:9998"), ("h:1", "h:1"), ("::1", "[::1]:9998"), ("[::1]", "[::1]:9998")] {
            assert_eq!(member_endpoint(text).unwrap().to_string(), shown);
        }
        assert!(member_endpoint("a/b").is_err());
    }

    #[test]
    fn the_command_line_goes_before_dot_env() {
        let dot_env = "ORCHESTRA_PORT=7\nORCHESTRA_CONDUCTOR=a,b\nORCHESTRA_JSON=yes\nORCHESTRA_NO_LAN=0";
        let settings = told(&["x.orch", "--port", "8"], dot_env).unwrap();
        assert_eq!(settings.port, Some(8));
        assert_eq!(settings.conductors.len(), 2);
        assert!(settings.screen.json && settings.lan);
        let settings = told(&["x.orch", "--conductor", "c"], dot_env).unwrap();
        assert_eq!(settings.conductors.len(), 1);
    }

    #[test]
    fn of_two_that_contradict_each_other_one_goes_before() {
        let settings = told(&["x.orch", "-v", "--links", "3"], "ORCHESTRA_QUIET=0\nORCHESTRA_LINKS=4").unwrap();
        assert!(settings.screen.verbose && settings.links == 3);
        let settings =
            told(&["x.orch", "-q", "-v", "--no-search", "--links", "3", "--dht-bootstrap", "h"], "").unwrap();
        assert!(settings.screen.quiet && !settings.screen.verbose);
        assert!(!settings.search && settings.dht.is_none());
    }

    #[test]
    fn names_of_others_are_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let option = format!("--until-all=@{}", path.display());
        assert_eq!(told(&["x.orch", &option], "").unwrap_err().exit_code(), 2);
        fs::write(&path, "# rack 4\nnode1\n\n node2 # the old one\n").unwrap();
        let settings = told(&["x.orch", &option], "").unwrap();
        assert_eq!(settings.until.all, Some(UntilAll::Named(vec!["node1".to_owned(), "node2".to_owned()])));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_option() {
        for (args, dot_env, words) in [
            (&[][..], "", "FILE.orch"),
            (&["x", "--upload", "fast"], "", "--upload"),
            (&["x", "--seed-ratio", "nan"], "", "--seed-ratio"),
            (&["x", "--until-all", "0"], "", "--until-all"),
            (&["x", "--advertise", "0.0.0.0:5"], "", "--advertise"),
            (&["x", "--advertise", "h:0"], "", "--advertise"),
            (&["x", "--only", "[a"], "", "--only"),
            (&["x", "--name", "\u{1b}[2J"], "", "--name"),
            (&["x"], "ORCHESTRA_PORT=many", ".env"),
            (&["x"], "ORCHESTRA_JSON=perhaps", "--json"),
        ] {
            let error = told(args, dot_env).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn help_names_every_variable_and_exit_code() {
        let error = told(&["--help"], "").unwrap_err();
        let help = error.to_string();
        assert_eq!(error.exit_code(), 0);
        assert!(help.starts_with("Fetch a composition"));
        assert!(help.contains("ORCHESTRA_ON_COMPLETE") && help.contains("Examples:") && help.contains("130"));
        let command = <Args as clap::CommandFactory>::command();
        for option in command.get_opts().filter(|option| !option.is_global_set()) {
            let known = matches!(option.get_id().as_str(), "help" | "version");
            assert!(known || option.get_env().is_some(), "{} has no variable", option.get_id());
        }
    }
}
