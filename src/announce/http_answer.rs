//! The bodies that answer `/announce` and `/scrape` (BEP 3, 7, 23, 24, 48), in both directions.
//!
//! What is written has sorted keys and always has `interval` and `peers`, without which some clients refuse it. What is
//! read may have its keys in any order, both list forms, and keys of no meaning here; an entry of the list that names no
//! usable address is skipped.
//!
//! Faces the network on the member's side: the caller bounds the body's length, and at most [`MAX_LISTED`] members are
//! taken from it.

use core::net::{IpAddr, SocketAddr};

use super::{Answer, Counts, Listed, Reply};
use crate::{
    metainfo::{
        InfoHash,
        bencode::{self, BencodeError, Dict, Value, write_bytes, write_int},
    },
    wire::{compact, handshake::PeerId},
};

/// Members taken from one answer, at most.
pub const MAX_LISTED: usize = 1000;
/// The length of a text for people that is kept, in bytes.
const MAX_TEXT: usize = 300;

/// Why a body is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("it is not bencode: {0}")]
    Bencode(#[from] BencodeError),
    #[error("it is not a dictionary")]
    NotADictionary,
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// How the asker wants its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// 6 bytes an IPv4 address, 18 an IPv6 address (BEP 23, BEP 7).
    Compact,
    /// A dictionary a member, with its peer id.
    Long,
    /// A dictionary a member, without its peer id.
    LongWithoutIds,
}

impl ListForm {
    /// As this announce asks for it.
    pub fn asked_by(announce: &super::Announce) -> Self {
        match (announce.compact, announce.no_peer_id) {
            (true, _) => Self::Compact,
            (false, false) => Self::Long,
            (false, true) => Self::LongWithoutIds,
        }
    }
}

/// Writes the body for an announce.
pub fn write_reply(reply: &Reply, form: ListForm) -> Vec<u8> {
    match reply {
        Reply::Failure(reason) => write_failure(reason),
        Reply::Answer(answer) => write_answer(answer, form),
    }
}

fn write_failure(reason: &str) -> Vec<u8> {
    let mut out = vec![b'd'];
    write_bytes(&mut out, b"failure reason");
    write_bytes(&mut out, reason.as_bytes());
    out.push(b'e');
    out
}

fn write_answer(answer: &Answer, form: ListForm) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + 18 * answer.peers.len());
    out.push(b'd');
    write_number(&mut out, "complete", answer.complete);
    if let Some(ip) = answer.external_ip {
        write_bytes(&mut out, b"external ip");
        match ip {
            IpAddr::V4(ip) => write_bytes(&mut out, &ip.octets()),
            IpAddr::V6(ip) => write_bytes(&mut out, &ip.octets()),
        }
    }
    write_number(&mut out, "incomplete", answer.incomplete);
    write_number(&mut out, "interval", Some(answer.interval));
    write_number(&mut out, "min interval", answer.min_interval);
    match form {
        ListForm::Compact => write_compact(&mut out, &answer.peers),
        ListForm::Long => write_long(&mut out, &answer.peers, true),
        ListForm::LongWithoutIds => write_long(&mut out, &answer.peers, false),
    }
    if let Some(warning) = &answer.warning {
        write_bytes(&mut out, b"warning message");
        write_bytes(&mut out, warning.as_bytes());
    }
    out.push(b'e');
    out
}

fn write_number(out: &mut Vec<u8>, key: &str, number: Option<u32>) {
    if let Some(number) = number {
        write_bytes(out, key.as_bytes());
        write_int(out, number);
    }
}

fn write_compact(out: &mut Vec<u8>, peers: &[Listed]) {
    let count = peers.iter().filter(|peer| peer.address.is_ipv4()).count();
    let (mut v4, mut v6) = (Vec::with_capacity(6 * count), Vec::with_capacity(18 * (peers.len() - count)));
    for peer in peers {
        compact::write(peer.address, if peer.address.is_ipv4() { &mut v4 } else { &mut v6 });
    }
    write_bytes(out, b"peers");
    write_bytes(out, &v4);
    if !v6.is_empty() {
        write_bytes(out, b"peers6");
        write_bytes(out, &v6);
    }
}

fn write_long(out: &mut Vec<u8>, peers: &[Listed], ids: bool) {
    write_bytes(out, b"peers");
    out.push(b'l');
    for peer in peers {
        out.push(b'd');
        write_bytes(out, b"ip");
        write_bytes(out, peer.address.ip().to_string().as_bytes());
        if let Some(id) = peer.id.filter(|_| ids) {
            write_bytes(out, b"peer id");
            write_bytes(out, &id.0);
        }
        write_bytes(out, b"port");
        write_int(out, peer.address.port());
        out.push(b'e');
    }
    out.push(b'e');
}

/// Reads the body that answers an announce.
pub fn read_reply(body: &[u8]) -> Result<Reply, AnswerError> {
    let dict = bencode::parse(body)?.as_dict().ok_or(AnswerError::NotADictionary)?;
    if let Some(reason) = dict.get("failure reason") {
        return Ok(Reply::Failure(text(reason)));
    }
    Ok(Reply::Answer(Answer {
        interval: number(&dict, "interval").ok_or(AnswerError::Missing("interval"))?,
        min_interval: number(&dict, "min interval"),
        complete: number(&dict, "complete"),
        incomplete: number(&dict, "incomplete"),
        peers: peers(&dict),
        external_ip: dict.get("external ip").and_then(Value::as_bytes).and_then(ip),
        warning: dict.get("warning message").map(text),
    }))
}

/// A text that may be shown on a terminal: short, and without control characters.
fn text(value: Value) -> String {
    let bytes = value.as_bytes().unwrap_or(b"without a reason");
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]).chars().filter(|c| !c.is_control()).collect()
}

/// Numbers above 2^32 - 1 become that; anything that is no number counts as absent.
fn number(dict: &Dict, key: &str) -> Option<u32> {
    let number = dict.get(key)?.as_u64()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn peers(dict: &Dict) -> Vec<Listed> {
    let listed = |key: &str, width| {
        let bytes = dict.get(key).and_then(Value::as_bytes).unwrap_or_default();
        bytes.chunks_exact(width).filter_map(compact::read).map(|address| Listed { address, id: None, claimed: false })
    };
    let long = dict.get("peers").and_then(Value::as_list);
    let long = long.into_iter().flatten().filter_map(read_long);
    long.chain(listed("peers", 6))
        .chain(listed("peers6", 18))
        .filter(|peer| peer.address.port() != 0 && !peer.address.ip().is_unspecified())
        .take(MAX_LISTED)
        .collect()
}

fn read_long(entry: Value) -> Option<Listed> {
    let dict = entry.as_dict()?;
    let ip: IpAddr = dict.get("ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(dict.get("port")?.as_u64()?).ok()?;
    let id = dict.get("peer id").and_then(Value::as_bytes);
    Some(Listed {
        address: SocketAddr::new(ip, port),
        id: id.and_then(|id| id.try_into().ok()).map(PeerId),
        claimed: false,
    })
}

/// Writes the body for a scrape. Each swarm is written once, whatever the order and number it is given in.
pub fn write_scrape(swarms: &[(InfoHash, Counts)]) -> Vec<u8> {
    let mut swarms = swarms.to_vec();
    swarms.sort_unstable_by_key(|(hash, _)| *hash);
    swarms.dedup_by_key(|(hash, _)| *hash);
    let mut out = Vec::with_capacity(16 + 100 * swarms.len());
    out.push(b'd');
    write_bytes(&mut out, b"files");
    out.push(b'd');
    for (hash, counts) in swarms {
        write_bytes(&mut out, &hash.0);
        out.push(b'd');
        write_number(&mut out, "complete", Some(counts.complete));
        write_number(&mut out, "downloaded", Some(counts.downloaded));
        write_number(&mut out, "incomplete", Some(counts.incomplete));
        out.push(b'e');
    }
    out.extend_from_slice(b"ee");
    out
}

/// Reads the body that answers a scrape; swarms whose name is no info-hash are skipped.
pub fn read_scrape(body: &[u8]) -> Result<Vec<(InfoHash, Counts)>, AnswerError> {
    let dict = bencode::parse(body)?.as_dict().ok_or(AnswerError::NotADictionary)?;
    let files = dict.get("files").and_then(Value::as_dict).ok_or(AnswerError::Missing("files"))?;
    let swarms = files.entries().filter_map(|(hash, value)| {
        let dict = value.as_dict()?;
        let count = |key| number(&dict, key).unwrap_or(0);
        let counts =
            Counts { complete: count("complete"), incomplete: count("incomplete"), downloaded: count("downloaded") };
        Some((InfoHash(hash.try_into().ok()?), counts))
    });
    Ok(swarms.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed() -> impl Strategy<Value = Listed> {
        any::<(IpAddr, u16, Option<[u8; 20]>)>()
            .prop_filter("usable", |(ip, port, _)| *port != 0 && !ip.is_unspecified())
            .prop_map(|(ip, port, id)| Listed {
                address: SocketAddr::new(ip, port),
                id: id.map(PeerId),
                claimed: false,
            })
    }

    fn answers() -> impl Strategy<Value = Answer> {
        (
            any::<(u32, Option<u32>, Option<u32>, Option<u32>)>(),
            prop::collection::vec(listed(), 0..8),
            any::<Option<IpAddr>>(),
            prop::option::of("[ -~]{0,30}"),
        )
            .prop_map(|(numbers, peers, external_ip, warning)| Answer {
                interval: numbers.0,
                min_interval: numbers.1,
                complete: numbers.2,
                incomplete: numbers.3,
                peers,
                external_ip,
                warning,
            })
    }

    const FORMS: &[ListForm] = &[ListForm::Compact, ListForm::Long, ListForm::LongWithoutIds];

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        (answers(), prop::sample::select(FORMS)).prop_map(|(answer, form)| write_reply(&Reply::Answer(answer), form))
    }

    proptest! {
        #[test]
        fn the_long_form_is_read_back_as_written(answer in answers()) {
            let reply = Reply::Answer(answer);
            prop_assert_eq!(read_reply(&write_reply(&reply, ListForm::Long)), Ok(reply));
        }

        #[test]
        fn the_short_form_is_read_back_without_ids_and_ipv4_first(answer in answers()) {
            let written = write_reply(&Reply::Answer(answer.clone()), ListForm::Compact);
            let mut expected = answer;
            expected.peers.sort_by_key(|peer| peer.address.is_ipv6());
            expected.peers.iter_mut().for_each(|peer| peer.id = None);
            prop_assert_eq!(read_reply(&written), Ok(Reply::Answer(expected)));
        }

        #[test]
        fn a_failure_is_read_back_as_written(reason in "\\PC{0,60}") {
            let reply = Reply::Failure(reason);
            prop_assert_eq!(read_reply(&write_reply(&reply, ListForm::Compact)), Ok(reply));
        }

        #[test]
        fn a_scrape_is_read_back_as_written(
            swarms in prop::collection::btree_map(any::<[u8; 20]>(), any::<(u32, u32, u32)>(), 0..8)
        ) {
            let swarms: Vec<_> = swarms
                .into_iter()
                .map(|(hash, (complete, incomplete, downloaded))| {
                    (InfoHash(hash), Counts { complete, incomplete, downloaded })
                })
                .collect();
            prop_assert!(read_scrape(&write_scrape(&swarms)) == Ok(swarms));
        }

        #[test]
        fn no_prefix_and_no_changed_byte_panics(
            mut body in bodies(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let at = at.index(body.len());
            let _ = (read_reply(&body[..at]), read_scrape(&body[..at]));
            body[at] = byte;
            let _ = (read_reply(&body), read_scrape(&body));
        }
    }

    #[test]
    fn an_empty_list_is_written_all_the_same() {
        let answer = Answer { interval: 5, ..Answer::default() };
        let body = write_reply(&Reply::Answer(answer), ListForm::Compact);
        assert_eq!(body, b"d8:intervali5e5:peers0:e");
    }

    #[test]
    fn foreign_answers_in_any_order_with_host_names_and_port_0() {
        let body = b"d5:peersld2:ip9:127.0.0.14:porti7eed2:ip4:host4:porti7eed2:ip9:127.0.0.14:porti0eee8:intervali9ee";
        let Ok(Reply::Answer(answer)) = read_reply(body) else {
            panic!("not read");
        };
        assert_eq!(answer.interval, 9);
        assert_eq!(answer.peers.len(), 1);
        assert_eq!(answer.peers[0].address.to_string(), "127.0.0.1:7");
    }

    #[test]
    fn what_is_no_answer() {
        assert_eq!(read_reply(b"de"), Err(AnswerError::Missing("interval")));
        assert_eq!(read_reply(b"le"), Err(AnswerError::NotADictionary));
        assert!(matches!(read_reply(b"<html>"), Err(AnswerError::Bencode(_))));
        assert!(read_scrape(b"de") == Err(AnswerError::Missing("files")));
    }

    #[test]
    fn a_swarm_asked_for_twice_is_written_once() {
        let hash = InfoHash([1; 20]);
        let body = write_scrape(&[(hash, Counts::default()), (hash, Counts::default())]);
        assert!(read_scrape(&body) == Ok(vec![(hash, Counts::default())]));
    }
}
