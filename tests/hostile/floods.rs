//! Members that send too much of what is harmless once.

use std::time::Duration;

use orchestra::wire::message::{Message, RawBlock};

use crate::{
    arena::{Arena, Victim, is_possible},
    foe::{FOE, Foe, Heard, bytes_of, id},
    row,
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
        let mut open = 0;
        for foe in &mut talking {
            foe.say(&[Message::HaveNone, Message::Interested]);
            open += usize::from(foe.is_heard());
        }
        // Sixty places, and four for those who are told of others and go.
        assert!((1..=64).contains(&open), "{open} are in");
        arena.honest_fetch();
        let shares = if who == Victim::Shares { "one that shares" } else { "one that fetches" };
        tell(
            &format!("a thousand silent connections, and a thousand ids, to {shares}"),
            &format!("{open} are in; honest ones too"),
        );
    }
}
