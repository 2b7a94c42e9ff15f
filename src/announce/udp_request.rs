//! The datagrams that ask a conductor over UDP (BEP 15), in both directions.
//!
//! Whatever follows an announce's 98 bytes (the options of BEP 41) is skipped, and so is what follows the last whole
//! hash of a scrape.
//!
//! Faces the network: the source of a datagram may be forged until its connection id is proven, so a question is read
//! with the id that it claims, and what is wrong with one comes with that id too: nothing may be said about it before.
//! The work is linear in at most 74 hashes.

use core::net::{IpAddr, Ipv4Addr};

use super::{Announce, Event, http_request::MAX_SCRAPED};
use crate::{metainfo::InfoHash, wire::handshake::PeerId};

/// What a connect begins with in place of a connection id.
const MAGIC: u64 = 0x0417_2710_1980;
/// An announce without options.
const ANNOUNCE: usize = 98;

pub(super) const CONNECT_ACTION: u32 = 0;
pub(super) const ANNOUNCE_ACTION: u32 = 1;
pub(super) const SCRAPE_ACTION: u32 = 2;

/// One datagram from a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Asks for a connection id.
    Connect { transaction: u32 },
    /// Asks something under a connection id, which is yet to be proven.
    Claim { connection: u64, transaction: u32, request: Request },
}

/// What is asked under a connection id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Announce(Announce),
    Scrape(Vec<InfoHash>),
}

/// Why a datagram is no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Nobody expects an answer.
    #[error("it is not of this protocol")]
    Foreign,
    /// May be answered once the connection id is proven.
    #[error("{error}")]
    Wrong { connection: u64, transaction: u32, error: RequestError },
}

/// What is wrong with a request. The text goes back to the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("an announce has 98 bytes at least")]
    ShortAnnounce,
    #[error("a scrape names one info-hash at least")]
    NoHash,
    #[error("there is no such action")]
    NoSuchAction,
}

/// Reads one datagram.
///
/// `num_want` below zero counts as no number, an address or a key of zero as none, and an event that is not one of ours
/// as none too.
pub fn read(datagram: &[u8]) -> Result<Question, Unread> {
    let mut rest = datagram;
    let (connection, action, transaction) = head(&mut rest).ok_or(Unread::Foreign)?;
    if action == CONNECT_ACTION {
        return match connection {
            MAGIC => Ok(Question::Connect { transaction }),
            _ => Err(Unread::Foreign),
        };
    }
    let request = match action {
        ANNOUNCE_ACTION => announce(rest).map(Request::Announce),
        SCRAPE_ACTION => scrape(rest).map(Request::Scrape),
        _ => Err(RequestError::NoSuchAction),
    };
    match request {
        Ok(request) => Ok(Question::Claim { connection, transaction, request }),
        Err(error) => Err(Unread::Wrong { connection, transaction, error }),
    }
}

fn head(rest: &mut &[u8]) -> Option<(u64, u32, u32)> {
    Some((u64::from_be_bytes(take(rest)?), u32::from_be_bytes(take(rest)?), u32::from_be_bytes(take(rest)?)))
}

/// The next bytes, which are then gone from the rest.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn announce(body: &[u8]) -> Result<Announce, RequestError> {
    fields(body).ok_or(RequestError::ShortAnnounce)
}

/// None where the body is too short.
fn fields(mut body: &[u8]) -> Option<Announce> {
    let rest = &mut body;
    let (info_hash, id) = (InfoHash(take(rest)?), PeerId(take(rest)?));
    let [downloaded, left, uploaded] = [take(rest)?, take(rest)?, take(rest)?].map(u64::from_be_bytes);
    let event = u32::from_be_bytes(take(rest)?);
    let ip = Ipv4Addr::from(take::<4>(rest)?);
    let key = u32::from_be_bytes(take(rest)?);
    let numwant = i32::from_be_bytes(take(rest)?);
    let port = u16::from_be_bytes(take(rest)?);
    let event = match event {
        1 => Some(Event::Completed),
        2 => Some(Event::Started),
        3 => Some(Event::Stopped),
        _ => None,
    };
    Some(Announce {
        info_hash,
        id,
        port,
        ip: (!ip.is_unspecified()).then_some(ip.into()),
        uploaded,
        downloaded,
        left,
        event,
        numwant: u32::try_from(numwant).ok(),
        compact: true,
        no_peer_id: true,
        key: (key != 0).then_some(key),
    })
}

fn scrape(body: &[u8]) -> Result<Vec<InfoHash>, RequestError> {
    let (hashes, _) = body.as_chunks::<20>();
    if hashes.is_empty() {
        return Err(RequestError::NoHash);
    }
    Ok(hashes.iter().take(MAX_SCRAPED).map(|hash| InfoHash(*hash)).collect())
}

/// Writes one datagram. What an announce has no place for here (an IPv6 address that is named) is left out.
pub fn write(question: &Question) -> Vec<u8> {
    let mut out = Vec::with_capacity(ANNOUNCE);
    let mut begin = |connection: u64, action: u32, transaction: u32| {
        out.extend_from_slice(&connection.to_be_bytes());
        out.extend_from_slice(&action.to_be_bytes());
        out.extend_from_slice(&transaction.to_be_bytes());
    };
    match question {
        Question::Connect { transaction } => begin(MAGIC, CONNECT_ACTION, *transaction),
        Question::Claim { connection, transaction, request: Request::Announce(announce) } => {
            begin(*connection, ANNOUNCE_ACTION, *transaction);
            write_fields(&mut out, announce);
        }
        Question::Claim { connection, transaction, request: Request::Scrape(hashes) } => {
            begin(*connection, SCRAPE_ACTION, *transaction);
            hashes.iter().for_each(|hash| out.extend_from_slice(&hash.0));
        }
    }
    out
}

fn write_fields(out: &mut Vec<u8>, announce: &Announce) {
    let event: u32 = match announce.event {
        None => 0,
        Some(Event::Completed) => 1,
        Some(Event::Started) => 2,
        Some(Event::Stopped) => 3,
    };
    let ip = match announce.ip {
        Some(IpAddr::V4(ip)) => ip,
        Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
    };
    let numwant = announce.numwant.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    out.extend_from_slice(&announce.info_hash.0);
    out.extend_from_slice(&announce.id.0);
    for number in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&event.to_be_bytes());
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&announce.key.unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&numwant.to_be_bytes());
    out.extend_from_slice(&announce.port.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announces() -> impl Strategy<Value = Announce> {
        (
            any::<([u8; 20], [u8; 20], u16, u64, u64, u64)>(),
            prop::sample::select(vec![None, Some(Event::Started), Some(Event::Completed), Some(Event::Stopped)]),
            any::<Option<Ipv4Addr>>(),
            prop::option::of(0..=i32::MAX as u32),
            prop::option::of(1..=u32::MAX),
        )
            .prop_map(|(numbers, event, ip, numwant, key)| Announce {
                info_hash: InfoHash(numbers.0),
                id: PeerId(numbers.1),
                port: numbers.2,
                ip: ip.filter(|ip| !ip.is_unspecified()).map(IpAddr::V4),
                uploaded: numbers.3,
                downloaded: numbers.4,
                left: numbers.5,
                event,
                numwant,
                compact: true,
                no_peer_id: true,
                key,
            })
    }

    fn questions() -> impl Strategy<Value = Question> {
        let claim = |(connection, transaction, request)| Question::Claim { connection, transaction, request };
        let hashes = prop::collection::vec(any::<[u8; 20]>().prop_map(InfoHash), 1..=MAX_SCRAPED);
        prop_oneof![
            any::<u32>().prop_map(|transaction| Question::Connect { transaction }),
            (any::<u64>(), any::<u32>(), announces().prop_map(Request::Announce)).prop_map(claim),
            (any::<u64>(), any::<u32>(), hashes.prop_map(Request::Scrape)).prop_map(claim),
        ]
    }

    proptest! {
        #[test]
        fn a_question_is_read_back_as_written(question in questions()) {
            prop_assert_eq!(read(&write(&question)), Ok(question));
        }

        #[test]
        fn options_after_an_announce_are_skipped(announce in announces(), options in prop::collection::vec(any::<u8>(), 0..99)) {
            let question = Question::Claim { connection: 1, transaction: 2, request: Request::Announce(announce) };
            prop_assert_eq!(read(&[write(&question), options].concat()), Ok(question));
        }

        #[test]
        fn no_datagram_panics(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&datagram);
        }

        #[test]
        fn a_prefix_or_a_changed_byte_is_never_read_with_another_connection_id(
            question in questions(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut datagram = write(&question);
            let at = at.index(datagram.len());
            for (changed, from) in [(datagram[..at].to_vec(), at), ({ datagram[at] = byte; datagram.clone() }, at)] {
                let Question::Claim { connection: original, .. } = &question else { continue };
                match read(&changed) {
                    Ok(Question::Claim { connection, .. }) | Err(Unread::Wrong { connection, .. }) => {
                        prop_assert!(connection == *original || from < 8);
                    }
                    Ok(Question::Connect { .. }) | Err(Unread::Foreign) => {}
                }
            }
        }
    }

    #[test]
    fn an_announce_byte_by_byte() {
        let mut datagram = vec![0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 1, 9, 9, 9, 9];
        datagram.extend_from_slice(&[b'h'; 20]);
        datagram.extend_from_slice(&[b'p'; 20]);
        for number in [10u64, 11, 12] {
            datagram.extend_from_slice(&number.to_be_bytes());
        }
        datagram.extend_from_slice(&[0, 0, 0, 3, 10, 0, 0, 1, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x1a, 0xe1]);
        assert_eq!(datagram.len(), 98);
        let Ok(Question::Claim { connection, transaction, request: Request::Announce(announce) }) = read(&datagram)
        else {
            panic!("not read");
        };
        assert_eq!((connection, transaction), (0x0001_0203_0405_0607, 0x0909_0909));
        assert_eq!((announce.downloaded, announce.left, announce.uploaded), (10, 11, 12));
        assert_eq!((announce.event, announce.numwant, announce.key), (Some(Event::Stopped), None, Some(5)));
        assert_eq!((announce.ip, announce.port), (Some([10, 0, 0, 1].into()), 6881));
    }

    #[test]
    fn what_is_no_question() {
        let claim = |action: u32, more: usize| {
            let head = [7u64.to_be_bytes().as_slice(), &action.to_be_bytes(), &[0, 0, 0, 9]].concat();
            [head, vec![0; more]].concat()
        };
        let wrong = |error| Err(Unread::Wrong { connection: 7, transaction: 9, error });
        assert_eq!(read(b""), Err(Unread::Foreign));
        assert_eq!(read(&claim(1, 82)[..15]), Err(Unread::Foreign));
        assert_eq!(read(&claim(0, 0)), Err(Unread::Foreign));
        assert_eq!(read(&claim(1, 81)), wrong(RequestError::ShortAnnounce));
        assert_eq!(read(&claim(2, 19)), wrong(RequestError::NoHash));
        assert_eq!(read(&claim(3, 100)), wrong(RequestError::NoSuchAction));
        let Ok(Question::Claim { request: Request::Scrape(hashes), .. }) = read(&claim(2, 20 * 80)) else {
            panic!("not read");
        };
        assert_eq!(hashes.len(), MAX_SCRAPED);
    }
}
