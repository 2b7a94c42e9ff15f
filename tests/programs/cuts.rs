//! Paths and hosts that die under a transfer: bytes come again soon after, without a word from anybody.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    network::{in_lab, lab, on},
    support::{PATIENCE, Place, Program, bytes, compose, tool},
};

const SIZE: usize = 24 << 20;
/// At this rate the whole takes some ten seconds.
const RATE: &str = "20mbit";
/// Bytes come again within 20 s; the rest is for a machine that has much else to do.
const AGAIN: Duration = Duration::from_secs(45);

/// A firewall that forgets one connection drops its packets in both directions, and lets new ones pass.
#[test]
fn a_flow_that_is_dropped_is_replaced_by_a_new_one() {
    if !tool("nft (nftables)", Command::new("nft").arg("--version")) {
        return;
    }
    in_lab("cuts::a_flow_that_is_dropped_is_replaced_by_a_new_one", || {
        let (stage, _seed, mut fetches) = Stage::midway();
        drop_flow();
        stage.comes_again(&mut fetches, "its connection is dropped");
        stage.is_whole(fetches);
    });
}

/// The cable of the host that shares is out until it is missed, and the host has another address when it is back.
#[test]
fn a_host_that_comes_back_with_another_address_is_taken_in() {
    in_lab("cuts::a_host_that_comes_back_with_another_address_is_taken_in", || {
        let (stage, _seed, mut fetches) = Stage::midway();
        lab(&["cut", "h1"]);
        misses(&mut fetches);
        for change in ["del 10.77.0.11/24", "add 10.77.0.99/24"] {
            let mut address = Command::new("ip");
            address.args(["netns", "exec", "h1", "ip", "addr"]).args(change.split(' ')).args(["dev", "eth0"]);
            Program::start(address).end().with(0);
        }
        lab(&["mend", "h1"]);
        stage.comes_again(&mut fetches, "it has another address");
        stage.is_whole(fetches);
    });
}

/// A cable that is out for a moment costs nothing: the connection is kept.
#[test]
fn a_cable_that_is_out_for_a_moment_ends_no_connection() {
    in_lab("cuts::a_cable_that_is_out_for_a_moment_ends_no_connection", || {
        let (stage, _seed, mut fetches) = Stage::midway();
        let before = flow();
        lab(&["cut", "h1"]);
        fetches.event("that nothing comes", |event| event["event"] == "progress" && event["rate_down"] == 0);
        lab(&["mend", "h1"]);
        stage.comes_again(&mut fetches, "the cable is in again");
        assert_eq!(flow(), before);
        stage.is_whole(fetches);
    });
}

/// The host that shares stands still: what was asked of it is asked of another one. It is missed, and taken in again when
/// it goes on.
#[test]
fn a_host_that_freezes_is_left_and_taken_in_again() {
    in_lab("cuts::a_host_that_freezes_is_left_and_taken_in_again", || {
        let (stage, seed, mut fetches) = Stage::midway();
        seed.signal(Signal::STOP);
        misses(&mut fetches);
        seed.signal(Signal::CONT);
        stage.comes_again(&mut fetches, "its host goes on");
        stage.is_whole(fetches);
    });
}

/// A path whose MTU is smaller than its ends believe, with nobody who says so: connections open there, and no block comes.
#[test]
fn a_path_on_which_nothing_large_arrives_is_hinted_at() {
    if !tool("nft (nftables)", Command::new("nft").arg("--version")) {
        return;
    }
    in_lab("cuts::a_path_on_which_nothing_large_arrives_is_hinted_at", || {
        let stage = Stage::new();
        for rule in [CUT, IN, "add rule inet cut in meta length > 600 drop"] {
            nft(rule);
        }
        let (_seed, mut fetches) = stage.pair();
        let hint = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains("nothing large arrives"));
        fetches.event("the hint", |event| event["event"] == "warning" && hint(event));
        nft("delete table inet cut");
        let ended = fetches.end().with(0);
        assert_eq!(ended.events().filter(hint).count(), 1, "it is said once");
        assert!(fs::read(stage.place.path("copy/big.bin")).expect("a file") == stage.data);
    });
}

#[test]
fn what_was_asked_of_a_frozen_host_comes_from_another() {
    in_lab("cuts::what_was_asked_of_a_frozen_host_comes_from_another", || {
        let (stage, seed, mut fetches) = Stage::midway();
        let _other = stage.seed("h3", "other seed", &["--peer", "10.77.0.12:7002"]);
        fetches.event("the other one", |event| event["event"] == "progress" && event["members"] == 2);
        seed.signal(Signal::STOP);
        let since = Instant::now();
        let ended = fetches.end().with(0);
        let took = since.elapsed();
        assert!(took < AGAIN, "it took {took:?}:\n{}", ended.lines.join("\n"));
        assert!(fs::read(stage.place.path("copy/big.bin")).expect("a file") == stage.data);
        seed.signal(Signal::CONT);
    });
}

struct Stage {
    place: Place,
    manifest: std::path::PathBuf,
    data: Vec<u8>,
}

impl Stage {
    /// A seed on h1, and a member on h2 that has fetched some of it.
    fn midway() -> (Self, Program, Program) {
        let stage = Self::new();
        let (seed, mut fetches) = stage.pair();
        fetches.midway();
        (stage, seed, fetches)
    }

    /// Three hosts, and nothing on them yet.
    fn new() -> Self {
        let place = Place::new();
        lab(&["up", "3", RATE]);
        let data = bytes(SIZE, 43);
        let manifest = compose(&place, "big.bin", &data, &["0.0.0.0:0", "1M"]);
        Self { place, manifest, data }
    }

    /// A seed on h1, and a member on h2 that fetches from it.
    fn pair(&self) -> (Program, Program) {
        let seed = self.seed("h1", "seed", &["--port", "7001", "--peer", "10.77.0.12:7002"]);
        let arguments = ["--port", "7002", "--peer", "10.77.0.11:7001", "--exit-when-done", "--timeout", "80s"];
        (seed, self.start("h2", "copy", &arguments))
    }

    fn seed(&self, host: &str, folder: &str, arguments: &[&str]) -> Program {
        fs::create_dir_all(self.place.path(folder)).expect("a folder");
        fs::write(self.place.path(folder).join("big.bin"), &self.data).expect("written");
        let mut seed = self.start(host, folder, arguments);
        seed.event_named("whole");
        seed
    }

    fn start(&self, host: &str, folder: &str, arguments: &[&str]) -> Program {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_member"));
        command.arg(&self.manifest).arg("-o").arg(self.place.path(folder)).arg("--json").args(arguments);
        command.env("XDG_STATE_HOME", self.place.path(&format!("state of {host}")));
        Program::start(on(host, &command))
    }

    /// More comes than was on its way.
    #[track_caller]
    fn comes_again(&self, fetches: &mut Program, why: &str) {
        let since = Instant::now();
        let done = |event: &Value| event["bytes_done"].as_u64().unwrap_or(0);
        let first = fetches.event_named("progress");
        let floor = done(&first) + (1 << 20);
        fetches.event("that more came", |event| event["event"] == "progress" && done(event) > floor);
        let took = since.elapsed();
        eprintln!("{why}: bytes again after {took:?}");
        assert!(took < AGAIN, "bytes came again after {took:?}");
    }

    #[track_caller]
    fn is_whole(&self, fetches: Program) {
        fetches.end().with(0);
        assert!(fs::read(self.place.path("copy/big.bin")).expect("a file") == self.data);
    }
}

/// Waits until it knows that nobody is there.
#[track_caller]
fn misses(fetches: &mut Program) {
    let since = Instant::now();
    fetches.event("that it is alone", |event| event["event"] == "progress" && event["members"] == 0);
    let took = since.elapsed();
    eprintln!("missed after {took:?}");
    assert!(took < AGAIN.min(PATIENCE), "missed after {took:?}");
}

/// The ports of the connection between the two members, at h2 and at h1.
fn flow() -> (String, String) {
    let mut sockets = Command::new("ip");
    sockets.args(["netns", "exec", "h2", "ss", "-Htn", "state", "established", "dst", "10.77.0.11"]);
    let listed = Program::start(sockets).end().with(0);
    let line = listed.lines.first().expect("a connection").clone();
    let port = |address: &str| address.rsplit(':').next().expect("a port").to_owned();
    let mut ends = line.split_whitespace().filter(|word| word.contains("10.77.")).map(port);
    (ends.next().expect("an end"), ends.next().expect("an end"))
}

/// Drops, at h2, what either side of the connection sends.
fn drop_flow() {
    let (here, there) = flow();
    for rule in [
        CUT.to_owned(),
        IN.to_owned(),
        "add chain inet cut out { type filter hook output priority 0 ; }".to_owned(),
        format!("add rule inet cut in tcp sport {there} tcp dport {here} drop"),
        format!("add rule inet cut out tcp sport {here} tcp dport {there} drop"),
    ] {
        nft(&rule);
    }
}

/// A table of the firewall at h2, and in it what comes.
const CUT: &str = "add table inet cut";
const IN: &str = "add chain inet cut in { type filter hook input priority 0 ; }";

/// Changes the firewall at h2.
fn nft(rule: &str) {
    let mut nft = Command::new("ip");
    nft.args(["netns", "exec", "h2", "nft"]).args(rule.split(' '));
    Program::start(nft).end().with(0);
}
