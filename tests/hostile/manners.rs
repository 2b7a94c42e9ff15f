//! What other clients rely on: keep-alives before their patience ends, silence after a choke, each request answered once.

use std::time::Instant;

use orchestra::wire::message::{Message, RawBlock};

use crate::{
    arena::{Arena, Victim, is_possible},
    foe::{FOE, Foe, Heard, id},
    row,
};

fn tell(input: &str, got: &str) {
    row("manners", input, got);
}

fn block(n: u32) -> RawBlock {
    RawBlock { part: n / 4, begin: n % 4 * 16384, len: 16384 }
}

#[test]
fn it_keeps_alive_before_others_lose_patience() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Shares, &[]);
    let mut foe = arena.friend(1);
    let since = Instant::now();
    let kept = foe.until(|heard| matches!(heard, Heard::Message(Message::KeepAlive)).then_some(()));
    assert!(kept.is_some(), "closed");
    let seconds = since.elapsed().as_secs();
    arena.honest_fetch();
    tell("a client that is silent (rqbit leaves after 10 s of that)", &format!("a keep-alive after {seconds} s"));
}

#[test]
fn each_request_is_answered_once() {
    if !is_possible() {
        return;
    }
    let arena = Arena::new(Victim::Shares, &[]);
    let mut foe = arena.friend(1);
    let asked: Vec<RawBlock> = (0..200).map(block).collect();
    let mut said = Vec::new();
    for block in &asked {
        said.push(Message::Request(*block));
    }
    // Every third is taken back; whether in time or not, it is answered once.
    said.extend(asked.iter().step_by(3).map(|block| Message::Cancel(*block)));
    foe.say(&said);
    let mut blocks = 0;
    let mut answered: Vec<RawBlock> = Vec::new();
    while answered.len() < asked.len() {
        let heard = foe.hear().expect("closed");
        if let Heard::Block(block, _) = heard {
            blocks += 1;
            answered.push(block);
        } else if let Heard::Message(Message::Reject(block)) = heard {
            answered.push(block);
        }
    }
    assert!(foe.metadata(0).is_some(), "closed");
    let mut sorted = answered.clone();
    sorted.sort_by_key(|block| (block.part, block.begin));
    assert_eq!(sorted, asked, "each once");
    arena.honest_fetch();
    let arena = Arena::new(Victim::Shares, &[]);
    // Without the fast extension what is taken back is dropped in silence, and what is refused too.
    let mut plain = Foe::greet(FOE, arena.port, arena.parsed.info_hash(), id(2), false).expect("let in");
    plain.say(&[Message::Request(block(1)), Message::Request(block(2))]);
    for _ in 0..2 {
        let answer = plain.until(|heard| match heard {
            Heard::Block(..) => Some(()),
            Heard::Message(Message::Reject(_)) => panic!("a reject without the fast extension"),
            Heard::Message(_) => None,
        });
        assert!(answer.is_some(), "closed");
    }
    arena.honest_fetch();
    tell("200 requests, 67 of them cancelled", &format!("200 answers: {blocks} blocks, {} rejects", 200 - blocks));
}

/// A client that chokes with requests open: `fast` rejects each, the other drops them in silence.
fn choke_and_go_on(fast: bool) {
    let mut arena = Arena::new(Victim::Fetches, &["--exit-when-done"]);
    let mut foe = Foe::greet(FOE, arena.port, arena.parsed.info_hash(), id(1), fast).expect("let in");
    let parts = arena.parsed.geometry.parts();
    let all = match fast {
        true => Message::HaveAll,
        false => {
            let mut bits = vec![0xff; parts.div_ceil(8) as usize];
            let spare = bits.len() * 8 - parts as usize;
            if let Some(last) = bits.last_mut() {
                *last <<= spare;
            }
            Message::Bitfield(bits)
        }
    };
    foe.say(&[all, Message::Unchoke]);
    let mut chokes = 0;
    let mut served = 0;
    while let Some(block) = foe.request() {
        served += 1;
        let start = u64::from(block.part) * 65536 + u64::from(block.begin);
        if served % 40 == 0 && chokes < 5 {
            chokes += 1;
            foe.say(&[Message::Choke]);
            // Whatever was under way is there once metadata that is asked for now is answered: no request after that.
            let mut open = vec![block];
            let asked = |foe: &mut Foe, open: &mut Vec<RawBlock>| {
                foe.say(&[
                    Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai7eee".to_vec() },
                    Message::Extended { id: 2, payload: b"d8:msg_typei0e5:piecei0ee".to_vec() },
                ]);
                let mut count = 0;
                foe.until(|heard| match heard {
                    Heard::Message(Message::Extended { id: 7, .. }) => Some(()),
                    Heard::Message(Message::Request(block)) => {
                        open.push(block);
                        count += 1;
                        None
                    }
                    _ => None,
                })
                .expect("closed");
                count
            };
            asked(&mut foe, &mut open);
            assert_eq!(asked(&mut foe, &mut open), 0, "it asks while it is choked");
            if fast {
                foe.say(&open.into_iter().map(Message::Reject).collect::<Vec<_>>());
            }
            foe.say(&[Message::Unchoke]);
        } else {
            let payload = arena.data[start as usize..][..block.len as usize].to_vec();
            foe.give(block, &payload);
        }
    }
    assert_eq!(chokes, 5);
    arena.victim.event_named("whole");
    let last = arena.victim.end().with(0).last();
    assert_eq!(last["have"], arena.data.len());
    let how = if fast { "rejects after it" } else { "silence after it" };
    tell(&format!("chokes with requests open, {how}"), "no request until the unchoke, then asked again: whole");
}

#[test]
fn a_choke_with_rejects_and_one_without() {
    if is_possible() {
        choke_and_go_on(true);
        choke_and_go_on(false);
    }
}
