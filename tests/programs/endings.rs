//! Each way to end has its exit code and says what to do.

use std::fs;

use rustix::process::Signal;

use crate::{
    signals,
    support::{Place, Program, bytes, compose, conductor, fetch, member, port, seed},
};

#[test]
fn wrong_usage_is_2() {
    let place = Place::new();
    for arguments in [&[][..], &["--no-such-option"], &["x.orch", "--port", "many"]] {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args(arguments);
        Program::start(command).end().with(2);
    }
}

#[test]
fn a_bad_manifest_is_3() {
    let place = Place::new();
    let good = fs::read_to_string(compose(&place, "x.bin", &bytes(40_000, 30), &[])).expect("a manifest");
    let lines: Vec<&str> = good.lines().collect();
    let bad = place.path("bad.orch");
    for text in ["", "hello\n", &lines[..lines.len() - 1].join("\n"), &good.replace("x.bin", "../x.bin")] {
        fs::write(&bad, text).expect("written");
        fetch(&place, &bad, "copy", &[]).with(3);
        assert!(!place.path("copy").exists(), "nothing is made for a bad manifest");
    }
}

#[test]
fn parts_right_and_the_whole_wrong_is_3() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(40_000, 31), &[]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let whole = text.lines().nth(2).expect("line 3");
    fs::write(&manifest, text.replace(whole, &"5".repeat(40))).expect("written");
    fetch(&place, &manifest, "copy", &["--peer", &peer]).with(3);
    assert!(!place.path("copy/x.bin").exists(), "no name for what is not verified");
    fetch(&place, &manifest, "seed", &[]).with(3);
}

#[test]
fn nobody_has_the_parts_is_4() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(40_000, 32), &[&address]);
    fetch(&place, &manifest, "copy", &["--timeout", "1s"]).with(4);
}

#[test]
fn nobody_answers_is_7() {
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    conductor.signal(Signal::TERM);
    conductor.end().with(0);
    let manifest = compose(&place, "x.bin", &bytes(40_000, 33), &[&address]);
    fetch(&place, &manifest, "copy", &["--timeout", "1s"]).with(7);
}

#[test]
fn other_data_is_6_and_stays_as_it_is() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(400_000, 34);
    let manifest = compose(&place, "x.bin", &data, &[&address, "16K"]);
    let _seed = seed(&place, &manifest, &[]);
    let mut changed = data.clone();
    changed[300_000] ^= 1;
    let file = place.folder("copy").join("x.bin");
    for other in [&changed[..], b"something else"] {
        fs::write(&file, other).expect("written");
        let ended = fetch(&place, &manifest, "copy", &[]).with(6);
        ended.says("-o");
        ended.says("--repair");
        assert!(fs::read(&file).expect("a file") == other, "it was changed");
    }
    fs::write(&file, &changed).expect("written");
    let last = fetch(&place, &manifest, "copy", &["--repair"]).with(0).last();
    assert!(fs::read(&file).expect("a file") == data, "it was not repaired");
    assert_eq!(last["fetched"], 16 << 10, "only the part that was wrong is fetched");
}

#[test]
fn what_is_changed_while_it_is_shared_ends_it_with_6() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 36), &[&address]);
    let cut = seed(&place, &manifest, &[]);
    fs::OpenOptions::new().write(true).open(place.path("seed/x.bin")).expect("a file").set_len(1000).expect("cut");
    let ended = cut.end().with(6);
    ended.says("changed while it was shared");
    assert!(ended.last()["whole_after"].is_null());
}

#[test]
fn what_is_taken_away_while_it_is_shared_is_not_called_whole() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 37), &[&address]);
    let mut robbed = seed(&place, &manifest, &[]);
    fs::remove_file(place.path("seed/x.bin")).expect("a file");
    robbed.event("a warning", |event| event["event"] == "warning");
    fetch(&place, &manifest, "copy", &[]).with(0);
    robbed.signal(Signal::TERM);
    robbed.end().with(5).says("not there any more");
}

#[test]
fn whatever_it_fails_of_an_end_comes_last() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(40_000, 38), &[]);
    fs::write(place.folder("copy").join("x.bin"), "mine").expect("written");
    let ended = fetch(&place, &manifest, "copy", &[]).with(6);
    assert_eq!((&ended.last()["code"], &ended.last()["name"]), (&6.into(), &"x.bin".into()));
    let ended = fetch(&place, &place.path("nothing.orch"), "copy", &[]).with(1);
    assert_eq!(ended.last()["code"], 1);
    assert!(ended.last()["name"].as_str().expect("what was typed").ends_with("nothing.orch"));
}

#[test]
fn an_output_that_is_taken_is_1() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(40_000, 35), &[&address]);
    let mut first = member(&place, &manifest, &place.path("copy"), &[]);
    first.event_named("start");
    let second = fetch(&place, &manifest, "copy", &[]).with(1);
    second.says("another member");
}

#[test]
fn copies_that_did_not_come_about_are_8() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(40_000, 36), &[&address]);
    member(&place, &manifest, &place.path("seed"), &["--until-all", "2", "--timeout", "1s"]).end().with(8);
}

#[test]
fn a_taken_port_is_1() {
    let place = Place::new();
    let (_first, address) = conductor(&place, "127.0.0.1:0");
    let mut command = place.command(env!("CARGO_BIN_EXE_conductor"));
    command.args(["--listen", &address]);
    let ended = Program::start(command).end().with(1);
    ended.says(&address);
}

#[test]
fn interrupted_when_whole_is_0() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(40_000, 37), &[]);
    for signal in signals::that_end() {
        let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
        seed.event_named("whole");
        seed.signal(signal);
        seed.end().with(0);
    }
}
