//! Ended midway and started again: nothing verified is fetched twice, nothing unproven is trusted.

use std::{fs, os::unix::fs::FileExt};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Ended, Place, Program, bytes, compose, conductor, fetch, member, seed};

const SIZE: u64 = 12 << 20;
const PART: u64 = 256 << 10;

/// A composition that is shared, and a member that is stopped midway in fetching it.
struct Stopped {
    place: Place,
    manifest: std::path::PathBuf,
    data: Vec<u8>,
    _others: [Program; 2],
    /// Verified bytes that it told of last.
    had: u64,
    ended: Ended,
}

fn stopped(signal: Signal) -> Stopped {
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(SIZE as usize, 20);
    let manifest = compose(&place, "x.bin", &data, &[&address, "256K"]);
    let seed = seed(&place, &manifest, &[]);
    let mut fetching = member(&place, &manifest, &place.path("copy"), &["--download", "3M"]);
    let progress = fetching.midway();
    fetching.signal(signal);
    let ended = fetching.end();
    assert!(!place.path("copy/x.bin").exists(), "it has its name only when it is whole");
    let had = progress["bytes_done"].as_u64().expect("a number");
    Stopped { place, manifest, data, _others: [conductor, seed], had, ended }
}

impl Stopped {
    /// Goes on, and gives what was missing at the start and the last event.
    fn go_on(&self) -> (u64, Value, Ended) {
        let ended = fetch(&self.place, &self.manifest, "copy", &[]).with(0);
        assert!(fs::read(self.place.path("copy/x.bin")).expect("a file") == self.data, "the copy is different");
        let start = ended.events().find(|event| event["event"] == "fetch").expect("something is missing");
        (start["missing"].as_u64().expect("a number"), ended.last(), ended)
    }
}

#[test]
fn after_sigkill() {
    let stopped = stopped(Signal::KILL);
    let (missing, last, _) = stopped.go_on();
    assert!(missing <= SIZE - stopped.had, "{missing} bytes are missing, but {} were there", stopped.had);
    assert_eq!(last["fetched"], missing, "what was verified is not fetched again");
}

#[test]
fn after_sigterm_without_a_check() {
    let stopped = stopped(Signal::TERM);
    let last = stopped.ended.last();
    assert_eq!((stopped.ended.status.code(), &last["code"]), (Some(130), &130.into()));
    let (missing, again, ended) = stopped.go_on();
    // What was being written when it left may have come on top.
    let had = last["have"].as_u64().expect("a number");
    assert!(missing <= SIZE - had, "{missing} bytes are missing, but it had {had}");
    assert_eq!(again["fetched"], missing, "what was verified is not fetched again");
    assert!(!ended.events().any(|event| event["event"] == "check"), "what is noted is not read again");
}

#[test]
fn what_changed_meanwhile_is_not_trusted() {
    let stopped = stopped(Signal::TERM);
    let partial =
        fs::File::options().write(true).read(true).open(stopped.place.path("copy/x.bin.part")).expect("it is kept");
    let mut byte = [0];
    let good = (0..SIZE / PART).find(|part| {
        let (from, to) = ((part * PART) as usize, ((part + 1) * PART) as usize);
        let mut there = vec![0; to - from];
        partial.read_exact_at(&mut there, part * PART).is_ok() && there == stopped.data[from..to]
    });
    let at = good.expect("a good part") * PART + 7;
    partial.read_exact_at(&mut byte, at).expect("read");
    partial.write_all_at(&[!byte[0]], at).expect("written");
    drop(partial);
    let (missing, last, _) = stopped.go_on();
    assert!((PART..SIZE).contains(&missing), "{missing}");
    assert_eq!(last["fetched"], missing);
}
