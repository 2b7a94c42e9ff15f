//! When `member share` ends by itself, with what code; and what it does about a conductor that is busy for a while.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::process::Signal;

use crate::support::{PATIENCE, Place, Program, bytes, conductor};

fn command(place: &Place, word: &str, arguments: &[&str]) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.arg(word).args(arguments);
    command
}

/// `member share` of this path, with `--json`, at this conductor, as the machine `seed`.
fn share(place: &Place, path: &Path, conductor: &str, arguments: &[&str]) -> Program {
    let path = path.to_str().expect("UTF-8");
    let arguments = [&[path, "--conductor", conductor, "--port", "0", "--json"], arguments].concat();
    let mut command = command(place, "share", &arguments);
    command.env("ORCHESTRA_MACHINE", "seed").env("ORCHESTRA_NAME", "seed");
    Program::start(command)
}

/// `member get` of this name by this machine, until it is whole.
fn get(place: &Place, machine: &str, name: &str) {
    let folder = place.path(machine);
    let folder = ["-o", folder.to_str().expect("UTF-8"), "--exit-when-done", "--json", "--port", "0"];
    let mut command = command(place, "get", &[&[name][..], &folder].concat());
    command.env("ORCHESTRA_MACHINE", machine).env("ORCHESTRA_NAME", machine);
    Program::start(command).end().with(0);
}

/// Names that this conductor lists.
fn names(place: &Place, conductor: &str) -> Vec<String> {
    let list = command(place, "list", &["--all", "--json", "--conductor", conductor]);
    let listed = Program::start(list).end().with(0);
    listed.events().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

/// Waits until this conductor lists these.
fn wait_until_listed(place: &Place, conductor: &str, all: &[&str]) {
    let until = Instant::now() + PATIENCE;
    while names(place, conductor) != all {
        assert!(Instant::now() < until, "{all:?} are not listed");
    }
}

#[test]
fn it_ends_when_all_machines_have_all_that_is_shared() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("isos");
    fs::write(folder.join("a.iso"), bytes(300_000, 1)).expect("written");
    fs::write(folder.join("b.iso"), bytes(200_000, 2)).expect("written");
    let program = share(&place, &folder, &address, &["--until-all", "3"]);
    wait_until_listed(&place, &address, &["a.iso", "b.iso"]);
    for (machine, name) in [("one", "a.iso"), ("one", "b.iso"), ("two", "a.iso")] {
        get(&place, machine, &format!("{address}/{name}"));
    }
    // It sleeps in between, and counts on where it was.
    get(&place, "two", &format!("{address}/b.iso"));
    let ended = program.end().with(0);
    let last = |name: &str| ended.events().filter(|event| event["event"] == "copies" && event["name"] == name).last();
    for name in ["a.iso", "b.iso"] {
        assert_eq!(last(name).expect("copies are told")["whole"], serde_json::json!(["one", "seed", "two"]));
    }
    assert_eq!(ended.last()["code"], 0);
}

#[test]
fn it_says_what_others_lack_and_ends_with_8() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let file = place.path("a.iso");
    fs::write(&file, bytes(300_000, 3)).expect("written");
    fs::write(place.path("hosts"), "seed\none\ntwo\n").expect("written");
    let mut program = share(&place, &file, &address, &["--until-all", "@hosts"]);
    program.event_named("sharing");
    wait_until_listed(&place, &address, &["a.iso"]);
    get(&place, "one", &format!("{address}/a.iso"));
    program.event("one more", |event| event["event"] == "copies" && event["copies"] == 2);
    program.signal(Signal::TERM);
    let ended = program.end().with(8);
    let copies = ended.events().filter(|event| event["event"] == "copies").last().expect("copies are told");
    assert_eq!(copies["lacking"], serde_json::json!(["two"]));
    assert_eq!(ended.last()["code"], 8);
    share(&place, &file, &address, &["--until-all", "2", "--timeout", "1s"]).end().with(8);
}

#[test]
fn the_first_condition_that_is_met_ends_it() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let file = place.path("a.iso");
    fs::write(&file, bytes(300_000, 4)).expect("written");
    share(&place, &file, &address, &["--exit-when-done"]).end().with(0);
    assert_eq!(names(&place, &address), ["a.iso"], "it is registered before it ends");
    share(&place, &file, &address, &["--seed-time", "1s", "--seed-ratio", "100"]).end().with(0);
    let mut program = share(&place, &file, &address, &["--seed-ratio", "1", "--seed-time", "1h"]);
    program.event_named("sharing");
    get(&place, "one", &format!("{address}/a.iso"));
    assert!(program.end().with(0).last()["uploaded"].as_u64().expect("a number") >= 300_000);
}

#[test]
fn what_was_sent_last_counts() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let file = place.path("a.iso");
    fs::write(&file, bytes(300_000, 5)).expect("written");
    let mut program = share(&place, &file, &address, &[]);
    program.event_named("sharing");
    wait_until_listed(&place, &address, &["a.iso"]);
    get(&place, "one", &format!("{address}/a.iso"));
    program.signal(Signal::TERM);
    assert_eq!(program.end().with(0).last()["uploaded"], 300_000);
}

/// Stands before a conductor, and answers its first writes with these.
fn busy(conductor: &str, refusals: Vec<&'static str>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address").to_string();
    let (refused, conductor) = (Arc::new(AtomicUsize::new(0)), conductor.to_owned());
    let count = refused.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (count, conductor, refusals) = (count.clone(), conductor.clone(), refusals.clone());
            thread::spawn(move || pass_on(stream, &conductor, &refusals, &count));
        }
    });
    (address, refused)
}

/// One request on this connection: refused, or passed on to the conductor.
fn pass_on(mut stream: TcpStream, conductor: &str, refusals: &[&str], refused: &AtomicUsize) -> Option<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&buffer[..count]);
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    while request.len() < end + 4 + length.unwrap_or(0) {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&buffer[..count]);
    }
    let is_write = head.starts_with("PUT /compositions") || head.starts_with("POST /compositions");
    let refusal = match is_write {
        true => refusals.get(refused.load(Ordering::SeqCst)),
        false => head.starts_with("GET /live").then_some(&"404 Not Found"),
    };
    if let Some(status) = refusal {
        refused.fetch_add(usize::from(is_write), Ordering::SeqCst);
        return stream
            .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
            .ok();
    }
    let mut there = TcpStream::connect(conductor).ok()?;
    let head: Vec<_> = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
    let head = format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n"));
    there.write_all(head.as_bytes()).and_then(|()| there.write_all(&request[end + 4..])).ok()?;
    std::io::copy(&mut there, &mut stream).ok().map(drop)
}

#[test]
fn a_conductor_that_is_busy_for_a_while_gets_everything_in_the_end() {
    let place = Place::new();
    let (_conductor, real) = conductor(&place, "127.0.0.1:0");
    let refusals = ["429 Too Many Requests\r\nRetry-After: 1", "503 Service Unavailable", "502 Bad Gateway"];
    let (address, refused) = busy(&real, refusals.to_vec());
    let folder = place.folder("isos");
    let all: Vec<_> = (0..5).map(|n| format!("f{n}")).collect();
    all.iter().zip(0..).for_each(|(name, n)| fs::write(folder.join(name), bytes(20_000, n)).expect("written"));
    let mut program = share(&place, &folder, &address, &["--exit-when-done"]);
    let warning = program.event_named("warning");
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("busy")), "{warning}");
    let ended = program.end().with(0);
    assert_eq!(ended.events().filter(|event| event["event"] == "warning").count(), 1, "it is said once");
    assert_eq!((names(&place, &real), refused.load(Ordering::SeqCst)), (all, 3));
}
