//! What `--until-all` counts: machines that were seen over a connection to have everything, each once.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use rustix::process::Signal;

use crate::support::{Ended, Place, Program, bytes, compose, conductor, member, member_command, port};

/// Starts the member `name` three times in one folder; each time it shares its copy for a while.
fn lives(place: &Place, manifest: &Path, name: &str, folder: &str, arguments: &[&str]) {
    for _ in 0..3 {
        let arguments = [&["--name", name, "--seed-time", "1s"], arguments].concat();
        member(place, manifest, &place.path(folder), &arguments).end().with(0);
    }
}

/// What it told of the copies that were whole, each time that it did.
fn told(ended: &Ended) -> Vec<String> {
    let told = ended.events().filter(|event| event["event"] == "copies");
    told.map(|event| event["whole"].to_string()).collect()
}

#[test]
fn a_conductor_counts_a_folder_once() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 70), &[&address]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &["--name", "seed", "--until-all", "3"]);
    seed.event_named("whole");
    lives(&place, &manifest, "vm", "copy", &[]);
    let waits = ["--name", "vm", "--until-all", "3", "--timeout", "2s"];
    member(&place, &manifest, &place.path("copy"), &waits).end().with(8).says("2 of 3 have it whole");
    // The same name, and another machine: another copy.
    lives(&place, &manifest, "vm", "other", &[]);
    let ended = seed.end().with(0);
    assert_eq!(told(&ended).last().map(String::as_str), Some(r#"["seed","vm","vm"]"#));
}

#[test]
fn neighbours_count_a_folder_once() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(400_000, 71), &[]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &["--name", "seed", "--until-all", "3"]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    seed.event_named("whole");
    lives(&place, &manifest, "vm", "copy", &["--peer", &peer]);
    lives(&place, &manifest, "node2", "other", &["--peer", &peer]);
    let ended = seed.end().with(0);
    assert_eq!(told(&ended), [r#"["seed"]"#, r#"["seed","vm"]"#, r#"["node2","seed","vm"]"#]);
}

/// A member in this folder that counts as this machine; `None`: as the one that it runs on.
fn on_machine(place: &Place, manifest: &Path, folder: &str, machine: Option<&str>, arguments: &[&str]) -> Program {
    let mut command = member_command(place, manifest, &place.path(folder), arguments);
    match machine {
        Some(machine) => command.env("ORCHESTRA_MACHINE", machine),
        None => command.env_remove("ORCHESTRA_MACHINE"),
    };
    Program::start(command)
}

#[test]
fn folders_of_one_machine_count_once() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(400_000, 72), &[]);
    let mut seed = on_machine(&place, &manifest, "seed", None, &["--name", "seed", "--until-all", "3"]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    seed.event_named("whole");
    let fetch = ["--peer", &peer, "--exit-when-done", "--name", "vm"];
    // Two more folders of the seed's machine, then two of another.
    for (folder, machine) in [("a", None), ("b", None), ("c", Some("m2")), ("d", Some("m2"))] {
        on_machine(&place, &manifest, folder, machine, &fetch).end().with(0);
    }
    let two = seed.event("two machines", |event| event["event"] == "copies" && event["copies"] == 2);
    assert_eq!(two["whole"], serde_json::json!(["seed", "vm"]));
    on_machine(&place, &manifest, "e", Some("m3"), &fetch).end().with(0);
    let ended = seed.end().with(0);
    assert_eq!(told(&ended), [r#"["seed"]"#, r#"["seed","vm"]"#, r#"["seed","vm","vm"]"#]);
}

/// A live link of a stranger, by hand: text frames of a WebSocket client.
struct Stranger(TcpStream);

impl Stranger {
    fn connect(conductor: &str) -> Self {
        let mut stream = TcpStream::connect(conductor).expect("a connection");
        let request = format!(
            "GET /live HTTP/1.1\r\nHost: {conductor}\r\nSec-Orchestra: member\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// Reads until the conductor has said this.
    fn hear(&mut self, words: &str) {
        let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&heard).contains(words) {
            let count = self.0.read(&mut buffer).expect("an answer");
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&buffer[..count]);
        }
    }

    /// A member of this swarm that lacks so many bytes.
    fn hello(&mut self, info_hash: &str, n: u32, left: u32) {
        self.say(&format!(
            r#"{{"type":"hello","v":1,"info_hash":"{info_hash}","peer_id":"{n:040x}","key":{n},"port":{},"near":[],"name":"invented{n}","copy":"{n:016x}","uploaded":0,"downloaded":0,"left":{left},"rate_up":0,"rate_down":0,"map":""}}"#,
            40_000 + n
        ));
    }

    fn say(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
        // A mask of zeros leaves the text as it is.
        let frame = [&[0x81, 0xfe, length[0], length[1], 0, 0, 0, 0], text.as_bytes()].concat();
        self.0.write_all(&frame).expect("sent");
    }
}

#[test]
fn invented_members_of_a_conductor_do_not_count() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 73), &[&address]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &["--name", "seed", "--until-all", "20"]);
    let start = seed.event_named("start");
    seed.event_named("whole");
    let info_hash = start["info_hash"].as_str().expect("an info-hash");
    // One that lacks something stays, so that the conductor remembers the others whoever else is there.
    let mut stays = Stranger::connect(&address);
    stays.hello(info_hash, 99, 5);
    stays.hear("members");
    let mut stranger = Stranger::connect(&address);
    for n in 0..19 {
        stranger.hello(info_hash, n, 0);
        // One composition of a link is one member: the next is told of as another.
        stranger.say(&format!(r#"{{"type":"leave","info_hash":"{info_hash}"}}"#));
    }
    let claimed = seed.event("claims", |event| {
        event["event"] == "copies" && event["claimed"].as_array().is_some_and(|claimed| claimed.len() == 19)
    });
    assert_eq!((&claimed["copies"], &claimed["wanted"]), (&1.into(), &20.into()));
    seed.signal(Signal::TERM);
    let ended = seed.end().with(8);
    assert_eq!(told(&ended).last().map(String::as_str), Some(r#"["seed"]"#));
}

#[test]
fn a_host_may_be_listed_by_its_address() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(400_000, 74), &[]);
    fs::write(place.path("hosts"), "127.0.0.1\n127.0.0.9 # by its address\n").expect("written");
    let waits = ["--until-all", "@hosts", "--listen", "127.0.0.1"];
    let mut waits = member(&place, &manifest, &place.path("seed"), &waits);
    let peer = format!("127.0.0.1:{}", port(&mut waits));
    let copies = waits.event_named("copies");
    assert_eq!(
        (&copies["whole"], &copies["lacking"]),
        (&serde_json::json!(["127.0.0.1"]), &serde_json::json!(["127.0.0.9"]))
    );
    let fetch = ["--exit-when-done", "--peer", &peer, "--listen", "127.0.0.9", "--name", "127.0.0.8"];
    member(&place, &manifest, &place.path("nine"), &fetch).end().with(0);
    waits.end().with(0);
}
