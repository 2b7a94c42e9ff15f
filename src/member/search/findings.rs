//! What neighbours have answered so far: each composition once, with all who have it.
//!
//! Pure. Nothing of it is believed: names are a stranger's text, and what is fetched is checked against its info-hash. It
//! holds [`MOST`] compositions with [`MOST_HOLDERS`] each, whatever is answered.

use core::net::SocketAddr;

use serde::Serialize;

use crate::{
    metainfo::InfoHash,
    wire::extension::search::{Answer, Find, Says, Who},
};

const MOST: usize = 1000;
const MOST_HOLDERS: usize = 64;
/// The form of a line of JSON.
const VERSION: u32 = 1;

/// A composition that was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub info_hash: InfoHash,
    /// As the first one called it; not safe for a terminal.
    pub name: String,
    pub size: u64,
    /// Never empty.
    pub holders: Vec<Holder>,
}

/// A member that has it, or some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// `None`: whoever passed its answer on named an address where it cannot have been met.
    pub address: Option<SocketAddr>,
    /// Bytes that it lacks.
    pub left: u64,
    /// Links between.
    pub hops: u8,
}

/// A member that said who it is.
#[derive(Clone, Debug)]
pub struct Neighbour {
    pub address: SocketAddr,
    pub who: Who,
    pub hops: u8,
}

#[derive(Debug, Default)]
pub struct Findings {
    /// In the order in which they came.
    pub found: Vec<Found>,
    /// The nearest first.
    pub neighbours: Vec<Neighbour>,
}

/// One line of `member search --json`: a composition at one more member.
#[derive(Serialize)]
struct FoundLine<'a> {
    v: u32,
    name: &'a str,
    info_hash: String,
    size: u64,
    address: Option<SocketAddr>,
    left: u64,
    hops: u8,
    /// Members that have it, this one counted.
    holders: usize,
}

/// One line of `member neighbours --json`.
#[derive(Serialize)]
struct NeighbourLine<'a> {
    v: u32,
    address: SocketAddr,
    name: &'a str,
    client: &'a str,
    compositions: u32,
    links: u32,
    hops: u8,
}

impl Findings {
    /// Takes in an answer; gives the lines of JSON of what is new in it.
    pub fn add(&mut self, answer: Answer) -> Vec<String> {
        match (answer.says, answer.address) {
            (Says::Finds(finds), address) => {
                finds.into_iter().filter_map(|find| self.add_find(find, address, answer.hops)).collect()
            }
            (Says::Who(who), Some(address)) => {
                self.add_neighbour(Neighbour { address, who, hops: answer.hops }).into_iter().collect()
            }
            (Says::Who(_), None) => Vec::new(),
        }
    }

    fn add_find(&mut self, find: Find, address: Option<SocketAddr>, hops: u8) -> Option<String> {
        let holder = Holder { address, left: find.left, hops };
        let known = self.found.iter().position(|found| found.info_hash == find.info_hash);
        let at = match known {
            Some(at) => at,
            None if self.found.len() < MOST => {
                let Find { info_hash, name, size, .. } = find;
                self.found.push(Found { info_hash, name, size, holders: Vec::new() });
                self.found.len() - 1
            }
            None => return None,
        };
        let found = &mut self.found[at];
        if found.holders.len() >= MOST_HOLDERS || found.holders.iter().any(|known| known.address == address) {
            return None;
        }
        found.holders.push(holder);
        serde_json::to_string(&FoundLine {
            v: VERSION,
            name: &found.name,
            info_hash: found.info_hash.to_string(),
            size: found.size,
            address,
            left: holder.left,
            hops,
            holders: found.holders.len(),
        })
        .ok()
    }

    fn add_neighbour(&mut self, neighbour: Neighbour) -> Option<String> {
        if self.neighbours.len() >= MOST || self.neighbours.iter().any(|known| known.address == neighbour.address) {
            return None;
        }
        let Neighbour { address, ref who, hops } = neighbour;
        let Who { name, client, compositions, links } = who;
        let (compositions, links) = (*compositions, *links);
        let line = NeighbourLine { v: VERSION, address, name, client, compositions, links, hops };
        let line = serde_json::to_string(&line).ok();
        let at = self.neighbours.partition_point(|known| known.hops <= hops);
        self.neighbours.insert(at, neighbour);
        line
    }

    /// Whether nothing was answered.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.neighbours.is_empty()
    }
}

impl Found {
    /// The member to fetch it from first: one whose address leads there, then one that lacks nothing, then the nearest.
    pub fn nearest(&self) -> Holder {
        let leads = |holder: &Holder| holder.address.is_some_and(leads_there);
        let nearest = self.holders.iter().min_by_key(|holder| (!leads(holder), holder.left > 0, holder.hops));
        nearest.copied().unwrap_or(Holder { address: None, left: self.size, hops: 0 })
    }

    /// The command that fetches it.
    pub fn command(&self) -> String {
        match self.nearest().address.filter(|address| leads_there(*address)) {
            Some(address) => format!("member get {} --peer {address}", self.info_hash),
            None => format!("member get {}", self.info_hash),
        }
    }
}

/// Whether an address leads to a member as it stands: one of a link (fe80::/10) does only with the interface (RFC 4007).
fn leads_there(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(address) => !address.ip().is_unicast_link_local() || address.scope_id() != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::extension::search::QuestionId;

    fn answer(host: u8, hops: u8, hash: u8, left: u64) -> Answer {
        let find = Find { info_hash: InfoHash([hash; 20]), name: format!("{hash}\u{1b}"), size: 9, left };
        let address = Some(SocketAddr::from(([10, 0, 0, host], 9998)));
        Answer { id: QuestionId([0; 16]), hops, port: 9998, address, says: Says::Finds(vec![find]) }
    }

    #[test]
    fn a_composition_is_one_line_with_all_who_have_it() {
        let mut findings = Findings::default();
        assert_eq!(findings.add(answer(1, 3, 7, 5)).len(), 1);
        assert!(findings.add(answer(1, 4, 7, 5)).is_empty(), "the same came another way");
        let line = &findings.add(answer(2, 5, 7, 0))[0];
        assert!(line.contains("\"holders\":2") && line.contains("\"hops\":5") && line.contains("\"v\":1"), "{line}");
        findings.add(answer(3, 6, 7, 0));
        findings.add(answer(3, 6, 8, 0));
        let shape: Vec<usize> = findings.found.iter().map(|found| found.holders.len()).collect();
        assert_eq!(shape, [3, 1]);
        let hash = InfoHash([7; 20]);
        assert_eq!(findings.found[0].command(), format!("member get {hash} --peer 10.0.0.2:9998"));
    }

    #[test]
    fn an_address_of_a_link_is_named_with_its_interface_alone() {
        let mut findings = Findings::default();
        findings.add(Answer { address: "[fe80::7]:9998".parse().ok(), ..answer(1, 1, 7, 0) });
        let hash = InfoHash([7; 20]);
        assert_eq!(findings.found[0].command(), format!("member get {hash}"));
        findings.add(Answer { address: "[fe80::7%3]:9998".parse().ok(), ..answer(1, 1, 7, 9) });
        assert_eq!(findings.found[0].command(), format!("member get {hash} --peer [fe80::7%3]:9998"));
    }

    #[test]
    fn a_holder_that_nobody_can_have_met_is_not_named() {
        let mut findings = Findings::default();
        findings.add(Answer { address: None, ..answer(1, 1, 7, 0) });
        let hash = InfoHash([7; 20]);
        assert_eq!(findings.found[0].command(), format!("member get {hash}"));
        findings.add(answer(2, 5, 7, 3));
        assert_eq!(findings.found[0].command(), format!("member get {hash} --peer 10.0.0.2:9998"));
    }

    #[test]
    fn a_flood_of_answers_fills_no_memory() {
        let mut findings = Findings::default();
        for n in 0..200_000u32 {
            let mut one = answer(1, 1, 1, 0);
            one.address = Some(SocketAddr::from((n.to_be_bytes(), 1)));
            let Says::Finds(finds) = &mut one.says else { panic!() };
            finds[0].info_hash.0[..4].copy_from_slice(&(n % 4000).to_be_bytes());
            findings.add(one);
        }
        assert_eq!(findings.found.len(), MOST);
        assert!(findings.found.iter().all(|found| found.holders.len() <= MOST_HOLDERS));
    }

    #[test]
    fn neighbours_stand_in_the_order_of_their_distance() {
        let mut findings = Findings::default();
        for (host, hops) in [(1, 2), (2, 0), (3, 1), (1, 0)] {
            let who = Who { name: "n".to_owned(), client: "c".to_owned(), compositions: 1, links: 2 };
            findings.add(Answer { says: Says::Who(who), ..answer(host, hops, 0, 0) });
        }
        let order: Vec<u8> = findings.neighbours.iter().map(|neighbour| neighbour.hops).collect();
        assert_eq!(order, [0, 1, 2]);
    }
}
