use super::*;
use crate::geometry::Geometry;

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);

fn id(key: PeerKey) -> PeerId {
    PeerId([key.0 as u8; 20])
}

fn reveal(parts: u64) -> Reveal {
    let g = Geometry::new(parts, 1).unwrap();
    let mut reveal = Reveal::new(g.all_parts(), &mut fastrand::Rng::with_seed(3));
    for key in [A, B] {
        reveal.joined(key, id(key));
    }
    reveal
}

fn next(r: &mut Reveal, key: PeerKey) -> Option<PartIndex> {
    r.next(key, 2, Time::ZERO, |_| false, |_| 0)
}

#[test]
fn each_part_goes_to_one_connection_and_the_next_when_one_is_sent() {
    let mut r = reveal(10);
    let shown = [next(&mut r, A), next(&mut r, A), next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
    assert!((0..4).all(|i| !shown[..i].contains(&shown[i])));
    assert_eq!(next(&mut r, A), None);
    r.sent(A, shown[0], 0, Time::ZERO);
    assert!(next(&mut r, A).is_some_and(|p| !shown.contains(&p)));
}

/// Shows parts to A until it gets no more, and sends it all of them; nobody has any of them but A.
fn give_all_it_may_owe(r: &mut Reveal) -> Vec<PartIndex> {
    let mut given = Vec::new();
    while let Some(part) = next(r, A) {
        r.sent(A, part, 0, Time::ZERO);
        given.push(part);
        r.review(Time::ZERO);
    }
    given
}

#[test]
fn who_spreads_nothing_gets_nothing_new_until_it_has_spread_most_of_it() {
    let mut r = reveal(40);
    let given = give_all_it_may_owe(&mut r);
    assert!((3..8).contains(&given.len()), "{given:?}");
    assert!(next(&mut r, B).is_some(), "others get on");
    for part in &given[1..] {
        assert_eq!(next(&mut r, A), None);
        r.seen(B, *part, 2, Time::ZERO);
        r.review(Time::ZERO);
    }
    assert!(next(&mut r, A).is_some());
}

#[test]
fn who_comes_back_owes_what_it_owed() {
    let mut r = reveal(40);
    give_all_it_may_owe(&mut r);
    r.left(A, id(A), |_| 1);
    r.joined(A, id(A));
    r.review(Time::ZERO);
    assert_eq!(next(&mut r, A), None);
}

#[test]
fn when_all_was_given_nobody_is_doubted_any_more() {
    let mut r = reveal(40);
    give_all_it_may_owe(&mut r);
    assert!(r.review(Time::ZERO).contains(&A));
    for part in Geometry::new(40, 1).unwrap().all_parts() {
        r.sent(B, part, 2, Time::ZERO);
    }
    assert!(r.review(Time::from_secs(600)).is_empty());
}

#[test]
fn what_was_lost_with_who_spreads_nothing_is_given_to_another_soon() {
    let mut r = reveal(40);
    let given = give_all_it_may_owe(&mut r);
    r.look_again(Time::from_secs(2), Time::ZERO, |_| 0);
    let part = next(&mut r, B).unwrap();
    assert!(given.contains(&part));
    r.sent(B, part, 0, Time::from_secs(2));
    r.seen(B, part, 2, Time::from_secs(2));
    assert_eq!(r.review(Time::ZERO).into_iter().collect::<Vec<_>>(), [A], "what another spread for it is still owed");
}

#[test]
fn the_last_parts_go_to_who_asks_for_them() {
    let mut r = reveal(2);
    let shown = [next(&mut r, A), next(&mut r, A)].map(Option::unwrap);
    r.wanted(A, shown[0], Time::ZERO);
    let late = |r: &mut Reveal| r.next(B, 2, LAST_TIME, |_| false, |_| 0);
    assert_eq!(next(&mut r, B), None, "A has only just seen them");
    assert_eq!(late(&mut r), Some(shown[1]));
    assert_eq!(late(&mut r), None, "A asked for the other");
}

#[test]
fn what_is_not_spread_is_given_again_to_another() {
    let mut r = reveal(1);
    let part = next(&mut r, A).unwrap();
    r.sent(A, part, 0, Time::ZERO);
    assert!(r.is_over(Time::ZERO));
    r.look_again(Time::from_secs(1), Time::ZERO, |_| 1);
    assert_eq!(next(&mut r, B), None);
    r.look_again(Time::from_secs(2), Time::ZERO, |_| 1);
    assert_eq!(next(&mut r, A), None, "it had it already");
    assert_eq!(next(&mut r, B), Some(part));
}

#[test]
fn who_takes_nothing_holds_nothing_back() {
    let mut r = reveal(4);
    let shown = [next(&mut r, A), next(&mut r, A), next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
    r.sent(B, shown[2], 0, Time::from_secs(1));
    r.take_back(Time::from_secs(4), TAKE_TIME.0);
    assert!(!r.is_idle(A), "it still has time");
    r.take_back(Time::from_secs(5), TAKE_TIME.0);
    assert!(r.is_idle(A));
    assert_eq!(next(&mut r, A), None, "nothing new");
    r.sent(B, shown[3], 0, Time::from_secs(5));
    let left = [next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
    assert!(left.iter().all(|part| shown[..2].contains(part)));
    r.sent(A, shown[0], 0, Time::from_secs(6));
    assert!(!r.is_idle(A), "it takes after all");
}

#[test]
fn what_was_taken_back_is_not_forgotten_when_some_holders_do_not_count_any_more() {
    let mut r = reveal(40);
    give_all_it_may_owe(&mut r);
    r.look_again(Time::from_secs(2), Time::ZERO, |_| 0);
    let lain = [next(&mut r, B), next(&mut r, B)].map(Option::unwrap);
    r.take_back(TAKE_TIME.0, TAKE_TIME.0);
    assert!(r.is_idle(B));
    r.look_at_all(|_| 1);
    let other = PeerKey(3);
    r.joined(other, id(other));
    let given: Vec<_> = std::iter::from_fn(|| r.next(other, 100, Time::ZERO, |_| false, |_| 0)).collect();
    assert!(lain.iter().all(|part| given.contains(part)), "{lain:?} {given:?}");
}

#[test]
fn what_left_with_its_only_holder_is_given_again() {
    let mut r = reveal(2);
    let part = next(&mut r, A).unwrap();
    let other = next(&mut r, B).unwrap();
    r.sent(B, other, 0, Time::ZERO);
    r.left(A, id(A), |p| u16::from(p == other));
    assert_eq!(next(&mut r, B), Some(part));
}

#[test]
fn what_somebody_asked_for_unbidden_is_left_to_it_for_a_while() {
    let mut r = reveal(2);
    let g = Geometry::new(2, 1).unwrap();
    let wanted = g.part(0).unwrap();
    r.wanted(PeerKey(9), wanted, Time::ZERO);
    assert_eq!(next(&mut r, A), g.part(1));
    assert_eq!(next(&mut r, B), None);
    r.look_again(Time::from_secs(10), Time::ZERO, |_| 0);
    assert_eq!(next(&mut r, B), Some(wanted));
}

#[test]
fn it_is_over_when_all_was_sent_or_nobody_takes_the_rest() {
    let mut r = reveal(50);
    let g = Geometry::new(50, 1).unwrap();
    for part in g.all_parts().take(49) {
        r.sent(PeerKey(9), part, 0, Time::from_secs(1));
    }
    assert!(!r.is_over(Time::from_millis(1200)));
    assert!(r.is_over(Time::from_millis(1300)));
    r.sent(PeerKey(9), g.part(49).unwrap(), 0, Time::from_secs(1));
    assert!(r.is_over(Time::from_secs(1)));
}

#[test]
fn who_is_shown_what_others_let_lie_and_takes_nothing_either_is_idle_as_soon() {
    let mut r = reveal(2);
    for seconds in 0..5 {
        for key in [A, B] {
            r.next(key, 2, Time::from_secs(seconds), |_| false, |_| 0);
        }
    }
    r.take_back(Time::from_secs(5), TAKE_TIME.0);
    assert!(r.is_idle(A), "it was shown both, and B later");
    r.take_back(Time::from_secs(6), TAKE_TIME.0);
    assert!(r.is_idle(B), "what goes to and fro between them starts no time anew");
}
