//! Members on hosts of their own, behind links of a known rate.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Place, Program, bytes, compose, conductor_command, listening, member_command, skip, tool};

const SIZE: usize = 8 << 20;

/// Two members fetch over links of 50 Mbit/s: the seed sends not much more than one copy, they help each other.
#[test]
fn three_hosts_on_shaped_links() {
    in_a_lab("network::three_hosts_on_shaped_links", shaped_links);
}

/// A member on the conductor's own machine, which asks it over the loopback, is found by others and reached.
#[test]
fn a_member_beside_the_conductor_is_reached_from_elsewhere() {
    in_a_lab("network::a_member_beside_the_conductor_is_reached_from_elsewhere", beside_the_conductor);
}

/// The same with a conductor on another machine, which hears of that member through Redis.
#[test]
fn a_member_beside_one_conductor_is_reached_by_way_of_another() {
    if tool("redis-server", Command::new("redis-server").arg("--version")) {
        in_a_lab("network::a_member_beside_one_conductor_is_reached_by_way_of_another", by_way_of_another);
    }
}

/// One public address that asks for the catalogue again and again is told so, while others are answered.
#[test]
fn a_public_address_that_asks_too_much_is_told_so() {
    in_a_lab("network::a_public_address_that_asks_too_much_is_told_so", too_much_from_one);
}

/// Runs this test again, where it is alone with a lab.
fn in_a_lab(name: &str, test: impl FnOnce()) {
    if env::var_os("NETLAB_ALONE").is_some() {
        return test();
    }
    if !tool("ip (iproute2)", Command::new("ip").arg("-V")) {
        return;
    }
    let mut alone = Command::new(netlab());
    alone.arg("alone").arg(env::current_exe().expect("a path")).args(["--exact", name, "--nocapture"]);
    let ended = Program::start(alone).end();
    match ended.status.code() {
        Some(77) => skip("network namespaces are not allowed here"),
        _ => drop(ended.with(0)),
    }
}

fn up(arguments: &[&str]) {
    let mut up = Command::new(netlab());
    up.arg("up").args(arguments);
    Program::start(up).end().with(0);
}

fn beside_the_conductor() {
    let place = Place::new();
    up(&["2"]);
    let _conductor = listening(on("h1", &conductor_command(&place, ":9999")));
    let data = bytes(SIZE, 41);
    let manifest = compose(&place, "big.bin", &data, &["0.0.0.0:0"]);
    seed_on_h1_and_fetch_on_h2(&place, &manifest, &data, "127.0.0.1:9999", "10.77.0.11:9999");
}

fn by_way_of_another() {
    let place = Place::new();
    up(&["2"]);
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
    let fetching = member_command(place, manifest, &place.path("h2"), &arguments);
    Program::start(on("h2", &fetching)).end().with(0);
    assert!(fs::read(place.path("h2/big.bin")).expect("a file") == data);
}

fn shaped_links() {
    let place = Place::new();
    up(&["3", "50mbit"]);
    let (_conductor, _) = listening(on("h1", &conductor_command(&place, "10.77.0.11:9999")));
    let data = bytes(SIZE, 40);
    let manifest = compose(&place, "big.bin", &data, &["10.77.0.11", "64K"]);
    let seed = member_command(&place, &manifest, &place.path("seed"), &["--until-all", "2"]);
    let mut seed = Program::start(on("h1", &seed));
    seed.event_named("whole");
    let fetching = ["h2", "h3"].map(|host| {
        // Each stays until the other has it too.
        let command = member_command(&place, &manifest, &place.path(host), &["--until-all", "2"]);
        (host, Program::start(on(host, &command)))
    });
    for (host, program) in fetching {
        program.end().with(0);
        assert!(fs::read(place.path(host).join("big.bin")).expect("a file") == data, "{host} has something else");
    }
    let sent = seed.end().with(0).last()["uploaded"].as_u64().expect("a number");
    assert!(sent < SIZE as u64 * 3 / 2, "the seed sent {sent} bytes of {SIZE}: the two did not help each other");
}

fn netlab() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lab/netlab")
}

/// The same command on this host of the lab.
fn on(host: &str, command: &Command) -> Command {
    let mut there = Command::new(netlab());
    there.args(["run", host]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => there.env(name, value),
            None => there.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        there.current_dir(folder);
    }
    there
}
