//! Other BitTorrent clients in the same swarm, met through our conductor: they fetch from a member, and a member from
//! them. Skipped, and said so, where a client is not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Place, Program, bytes, compose, conductor, fetch, seed, tool};

/// Drives libtorrent: `share` says that it shares, `fetch` ends when the file is whole.
const LIBTORRENT: &str = r#"
import sys, libtorrent as lt
role, folder, torrent = sys.argv[1:]
session = lt.session({"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
    "enable_natpmp": False, "allow_multiple_connections_per_ip": True, "min_announce_interval": 1,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification})
parameters = lt.add_torrent_params()
parameters.ti, parameters.save_path = lt.torrent_info(torrent), folder
torrent = session.add_torrent(parameters)
told = False
while True:
    session.wait_for_alert(100)
    session.pop_alerts()
    if not told and torrent.status().is_seeding:
        told = True
        if role == "fetch":
            torrent.flush_cache()
            break
        print("shares", flush=True)
"#;

fn has_aria2() -> bool {
    tool("aria2c", Command::new("aria2c").arg("--version"))
}

fn aria2(place: &Place, folder: &Path, torrent: &Path, arguments: &[&str]) -> Command {
    let mut command = place.command("aria2c");
    command.args(["--enable-dht=false", "--bt-enable-lpd=false", "--file-allocation=none", "--no-conf"]);
    command.args(["--listen-port=20000-60000", "--bt-tracker-interval=1", "--console-log-level=notice"]);
    command.args(arguments).arg("-d").arg(folder).arg(torrent);
    command
}

fn has_libtorrent() -> bool {
    tool("python3 with libtorrent", Command::new("python3").args(["-c", "import libtorrent"]))
}

fn libtorrent(place: &Place, role: &str, folder: &Path, torrent: &Path) -> Command {
    let mut command = place.command("python3");
    command.args(["-c", LIBTORRENT, role]).arg(folder).arg(torrent);
    command
}

/// A place with a conductor, and a composition of some parts with its `.torrent`.
struct Stage {
    place: Place,
    conductor: Program,
    manifest: PathBuf,
    torrent: PathBuf,
    data: Vec<u8>,
}

fn stage() -> Stage {
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes((3 << 20) + 777, 50);
    let manifest = compose(&place, "x.bin", &data, &[&address, "64K", "--torrent"]);
    let torrent = manifest.with_extension("torrent");
    Stage { place, conductor, manifest, torrent, data }
}

impl Stage {
    #[track_caller]
    fn assert_copy(&self) {
        let copy = fs::read(self.place.path("copy/x.bin")).expect("a copy");
        assert!(copy == self.data, "the copy is different");
    }

    /// The client fetches from our member.
    fn served(&self, client: impl Fn(&Place, &Path, &Path) -> Command) {
        let _seed = seed(&self.place, &self.manifest, &[]);
        Program::start(client(&self.place, &self.place.folder("copy"), &self.torrent)).end().with(0);
        self.assert_copy();
    }

    /// Our member fetches from the client.
    fn fetched(&mut self, client: impl Fn(&Place, &Path, &Path) -> Command) {
        let _client = Program::start(client(&self.place, &self.place.path("seed"), &self.torrent));
        self.conductor.event_named("joined");
        fetch(&self.place, &self.manifest, "copy", &[]).with(0);
        self.assert_copy();
    }
}

#[test]
fn aria2_fetches_from_a_member() {
    if has_aria2() {
        stage().served(|place, folder, torrent| aria2(place, folder, torrent, &["--seed-time=0"]));
    }
}

#[test]
fn a_member_fetches_from_aria2() {
    if has_aria2() {
        let arguments = &["--check-integrity=true", "--seed-ratio=0.0"];
        stage().fetched(|place, folder, torrent| aria2(place, folder, torrent, arguments));
    }
}

#[test]
fn libtorrent_fetches_from_a_member() {
    if has_libtorrent() {
        stage().served(|place, folder, torrent| libtorrent(place, "fetch", folder, torrent));
    }
}

#[test]
fn a_member_fetches_from_libtorrent() {
    if has_libtorrent() {
        stage().fetched(|place, folder, torrent| libtorrent(place, "share", folder, torrent));
    }
}
