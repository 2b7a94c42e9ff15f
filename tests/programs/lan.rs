//! Without a conductor: members find each other on the local network, introduce each other, and remember each other.
//!
//! On hosts of their own, since on this machine every test at the same time would be the local network.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    foreign::client::Client,
    network::{in_lab, lab, on},
    support::{
        PATIENCE, Place, Program, bytes, compose, conductor_command, fetch, listening, member, member_command, port,
    },
};

const SIZE: usize = 4 << 20;

struct Stage {
    place: Place,
    manifest: PathBuf,
    data: Vec<u8>,
}

impl Stage {
    fn new(conductor: &str) -> Self {
        Self::with(conductor, &[])
    }

    fn with(conductor: &str, arguments: &[&str]) -> Self {
        let place = Place::new();
        let data = bytes(SIZE, 70);
        let manifest = compose(&place, "x.bin", &data, &[&[conductor, "64K"], arguments].concat());
        Self { place, manifest, data }
    }

    /// A member on this host that looks for others on the local network.
    fn near(&self, host: &str, arguments: &[&str]) -> Program {
        self.start(host, arguments, true)
    }

    /// A member on this host that does not.
    fn deaf(&self, host: &str, arguments: &[&str]) -> Program {
        self.start(host, arguments, false)
    }

    /// It shares `seed/x.bin` on h1 and fetches elsewhere; its state is its host's own.
    fn start(&self, host: &str, arguments: &[&str], near: bool) -> Program {
        let folder = self.place.path(if host == "h1" { "seed" } else { host });
        let mut command = member_command(&self.place, &self.manifest, &folder, arguments);
        command.env("XDG_STATE_HOME", self.place.path(&format!("state-{host}")));
        if near {
            command.env_remove("ORCHESTRA_NO_LAN");
        }
        Program::start(on(host, &command))
    }

    #[track_caller]
    fn is_whole(&self, host: &str) {
        let copy = fs::read(self.place.path(host).join("x.bin")).expect("a file");
        assert!(copy == self.data, "{host} has something else");
    }

    /// What all members wrote into their log.
    fn log(&self) -> String {
        fs::read_to_string(self.place.path("logs/member.log")).expect("a log")
    }
}

fn run(host: &str, command: &[&str]) {
    lab(&[&["run", host], command].concat());
}

/// Does this to a device of the network that joins the hosts.
fn set_link(device: &str, arguments: &[&str]) {
    let mut command = Command::new("ip");
    command.args(["link", "set", device]).args(arguments);
    Program::start(command).end().with(0);
}

/// Waits until it is connected to so many.
fn connects(program: &mut Program, count: u64) {
    program.event(&format!("that it has met {count}"), |event| event["members"].as_u64().is_some_and(|n| n >= count));
}

/// One waits for a seed, and one comes when a seed has long been there.
#[test]
fn members_meet_whoever_is_first() {
    in_lab("lan::members_meet_whoever_is_first", || {
        lab(&["up", "3"]);
        let stage = Stage::new("0.0.0.0:0");
        let early = stage.near("h2", &["--exit-when-done"]);
        let _seed = stage.near("h1", &[]);
        early.end().with(0);
        stage.is_whole("h2");
        stage.near("h3", &["--exit-when-done"]).end().with(0);
        stage.is_whole("h3");
    });
}

#[test]
fn who_is_not_to_look_there_meets_nobody_there() {
    in_lab("lan::who_is_not_to_look_there_meets_nobody_there", || {
        lab(&["up", "2"]);
        let stage = Stage::new("0.0.0.0:0");
        let _seed = stage.near("h1", &[]);
        stage.deaf("h2", &["--timeout", "4s"]).end().with(7);
    });
}

#[test]
fn members_meet_with_ipv6_alone() {
    in_lab("lan::members_meet_with_ipv6_alone", || {
        lab(&["up", "2"]);
        ["h1", "h2"].into_iter().for_each(|host| run(host, &["ip", "-4", "addr", "flush", "dev", "eth0"]));
        let stage = Stage::new("0.0.0.0:0");
        let _seed = stage.near("h1", &[]);
        stage.near("h2", &["--exit-when-done"]).end().with(0);
        stage.is_whole("h2");
        assert!(stage.log().contains("[fd77::11]:"), "{}", stage.log());
    });
}

/// Link-local addresses are nothing without the interface that they are behind.
#[test]
fn members_meet_with_link_local_addresses_alone() {
    in_lab("lan::members_meet_with_link_local_addresses_alone", || {
        lab(&["up", "2"]);
        for host in ["h1", "h2"] {
            run(host, &["ip", "-4", "addr", "flush", "dev", "eth0"]);
            run(host, &["ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global"]);
        }
        let stage = Stage::new("0.0.0.0:0");
        let _seed = stage.near("h1", &[]);
        stage.near("h2", &["--exit-when-done"]).end().with(0);
        stage.is_whole("h2");
    });
}

/// What is sent to the group is lost on its way, as on some access points.
#[test]
fn members_meet_where_multicast_fails() {
    in_lab("lan::members_meet_where_multicast_fails", || {
        lab(&["up", "2"]);
        // No IPv6 either: it has no broadcast.
        for host in ["h1", "h2"] {
            run(host, &["ip", "-6", "addr", "flush", "dev", "eth0"]);
        }
        set_link("labbr0", &["type", "bridge", "mcast_snooping", "0"]);
        ["lab1", "lab2"].into_iter().for_each(|port| set_link(port, &["type", "bridge_slave", "mcast_flood", "off"]));
        let stage = Stage::new("0.0.0.0:0");
        let _seed = stage.near("h1", &[]);
        stage.near("h2", &["--exit-when-done"]).end().with(0);
        stage.is_whole("h2");
    });
}

/// h1 is on the first network, h3 on the second, h2 on both: it hears both, and passes the parts on.
#[test]
fn a_member_on_two_networks_joins_them() {
    in_lab("lan::a_member_on_two_networks_joins_them", || {
        lab(&["up", "3"]);
        lab(&["second", "h2", "both"]);
        lab(&["second", "h3"]);
        let stage = Stage::new("0.0.0.0:0");
        let far = stage.near("h3", &["--exit-when-done"]);
        let _between = stage.near("h2", &[]);
        let _seed = stage.near("h1", &[]);
        far.end().with(0);
        stage.is_whole("h3");
    });
}

/// Other clients are met there too: one fetches from a member; that leaves, and another member has only the client.
/// But aria2 and Transmission, once whole, speak only every few minutes, and are heard then.
macro_rules! other_clients {
    ($($name:ident: $client:ident, $gives:literal;)*) => {$(
        #[test]
        fn $name() {
            if Client::$client.is_there() {
                in_lab(concat!("lan::", stringify!($name)), || meets(Client::$client, $gives));
            }
        }
    )*};
}

other_clients! {
    aria2: Aria2, false;
    libtorrent: Libtorrent, true;
    rqbit: Rqbit, true;
    transmission: Transmission, false;
}

fn meets(client: Client, gives: bool) {
    lab(&["up", "3"]);
    let stage = Stage::with("0.0.0.0:0", &["--torrent"]);
    let seed = stage.near("h1", &[]);
    let source = stage.manifest.with_extension("torrent");
    let _client = Program::start(on("h2", &client.near(&stage.place, &stage.place.path("h2"), source.as_os_str())));
    let until = Instant::now() + PATIENCE;
    while !fs::read(stage.place.path("h2/x.bin")).is_ok_and(|copy| copy == stage.data) {
        assert!(Instant::now() < until, "{client:?} has not got it; members said:\n{}", stage.log());
        thread::sleep(Duration::from_millis(100));
    }
    seed.signal(Signal::TERM);
    seed.end().with(0);
    if gives {
        stage.near("h3", &["--exit-when-done"]).end().with(0);
        stage.is_whole("h3");
    }
}

/// A cable is plugged in while the member runs.
#[test]
fn a_network_that_comes_later_is_looked_at_too() {
    in_lab("lan::a_network_that_comes_later_is_looked_at_too", || {
        lab(&["up", "2"]);
        run("h2", &["ip", "link", "set", "eth0", "down"]);
        run("h2", &["ip", "addr", "flush", "dev", "eth0"]);
        let stage = Stage::new("0.0.0.0:0");
        let mut waiting = stage.near("h2", &["--exit-when-done"]);
        port(&mut waiting);
        let _seed = stage.near("h1", &[]);
        run("h2", &["ip", "link", "set", "eth0", "up"]);
        run("h2", &["ip", "addr", "add", "10.77.0.12/24", "brd", "+", "dev", "eth0"]);
        waiting.end().with(0);
        stage.is_whole("h2");
    });
}

#[test]
fn only_the_interface_that_is_named_is_used() {
    in_lab("lan::only_the_interface_that_is_named_is_used", || {
        lab(&["up", "2"]);
        ["h1", "h2"].into_iter().for_each(|host| lab(&["second", host, "both"]));
        let stage = Stage::new("0.0.0.0:0");
        let _seed = stage.near("h1", &["--interface", "eth1"]);
        stage.near("h2", &["--interface", "eth0", "--timeout", "4s"]).end().with(7);
        stage.near("h2", &["--interface", "eth1", "--exit-when-done"]).end().with(0);
        stage.is_whole("h2");
    });
}

/// When the conductor dies, those who are there finish, and one that knows any one of them does too: it is told of the
/// others, and would not get everything else.
#[test]
fn a_swarm_outlives_its_conductor() {
    in_lab("lan::a_swarm_outlives_its_conductor", || {
        lab(&["up", "6", "30mbit"]);
        let stage = Stage::new("10.77.0.16");
        let (conductor, _) = listening(on("h6", &conductor_command(&stage.place, "10.77.0.16:9999")));
        let _seed = stage.deaf("h1", &[]);
        let mut fetching = ["h2", "h3", "h4"].map(|host| stage.deaf(host, &[]));
        let entrance = format!("10.77.0.12:{}", port(&mut fetching[0]));
        fetching[0].event("a tenth", |event| {
            let number = |key: &str| event[key].as_u64().unwrap_or(0);
            event["event"] == "progress" && number("bytes_done") * 10 >= number("bytes")
        });
        conductor.signal(Signal::KILL);
        conductor.end();
        let [mut entry, others @ ..] = fetching;
        let mut newcomer = stage.deaf("h5", &["--peer", &entrance, "--exit-when-done", "--download", "300K"]);
        newcomer.line("that the conductor is away", |line| line.contains("does not answer").then_some(()));
        // The one that it knew, the seed, and two more.
        connects(&mut newcomer, 4);
        entry.event_named("whole");
        entry.signal(Signal::KILL);
        newcomer.end().with(0);
        stage.is_whole("h5");
        for mut other in others {
            other.event_named("whole");
        }
    });
}

/// C knows only B, and B dies once it has introduced C to A.
#[test]
fn members_introduce_each_other() {
    let stage = Stage::new("0.0.0.0:0");
    let mut a = seed_of(&stage, &["--upload", "400K"]);
    let to_a = format!("127.0.0.1:{}", port(&mut a));
    let mut b = member(&stage.place, &stage.manifest, &stage.place.path("b"), &["--peer", &to_a]);
    let to_b = format!("127.0.0.1:{}", port(&mut b));
    connects(&mut b, 1);
    let mut c = member(&stage.place, &stage.manifest, &stage.place.path("c"), &["--peer", &to_b, "--exit-when-done"]);
    connects(&mut c, 2);
    b.signal(Signal::KILL);
    let last = c.end().with(0).last();
    assert_eq!(last["code"], 0);
    stage.is_whole("c");
}

fn seed_of(stage: &Stage, arguments: &[&str]) -> Program {
    member(&stage.place, &stage.manifest, &stage.place.path("seed"), arguments)
}

/// The second time nobody has to say where the seed is.
#[test]
fn who_was_reached_is_remembered() {
    let stage = Stage::new("0.0.0.0:0");
    let mut first = seed_of(&stage, &[]);
    let peer = format!("127.0.0.1:{}", port(&mut first));
    first.event_named("whole");
    fetch(&stage.place, &stage.manifest, "once", &["--peer", &peer]).with(0);
    fetch(&stage.place, &stage.manifest, "twice", &[]).with(0);
    stage.is_whole("twice");
    let mut forgetful = member_command(&stage.place, &stage.manifest, &stage.place.path("never"), &["--timeout", "2s"]);
    forgetful.env("XDG_STATE_HOME", stage.place.path("other-state"));
    Program::start(forgetful).end().with(7);
}

/// A conductor that is not there is said once, and everything else goes on.
#[test]
fn a_dead_conductor_is_said_in_one_line() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").to_string();
    let stage = Stage::new(&nobody);
    let mut seed = seed_of(&stage, &[]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    let ended = fetch(&stage.place, &stage.manifest, "copy", &["--peer", &peer, "--download", "1M"]).with(0);
    stage.is_whole("copy");
    let words = format!("conductor {nobody} does not answer");
    let warnings: Vec<_> = ended.events().filter(|event| event["event"] == "warning").collect();
    assert!(warnings.len() == 1 && warnings[0]["text"].as_str().is_some_and(|t| t.contains(&words)), "{warnings:?}");
}
