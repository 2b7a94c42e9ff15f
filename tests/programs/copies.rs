//! What `--until-all N` counts: copies, a folder each, not how often a member was started there.

use std::path::Path;

use crate::support::{Ended, Place, bytes, compose, conductor, member, port};

/// Starts the member `name` three times in one folder; each time it shares its copy for a while.
fn lives(place: &Place, manifest: &Path, name: &str, folder: &str, arguments: &[&str]) {
    for _ in 0..3 {
        let arguments = [&["--name", name, "--seed-time", "1s"], arguments].concat();
        member(place, manifest, &place.path(folder), &arguments).end().with(0);
    }
}

/// What it told of the copies that were whole, each time that it did.
fn told(ended: &Ended) -> Vec<String> {
    let told = ended.events().filter(|event| event["event"] == "copies");
    told.map(|event| event["whole"].to_string()).collect()
}

#[test]
fn a_conductor_counts_a_folder_once() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 70), &[&address]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &["--name", "seed", "--until-all", "3"]);
    seed.event_named("whole");
    lives(&place, &manifest, "vm", "copy", &[]);
    let waits = ["--name", "vm", "--until-all", "3", "--timeout", "2s"];
    member(&place, &manifest, &place.path("copy"), &waits).end().with(8).says("2 of 3 have it whole");
    // The same name, and another folder: another copy.
    lives(&place, &manifest, "vm", "other", &[]);
    let ended = seed.end().with(0);
    assert_eq!(told(&ended).last().map(String::as_str), Some(r#"["seed","vm","vm"]"#));
}

#[test]
fn neighbours_count_a_folder_once() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(400_000, 71), &[]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &["--name", "seed", "--until-all", "3"]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    seed.event_named("whole");
    lives(&place, &manifest, "vm", "copy", &["--peer", &peer]);
    lives(&place, &manifest, "node2", "other", &["--peer", &peer]);
    let ended = seed.end().with(0);
    assert_eq!(told(&ended), [r#"["seed"]"#, r#"["seed","vm"]"#, r#"["node2","seed","vm"]"#]);
}
