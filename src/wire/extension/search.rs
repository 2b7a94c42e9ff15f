//! Questions among neighbours and their answers (`oc_search`): the message of our own that travels on the links of
//! [`crate::search`].
//!
//! A question is a dictionary of `hops` (links that it may still cross), `id` (16 bytes) and `text`; without a text it
//! asks who is there. An answer has the `id`, the `hops` that it crossed so far, the `port` that the answerer listens on,
//! and `finds` or `who`; `address` is put in by the first member that passes it on, since nobody sees its own.
//!
//! It is not the search: whom a question is passed to, and how much of what comes is borne, is for
//! [`crate::search::relay`] to say. What it costs an attacker: a message has at most [`MOST_BYTES`] and [`MOST_FINDS`]
//! finds, a text [`MOST_TEXT`] bytes; names are cut.

use core::net::SocketAddr;

use crate::{
    metainfo::{
        InfoHash,
        bencode::{self, Dict, Value, write_bytes, write_int},
    },
    wire::compact,
};

/// The longest text that is asked for, in bytes.
pub const MOST_TEXT: usize = 255;
/// Links that a question crosses at most; a larger number counts as this one.
pub const MOST_HOPS: u8 = 32;
/// Finds in one answer: a member answers with no more.
pub const MOST_FINDS: usize = 25;
/// The longest message, in bytes.
pub const MOST_BYTES: usize = 16 << 10;
/// Names are cut to this many bytes, in both directions.
const MOST_NAME: usize = 255;

/// Tells one question from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub [u8; 16]);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talk {
    Question(Question),
    Answer(Answer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub id: QuestionId,
    /// Links that it may still cross.
    pub hops: u8,
    pub asks: Asks,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Who has compositions with all these words in their names; at most [`MOST_TEXT`] bytes.
    For(String),
    /// Who is there.
    Who,
}

/// What one member answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: QuestionId,
    /// Links that it has crossed, that to the reader not counted.
    pub hops: u8,
    /// The port that the answerer listens on.
    pub port: u16,
    /// Where the answerer is, as the one next to it sees it; None: the reader is the one next to it.
    pub address: Option<SocketAddr>,
    pub says: Says,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// At most [`MOST_FINDS`].
    Finds(Vec<Find>),
    Who(Who),
}

/// A composition that the answerer shares. Its texts are not safe for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    pub info_hash: InfoHash,
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Bytes of it that the answerer lacks.
    pub left: u64,
}

/// What the answerer says of itself. Its texts are not safe for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// How people see it.
    pub name: String,
    /// Name and version of its program.
    pub client: String,
    /// How many compositions it shares.
    pub compositions: u32,
    /// How many neighbours it has.
    pub links: u32,
}

/// It is no question and no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it sent neither a question nor an answer")]
pub struct Malformed;

impl Talk {
    /// As the payload behind the extension's number. Longer texts and lists than there may be are cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        match self {
            Self::Question(question) => question.encode(&mut out),
            Self::Answer(answer) => answer.encode(&mut out),
        }
        out.push(b'e');
        out
    }

    /// # Errors
    /// It is longer than [`MOST_BYTES`], no dictionary, or something that has to be in it is not there.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        if payload.len() > MOST_BYTES {
            return Err(Malformed);
        }
        let dict = bencode::parse(payload).map_err(|_| Malformed)?.as_dict().ok_or(Malformed)?;
        let id = dict.get("id").and_then(Value::as_bytes).and_then(|id| id.try_into().ok()).map(QuestionId);
        let (id, hops) = (id.ok_or(Malformed)?, number::<u64>(&dict, "hops")?.min(MOST_HOPS.into()) as u8);
        let says = match (dict.get("finds"), dict.get("who")) {
            (Some(finds), _) => Says::Finds(read_finds(finds)?),
            (None, Some(who)) => Says::Who(read_who(&who.as_dict().ok_or(Malformed)?)?),
            (None, None) => return Ok(Self::Question(Question { id, hops, asks: read_asks(&dict)? })),
        };
        let port = number(&dict, "port").ok().filter(|port| *port != 0).ok_or(Malformed)?;
        let address = dict.get("address").and_then(Value::as_bytes).and_then(compact::read_usable);
        Ok(Self::Answer(Answer { id, hops, port, address, says }))
    }
}

impl Question {
    fn encode(&self, out: &mut Vec<u8>) {
        integer("hops", self.hops, out);
        string("id", &self.id.0, out);
        if let Asks::For(text) = &self.asks {
            string("text", cut(text, MOST_TEXT).as_bytes(), out);
        }
    }
}

impl Answer {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(address) = self.address {
            let mut compact = Vec::new();
            compact::write(address, &mut compact);
            string("address", &compact, out);
        }
        if let Says::Finds(finds) = &self.says {
            write_bytes(out, b"finds");
            out.push(b'l');
            finds.iter().take(MOST_FINDS).for_each(|find| find.encode(out));
            out.push(b'e');
        }
        integer("hops", self.hops, out);
        string("id", &self.id.0, out);
        integer("port", self.port, out);
        if let Says::Who(who) = &self.says {
            write_bytes(out, b"who");
            out.push(b'd');
            string("client", cut(&who.client, MOST_NAME).as_bytes(), out);
            integer("compositions", who.compositions, out);
            integer("links", who.links, out);
            string("name", cut(&who.name, MOST_NAME).as_bytes(), out);
            out.push(b'e');
        }
    }
}

impl Find {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        string("hash", &self.info_hash.0, out);
        integer("left", self.left, out);
        string("name", cut(&self.name, MOST_NAME).as_bytes(), out);
        integer("size", self.size, out);
        out.push(b'e');
    }
}

fn integer(key: &str, value: impl Into<i128>, out: &mut Vec<u8>) {
    write_bytes(out, key.as_bytes());
    write_int(out, value);
}

fn string(key: &str, value: &[u8], out: &mut Vec<u8>) {
    write_bytes(out, key.as_bytes());
    write_bytes(out, value);
}

fn read_asks(dict: &Dict<'_>) -> Result<Asks, Malformed> {
    let Some(text) = dict.get("text") else { return Ok(Asks::Who) };
    let text = text.as_str().filter(|text| text.len() <= MOST_TEXT).ok_or(Malformed)?;
    Ok(Asks::For(text.to_owned()))
}

fn read_finds(finds: Value<'_>) -> Result<Vec<Find>, Malformed> {
    let read = |find: Value<'_>| {
        let dict = find.as_dict().ok_or(Malformed)?;
        let hash = dict.get("hash").and_then(Value::as_bytes).and_then(|hash| hash.try_into().ok());
        let (info_hash, size) = (InfoHash(hash.ok_or(Malformed)?), number(&dict, "size")?);
        Ok(Find { info_hash, name: name(&dict, "name")?, size, left: number::<u64>(&dict, "left")?.min(size) })
    };
    finds.as_list().ok_or(Malformed)?.take(MOST_FINDS).map(read).collect()
}

fn read_who(dict: &Dict<'_>) -> Result<Who, Malformed> {
    let (name, client) = (name(dict, "name")?, name(dict, "client")?);
    Ok(Who { name, client, compositions: number(dict, "compositions")?, links: number(dict, "links")? })
}

fn number<T: TryFrom<u64>>(dict: &Dict<'_>, key: &str) -> Result<T, Malformed> {
    dict.get(key).and_then(Value::as_u64).and_then(|number| number.try_into().ok()).ok_or(Malformed)
}

/// A name from outside, as text of bounded length.
fn name(dict: &Dict<'_>, key: &str) -> Result<String, Malformed> {
    let bytes = dict.get(key).and_then(Value::as_bytes).ok_or(Malformed)?;
    let bytes = &bytes[..bytes.len().min(MOST_NAME)];
    Ok(cut(&String::from_utf8_lossy(bytes), MOST_NAME).to_owned())
}

/// At most so many bytes of it, whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn any_find() -> impl Strategy<Value = Find> {
        (any::<[u8; 20]>(), "\\PC{0,20}", any::<u64>(), any::<u64>()).prop_map(|(hash, name, size, left)| Find {
            info_hash: InfoHash(hash),
            name,
            size,
            left: left.min(size),
        })
    }

    fn any_says() -> impl Strategy<Value = Says> {
        let who = ("\\PC{0,20}", "\\PC{0,20}", any::<(u32, u32)>());
        prop_oneof![
            vec(any_find(), 0..MOST_FINDS).prop_map(Says::Finds),
            who.prop_map(|(name, client, (compositions, links))| Says::Who(Who { name, client, compositions, links })),
        ]
    }

    fn any_talk() -> impl Strategy<Value = Talk> {
        let address = any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port | 1));
        let asks = option::of("\\PC{0,60}").prop_map(|text| text.map_or(Asks::Who, Asks::For));
        let head = || (any::<[u8; 16]>().prop_map(QuestionId), 0..=MOST_HOPS);
        prop_oneof![
            (head(), asks).prop_map(|((id, hops), asks)| Talk::Question(Question { id, hops, asks })),
            (head(), 1u16.., option::of(address), any_says()).prop_map(|((id, hops), port, address, says)| {
                let address = address.filter(|a| !a.ip().is_unspecified() && !a.ip().is_multicast());
                Talk::Answer(Answer { id, hops, port, address, says })
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(talk in any_talk()) {
            prop_assert_eq!(Talk::decode(&talk.encode()), Ok(talk));
        }

        #[test]
        fn broken_bytes_never_panic(talk in any_talk(), at: prop::sample::Index, byte: u8) {
            let mut bytes = talk.encode();
            for end in 0..bytes.len() {
                prop_assert_eq!(Talk::decode(&bytes[..end]), Err(Malformed));
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Talk::decode(&bytes);
        }
    }

    const ID: QuestionId = QuestionId(*b"0123456789abcdef");

    fn find(name: &str) -> Find {
        Find { info_hash: InfoHash([7; 20]), name: name.to_owned(), size: 9, left: 0 }
    }

    fn answer(finds: Vec<Find>) -> Talk {
        Talk::Answer(Answer { id: ID, hops: 0, port: 5, address: None, says: Says::Finds(finds) })
    }

    #[test]
    fn keys_are_sorted() {
        let question = Talk::Question(Question { id: ID, hops: 7, asks: Asks::For("a b".to_owned()) });
        assert_eq!(question.encode(), b"d4:hopsi7e2:id16:0123456789abcdef4:text3:a be");
        let who = Who { name: "n".to_owned(), client: "c".to_owned(), compositions: 3, links: 4 };
        let address = Some("1.2.3.4:258".parse().unwrap());
        let answer = Talk::Answer(Answer { id: ID, hops: 1, port: 5, address, says: Says::Who(who) });
        let expected = b"d7:address6:\x01\x02\x03\x04\x01\x024:hopsi1e2:id16:0123456789abcdef4:porti5e\
            3:whod6:client1:c12:compositionsi3e5:linksi4e4:name1:nee";
        assert_eq!(answer.encode(), expected);
    }

    #[test]
    fn the_largest_answer_is_read_and_more_is_cut() {
        let long = "ä".repeat(200);
        let bytes = answer(vec![find(&long); 40]).encode();
        assert!(bytes.len() <= MOST_BYTES, "{} bytes", bytes.len());
        let Ok(Talk::Answer(Answer { says: Says::Finds(finds), .. })) = Talk::decode(&bytes) else { panic!() };
        assert_eq!((finds.len(), finds[0].name.len()), (MOST_FINDS, 254));
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let question = |hops: &str, id: &str, text: &str| format!("d4:hops{hops}2:id{id}4:text{text}e");
        let (id, long) = ("16:0123456789abcdef", format!("256:{}", "x".repeat(256)));
        assert!(Talk::decode(question("i1e", id, "1:x").as_bytes()).is_ok());
        for wrong in [
            question("i-1e", id, "1:x"),
            question("i1e", "3:abc", "1:x"),
            question("i1e", id, "i5e"),
            question("i1e", id, &long),
            format!("d5:findsle4:hopsi1e2:id{id}4:porti0ee"),
            format!("d5:findsli5ee4:hopsi1e2:id{id}4:porti1ee"),
            format!("{} ", question("i1e", id, "1:x")),
        ] {
            assert_eq!(Talk::decode(wrong.as_bytes()), Err(Malformed), "{wrong}");
        }
        let Ok(Talk::Question(far)) = Talk::decode(question("i999e", id, "1:x").as_bytes()) else { panic!() };
        assert_eq!(far.hops, MOST_HOPS);
    }
}
