//! Members with live links to a conductor: what they hear of each other, and when they end.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use rustix::process::Signal;

use crate::support::{Place, Program, bytes, compose, conductor, member, seed};

#[test]
fn a_member_that_is_killed_is_gone_at_once() {
    let place = Place::new();
    let (mut conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(6 << 20, 60), &[&address, "64K"]);
    let _seed = seed(&place, &manifest, &[]);
    let mut fetching = member(&place, &manifest, &place.path("copy"), &["--download", "2M"]);
    fetching.midway();
    fetching.signal(Signal::KILL);
    let left = conductor.event_named("left");
    assert_eq!(left["why"], "gone", "its link said so, not the time that its announce had");
}

#[test]
fn a_completion_is_told_once() {
    let place = Place::new();
    let (mut conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 61), &[&address]);
    let _seed = seed(&place, &manifest, &[]);
    let mut copy = member(&place, &manifest, &place.path("copy"), &[]);
    copy.event_named("whole");
    let completed = conductor.event_named("completed");
    assert_eq!(completed["members"], 2);
    copy.signal(Signal::TERM);
    copy.end().with(0);
    let next = conductor.event("the next", |_| true);
    assert_eq!((&next["event"], &next["why"]), (&"left".into(), &"stopped".into()));
}

/// Members that leave in the moment in which they have it all are heard to complete, each once and by its name.
#[test]
fn who_completes_and_leaves_at_once_is_counted() {
    const MEMBERS: usize = 8;
    let place = Place::new();
    let (mut conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(100_000, 65), &[&address, "--register"]);
    let _seed = seed(&place, &manifest, &["--name", "head"]);
    let names: Vec<String> = (0..MEMBERS).map(|n| format!("pc-{n}")).collect();
    let members: Vec<Program> =
        names.iter().map(|name| named(&place, &manifest, name, &["--exit-when-done"])).collect();
    members.into_iter().for_each(|member| drop(member.end().with(0)));
    let mut completed: Vec<String> = Vec::new();
    while completed.len() < MEMBERS {
        let event = conductor.event_named("completed");
        assert_eq!(event["composition"], "x.bin", "{event}");
        assert!(event["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{event}");
        completed.push(event["member"].as_str().expect("a name").to_owned());
    }
    completed.sort();
    assert_eq!(completed, names);

    let ask = |arguments: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args(["locate", "x.bin", "--conductor", &address, "--summary"]).args(arguments);
        Program::start(command).end().with(0)
    };
    let text = ask(&[]);
    names.iter().for_each(|name| text.says(&format!("{name} (")));
    text.says("8 have had it whole: ");
    text.says("; 1 more has it: head");
    let line = ask(&["--json"]).events().next().expect("a line");
    assert_eq!((&line["had_whole"], &line["lacking"]), (&MEMBERS.into(), &0.into()), "{line}");
    assert_eq!(line["past"].as_array().map(Vec::len), Some(MEMBERS), "{line}");
    let metrics = http_get(&address, "/metrics");
    assert!(metrics.contains("orchestra_completions_total 8\n"), "{metrics}");
}

/// What is answered to this question.
fn http_get(server: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("a conductor");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn named(place: &Place, manifest: &std::path::Path, name: &str, arguments: &[&str]) -> Program {
    member(place, manifest, &place.path(name), &[&["--name", name][..], arguments].concat())
}

#[test]
fn it_ends_when_those_that_are_named_have_it() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 62), &[&address]);
    fs::write(place.path("hosts"), "seed # where it comes from\n\nnode1\nnode2\n").expect("written");
    let mut seed = named(&place, &manifest, "seed", &["--until-all", "@hosts"]);
    assert_eq!(seed.event_named("copies")["lacking"], serde_json::json!(["node1", "node2"]));
    named(&place, &manifest, "other", &["--exit-when-done"]).end().with(0);
    named(&place, &manifest, "node2", &["--exit-when-done"]).end().with(0);
    let copies = seed.event("node2", |event| event["event"] == "copies" && event["copies"] == 2);
    assert_eq!(copies["whole"], serde_json::json!(["node2", "seed"]));
    // What left still counts.
    named(&place, &manifest, "node1", &["--exit-when-done"]).end().with(0);
    seed.end().with(0);
}

#[test]
fn it_names_those_that_it_waited_for_in_vain() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(40_000, 63), &[&address]);
    fs::write(place.path("hosts"), "seed\nnode1\n").expect("written");
    let ended = named(&place, &manifest, "seed", &["--until-all", "@hosts", "--timeout", "1s"]).end().with(8);
    ended.says("1 of 2 have it whole, not node1");
}

#[test]
fn links_come_back_with_the_conductor() {
    let place = Place::new();
    let (first, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 64), &[&address]);
    let _seed = seed(&place, &manifest, &[]);
    first.signal(Signal::KILL);
    drop(first);
    let (mut second, _) = conductor(&place, &address);
    second.event_named("joined");
    let copy = member(&place, &manifest, &place.path("copy"), &["--exit-when-done"]);
    copy.end().with(0);
}
