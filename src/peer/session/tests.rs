//! What a session bears and what it ends, in virtual time.

use core::net::SocketAddr;

use super::*;
use crate::wire::{
    extension::{self, handshake::ExtensionHandshake},
    handshake::PeerId,
};

const RECALL_TIME: Time = Time::from_millis(700);

fn session(fast: bool) -> Session {
    let remote = Introduction {
        id: PeerId([1; 20]),
        address: SocketAddr::from(([10, 0, 0, 1], 9998)),
        dialled: false,
        fast,
        extended: false,
    };
    let setup = Setup {
        geometry: Geometry::new(64 << 20, 1 << 20).unwrap(),
        info: Arc::default(),
        name: String::new(),
        copy: None,
        machine: None,
        listen_port: 1,
        remote,
        show: Show::Nothing,
    };
    let mut session = Session::new(setup, Time::ZERO);
    while session.next_message().is_some() || session.next_event().is_some() {}
    session
}

/// How many times it takes this before it ends the conversation; at most `most`.
fn borne(session: &mut Session, message: &Message, most: usize) -> usize {
    (0..most).take_while(|_| session.on_message(message.clone(), Time::ZERO).is_ok()).count()
}

#[test]
fn a_keep_alive_comes_before_stock_clients_lose_patience() {
    let mut session = session(true);
    session.on_deadline(Time::from_secs(5)).unwrap();
    assert_eq!((session.next_message(), session.deadline()), (None, Time::from_secs(8)));
    session.on_deadline(Time::from_secs(8)).unwrap();
    assert_eq!(session.next_message(), Some(Message::KeepAlive));
    assert_eq!(session.deadline(), Time::from_secs(16));
}

#[test]
fn what_it_has_is_not_taken_back() {
    for first in [Message::HaveAll, Message::HaveNone, Message::Bitfield(vec![0; 8]), Message::Have(1)] {
        let mut session = session(true);
        session.on_message(first, Time::ZERO).unwrap();
        session.on_message(Message::HaveNone, Time::ZERO).unwrap_err();
    }
}

/// aria2 does so where that is shorter than to say `have` of each new part.
#[test]
fn what_it_has_is_said_again_as_often_as_there_is_reason_to() {
    assert_eq!(borne(&mut session(true), &Message::Bitfield(vec![0; 8]), 100), 2 + 64);
    assert_eq!(borne(&mut session(true), &Message::HaveAll, 100), 2);
    let million = Geometry::new(1 << 34, 1 << 14).unwrap();
    assert_eq!(hear::statements(&million), 2 + 71);
}

#[test]
fn floods_are_ended_and_parts_are_told_freely() {
    for flood in [Message::KeepAlive, Message::Choke, Message::Interested, Message::Unknown { id: 99 }] {
        let count = borne(&mut session(true), &flood, 100_000);
        assert!((1000..10_000).contains(&count), "{flood:?}: {count}");
    }
    let mut session = session(true);
    for part in 0..64 {
        session.on_message(Message::Have(part), Time::ZERO).unwrap();
    }
    assert!(borne(&mut session, &Message::Have(0), 100_000) < 10_000);
}

#[test]
fn a_member_is_read_no_faster_than_its_events_are_told() {
    let mut session = session(true);
    while session.takes_input() {
        session.on_message(Message::Have(1), Time::ZERO).unwrap();
    }
    assert_eq!(session.events.len(), MAX_EVENTS);
    session.next_event();
    assert!(session.takes_input());
}

#[test]
fn one_bitfield_at_a_time_waits_to_be_told() {
    let mut session = session(true);
    session.on_message(Message::Bitfield(vec![0; 8]), Time::ZERO).unwrap();
    assert!(!session.takes_input());
    session.on_message(Message::Have(1), Time::ZERO).unwrap();
    assert!(matches!(session.next_event(), Some(Event::HasThese(_))));
    assert!(session.takes_input());
}

/// It is asked for a part, chokes, and is unchoked again, so many times.
fn chokes(session: &mut Session, times: u32) -> Result<(), Fault> {
    let part = session.geometry.part(0).unwrap();
    for _ in 0..times {
        session.on_message(Message::Unchoke, Time::ZERO)?;
        assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
        session.on_message(Message::Choke, Time::ZERO)?;
        while session.next_message().is_some() || session.next_event().is_some() {}
    }
    Ok(())
}

#[test]
fn who_has_no_rejects_drops_requests_in_silence_for_ever() {
    chokes(&mut session(false), 1000).unwrap();
    chokes(&mut session(true), 10).unwrap();
    chokes(&mut session(true), 1000).unwrap_err();
}

#[test]
fn who_falls_silent_has_broken_no_rule() {
    let mut session = session(true);
    assert_eq!(session.on_deadline(Time::from_secs(8)), Ok(()));
    assert!(matches!(session.on_deadline(Time::from_secs(270)), Err(Closed::Broken(_))));
}

/// What becomes of a conversation in which the other side says nothing more from `now` on, while our own side is woken
/// ten times a second and says much: what the swarm is told of it, and when it ends.
fn silent_from(session: &mut Session, now: Time) -> (Vec<(Time, Silence)>, Time) {
    let mut silences = Vec::new();
    let wakes = (1..).map(|n| now + Time::from_millis(100) * n);
    for woken in wakes {
        session.on_bytes(0, woken);
        session.command(Command::Have([session.geometry.part(1).unwrap()].into()), woken);
        let ended = session.on_deadline(woken);
        while session.next_message().is_some() {
            session.on_said(woken);
        }
        while let Some(event) = session.next_event() {
            if let Event::Silent(silence) = event {
                silences.push((woken - now, silence));
            }
        }
        if let Err(closed) = ended {
            assert!(matches!(closed, Closed::Broken(_)), "it may be back soon: {closed}");
            return (silences, woken - now);
        }
    }
    unreachable!("it ends")
}

#[test]
fn who_falls_silent_in_mid_block_is_missed_whatever_we_do() {
    let seconds = Time::from_secs;
    for mut session in [self::session(true), ours()] {
        let part = session.geometry.part(5).unwrap();
        session.on_message(Message::Unchoke, Time::ZERO).unwrap();
        assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), seconds(1)), None);
        let asked = requested(&mut session);
        session.on_block(asked[0], seconds(2)).unwrap();
        session.on_bytes(1000, seconds(2));
        told(&mut session);
        let (silences, end) = silent_from(&mut session, seconds(2));
        assert_eq!(silences, [(seconds(5), Silence::Owing), (seconds(8), Silence::Overdue)]);
        assert_eq!(end, seconds(14));
    }
}

#[test]
fn who_queues_us_and_says_so_is_not_left() {
    let mut session = prompt();
    let part = session.geometry.part(5).unwrap();
    assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    for n in 1..600 {
        let now = Time::from_secs(4) * n;
        session.on_deadline(now).unwrap();
        session.on_message(Message::KeepAlive, now).unwrap();
        assert!(told(&mut session).iter().all(|event| !matches!(event, Event::Silent(_))));
    }
    let now = Time::from_secs(2400);
    let (silences, end) = silent_from(&mut session, now);
    assert_eq!(
        silences,
        [(Time::from_secs(5) - Time::from_secs(4), Silence::Owing), (Time::from_secs(4), Silence::Overdue)]
    );
    assert_eq!(end, Time::from_secs(10));
}

#[test]
fn who_waits_for_our_blocks_and_falls_silent_is_left() {
    let mut session = prompt();
    session.command(Command::ShowAll, Time::ZERO);
    while session.next_message().is_some() {}
    session.on_message(Message::Request(RawBlock { part: 3, begin: 0, len: 16384 }), Time::from_secs(1)).unwrap();
    told(&mut session);
    let (silences, end) = silent_from(&mut session, Time::from_secs(1));
    assert_eq!(silences.last(), Some(&(Time::from_secs(8), Silence::Overdue)));
    assert_eq!(end, Time::from_secs(14));
}

#[test]
fn who_promises_nothing_may_be_slow_to_answer() {
    let seconds = Time::from_secs;
    let mut session = self::session(true);
    let part = session.geometry.part(5).unwrap();
    session.on_message(Message::Unchoke, Time::ZERO).unwrap();
    assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    told(&mut session);
    assert_eq!(silent_from(&mut session, Time::ZERO), (vec![(seconds(5), Silence::Owing)], seconds(60)));
    // Neither may one of ours that does not know the promise.
    let mut older = ours();
    assert_eq!(older.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    told(&mut older);
    assert_eq!(silent_from(&mut older, Time::ZERO).1, seconds(90));
}

#[test]
fn what_lies_unread_is_no_silence() {
    let mut session = prompt();
    let part = session.geometry.part(5).unwrap();
    assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    told(&mut session);
    session.on_unread(Time::from_secs(120), Time::from_secs(120));
    session.on_deadline(Time::from_secs(120)).unwrap();
    assert!(told(&mut session).is_empty());
}

/// One of our own members that keeps alive often while requests are outstanding.
fn prompt() -> Session {
    let mut session = ours();
    let hello = ExtensionHandshake { alive: Some(3), ..Default::default() };
    let hello = Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() };
    session.on_message(hello, Time::ZERO).unwrap();
    told(&mut session);
    session
}

/// One of our own members that serves us and hears offers under the number 7.
fn ours() -> Session {
    let mut session = session(true);
    let hello = ExtensionHandshake { max_request: Some(MAX_REQUEST), offer: Some(7), ..Default::default() };
    let hello = Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() };
    session.remote.extended = true;
    session.on_message(hello, Time::ZERO).unwrap();
    session.on_message(Message::Unchoke, Time::ZERO).unwrap();
    session
}

fn requested(session: &mut Session) -> Vec<RawBlock> {
    let said = std::iter::from_fn(|| session.next_message());
    said.filter_map(|message| if let Message::Request(raw) = message { Some(raw) } else { None }).collect()
}

fn told(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.next_event()).collect()
}

#[test]
fn what_is_recalled_is_free_when_the_last_of_it_is_refused() {
    let mut session = ours();
    let part = session.geometry.part(5).unwrap();
    assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    let asked = requested(&mut session);
    session.command(Command::Recall(part, RECALL_TIME), Time::ZERO);
    let cancels = std::iter::from_fn(|| session.next_message());
    assert_eq!(cancels.collect::<Vec<_>>(), asked.iter().map(|raw| Message::Cancel(*raw)).collect::<Vec<_>>());
    told(&mut session);
    session.on_block(asked[0], Time::ZERO).unwrap();
    assert_eq!(session.on_block_end(Time::ZERO), None);
    for raw in &asked[1..] {
        assert_eq!(told(&mut session), []);
        session.on_message(Message::Reject(*raw), Time::ZERO).unwrap();
    }
    assert_eq!(told(&mut session), [Event::Released { part, refused: false }]);
}

#[test]
fn what_is_recalled_is_not_waited_for_long_and_from_strangers_not_at_all() {
    let mut session = ours();
    let part = session.geometry.part(5).unwrap();
    assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    session.command(Command::Recall(part, RECALL_TIME), Time::from_secs(1));
    told(&mut session);
    assert_eq!(session.deadline(), Time::from_secs(1) + RECALL_TIME);
    session.on_deadline(Time::from_secs(1)).unwrap();
    assert_eq!(told(&mut session), []);
    session.on_deadline(Time::from_secs(1) + RECALL_TIME).unwrap();
    assert_eq!(told(&mut session), [Event::Released { part, refused: false }]);

    let mut stranger = self::session(true);
    stranger.on_message(Message::Unchoke, Time::ZERO).unwrap();
    assert_eq!(stranger.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
    told(&mut stranger);
    stranger.command(Command::Recall(part, RECALL_TIME), Time::ZERO);
    assert_eq!(told(&mut stranger), [Event::Released { part, refused: false }]);
}

/// Junk for what was taken back must not make the part look as if it came that is asked for now.
#[test]
fn bytes_count_for_the_part_they_were_asked_for_and_late_ones_for_none() {
    let mut session = session(true);
    session.on_message(Message::Unchoke, Time::ZERO).unwrap();
    let (first, second) = (session.geometry.part(5).unwrap(), session.geometry.part(6).unwrap());
    assert_eq!(session.fetch(first, &[0..1, 2..3], Time::ZERO), None);
    let asked = requested(&mut session);
    session.command(Command::Release(first), Time::ZERO);
    assert_eq!(session.fetch(second, std::slice::from_ref(&(0..1)), Time::ZERO), None);
    let wanted = requested(&mut session);
    told(&mut session);
    assert_eq!(session.on_block(asked[0], Time::ZERO), Ok(Landing::Unwanted));
    session.on_bytes(BLOCK, Time::ZERO);
    assert_eq!(session.on_block_end(Time::ZERO), None);
    assert_eq!(told(&mut session), [Event::Late(BLOCK)]);
    session.on_block(wanted[0], Time::ZERO).unwrap();
    session.on_bytes(100, Time::ZERO);
    session.on_bytes(200, Time::ZERO);
    assert_eq!(told(&mut session), [Event::Received { part: second, bytes: 300 }]);
    session.command(Command::Release(second), Time::ZERO);
    session.on_bytes(BLOCK - 300, Time::ZERO);
    assert_eq!(told(&mut session), [Event::Late(BLOCK - 300), Event::Released { part: second, refused: false }]);
    assert!(session.on_block(asked[0], Time::ZERO).is_err(), "it is answered once");
}

#[test]
fn of_a_part_that_is_there_nothing_is_asked_for_and_it_is_to_be_checked() {
    for chokes in [false, true] {
        let mut session = session(true);
        if !chokes {
            session.on_message(Message::Unchoke, Time::ZERO).unwrap();
        }
        told(&mut session);
        let part = session.geometry.part(5).unwrap();
        assert_eq!(session.fetch(part, &[], Time::ZERO), Some(part));
        assert_eq!((requested(&mut session), told(&mut session)), (vec![], vec![]));
    }
}

/// A client without the fast extension never says that it dropped what was taken back.
#[test]
fn who_has_no_rejects_is_not_held_to_what_was_taken_back() {
    let mut session = session(false);
    session.on_message(Message::Unchoke, Time::ZERO).unwrap();
    let part = session.geometry.part(0).unwrap();
    for _ in 0..1000 {
        assert_eq!(session.fetch(part, std::slice::from_ref(&(0..64)), Time::ZERO), None);
        session.command(Command::Release(part), Time::ZERO);
        while session.next_message().is_some() || session.next_event().is_some() {}
    }
    session.on_message(Message::Have(1), Time::ZERO).unwrap();
    session.on_deadline(Time::from_secs(1)).unwrap();
}

#[test]
fn an_offer_is_made_under_the_number_that_was_said_and_to_nobody_else() {
    let mut session = ours();
    requested(&mut session);
    session.command(Command::Offer, Time::ZERO);
    assert_eq!(session.next_message(), Some(Message::Extended { id: 7, payload: Vec::new() }));
    told(&mut session);
    session.on_message(Message::Extended { id: extension::OUR_OFFER, payload: Vec::new() }, Time::ZERO).unwrap();
    assert_eq!(told(&mut session), [Event::Offer]);
    let mut stranger = self::session(true);
    stranger.command(Command::Offer, Time::ZERO);
    assert_eq!(stranger.next_message(), None);
}
