//! Compose, conduct, share, fetch, verify: the main job in its variants.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use orchestra::hashing::Digest;
use rustix::process::Signal;

use crate::support::{PATIENCE, Place, bytes, compose, conductor, fetch, member, port, seed};

#[test]
fn one_shares_and_three_fetch() {
    let place = Place::new();
    let (mut conductor, address) = conductor(&place, "127.0.0.1:0");
    // Nine parts, the last one short.
    let data = bytes((8 << 20) + 4321, 1);
    let manifest = compose(&place, "big.iso", &data, &[&address, "1M"]);
    let seed = seed(&place, &manifest, &[]);
    let fetching: Vec<_> = (1..=3)
        .map(|n| {
            let folder = place.path(&format!("copy{n}"));
            (member(&place, &manifest, &folder, &["--exit-when-done"]), folder)
        })
        .collect();
    for (program, folder) in fetching {
        let ended = program.end().with(0);
        let last = ended.last();
        assert_eq!(last["size"], data.len());
        assert_eq!(last["have"], data.len());
        let fetched = last["fetched"].as_u64().expect("a number");
        assert!(fetched >= data.len() as u64 && fetched < data.len() as u64 * 3 / 2, "fetched {fetched} bytes");
        assert_eq!(last["path"], folder.join("big.iso").to_str().expect("UTF-8"));
        assert_eq!(ended.events().next().expect("an event")["event"], "start");
        assert!(ended.events().any(|event| event["event"] == "whole"));
        let there: Vec<_> =
            fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(there, ["big.iso"], "nothing but the file is left behind");
        assert!(fs::read(folder.join("big.iso")).expect("a file") == data, "the copy is different");
    }
    seed.signal(Signal::TERM);
    seed.end().with(0);
    for left in 1..=4 {
        conductor
            .event(&format!("that {left} of 4 left"), |event| event["event"] == "left" && event["why"] == "stopped");
    }
    conductor.signal(Signal::TERM);
    conductor.end().with(0);
    for log in ["composer", "conductor", "member"] {
        let log = place.path(&format!("logs/{log}.log"));
        assert!(fs::metadata(&log).is_ok_and(|log| log.len() > 0), "{} is missing or empty", log.display());
    }
}

#[test]
fn sizes_that_are_easy_to_get_wrong() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    for (size, part) in
        [(1, "16K"), (16 << 10, "16K"), ((16 << 10) + 1, "16K"), (3 << 20, "1M"), ((3 << 20) - 1, "48K")]
    {
        let (data, name) = (bytes(size, size as u64), format!("f{size}"));
        let manifest = compose(&place, &name, &data, &[&address, part]);
        let _seed = seed(&place, &manifest, &[]);
        fetch(&place, &manifest, "copies", &[]).with(0);
        assert!(fs::read(place.path("copies").join(&name)).expect("a file") == data, "{size} bytes came out different");
    }
}

#[test]
fn an_empty_file_needs_nobody() {
    let place = Place::new();
    let manifest = compose(&place, "empty", b"", &[]);
    let last = fetch(&place, &manifest, "copy", &["--timeout", "30s"]).with(0).last();
    assert_eq!((&last["size"], &last["fetched"]), (&0.into(), &0.into()));
    assert_eq!(fs::read(place.path("copy/empty")).expect("a file"), b"");
}

#[test]
fn over_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        return crate::support::skip("this machine has no IPv6");
    }
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "[::1]:0");
    let data = bytes(300_000, 6);
    let manifest = compose(&place, "six", &data, &[&address]);
    let _seed = seed(&place, &manifest, &["--listen", "::1"]);
    fetch(&place, &manifest, "copy", &["--listen", "::1"]).with(0);
    assert!(fs::read(place.path("copy/six")).expect("a file") == data);
}

#[test]
fn without_a_conductor_an_address_is_enough() {
    let place = Place::new();
    let data = bytes(1 << 20, 7);
    let manifest = compose(&place, "x.bin", &data, &[]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let port = port(&mut seed);
    fetch(&place, &manifest, "copy", &["--peer", &format!("127.0.0.1:{port}")]).with(0);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data);
}

#[test]
fn ten_thousand_parts_of_a_byte_arrive() {
    let place = Place::new();
    let data = bytes(10_000, 39);
    let parts: Vec<String> = data.iter().map(|byte| Digest::of(&[*byte]).to_string()).collect();
    let text = format!("0.0.0.0:0\nx.bin\n{}\n10000\n1\n10000\n{}\n", Digest::of(&data), parts.join("\n"));
    let manifest = place.path("x.orch");
    fs::write(&manifest, text).expect("written");
    fs::write(place.folder("seed").join("x.bin"), &data).expect("written");
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let port = port(&mut seed);
    fetch(&place, &manifest, "copy", &["--peer", &format!("127.0.0.1:{port}")]).with(0);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data);
}

#[test]
fn the_conductor_may_start_last() {
    let place = Place::new();
    let (first, address) = conductor(&place, "127.0.0.1:0");
    first.signal(Signal::TERM);
    first.end().with(0);
    let manifest = compose(&place, "x.bin", &bytes(100_000, 8), &[&address]);
    let _seed = seed(&place, &manifest, &[]);
    let mut fetching = member(&place, &manifest, &place.path("copy"), &["--exit-when-done"]);
    let warning = fetching.event_named("warning");
    assert!(warning["text"].as_str().is_some_and(|text| text.contains(&address)), "{warning}");
    let (_second, _) = conductor(&place, &address);
    let ended = fetching.end().with(0);
    assert_eq!(ended.events().filter(|e| e["event"] == "warning").count(), 1, "one line says it");
}

#[test]
fn the_conductor_may_vanish_midway() {
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(6 << 20, 9);
    let manifest = compose(&place, "x.bin", &data, &[&address, "64K"]);
    let _seed = seed(&place, &manifest, &[]);
    let mut fetching = member(&place, &manifest, &place.path("copy"), &["--exit-when-done", "--download", "2M"]);
    fetching.midway();
    conductor.signal(Signal::KILL);
    fetching.end().with(0);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data);
}

#[test]
fn it_ends_when_others_have_it() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(400_000, 10), &[&address]);
    let seed = seed(&place, &manifest, &["--until-all", "3"]);
    let one = member(&place, &manifest, &place.path("one"), &["--exit-when-done"]);
    let two = member(&place, &manifest, &place.path("two"), &["--exit-when-done"]);
    one.end().with(0);
    two.end().with(0);
    let ended = seed.end().with(0);
    let copies = ended.events().filter(|event| event["event"] == "copies").last().expect("copies are told");
    assert_eq!((&copies["copies"], &copies["wanted"]), (&3.into(), &3.into()));
}

#[test]
fn it_ends_when_it_has_sent_enough() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(400_000, 11);
    let manifest = compose(&place, "x.bin", &data, &[&address]);
    let seed = seed(&place, &manifest, &["--seed-ratio", "1"]);
    fetch(&place, &manifest, "copy", &[]).with(0);
    let uploaded = seed.end().with(0).last()["uploaded"].as_u64().expect("a number");
    assert!(uploaded >= data.len() as u64, "{uploaded}");
}

#[test]
fn a_program_is_told_without_a_shell() {
    let place = Place::new();
    let data = bytes(1000, 12);
    let name = "a; touch b $(touch c).bin";
    let manifest = compose(&place, name, &data, &[]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    let program = place.path("told");
    fs::write(&program, "#!/bin/sh\necho \"told $# $1 and $ORCHESTRA_PATH\"\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    let arguments = ["--peer", &peer, "--on-complete", program.to_str().expect("UTF-8")];
    let path = place.path("copy").join(name);
    let ended = fetch(&place, &manifest, "copy", &arguments).with(0);
    ended.says(&format!("told 1 {0} and {0}", path.display()));
    assert!(!place.path("b").exists() && !place.path("c").exists());
}

#[test]
fn that_the_program_failed_is_a_warning() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(1000, 40), &[]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    let arguments = ["--peer", &peer, "--on-complete", "/bin/false"];
    let mut told = member(&place, &manifest, &place.path("copy"), &arguments);
    let warning = told.event("a warning of the program", |event| event["event"] == "warning");
    assert!(warning["text"].as_str().expect("text").contains("/bin/false failed"), "{warning}");
}

#[test]
fn a_member_that_has_it_all_ends_at_once() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(100_000, 13), &["127.0.0.1:1"]);
    // Nobody answers at that address, and nobody is needed.
    let ended = fetch(&place, &manifest, "seed", &[]).with(0);
    let took = ended.last()["seconds"].as_f64().expect("a number");
    assert!(took < PATIENCE.as_secs_f64());
    assert!(!ended.events().any(|event| event["event"] == "check"), "composer has left a proof of it");
    let ended = fetch(&place, &manifest, "seed", &["--check"]).with(0);
    assert!(ended.events().any(|event| event["event"] == "check"), "--check looks again");
}
