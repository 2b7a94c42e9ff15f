//! What a member does with the questions of its neighbours: answers each once, passes it on once, and sends the answers of
//! others back the way the question came.
//!
//! Pure: messages and the time in, messages out. It knows links, and nothing of how they came about.
//!
//! Invariant: a question goes to each link once at most, an answer only to the link that its question came over. So no
//! message here reaches anybody who did not link with us, whatever is in it.
//!
//! What it costs an attacker, whose messages the driver of its link reads no faster than they may come: [`QUESTIONS`] of
//! it are looked up, all links together pass on [`PASSING`], and each that asks has its turn among these: who floods
//! waits for itself. A question that came in a circle is known by its id; of [`MOST_ASKED`] ids and for [`AGE`]. A liar's
//! answers are [`MOST_OF_ONE`] of the [`MOST_FOUND`] that a question is sent back.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{
    discovery::lan::manners::Pace,
    net::range::concerns,
    peer::PeerKey,
    time::Time,
    wire::extension::search::{Answer, Asks, MOST_HOPS, Question, QuestionId, Says, Talk},
};

/// Questions that one link may bring: more than an honest one passes on, see [`PASSING`].
const QUESTIONS: Pace = Pace::new(Time::from_millis(40), 150);
/// Questions that are passed on, of all links together.
const PASSING: Pace = Pace::new(Time::from_millis(50), 100);
/// Questions of one link that wait to be passed on.
const MOST_WAITING: usize = 16;
/// Who is there is asked over so many links at most: it is for the people beside us, not to map a network.
const WHO_HOPS: u8 = 2;
/// A question is known for so long, and its answers find the way back.
const AGE: Time = Time::from_secs(60);
/// Questions that are known; of more the oldest are forgotten.
pub const MOST_ASKED: usize = 8192;
/// Finds that one question is sent back, in all and from one link.
pub const MOST_FOUND: usize = 200;
pub const MOST_OF_ONE: usize = 150;

/// What is to be sent, and over which link.
pub type Outbox = Vec<(PeerKey, Talk)>;

/// A link.
#[derive(Debug)]
struct Side {
    ip: IpAddr,
    /// It listens nowhere: it asks, and is asked nothing.
    asks_only: bool,
    questions: Pace,
    waiting: VecDeque<Question>,
}

/// A question that was heard.
#[derive(Debug)]
struct Asked {
    from: PeerKey,
    at: Time,
    /// Finds that were sent back, in all and by the link that they came over.
    found: usize,
    by: BTreeMap<PeerKey, usize>,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was looked up; with so many finds (or one, who we are).
    New(usize),
    /// It was heard before.
    Again,
    /// This link asks too much.
    TooMuch,
}

#[derive(Debug)]
pub struct Relay {
    /// The port that we listen on.
    port: u16,
    sides: BTreeMap<PeerKey, Side>,
    asked: HashMap<QuestionId, Asked>,
    /// The same, the oldest first.
    order: VecDeque<QuestionId>,
    passing: Pace,
    /// The links whose questions wait, each once, in the order of their turns.
    turns: VecDeque<PeerKey>,
}

impl Relay {
    /// For a member that listens on `port`.
    pub fn new(port: u16) -> Self {
        let (asked, order) = (HashMap::new(), VecDeque::new());
        Self { port, sides: BTreeMap::new(), asked, order, passing: PASSING, turns: VecDeque::new() }
    }

    /// A link with who is at `ip`. `asks_only`: it listens nowhere, and is asked nothing.
    pub fn joined(&mut self, key: PeerKey, ip: IpAddr, asks_only: bool) {
        let side = Side { ip: ip.to_canonical(), asks_only, questions: QUESTIONS, waiting: VecDeque::new() };
        self.sides.insert(key, side);
    }

    pub fn left(&mut self, key: PeerKey) {
        self.sides.remove(&key);
        self.turns.retain(|turn| *turn != key);
    }

    /// A question came. `look` says what we answer, if anything.
    pub fn ask(
        &mut self,
        from: PeerKey,
        mut question: Question,
        now: Time,
        look: impl FnOnce(&Asks) -> Option<Says>,
        out: &mut Outbox,
    ) -> Heard {
        let Some(side) = self.sides.get_mut(&from).filter(|side| side.questions.ready() <= now) else {
            return Heard::TooMuch;
        };
        side.questions.takes(now);
        self.forget(now);
        if self.asked.contains_key(&question.id) {
            return Heard::Again;
        }
        self.order.push_back(question.id);
        self.asked.insert(question.id, Asked { from, at: now, found: 0, by: BTreeMap::new() });
        let says = look(&question.asks);
        let found = says.as_ref().map_or(0, count);
        if let Some(says) = says {
            let answer = Answer { id: question.id, hops: 0, port: self.port, address: None, says };
            out.push((from, Talk::Answer(answer)));
        }
        let most = if question.asks == Asks::Who { WHO_HOPS } else { MOST_HOPS };
        if question.hops > 0 {
            question.hops = question.hops.min(most) - 1;
            self.wait(from, question);
        }
        self.pass_on(now, out);
        Heard::New(found)
    }

    fn wait(&mut self, from: PeerKey, question: Question) {
        let Some(side) = self.sides.get_mut(&from).filter(|side| side.waiting.len() < MOST_WAITING) else { return };
        if side.waiting.is_empty() {
            self.turns.push_back(from);
        }
        side.waiting.push_back(question);
    }

    /// Passes on what waits and may go now; to be called again at [`Self::deadline`].
    pub fn pass_on(&mut self, now: Time, out: &mut Outbox) {
        while !self.turns.is_empty() && self.passing.takes(now) {
            let Some(from) = self.turns.pop_front() else { return };
            let Some(side) = self.sides.get_mut(&from) else { continue };
            let Some(question) = side.waiting.pop_front() else { continue };
            if !side.waiting.is_empty() {
                self.turns.push_back(from);
            }
            let others = self.sides.iter().filter(|(key, side)| **key != from && !side.asks_only);
            out.extend(others.map(|(key, _)| (*key, Talk::Question(question.clone()))));
        }
    }

    /// When [`Self::pass_on`] has something to do; None: nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        (!self.turns.is_empty()).then(|| self.passing.ready())
    }

    /// An answer came: it goes back the way its question came, if `from` may have been passed it, and not too much came yet.
    pub fn answer(&mut self, from: PeerKey, mut answer: Answer, now: Time, out: &mut Outbox) {
        self.forget(now);
        let Some(side) = self.sides.get(&from).filter(|side| !side.asks_only) else { return };
        let Some(asked) = self.asked.get_mut(&answer.id).filter(|asked| asked.from != from) else { return };
        let Some(back) = self.sides.get(&asked.from) else { return };
        let of_one = asked.by.entry(from).or_default();
        // Who says nothing has said something too.
        let more = count(&answer.says).max(1);
        if asked.found + more > MOST_FOUND || *of_one + more > MOST_OF_ONE {
            return;
        }
        asked.found += more;
        *of_one += more;
        if !seen_from(&mut answer, side.ip) {
            return;
        }
        // The loopback means nothing elsewhere: the next one sees where both of us are.
        if answer.address.is_some_and(|address| address.ip().is_loopback()) && !back.ip.is_loopback() {
            answer.address = None;
        }
        answer.hops = answer.hops.saturating_add(1).min(MOST_HOPS);
        out.push((asked.from, Talk::Answer(answer)));
    }

    /// Questions that are known.
    pub fn known(&self) -> usize {
        self.asked.len()
    }

    fn forget(&mut self, now: Time) {
        while let Some(id) = self.order.front() {
            let is_old = self.asked.get(id).is_none_or(|asked| asked.at + AGE <= now);
            if !is_old && self.asked.len() < MOST_ASKED {
                return;
            }
            self.asked.remove(id);
            self.order.pop_front();
        }
    }
}

/// Puts in where an answer comes from, if it comes from the answerer itself, who is at `ip`: it does not name itself. False:
/// it was passed on by somebody at `ip` with an address that nobody there can have met the answerer at.
pub fn seen_from(answer: &mut Answer, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let passed_on = answer.address.filter(|_| answer.hops > 0);
    let address = passed_on.unwrap_or(SocketAddr::new(ip, answer.port));
    answer.address = Some(address);
    passed_on.is_none_or(|address| concerns(&address, ip))
}

fn count(says: &Says) -> usize {
    match says {
        Says::Finds(finds) => finds.len(),
        Says::Who(_) => 1,
    }
}

#[cfg(test)]
mod tests;
