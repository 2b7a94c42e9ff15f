//! Several compositions in one member: one port, a line for each, and the worst of their ends.

use std::{collections::BTreeSet, fs, path::PathBuf};

use rustix::process::Signal;

use crate::support::{Place, Program, bytes, compose, conductor};

/// A member for all of these, with `--json` on a free port.
fn member(place: &Place, manifests: &[PathBuf], folder: &str, arguments: &[&str]) -> Program {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.args(manifests).arg("-o").arg(place.path(folder)).args(["--port", "0", "--json"]).args(arguments);
    Program::start(command)
}

fn three(place: &Place, address: &str) -> (Vec<PathBuf>, Vec<Vec<u8>>) {
    let data: Vec<_> = (0..3).map(|n| bytes(400_000 * (n + 1) + n, n as u64)).collect();
    let manifests = data.iter().enumerate().map(|(n, data)| compose(place, &format!("f{n}"), data, &[address]));
    (manifests.collect(), data)
}

#[test]
fn one_process_shares_three_and_another_fetches_them() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let (manifests, data) = three(&place, &address);
    let mut seed = member(&place, &manifests, "seed", &[]);
    for _ in 0..3 {
        seed.event_named("whole");
    }
    let ended = member(&place, &manifests, "copies", &["--exit-when-done"]).end().with(0);
    let starts: Vec<_> = ended.events().filter(|event| event["event"] == "start").collect();
    let ports: BTreeSet<_> = starts.iter().map(|start| start["port"].as_u64()).collect();
    assert_eq!((starts.len(), ports.len()), (3, 1), "three compositions behind one port");
    let ends: BTreeSet<_> =
        ended.events().filter(|e| e["event"] == "end").map(|e| (e["name"].to_string(), e["code"].as_u64())).collect();
    assert_eq!(ends.len(), 3);
    assert!(ends.iter().all(|(_, code)| *code == Some(0)));
    assert_eq!(ended.last()["code"], 0, "the last word is an end");
    for (n, data) in data.iter().enumerate() {
        assert!(fs::read(place.path(&format!("copies/f{n}"))).expect("a file") == *data, "f{n} is different");
    }
    seed.signal(Signal::TERM);
    let ended = seed.end().with(0);
    assert_eq!(ended.events().filter(|event| event["event"] == "end").count(), 3);
}

#[test]
fn one_that_fails_leaves_the_others_alone_and_is_told() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let (mut manifests, data) = three(&place, &address);
    let _seed = member(&place, &manifests, "seed", &[]);
    let copies = place.folder("copies");
    fs::write(copies.join("f1"), "mine").expect("written");
    let ended = member(&place, &manifests, "copies", &["--exit-when-done"]).end().with(6);
    assert!(ended.events().any(|event| event["event"] == "error" && event["code"] == 6));
    assert!(fs::read(copies.join("f0")).expect("a file") == data[0] && fs::read(copies.join("f2")).is_ok());
    let bad = place.path("bad.orch");
    fs::write(&bad, "nothing").expect("written");
    manifests[1] = bad;
    let ended = member(&place, &manifests, "others", &["--exit-when-done"]).end().with(3);
    ended.says("bad.orch");
    assert!(fs::read(place.path("others/f0")).is_ok() && fs::read(place.path("others/f2")).is_ok());
}

/// Two of one name would be one file: the other is named, and no other member is suspected.
#[test]
fn of_two_with_one_name_the_other_is_named() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let first = compose(&place, "x.bin", &bytes(400_000, 96), &[&address]);
    let manifests = [place.path("one.orch"), place.path("two.orch")];
    fs::rename(first, &manifests[0]).expect("renamed");
    let second = compose(&place, "x.bin", &bytes(400_000, 97), &[&address]);
    fs::rename(second, &manifests[1]).expect("renamed");
    let mut program = member(&place, &manifests, "copies", &["--exit-when-done", "--timeout", "1s"]);
    let error = program.event_named("error");
    let text = error["text"].as_str().expect("a text");
    assert!(text.contains("has the same name") && text.contains(".orch"), "{error}");
    program.end().with(4);
}

#[test]
fn one_that_is_named_twice_is_shared_once() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let (manifests, _) = three(&place, &address);
    let twice = [manifests[0].clone(), manifests[0].clone()];
    let ended = member(&place, &twice, "seed", &["--exit-when-done"]).end().with(2);
    ended.says("named twice");
    assert_eq!(ended.events().filter(|event| event["event"] == "end" && event["code"] == 0).count(), 1);
}
