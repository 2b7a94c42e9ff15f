//! Other BitTorrent clients in the same swarm, met through our conductor: they fetch from a member, and a member from
//! them. Skipped, and said so, where a client is not installed. The table in the README says what is tried here.
//!
//! Each has an address of its own (127.0.0.x): Transmission and libtorrent know one member an address.

pub mod client;

use std::{
    env,
    ffi::OsString,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use client::Client;
use rustix::process::Signal;

use crate::support::{PATIENCE, Place, Program, bytes, compose, conductor, member, seed, skip};

/// What is tried with each client, under its name.
macro_rules! with_each_client {
    ($($name:ident: $client:ident),*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn takes_and_gives() {
                Client::$client.is_there().then(|| super::takes_and_gives(Client::$client));
            }

            #[test]
            fn takes_and_gives_over_ipv6() {
                Client::$client.is_there().then(|| super::takes_and_gives_over_ipv6(Client::$client));
            }
        }
    )*};
}

with_each_client!(aria2: Aria2, libtorrent: Libtorrent, rqbit: Rqbit, transmission: Transmission);

const SEED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const MEMBER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4));

/// A place with a conductor.
struct Stage {
    place: Place,
    conductor: Program,
    address: String,
}

impl Stage {
    fn new(listen: &str) -> Self {
        let place = Place::new();
        let (conductor, address) = conductor(&place, listen);
        Self { place, conductor, address }
    }

    fn compose(&self, name: &str, size: usize, part: &str) -> Composition {
        let data = bytes(size, size as u64);
        let manifest = compose(&self.place, name, &data, &[&self.address, part, "--torrent"]);
        let source = manifest.with_extension("torrent").into();
        Composition { name: name.to_owned(), manifest, source, data }
    }

    fn magnet(&self, composition: &Composition) -> OsString {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_composer"));
        command.arg("--from").arg(&composition.manifest).args(["--magnet", "-o"]).arg(self.place.path("again.orch"));
        let ended = Program::start(command).end().with(0);
        ended.lines.iter().find(|line| line.starts_with("magnet:")).expect("a magnet link").into()
    }

    fn start(&self, client: Client, ip: IpAddr, composition: &Composition, folder: &str) -> Program {
        client.start(&self.place, ip, &self.place.path(folder), &composition.source)
    }

    /// Each client that is there, from 127.0.0.5 on, in a folder of its name.
    fn start_each(&self, composition: &Composition) -> Vec<(Client, IpAddr, Program)> {
        let there = Client::ALL.into_iter().filter(|client| client.is_there()).zip(5..);
        let start = |(client, n)| {
            let ip = Ipv4Addr::new(127, 0, 0, n).into();
            (client, ip, self.start(client, ip, composition, &format!("{client:?}")))
        };
        there.map(start).collect()
    }

    fn seed(&self, composition: &Composition, ip: IpAddr) -> Program {
        seed(&self.place, &composition.manifest, &["--listen", &ip.to_string()])
    }

    /// A member for each of these fetches it, by what the client had it by.
    #[track_caller]
    fn fetch(&self, compositions: &[Composition], ip: IpAddr) {
        let arguments = ["--exit-when-done", "--listen", &ip.to_string()];
        let fetching = compositions
            .iter()
            .map(|c| member(&self.place, Path::new(&c.source), &self.place.path("back"), &arguments));
        fetching.collect::<Vec<_>>().into_iter().for_each(|member| drop(member.end().with(0)));
        for composition in compositions {
            assert!(self.has(composition, "back"), "the copy of {} is different", composition.name);
        }
    }

    fn has(&self, composition: &Composition, folder: &str) -> bool {
        fs::read(self.place.path(folder).join(&composition.name)).is_ok_and(|copy| copy == composition.data)
    }

    /// Waits until the copy in each of these folders is whole.
    #[track_caller]
    fn await_copies(&self, wanted: &[(&Composition, String)]) {
        let until = Instant::now() + PATIENCE;
        let mut missing = wanted.to_vec();
        while !missing.is_empty() {
            missing.retain(|(composition, folder)| !self.has(composition, folder));
            let names: Vec<_> = missing.iter().map(|(composition, folder)| (&composition.name, folder)).collect();
            assert!(Instant::now() < until, "not whole: {names:?}; members said:\n{}", self.log("logs"));
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the members wrote into the log in this folder.
    fn log(&self, folder: &str) -> String {
        fs::read_to_string(self.place.path(folder).join("member.log")).expect("a log")
    }

    /// No member of this log was offended by a client.
    #[track_caller]
    fn assert_no_offence(&self, folder: &str) {
        let log = self.log(folder);
        let offences: Vec<_> = log.lines().filter(|line| line.contains("broke the protocol")).collect();
        assert!(offences.is_empty(), "{}", offences.join("\n"));
    }
}

/// A file with its manifest.
#[derive(Clone)]
struct Composition {
    name: String,
    manifest: PathBuf,
    /// What clients fetch it by, and members from them: the path of its `.torrent`, or a magnet link.
    source: OsString,
    data: Vec<u8>,
}

/// By `.torrent` with small, usual and large parts, of each a last part of one byte, and by magnet link, all at once. The
/// client fetches from a member; that leaves, and another member has only the client to fetch from, the metadata too.
fn takes_and_gives(client: Client) {
    let stage = Stage::new("127.0.0.1:0");
    let parts = [("16K", 16 << 10), ("256K", 256 << 10), ("1M", 1 << 20), ("8M", 8 << 20)];
    let mut compositions = parts.map(|(text, part)| stage.compose(text, 2 * part + 1, text)).to_vec();
    // 40 KiB of metadata, which come in three pieces.
    let mut by_link = stage.compose("link", (32 << 20) + 777, "16K");
    by_link.source = stage.magnet(&by_link);
    compositions.push(by_link);

    let seeds: Vec<_> = compositions.iter().map(|composition| stage.seed(composition, SEED)).collect();
    let _clients: Vec<_> =
        compositions.iter().map(|c| stage.start(client, CLIENT, c, &format!("{}-copy", c.name))).collect();
    stage.await_copies(&compositions.iter().map(|c| (c, format!("{}-copy", c.name))).collect::<Vec<_>>());
    for seed in seeds {
        seed.signal(Signal::TERM);
        seed.end().with(0);
    }
    stage.fetch(&compositions, MEMBER);
}

/// There is one loopback address of IPv6, and Transmission takes whoever comes from where a seed was for that seed: so
/// it gives what it had.
fn takes_and_gives_over_ipv6(client: Client) {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip("this machine has no IPv6");
    }
    let here = Ipv6Addr::LOCALHOST.into();
    let mut stage = Stage::new("[::1]:0");
    let (taken, given) = (stage.compose("taken", (3 << 20) + 777, "64K"), stage.compose("given", 1 << 20, "64K"));
    let _giving = stage.start(client, here, &given, "seed");
    stage.conductor.event_named("joined");
    let _seed = stage.seed(&taken, here);
    let _taking = stage.start(client, here, &taken, "copy");
    stage.fetch(&[given], here);
    stage.await_copies(&[(&taken, "copy".to_owned())]);
}

/// One swarm of everybody: a member seeds, two members and every client that is there fetch, and nobody takes offence.
#[test]
fn all_together() {
    let stage = Stage::new("127.0.0.1:0");
    let composition = stage.compose("x.bin", (12 << 20) + 777, "64K");
    let manifest = &composition.manifest;
    // Slow enough that they have to help each other.
    let seed = seed(&stage.place, manifest, &["--listen", "127.0.0.2", "--upload", "3M"]);
    let members = ["127.0.0.3", "127.0.0.4"];
    let fetching = members.map(|ip| member(&stage.place, manifest, &stage.place.path(ip), &["--listen", ip]));
    let clients = stage.start_each(&composition);
    let folders = clients.iter().map(|(client, ..)| format!("{client:?}")).chain(members.map(str::to_owned));
    let copies: Vec<_> = folders.map(|folder| (&composition, folder)).collect();
    stage.await_copies(&copies);
    for member in fetching {
        member.signal(Signal::TERM);
        member.end().with(0);
    }
    seed.signal(Signal::TERM);
    let sent = seed.end().with(0).last()["uploaded"].as_u64().expect("a number");
    let copies = copies.len() as u64;
    assert!(sent < (copies - 1) * composition.data.len() as u64, "the seed sent {sent} bytes for {copies} copies");
    stage.assert_no_offence("logs");
}

/// The conductor is killed while everybody is midway, and starts again at its address: all become whole, and so does a
/// newcomer that knows of it alone.
#[test]
fn the_conductor_starts_again_midway() {
    let mut stage = Stage::new("127.0.0.1:0");
    let composition = stage.compose("x.bin", (12 << 20) + 777, "64K");
    let manifest = &composition.manifest;
    let _seed = seed(&stage.place, manifest, &["--listen", "127.0.0.2", "--upload", "2M"]);
    let mut fetching = member(&stage.place, manifest, &stage.place.path("copy"), &["--listen", "127.0.0.3"]);
    let clients = stage.start_each(&composition);
    (0..=clients.len() + 1).for_each(|_| drop(stage.conductor.event_named("joined")));
    fetching.midway();
    stage.conductor.kill();
    (stage.conductor, _) = conductor(&stage.place, &stage.address);
    stage.conductor.event_named("joined");
    let arguments = ["--listen", "127.0.0.4", "--no-lan"];
    let _newcomer = member(&stage.place, manifest, &stage.place.path("new"), &arguments);
    let folders = ["copy", "new"].map(str::to_owned).into_iter();
    let folders = folders.chain(clients.iter().map(|(client, ..)| format!("{client:?}")));
    stage.await_copies(&folders.map(|folder| (&composition, folder)).collect::<Vec<_>>());
    stage.assert_no_offence("logs");
}

/// Everybody has some of it, the seed is gone, and for `IDLE_SECONDS` nobody has anything to ask for: 12, which is more
/// silence than rqbit bears; 300 are more than any of them bears. It is real time, since theirs cannot be had otherwise.
#[test]
fn idle_together() {
    let idle = env::var("IDLE_SECONDS").map_or(12, |text| text.parse().expect("a number of seconds"));
    let mut stage = Stage::new("127.0.0.1:0");
    let composition = stage.compose("x.bin", (12 << 20) + 777, "64K");
    let arguments = ["--listen", "127.0.0.3", "--log-dir", "idle"];
    let mut fetching = member(&stage.place, &composition.manifest, &stage.place.path("copy"), &arguments);
    let clients = stage.start_each(&composition);
    (0..=clients.len()).for_each(|_| drop(stage.conductor.event_named("joined")));
    let first = seed(&stage.place, &composition.manifest, &["--listen", "127.0.0.2", "--upload", "1M"]);
    fetching.midway();
    first.signal(Signal::TERM);
    first.end().with(0);

    thread::sleep(Duration::from_secs(idle));
    // aria2 closes such a connection after half a minute, Transmission after five: they come back, or we do.
    let until = Instant::now() + PATIENCE;
    while connections(&stage.log("idle")) < clients.len() {
        assert!(Instant::now() < until, "not all are there:\n{}", stage.log("idle"));
        thread::sleep(Duration::from_millis(100));
    }
    let _second = stage.seed(&composition, SEED);
    let folders = ["copy".to_owned()].into_iter().chain(clients.iter().map(|(client, ..)| format!("{client:?}")));
    stage.await_copies(&folders.map(|folder| (&composition, folder)).collect::<Vec<_>>());
    stage.assert_no_offence("idle");
    stage.assert_no_offence("logs");
}

/// How many conversations a member with this log has.
fn connections(log: &str) -> usize {
    let count = |what| log.lines().filter(|line| line.contains(what)).count();
    count(" joins").saturating_sub(count(" leaves: "))
}

#[test]
fn the_readme_names_each_client() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README");
    for client in Client::ALL {
        let name = format!("{client:?}");
        let row = readme.lines().find(|line| line.starts_with("| ") && line.contains(&name));
        assert!(row.is_some_and(|row| row.matches("| yes ").count() == 6), "no row of six tests for {name}: {row:?}");
    }
}
