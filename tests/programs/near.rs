//! Lists and names with no conductor anywhere: what is shared on the local network is listed, located and fetched by name.
//!
//! On hosts of their own, as in `lan`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    catalogue::http,
    network::{in_lab, lab, on},
    support::{Ended, Place, Program, bytes, conductor_command, listening},
};

struct Stage {
    place: Place,
    data: Vec<u8>,
}

impl Stage {
    /// So many hosts; there is `x.bin` on h1.
    fn new(hosts: &str) -> Self {
        lab(&["up", hosts]);
        let (place, data) = (Place::new(), bytes(1 << 20, 90));
        fs::write(place.folder("h1").join("x.bin"), &data).expect("written");
        Self { place, data }
    }

    /// A member on this host, which has a folder, a state and a name of its own there.
    fn command(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_member"));
        command.current_dir(self.place.folder(host)).args(arguments).env_remove("ORCHESTRA_NO_LAN");
        command.env("XDG_STATE_HOME", self.place.path(&format!("state-{host}")));
        command.env("ORCHESTRA_NAME", host).env("ORCHESTRA_JSON", "1");
        on(host, &command)
    }

    fn start(&self, host: &str, arguments: &[&str]) -> Program {
        Program::start(self.command(host, arguments))
    }

    /// A conductor on this host that says to the network that it is there.
    fn conductor(&self, host: &str, listen: &str) -> Program {
        let mut command = conductor_command(&self.place, listen);
        command.env_remove("ORCHESTRA_NO_LAN");
        listening(on(host, &command)).0
    }

    /// Shares `x.bin` on h1 with no conductor, once it is shared.
    fn sharer(&self, arguments: &[&str]) -> Program {
        let mut sharer = self.start("h1", &[&["share", "x.bin", "--no-conductor"], arguments].concat());
        sharer.event_named("sharing");
        sharer
    }

    /// What `member list` has there.
    fn list(&self, host: &str, arguments: &[&str]) -> Vec<Value> {
        self.start(host, &[&["list"], arguments].concat()).end().with(0).events().collect()
    }

    /// Asks until the list there is this: name, members, complete.
    #[track_caller]
    fn lists(&self, host: &str, expected: &[(&str, u64, u64)]) {
        let mut seen = Vec::new();
        for _ in 0..20 {
            let ended = self.start(host, &["list"]).end();
            let number = |entry: &Value, key: &str| entry[key].as_u64().expect("a number");
            seen = ended
                .events()
                .map(|e| (e["name"].to_string(), number(&e, "members"), number(&e, "complete")))
                .collect();
            if seen.iter().map(|(name, m, c)| (name.trim_matches('"'), *m, *c)).eq(expected.iter().copied()) {
                return;
            }
        }
        panic!("{host} lists {seen:?}, not {expected:?}");
    }

    fn get(&self, host: &str, name: &str) -> Ended {
        self.start(host, &["get", name, "--exit-when-done"]).end()
    }

    #[track_caller]
    fn is_whole(&self, host: &str) {
        assert!(
            fs::read(self.place.path(host).join("x.bin")).expect("a file") == self.data,
            "{host} has something else"
        );
    }
}

/// Whoever shares with no conductor named uses that of the network too. Others are led to the sharer itself, since anybody
/// may say on the network that it is a conductor.
#[test]
fn a_conductor_of_the_network_is_used() {
    in_lab("near::a_conductor_of_the_network_is_used", || {
        let stage = Stage::new("3");
        let _conductor = stage.conductor("h3", ":9999");
        let mut sharer = stage.start("h1", &["share", "x.bin"]);
        let sharing = sharer.event_named("sharing");
        assert_eq!(sharing["get"][0], "member get 10.77.0.11:9998/x.bin");
        stage.start("h2", &["get", "10.77.0.13/x.bin", "--no-lan", "--exit-when-done"]).end().with(0);
        stage.is_whole("h2");
    });
}

/// Three others list it, and fetch it by its name; a wrong name leads to the right one.
#[test]
fn what_is_shared_is_found_by_its_name() {
    in_lab("near::what_is_shared_is_found_by_its_name", || {
        let stage = Stage::new("5");
        let _sharer = stage.sharer(&[]);
        let listed = stage.list("h2", &[]);
        assert_eq!((listed.len(), &listed[0]["name"], &listed[0]["complete"]), (1, &"x.bin".into(), &1.into()));
        assert!(listed[0]["from"][0].as_str().is_some_and(|from| from.ends_with(":9998")), "{listed:?}");
        assert_eq!(stage.list("h2", &["--lan"])[0]["info_hash"], listed[0]["info_hash"]);
        stage.start("h2", &["list", "--no-lan"]).end().with(7);
        stage.start("h2", &["get", "y.bin", "--no-lan", "--timeout", "0"]).end().with(7);
        stage.start("h2", &["get", "x.bim", "--timeout", "0"]).end().with(10).says("did you mean x.bin?");
        for host in ["h3", "h4", "h5"] {
            stage.get(host, "x.bin").with(0);
            stage.is_whole(host);
        }
        let hash = listed[0]["info_hash"].as_str().expect("a hash");
        stage.get("h2", hash).with(0);
        stage.is_whole("h2");
    });
}

/// The one that shared it dies: it is on no list any more, and what it had is found where it was fetched.
#[test]
fn who_dies_vanishes_and_what_it_had_stays() {
    in_lab("near::who_dies_vanishes_and_what_it_had_stays", || {
        let stage = Stage::new("4");
        fs::write(stage.place.path("h1/only.bin"), bytes(70_000, 91)).expect("written");
        let sharer = stage.sharer(&["only.bin"]);
        let mut fetched = stage.start("h2", &["get", "x.bin"]);
        fetched.event_named("whole");
        stage.lists("h3", &[("only.bin", 1, 1), ("x.bin", 2, 2)]);
        sharer.signal(Signal::KILL);
        sharer.end();
        stage.lists("h3", &[("x.bin", 1, 1)]);
        let located = stage.start("h3", &["locate", "x.bin"]).end().with(0);
        let holders: Vec<Value> = located.events().collect();
        assert!(holders.len() == 1 && holders[0]["percent"] == 100, "{holders:?}");
        stage.get("h4", "x.bin").with(0);
        stage.is_whole("h4");
        fetched.signal(Signal::TERM);
        fetched.end().with(0);
        stage.start("h3", &["list"]).end().with(7).says("member share");
    });
}

/// Three members have a file of the folder each, none has all; the one that had left.
#[test]
fn parts_are_put_together_from_many() {
    in_lab("near::parts_are_put_together_from_many", || {
        let stage = Stage::new("5");
        let folder = stage.place.folder("h1/all");
        let files = ["a", "b", "c"].map(|name| (name, bytes(300_000, u64::from(name.as_bytes()[0]))));
        for (name, data) in &files {
            fs::write(folder.join(name), data).expect("written");
        }
        let mut compose = stage.place.command(env!("CARGO_BIN_EXE_composer"));
        compose.arg(&folder).args(["0.0.0.0:0", "16K", "-o"]).arg(stage.place.path("all.orch"));
        Program::start(compose).end().with(0);
        let manifest = stage.place.path("all.orch");
        let manifest = manifest.to_str().expect("UTF-8");
        let mut seed = stage.start("h1", &[manifest]);
        seed.event_named("whole");
        let some: Vec<Program> = [("h2", "a"), ("h3", "b"), ("h4", "c")]
            .into_iter()
            .map(|(host, only)| {
                let mut member = stage.start(host, &["get", "all", "--only", only]);
                member.event_named("whole");
                member
            })
            .collect();
        seed.signal(Signal::KILL);
        seed.end();
        stage.lists("h5", &[("all", 3, 0)]);
        stage.get("h5", "all").with(0);
        for (name, data) in &files {
            assert!(fs::read(stage.place.path("h5/all").join(name)).expect("a file") == *data, "{name}");
        }
        drop(some);
    });
}

#[test]
fn it_works_with_ipv6_alone() {
    in_lab("near::it_works_with_ipv6_alone", || {
        let stage = Stage::new("2");
        for host in ["h1", "h2"] {
            lab(&["run", host, "ip", "-4", "addr", "flush", "dev", "eth0"]);
        }
        let _sharer = stage.sharer(&[]);
        stage.lists("h2", &[("x.bin", 1, 1)]);
        stage.get("h2", "x.bin").with(0);
        stage.is_whole("h2");
    });
}

/// An address that means nothing without the interface that it is behind.
#[test]
fn it_works_with_link_local_addresses_alone() {
    in_lab("near::it_works_with_link_local_addresses_alone", || {
        let stage = Stage::new("2");
        for host in ["h1", "h2"] {
            lab(&["run", host, "ip", "-4", "addr", "flush", "dev", "eth0"]);
            lab(&["run", host, "ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global"]);
        }
        let _sharer = stage.sharer(&[]);
        stage.lists("h2", &[("x.bin", 1, 1)]);
        stage.get("h2", "x.bin").with(0);
        stage.is_whole("h2");
    });
}

/// h1 is on the first network, h3 on the second, h2 on both: what it fetches there is found here.
#[test]
fn a_member_on_two_networks_passes_it_on() {
    in_lab("near::a_member_on_two_networks_passes_it_on", || {
        let stage = Stage::new("3");
        lab(&["second", "h2", "both"]);
        lab(&["second", "h3"]);
        let _sharer = stage.sharer(&[]);
        stage.start("h3", &["list"]).end().with(7);
        let mut between = stage.start("h2", &["get", "x.bin"]);
        between.event_named("whole");
        stage.lists("h3", &[("x.bin", 1, 1)]);
        stage.get("h3", "x.bin").with(0);
        stage.is_whole("h3");
    });
}

/// A conductor is found there too, by its own word. It listens over IPv4 alone, and is asked so.
#[test]
fn conductors_are_found_too() {
    in_lab("near::conductors_are_found_too", || {
        let stage = Stage::new("4");
        let _conductor = stage.conductor("h4", "0.0.0.0:9999");
        let told = ["--no-lan", "--conductor", "10.77.0.14"];
        let _sharer = stage.start("h1", &[&["share", "x.bin"], &told[..]].concat());
        stage.lists("h2", &[("x.bin", 1, 1)]);
        let listed = stage.list("h2", &["--lan"]);
        assert!(listed[0]["from"][0].as_str().is_some_and(|from| from.ends_with(":9999")), "{listed:?}");
        stage.get("h2", "x.bin").with(0);
        stage.is_whole("h2");
        // A conductor that was named and is away is no error while somebody answers.
        let away = stage.start("h3", &["list", "--conductor", "10.77.0.13"]).end().with(0);
        away.says("10.77.0.13:9999 does not answer");
        away.says("x.bin");
    });
}

/// Members of one name tell themselves apart, and each of several things of one name can be had.
#[test]
fn names_may_be_taken() {
    in_lab("near::names_may_be_taken", || {
        let stage = Stage::new("3");
        let other = bytes(80_000, 92);
        fs::write(stage.place.folder("h2").join("x.bin"), &other).expect("written");
        let arguments = ["share", "x.bin", "--no-conductor", "--name", "same"];
        let _both = ["h1", "h2"].map(|host| {
            let mut sharer = stage.start(host, &arguments);
            sharer.event_named("sharing");
            sharer
        });
        stage.lists("h3", &[("x.bin", 1, 1), ("x.bin", 1, 1)]);
        stage.get("h3", "x.bin").with(2).says("may mean 2 compositions");
        let listed = stage.list("h3", &[]);
        let small = listed.iter().find(|entry| entry["size"] == other.len()).expect("the small one");
        stage.get("h3", small["info_hash"].as_str().expect("a hash")).with(0);
        assert!(fs::read(stage.place.path("h3/x.bin")).expect("a file") == other);
    });
}

/// What is asked of a member itself: the same as of a conductor, and nothing can be written. On this machine alone.
#[test]
fn a_member_answers_like_a_conductor_that_is_only_read() {
    let place = Place::new();
    let data = bytes(200_000, 93);
    fs::write(place.path("x.bin"), &data).expect("written");
    let share = |arguments: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args(["share", "x.bin", "--no-conductor", "--json", "--listen", "127.0.0.1", "--port", "0"]);
        command.args(arguments).env_remove("ORCHESTRA_NO_LAN");
        let mut sharer = Program::start(command);
        let port = sharer.event_named("sharing")["port"].as_u64().expect("a port");
        (sharer, format!("127.0.0.1:{port}"))
    };
    let (_sharer, address) = share(&[]);
    let ask = |arguments: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args(arguments).arg("--json");
        Program::start(command).end()
    };
    let listed = ask(&["list", "--conductor", &address]).with(0).events().next().expect("an entry");
    assert_eq!((&listed["name"], &listed["from"][0]), (&"x.bin".into(), &address.as_str().into()));
    let copy = place.path("copy");
    let copy = copy.to_str().expect("UTF-8");
    for named in [format!("{address}/x.bin"), format!("{address}/"), format!("http://{address}/compositions/x.bin")] {
        let _ = fs::remove_dir_all(copy);
        ask(&["get", &named, "-o", copy, "--exit-when-done", "--port", "0"]).with(0);
        assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data, "{named}");
    }
    let asks = |path: &str, headers: &str| http(&address, &format!("GET {path} HTTP/1.1\r\n{headers}\r\n")).0;
    let host = format!("Host: {address}\r\n");
    for (path, status) in [
        ("/compositions/x.bin.orch", 200),
        ("/compositions/x.bin/members", 200),
        ("/compositions/y.bin", 404),
        ("/compositions/alice/x.bin", 404),
        ("/compositions/a%2Fb", 400),
        ("/", 400),
    ] {
        assert_eq!(asks(path, &host), status, "{path}");
    }
    assert_eq!(asks("/compositions", "Host: evil.example\r\n"), 421);
    assert_eq!(asks("/compositions", ""), 400);
    let (_deaf, address) = share(&["--no-lan"]);
    let mut stream = TcpStream::connect(&address).expect("a member");
    let mut answer = Vec::new();
    let _ = stream.write_all(b"GET /compositions HTTP/1.1\r\nHost: x\r\n\r\n");
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}
