//! A node of the DHT (BEP 5), over one IP version: packets and the time in; packets, members and the next deadline out.
//!
//! It owns no socket and no clock. Whoever drives it hands it what comes ([`Node::hear`]), sends what
//! [`Node::next_packet`] gives, passes on what [`Node::next_found`] gives, and calls [`Node::on_deadline`] when
//! [`Node::deadline`] has come. It keeps looking for the members of what it was told of with [`Node::share`], each about
//! every five minutes, and announces that we share it.
//!
//! It answers others while it can be reached: for the first quarter of an hour, and from then on if strangers ask it.
//! Otherwise it says that it is read-only (BEP 43), and others spare themselves the question.
//!
//! What it costs an attacker: an answer counts only from whom was asked, and once. Of queries so many are answered as
//! [`ANSWERS`] lets through, none with much more bytes than the standard has. Searches are bounded in
//! [`super::lookup`], what is kept for others in [`super::announced`]. Whom we are told of is dialled by the swarm,
//! which believes nobody; an address inside a network counts only if it comes from there ([`concerns`]).

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    announced::Announced,
    krpc::{self, Answer, Body, Contact, NodeId, Query, Refusal},
    lookup::Lookup,
    table::{BUCKET, Table},
};
use crate::{
    discovery::lan::manners::Pace,
    metainfo::InfoHash,
    swarm::range::{Range, concerns, range},
    time::Time,
};

/// Who has not answered by then does not.
const PATIENCE: Time = Time::from_secs(3);
/// Members are looked for again after this time, a fifth more or less.
const AGAIN: Time = Time::from_secs(300);
/// Searches at the same time: with thousands of compositions they come one after the other.
const SEARCHES: usize = 8;
/// Who was not heard for so long is asked whether it is still there.
const SILENT: Time = Time::from_secs(600);
/// One is asked so every so often.
const CARE: Time = Time::from_secs(5);
/// Our own neighbourhood is looked at again.
const HOME: Time = Time::from_secs(900);
/// What is old is forgotten.
const SWEEP: Time = Time::from_secs(60);
/// So long it answers at first, and after a stranger asked.
const TRIAL: Time = Time::from_secs(900);
/// Whom we wrote to within this time is no stranger: through many routers it reaches us because of that.
const ACQUAINTED: Time = Time::from_secs(600);
/// Acquaintances that are remembered. With more of them nobody counts as a stranger.
const MOST_ACQUAINTED: usize = 4000;
/// Answers to others: one each so often, and so many at once.
const ANSWERS: Pace = Pace::new(Time::from_millis(5), 200);
/// Greetings under way: who asks us is asked back, and may become known.
const MOST_GREETED: usize = 16;

/// A question under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    transaction: u16,
    address: SocketAddr,
    why: Why,
    at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// For the search of this number.
    Search(u32),
    /// To see whether it answers.
    Greeting,
    /// To tell that we share something.
    Announce,
}

impl Asked {
    fn search(&self) -> Option<u32> {
        match self.why {
            Why::Search(number) => Some(number),
            Why::Greeting | Why::Announce => None,
        }
    }
}

/// A search under way.
#[derive(Debug)]
struct Search {
    lookup: Lookup,
    /// For the members of this; None: for the nodes near to us.
    members_of: Option<InfoHash>,
}

#[derive(Debug)]
pub struct Node {
    id: NodeId,
    /// Where members reach us.
    port: u16,
    table: Table,
    announced: Announced,
    searches: BTreeMap<u32, Search>,
    next_search: u32,
    /// The oldest first.
    asked: VecDeque<Asked>,
    next_transaction: u16,
    shared: BTreeSet<InfoHash>,
    due: BTreeSet<(Time, InfoHash)>,
    acquainted: BTreeMap<IpAddr, Time>,
    open_until: Time,
    answers: Pace,
    next_care: Time,
    next_home: Time,
    next_sweep: Time,
    packets: VecDeque<(SocketAddr, Vec<u8>)>,
    found: VecDeque<(InfoHash, Vec<SocketAddr>)>,
    dice: fastrand::Rng,
}

impl Node {
    /// One that knows nobody. `port`: where members reach us.
    pub fn new(port: u16, mut dice: fastrand::Rng, now: Time) -> Self {
        let id = NodeId::fresh(&mut dice);
        Self {
            id,
            port,
            table: Table::new(id),
            announced: Announced::new(dice.u128(..).to_be_bytes()),
            searches: BTreeMap::new(),
            next_search: 0,
            asked: VecDeque::new(),
            next_transaction: dice.u16(..),
            shared: BTreeSet::new(),
            due: BTreeSet::new(),
            acquainted: BTreeMap::new(),
            open_until: now + TRIAL,
            answers: ANSWERS,
            next_care: now + CARE,
            next_home: now,
            next_sweep: now + SWEEP,
            packets: VecDeque::new(),
            found: VecDeque::new(),
            dice,
        }
    }

    /// Nobody answers.
    pub fn is_alone(&self) -> bool {
        self.table.is_empty()
    }

    /// Nodes that answered lately, for the next start.
    pub fn acquaintances(&self, count: usize) -> Vec<SocketAddr> {
        self.table.nearest(&self.id, count).into_iter().map(|contact| contact.address).collect()
    }

    /// Looks for the members of this from now on, and announces that we are one.
    pub fn share(&mut self, info_hash: InfoHash, now: Time) {
        if self.shared.insert(info_hash) {
            self.due.insert((now, info_hash));
            self.work(now);
        }
    }

    /// Does so no more.
    pub fn forget(&mut self, info_hash: InfoHash) {
        self.shared.remove(&info_hash);
        self.due.retain(|(_, other)| *other != info_hash);
        self.searches.retain(|_, search| search.members_of != Some(info_hash));
    }

    /// There may be a node at this address.
    pub fn greet(&mut self, address: SocketAddr, now: Time) {
        let greeted = self.asked.iter().filter(|asked| asked.why == Why::Greeting);
        let (count, already) = greeted.fold((0, false), |(n, already), a| (n + 1, already || a.address == address));
        if !already && count < MOST_GREETED && address.port() > 0 {
            self.ask(address, &Query::FindNode(self.id), Why::Greeting, now);
        }
    }

    /// A packet came.
    pub fn hear(&mut self, packet: &[u8], from: SocketAddr, now: Time) {
        let Some(packet) = krpc::read(packet) else { return };
        match packet.body {
            Body::Query { id, query, read_only } => {
                let contact = Contact { id, address: from };
                self.on_query(&packet.transaction, contact, query, now);
                if !read_only && self.table.has_room(&contact) {
                    self.greet(from, now);
                }
            }
            Body::Answer(answer) => {
                if let Some(asked) = self.settle(&packet.transaction, from) {
                    self.on_answer(asked, answer, from, now);
                }
            }
            Body::Refused => {
                if let Some(asked) = self.settle(&packet.transaction, from) {
                    self.on_failure(asked);
                }
            }
        }
        self.work(now);
    }

    /// The next packet to send, and to whom.
    pub fn next_packet(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.packets.pop_front()
    }

    /// Members that were found.
    pub fn next_found(&mut self) -> Option<(InfoHash, Vec<SocketAddr>)> {
        self.found.pop_front()
    }

    /// When [`Self::on_deadline`] wants to be called.
    pub fn deadline(&self) -> Time {
        let mut next = self.next_sweep;
        if let Some(asked) = self.asked.front() {
            next = next.min(asked.at + PATIENCE);
        }
        if !self.is_alone() {
            next = next.min(self.next_care).min(self.next_home);
            if let Some((due, _)) = self.due.first().filter(|_| self.searches.len() < SEARCHES) {
                next = next.min(*due);
            }
        }
        next
    }

    pub fn on_deadline(&mut self, now: Time) {
        while let Some(asked) = self.asked.pop_front_if(|asked| now >= asked.at + PATIENCE) {
            self.on_failure(asked);
        }
        if now >= self.next_care {
            self.next_care = now + CARE;
            if let Some((silent, heard)) = self.table.longest_silent()
                && now >= heard + SILENT
            {
                self.greet(silent.address, now);
            }
        }
        if now >= self.next_home && !self.is_alone() {
            self.look_around_home(now);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.announced.forget_old(now);
            self.acquainted.retain(|_, at| now < *at + ACQUAINTED);
        }
        self.work(now);
    }

    fn look_around_home(&mut self, now: Time) {
        self.next_home = now + HOME;
        self.search(self.id, None);
    }

    fn search(&mut self, target: NodeId, members_of: Option<InfoHash>) {
        let lookup = Lookup::new(target, self.table.nearest(&target, 2 * BUCKET));
        self.searches.insert(self.next_search, Search { lookup, members_of });
        self.next_search = self.next_search.wrapping_add(1);
    }

    /// Begins what is due, asks whom the searches want asked, and ends those that are over.
    fn work(&mut self, now: Time) {
        while self.searches.len() < SEARCHES
            && !self.is_alone()
            && let Some((_, info_hash)) = self.due.first().copied().filter(|(due, _)| now >= *due)
        {
            self.due.pop_first();
            // What others announced to us ourselves nobody else may know.
            let members = self.announced.some_of(info_hash, now, &mut self.dice);
            self.pass_on(info_hash, members);
            self.search(info_hash.into(), Some(info_hash));
        }
        for number in self.searches.keys().copied().collect::<Vec<_>>() {
            self.go_on(number, now);
        }
    }

    fn go_on(&mut self, number: u32, now: Time) {
        let Some(mut search) = self.searches.remove(&number) else { return };
        let query = search.members_of.map_or(Query::FindNode(self.id), Query::GetPeers);
        while let Some(contact) = search.lookup.next_to_ask() {
            self.ask(contact.address, &query, Why::Search(number), now);
        }
        if !search.lookup.is_over() {
            self.searches.insert(number, search);
        } else if let Some(info_hash) = search.members_of.filter(|hash| self.shared.contains(hash)) {
            for (address, token) in search.lookup.takers() {
                let announce = Query::Announce { info_hash, port: Some(self.port), token };
                self.ask(address, &announce, Why::Announce, now);
            }
            let wait = AGAIN.mul_f64(0.8 + 0.4 * self.dice.f64());
            self.due.insert((now + wait, info_hash));
        }
    }

    fn ask(&mut self, address: SocketAddr, query: &Query, why: Why, now: Time) {
        let transaction = self.next_transaction;
        self.next_transaction = transaction.wrapping_add(1);
        self.asked.push_back(Asked { transaction, address, why, at: now });
        if self.acquainted.len() < MOST_ACQUAINTED {
            self.acquainted.insert(address.ip(), now);
        }
        let read_only = now >= self.open_until;
        self.packets.push_back((address, krpc::write_query(&transaction.to_be_bytes(), self.id, query, read_only)));
    }

    /// The question that this answers.
    fn settle(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Asked> {
        let transaction = u16::from_be_bytes(transaction.try_into().ok()?);
        let at = self.asked.iter().position(|a| a.transaction == transaction && a.address == from)?;
        self.asked.remove(at)
    }

    fn on_answer(&mut self, asked: Asked, answer: Answer, from: SocketAddr, now: Time) {
        let contact = Contact { id: answer.id, address: from };
        let was_alone = self.is_alone();
        self.table.heard(contact, now);
        if was_alone && !self.is_alone() {
            self.look_around_home(now);
        }
        let Some(search) = asked.search().and_then(|number| self.searches.get_mut(&number)) else { return };
        if !search.lookup.answered(contact, answer.token) {
            return;
        }
        let near = |address: &SocketAddr| concerns(address, from.ip());
        let same_version = |node: &Contact| node.address.is_ipv4() == from.is_ipv4() && near(&node.address);
        let unknown = answer.nodes.into_iter().flatten().filter(|node| node.id != self.id && same_version(node));
        unknown.for_each(|node| search.lookup.hear_of(node));
        let Some(info_hash) = search.members_of else { return };
        let members = search.lookup.fresh(answer.members.into_iter().filter(near).collect());
        self.pass_on(info_hash, members);
    }

    fn pass_on(&mut self, info_hash: InfoHash, members: Vec<SocketAddr>) {
        if !members.is_empty() && self.shared.contains(&info_hash) {
            self.found.push_back((info_hash, members));
        }
    }

    fn on_failure(&mut self, asked: Asked) {
        self.table.failed(asked.address);
        if let Some(search) = asked.search().and_then(|number| self.searches.get_mut(&number)) {
            search.lookup.failed(asked.address);
        }
    }

    fn on_query(&mut self, transaction: &[u8], from: Contact, query: Query, now: Time) {
        let ip = from.address.ip();
        let full = self.acquainted.len() >= MOST_ACQUAINTED;
        let acquainted = full || self.acquainted.get(&ip).is_some_and(|at| now < *at + ACQUAINTED);
        // In one network there is nothing between us.
        if !acquainted || range(ip) < Range::World {
            self.open_until = self.open_until.max(now + TRIAL);
        }
        if now >= self.open_until || !self.answers.takes(now) {
            return;
        }
        let answer = self.answer(from, query, now);
        self.packets.push_back(match answer {
            Ok(answer) => (from.address, krpc::write_answer(transaction, &answer, from.address)),
            Err(why) => (from.address, krpc::write_refusal(transaction, why)),
        });
    }

    fn answer(&mut self, from: Contact, query: Query, now: Time) -> Result<Answer, Refusal> {
        let ip = from.address.ip();
        let nearest = |target: NodeId| {
            let mut nodes = self.table.nearest(&target, 2 * BUCKET);
            nodes.retain(|node| concerns(&node.address, ip) && node.id != from.id);
            nodes.truncate(BUCKET);
            nodes
        };
        let nothing = Answer::of(self.id);
        Ok(match query {
            Query::Ping => nothing,
            Query::FindNode(target) => Answer { nodes: Some(nearest(target)), ..nothing },
            Query::GetPeers(info_hash) => {
                let mut members = self.announced.some_of(info_hash, now, &mut self.dice);
                members.retain(|member| concerns(member, ip));
                let token = Some(self.announced.token(ip, now));
                Answer { nodes: Some(nearest(info_hash.into())), members, token, ..nothing }
            }
            Query::Announce { info_hash, port, token } if self.announced.proves(&token, ip, now) => {
                let member = SocketAddr::new(ip, port.unwrap_or(from.address.port()));
                self.announced.add(info_hash, member, now);
                self.pass_on(info_hash, vec![member]);
                nothing
            }
            Query::Announce { .. } => return Err(Refusal::BadToken),
            Query::Unknown => return Err(Refusal::UnknownMethod),
        })
    }
}

#[cfg(test)]
mod tests;
