//! Single relays, and a thousand of them in virtual time.

use super::*;
use crate::{
    metainfo::InfoHash,
    wire::extension::search::{Find, Who},
};

const NOW: Time = Time::from_secs(5);

fn id(n: u32) -> QuestionId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    QuestionId(id)
}

fn question(n: u32, hops: u8) -> Question {
    Question { id: id(n), hops, asks: Asks::For("x".to_owned()) }
}

fn finds(count: usize) -> Says {
    let find = Find { info_hash: InfoHash([1; 20]), name: "x".to_owned(), size: 1, left: 0 };
    Says::Finds(vec![find; count])
}

fn ip(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, host])
}

/// Three neighbours (1 to 3), and one that only asks (9).
fn relay() -> Relay {
    let mut relay = Relay::new(9998);
    (1..=3).for_each(|n| relay.joined(PeerKey(n), ip(n as u8), false));
    relay.joined(PeerKey(9), "127.0.0.1".parse().unwrap(), true);
    relay
}

/// A question that nobody here has anything for.
fn ask(relay: &mut Relay, from: u32, question: Question, now: Time) -> (Heard, Vec<u32>) {
    let mut out = Outbox::new();
    let heard = relay.ask(PeerKey(from), question, now, |_| None, &mut out);
    assert!(out.iter().all(|(_, talk)| matches!(talk, Talk::Question(_))));
    (heard, out.iter().map(|(key, _)| key.0).collect())
}

#[test]
fn a_question_goes_to_the_others_once() {
    let mut relay = relay();
    assert_eq!(ask(&mut relay, 1, question(1, 2), NOW), (Heard::New(0), vec![2, 3]));
    for from in [1, 2] {
        assert_eq!(ask(&mut relay, from, question(1, 2), NOW), (Heard::Again, vec![]));
    }
    assert_eq!(ask(&mut relay, 9, question(2, 1), NOW), (Heard::New(0), vec![1, 2, 3]));
    assert_eq!(ask(&mut relay, 9, question(3, 0), NOW), (Heard::New(0), vec![]), "it has crossed enough");
    assert_eq!(ask(&mut relay, 77, question(4, 7), NOW).0, Heard::TooMuch, "nobody is linked as that");
}

#[test]
fn an_answer_goes_back_and_says_where_it_is_from() {
    let mut relay = relay();
    let mut out = Outbox::new();
    relay.ask(PeerKey(1), question(1, 5), NOW, |_| Some(finds(2)), &mut out);
    let own = Answer { id: id(1), hops: 0, port: 9998, address: None, says: finds(2) };
    assert_eq!(out.remove(0), (PeerKey(1), Talk::Answer(own)));
    let Talk::Question(passed) = &out[0].1 else { panic!("{out:?}") };
    assert_eq!(passed.hops, 4);

    let answer = Answer { id: id(1), hops: 0, port: 7, address: None, says: finds(1) };
    let mut back = Outbox::new();
    relay.answer(PeerKey(2), answer.clone(), NOW, &mut back);
    let seen = Answer { hops: 1, address: Some(SocketAddr::new(ip(2), 7)), ..answer.clone() };
    assert_eq!(back, [(PeerKey(1), Talk::Answer(seen.clone()))]);
    // From further away: whoever was next to it knew.
    relay.answer(PeerKey(3), Answer { hops: 4, address: seen.address, ..answer.clone() }, NOW, &mut back);
    let Talk::Answer(far) = &back[1].1 else { panic!("{back:?}") };
    assert_eq!((far.hops, far.address), (5, seen.address));

    for (from, n) in [(1, 1), (9, 1), (2, 2)] {
        relay.answer(PeerKey(from), Answer { id: id(n), ..answer.clone() }, NOW, &mut back);
    }
    relay.answer(PeerKey(2), answer, NOW + AGE, &mut back);
    assert_eq!(back.len(), 2, "nobody asked them, or not any more");
}

#[test]
fn an_address_that_nobody_can_have_met_is_not_passed_on() {
    let mut relay = relay();
    ask(&mut relay, 1, question(1, 5), NOW);
    let mut back = Outbox::new();
    let named = |hops, address: &str| {
        let address = Some(address.parse().unwrap());
        Answer { id: id(1), hops, port: 7, address, says: finds(1) }
    };
    for lie in ["127.0.0.1:22", "0.0.0.0:22", "[::1]:22", "[fe80::1]:22"] {
        relay.answer(PeerKey(2), named(3, lie), NOW, &mut back);
        assert_eq!(back, [], "{lie}");
    }
    // Nobody names itself.
    relay.answer(PeerKey(2), named(0, "10.0.0.77:22"), NOW, &mut back);
    let Some((_, Talk::Answer(told))) = back.pop() else { panic!("no answer") };
    assert_eq!(told.address, Some(SocketAddr::new(ip(2), 7)));
}

#[test]
fn the_loopback_means_nothing_elsewhere() {
    let mut relay = relay();
    relay.joined(PeerKey(4), "127.0.0.1".parse().unwrap(), false);
    let mut back = Outbox::new();
    for (from, known) in [(1, None), (9, Some("127.0.0.1:7".parse().unwrap()))] {
        ask(&mut relay, from, question(from, 5), NOW);
        let answer = Answer { id: id(from), hops: 0, port: 7, address: None, says: finds(1) };
        relay.answer(PeerKey(4), answer, NOW, &mut back);
        let Some((_, Talk::Answer(told))) = back.pop() else { panic!("no answer") };
        assert_eq!(told.address, known);
    }
}

#[test]
fn who_is_there_is_asked_over_two_links() {
    let mut relay = relay();
    let mut out = Outbox::new();
    let who = Who { name: "n".to_owned(), client: "c".to_owned(), compositions: 1, links: 3 };
    let asks = Question { id: id(1), hops: 30, asks: Asks::Who };
    let heard = relay.ask(PeerKey(9), asks, NOW, |_| Some(Says::Who(who)), &mut out);
    assert_eq!((heard, out.len()), (Heard::New(1), 4));
    let Talk::Question(passed) = &out[1].1 else { panic!("{out:?}") };
    assert_eq!(passed.hops, 1);
}

#[test]
fn a_liar_leaves_room_for_others() {
    let mut relay = relay();
    ask(&mut relay, 1, question(1, 5), NOW);
    let mut back = Outbox::new();
    let answers = |relay: &mut Relay, from, says: Says, back: &mut Outbox| {
        for _ in 0..1000 {
            let answer = Answer { id: id(1), hops: 0, port: 7, address: None, says: says.clone() };
            relay.answer(PeerKey(from), answer, NOW, back);
        }
    };
    answers(&mut relay, 2, finds(25), &mut back);
    answers(&mut relay, 2, finds(0), &mut back);
    assert_eq!(back.len(), MOST_OF_ONE / 25);
    answers(&mut relay, 3, finds(1), &mut back);
    assert_eq!(back.len(), MOST_OF_ONE / 25 + MOST_FOUND - MOST_OF_ONE);
}

/// One asks ten thousand questions a second for ten seconds, another one a second.
#[test]
fn who_floods_waits_for_itself() {
    let mut relay = relay();
    let (mut taken, mut passed, mut of_other) = (0, 0, 0);
    for n in 0..100_000u32 {
        let now = NOW + Time::from_micros(u64::from(n) * 100);
        let mut out = Outbox::new();
        taken += u32::from(relay.ask(PeerKey(1), question(n, 5), now, |_| None, &mut out) != Heard::TooMuch);
        if n % 10_000 == 9_999 {
            relay.ask(PeerKey(2), question(1_000_000 + n, 5), now, |_| None, &mut out);
        }
        if relay.deadline().is_some_and(|at| at <= now) {
            relay.pass_on(now, &mut out);
        }
        for (key, talk) in out {
            let Talk::Question(question) = talk else { panic!("{talk:?}") };
            let own = question.id >= id(1_000_000);
            // To both others of each.
            passed += u32::from(!own && key == PeerKey(3));
            of_other += u32::from(own && key == PeerKey(3));
        }
        assert!(relay.known() <= MOST_ASKED && relay.sides[&PeerKey(1)].waiting.len() <= MOST_WAITING);
    }
    println!("of 100,000 questions {taken} were looked up and {passed} passed on; of 10 others {of_other}");
    assert!((150..=401).contains(&taken) && (280..=300).contains(&passed), "{taken} {passed}");
    assert!(of_other >= 9, "{of_other} of the other's were passed on; the last may wait still");
}

#[test]
fn ids_are_forgotten_with_age_and_beyond_their_number() {
    let mut relay = Relay::new(1);
    let many = 2 * MOST_ASKED as u32;
    for n in 0..many {
        let key = PeerKey(n / 100);
        relay.joined(key, ip(1), true);
        assert_eq!(ask(&mut relay, key.0, question(n, 5), NOW).0, Heard::New(0));
        assert!(relay.known() <= MOST_ASKED);
    }
    assert_eq!(ask(&mut relay, many / 100, question(many - 1, 5), NOW).0, Heard::Again);
    ask(&mut relay, many / 100, question(many, 5), NOW + AGE);
    assert_eq!(relay.known(), 1);
}

/// Members that are linked as a graph says, each with the question's find.
struct Network {
    relays: Vec<Relay>,
    /// Of each member its links: the member there, and under which key that has us.
    links: Vec<Vec<(usize, PeerKey)>>,
    /// How often each was new to the question.
    saw: Vec<u32>,
    questions: u64,
    answers: u64,
}

const MEMBERS: usize = 1000;
/// A message is underway so long.
const DELAY: Time = Time::from_millis(1);

impl Network {
    fn new(edges: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut links: Vec<Vec<(usize, PeerKey)>> = vec![Vec::new(); MEMBERS];
        for (a, b) in edges {
            let (at_a, at_b) = (PeerKey(links[a].len() as u32), PeerKey(links[b].len() as u32));
            links[a].push((b, at_b));
            links[b].push((a, at_a));
        }
        let relays = links.iter().map(|links| {
            let mut relay = Relay::new(9998);
            (0..links.len() as u32).for_each(|n| relay.joined(PeerKey(n), ip(1), false));
            relay
        });
        Self { relays: relays.collect(), links, saw: vec![0; MEMBERS], questions: 0, answers: 0 }
    }

    /// The first is asked by somebody who only asks; gives the distances from which answers came.
    fn ask_first(&mut self, hops: u8) -> Vec<u8> {
        const ASKER: PeerKey = PeerKey(u32::MAX);
        self.relays[0].joined(ASKER, ip(9), true);
        let mut underway = VecDeque::from([(NOW, 0, ASKER, Talk::Question(question(1, hops)))]);
        let mut distances = Vec::new();
        while let Some((now, at, key, talk)) = underway.pop_front() {
            let mut out = Outbox::new();
            match talk {
                Talk::Question(question) => {
                    self.questions += 1;
                    let heard = self.relays[at].ask(key, question, now, |_| Some(finds(1)), &mut out);
                    assert_ne!(heard, Heard::TooMuch);
                    self.saw[at] += u32::from(heard != Heard::Again);
                }
                Talk::Answer(answer) => {
                    self.answers += 1;
                    self.relays[at].answer(key, answer, now, &mut out);
                }
            }
            for (to, talk) in out {
                match (to, talk) {
                    (ASKER, Talk::Answer(answer)) => distances.push(answer.hops),
                    (ASKER, Talk::Question(_)) => panic!("who only asks is asked"),
                    (to, talk) => {
                        let (member, theirs) = self.links[at][to.0 as usize];
                        underway.push_back((now + DELAY, member, theirs, talk));
                    }
                }
            }
        }
        distances
    }
}

/// Asks with these hops; how many saw it, once each; and that so many questions crossed links.
fn asks(graph: &str, edges: Vec<(usize, usize)>, hops: u8, reached: usize, questions: u64) {
    let links = edges.len();
    let mut network = Network::new(edges);
    let distances = network.ask_first(hops);
    let saw = network.saw.iter().filter(|saw| **saw > 0).count();
    println!(
        "{graph}: {links} links, {hops} hops: {saw} of {MEMBERS} saw it, {} questions and {} answers sent, {} came back \
         over up to {} links",
        network.questions - 1,
        network.answers,
        distances.len(),
        distances.iter().max().unwrap(),
    );
    assert!(network.saw.iter().all(|saw| *saw <= 1), "{graph}: somebody saw it twice");
    assert_eq!(saw, reached, "{graph}");
    assert_eq!(network.questions - 1, questions, "{graph}");
    assert!(
        distances.len() <= MOST_FOUND + 1 && distances.len() >= saw.min(MOST_OF_ONE),
        "{graph}: {}",
        distances.len()
    );
}

/// Where everybody is reached, each passes it to all but the one it came from.
fn flood(edges: &[(usize, usize)]) -> u64 {
    2 * edges.len() as u64 - (MEMBERS as u64 - 1)
}

#[test]
fn a_thousand_in_a_star_see_it_once() {
    let edges: Vec<_> = (1..MEMBERS).map(|n| (0, n)).collect();
    let questions = flood(&edges);
    asks("star", edges, 7, MEMBERS, questions);
}

#[test]
fn a_thousand_in_a_ring_see_it_as_far_as_it_may_go() {
    let edges: Vec<_> = (0..MEMBERS).map(|n| (n, (n + 1) % MEMBERS)).collect();
    asks("ring", edges.clone(), 7, 15, 14);
    asks("ring", edges.clone(), 32, 65, 64);
    asks("ring", edges, u8::MAX, 65, 64);
}

#[test]
fn a_thousand_who_all_know_each_other_see_it_once() {
    let edges: Vec<_> = (0..MEMBERS).flat_map(|a| (a + 1..MEMBERS).map(move |b| (a, b))).collect();
    let questions = flood(&edges);
    asks("full", edges, 7, MEMBERS, questions);
}

#[test]
fn a_thousand_with_six_links_each_see_it_once() {
    for seed in 1..=3 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut edges: Vec<_> = (1..MEMBERS).map(|n| (dice.usize(..n), n)).collect();
        while edges.len() < 3 * MEMBERS {
            let (a, b) = (dice.usize(..MEMBERS), dice.usize(..MEMBERS));
            if a != b && !edges.contains(&(a, b)) && !edges.contains(&(b, a)) {
                edges.push((a, b));
            }
        }
        let questions = flood(&edges);
        asks(&format!("random {seed}"), edges, 16, MEMBERS, questions);
    }
}
