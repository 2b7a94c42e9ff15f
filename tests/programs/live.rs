//! Members with live links to a conductor: what they hear of each other, and when they end.

use std::fs;

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
