//! Search among neighbours, as people meet it: chains of members, a flood, and what is found is fetched.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use orchestra::{
    search::NEIGHBOURS,
    wire::{
        encode::encode,
        extension::{
            self,
            handshake::ExtensionHandshake,
            search::{Asks, Question, QuestionId, Talk},
        },
        handshake::{Handshake, PeerId},
        message::Message,
    },
};

use serde_json::Value;

use crate::{
    network::{in_lab, lab, on},
    support::{Ended, PATIENCE, Place, Program, bytes, compose, conductor, member_command, port},
};

const NEEDLE: &str = "The Needle in the hay.iso";

/// Members on this machine, each with a log of its own.
struct Stage {
    place: Place,
    hay: PathBuf,
    needle: PathBuf,
    data: Vec<u8>,
    members: Vec<Program>,
    ports: Vec<u64>,
}

impl Stage {
    fn new() -> Self {
        Self::with(&[])
    }

    /// What is shared names this conductor.
    fn with(conductor: &[&str]) -> Self {
        let place = Place::new();
        let data = bytes(200_000, 90);
        let needle = compose(&place, NEEDLE, &data, conductor);
        let hay = compose(&place, "hay.iso", &bytes(70_000, 91), conductor);
        Self { place, hay, needle, data, members: Vec::new(), ports: Vec::new() }
    }

    /// One more member, that shares this.
    fn starts(&mut self, manifest: &Path, arguments: &[&str]) {
        let nth = self.members.len();
        let mut command = member_command(&self.place, manifest, &self.place.path("seed"), arguments);
        command.arg("--log-dir").arg(self.place.path(&format!("log{nth}")));
        command.env("XDG_STATE_HOME", self.place.path(&format!("state{nth}"))).env("RUST_LOG", "orchestra=debug");
        let mut member = Program::start(command);
        self.ports.push(port(&mut member));
        self.members.push(member);
    }

    /// So many members in a chain; the last has the needle, the others hay.
    fn chain(count: usize) -> Self {
        let mut stage = Self::new();
        for nth in 0..count {
            let manifest = if nth + 1 == count { stage.needle.clone() } else { stage.hay.clone() };
            let before = stage.ports.last().map(|port| format!("127.0.0.1:{port}"));
            let named: Vec<&str> = before.iter().flat_map(|before| ["--neighbour", before]).collect();
            stage.starts(&manifest, &[&["--links", "0"], &named[..]].concat());
        }
        for nth in 0..count {
            let links = if nth == 0 || nth + 1 == count { 1 } else { 2 };
            stage.until(&format!("that member {nth} has {links} neighbours"), || {
                stage.log(nth).matches(" is a neighbour").count() == links
            });
        }
        stage
    }

    fn log(&self, nth: usize) -> String {
        fs::read_to_string(self.place.path(&format!("log{nth}/member.log"))).unwrap_or_default()
    }

    /// Waits until this is so.
    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "it did not come to pass {what}; the first logs:\n{}", self.log(0));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// `member search` or `member neighbours` with these arguments.
    fn asks(&self, arguments: &[&str]) -> Ended {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_member"));
        command.args(arguments).arg("--log-dir").arg(self.place.path("log of asker"));
        Program::start(command).end()
    }

    /// The same, of the first member.
    fn asks_first(&self, arguments: &[&str]) -> Ended {
        let first = format!("127.0.0.1:{}", self.ports[0]);
        self.asks(&[arguments, &["--neighbour", &first]].concat())
    }

    /// How often each member heard a question for this, and to how many all of them passed it on.
    fn heard(&self, text: &str) -> (Vec<usize>, u64) {
        let mut passed = 0;
        let count = |nth| {
            let log = self.log(nth);
            let lines = log.lines().filter(|line| line.contains(&format!("For({text:?})")));
            let lines: Vec<&str> = lines.collect();
            let last = |line: &&str| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number");
            passed += lines.iter().map(last).sum::<u64>();
            lines.len()
        };
        let counts = (0..self.members.len()).map(count).collect();
        (counts, passed)
    }
}

#[test]
fn nineteen_hops_reach_the_end_of_a_chain_of_twenty_and_five_do_not() {
    let stage = Stage::chain(20);
    let found = stage.asks_first(&["search", "needle", "HAY", "--hops", "19", "--json", "--timeout", "10s"]).with(0);
    let found: Vec<_> = found.events().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let last = format!("127.0.0.1:{}", stage.ports[19]);
    assert_eq!((&found[0]["name"], &found[0]["size"]), (&NEEDLE.into(), &stage.data.len().into()));
    assert_eq!((&found[0]["address"], &found[0]["hops"]), (&last.into(), &19.into()));
    let (heard, passed) = stage.heard("needle HAY");
    println!("19 hops: heard {heard:?} times, passed on {passed} times");
    assert_eq!((heard, passed), (vec![1; 20], 19));

    let none = stage.asks_first(&["search", "needle", "--hops", "5", "--timeout", "2s"]).with(4);
    none.says("5 hops");
    let (heard, passed) = stage.heard("needle");
    println!("5 hops: heard {heard:?} times, passed on {passed} times");
    assert_eq!((heard, passed), ([vec![1; 6], vec![0; 14]].concat(), 5));
}

#[test]
fn what_is_found_is_fetched_by_the_line_that_is_printed() {
    let stage = Stage::chain(3);
    let found = stage.asks_first(&["search", "needle", "--timeout", "3s"]).with(0);
    found.says("NAME");
    found.says(NEEDLE);
    let line = found.lines.iter().find(|line| line.starts_with("member get ")).expect("a command").clone();
    let mut command = stage.place.command(env!("CARGO_BIN_EXE_member"));
    command.args(line.split(' ').skip(1)).args(["--port", "0", "--exit-when-done", "--json", "-o"]);
    // Nothing answers there.
    command.arg(stage.place.path("copy")).env("ORCHESTRA_CONDUCTOR", "127.0.0.1:1");
    Program::start(command).end().with(0);
    assert!(fs::read(stage.place.path("copy").join(NEEDLE)).expect("a file") == stage.data);
}

#[test]
fn neighbours_are_shown_and_theirs() {
    let stage = Stage::chain(4);
    let shown = stage.asks_first(&["neighbours", "--json", "--timeout", "3s"]).with(0);
    let shown: Vec<_> = shown.events().map(|line| (line["hops"].as_u64(), line["links"].as_u64())).collect();
    assert_eq!(shown, [(Some(0), Some(1)), (Some(1), Some(2)), (Some(2), Some(2))]);
    let text = stage.asks_first(&["neighbours", "--timeout", "3s"]).with(0);
    text.says("COMPOSITIONS");
    text.says(concat!("Orchestra ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn who_wants_no_search_is_not_asked() {
    let mut stage = Stage::new();
    let needle = stage.needle.clone();
    stage.starts(&needle, &["--no-search"]);
    stage.asks_first(&["search", "needle", "--timeout", "1s"]).with(7).says("--neighbour");
    assert_eq!(stage.asks_first(&["search", " "]).status.code(), Some(2));
}

/// Members of one conductor become neighbours, whatever they share; and the conductor tells of none of it.
#[test]
fn a_conductor_makes_neighbours() {
    let mut stage = Stage::new();
    let (conducting, address) = conductor(&stage.place, "127.0.0.1:0");
    let (hay, needle) = (stage.hay.clone(), stage.needle.clone());
    stage.starts(&hay, &["--conductor", &address]);
    stage.starts(&needle, &["--conductor", &address]);
    stage.until("that both are neighbours", || stage.log(1).contains(" is a neighbour"));
    let found = stage.asks(&["search", "needle", "--conductor", &address, "--json", "--timeout", "5s"]).with(0);
    let there = format!("127.0.0.1:{}", stage.ports[1]);
    assert!(found.events().any(|line| line["address"] == there && line["name"] == NEEDLE), "{:?}", found.lines);
    conducting.signal(rustix::process::Signal::TERM);
    let told = conducting.end().with(0);
    let joined: Vec<_> = told.events().filter(|event| event["event"] == "joined").collect();
    assert_eq!(joined.len(), 2, "{joined:?}");
}

/// A neighbour that asks as fast as its connection takes it, and reads no answers.
struct Flooder {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Flooder {
    fn start(port: u64) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port as u16)).expect("a member");
        let id = PeerId(*b"-XX0001-flooderflood");
        let ours = Handshake { info_hash: NEIGHBOURS, id, extended: true, fast: true, dht: false };
        stream.write_all(&ours.encode()).expect("sent");
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs).expect("an answer");
        let hello = ExtensionHandshake { search: Some(4), port: Some(9), ..Default::default() };
        let mut first = Vec::new();
        encode(&Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() }, &mut first);
        stream.write_all(&first).expect("sent");
        stream.set_write_timeout(Some(Duration::from_millis(100))).expect("set");
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), asked.clone());
        thread::spawn(move || {
            for n in 0u64.. {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&n.to_be_bytes());
                let question = Question { id: QuestionId(id), hops: 7, asks: Asks::For("hay".to_owned()) };
                let mut out = Vec::new();
                let payload = Talk::Question(question).encode();
                encode(&Message::Extended { id: extension::OUR_SEARCH, payload }, &mut out);
                let mut rest = &out[..];
                while !rest.is_empty() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    match stream.write(rest) {
                        Ok(written) => rest = &rest[written..],
                        // It is made to wait.
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, asked }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a process holds in memory, in KiB.
fn memory(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid().as_raw_nonzero())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_neighbour_that_floods_holds_nobody_up_and_fills_no_memory() {
    let stage = Stage::chain(2);
    let before = memory(&stage.members[0]);
    let flooder = Flooder::start(stage.ports[0]);
    let start = Instant::now();
    stage.until("that ten thousand were asked", || flooder.asked() >= 10_000);
    println!("{} questions asked in {:?}", flooder.asked(), start.elapsed());
    stage.until("that the flood is heard", || stage.heard("hay").0[0] > 300);
    for _ in 0..3 {
        stage.asks_first(&["search", "needle", "--timeout", "3s"]).with(0).says(NEEDLE);
    }
    let (after, asked) = (memory(&stage.members[0]), flooder.asked());
    let (heard, passed) = (stage.heard("hay").0[0], stage.heard("hay").0[1]);
    println!(
        "{asked} questions asked in {:?}: {heard} read and {passed} passed on; memory {before} to {after} KiB",
        start.elapsed()
    );
    assert!(heard > 100 && passed > 0, "the flood was not heard");
    assert!((heard as u64) < asked, "all of the flood was read");
    assert!(after < before + (24 << 10), "{before} KiB became {after}");
}

/// On a network of its own: nobody is named, and no conductor there.
#[test]
fn members_of_a_network_are_neighbours() {
    in_lab("search::members_of_a_network_are_neighbours", || {
        lab(&["up", "3"]);
        let stage = Stage::new();
        let start = |host: &str, manifest: &Path| {
            let folder = stage.place.path("seed");
            let mut command = member_command(&stage.place, manifest, &folder, &["--log-dir"]);
            command.arg(stage.place.path(&format!("log of {host}"))).env_remove("ORCHESTRA_NO_LAN");
            command.env("XDG_STATE_HOME", stage.place.path(&format!("state of {host}")));
            let mut member = Program::start(on(host, &command));
            member.event_named("whole");
            member
        };
        let _members = [start("h1", &stage.needle), start("h2", &stage.hay)];
        let ask = |host: &str, words: &[&str]| {
            let mut command = stage.place.command(env!("CARGO_BIN_EXE_member"));
            command.args(words).args(["--json", "--timeout", "5s"]).env_remove("ORCHESTRA_NO_LAN");
            Program::start(on(host, &command)).end().with(0)
        };
        let found = ask("h3", &["search", "needle"]);
        let addresses: Vec<_> = found.events().map(|line| line["address"].to_string()).collect();
        assert!(addresses.iter().any(|at| at.contains("10.77.0.11") || at.contains("fd77::11")), "{addresses:?}");
        let who = ask("h2", &["neighbours"]);
        // How far away they are depends on which of them was met first.
        for address in [".11:", ".12:"] {
            let at = |line: &Value| {
                line["address"].as_str().is_some_and(|at| at.replace("fd77::", ".").replace(']', "").contains(address))
            };
            assert!(who.events().any(|line| at(&line)), "{:?}", who.lines);
        }
    });
}
