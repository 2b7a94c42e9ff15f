//! A conductor among other hosts: members beside it, and who asks it too much.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    network::{in_lab, lab, on},
    support::{PATIENCE, Place, Program, bytes, compose, conductor_command, listening, member_command, tool},
};

const SIZE: usize = 8 << 20;

/// A member on the conductor's own machine, which asks it over the loopback, is found by others and reached.
#[test]
fn a_member_beside_the_conductor_is_reached_from_elsewhere() {
    in_lab("hosts::a_member_beside_the_conductor_is_reached_from_elsewhere", beside_the_conductor);
}

/// The same with a conductor on another machine, which hears of that member through Redis.
#[test]
fn a_member_beside_one_conductor_is_reached_by_way_of_another() {
    if tool("redis-server", Command::new("redis-server").arg("--version")) {
        in_lab("hosts::a_member_beside_one_conductor_is_reached_by_way_of_another", by_way_of_another);
    }
}

/// One public address that asks for the catalogue again and again is told so, while others are answered.
#[test]
fn a_public_address_that_asks_too_much_is_told_so() {
    in_lab("hosts::a_public_address_that_asks_too_much_is_told_so", too_much_from_one);
}

/// More compositions than a public address may ask about at once: all are announced, at the pace that the conductor takes.
#[test]
fn many_files_are_shared_from_a_public_address() {
    in_lab("hosts::many_files_are_shared_from_a_public_address", many_from_a_public_address);
}

fn many_from_a_public_address() {
    const FILES: usize = 300;
    let place = Place::new();
    let mut add = Command::new("ip");
    add.args(["addr", "add", "8.8.8.8/32", "dev", "lo"]);
    Program::start(add).end().with(0);
    let (_conductor, address) = listening(conductor_command(&place, "0.0.0.0:0"));
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let folder = place.folder("many");
    (0..FILES).for_each(|n| fs::write(folder.join(format!("f{n}")), format!("{n}")).expect("written"));
    let mut share = place.command(env!("CARGO_BIN_EXE_member"));
    // It comes from the address that it asks.
    share.args(["share", "many", "--json", "--port", "0", "--conductor", &format!("8.8.8.8:{port}")]);
    let program = Program::start(share);
    let complete = || {
        let mut list = place.command(env!("CARGO_BIN_EXE_member"));
        list.args(["list", "--all", "--json", "--conductor", &format!("127.0.0.1:{port}")]);
        let listed = Program::start(list).end().with(0);
        listed.events().filter(|one| one["complete"] == 1).count()
    };
    let until = Instant::now() + 4 * PATIENCE;
    while complete() < FILES {
        assert!(Instant::now() < until, "{} of {FILES} are announced", complete());
    }
    program.signal(Signal::TERM);
    let ended = program.end().with(0);
    let warnings: Vec<_> = ended.events().filter(|event| event["event"] == "warning").collect();
    assert!(warnings.is_empty(), "{} warnings, such as {}", warnings.len(), warnings[0]);
}

fn beside_the_conductor() {
    let place = Place::new();
    lab(&["up", "2"]);
    let _conductor = listening(on("h1", &conductor_command(&place, ":9999")));
    let data = bytes(SIZE, 41);
    let manifest = compose(&place, "big.bin", &data, &["0.0.0.0:0"]);
    seed_on_h1_and_fetch_on_h2(&place, &manifest, &data, "127.0.0.1:9999", "10.77.0.11:9999");
}

fn by_way_of_another() {
    let place = Place::new();
    lab(&["up", "2"]);
    let mut redis = place.command("redis-server");
    redis.args(["--bind", "10.77.0.12", "--protected-mode", "no", "--save", "", "--dir"]).arg(place.folder("redis"));
    let mut redis = Program::start(on("h2", &redis));
    redis.line("that it is ready", |line| line.contains("Ready to accept connections").then_some(()));
    let conductor = |host| {
        let mut command = conductor_command(&place, ":9999");
        command.args(["--store", "redis://10.77.0.12/0", "--log-dir", "-"]);
        listening(on(host, &command)).0
    };
    let (_one, _other) = (conductor("h1"), conductor("h2"));
    let data = bytes(SIZE, 42);
    let manifest = compose(&place, "big.bin", &data, &["0.0.0.0:0"]);
    seed_on_h1_and_fetch_on_h2(&place, &manifest, &data, "127.0.0.1:9999", "127.0.0.1:9999");
}

fn too_much_from_one() {
    let place = Place::new();
    for address in ["8.8.8.8/32", "9.9.9.9/32"] {
        let mut add = Command::new("ip");
        add.args(["addr", "add", address, "dev", "lo"]);
        Program::start(add).end().with(0);
    }
    let (_conductor, address) = listening(conductor_command(&place, "0.0.0.0:0"));
    let port = address.rsplit(':').next().expect("a port").to_owned();
    // Who asks an address of this machine comes from that address.
    let ask = |ip: &str| {
        let mut stream = TcpStream::connect(format!("{ip}:{port}")).expect("a conductor");
        write!(stream, "GET /compositions HTTP/1.1\r\nHost: {ip}\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    let refused = (0..2000).position(|_| ask("8.8.8.8") == "429").expect("one that is refused");
    assert!(refused >= 100, "refused after {refused}");
    assert_eq!((ask("9.9.9.9").as_str(), ask("127.0.0.1").as_str()), ("200", "200"));
}

/// A seed on h1 and who fetches on h2 know a conductor each, and nothing else.
fn seed_on_h1_and_fetch_on_h2(place: &Place, manifest: &Path, data: &[u8], seeds: &str, fetches: &str) {
    let seed = member_command(place, manifest, &place.path("seed"), &["--no-lan", "--conductor", seeds]);
    let mut seed = Program::start(on("h1", &seed));
    seed.event_named("whole");
    let arguments = ["--no-lan", "--conductor", fetches, "--exit-when-done", "--timeout", "60s"];
    let mut fetching = member_command(place, manifest, &place.path("h2"), &arguments);
    fetching.env("XDG_STATE_HOME", place.path("state of h2"));
    Program::start(on("h2", &fetching)).end().with(0);
    assert!(fs::read(place.path("h2/big.bin")).expect("a file") == data);
}
