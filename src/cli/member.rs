//! The command line of `member`.

mod end;
mod get;
mod network;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{ArgMatches, Parser};

use network::member_name;

use super::{
    LogDir, ScreenOptions,
    ask::Get,
    dotenv::DotEnv,
    exit::Exit,
    is_trusted,
    only::Glob,
    options::{Loudness, Output, STYLES, flag},
    read, wrong,
};
use crate::manifest::Endpoint;

pub(super) use end::End;
pub use end::{Until, UntilAll};
pub(super) use get::GetArgs;
pub(super) use network::{Network, member_endpoint};

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
    /// Those of them without a name mean all that is shared there.
    pub all: bool,
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
    /// Who named them.
    pub conductors_from: Origin,
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
    /// Links in a folder that is shared are followed.
    pub follow_links: bool,
    /// How people see this member.
    pub name: String,
    /// The machine that it counts as, where that is not to be found out.
    pub machine: Option<String>,
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

/// Who named a conductor: so far it is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The command line or the environment: a person. Only such a conductor gets a token, or says what a name means.
    #[default]
    Person,
    /// `.env`, which may have come with a download.
    DotEnv,
    /// It was found on this machine.
    ThisMachine,
    /// It says on the local network that it is there, as anybody may.
    Network,
    /// It runs in this process.
    Own,
}

impl Origin {
    /// That of `--conductor`. `typed`: the arguments without those of `.env`.
    pub(super) fn of_conductor(typed: &ArgMatches, conductors: &[Endpoint]) -> Self {
        match conductors.is_empty() || is_trusted(typed, "conductor") {
            true => Self::Person,
            false => Self::DotEnv,
        }
    }
}

/// How members are looked for in the DHT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dht {
    /// Where to begin; with none of them at nodes that everybody knows.
    pub nodes: Vec<Endpoint>,
}

/// `member FILE.orch` as it was typed, with what the environment and `.env` say.
pub(super) fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Settings, clap::Error> {
    let (args, typed) = read::<Args>(args, &dot_env)?;
    settings_of(args, &typed, dot_env)
}

/// What these arguments mean. `typed`: without those of `.env`.
pub(super) fn settings_of(args: Args, typed: &ArgMatches, dot_env: DotEnv) -> Result<Settings, clap::Error> {
    let screen = args.loudness.of(args.shown.screen());
    Ok(Settings {
        conductors_from: Origin::of_conductor(typed, &args.network.conductor),
        compositions: args.compositions,
        output: args.output,
        timeout: args.end.timeout,
        until: args.end.until().map_err(wrong::<Args>)?,
        on_complete: args.on_complete,
        check: args.check,
        repair: args.repair,
        only: args.only,
        from: args.from,
        follow_links: args.follow_links,
        ..on(args.network, screen, args.shown.log_dir(), dot_env)
    })
}

/// Settings of a member that was told only this.
pub(super) fn on(network: Network, screen: ScreenOptions, log_dir: LogDir, dot_env: DotEnv) -> Settings {
    Settings {
        compositions: Vec::new(),
        gets: Vec::new(),
        all: false,
        output: PathBuf::from("."),
        listen: network.listen,
        interface: network.interface,
        port: network.port,
        conductors: network.conductor,
        conductors_from: Origin::Person,
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
        follow_links: false,
        name: network.name.unwrap_or_else(host_name),
        machine: network.machine,
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
                            member verify [OPTIONS] FILE.orch [DIR]\n       \
                            member list|locate|show|history|search|neighbours|unregister ...  (see member help list)\n       \
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

    /// Follow symbolic links in a folder that is shared
    ///
    /// For one that composer read with the same option. Nothing is ever written through a link.
    #[arg(long, env = "ORCHESTRA_FOLLOW_LINKS", hide_env_values = true, value_parser = flag())]
    follow_links: bool,

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
    /// It is started without a shell; the file's path is its argument and in ORCHESTRA_PATH. It is not waited for; that it
    /// failed is a warning.
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
        machine: None,
        no_lan,
        dht: false,
        dht_bootstrap: Vec::new(),
        neighbour: neighbours,
        links: None,
        no_search: true,
    };
    on(network, ScreenOptions { quiet: true, ..ScreenOptions::default() }, log_dir, dot_env)
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
           member verify big.orch /data                  which parts of what is there are wrong\n  \
           member search ubuntu                          ask the neighbours, and theirs, who has such a thing\n\n{}\
         Of several compositions it is the highest of their codes.\n",
        Exit::help(&Exit::ALL)
    )
}
