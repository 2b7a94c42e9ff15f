use proptest::prelude::*;

use super::*;
use crate::{
    announce::{
        Announce,
        udp_answer::{self, Reply, Said},
        udp_request::write,
    },
    conductor::{Voice, report, table::Seed},
    metainfo::InfoHash,
    wire::handshake::PeerId,
};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const KEY: [u8; 16] = [3; 16];

fn counter(limits: Option<Seed>) -> Counter {
    let (reporter, _) = report::start(Voice::Silent);
    Counter { desk: Arc::new(Desk::new(reporter, Seed(1, 2), limits)), ids: ConnectionIds::new(KEY) }
}

fn caller(source: &str) -> Caller {
    let source: IpAddr = source.parse().unwrap();
    Caller::new(source, source)
}

fn announce(n: u8) -> Announce {
    let query = b"info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7&key=1&left=5";
    let announce = crate::announce::http_request::read_announce(query).unwrap();
    Announce { id: PeerId([n; 20]), port: u16::from(n), ..announce }
}

impl Counter {
    fn say(&self, question: &[u8], caller: &Caller) -> Vec<u8> {
        let mut out = Vec::new();
        self.answer(question, caller, NOW, &mut out);
        out
    }

    /// Asks with an id that is proven.
    fn ask(&self, request: Request, caller: &Caller) -> Option<Said> {
        let connection = self.ids.give(caller.source, NOW);
        let answer = self.say(&write(&Question::Claim { connection, transaction: 9, request }), caller);
        if answer.is_empty() {
            return None;
        }
        let Reply { transaction, said } = udp_answer::read(&answer, caller.source.is_ipv4()).unwrap();
        assert_eq!(transaction, 9);
        Some(said)
    }
}

#[test]
fn members_meet_in_their_own_ip_version() {
    let counter = counter(None);
    counter.ask(Request::Announce(announce(1)), &caller("10.0.0.1"));
    counter.ask(Request::Announce(announce(2)), &caller("fd00::2"));
    for (asker, seen) in [("10.0.0.3", "10.0.0.1:1"), ("fd00::4", "[fd00::2]:2")] {
        let Some(Said::Announced(answer)) = counter.ask(Request::Announce(announce(3)), &caller(asker)) else {
            panic!("{asker} is not answered");
        };
        assert_eq!(answer.peers.iter().map(|peer| peer.address.to_string()).collect::<Vec<_>>(), [seen]);
        assert_eq!((answer.incomplete, answer.interval), (Some(3), 5));
    }
    let hashes = vec![InfoHash([b'x'; 20]), InfoHash([b'a'; 20])];
    let Some(Said::Scraped(counts)) = counter.ask(Request::Scrape(hashes), &caller("10.0.0.9")) else {
        panic!("no counts");
    };
    assert_eq!(counts.iter().map(|counts| counts.incomplete).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn a_wrong_request_is_refused_only_where_the_id_is_proven() {
    let counter = counter(None);
    let here = caller("10.0.0.1");
    let id = counter.ids.give(here.source, NOW);
    for (action, more) in [(1u32, 81), (2, 19), (3, 0), (7, 50)] {
        let question = |id: u64| [&id.to_be_bytes()[..], &action.to_be_bytes(), &[0, 0, 0, 9], &vec![0; more]].concat();
        let answer = udp_answer::read(&counter.say(&question(id), &here), true).unwrap();
        assert!(matches!(answer.said, Said::Refused(_)), "{answer:?}");
        assert!(counter.say(&question(id ^ 1), &here).is_empty());
    }
}

#[test]
fn who_asks_too_much_is_not_answered_and_others_are() {
    let counter = counter(Some(Seed(5, 6)));
    let (greedy, other) = (caller("8.8.8.8"), caller("8.8.4.4"));
    let answers = (0..1000).filter(|_| counter.ask(Request::Announce(announce(1)), &greedy).is_some());
    assert!((100..200).contains(&answers.count()));
    assert!(counter.ask(Request::Announce(announce(2)), &other).is_some());
    // What needs no proof has an allowance of its own.
    let connect = write(&Question::Connect { transaction: 1 });
    let answers = (0..1000).filter(|_| !counter.say(&connect, &greedy).is_empty());
    assert!((100..200).contains(&answers.count()));
    assert!(!counter.say(&connect, &other).is_empty());
}

fn datagrams() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = || prop::collection::vec(any::<u8>(), 0..150);
    let connect = any_bytes().prop_map(|rest| [&0x0417_2710_1980u64.to_be_bytes()[..], &[0; 4], &rest].concat());
    let claim = (any::<u64>(), 0u8..5, any_bytes())
        .prop_map(|(id, action, rest)| [&id.to_be_bytes()[..], &[0, 0, 0, action], &rest].concat());
    let syn = any_bytes().prop_map(|rest| [&[0x41, 0][..], &rest].concat());
    prop_oneof![any_bytes(), connect, claim, syn]
}

proptest! {
    #[test]
    fn no_answer_is_longer_than_its_question_before_the_id_is_proven(question in datagrams()) {
        let counter = counter(None);
        prop_assert!(counter.say(&question, &caller("10.0.0.1")).len() <= question.len());
    }
}
