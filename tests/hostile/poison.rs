//! A poisoner among honest members: it says it has nearly everything, and sends wrong bytes.

use std::{fs, net::Ipv4Addr, path::Path, thread};

use orchestra::{manifest::Manifest, metainfo::InfoHash, wire::message::Message};

use crate::{
    arena::is_possible,
    foe::{FOE, Foe, id},
    row,
    support::{Place, Program, bytes, compose, conductor, member, port, seed},
};

const HONEST: u8 = 8;

/// Dials this member and sends it wrong bytes until it is closed; how many blocks were asked for.
fn poison(to: Ipv4Addr, port: u16, info_hash: InfoHash, parts: u32) -> usize {
    let mut foe = Foe::greet_at(FOE, (to, port), info_hash, id(1), true).expect("let in");
    // All but the first: a complete one would be asked last.
    let mut bits = vec![0xff; parts.div_ceil(8) as usize];
    bits[0] = 0x7f;
    foe.say(&[Message::Bitfield(bits), Message::Unchoke]);
    let mut asked = 0;
    while let Some(block) = foe.request() {
        foe.give(block, &vec![0x66; block.len as usize]);
        asked += 1;
    }
    asked
}

fn warnings(lines: &[String]) -> Vec<String> {
    let events = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let warnings = events.filter(|event| event["event"] == "warning");
    warnings.filter_map(|event| event["text"].as_str().map(str::to_owned)).collect()
}

fn start(place: &Place, manifest: &Path, n: u8) -> (Program, Ipv4Addr, u16) {
    let ip = Ipv4Addr::new(127, 0, 0, 10 + n);
    let listen = ip.to_string();
    let mut program =
        member(place, manifest, &place.path(&format!("copy{n}")), &["--listen", &listen, "--exit-when-done"]);
    let port = port(&mut program) as u16;
    (program, ip, port)
}

#[test]
fn a_poisoner_among_honest_members() {
    if !is_possible() {
        return;
    }
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(16 << 20, 69);
    let manifest = compose(&place, "x.bin", &data, &[&address, "64K"]);
    let parsed = Manifest::parse(&fs::read(&manifest).expect("a manifest")).expect("a manifest");
    let (hash, parts) = (parsed.info_hash(), parsed.geometry.parts());
    let _seed = seed(&place, &manifest, &["--upload", "8M"]);
    let mut honest: Vec<_> = (0..HONEST).map(|n| start(&place, &manifest, n)).collect();
    honest[0].0.midway();
    let poisoners: Vec<_> = honest
        .iter()
        .map(|(_, ip, port)| (*ip, *port))
        .map(|(ip, port)| thread::spawn(move || poison(ip, port, hash, parts)))
        .collect();
    let asked: Vec<usize> = poisoners.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let mut fetched = 0;
    let mut wrong = 0;
    for (n, (program, ..)) in honest.into_iter().enumerate() {
        let ended = program.end().with(0);
        fetched += ended.last()["fetched"].as_u64().expect("a number");
        let warnings = warnings(&ended.lines);
        assert!(warnings.iter().all(|text| text.contains("127.0.0.66")), "another was blamed: {warnings:?}");
        wrong += warnings.len();
        assert!(fs::read(place.path(&format!("copy{n}/x.bin"))).expect("a file") == data, "copy {n} is different");
    }
    assert!(asked.iter().filter(|count| **count > 0).count() > 4, "it was hardly asked: {asked:?}");
    assert!(wrong > 4, "hardly a wrong part came: {wrong}");
    let whole = u64::from(HONEST) * data.len() as u64;
    let wasted = (fetched - whole) as f64 * 100.0 / whole as f64;
    assert!(wasted < 5.0, "{wasted:.1} % of what was fetched was wasted");
    let log = fs::read_to_string(place.path("logs/member.log")).expect("a log");
    let dropped: Vec<_> = log.lines().filter(|line| line.contains("it sent a wrong part")).collect();
    assert!(dropped.iter().all(|line| line.contains("127.0.0.66")), "another was dropped: {dropped:?}");
    row(
        "member",
        "a poisoner among 8 honest members",
        &format!("{wrong} wrong parts, each its last; {wasted:.1} % wasted"),
    );
}
