//! The conductor as its clients see it: the real binary, spoken to byte by byte.

mod crowd;
mod live;
#[path = "../programs/signals.rs"]
mod signals;
mod udp;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
};

use orchestra::announce::{
    Answer, Counts, Reply,
    http_answer::{read_reply, read_scrape},
};
use orchestra::metainfo::InfoHash;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What no text can hold, what a query gives a meaning to, and what needs no escape.
const HASH: [u8; 20] = *b"\x00\xff\xfe&=+%#? ~'();:@/!*";
/// The same as a client writes it that escapes only what it must.
const HASH_QUERY: &str = "%00%ff%FE%26%3D+%25%23%3F%20~'();:@/!*";

/// A running conductor on a free port, in a folder of its own.
struct Conductor {
    child: Child,
    stdout: BufReader<ChildStdout>,
    v4: SocketAddr,
    /// None on a machine without IPv6.
    v6: Option<SocketAddr>,
    folder: tempfile::TempDir,
}

fn command(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("XDG_STATE_HOME", folder.join("state"));
    // With a token there is no warning that anyone may register.
    command.env("XDG_DATA_HOME", folder.join("data")).env("ORCHESTRA_TOKEN", "0123456789abcdef");
    command
}

impl Conductor {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), ":0")
    }

    fn start_in(folder: tempfile::TempDir, listen: &str) -> Self {
        Self::start_with(command(folder.path()), folder, listen)
    }

    fn start_with(mut command: Command, folder: tempfile::TempDir, listen: &str) -> Self {
        let mut child = command.args(["--listen", listen, "--json"]).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let here = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        let mut conductor = Self { child, stdout, v4: here("127.0.0.1"), v6: None, folder };
        let listening = conductor.told();
        assert_eq!(listening["event"], "listening");
        for address in listening["addresses"].as_array().unwrap() {
            let address: SocketAddr = address.as_str().unwrap().parse().unwrap();
            conductor.v4.set_port(address.port());
            if address.is_ipv6() {
                let mut v6 = here("::1");
                v6.set_port(address.port());
                conductor.v6 = Some(v6);
            }
        }
        conductor
    }

    /// The next line on its stdout.
    fn told(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn announce(&self, member: &Member, more: &str) -> Answer {
        member.announce_to(self.v4, more)
    }

    fn scrape(&self, query: &str) -> Vec<(InfoHash, Counts)> {
        read_scrape(&get(self.v4, &format!("/scrape?{query}")).body).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who announces `HASH`.
struct Member {
    id: &'static str,
    port: u16,
    left: u64,
}

const SEED: Member = Member { id: "-OC0100-seedseedseed", port: 1001, left: 0 };
const LEECHER: Member = Member { id: "-OC0100-leechleechle", port: 1002, left: 5 };

impl Member {
    fn query(&self, more: &str) -> String {
        let Self { id, port, left } = self;
        format!("/announce?info_hash={HASH_QUERY}&peer_id={id}&port={port}&left={left}&key={port}{more}")
    }

    fn announce_to(&self, conductor: SocketAddr, more: &str) -> Answer {
        match read_reply(&get(conductor, &self.query(more)).body) {
            Ok(Reply::Answer(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

fn get(conductor: SocketAddr, target: &str) -> Response {
    let stream = TcpStream::connect(conductor).unwrap();
    ask(stream, &format!("GET {target} HTTP/1.1\r\nHost: c\r\n\r\n"))
}

/// Sends these bytes and reads until the conductor closes the connection.
fn ask(mut stream: TcpStream, request: &str) -> Response {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // What was not read of a request too long makes the system reset the connection after the answer.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head, body: bytes[end..].to_vec() }
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.peers.iter().map(|peer| peer.address.to_string()).collect()
}

#[test]
fn members_meet_whatever_bytes_name_their_swarm() {
    let conductor = Conductor::start();
    assert!(conductor.announce(&SEED, "&event=started").peers.is_empty());
    let answer = conductor.announce(&LEECHER, "&event=started&compact=1");
    assert_eq!(addresses(&answer), ["127.0.0.1:1001"]);
    assert_eq!((answer.complete, answer.incomplete), (Some(1), Some(1)));
    assert_eq!(answer.interval, 5);
    assert_eq!(conductor.scrape(&format!("info_hash={HASH_QUERY}"))[0].0, InfoHash(HASH));
}

#[test]
fn the_short_form_and_the_long_form_byte_by_byte() {
    let conductor = Conductor::start();
    conductor.announce(&SEED, "");
    let body = |more: &str| {
        let body = get(conductor.v4, &LEECHER.query(more)).body;
        String::from_utf8_lossy(&body).into_owned()
    };
    let head = "d8:completei1e11:external ip4:\x7f\0\0\x0110:incompletei1e8:intervali5e12:min intervali5e5:peers";
    let short = get(conductor.v4, &LEECHER.query("")).body;
    assert_eq!(short, [head.as_bytes(), b"6:\x7f\0\0\x01\x03\xe9e"].concat());
    assert_eq!(body("&compact=0"), format!("{head}ld2:ip9:127.0.0.17:peer id20:{}4:porti1001eeee", SEED.id));
    assert_eq!(body("&compact=0&no_peer_id=1"), format!("{head}ld2:ip9:127.0.0.14:porti1001eeee"));
}

#[test]
fn one_swarm_over_both_ip_versions() {
    let conductor = Conductor::start();
    let Some(v6) = conductor.v6 else {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    };
    SEED.announce_to(v6, "");
    assert_eq!(addresses(&conductor.announce(&LEECHER, "")), ["[::1]:1001"]);
    conductor.announce(&SEED, "");
    assert_eq!(addresses(&LEECHER.announce_to(v6, "")), ["[::1]:1001"]);
    let answer = conductor.announce(&LEECHER, "");
    assert_eq!(addresses(&answer), ["127.0.0.1:1001"]);
    assert_eq!((answer.complete, answer.incomplete), (Some(1), Some(1)));
}

#[test]
fn the_source_address_counts_and_not_what_an_announce_says() {
    let conductor = Conductor::start();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
    socket.bind(&source.into()).unwrap();
    socket.connect(&conductor.v4.into()).unwrap();
    let target = SEED.query("&ip=192.0.2.1&ipv4=192.0.2.1");
    ask(socket.into(), &format!("GET {target} HTTP/1.1\r\n\r\n"));
    assert_eq!(addresses(&conductor.announce(&LEECHER, "&ip=10.0.0.9")), ["127.0.0.2:1001"]);
    assert_eq!(addresses(&conductor.announce(&LEECHER, "")), ["127.0.0.2:1001"]);
    assert_eq!(addresses(&conductor.announce(&SEED, "&ip=10.0.0.8&numwant=9")), ["127.0.0.1:1002"]);
}

#[test]
fn events_are_counted_once_and_who_leaves_is_gone() {
    let mut conductor = Conductor::start();
    conductor.announce(&LEECHER, "&event=started");
    let done = Member { left: 0, ..LEECHER };
    for _ in 0..2 {
        conductor.announce(&done, "&event=completed");
    }
    let hash = format!("info_hash={HASH_QUERY}");
    let counts = Counts { complete: 1, incomplete: 0, downloaded: 1 };
    assert_eq!(conductor.scrape(&hash), [(InfoHash(HASH), counts)]);
    conductor.announce(&SEED, "");
    for _ in 0..2 {
        conductor.announce(&SEED, "&event=stopped");
    }
    assert_eq!(conductor.scrape(&hash), [(InfoHash(HASH), counts)]);
    let told: Vec<Value> = (0..4).map(|_| conductor.told()).collect();
    let of = |key: &str| -> Vec<Value> { told.iter().map(|line| line[key].clone()).collect() };
    assert_eq!(of("event"), ["joined", "completed", "joined", "left"]);
    assert_eq!(of("members"), [1, 1, 2, 1]);
    let (leecher, seed) = ("127.0.0.1:1002", "127.0.0.1:1001");
    assert_eq!(of("address"), [leecher, leecher, seed, seed]);
    assert_eq!(told[3]["why"], "stopped");
}

#[test]
fn a_scrape_of_several_has_zeros_for_the_unknown() {
    let conductor = Conductor::start();
    conductor.announce(&LEECHER, "");
    let unknown = "a".repeat(20);
    let swarms = conductor.scrape(&format!("info_hash={unknown}&info_hash={HASH_QUERY}"));
    let one = Counts { incomplete: 1, ..Counts::default() };
    assert_eq!(swarms, [(InfoHash(HASH), one), (InfoHash([b'a'; 20]), Counts::default())]);
}

#[test]
fn what_is_wrong_is_said_in_the_answer() {
    let conductor = Conductor::start();
    for (target, reason) in [
        ("/announce", "info_hash is missing"),
        ("/announce?info_hash=short", "info_hash must be 20 bytes"),
        ("/scrape", "info_hash is missing"),
    ] {
        let response = get(conductor.v4, target);
        assert_eq!(response.status, 200);
        assert_eq!(read_reply(&response.body), Ok(Reply::Failure(reason.into())));
    }
    assert_eq!(get(conductor.v4, "/nothing").status, 404);
    assert_eq!(get(conductor.v4, "/announced").status, 404);
    let suffixed = LEECHER.query("").replace("/announce?", "/announce/token?");
    assert_eq!(get(conductor.v4, &suffixed).body, get(conductor.v4, &LEECHER.query("")).body);
}

#[test]
fn a_page_of_another_origin_registers_nothing() {
    let conductor = Conductor::start();
    conductor.announce(&SEED, "");
    let connect = || TcpStream::connect(conductor.v4).unwrap();
    let ask_for = |target: &str, header: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{header}\r\n\r\n", conductor.v4);
        let whole = ask(connect(), &request).body;
        let mut stream = connect();
        stream.write_all(&request.as_bytes()[..10]).unwrap();
        // The rest comes later.
        conductor.announce(&SEED, "");
        assert_eq!(ask(stream, &request[10..]).body, whole, "{header}");
        whole
    };
    let hash = format!("info_hash={HASH_QUERY}");
    let refused = Ok(Reply::Failure("a page of another origin may not announce here".into()));
    for header in ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "referer: http://evil.example/x"] {
        assert_eq!(read_reply(&ask_for(&LEECHER.query(""), header)), refused);
        assert_eq!(read_reply(&ask_for(&format!("/scrape?{hash}"), header)), refused);
    }
    let one = Counts { complete: 1, ..Counts::default() };
    assert_eq!(conductor.scrape(&hash), [(InfoHash(HASH), one)]);
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin", conductor.v4);
    assert!(matches!(read_reply(&ask_for(&LEECHER.query(""), &own)), Ok(Reply::Answer(_))));
}

#[test]
fn a_connection_is_kept_only_when_asked_and_a_long_header_is_refused() {
    let conductor = Conductor::start();
    let connect = || TcpStream::connect(conductor.v4).unwrap();
    assert!(get(conductor.v4, "/scrape").head.contains("connection: close"));
    let kept = "GET /scrape HTTP/1.1\r\nConnection: keep-alive\r\n\r\n";
    let last = "GET /scrape HTTP/1.1\r\n\r\n";
    let both = ask(connect(), &format!("{kept}{last}"));
    assert!(!both.head.contains("connection: close"));
    let second = String::from_utf8_lossy(&both.body).to_lowercase();
    assert!(second.contains("http/1.1 200"), "{second}");
    let long = format!("GET /scrape HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    assert_eq!(ask(connect(), &long).status, 431);
}

#[test]
fn a_request_that_comes_in_pieces_is_answered_like_one_that_is_there_at_once() {
    let conductor = Conductor::start();
    conductor.announce(&SEED, "");
    let connect = || TcpStream::connect(conductor.v4).unwrap();
    let said = |response: Response| {
        let head = response.head.lines().filter(|line| !line.starts_with("date: "));
        (head.map(str::to_owned).collect::<BTreeSet<_>>(), response.body)
    };
    for version in ["1.0", "1.1"] {
        let request = format!("GET {} HTTP/{version}\r\nHost: c\r\n\r\n", LEECHER.query(""));
        let whole = said(ask(connect(), &request));
        for at in [1, request.len() / 2, request.len() - 1] {
            let mut stream = connect();
            stream.write_all(&request.as_bytes()[..at]).unwrap();
            // Others are answered meanwhile.
            conductor.announce(&SEED, "");
            assert_eq!(said(ask(stream, &request[at..])), whole, "cut at {at}");
        }
    }
}

#[test]
fn a_taken_port_is_refused() {
    let conductor = Conductor::start();
    let folder = tempfile::tempdir().unwrap();
    let listen = format!(":{}", conductor.v4.port());
    let output = command(folder.path()).args(["--listen", &listen]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&listen) && said.contains("another program"), "{said}");
}

#[test]
fn every_signal_that_asks_to_end_ends_it_cleanly() {
    // A SIGHUP asks a conductor to read its files again.
    for signal in signals::that_end().into_iter().filter(|signal| *signal != Signal::HUP) {
        let mut conductor = Conductor::start();
        conductor.announce(&SEED, "");
        assert_eq!(conductor.told()["event"], "joined");
        // Somebody who says nothing must not hold it up.
        let idle = TcpStream::connect(conductor.v4).unwrap();
        conductor.signal(signal);
        let told = conductor.told();
        assert_eq!(told["event"], "end", "{told}");
        assert_eq!(conductor.child.wait().unwrap().code(), Some(0));
        drop(idle);
    }
}

#[test]
fn people_are_told_where_it_listens_and_the_log_who_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path()).args(["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.strip_prefix("conductor listens on ").and_then(|rest| rest.strip_suffix(", TCP and UDP"));
    let address = address.expect("it says where");
    let second = lines.next().unwrap().unwrap();
    assert_eq!(second, format!("compose for it with: composer FILE {address}"));
    SEED.announce_to(address.parse().unwrap(), "");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(folder.path().join("logs/conductor.log")).unwrap();
    assert!(log.contains("127.0.0.1:1001 joined (1 there)"), "{log}");
}

#[test]
fn a_hang_up_that_is_ignored_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" --listen 127.0.0.1:0 --json", env!("CARGO_BIN_EXE_conductor")])
        .current_dir(folder.path())
        .env("XDG_STATE_HOME", folder.path().join("state"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    let address: SocketAddr = listening["addresses"][0].as_str().unwrap().parse().unwrap();
    assert!(SEED.announce_to(address, "").peers.is_empty());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_changed_token_file_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let [old, new] = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"];
    std::fs::write(&file, format!("root {old}\n")).unwrap();
    let mut plain = command(folder.path());
    plain.env_remove("ORCHESTRA_TOKEN").arg("--token-file").arg(&file);
    let mut conductor = Conductor::start_with(plain, folder, "127.0.0.1:0");
    let v4 = conductor.v4;
    let deletes = |token: &str| {
        let head = format!("Host: c\r\nSec-Orchestra: test\r\nAuthorization: Bearer {token}\r\n");
        ask(TcpStream::connect(v4).unwrap(), &format!("DELETE /compositions/none HTTP/1.1\r\n{head}\r\n")).status
    };
    let refused = deletes(new);
    assert_eq!(deletes(old), 404);
    assert_ne!(refused, 404);
    std::fs::write(&file, format!("root {new}\n")).unwrap();
    let begin = std::time::Instant::now();
    while deletes(new) != 404 {
        assert!(begin.elapsed() < std::time::Duration::from_secs(30), "the new token is not known");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(deletes(old), refused);
    // A file that cannot be read leaves the tokens as they were.
    std::fs::write(&file, "short\n").unwrap();
    let warning = conductor.told();
    assert_eq!(warning["event"], "warning", "{warning}");
    assert_eq!(deletes(new), 404);
}
