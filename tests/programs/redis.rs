//! Several conductors on one Redis, as members and their people meet them; and what is left when Redis goes away.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Ended, PATIENCE, Place, Program, bytes, compose, conductor_command, listening, member, member_command, seed, tool,
};

/// A Redis on a free port that keeps what it has in a folder of the test's, if it keeps anything.
struct Redis {
    child: Child,
    address: SocketAddr,
}

/// Whether this Redis answers there: it may be that of another test, that took the port.
fn is_served_by(child: &Child, address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut said = Vec::new();
    // It closes when it is told to; somebody else may say nothing at all.
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let asked = stream.write_all(b"INFO server\r\nQUIT\r\n").and_then(|()| stream.read_to_end(&mut said));
    asked.is_ok() && String::from_utf8_lossy(&said).contains(&format!("process_id:{}\r\n", child.id()))
}

impl Redis {
    /// None where there is no Redis on this machine.
    fn start(place: &Place) -> Option<Self> {
        if !tool("redis-server", Command::new("redis-server").arg("--version")) {
            return None;
        }
        // Between the look for a free port and Redis' own bind somebody else may take it.
        (0..10).find_map(|_| {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
            Self::start_at(place, free)
        })
    }

    /// None where the port is taken.
    fn start_at(place: &Place, address: SocketAddr) -> Option<Self> {
        let mut command = place.command("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.arg("--dir").arg(place.folder("redis")).stdout(Stdio::null());
        let mut child = command.spawn().expect("redis-server");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && child.try_wait().expect("a child").is_none() {
            if is_served_by(&child, address) {
                return Some(Self { child, address });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Kills it: nothing is kept. Gives where it was.
    fn kill(mut self) -> SocketAddr {
        self.child.kill().expect("killed");
        self.child.wait().expect("a child");
        self.address
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    fn conductor(&self, place: &Place) -> (Program, String) {
        conductor(place, self.address)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn conductor(place: &Place, redis: SocketAddr) -> (Program, String) {
    let mut command = conductor_command(place, "127.0.0.1:0");
    // Conductors have logs of their own.
    command.args(["--store", &format!("redis://{redis}/3"), "--log-dir", "-"]).env("RUST_LOG", "debug");
    listening(command)
}

/// Waits until this conductor says that somebody joined whom it heard of.
fn joined(conductor: &mut Program) {
    conductor.event_named("joined");
}

fn warned(conductor: &mut Program, words: &str) {
    conductor.event(words, |event| {
        event["event"] == "warning" && event["text"].as_str().is_some_and(|text| text.contains(words))
    });
}

const NO_CONDUCTOR: &str = "0.0.0.0:0";

/// A member that knows this conductor alone, and remembers nobody.
fn member_of(place: &Place, manifest: &Path, folder: &str, conductor: &str, more: &[&str]) -> Program {
    let arguments = [&["--conductor", conductor, "--no-lan", "--exit-when-done"], more].concat();
    let mut command = member_command(place, manifest, &place.path(folder), &arguments);
    command.env("XDG_STATE_HOME", place.path(&format!("state of {folder}")));
    Program::start(command)
}

fn fetch_over(place: &Place, manifest: &Path, folder: &str, conductor: &str) -> Ended {
    member_of(place, manifest, folder, conductor, &[]).end()
}

#[test]
fn members_of_two_conductors_find_each_other() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let (mut one, at_one) = redis.conductor(&place);
    let (mut other, at_other) = redis.conductor(&place);
    let data = bytes(3 << 20, 50);
    let manifest = compose(&place, "song.bin", &data, &[NO_CONDUCTOR]);
    let seed = seed(&place, &manifest, &["--conductor", &at_one, "--no-lan"]);
    joined(&mut one);
    joined(&mut other);
    fetch_over(&place, &manifest, "fetched", &at_other).with(0);
    assert!(fs::read(place.path("fetched/song.bin")).expect("a file") == data);

    // One that starts later hears of the seed from Redis, whoever heard it.
    let (mut late, at_late) = redis.conductor(&place);
    joined(&mut late);
    fetch_over(&place, &manifest, "late", &at_late).with(0);

    // Another database is another orchestra.
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.args(["--store", &format!("redis://{}/4", redis.address), "--log-dir", "-"]);
    let (stranger, at_stranger) = listening(command);
    member_of(&place, &manifest, "stranger", &at_stranger, &["--timeout", "3s"]).end().with(4);
    stranger.signal(Signal::TERM);
    assert!(stranger.end().with(0).events().all(|event| event["members"] != 2));

    // Who leaves one has left all.
    seed.signal(Signal::TERM);
    seed.end().with(0);
    for conductor in [&mut one, &mut other, &mut late] {
        let left = conductor.event("that the seed left", |event| event["event"] == "left" && event["members"] == 0);
        assert_eq!(left["why"], "stopped");
    }
}

/// Who got a composition is known to every conductor, also of a member that left at once.
#[test]
fn each_conductor_remembers_who_has_had_it() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let (mut one, at_one) = redis.conductor(&place);
    let (_other, at_other) = redis.conductor(&place);
    let manifest = compose(&place, "song.bin", &bytes(100_000, 55), &[&at_one, "--register"]);
    let _seed = seed(&place, &manifest, &["--no-lan"]);
    joined(&mut one);
    member_of(&place, &manifest, "fetched", &at_one, &["--name", "pc-1"]).end().with(0);
    let until = Instant::now() + PATIENCE;
    for conductor in [&at_one, &at_other] {
        loop {
            let mut command = place.command(env!("CARGO_BIN_EXE_member"));
            command.args(["locate", "song.bin", "--summary", "--conductor", conductor]);
            let ended = Program::start(command).end();
            if ended.lines.iter().any(|line| line.contains("1 has had it whole: pc-1 (")) {
                break;
            }
            assert!(Instant::now() < until, "{conductor} does not know it: {:?}", ended.lines);
        }
    }
}

#[test]
fn a_catalogue_in_common_outlives_conductors_and_the_loss_of_redis() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let (one, at_one) = redis.conductor(&place);
    let (mut other, at_other) = redis.conductor(&place);
    let manifest = compose(&place, "song.bin", &bytes(100_000, 51), &[&at_one, "--register"]);
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let show = |conductor: &str| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args(["list", "--all", "--json", "--conductor", conductor]);
        let listed = Program::start(command).end().with(0);
        listed.lines.join("\n")
    };
    let has_it = |conductor: &str| {
        let until = Instant::now() + PATIENCE;
        while !show(conductor).contains("song.bin") {
            assert!(Instant::now() < until, "{conductor} does not list it");
        }
        let body = http_get(conductor, "/compositions/song.bin.orch");
        assert_eq!(body.lines().skip(1).collect::<Vec<_>>(), text.lines().skip(1).collect::<Vec<_>>());
    };
    has_it(&at_other);
    one.signal(Signal::KILL);
    let (_late, at_late) = redis.conductor(&place);
    has_it(&at_late);

    // Redis dies and keeps nothing: the conductors have it still, and give it back.
    let address = redis.kill();
    warned(&mut other, "is gone");
    has_it(&at_other);
    let redis = Redis::start_at(&place, address).expect("its port is free");
    warned(&mut other, "is back");
    let (_last, at_last) = redis.conductor(&place);
    has_it(&at_last);
}

/// The body of what this conductor answers.
fn http_get(conductor: &str, path: &str) -> String {
    let answer = http_ask(conductor, path);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

/// All that it answers.
fn http_ask(conductor: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(conductor).expect("a conductor");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {conductor}\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The page of one conductor shows the name of a member that has its live link to another, and no more once that died.
#[test]
fn members_of_one_are_seen_at_the_other() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let ((_one, at_one), (mut other, at_other)) = (redis.conductor(&place), redis.conductor(&place));
    let manifest = compose(&place, "song.bin", &bytes(1 << 20, 55), &[&at_one, "--register"]);
    let far = seed(&place, &manifest, &["--name", "far-away", "--no-lan"]);
    // Below the members who are there the page names those who were.
    let is_there_now = || {
        let page = http_ask(&at_other, "/c/song.bin");
        let members = page.split_once("id=\"members\"").and_then(|(_, rest)| rest.split_once("</tbody>"));
        members.is_some_and(|(members, _)| members.contains("far-away"))
    };
    let shows = |is_there: bool| {
        let until = Instant::now() + PATIENCE;
        while is_there_now() != is_there {
            assert!(Instant::now() < until, "it is there: {}", !is_there);
        }
    };
    shows(true);
    far.signal(Signal::KILL);
    shows(false);
    assert_eq!(other.event_named("left")["why"], "gone", "it did not say that it leaves");
}

#[test]
fn without_redis_both_serve_on_and_share_again_when_it_is_back() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let (mut one, at_one) = redis.conductor(&place);
    let (mut other, at_other) = redis.conductor(&place);
    let data = bytes(8 << 20, 52);
    let manifest = compose(&place, "song.bin", &data, &[NO_CONDUCTOR, "64K"]);
    let _seed = seed(&place, &manifest, &["--conductor", &at_one, "--conductor", &at_other, "--no-lan"]);
    joined(&mut one);
    joined(&mut other);

    // Midway Redis dies: who fetches goes on, and who comes later is served by either.
    let mut slow = member_of(&place, &manifest, "slow", &at_other, &["--download", "2M"]);
    slow.midway();
    let address = redis.kill();
    warned(&mut one, "is gone");
    warned(&mut other, "is gone");
    fetch_over(&place, &manifest, "at-one", &at_one).with(0);
    fetch_over(&place, &manifest, "at-other", &at_other).with(0);
    slow.end().with(0);

    // A second swarm begins while they cannot speak: once they can, each hears of it.
    let second = compose(&place, "other.bin", &bytes(1 << 20, 53), &[NO_CONDUCTOR]);
    let mut alone = member(&place, &second, &place.path("seed"), &["--conductor", &at_one, "--no-lan"]);
    alone.event_named("whole");
    let _redis = Redis::start_at(&place, address).expect("its port is free");
    warned(&mut one, "is back");
    warned(&mut other, "is back");
    fetch_over(&place, &second, "after", &at_other).with(0);
}

#[test]
fn a_redis_that_hangs_holds_up_nobody() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let (mut one, at_one) = redis.conductor(&place);
    let data = bytes(1 << 20, 54);
    let manifest = compose(&place, "song.bin", &data, &[&at_one, "--register"]);
    let _seed = seed(&place, &manifest, &["--no-lan"]);
    redis.signal(Signal::STOP);
    warned(&mut one, "is gone");
    fetch_over(&place, &manifest, "fetched", &at_one).with(0);
    http_get(&at_one, "/compositions/song.bin.orch");
    redis.signal(Signal::CONT);
    warned(&mut one, "is back");
}

#[test]
fn a_conductor_that_finds_no_redis_says_which_and_ends() {
    let place = Place::new();
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.env("ORCHESTRA_STORE", format!("redis://me:secret@{nobody}/0"));
    let ended = Program::start(command).end().with(1);
    ended.says(&format!("redis://{nobody}/0 does not answer"));
    assert!(!ended.lines.join("\n").contains("secret"));
}

/// Two members share many files at once at two conductors, and Redis hangs midway: what a conductor refuses meanwhile is
/// asked again until all of it is in the catalogue.
#[test]
fn all_that_two_members_share_at_once_is_in_the_catalogue_in_the_end() {
    let place = Place::new();
    let Some(redis) = Redis::start(&place) else { return };
    let ((mut one, at_one), (_other, at_other)) = (redis.conductor(&place), redis.conductor(&place));
    let members = [("a", &at_one), ("b", &at_other)].map(|(name, conductor)| {
        let folder = place.folder(name);
        (0..60).for_each(|n| fs::write(folder.join(format!("{name}{n:02}")), format!("{name}{n}")).expect("written"));
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.arg("share").arg(&folder).args(["--conductor", conductor, "--port", "0", "--json"]);
        Program::start(command)
    });
    let listed = || http_get(&at_one, "/compositions").matches("\"info_hash\"").count();
    let wait_for = |count: usize| {
        let until = Instant::now() + PATIENCE;
        while listed() < count {
            assert!(Instant::now() < until, "{} of {count} are in the catalogue", listed());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for(10);
    redis.signal(Signal::STOP);
    warned(&mut one, "is gone");
    redis.signal(Signal::CONT);
    wait_for(120);
    drop(members);
}
