//! Live links and the page, as whoever is at the other end sees them.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use orchestra::net::own_address::own_addresses;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    client::{IntoClientRequest, client},
    handshake::HandshakeError,
};

use super::{Conductor, HASH, LEECHER, Member, SEED, get};

/// How long anything may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A member's end of a live link.
struct Link(WebSocket<TcpStream>);

fn hello(port: u16, name: &str) -> Value {
    json!({
        "type": "hello", "v": 1, "info_hash": hex::encode(HASH), "peer_id": hex::encode(b"-OC0100-linklinklink"),
        "key": 77, "port": port, "name": name, "uploaded": 0, "downloaded": 0, "left": 5, "map": "f0",
    })
}

/// Asks for a link, with one more header; the status where there is none.
fn open(conductor: SocketAddr, header: Option<(&'static str, &'static str)>) -> Result<Link, u16> {
    open_over(TcpStream::connect(conductor).unwrap(), conductor, header)
}

fn open_over(
    stream: TcpStream,
    conductor: SocketAddr,
    header: Option<(&'static str, &'static str)>,
) -> Result<Link, u16> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{conductor}/live").into_client_request().unwrap();
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    match client(request, stream) {
        Ok((socket, _)) => Ok(Link(socket)),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn link(conductor: SocketAddr, hello: &Value) -> Link {
    let mut link = open(conductor, None).unwrap_or_else(|status| panic!("status {status}"));
    link.say(hello);
    link
}

impl Link {
    fn say(&mut self, said: &Value) {
        self.0.send(Message::text(said.to_string())).unwrap();
    }

    /// The next message of this type.
    fn told(&mut self, kind: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no {kind}, and pings for ever");
            if let Message::Text(text) = self.0.read().unwrap_or_else(|error| panic!("no {kind}: {error}")) {
                let told: Value = serde_json::from_str(&text).unwrap();
                if told["type"] == kind {
                    return told;
                }
            }
        }
    }
}

/// As [`get`], of a server that keeps connections open unless it is asked not to.
fn ask(server: SocketAddr, target: &str) -> super::Response {
    let stream = TcpStream::connect(server).unwrap();
    super::ask(stream, &format!("GET {target} HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n"))
}

/// A port on which somebody listens for as long as this is there.
fn door(ip: IpAddr) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The conductor at an address of this machine that is not the loopback; None, and a word about it, where there is none.
fn outside(conductor: &Conductor) -> Option<SocketAddr> {
    match own_addresses().into_iter().find(IpAddr::is_ipv4) {
        Some(ip) => Some(SocketAddr::new(ip, conductor.v4.port())),
        None => {
            eprintln!("SKIPPED: this machine has no IPv4 address but its loopback");
            None
        }
    }
}

impl Conductor {
    /// The next event of this name.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let told = self.told();
            if told["event"] == name {
                return told;
            }
        }
    }
}

#[test]
fn a_link_hears_of_members_who_announce() {
    let conductor = Conductor::start();
    conductor.announce(&SEED, "&event=started");
    let mut link = link(conductor.v4, &hello(1003, "node"));
    assert_eq!(link.told("members")["members"], json!(["127.0.0.1:1001"]));
    let answer = conductor.announce(&LEECHER, "&event=started");
    assert!(super::addresses(&answer).contains(&"127.0.0.1:1003".to_owned()), "both kinds are in one swarm");
    let (at, hash) = (["127.0.0.1:1002"], hex::encode(HASH));
    assert_eq!(link.told("changes"), json!({"type": "changes", "joined": at, "info_hash": hash}));
    conductor.announce(&LEECHER, "&event=stopped");
    assert_eq!(link.told("changes"), json!({"type": "changes", "left": at, "info_hash": hash}));
}

#[test]
fn who_is_gone_or_silent_is_taken_out() {
    let mut conductor = Conductor::start();
    let gone = link(conductor.v4, &hello(1003, "node"));
    assert_eq!(conductor.event("joined")["address"], "127.0.0.1:1003");
    drop(gone);
    let left = conductor.event("left");
    assert_eq!((&left["why"], &left["members"]), (&json!("gone"), &json!(0)));
    // It reads no pings, so that it answers none.
    let _silent = link(conductor.v4, &hello(1003, "node"));
    conductor.event("joined");
    assert_eq!(conductor.event("left")["why"], "gone");
    let mut polite = link(conductor.v4, &hello(1003, "node"));
    conductor.event("joined");
    polite.0.close(None).unwrap();
    assert_eq!(conductor.event("left")["why"], "stopped");
}

#[test]
fn a_second_link_of_a_member_takes_the_place_of_the_first() {
    let mut conductor = Conductor::start();
    let first = link(conductor.v4, &hello(1003, "node"));
    conductor.event("joined");
    let mut second = link(conductor.v4, &hello(1003, "node"));
    second.told("members");
    drop(first);
    second.say(&json!({"type": "progress", "info_hash": hex::encode(HASH), "uploaded": 0, "downloaded": 5, "left": 0}));
    let next = conductor.told();
    assert_eq!(next["event"], "completed", "the member did not leave: {next}");
}

#[test]
fn a_link_hears_who_has_it_whole() {
    let conductor = Conductor::start();
    let mut one = link(conductor.v4, &hello(1003, "one"));
    one.told("members");
    let mut other = hello(1004, "other");
    other["peer_id"] = hex::encode(b"-OC0100-otherotherot").into();
    let mut two = link(conductor.v4, &other);
    two.told("members");
    two.say(&json!({"type": "progress", "info_hash": hex::encode(HASH), "uploaded": 0, "downloaded": 5, "left": 0}));
    assert_eq!(one.told("whole")["members"], json!([{"peer_id": other["peer_id"], "name": "other"}]));
}

#[test]
fn many_copies_are_told_in_pieces_and_each_once() {
    let conductor = Conductor::start();
    let mut liar = link(conductor.v4, &hello(1003, "first"));
    for n in 0..300u16 {
        let mut copy = hello(1003, &format!("copy {n}"));
        (copy["peer_id"], copy["left"]) = (json!(format!("{n:040x}")), json!(0));
        liar.say(&copy);
        liar.told("members");
    }
    let mut asker = link(conductor.v4, &hello(1004, "asker"));
    asker.told("members");
    let mut names = BTreeSet::new();
    while names.len() < 300 {
        let told = asker.told("whole");
        let members = told["members"].as_array().unwrap();
        assert!(members.len() <= 64, "{}", members.len());
        for member in members {
            assert!(names.insert(member["name"].as_str().unwrap().to_owned()), "{member} again");
        }
    }
    assert!(names.contains("copy 0") && names.contains("copy 299"));
}

/// One connection for all that a member shares; what is told names what it is about.
#[test]
fn one_link_carries_several_compositions() {
    let mut conductor = Conductor::start();
    let other = hex::encode([9; 20]);
    let mut link = link(conductor.v4, &hello(1003, "node"));
    link.told("members");
    let mut second = hello(1003, "node");
    second["info_hash"] = json!(other);
    link.say(&second);
    assert_eq!(link.told("members")["info_hash"], json!(other));
    assert_eq!(
        [conductor.event("joined"), conductor.event("joined")].map(|joined| joined["hash"].clone()),
        [json!(hex::encode(HASH)), json!(other)]
    );
    conductor.announce(&SEED, "");
    assert_eq!(link.told("changes")["info_hash"], json!(hex::encode(HASH)));
    conductor.event("joined");
    link.say(&json!({"type": "leave", "info_hash": other}));
    let left = conductor.event("left");
    assert_eq!((&left["hash"], &left["why"]), (&json!(other), &json!("stopped")));
    drop(link);
    let left = conductor.event("left");
    assert_eq!((&left["hash"], &left["why"]), (&json!(hex::encode(HASH)), &json!("gone")));
}

#[test]
fn a_newcomer_is_dialled_and_told_whether_it_is_reached() {
    let mut conductor = Conductor::start();
    let Some(outside) = outside(&conductor) else { return };
    let (listener, port) = door(outside.ip());
    let mut open = link(outside, &hello(port, "open"));
    assert_eq!(open.told("reach")["open"], true);
    assert!(listener.accept().is_ok());
    drop((open, listener));
    // Who only takes the place of its own link is not dialled again.
    conductor.event("left");
    let mut closed = link(outside, &hello(port, "closed"));
    let reach = closed.told("reach");
    assert_eq!((&reach["open"], &reach["address"]), (&json!(false), &json!(format!("{}:{port}", outside.ip()))));
    let page = page(&conductor);
    assert!(page.contains(&format!("open TCP port {port}")), "{page}");
}

/// Everybody comes from the loopback where a proxy stands before the conductor, and names any port.
#[test]
fn nobody_learns_what_answers_on_the_loopback_or_where_it_is_not() {
    let conductor = Conductor::start();
    let Some(outside) = outside(&conductor) else { return };
    let here = Ipv4Addr::LOCALHOST.into();
    let (inside, port) = door(here);
    inside.set_nonblocking(true).unwrap();
    let mut scanner = link(conductor.v4, &hello(port, "scanner"));
    scanner.told("members");
    for named in [here, outside.ip(), "10.255.255.1".parse().unwrap()] {
        let mut hello = hello(port, "scanner");
        hello["ip"] = json!(named);
        scanner.say(&hello);
        scanner.told("members");
    }
    // Newcomers are dialled in turn, and this one may be.
    let (_listener, port) = door(outside.ip());
    let mut other = hello(port, "other");
    other["peer_id"] = hex::encode(b"-OC0100-otherotherot").into();
    assert_eq!(link(outside, &other).told("reach")["open"], true);
    assert_eq!(inside.accept().map(drop).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    scanner.say(&json!({"type": "leave", "info_hash": hex::encode(HASH)}));
    scanner.0.close(None).unwrap();
    while let Ok(message) = scanner.0.read() {
        assert!(!message.to_text().is_ok_and(|text| text.contains("\"reach\"")), "{message}");
    }
}

#[test]
fn who_was_seen_is_not_put_out_by_who_names_its_address() {
    let conductor = Conductor::start();
    let named = |name: &str, id: &[u8; 20], key: u16, port: u16| {
        let mut hello = hello(port, name);
        hello["peer_id"] = hex::encode(id).into();
        hello["key"] = json!(key);
        hello
    };
    let mut watcher = link(conductor.v4, &named("watcher", b"-OC0100-watchwatchwa", 1, 1003));
    watcher.told("members");
    conductor.announce(&SEED, "&event=started");
    watcher.told("changes");
    let leave = json!({"type": "leave", "info_hash": hex::encode(HASH)});
    let attack = |source: u8, named: Option<&str>| {
        let stream = super::crowd::connect_from(source, conductor.v4);
        let mut attacker = open_over(stream, conductor.v4, None).unwrap_or_else(|status| panic!("status {status}"));
        let mut at_the_victims = hello(1001, "attacker");
        if let Some(named) = named {
            at_the_victims["ip"] = json!(named);
        }
        attacker.say(&at_the_victims);
        attacker.told("members");
        attacker.say(&leave);
        // What was said before is taken in once this is answered.
        attacker.say(&hello(1009, "attacker"));
        attacker.told("members");
        let there = super::addresses(&conductor.announce(&LEECHER, ""));
        assert!(there.contains(&"127.0.0.1:1001".to_owned()), "from {source}: {there:?}");
    };
    attack(2, Some("127.0.0.1"));
    // Who comes from the very address is kept off by the link that is kept from there.
    let mut victim = link(conductor.v4, &named("victim", SEED.id.as_bytes().try_into().unwrap(), SEED.port, SEED.port));
    victim.told("members");
    attack(1, None);
    // Nobody was told that it left, up to this.
    conductor.announce(&Member { id: "-OC0100-lastlastlast", port: 1099, left: 5 }, "");
    loop {
        let told = watcher.told("changes");
        let has = |key: &str, address: &str| told[key].as_array().is_some_and(|all| all.contains(&json!(address)));
        assert!(!has("left", "127.0.0.1:1001"), "{told}");
        if has("joined", "127.0.0.1:1099") {
            break;
        }
    }
}

#[test]
fn pages_of_others_and_nonsense_get_no_link() {
    let conductor = Conductor::start();
    assert_eq!(open(conductor.v4, Some(("origin", "http://evil.example"))).err(), Some(403));
    assert_eq!(open(conductor.v4, Some(("host", "evil.example"))).err(), Some(403));
    assert_eq!(get(conductor.v4, "/live").status, 400);
    for nonsense in [json!({"type": "song"}), json!([1]), json!({"type": "hello", "v": 1})] {
        let mut link = link(conductor.v4, &nonsense);
        assert!(!matches!(link.0.read(), Ok(Message::Text(_))), "{nonsense}");
    }
    let mut long = link(conductor.v4, &hello(1003, &"x".repeat(20_000)));
    assert!(!matches!(long.0.read(), Ok(Message::Text(_))), "a message that long is not read");
    assert_eq!(get(conductor.v4, "/health").status, 200);
}

fn page(conductor: &Conductor) -> String {
    let answer = get(conductor.v4, &format!("/c/{}", hex::encode(HASH)));
    assert_eq!(answer.status, 200, "{}", answer.head);
    String::from_utf8(answer.body).unwrap()
}

#[test]
fn the_page_shows_members_and_runs_no_name() {
    let conductor = Conductor::start();
    let index = get(conductor.v4, "/");
    assert_eq!(index.status, 200);
    assert!(index.head.contains("content-security-policy: default-src 'none';"), "{}", index.head);
    let mut link = link(conductor.v4, &hello(1003, "<script>alert(1)</script>"));
    link.told("members");
    let shown = page(&conductor);
    assert!(shown.contains("&lt;script&gt;alert(1)") && !shown.contains("<script>alert"), "{shown}");
    assert!(shown.contains("127.0.0.1:1003") && shown.contains("value=\"50\""), "{shown}");
    let hash = hex::encode(HASH);
    let until = Instant::now() + PATIENCE;
    // The page is made once a second at most.
    while !String::from_utf8(get(conductor.v4, "/").body).unwrap().contains(&format!("/c/{hash}")) {
        assert!(Instant::now() < until, "the page does not list it");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(get(conductor.v4, "/c/no-such").status, 404);
    for asset in ["/page.css", "/page.js"] {
        assert_eq!(get(conductor.v4, asset).status, 200);
    }
}

#[test]
fn numbers_are_served_elsewhere_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = super::command(folder.path());
    command.args(["--metrics", "127.0.0.1:0"]);
    let mut child = command.args(["--listen", "127.0.0.1:0", "--json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    let metrics: SocketAddr = listening["metrics"].as_str().unwrap().parse().unwrap();
    let there = String::from_utf8(ask(metrics, "/metrics").body).unwrap();
    let (killed, _) = (child.kill(), child.wait());
    assert!(killed.is_ok() && there.contains("orchestra_members 0"), "{there}");
}

#[test]
fn prometheus_reads_what_happened() {
    let conductor = Conductor::start();
    let mut link = link(conductor.v4, &hello(1003, "node"));
    link.told("members");
    conductor.announce(&SEED, "&event=started");
    conductor.announce(&SEED, "&event=stopped");
    let text = String::from_utf8(get(conductor.v4, "/metrics").body).unwrap();
    for line in [
        "orchestra_members 1",
        "orchestra_live_links 1",
        "orchestra_joins_total 2",
        "orchestra_leaves_total{why=\"stopped\"} 1",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is not in {text}");
    }
}
