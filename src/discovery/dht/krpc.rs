//! What the nodes of the DHT say to each other: one bencoded dictionary a packet (BEP 5; IPv6 as in BEP 32, read-only
//! nodes as in BEP 43).
//!
//! Only the form is judged here. What it costs an attacker: a packet is read in place, and of its lists no more is taken
//! than [`MOST_CONTACTS`] and [`MOST_MEMBERS`].

use core::net::SocketAddr;

use crate::{
    metainfo::{
        InfoHash,
        bencode::{self, Dict, Value, write_bytes, write_int},
    },
    wire::compact,
};

/// The longest packet that is read, in bytes. Honest ones fit into one frame.
pub const LONGEST: usize = 2048;
/// Nodes that are taken from one packet, and members; an honest node tells 8 and about 50.
pub const MOST_CONTACTS: usize = 16;
pub const MOST_MEMBERS: usize = 100;
/// The longest transaction id, and token, of others, in bytes.
const MAX_WORD: usize = 32;
/// Whose program this is (BEP 5: two letters and a version).
const VERSION: &[u8] = b"OC\x01\x00";

/// The name of a node, in the same space as the info-hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    pub fn fresh(dice: &mut fastrand::Rng) -> Self {
        let mut id = [0; 20];
        dice.fill(&mut id);
        Self(id)
    }

    /// How far apart two ids are: less is nearer.
    pub fn distance(&self, other: &Self) -> [u8; 20] {
        core::array::from_fn(|n| self.0[n] ^ other.0[n])
    }

    /// How many bits at the start are the same; 160 for the same id.
    pub fn common_bits(&self, other: &Self) -> usize {
        let distance = self.distance(other);
        let zeros = distance.iter().take_while(|byte| **byte == 0).count();
        8 * zeros + distance.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

impl core::fmt::Debug for NodeId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<InfoHash> for NodeId {
    fn from(hash: InfoHash) -> Self {
        Self(hash.0)
    }
}

/// A node, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    pub id: NodeId,
    pub address: SocketAddr,
}

/// What a node asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    Ping,
    /// Which nodes are nearest to this?
    FindNode(NodeId),
    /// Who shares this, or who may know?
    GetPeers(InfoHash),
    /// I share this. `port`: where I listen; None: at the port that this comes from.
    Announce {
        info_hash: InfoHash,
        port: Option<u16>,
        token: Vec<u8>,
    },
    /// Something that we do not know.
    Unknown,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: NodeId,
    /// Those that are nearer; None: nobody asked for them.
    pub nodes: Option<Vec<Contact>>,
    pub members: Vec<SocketAddr>,
    /// What an announce to it has to show.
    pub token: Option<Vec<u8>>,
}

impl Answer {
    /// From this node, with nothing to tell.
    pub fn of(id: NodeId) -> Self {
        Self { id, nodes: None, members: Vec::new(), token: None }
    }
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    BadToken,
    UnknownMethod,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Chosen by who asks, repeated by who answers.
    pub transaction: Vec<u8>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `read_only`: it answers nobody, and belongs into nobody's table.
    Query {
        id: NodeId,
        query: Query,
        read_only: bool,
    },
    Answer(Answer),
    Refused,
}

/// None: it is nothing that a node says.
pub fn read(bytes: &[u8]) -> Option<Packet> {
    let packet = bencode::parse(bytes).ok()?.as_dict()?;
    let transaction = word(&packet, "t").filter(|t| !t.is_empty())?;
    let body = match packet.get("y")?.as_bytes()? {
        b"q" => query(&packet)?,
        b"r" => Body::Answer(answer(&packet.get("r")?.as_dict()?)?),
        b"e" => Body::Refused,
        _ => return None,
    };
    Some(Packet { transaction, body })
}

fn query(packet: &Dict<'_>) -> Option<Body> {
    let arguments = packet.get("a")?.as_dict()?;
    let number = |key| arguments.get(key).and_then(Value::as_u64);
    let id = |key| hash(&arguments, key);
    let query = match packet.get("q")?.as_bytes()? {
        b"ping" => Query::Ping,
        b"find_node" => Query::FindNode(NodeId(id("target")?)),
        b"get_peers" => Query::GetPeers(InfoHash(id("info_hash")?)),
        b"announce_peer" => Query::Announce {
            info_hash: InfoHash(id("info_hash")?),
            port: match number("implied_port") {
                None | Some(0) => Some(u16::try_from(number("port")?).ok().filter(|port| *port > 0)?),
                Some(_) => None,
            },
            token: word(&arguments, "token")?,
        },
        _ => Query::Unknown,
    };
    let read_only = packet.get("ro").and_then(Value::as_u64).is_some_and(|flag| flag > 0);
    Some(Body::Query { id: NodeId(id("id")?), query, read_only })
}

fn answer(said: &Dict<'_>) -> Option<Answer> {
    let (v4, v6) = (said.get("nodes").and_then(Value::as_bytes), said.get("nodes6").and_then(Value::as_bytes));
    let all = contacts::<26>(v4.unwrap_or_default()).chain(contacts::<38>(v6.unwrap_or_default()));
    let nodes = v4.or(v6).map(|_| all.take(MOST_CONTACTS).collect());
    let members = said.get("values").and_then(Value::as_list);
    let members = members.into_iter().flatten().take(MOST_MEMBERS);
    let members = members.filter_map(|value| compact::read_usable(value.as_bytes()?)).collect();
    Some(Answer { id: NodeId(hash(said, "id")?), nodes, members, token: word(said, "token") })
}

fn hash(dict: &Dict<'_>, key: &str) -> Option<[u8; 20]> {
    dict.get(key)?.as_bytes()?.try_into().ok()
}

fn word(dict: &Dict<'_>, key: &str) -> Option<Vec<u8>> {
    dict.get(key)?.as_bytes().filter(|bytes| bytes.len() <= MAX_WORD).map(<[u8]>::to_vec)
}

/// An id and an address each, in `N` bytes.
fn contacts<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = Contact> {
    bytes.as_chunks::<N>().0.iter().filter_map(|bytes| {
        let (id, at) = bytes.split_first_chunk()?;
        Some(Contact { id: NodeId(*id), address: compact::read_usable(at)? })
    })
}

/// A question, in the order of keys that bencode wants.
pub fn write_query(transaction: &[u8], id: NodeId, query: &Query, read_only: bool) -> Vec<u8> {
    let mut out = b"d1:ad2:id20:".to_vec();
    out.extend(id.0);
    let name: &[u8] = match query {
        Query::Ping | Query::Unknown => b"ping",
        Query::FindNode(target) => {
            pair(&mut out, "target", &target.0);
            b"find_node"
        }
        Query::GetPeers(info_hash) => {
            pair(&mut out, "info_hash", &info_hash.0);
            b"get_peers"
        }
        Query::Announce { info_hash, port, token } => {
            write_bytes(&mut out, b"implied_port");
            write_int(&mut out, u8::from(port.is_none()));
            pair(&mut out, "info_hash", &info_hash.0);
            write_bytes(&mut out, b"port");
            write_int(&mut out, port.unwrap_or(0));
            pair(&mut out, "token", token);
            b"announce_peer"
        }
    };
    out.push(b'e');
    pair(&mut out, "q", name);
    if read_only {
        out.extend(b"2:roi1e");
    }
    close(out, transaction, b"q")
}

/// An answer to who asked from `to`, which is told too (BEP 42).
pub fn write_answer(transaction: &[u8], answer: &Answer, to: SocketAddr) -> Vec<u8> {
    let mut out = b"d".to_vec();
    let mut seen = Vec::new();
    compact::write(to, &mut seen);
    pair(&mut out, "ip", &seen);
    out.extend(b"1:rd2:id20:");
    out.extend(answer.id.0);
    if let Some(contacts) = &answer.nodes {
        // They are of the version over which they were asked for (BEP 32).
        let mut nodes = Vec::new();
        for contact in contacts.iter().filter(|contact| contact.address.is_ipv6() == to.is_ipv6()) {
            nodes.extend(contact.id.0);
            compact::write(contact.address, &mut nodes);
        }
        pair(&mut out, if to.is_ipv6() { "nodes6" } else { "nodes" }, &nodes);
    }
    if let Some(token) = &answer.token {
        pair(&mut out, "token", token);
    }
    if !answer.members.is_empty() {
        out.extend(b"6:valuesl");
        for member in &answer.members {
            let mut compact = Vec::new();
            compact::write(*member, &mut compact);
            write_bytes(&mut out, &compact);
        }
        out.push(b'e');
    }
    out.push(b'e');
    close(out, transaction, b"r")
}

/// A refusal, with the number and the words that BEP 5 has for it.
pub fn write_refusal(transaction: &[u8], why: Refusal) -> Vec<u8> {
    let text: &[u8] = match why {
        Refusal::BadToken => b"d1:eli203e9:bad tokene",
        Refusal::UnknownMethod => b"d1:eli204e14:unknown methode",
    };
    close(text.to_vec(), transaction, b"e")
}

fn pair(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    write_bytes(out, key.as_bytes());
    write_bytes(out, value);
}

/// The keys that every packet ends with.
fn close(mut out: Vec<u8>, transaction: &[u8], kind: &[u8]) -> Vec<u8> {
    pair(&mut out, "t", transaction);
    pair(&mut out, "v", VERSION);
    pair(&mut out, "y", kind);
    out.push(b'e');
    out
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 15]>().prop_map(|rest| {
                let mut bytes = [0x20; 16];
                bytes[1..].copy_from_slice(&rest);
                IpAddr::from(bytes)
            })
        ];
        (ip, 1..u16::MAX)
            .prop_map(|(ip, port)| SocketAddr::new(ip, port))
            .prop_filter("it can be dialled", |a| !a.ip().is_unspecified() && !a.ip().is_multicast())
    }

    prop_compose! {
        fn any_contact()(id: [u8; 20], address in any_address()) -> Contact {
            Contact { id: NodeId(id), address }
        }
    }

    fn any_query() -> impl Strategy<Value = Query> {
        prop_oneof![
            Just(Query::Ping),
            any::<[u8; 20]>().prop_map(|id| Query::FindNode(NodeId(id))),
            any::<[u8; 20]>().prop_map(|hash| Query::GetPeers(InfoHash(hash))),
            (any::<[u8; 20]>(), proptest::option::of(1..u16::MAX), vec(any::<u8>(), 0..MAX_WORD))
                .prop_map(|(hash, port, token)| Query::Announce { info_hash: InfoHash(hash), port, token }),
        ]
    }

    prop_compose! {
        fn any_answer()(
            id: [u8; 20],
            nodes in proptest::option::of(vec(any_contact(), 0..MOST_CONTACTS)),
            members in vec(any_address(), 0..50),
            token in proptest::option::of(vec(any::<u8>(), 0..MAX_WORD)),
        ) -> Answer {
            Answer { id: NodeId(id), nodes, members, token }
        }
    }

    proptest! {
        #[test]
        fn what_is_asked_is_read_back(
            transaction in vec(any::<u8>(), 1..MAX_WORD), id: [u8; 20], query in any_query(), read_only: bool,
        ) {
            let id = NodeId(id);
            let bytes = write_query(&transaction, id, &query, read_only);
            prop_assert!(bytes.len() < LONGEST);
            prop_assert_eq!(read(&bytes), Some(Packet { transaction, body: Body::Query { id, query, read_only } }));
        }

        #[test]
        fn what_is_answered_is_read_back(
            transaction in vec(any::<u8>(), 1..MAX_WORD), answer in any_answer(), to in any_address(),
        ) {
            let mut answer = answer;
            answer.nodes.iter_mut().for_each(|nodes| nodes.retain(|node| node.address.is_ipv6() == to.is_ipv6()));
            let bytes = write_answer(&transaction, &answer, to);
            prop_assert!(bytes.len() < LONGEST);
            prop_assert_eq!(read(&bytes), Some(Packet { transaction, body: Body::Answer(answer) }));
        }

        #[test]
        fn broken_bytes_never_panic(answer in any_answer(), to in any_address(), at in any::<Index>(), byte: u8) {
            let mut bytes = write_answer(b"aa", &answer, to);
            let at = at.index(bytes.len());
            prop_assert_eq!(read(&bytes[..at]), None);
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let id = NodeId(*b"abcdefghij0123456789");
        let body = |text: &str| read(text.as_bytes()).map(|packet| packet.body);
        let query = |query| Some(Body::Query { id, query, read_only: false });
        let hash = *b"mnopqrstuvwxyz123456";
        assert_eq!(body("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), query(Query::Ping));
        assert_eq!(
            body("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe"),
            query(Query::GetPeers(InfoHash(hash)))
        );
        assert_eq!(
            body(
                "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e\
                 5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
            ),
            query(Query::Announce { info_hash: InfoHash(hash), port: None, token: b"aoeusnth".to_vec() })
        );
        let answer = body("d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re");
        let members = ["97.120.106.101:11893", "105.100.104.116:28269"];
        let members = members.iter().map(|address| address.parse().unwrap()).collect();
        let token = Some(b"aoeusnth".to_vec());
        assert_eq!(answer, Some(Body::Answer(Answer { id, nodes: None, members, token })));
        assert_eq!(body("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee"), Some(Body::Refused));
        assert_eq!(body("d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe"), query(Query::Unknown));
    }

    #[test]
    fn of_endless_lists_only_the_start_is_taken() {
        let mut text = b"d1:rd2:id20:abcdefghij01234567895:nodes26000:".to_vec();
        text.extend([7; 26_000]);
        text.extend(b"6:valuesl");
        text.extend(b"6:abcdef".repeat(100_000));
        text.extend(b"ee1:t2:aa1:y1:re");
        let Some(Body::Answer(answer)) = read(&text).map(|packet| packet.body) else { panic!("no answer") };
        assert_eq!((answer.nodes.map(|nodes| nodes.len()), answer.members.len()), (Some(MOST_CONTACTS), MOST_MEMBERS));
    }

    #[test]
    fn the_common_bits_are_counted() {
        let (zero, mut other) = (NodeId([0; 20]), NodeId([0; 20]));
        assert_eq!(zero.common_bits(&other), 160);
        other.0[19] = 1;
        assert_eq!(zero.common_bits(&other), 159);
        other.0[0] = 0x20;
        assert_eq!(zero.common_bits(&other), 2);
    }
}
