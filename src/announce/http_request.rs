//! The query string of `/announce` and `/scrape` (BEP 3, 23, 48), in both directions.
//!
//! Info-hashes and peer ids are raw bytes, not UTF-8, so the query is read by hand: percent-decoded to bytes, `+` stays
//! `+`, unknown keys are skipped, and of a key that comes twice the first counts.
//!
//! Faces the network: the work is linear in a query whose length the HTTP front bounds, and nothing is allocated
//! beyond the decoded values.

use core::net::IpAddr;
use std::{borrow::Cow, fmt::Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{Announce, Event};
use crate::{metainfo::InfoHash, wire::handshake::PeerId};

/// Hashes in one scrape at most, as many as fit into a UDP packet (BEP 15).
pub const MAX_SCRAPED: usize = 74;

/// The characters that RFC 3986 leaves as they are.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a query is no announce or scrape. The text goes back to the asker as `failure reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} must be 20 bytes")]
    NotTwenty(&'static str),
    #[error("{0} is not a number in its range")]
    NotANumber(&'static str),
    #[error("more than 74 info_hash in one scrape")]
    TooMany,
}

/// The values of an announce's query as they came, decoded but not yet believed.
#[derive(Default)]
struct Raw<'a> {
    info_hash: Option<Cow<'a, [u8]>>,
    peer_id: Option<Cow<'a, [u8]>>,
    port: Option<Cow<'a, [u8]>>,
    ip: Option<Cow<'a, [u8]>>,
    uploaded: Option<Cow<'a, [u8]>>,
    downloaded: Option<Cow<'a, [u8]>>,
    left: Option<Cow<'a, [u8]>>,
    event: Option<Cow<'a, [u8]>>,
    numwant: Option<Cow<'a, [u8]>>,
    compact: Option<Cow<'a, [u8]>>,
    no_peer_id: Option<Cow<'a, [u8]>>,
    key: Option<Cow<'a, [u8]>>,
}

/// Reads what follows the `?` of an announce.
///
/// A missing `left` counts as "lacks everything", a missing `compact` as 1 (BEP 23 suggests it), `numwant=-1` as no
/// number, an `ip` that is no address (BEP 3 allows a name) as none, and an event that is not one of ours (`paused`, BEP 21) as none.
pub fn read_announce(query: &[u8]) -> Result<Announce, QueryError> {
    let mut raw = Raw::default();
    for (key, value) in pairs(query) {
        let place = match key {
            b"info_hash" => &mut raw.info_hash,
            b"peer_id" => &mut raw.peer_id,
            b"port" => &mut raw.port,
            b"ip" => &mut raw.ip,
            b"uploaded" => &mut raw.uploaded,
            b"downloaded" => &mut raw.downloaded,
            b"left" => &mut raw.left,
            b"event" => &mut raw.event,
            b"numwant" => &mut raw.numwant,
            b"compact" => &mut raw.compact,
            b"no_peer_id" => &mut raw.no_peer_id,
            b"key" => &mut raw.key,
            _ => continue,
        };
        if place.is_none() {
            *place = Some(percent_decode(value).into());
        }
    }
    Ok(Announce {
        info_hash: InfoHash(twenty("info_hash", raw.info_hash.as_deref())?),
        id: PeerId(twenty("peer_id", raw.peer_id.as_deref())?),
        port: number("port", raw.port.as_deref())?.ok_or(QueryError::Missing("port"))?,
        ip: raw.ip.as_deref().and_then(ip),
        uploaded: number("uploaded", raw.uploaded.as_deref())?.unwrap_or(0),
        downloaded: number("downloaded", raw.downloaded.as_deref())?.unwrap_or(0),
        left: number("left", raw.left.as_deref())?.unwrap_or(u64::MAX),
        event: raw.event.as_deref().and_then(event),
        numwant: number::<i64>("numwant", raw.numwant.as_deref())?
            .and_then(|n| (n >= 0).then(|| u32::try_from(n).unwrap_or(u32::MAX))),
        compact: raw.compact.as_deref() != Some(b"0"),
        no_peer_id: raw.no_peer_id.as_deref() == Some(b"1"),
        key: raw.key.as_deref().and_then(key),
    })
}

/// Writes an announce as what follows the `?`.
pub fn write_announce(announce: &Announce) -> String {
    let mut query = format!(
        "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&compact={}",
        percent_encode(&announce.info_hash.0, ESCAPED),
        percent_encode(&announce.id.0, ESCAPED),
        announce.port,
        announce.uploaded,
        announce.downloaded,
        announce.left,
        u8::from(announce.compact),
    );
    if let Some(ip) = announce.ip {
        let _ = write!(query, "&ip={ip}");
    }
    if announce.no_peer_id {
        query.push_str("&no_peer_id=1");
    }
    if let Some(numwant) = announce.numwant {
        let _ = write!(query, "&numwant={numwant}");
    }
    if let Some(key) = announce.key {
        let _ = write!(query, "&key={key:08X}");
    }
    match announce.event {
        Some(Event::Started) => query.push_str("&event=started"),
        Some(Event::Completed) => query.push_str("&event=completed"),
        Some(Event::Stopped) => query.push_str("&event=stopped"),
        None => {}
    }
    query
}

/// Reads what follows the `?` of a scrape: the swarms asked for, at least one.
pub fn read_scrape(query: &[u8]) -> Result<Vec<InfoHash>, QueryError> {
    let mut hashes = Vec::new();
    for (_, value) in pairs(query).filter(|(key, _)| *key == b"info_hash") {
        if hashes.len() == MAX_SCRAPED {
            return Err(QueryError::TooMany);
        }
        let value: Cow<[u8]> = percent_decode(value).into();
        hashes.push(InfoHash(twenty("info_hash", Some(&value))?));
    }
    if hashes.is_empty() {
        return Err(QueryError::Missing("info_hash"));
    }
    Ok(hashes)
}

/// Writes a scrape as what follows the `?`.
pub fn write_scrape(hashes: &[InfoHash]) -> String {
    let pairs: Vec<String> =
        hashes.iter().map(|hash| format!("info_hash={}", percent_encode(&hash.0, ESCAPED))).collect();
    pairs.join("&")
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&b| b == b'&').filter_map(|pair| {
        let equals = pair.iter().position(|&b| b == b'=')?;
        Some((&pair[..equals], &pair[equals + 1..]))
    })
}

fn twenty(name: &'static str, value: Option<&[u8]>) -> Result<[u8; 20], QueryError> {
    value.ok_or(QueryError::Missing(name))?.try_into().map_err(|_| QueryError::NotTwenty(name))
}

fn number<N: core::str::FromStr>(name: &'static str, value: Option<&[u8]>) -> Result<Option<N>, QueryError> {
    let Some(value) = value else { return Ok(None) };
    core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).map(Some).ok_or(QueryError::NotANumber(name))
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(value).ok()?.parse().ok()
}

fn event(value: &[u8]) -> Option<Event> {
    match value {
        b"started" => Some(Event::Started),
        b"completed" => Some(Event::Completed),
        b"stopped" => Some(Event::Stopped),
        _ => None,
    }
}

/// Up to eight hex digits are the number they say, as in BEP 15. Some clients send other text: it is folded (FNV-1a),
/// since all that matters is that the same text gives the same number.
fn key(value: &[u8]) -> Option<u32> {
    if value.is_empty() {
        return None;
    }
    let hex = value.len() <= 8 && value.iter().all(u8::is_ascii_hexdigit);
    let number = core::str::from_utf8(value).ok().filter(|_| hex).and_then(|text| u32::from_str_radix(text, 16).ok());
    Some(number.unwrap_or_else(|| {
        value.iter().fold(0x811c_9dc5, |hash: u32, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announces() -> impl Strategy<Value = Announce> {
        (
            any::<([u8; 20], [u8; 20], u16, u64, u64, u64)>(),
            prop_oneof![
                Just(None),
                Just(Some(Event::Started)),
                Just(Some(Event::Completed)),
                Just(Some(Event::Stopped))
            ],
            any::<(Option<u32>, bool, bool, Option<u32>, Option<IpAddr>)>(),
        )
            .prop_map(|(numbers, event, options)| Announce {
                info_hash: InfoHash(numbers.0),
                id: PeerId(numbers.1),
                port: numbers.2,
                ip: options.4,
                uploaded: numbers.3,
                downloaded: numbers.4,
                left: numbers.5,
                event,
                numwant: options.0,
                compact: options.1,
                no_peer_id: options.2,
                key: options.3,
            })
    }

    proptest! {
        #[test]
        fn an_announce_is_read_back_as_written(announce in announces()) {
            prop_assert_eq!(read_announce(write_announce(&announce).as_bytes()), Ok(announce));
        }

        #[test]
        fn a_scrape_is_read_back_as_written(hashes in prop::collection::vec(any::<[u8; 20]>(), 1..=MAX_SCRAPED)) {
            let hashes: Vec<_> = hashes.into_iter().map(InfoHash).collect();
            prop_assert!(read_scrape(write_scrape(&hashes).as_bytes()) == Ok(hashes));
        }

        #[test]
        fn no_query_panics(query in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_announce(&query);
            let _ = read_scrape(&query);
        }

        #[test]
        fn no_prefix_and_no_changed_byte_panics(
            announce in announces(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut query = write_announce(&announce).into_bytes();
            let at = at.index(query.len());
            let _ = read_announce(&query[..at]);
            query[at] = byte;
            let _ = read_announce(&query);
        }
    }

    const LEAST: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1";

    fn with(more: &str) -> Result<Announce, QueryError> {
        read_announce(format!("{LEAST}{more}").as_bytes())
    }

    #[test]
    fn the_least_that_a_client_can_say() {
        let announce = with("").unwrap();
        assert_eq!(announce.left, u64::MAX);
        assert_eq!(announce.numwant, None);
        assert!(announce.compact);
        assert_eq!(announce.event, None);
    }

    #[test]
    fn bytes_that_are_no_text_and_a_plus_that_is_none_but_itself() {
        let query = b"info_hash=%ff%00+aaaaaaaaaaaaaaaaa&peer_id=\xfebbbbbbbbbbbbbbbbbbb&port=6881";
        let announce = read_announce(query).unwrap();
        assert_eq!(announce.info_hash.0[..4], *b"\xff\x00+a");
        assert_eq!(announce.id.0[..2], *b"\xfeb");
    }

    #[test]
    fn the_first_of_two_counts() {
        assert_eq!(with("&port=2&left=5&left=6").unwrap().left, 5);
        assert_eq!(with("&port=2").unwrap().port, 1);
    }

    #[test]
    fn what_clients_say_in_odd_ways() {
        assert_eq!(with("&numwant=-1").unwrap().numwant, None);
        assert_eq!(with("&numwant=0").unwrap().numwant, Some(0));
        assert_eq!(with("&numwant=99999999999").unwrap().numwant, Some(u32::MAX));
        assert_eq!(with("&ip=10.0.0.1").unwrap().ip, Some([10, 0, 0, 1].into()));
        assert_eq!(with("&ip=fd00%3A%3A1").unwrap().ip, Some([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()));
        assert_eq!(with("&ip=my.host").unwrap().ip, None);
        assert_eq!(with("&event=paused").unwrap().event, None);
        assert_eq!(with("&event=").unwrap().event, None);
        assert!(!with("&compact=0").unwrap().compact);
        assert_eq!(with("&key=1f").unwrap().key, Some(0x1f));
        assert_eq!(with("&key=k%C3%B6y").unwrap().key, with("&key=k%C3%B6y").unwrap().key);
        assert_ne!(with("&key=zzzz").unwrap().key, with("&key=zzzy").unwrap().key);
    }

    #[test]
    fn what_is_refused() {
        let error = |query: &str| read_announce(query.as_bytes()).unwrap_err();
        assert_eq!(error(""), QueryError::Missing("info_hash"));
        assert_eq!(error("info_hash=short"), QueryError::NotTwenty("info_hash"));
        assert_eq!(with("&left=-1").unwrap_err(), QueryError::NotANumber("left"));
        let port = LEAST.replace("port=1", "port=65536");
        assert_eq!(error(&port), QueryError::NotANumber("port"));
        let none = LEAST.replace("&port=1", "");
        assert_eq!(error(&none), QueryError::Missing("port"));
        let scrape = vec!["info_hash=aaaaaaaaaaaaaaaaaaaa"; MAX_SCRAPED + 1].join("&");
        assert!(read_scrape(scrape.as_bytes()) == Err(QueryError::TooMany));
        assert!(read_scrape(b"x=1") == Err(QueryError::Missing("info_hash")));
    }
}
