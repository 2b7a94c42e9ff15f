//! Magnet links that name a member by address, and hybrid torrents, with other BitTorrent clients: they ask our members
//! for the info dictionary, and our members them. Links that name a conductor are tried in `foreign`. Skipped, and said
//! so, where a client is not installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    foreign::client::{Client, libtorrent},
    support::{Place, Program, bytes, compose, conductor, fetch, port, seed},
};

/// Writes a hybrid torrent of a file with libtorrent, and prints the info-hash of its version 1 half.
const HYBRID: &str = r#"
import os, sys, libtorrent as lt
path, tracker, out = sys.argv[1:]
files = lt.file_storage()
lt.add_files(files, path)
torrent = lt.create_torrent(files, piece_size=65536)
torrent.add_tracker(tracker)
lt.set_piece_hashes(torrent, os.path.dirname(path))
open(out, "wb").write(lt.bencode(torrent.generate()))
info = lt.torrent_info(out)
assert info.info_hashes().has_v1() and info.info_hashes().has_v2()
print("v1", info.info_hashes().v1)
"#;

fn shares(stage: &Stage, torrent: &Path) -> Program {
    Program::start(libtorrent(&stage.place, torrent.as_os_str(), &stage.place.path("seed"), &[]))
}

fn aria2(place: &Place, folder: &Path, link: &str, arguments: &[&str]) -> Program {
    let mut command = place.command("aria2c");
    command.args(["--enable-dht=false", "--bt-enable-lpd=false", "--file-allocation=none", "--no-conf"]);
    command.args(["--listen-port=20000-60000", "--bt-tracker-interval=1", "--console-log-level=notice"]);
    command.args(arguments).arg("-d").arg(folder).arg(link);
    Program::start(command)
}

/// A conductor, and a composition with its `.torrent` and its magnet link.
struct Stage {
    place: Place,
    conductor: Program,
    manifest: PathBuf,
    torrent: String,
    /// Names no tracker and no member.
    bare: String,
    tracked: String,
    data: Vec<u8>,
}

fn stage() -> Stage {
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes((3 << 20) + 777, 70);
    let manifest = compose(&place, "x.bin", &data, &[&address, "16K", "--torrent"]);
    let torrent = manifest.with_extension("torrent");
    let read = orchestra::metainfo::Torrent::parse(&fs::read(&torrent).expect("a torrent")).expect("a torrent");
    let bare = format!("magnet:?xt=urn:btih:{}&dn=x.bin", read.info_hash());
    let tracked = format!("{bare}&tr=http%3A%2F%2F{address}%2Fannounce");
    let torrent = torrent.to_str().expect("UTF-8").to_owned();
    Stage { place, conductor, manifest, torrent, bare, tracked, data }
}

impl Stage {
    #[track_caller]
    fn assert_copy(&self, folder: &str) {
        let copy = fs::read(self.place.path(folder).join("x.bin")).expect("a copy");
        assert!(copy == self.data, "the copy is different");
    }

    /// Our member fetches by this link, remembering nothing of other links.
    #[track_caller]
    fn fetches(&self, link: &str, folder: &str) {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_member"));
        command.env("XDG_STATE_HOME", self.place.path(&format!("state of {folder}")));
        command.arg(link).arg("-o").arg(self.place.path(folder)).args(["--port", "0", "--json", "--exit-when-done"]);
        Program::start(command).end().with(0);
        self.assert_copy(folder);
    }
}

#[test]
fn libtorrent_asks_a_member() {
    if Client::Libtorrent.is_there() {
        let stage = stage();
        let mut seed = crate::support::member(&stage.place, &stage.manifest, &stage.place.path("seed"), &[]);
        let port = port(&mut seed);
        let link = format!("{}&x.pe=127.0.0.1:{port}", stage.bare);
        let client = libtorrent(&stage.place, link.as_ref(), &stage.place.folder("copy"), &["--fetch"]);
        Program::start(client).end().with(0);
        stage.assert_copy("copy");
    }
}

#[test]
fn a_member_asks_aria2() {
    if Client::Aria2.is_there() {
        let mut stage = stage();
        let arguments = ["--check-integrity=true", "--seed-ratio=0.0"];
        let _client = aria2(&stage.place, &stage.place.path("seed"), &stage.torrent, &arguments);
        let joined = stage.conductor.event_named("joined");
        let address = joined["address"].as_str().expect("an address").to_owned();
        stage.fetches(&format!("{}&x.pe={address}", stage.bare), "known");
    }
}

#[test]
fn a_member_asks_libtorrent() {
    if Client::Libtorrent.is_there() {
        let mut stage = stage();
        let mut client = shares(&stage, stage.torrent.as_ref());
        let address = client.line("where it is", |line| line.strip_prefix("listens ").map(str::to_owned));
        client.line("that it is whole", |line| (line == "whole").then_some(()));
        stage.conductor.event_named("joined");
        stage.fetches(&format!("{}&x.pe={address}", stage.bare), "known");
    }
}

/// A member that came by a magnet link itself has the dictionary to give.
#[test]
fn aria2_asks_a_member_that_asked() {
    if Client::Aria2.is_there() {
        let stage = stage();
        let seed = seed(&stage.place, &stage.manifest, &[]);
        let mut command = stage.place.command(env!("CARGO_BIN_EXE_member"));
        command.env("XDG_STATE_HOME", stage.place.path("another state"));
        command.arg(&stage.tracked).arg("-o").arg(stage.place.path("second")).args(["--port", "0", "--json"]);
        let mut second = Program::start(command);
        second.event_named("whole");
        seed.signal(rustix::process::Signal::TERM);
        seed.end().with(0);
        aria2(&stage.place, &stage.place.folder("copy"), &stage.tracked, &["--seed-time=0"]).end().with(0);
        stage.assert_copy("copy");
    }
}

#[test]
fn the_first_half_of_a_hybrid_is_fetched() {
    if Client::Libtorrent.is_there() {
        let mut stage = stage();
        let torrent = stage.place.path("hybrid.torrent");
        let tracker = stage.tracked.split("tr=").nth(1).expect("a tracker").replace("%3A", ":").replace("%2F", "/");
        let mut command = stage.place.command("python3");
        command.args(["-c", HYBRID]).arg(stage.place.path("seed/x.bin")).arg(&tracker).arg(&torrent);
        let hash = Program::start(command).line("the hash", |line| line.strip_prefix("v1 ").map(str::to_owned));
        let _client = shares(&stage, &torrent);
        stage.conductor.event("that it joined", |event| event["event"] == "joined" && event["hash"] == hash);
        fetch(&stage.place, &torrent, "copy", &[]).with(0);
        stage.assert_copy("copy");
        stage.fetches(&format!("magnet:?xt=urn:btih:{hash}&tr={tracker}"), "by link");
    }
}
