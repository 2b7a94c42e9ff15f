//! Members that find each other through a DHT of their own alone: no conductor, no local network, and never the
//! internet.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    foreign::client::{Client, libtorrent},
    support::{Ended, PATIENCE, Place, Program, bytes, compose, port},
};

const SIZE: usize = 3 << 20;

struct Stage {
    place: Place,
    manifest: PathBuf,
    link: String,
    data: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let place = Place::new();
        let data = bytes(SIZE, 71);
        let manifest = compose(&place, "x.bin", &data, &["0.0.0.0:0", "64K", "--torrent"]);
        let torrent = fs::read(manifest.with_extension("torrent")).expect("a torrent");
        let torrent = orchestra::metainfo::Torrent::parse(&torrent).expect("a torrent");
        let link = format!("magnet:?xt=urn:btih:{}", torrent.info_hash());
        Self { place, manifest, link, data }
    }

    /// A member at 127.0.0.`host` whose way into the DHT is the node at this address. It remembers nothing of others.
    fn member(&self, host: u8, what: &str, folder: &str, node: &str, arguments: &[&str]) -> Program {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_member"));
        command.env("XDG_STATE_HOME", self.place.path(&format!("state-{host}"))).env("RUST_LOG", "debug");
        command.args([what, "--port", "0", "--json", "--dht", "--dht-bootstrap", node]);
        command.arg("--listen").arg(format!("127.0.0.{host}")).arg("-o").arg(self.place.path(folder)).args(arguments);
        Program::start(command)
    }

    /// The first member shares it, with nobody to begin at; and where its node is.
    fn first(&self) -> (Program, String) {
        let mut first = self.member(1, self.manifest.to_str().expect("UTF-8"), "seed", &nobody(), &[]);
        let address = format!("127.0.0.1:{}", port(&mut first));
        first.event_named("whole");
        (first, address)
    }

    #[track_caller]
    fn is_whole(&self, folder: &str) {
        let copy = fs::read(self.place.path(folder).join("x.bin")).expect("a file");
        assert!(copy == self.data, "{folder} has something else");
    }

    /// What the members have logged so far.
    fn log(&self) -> String {
        fs::read_to_string(self.place.path("logs/member.log")).unwrap_or_default()
    }

    #[track_caller]
    fn waits_for_log(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < until, "{words:?} is not in the log:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Where nobody answers.
fn nobody() -> String {
    "127.0.0.1:9".to_owned()
}

/// A node of the DHT that a test is itself: it says what it is told to say to everything that it is asked.
fn liar(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> String {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 66), 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = socket.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut packet) {
            answer(&packet[..count]).iter().for_each(|said| drop(socket.send_to(said, from)));
        }
    });
    address
}

/// What a node says to this that knows these members, and no nodes.
fn reply(asked: &[u8], members: &[u8]) -> Vec<u8> {
    let transaction = asked.windows(5).position(|bytes| bytes == b"1:t2:").map(|at| &asked[at + 5..at + 7]);
    let (id, end) = (b"d1:rd2:id20:liarliarliarliarliar5:token2:tt6:valuesl".as_slice(), b"1:y1:re".as_slice());
    [id, members, b"ee1:t2:", transaction.unwrap_or_default(), end].concat()
}

#[test]
fn a_magnet_link_without_a_tracker_is_enough() {
    let stage = Stage::new();
    let (_seed, node) = stage.first();
    stage.member(2, &stage.link, "copy", &node, &["--exit-when-done"]).end().with(0);
    stage.is_whole("copy");
}

/// None of the two knows of the other; both know a third, which has nothing to do with what they share.
#[test]
fn members_meet_through_a_node_that_shares_something_else() {
    let (stage, other) = (Stage::new(), Stage::new());
    let third = compose(&other.place, "y.bin", &bytes(SIZE, 72), &["0.0.0.0:0"]);
    let mut third = other.member(3, third.to_str().expect("UTF-8"), "seed", &nobody(), &[]);
    let node = format!("127.0.0.3:{}", port(&mut third));
    let _seed = stage.member(1, stage.manifest.to_str().expect("UTF-8"), "seed", &node, &[]);
    stage.member(2, &stage.link, "copy", &node, &["--exit-when-done"]).end().with(0);
    stage.is_whole("copy");
    assert!(stage.log().contains("DHT: 1 members of"), "{}", stage.log());
}

#[test]
fn a_node_that_does_not_answer_is_said_once_and_changes_no_exit_code() {
    let stage = Stage::new();
    let ended = stage.member(2, &stage.link, "copy", &nobody(), &["--timeout", "35s"]).end().with(7);
    assert_eq!(told(&ended, "no node of the DHT answers"), 1);
}

fn told(ended: &Ended, words: &str) -> usize {
    ended.lines.iter().filter(|line| line.contains("\"warning\"") && line.contains(words)).count()
}

/// Garbage, endless lists, and members that are not there; beside an honest node, which hands the liar on to all. It knows of
/// no member until the liar was asked: a search that has found members ends before it has asked everybody.
#[test]
fn a_node_that_lies_keeps_nobody_from_the_others() {
    let (stage, other) = (Stage::new(), Stage::new());
    let liar = liar(|asked| {
        let members: Vec<u8> = (0..200u8).flat_map(|n| [b"6:\x7f\x00\x09".as_slice(), &[n, 0, 9]].concat()).collect();
        vec![b"l".repeat(2000), vec![0xff; 1400], b"d1:rd".repeat(300), reply(asked, &members)]
    });
    let third = compose(&other.place, "y.bin", &bytes(SIZE, 72), &["0.0.0.0:0"]);
    let mut third = other.member(3, third.to_str().expect("UTF-8"), "seed", &liar, &[]);
    let node = format!("127.0.0.3:{}", port(&mut third));
    other.waits_for_log("DHT: 40 members of");
    let mut fetching = stage.member(2, &stage.link, "copy", &format!("{liar},{node}"), &[]);
    stage.waits_for_log("DHT: 40 members of");
    let _seed = stage.member(1, stage.manifest.to_str().expect("UTF-8"), "seed", &node, &[]);
    fetching.event_named("whole");
    stage.is_whole("copy");
}

/// libtorrent at another address than our members, looking for them in the DHT alone, which begins at `node`.
fn in_dht(stage: &Stage, source: &OsStr, folder: &Path, node: &str) -> Program {
    Program::start(libtorrent(&stage.place, source, folder, &["--listen", "127.0.0.5:0", "--dht", node]))
}

#[test]
fn libtorrent_finds_a_member_through_the_members_node() {
    if !Client::Libtorrent.is_there() {
        return;
    }
    let stage = Stage::new();
    let (_seed, node) = stage.first();
    let folder = stage.place.folder("theirs");
    let mut client = in_dht(&stage, stage.link.as_ref(), &folder, &node);
    client.line("that it is whole", |line| line.starts_with("whole").then_some(()));
    stage.is_whole("theirs");
}

#[test]
fn a_member_finds_libtorrent_through_its_node() {
    if !Client::Libtorrent.is_there() {
        return;
    }
    let stage = Stage::new();
    let torrent = stage.manifest.with_extension("torrent");
    let mut client = in_dht(&stage, torrent.as_os_str(), &stage.place.path("seed"), "127.0.0.1:9");
    let node = client.line("where it is", |line| line.strip_prefix("listens ").map(str::to_owned));
    client.line("that it is whole", |line| line.starts_with("whole").then_some(()));
    // It announces to those that it knows: to us alone, once we said that our node is there.
    let third = stage.member(3, &stage.link, "third", &node, &["--exit-when-done"]);
    stage.member(2, &stage.link, "copy", &node, &["--exit-when-done"]).end().with(0);
    third.end().with(0);
    stage.is_whole("copy");
}

/// As its author would write it who wants members to come through his tracker alone (BEP 27).
fn private(torrent: &[u8]) -> Vec<u8> {
    let end = torrent.windows(10).rposition(|bytes| bytes == b"e4:sha120:").expect("the end of the info dictionary");
    [&torrent[..end], b"7:privatei1e", &torrent[end..]].concat()
}

#[test]
fn a_private_torrent_stays_out_of_it() {
    let stage = Stage::new();
    let torrent = stage.place.path("private.torrent");
    fs::write(&torrent, private(&fs::read(stage.manifest.with_extension("torrent")).expect("a torrent")))
        .expect("written");
    let (_open, node) = stage.first();
    let mut seed = stage.member(4, torrent.to_str().expect("UTF-8"), "seed", &node, &[]);
    let started = seed.event_named("start");
    let link = format!("magnet:?xt=urn:btih:{}", started["info_hash"].as_str().expect("a hash"));
    seed.event_named("whole");
    stage.member(2, &link, "copy", &node, &["--timeout", "5s"]).end().with(7);

    // Once it knows that it is private, a magnet link is as good as the torrent.
    let (heard, told) = mpsc::channel();
    let node = liar(move |asked| {
        let _ = heard.send(asked.to_vec());
        vec![reply(asked, b"")]
    });
    let peer = format!("127.0.0.4:{}", started["port"]);
    stage.member(2, &link, "copy", &node, &["--peer", &peer, "--exit-when-done"]).end().with(0);
    stage.is_whole("copy");
    let (private, open) = (hash(&link), hash(&stage.link));
    // What is begun too early may be ended in time by luck, but not each time.
    for _ in 0..3 {
        told.try_iter().for_each(drop);
        let _again = stage.member(2, &link, "copy", &node, &[&stage.link]);
        loop {
            let packet = told.recv_timeout(PATIENCE).expect("a packet that announces what is not private");
            assert!(!names(&packet, &private), "the private one is looked for");
            if names(&packet, b"announce_peer") && names(&packet, &open) {
                break;
            }
        }
    }
}

/// The info-hash of a magnet link, as the DHT writes it.
fn hash(link: &str) -> [u8; 20] {
    link.parse::<orchestra::metainfo::Magnet>().expect("a magnet link").hash.0
}

fn names(packet: &[u8], what: &[u8]) -> bool {
    packet.windows(what.len()).any(|bytes| bytes == what)
}
