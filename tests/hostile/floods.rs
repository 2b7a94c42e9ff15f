//! Members that send too much of what is harmless once.

use std::{fs, thread, time::Duration};

use orchestra::{
    manifest::Manifest,
    wire::message::{Message, RawBlock},
};
use rustix::process::Signal;

use crate::{
    arena::{Arena, Victim, is_possible, peak},
    foe::{FOE, Foe, Heard, bytes_of, id},
    row,
    support::{Place, Program, member, port},
};

const BLOCK: RawBlock = RawBlock { part: 3, begin: 16384, len: 16384 };

fn tell(input: &str, got: &str) {
    row("member", input, got);
}

#[test]
fn floods_of_what_changes_nothing() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Fetches, &[]);
    for (n, (input, said)) in [
        ("a storm of keep-alives", vec![Message::KeepAlive]),
        ("a storm of choke and unchoke", vec![Message::Choke, Message::Unchoke]),
        ("a storm of interest and none", vec![Message::Interested, Message::NotInterested]),
        ("a storm of cancels", vec![Message::Cancel(BLOCK)]),
        ("a storm of rejects", vec![Message::Reject(BLOCK)]),
        ("a storm of the same have", vec![Message::Have(0)]),
        ("a storm of suggestions", vec![Message::Suggest(1), Message::AllowedFast(1)]),
        ("a storm of extension handshakes", vec![Message::Extended { id: 0, payload: b"d1:pi1ee".to_vec() }]),
        ("a storm of requests for what is not there", vec![Message::Request(BLOCK)]),
    ]
    .into_iter()
    .enumerate()
    {
        let foe = arena.giver(n as u64);
        let took = foe.storm(bytes_of(&said).repeat(100), Duration::ZERO).closed();
        assert!(took > 0);
        tell(input, "closed after some thousand");
    }
    arena.honest_fetch();
}

#[test]
fn requests_without_end() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Shares, &[]);
    let mut foe = arena.friend(1);
    foe.say(&vec![Message::Request(BLOCK); 500]);
    for _ in 0..500 {
        let (block, payload) = foe
            .until(|heard| match heard {
                Heard::Block(block, payload) => Some((block, payload)),
                Heard::Message(Message::Reject(block)) => panic!("refused: {block:?}"),
                Heard::Message(_) => None,
            })
            .expect("served");
        assert_eq!(block, BLOCK);
        let start = 3 * 65536 + 16384;
        assert!(payload == arena.data[start..start + 16384], "other bytes");
    }
    let storm = foe.storm(bytes_of(&[Message::Request(BLOCK)]), Duration::from_millis(1));
    // Without reading any of it: what is said to it piles up no further than a queue.
    let mut deaf = arena.friend(2);
    deaf.stream.set_write_timeout(Some(Duration::from_secs(1))).expect("set");
    let flood = bytes_of(&vec![Message::Request(BLOCK); 1000]);
    while deaf.send(&flood).is_ok() {}
    arena.honest_fetch();
    drop(storm);
    tell("the same block for ever", "each request answered once, in turn with others");
    tell("requests without end, answers left unread", "2,000 wait; reading rests, or closed");
}

/// How many sockets it has open.
fn sockets(program: &Program) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", program.pid().as_raw_nonzero())).expect("it runs");
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn bitfields_without_end() {
    if !is_possible() {
        return;
    }
    const PARTS: usize = 1 << 20;
    // As many as may be said of so many parts: see `session::hear::statements`.
    const STATEMENTS: usize = 73;
    let place = Place::new();
    let manifest = place.path("x.orch");
    let zeroes = "0".repeat(40);
    let head = format!("0.0.0.0:0\nx.bin\n{zeroes}\n{PARTS}\n1\n{PARTS}\n");
    // The SHA-1 of one byte, a one: parts of zeros are known without being fetched.
    let text = head + &"bf8b4530d8d246dd74ac53a13471bba17941dff7\n".repeat(PARTS);
    fs::write(&manifest, &text).expect("written");
    let info_hash = Manifest::parse(text.as_bytes()).expect("a manifest").info_hash();
    let mut victim = member(&place, &manifest, &place.path("copy"), &[]);
    let port = port(&mut victim) as u16;
    let mut foes: Vec<_> = (0..12).map(|n| Foe::greet(FOE, port, info_hash, id(n), true).expect("let in")).collect();
    foes.iter_mut().for_each(|foe| assert!(foe.is_heard()));
    let before = peak(&victim);
    let foes: Vec<_> = foes
        .into_iter()
        .map(|mut foe| {
            thread::spawn(move || {
                for n in 0..STATEMENTS {
                    // Now these, now those; never all.
                    let bits = if n % 2 == 0 { 0x55 } else { 0xa8 };
                    foe.say(&[Message::Bitfield(vec![bits; PARTS / 8])]);
                }
                assert!(foe.is_heard(), "it said no more than it may");
            })
        })
        .collect();
    foes.into_iter().for_each(|foe| foe.join().expect("heard"));
    let took = peak(&victim) - before;
    assert!(took < 48 << 20, "the victim took {} MiB more", took >> 20);
    victim.signal(Signal::TERM);
    victim.end();
    tell("all the bitfields that may be said, of 2^20 parts, from 12", &format!("{} MiB more", took >> 20));
}

#[test]
fn a_thousand_connections() {
    if !is_possible() {
        return;
    }
    for who in [Victim::Fetches, Victim::Shares] {
        let arena = Arena::new(who, &[]);
        let silent: Vec<Foe> = (0..1000).filter_map(|_| Foe::connect(FOE, arena.port).ok()).collect();
        assert!(silent.len() > 900, "{} connections", silent.len());
        let mut talking: Vec<Foe> = (0..1000).filter_map(|n| arena.foe(id(n))).collect();
        assert!(talking.len() > 900, "{} were heard", talking.len());
        // Each is let in or refused by the end of this. Others took the places of some meanwhile: those are not in any more.
        talking.retain_mut(|foe| {
            foe.say(&[Message::HaveNone, Message::Interested]);
            foe.is_heard()
        });
        talking.retain_mut(Foe::is_heard);
        let open = talking.len();
        // Sixty places, and four for those who are told of others and go.
        assert!((1..=64).contains(&open), "{open} are in");
        // Besides them: 64 that said nothing yet, and the member's own few.
        let sockets = sockets(&arena.victim);
        assert!(sockets <= 64 + 64 + 16, "{sockets} sockets are open");
        arena.honest_fetch();
        let shares = if who == Victim::Shares { "one that shares" } else { "one that fetches" };
        tell(
            &format!("a thousand silent connections, and a thousand ids, to {shares}"),
            &format!("{open} are in; honest ones too"),
        );
    }
}
