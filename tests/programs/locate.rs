//! `member locate`: who has a composition, and which parts of it, as the members say themselves.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    foreign::client::Client,
    support::{Ended, PATIENCE, Place, Program, bytes, compose, conductor, member, seed},
};

/// Asks this conductor, and those that it names.
fn locate(place: &Place, conductor: &str, arguments: &[&str]) -> Ended {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.args(["locate", "x.bin", "--conductor", conductor]).args(arguments);
    Program::start(command).end().with(0)
}

/// Who has it, once this holds of them.
#[track_caller]
fn holders(place: &Place, conductor: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let holders: Vec<Value> = locate(place, conductor, &["--json"]).events().collect();
        if holds(&holders) {
            return holders;
        }
        assert!(Instant::now() < until, "it did not come to that: {holders:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn named<'a>(holders: &'a [Value], name: &str) -> &'a Value {
    holders.iter().find(|holder| holder["name"] == name).unwrap_or_else(|| panic!("no {name}: {holders:?}"))
}

#[test]
fn members_say_what_they_have() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(4 << 20, 140), &[&address, "64K", "--register"]);
    let _seed = seed(&place, &manifest, &["--name", "seed-1"]);
    let mut slow = member(&place, &manifest, &place.path("slow"), &["--name", "ws-05", "--download", "300K"]);
    slow.midway();
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    announce(&address, &manifest_hash(&place), nobody.port());

    let holders = holders(&place, &address, |holders| holders.len() == 3);
    let whole = named(&holders, "seed-1");
    assert_eq!((&whole["complete"], &whole["percent"]), (&true.into(), &100.into()));
    assert_eq!((&whole["reached"], &whole["ranges"]), (&true.into(), &json!([[1, 64]])));
    assert!(whole["client"].as_str().is_some_and(|client| client.starts_with("Orchestra ")), "{whole}");
    let some = named(&holders, "ws-05");
    let ranges: Vec<(u32, u32)> = serde_json::from_value(some["ranges"].clone()).expect("ranges");
    let parts: u32 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    assert!((1..64).contains(&parts) && some["percent"] == parts * 100 / 64, "{some}");
    let silent = holders.iter().find(|holder| holder["reached"] == false).expect("one cannot be asked");
    assert_eq!((&silent["address"], &silent["ranges"]), (&nobody.to_string().into(), &Value::Null));

    let text = locate(&place, &address, &[]);
    for words in ["NAME", "seed-1", "ws-05", "  all", "members that have it:", "1 could not be asked"] {
        text.says(words);
    }
}

fn manifest_hash(place: &Place) -> String {
    let mut show = place.command(env!("CARGO_BIN_EXE_member"));
    show.args(["show", "--json", "x.bin.orch"]);
    let shown = Program::start(show).end().with(0).events().next().expect("a line");
    shown["info_hash"].as_str().expect("an info-hash").to_owned()
}

/// Tells the conductor of a member that lacks half of it, and cannot be reached.
fn announce(conductor: &str, info_hash: &str, port: u16) {
    let hash: String = (0..20).map(|n| format!("%{}", &info_hash[2 * n..2 * n + 2])).collect();
    let query =
        format!("info_hash={hash}&peer_id=-XX0000-abcdefghijkl&port={port}&left=2097152&uploaded=0&downloaded=0");
    let mut stream = TcpStream::connect(conductor).expect("a conductor");
    write!(stream, "GET /announce?{query} HTTP/1.1\r\nHost: {conductor}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn other_clients_say_it_too() {
    let there: Vec<Client> = Client::ALL.into_iter().filter(|client| client.is_there()).collect();
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(2 << 20, 141), &[&address, "64K", "--torrent", "--register"]);
    let source = manifest.with_extension("torrent");
    let start = |(client, n): (&Client, u8)| {
        let folder = place.folder(&format!("{client:?}"));
        fs::copy(place.path("seed/x.bin"), folder.join("x.bin")).expect("copied");
        client.start(&place, IpAddr::V4(Ipv4Addr::new(127, 0, 0, n)), &folder, source.as_os_str())
    };
    let _running: Vec<Program> = there.iter().zip(11..).map(start).collect();
    let words = |client: &Client| match client {
        Client::Aria2 => "aria2",
        Client::Libtorrent => "libtorrent",
        Client::Rqbit => "rqbit",
        Client::Transmission => "Transmission",
    };
    let is_seen = |holders: &[Value], client: &Client| {
        let is_it = |holder: &&Value| holder["client"].as_str().is_some_and(|name| name.contains(words(client)));
        holders
            .iter()
            .find(is_it)
            .is_some_and(|holder| holder["ranges"] == json!([[1, 32]]) && holder["reached"] == true)
    };
    holders(&place, &address, |holders| there.iter().all(|client| is_seen(holders, client)));
}
