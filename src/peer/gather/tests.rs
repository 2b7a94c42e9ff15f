use proptest::{collection::vec, prelude::*};

use super::*;

const HERE: PeerKey = PeerKey(1);
const THERE: PeerKey = PeerKey(2);

fn dictionary(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7) as u8).collect()
}

fn steps(gather: &mut Gather) -> Vec<Step> {
    std::iter::from_fn(|| gather.next_step()).collect()
}

/// This piece of the dictionary.
fn piece(of: &[u8], piece: u32) -> Vec<u8> {
    let start = (piece * metadata::PIECE) as usize;
    of[start..of.len().min(start + metadata::PIECE as usize)].to_vec()
}

fn dropped(steps: &[Step]) -> Vec<(PeerKey, bool)> {
    let dropped = |step: &Step| match step {
        Step::Drop { key, blame, .. } => Some((*key, *blame)),
        Step::Ask(..) | Step::Whole(_) => None,
    };
    steps.iter().filter_map(dropped).collect()
}

#[test]
fn pieces_come_from_several() {
    let whole = dictionary(40_000);
    let mut gather = Gather::new(InfoHash::of(&whole));
    gather.on_offer(HERE, 40_000, Time::ZERO);
    gather.on_offer(THERE, 40_000, Time::ZERO);
    let asked = [(HERE, 0), (HERE, 1), (THERE, 2), (THERE, 0)].map(|(key, piece)| Step::Ask(key, piece));
    assert_eq!(steps(&mut gather), asked, "what nobody else is asked for comes first, two pieces each");
    gather.on_data(HERE, 0, 40_000, piece(&whole, 0), Time::ZERO);
    gather.on_data(THERE, 2, 40_000, piece(&whole, 2), Time::ZERO);
    assert_eq!(gather.most_pieces(), 2);
    gather.on_data(HERE, 1, 40_000, piece(&whole, 1), Time::ZERO);
    assert_eq!(steps(&mut gather).last(), Some(&Step::Whole(whole.into())));
}

#[test]
fn who_alone_gave_a_wrong_one_is_blamed() {
    let mut gather = Gather::new(InfoHash::of(&dictionary(100)));
    gather.on_offer(HERE, 100, Time::ZERO);
    gather.on_data(HERE, 0, 100, vec![0; 100], Time::ZERO);
    assert_eq!(dropped(&steps(&mut gather)), [(HERE, true)]);
    assert_eq!(gather.members(), 0);
}

#[test]
fn where_several_gave_a_wrong_one_each_is_asked_alone() {
    let whole = dictionary(30_000);
    let mut gather = Gather::new(InfoHash::of(&whole));
    gather.on_offer(HERE, 30_000, Time::ZERO);
    gather.on_offer(THERE, 30_000, Time::ZERO);
    gather.on_data(THERE, 1, 30_000, piece(&whole, 1), Time::ZERO);
    gather.on_data(HERE, 0, 30_000, vec![9; 16384], Time::ZERO);
    let all = steps(&mut gather);
    assert_eq!(dropped(&all), [], "nobody knows who it was");
    assert!(all.ends_with(&[Step::Ask(HERE, 0)]), "{all:?}");
    // What the other one still owes does not count now.
    gather.on_data(THERE, 0, 30_000, piece(&whole, 0), Time::ZERO);
    gather.on_data(HERE, 0, 30_000, vec![9; 16384], Time::ZERO);
    gather.on_data(HERE, 1, 30_000, piece(&whole, 1), Time::ZERO);
    let all = steps(&mut gather);
    assert_eq!(dropped(&all), [(HERE, true)]);
    assert!(all.ends_with(&[Step::Ask(THERE, 0), Step::Ask(THERE, 1)]), "{all:?}");
    gather.on_data(THERE, 0, 30_000, piece(&whole, 0), Time::ZERO);
    gather.on_data(THERE, 1, 30_000, piece(&whole, 1), Time::ZERO);
    assert_eq!(steps(&mut gather), [Step::Whole(whole.into())]);
}

#[test]
fn lengths_that_cannot_be_are_not_asked_for() {
    let mut gather = Gather::new(InfoHash::of(b""));
    for (key, size) in [(HERE, 0), (THERE, MAX_SIZE + 1)] {
        gather.on_offer(key, size, Time::ZERO);
        assert_eq!(dropped(&steps(&mut gather)), [(key, false)]);
    }
    for n in 0..=MAX_COPIES as u32 {
        gather.on_offer(PeerKey(n), 5 + n, Time::ZERO);
    }
    assert_eq!(dropped(&steps(&mut gather)), [(PeerKey(MAX_COPIES as u32), false)]);
}

#[test]
fn what_nobody_asked_for_ends_it() {
    let mut gather = Gather::new(InfoHash::of(b""));
    gather.on_offer(HERE, 100, Time::ZERO);
    gather.on_data(HERE, 1, 20_000, vec![0; 3616], Time::ZERO);
    assert_eq!(dropped(&steps(&mut gather)), [(HERE, true)]);
    gather.on_offer(THERE, 100, Time::ZERO);
    gather.on_data(THERE, 0, 101, vec![0; 101], Time::ZERO);
    assert_eq!(dropped(&steps(&mut gather)), [(THERE, true)]);
    assert_eq!(gather.most_pieces(), 0);
}

#[test]
fn who_does_not_answer_is_let_go_without_blame() {
    let mut gather = Gather::new(InfoHash::of(b""));
    gather.on_offer(HERE, 100, Time::ZERO);
    gather.on_offer(THERE, 100, Time::from_secs(1));
    gather.tick(PATIENCE);
    assert_eq!(dropped(&steps(&mut gather)), [(HERE, false)]);
    gather.on_reject(THERE, 0, PATIENCE);
    assert_eq!(dropped(&steps(&mut gather)), [(THERE, false)]);
}

#[test]
fn who_is_slow_alone_does_not_hold_up_the_others() {
    let mut gather = Gather::new(InfoHash::of(&dictionary(100_000)));
    gather.on_offer(HERE, 30_000, Time::ZERO);
    gather.on_offer(THERE, 30_000, Time::ZERO);
    gather.on_data(HERE, 0, 30_000, vec![0; 16384], Time::ZERO);
    gather.on_data(THERE, 1, 30_000, vec![0; 13616], Time::ZERO);
    let late = PATIENCE_ALONE - Time::from_secs(1);
    gather.on_data(HERE, 1, 30_000, vec![0; 13616], late);
    gather.on_data(THERE, 0, 30_000, vec![0; 16384], late);
    steps(&mut gather);
    gather.tick(PATIENCE_ALONE);
    assert_eq!(dropped(&steps(&mut gather)), [(HERE, false)]);
}

/// How a member behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// Right length, wrong bytes.
    Wrong,
    OtherLength(u32),
    Refuses,
    Silent,
}

fn manners() -> impl Strategy<Value = Manner> {
    let length = prop_oneof![Just(1), Just(40_000), Just(MAX_SIZE), any::<u32>()];
    prop_oneof![
        Just(Manner::Honest),
        Just(Manner::Wrong),
        Just(Manner::Refuses),
        Just(Manner::Silent),
        length.prop_map(Manner::OtherLength),
    ]
}

proptest! {
    /// Whoever else is there and in whatever order they answer: one that is honest is enough, and is never blamed.
    #[test]
    fn one_honest_member_is_enough(
        length in 1usize..100_000,
        mut others in vec(manners(), 0..6),
        place in any::<prop::sample::Index>(),
        order in vec(any::<prop::sample::Index>(), 200),
    ) {
        let whole = dictionary(length);
        others.insert(place.index(others.len() + 1), Manner::Honest);
        let mut gather = Gather::new(InfoHash::of(&whole));
        let mut now = Time::ZERO;
        let mut order = order.iter().cycle();
        let mut to_join: Vec<usize> = (0..others.len()).collect();
        let mut asked: Vec<(PeerKey, u32)> = Vec::new();
        let mut done = None;
        for _ in 0..2000 {
            now += Time::from_secs(1);
            for at in to_join.drain(..) {
                let size = match others[at] { Manner::OtherLength(size) => size, _ => length as u32 };
                gather.on_offer(PeerKey(at as u32), size, now);
            }
            if !asked.is_empty() {
                let (key, n) = asked.remove(order.next().unwrap().index(asked.len()));
                match others[key.0 as usize] {
                    Manner::Honest => gather.on_data(key, n, length as u32, piece(&whole, n), now),
                    Manner::Wrong => {
                        let bytes = vec![0xff; piece(&whole, n).len()];
                        gather.on_data(key, n, length as u32, bytes, now);
                    }
                    Manner::OtherLength(size) => {
                        let bytes = vec![0; metadata::length(n, size).unwrap()];
                        gather.on_data(key, n, size, bytes, now);
                    }
                    Manner::Refuses => gather.on_reject(key, n, now),
                    Manner::Silent => {}
                }
            }
            gather.tick(now);
            for step in steps(&mut gather) {
                match step {
                    Step::Ask(key, n) => {
                        asked.push((key, n));
                        prop_assert!(asked.iter().filter(|(other, _)| *other == key).count() <= IN_FLIGHT);
                    }
                    Step::Drop { key, blame, .. } => {
                        let at = key.0 as usize;
                        prop_assert!(!blame || others[at] != Manner::Honest, "an honest one is blamed");
                        asked.retain(|(other, _)| *other != key);
                        // Who was let go without blame comes back.
                        to_join.extend((!blame && others[at] == Manner::Honest).then_some(at));
                    }
                    Step::Whole(bytes) => done = Some(bytes),
                }
            }
            if done.is_some() {
                break;
            }
        }
        prop_assert_eq!(done.as_deref(), Some(&whole[..]));
    }
}
