//! Other BitTorrent clients that ask our conductor over UDP: what they fetch shows that they were answered, and what
//! they say that nothing was wrong. Skipped, and said so, where a client is not installed.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::{
    foreign::client::{Client, libtorrent},
    support::{Place, Program, bytes, compose, conductor, seed, tool},
};

/// A member shares, and `client` fetches by a `.torrent` that names the conductor by UDP alone. Gives what it printed.
fn fetched(client: impl Fn(&Place, &Path, &Path) -> Command) -> Vec<String> {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes((1 << 20) + 777, 51);
    let manifest = compose(&place, "x.bin", &data, &[&address, "64K", "--torrent"]);
    let torrent = manifest.with_extension("torrent");
    ask_over_udp(&torrent, &address);
    let _seed = seed(&place, &manifest, &[]);
    let client = Program::start(client(&place, &place.folder("copy"), &torrent)).end();
    assert!(fs::read(place.path("copy/x.bin")).expect("a copy") == data, "the copy is different");
    client.lines
}

fn ask_over_udp(torrent: &Path, address: &str) {
    let bytes = fs::read(torrent).expect("a torrent");
    let text = |url: String| format!("{}:{url}", url.len()).into_bytes();
    let (http, udp) = (text(format!("http://{address}/announce")), text(format!("udp://{address}/announce")));
    let at = bytes.windows(http.len()).position(|window| window == http).expect("an announce URL");
    fs::write(torrent, [&bytes[..at], &udp, &bytes[at + http.len()..]].concat()).expect("written");
}

#[track_caller]
fn assert_nothing_wrong(lines: &[String], wrong: &[&str]) {
    let found: Vec<_> = lines.iter().filter(|line| wrong.iter().any(|word| line.contains(word))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn aria2_asks_over_udp() {
    if tool("aria2c", Command::new("aria2c").arg("--version")) {
        let lines = fetched(|place, folder, torrent| {
            let mut command = place.command("aria2c");
            // Without its DHT, which knows nobody here, it has no UDP.
            command.arg("--dht-file-path").arg(place.path("dht")).args(["--enable-dht=true", "--enable-dht6=false"]);
            command.args(["--dht-listen-port=20000-60000", "--listen-port=20000-60000", "--bt-enable-lpd=false"]);
            command.args(["--file-allocation=none", "--no-conf", "--console-log-level=info", "--seed-time=0"]);
            command.arg("-d").arg(folder).arg(torrent);
            command
        });
        assert_nothing_wrong(&lines, &["Download aborted", "UDPT received error", "UDPT fail", "Dropped UDPT"]);
        assert!(lines.iter().any(|line| line.contains("UDPT received ANNOUNCE reply")), "{lines:#?}");
    }
}

#[test]
fn libtorrent_asks_over_udp() {
    if Client::Libtorrent.is_there() {
        let lines =
            fetched(|place, folder, torrent| libtorrent(place, torrent.as_os_str(), folder, &["--fetch", "--scrape"]));
        assert_nothing_wrong(&lines, &["wrong:"]);
        assert!(lines.iter().any(|line| line.starts_with("scraped ")), "{lines:#?}");
    }
}

#[test]
fn transmission_asks_over_udp() {
    if tool("transmission-cli", Command::new("transmission-cli").arg("--version")) {
        let lines = fetched(|place, folder, torrent| {
            // It shares for ever: what it runs when it has all ends it.
            let ender = place.path("ender");
            fs::write(&ender, "#!/bin/sh\nkill $PPID\n").expect("written");
            fs::set_permissions(&ender, fs::Permissions::from_mode(0o755)).expect("executable");
            let mut command = place.command("transmission-cli");
            command.env("HOME", place.folder("home")).args(["-et", "-M", "-g"]).arg(place.folder("config"));
            command.arg("-w").arg(folder).arg("-f").arg(ender).arg(torrent);
            command
        });
        assert_nothing_wrong(&lines, &["Tracker error", "tracker error", "Could not connect to tracker"]);
    }
}
