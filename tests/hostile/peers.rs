//! Members that break the protocol, send what is wrong, or nothing.

use std::thread;

use orchestra::wire::{
    extension::metadata::Metadata,
    message::{Message, RawBlock},
};

use crate::{
    arena::{Arena, Victim, is_possible},
    foe::{ELSEWHERE, FOE, Foe, bytes_of, id},
    row,
    support::{bytes, seed},
};

/// A message of this number and length; the rest is left out.
fn head(number: u8, len: u32) -> Vec<u8> {
    [&len.to_be_bytes()[..], &[number]].concat()
}

fn tell(input: &str, got: &str) {
    row("member", input, got);
}

#[test]
fn what_is_no_handshake() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Fetches, &[]);
    for (input, said) in [
        ("garbage in place of a handshake", bytes(4096, 62)),
        ("a request of HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("an encrypted handshake (MSE)", bytes(96, 63)),
    ] {
        let mut foe = Foe::connect(FOE, arena.port).expect("a connection");
        let _ = foe.send(&said);
        assert!(foe.hear().is_none(), "{input}: it was answered");
        tell(input, "closed at once, without a word");
    }
    let mut other = arena.parsed.info_hash();
    other.0[19] ^= 1;
    assert!(Foe::greet(FOE, arena.port, other, id(1), true).is_none());
    tell("a handshake for another swarm", "closed at once, without a word");
    let mut silent = Foe::connect(FOE, arena.port).expect("a connection");
    let mut half = Foe::connect(FOE, arena.port).expect("a connection");
    half.send(b"\x13BitTorrent pro").expect("sent");
    let mut dripping = Foe::connect(FOE, arena.port).expect("a connection");
    dripping.send(b"\x13").expect("sent");
    for byte in b"BitTorrent" {
        dripping.send(&[*byte]).expect("sent");
    }
    for (input, foe) in
        [("nothing at all", &mut silent), ("half a handshake", &mut half), ("a handshake, drop by drop", &mut dripping)]
    {
        assert!(foe.hear().is_none(), "{input}: it was answered");
        tell(input, "closed after 10 s");
    }
    arena.honest_fetch();
}

#[test]
fn what_breaks_the_protocol() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Fetches, &[]);
    let parts = arena.parsed.geometry.parts();
    let field = parts.div_ceil(8) as usize;
    let mut spare = vec![0; field];
    spare[field - 1] = 1;
    let request = |part, begin, len| Message::Request(RawBlock { part, begin, len });
    let block = |part: u32, begin: u32| [&head(7, 9 + 16384)[..], &part.to_be_bytes(), &begin.to_be_bytes()].concat();
    let lie = Metadata::Data { piece: 0, total: 20_000, bytes: vec![1; 16384] }.encode();
    for (n, (input, said)) in [
        ("a message of 4 GiB", head(20, u32::MAX)),
        ("a message of 1 MiB and a byte", head(99, 1 << 20)),
        ("a block of 16 MiB", head(7, 16 << 20)),
        ("a block without a byte", head(7, 9)),
        ("a request that is too short", head(6, 12)),
        ("a choke with a payload", head(0, 9)),
        ("a bitfield of 200 KiB", head(5, 200 << 10)),
        ("a bitfield one byte too long", bytes_of(&[Message::Bitfield(vec![0; field + 1])])),
        ("a bitfield one byte too short", bytes_of(&[Message::Bitfield(vec![0; field - 1])])),
        ("a bitfield with a spare bit", bytes_of(&[Message::Bitfield(spare)])),
        ("have-all three times", bytes_of(&[Message::HaveAll, Message::HaveAll, Message::HaveAll])),
        ("have-none after have-all", bytes_of(&[Message::HaveAll, Message::HaveNone])),
        ("have-none after a have", bytes_of(&[Message::Have(0), Message::HaveNone])),
        ("a have of a part that does not exist", bytes_of(&[Message::Have(parts)])),
        ("a have of part 2^32-1", bytes_of(&[Message::Have(u32::MAX)])),
        ("a block that nobody asked for", block(0, 0)),
        ("a block of a part that does not exist", block(u32::MAX, 0)),
        ("a request beyond the last part", bytes_of(&[request(parts, 0, 16384)])),
        ("a request beyond the end of a part", bytes_of(&[request(parts - 1, 0, 1 << 19)])),
        ("a request whose end is beyond 2^32", bytes_of(&[request(0, u32::MAX, 16384)])),
        ("a request for no bytes", bytes_of(&[request(0, 0, 0)])),
        ("an extension handshake that is garbage", bytes_of(&[Message::Extended { id: 0, payload: bytes(300, 64) }])),
        (
            "an extension handshake nested 10,000 deep",
            bytes_of(&[Message::Extended { id: 0, payload: vec![b'l'; 10_000] }]),
        ),
        ("metadata that lies about its size", bytes_of(&[Message::Extended { id: 2, payload: lie[..9000].to_vec() }])),
        ("garbage after the handshake", bytes(100_000, 65)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut foe = arena.foe(id(n as u64)).expect("let in");
        let _ = foe.send(&said);
        assert!(foe.is_closed());
        tell(input, "closed at once");
    }
    arena.honest_fetch();
}

#[test]
fn what_means_nothing() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Shares, &[]);
    let hello = |text: &str| Message::Extended { id: 0, payload: text.as_bytes().to_vec() };
    let lie = Metadata::Data { piece: 0, total: 20_000, bytes: vec![1; 16384] }.encode();
    let mut unknown = head(99, 1 << 19);
    unknown.resize(4 + (1 << 19), 0);
    let mut foes = Vec::new();
    for (n, (input, said)) in [
        ("an unknown message of 512 KiB", unknown),
        ("a port of a DHT, suggestions, allowed-fast of no part", bytes_of(&[
            Message::Port(0),
            Message::Suggest(u32::MAX),
            Message::AllowedFast(u32::MAX),
        ])),
        ("cancels and rejects of what was never asked", bytes_of(&[
            Message::Cancel(RawBlock { part: u32::MAX, begin: 1, len: u32::MAX }),
            Message::Reject(RawBlock { part: 0, begin: 0, len: 16384 }),
        ])),
        ("a hello with negative and huge numbers", bytes_of(&[hello(
            "d12:complete_agoi-1e1:md11:ut_metadatai-3e6:ut_pexi999ee13:metadata_sizei99999999999e9:oc_maxreqi0e1:pi99999e4:reqqi0ee",
        )])),
        ("a hello with values of other types", bytes_of(&[hello("d1:mle1:ple4:reqq3:abc1:vi1e6:youripi1ee")])),
        ("metadata that nobody asked for", bytes_of(&[Message::Extended { id: 2, payload: lie }])),
        ("an unknown extension", bytes_of(&[Message::Extended { id: 200, payload: bytes(1000, 67) }])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut foe = arena.friend(n as u64);
        foe.send(&said).expect("sent");
        assert!(foe.is_heard(), "{input}: it was closed");
        tell(input, "ignored");
        foes.push(foe);
    }
    let mut foe = arena.friend(99);
    for piece in [1, 1000, u32::MAX] {
        assert_eq!(foe.metadata(piece), Some(Metadata::Reject { piece }));
    }
    tell("requests for metadata that does not exist", "a reject for each");
    arena.honest_fetch();
}

/// Serves what it is asked for, with every `nth` byte of a block changed, until it is closed; how many blocks it sent.
fn serve_wrong(foe: &mut Foe, arena: &Arena, only_block: Option<u32>) -> usize {
    let mut sent = 0;
    while let Some(block) = foe.request() {
        let start = u64::from(block.part) * u64::from(arena.parsed.geometry.part_size()) + u64::from(block.begin);
        let mut payload = arena.data[start as usize..][..block.len as usize].to_vec();
        if only_block.is_none_or(|begin| (block.begin..block.begin + block.len).contains(&begin)) {
            payload[0] ^= 1;
        }
        foe.give(block, &payload);
        sent += 1;
    }
    sent
}

#[test]
fn wrong_parts() {
    if !is_possible() {
        return;
    }
    for (n, (input, only)) in
        [("every block wrong", None), ("one wrong block in each part", Some(16384))].into_iter().enumerate()
    {
        let mut arena = Arena::new(Victim::Fetches, &[]);
        let n = n as u64;
        let mut foe = arena.giver(n);
        assert!(serve_wrong(&mut foe, &arena, only) > 0, "it was asked for nothing");
        let warning = arena.victim.event_named("warning");
        assert!(warning["text"].as_str().is_some_and(|text| text.contains("127.0.0.66")), "{warning}");
        let mut again = arena.foe(id(n)).expect("the 68 bytes are answered");
        assert!(again.hear().is_none(), "it was let in again");
        let mut other = arena.friend(100 + n);
        assert!(other.is_heard(), "another at its address may come");
        arena.honest_fetch();
        tell(input, "closed at the first wrong part, not let in again");
    }
}

#[test]
fn wrong_parts_under_ever_new_names() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Fetches, &[]);
    // Somebody elsewhere has everything too: an address is never shut where nobody else has what is missing.
    let mut source = Foe::greet(ELSEWHERE, arena.port, arena.parsed.info_hash(), id(99), true).expect("let in");
    source.say(&[Message::HaveAll]);
    assert!(source.is_heard(), "let in");
    let mut names = 0;
    loop {
        let mut foe = arena.giver(names);
        if foe.hear().is_none() {
            break;
        }
        assert!(serve_wrong(&mut foe, &arena, None) > 0);
        names += 1;
        assert!(names < 10, "it may come back for ever");
    }
    assert_eq!(names, 3);
    arena.honest_fetch();
    drop(source);
    tell("wrong parts under ever new ids from one address", "closed each time; after three the address is shut");
}

/// It begins what it is asked for with a wrong block and leaves others to finish it, until it is closed.
#[test]
fn a_wrong_block_and_then_a_choke() {
    if !is_possible() {
        return;
    }
    let mut arena = Arena::new(Victim::Fetches, &[]);
    let mut foe = arena.giver(1);
    let spoiling = thread::spawn(move || {
        let mut spoilt = 0;
        while let Some(block) = foe.request() {
            foe.give(block, &vec![0; block.len as usize]);
            foe.say(&[Message::Choke, Message::Unchoke]);
            spoilt += 1;
        }
        spoilt
    });
    let peer = format!("127.0.0.1:{}", arena.port);
    let _seed = seed(&arena.place, &arena.manifest, &["--peer", &peer]);
    let warning = arena.victim.event_named("warning");
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("is wrong")), "{warning}");
    arena.honest_fetch();
    assert!(spoiling.join().expect("no panic") > 0);
    tell("wrong blocks, each followed by a choke, for ever", "what it spoilt is fetched anew from one member alone");
}

#[test]
fn one_that_owes_for_ever() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Fetches, &[]);
    let mut silent = arena.giver(1);
    assert!(silent.request().is_some(), "it was asked for nothing");
    let mut dripping = arena.giver(2);
    let block = dripping.request().expect("it was asked for nothing");
    dripping
        .send(&[&head(7, 9 + block.len)[..], &block.part.to_be_bytes(), &block.begin.to_be_bytes()].concat())
        .expect("sent");
    let storm = dripping.storm(vec![7], std::time::Duration::from_millis(50));
    arena.honest_fetch();
    drop(storm);
    tell("requests left without an answer", "asked elsewhere after a while");
    tell("a block, one byte each 50 ms", "its part is taken over by a faster one");
}
