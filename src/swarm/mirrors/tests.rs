use core::net::SocketAddr;

use crate::{
    geometry::{Geometry, PartIndex},
    mirror::{Event, Failure, Order},
    peer::{self, Command, Introduction, PeerKey},
    swarm::{Config, Effect, Input, Swarm},
    time::Time,
    wire::{bitfield::Bitfield, handshake::PeerId},
};

const MIRROR: PeerKey = PeerKey(1000);
const MEMBER: PeerKey = PeerKey(1);
const PART: u64 = 256 << 10;
const PARTS: u32 = 64;

/// What the swarm wanted of others so far.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    /// First part and how many, of the mirror.
    runs: Vec<(u32, u32)>,
    cuts: Vec<u32>,
    failed: Vec<Failure>,
    /// Of the member.
    parts: Vec<PartIndex>,
}

fn swarm(seed: u64) -> Swarm {
    let geometry = Geometry::new(u64::from(PARTS) * PART, PART).unwrap();
    let (id, have) = (PeerId([9; 20]), Bitfield::none(&geometry));
    let mut swarm =
        Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed });
    swarm.use_mirrors([MIRROR]);
    swarm
}

fn wanted(swarm: &mut Swarm) -> Wanted {
    let mut wanted = Wanted::default();
    while let Some(effect) = swarm.next_effect() {
        match effect {
            Effect::Mirror(MIRROR, Order::Fetch { first, count }) => wanted.runs.push((first.get(), count)),
            Effect::Mirror(MIRROR, Order::Cut(part)) => wanted.cuts.push(part.get()),
            Effect::MirrorFailed(MIRROR, failure) => wanted.failed.push(failure),
            Effect::Tell(MEMBER, Command::Fetch(part)) => wanted.parts.push(part),
            _ => {}
        }
    }
    wanted
}

/// A member that serves us and has these parts.
fn join(swarm: &mut Swarm, parts: core::ops::Range<u32>, now: Time) {
    let geometry = swarm.geometry();
    let mut has = Bitfield::none(&geometry);
    for part in parts.filter_map(|number| geometry.part(number)) {
        has.insert(part);
    }
    let address = SocketAddr::from(([10, 0, 0, 1], 9998));
    let introduction = Introduction { id: PeerId([1; 20]), address, dialled: true, fast: true, extended: true };
    swarm.handle(Input::Introduced(MEMBER, introduction), now);
    for event in [peer::Event::HasThese(has), peer::Event::Choked(false)] {
        swarm.handle(Input::Peer(MEMBER, event), now);
    }
}

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

/// Everything that is wanted of the mirror comes.
fn serve(swarm: &mut Swarm, runs: &[(u32, u32)], now: Time) {
    for (first, count) in runs {
        let part = |number| swarm.geometry().part(number).unwrap();
        let parts: Vec<_> = (*first..first + count).map(part).collect();
        for part in &parts {
            for event in [Event::Received(PART as u32), Event::Right(*part)] {
                swarm.handle(Input::Mirror(MIRROR, event), now);
            }
            swarm.handle(Input::Have(*part), now);
        }
        swarm.handle(Input::Mirror(MIRROR, Event::Over { first: parts[0], failure: None }), now);
    }
}

/// Nothing more comes of these.
fn release(swarm: &mut Swarm, runs: &[(u32, u32)], failure: &Failure, now: Time) {
    for (first, count) in runs {
        let part = |number| swarm.geometry().part(number).unwrap();
        let parts: Vec<_> = (*first..first + count).map(part).collect();
        let over = Event::Over { first: parts[0], failure: Some(failure.clone()) };
        for event in parts.into_iter().map(Event::Released).chain([over]) {
            swarm.handle(Input::Mirror(MIRROR, event), now);
        }
    }
}

/// So many bytes came from the member.
fn received(swarm: &Swarm, bytes: u32) -> peer::Event {
    peer::Event::Received { part: swarm.geometry().part(0).unwrap(), bytes }
}

#[test]
fn alone_it_gives_everything_in_order_after_a_moment() {
    let mut swarm = swarm(1);
    swarm.tick(ms(0));
    assert_eq!(wanted(&mut swarm), Wanted::default(), "members may be found yet");
    swarm.tick(ms(1000));
    let (mut all, mut now) = (Vec::new(), ms(1000));
    loop {
        let runs = wanted(&mut swarm).runs;
        let Some((_, longest)) = runs.iter().max_by_key(|run| run.1) else { break };
        assert!(u64::from(*longest) * PART <= 4 << 20, "{runs:?}");
        all.extend(runs.iter().flat_map(|(first, count)| *first..first + count));
        now += ms(100);
        serve(&mut swarm, &runs, now);
    }
    assert_eq!(all, (0..PARTS).collect::<Vec<_>>());
    let snapshot = swarm.snapshot(now);
    assert_eq!((snapshot.mirrored, snapshot.fetched), (u64::from(PARTS) * PART, u64::from(PARTS) * PART));
    assert!(snapshot.rate_down > 0.0 && swarm.is_complete());
}

#[test]
fn it_is_not_asked_for_what_a_fast_member_has() {
    let mut swarm = swarm(1);
    join(&mut swarm, 0..PARTS, ms(0));
    for now in (0..10_000).step_by(100).map(ms) {
        swarm.tick(now);
        let bytes = received(&swarm, PART as u32);
        swarm.handle(Input::Peer(MEMBER, bytes), now);
        assert_eq!(wanted(&mut swarm).runs, [], "{now:?}");
    }
}

#[test]
fn what_nobody_has_is_asked_from_a_random_place() {
    let mut starts = Vec::new();
    for seed in 0..20 {
        let mut swarm = swarm(seed);
        join(&mut swarm, 0..PARTS / 2, ms(0));
        swarm.tick(ms(0));
        swarm.tick(ms(1000));
        let wanted = wanted(&mut swarm);
        assert!(!wanted.runs.is_empty());
        for (first, count) in &wanted.runs {
            assert!(*first >= PARTS / 2 && first + count <= PARTS, "{wanted:?}");
        }
        assert!(wanted.parts.iter().all(|part| part.get() < PARTS / 2), "{wanted:?}");
        starts.push(wanted.runs[0].0);
    }
    starts.sort_unstable();
    starts.dedup();
    assert!(starts.len() > 8, "{starts:?}");
}

/// How much a mirror of this pace gives beside a member of that one, in bytes, over 100 s.
fn helped(member: u32, mirror: u32) -> (u64, u64) {
    let geometry = Geometry::new(1 << 40, 1 << 20).unwrap();
    let (id, have) = (PeerId([9; 20]), Bitfield::none(&geometry));
    let mut swarm =
        Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 });
    swarm.use_mirrors([MIRROR]);
    join(&mut swarm, 0..geometry.parts(), ms(0));
    let (mut of_member, mut of_mirror, mut busy) = (0, 0, Vec::new());
    for now in (0..100_000).step_by(100).map(ms) {
        swarm.tick(now);
        busy.extend(wanted(&mut swarm).runs);
        let bytes = received(&swarm, member / 10);
        swarm.handle(Input::Peer(MEMBER, bytes), now);
        of_member += u64::from(member / 10);
        if let Some((first, count)) = busy.first().copied() {
            swarm.handle(Input::Mirror(MIRROR, Event::Received(mirror / 10)), now);
            of_mirror += u64::from(mirror / 10);
            busy.remove(0);
            for number in first..first + count {
                let right = Event::Right(geometry.part(number).unwrap());
                swarm.handle(Input::Mirror(MIRROR, right), now);
            }
            let over = Event::Over { first: geometry.part(first).unwrap(), failure: None };
            swarm.handle(Input::Mirror(MIRROR, over), now);
        }
    }
    (of_member, of_mirror)
}

#[test]
fn it_helps_while_members_are_slower_than_it_is() {
    let (_, mirror) = helped(200_000, 10_000_000);
    assert!(mirror > 700_000_000, "of a slow member's swarm it gave {mirror} bytes in 100 s");
    let (_, mirror) = helped(5_000_000, 20_000_000);
    assert_eq!(mirror, 0, "members are fast enough, as far as anybody knows");
    let (_, mirror) = helped(500_000, 100_000);
    assert!(mirror < 2_000_000, "a mirror slower than members was tried and left: {mirror}");
}

#[test]
fn who_fails_is_asked_again_later_and_later() {
    let mut swarm = swarm(1);
    let (mut tries, mut told) = (Vec::new(), 0);
    for now in (0..2_000_000).step_by(100).map(ms) {
        swarm.tick(now);
        let wanted = wanted(&mut swarm);
        told += wanted.failed.len();
        if !wanted.runs.is_empty() {
            tries.push(now.as_secs());
            release(&mut swarm, &wanted.runs, &Failure::Later("no".into()), now);
        }
    }
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300], "{tries:?}");
    assert_eq!(told, tries.len(), "both requests failed, once");
    assert_eq!(swarm.snapshot(ms(0)).mirrors, 1);
}

#[test]
fn who_has_not_the_bytes_is_never_asked_again() {
    let mut swarm = swarm(1);
    swarm.tick(ms(0));
    swarm.tick(ms(2000));
    let runs = wanted(&mut swarm).runs;
    assert_eq!(runs.len(), 2);
    release(&mut swarm, &runs[..1], &Failure::Never("404".into()), ms(2000));
    let after = wanted(&mut swarm);
    assert_eq!((after.cuts, after.failed.len()), (vec![runs[1].0], 1), "its other request ends too");
    (2000..100_000).step_by(100).for_each(|now| swarm.tick(ms(now)));
    assert_eq!(wanted(&mut swarm).runs, []);
    assert_eq!(swarm.snapshot(ms(0)).mirrors, 0);
}

#[test]
fn two_wrong_parts_end_it_where_it_alone_is_to_blame() {
    for (alone, ends) in [(true, true), (false, false)] {
        let mut swarm = swarm(1);
        swarm.tick(ms(0));
        swarm.tick(ms(2000));
        let runs = wanted(&mut swarm).runs;
        for number in [runs[0].0, runs[0].0 + 1] {
            let part = swarm.geometry().part(number).unwrap();
            assert_eq!(wanted(&mut swarm).failed, []);
            swarm.handle(Input::Mirror(MIRROR, Event::Wrong { part, alone }), ms(2100));
        }
        let after = wanted(&mut swarm);
        assert_eq!(after.failed.len() == 1, ends);
        assert_eq!(after.cuts == [runs[0].0 + 2, runs[1].0], ends, "{after:?}");
        assert_eq!(swarm.snapshot(ms(0)).wrong_parts, 2);
    }
}

#[test]
fn a_member_without_work_takes_over_what_a_silent_mirror_holds() {
    let geometry = Geometry::new(4 * PART, PART).unwrap();
    let (id, have) = (PeerId([9; 20]), Bitfield::none(&geometry));
    let mut swarm =
        Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 });
    swarm.use_mirrors([MIRROR]);
    swarm.tick(ms(0));
    swarm.tick(ms(2000));
    let runs = wanted(&mut swarm).runs;
    assert_eq!(runs, [(0, 4)], "all of it");
    join(&mut swarm, 0..4, ms(2500));
    swarm.tick(ms(3000));
    assert_eq!(wanted(&mut swarm), Wanted::default(), "it may send yet");
    swarm.tick(ms(4100));
    let after = wanted(&mut swarm);
    assert_eq!((after.cuts, after.failed.len()), (vec![0], 1));
    release(&mut swarm, &runs, &Failure::Later(String::new()), ms(4200));
    assert!(!wanted(&mut swarm).parts.is_empty(), "the member is asked");
}

#[test]
fn a_faster_member_takes_half_of_what_a_slow_mirror_has_not_begun() {
    let mut swarm = swarm(1);
    swarm.tick(ms(0));
    swarm.tick(ms(2000));
    let runs = wanted(&mut swarm).runs;
    assert_eq!(runs, [(0, 4), (4, 4)]);
    for now in [3000, 4000] {
        swarm.handle(Input::Mirror(MIRROR, Event::Received(1000)), ms(now));
    }
    join(&mut swarm, 0..8, ms(4000));
    swarm.tick(ms(4100));
    let after = wanted(&mut swarm);
    assert_eq!((after.cuts.len(), after.failed.len()), (1, 0), "{after:?}");
    assert!([2, 6].contains(&after.cuts[0]), "{after:?}");
}

#[test]
fn what_comes_from_a_mirror_unknown_is_nothing() {
    let mut swarm = swarm(1);
    let part = swarm.geometry().part(0).unwrap();
    for event in [Event::Received(5), Event::Right(part)] {
        swarm.handle(Input::Mirror(PeerKey(5), event), ms(0));
    }
    assert_eq!(swarm.snapshot(ms(0)).fetched, 0);
    swarm.tick(ms(0));
    swarm.tick(ms(1000));
    assert_eq!(wanted(&mut swarm).runs[0].0, 0, "it is missing still");
}

/// A connection that still holds the part, for one: it may for a while yet.
#[test]
fn one_that_ended_early_is_asked_again_at_the_next_tick() {
    let mut swarm = swarm(1);
    swarm.tick(ms(0));
    swarm.tick(ms(1000));
    let runs = wanted(&mut swarm).runs;
    let part = |number| swarm.geometry().part(number).unwrap();
    let (first, parts): (_, Vec<_>) = (part(runs[0].0), (runs[0].0..runs[0].0 + runs[0].1).map(part).collect());
    let over = Event::Over { first, failure: None };
    for event in parts.into_iter().map(Event::Released).chain([over]) {
        swarm.handle(Input::Mirror(MIRROR, event), ms(1000));
    }
    assert_eq!(wanted(&mut swarm).runs, []);
    swarm.tick(ms(1100));
    assert_eq!(wanted(&mut swarm).runs, runs[..1]);
}

#[test]
fn a_begun_part_of_a_member_that_does_not_serve_hides_nothing() {
    let mut swarm = swarm(1);
    join(&mut swarm, 0..PARTS / 2, ms(0));
    let begun = wanted(&mut swarm).parts[0];
    for event in [peer::Event::Choked(true), peer::Event::Released { part: begun, refused: false }] {
        swarm.handle(Input::Peer(MEMBER, event), ms(0));
    }
    swarm.tick(ms(0));
    swarm.tick(ms(1000));
    let runs = wanted(&mut swarm).runs;
    assert!(!runs.is_empty() && runs.iter().all(|(first, _)| *first >= PARTS / 2), "{runs:?}");
}
