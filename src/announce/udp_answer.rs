//! The datagrams with which a conductor answers over UDP (BEP 15), in both directions.
//!
//! The list has addresses of the asker's own IP version alone: the form has no place for others. No answer is longer
//! than [`MAX_ANSWER`], so that none is cut up on its way.
//!
//! Faces the network on the member's side: at most as many addresses as fit into the datagram are taken from it.

use core::net::{IpAddr, SocketAddr};

use super::{
    Answer, Counts, Listed,
    udp_request::{ANNOUNCE_ACTION, CONNECT_ACTION, SCRAPE_ACTION},
};
use crate::wire::compact;

/// The longest answer, in bytes: what IPv6 guarantees to carry whole (1280), less the headers of IPv6 and UDP.
pub const MAX_ANSWER: usize = 1232;
/// Action and transaction id.
const HEAD: usize = 8;
const ERROR_ACTION: u32 = 3;

/// One datagram from a conductor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// That of the question.
    pub transaction: u32,
    pub said: Said,
}

/// What a conductor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Connected {
        connection: u64,
    },
    Announced(Answer),
    /// In the order of the question.
    Scraped(Vec<Counts>),
    /// It did not take the question, and why, for people.
    Refused(String),
}

/// Why a datagram is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("it is too short")]
    Short,
    #[error("its action is none that answers")]
    NoSuchAction,
    #[error("its list ends within an entry")]
    BrokenList,
}

/// Writes a connection id.
pub fn write_connected(out: &mut Vec<u8>, transaction: u32, connection: u64) {
    begin(out, CONNECT_ACTION, transaction);
    out.extend_from_slice(&connection.to_be_bytes());
}

/// Writes a refusal; `8 + reason.len()` bytes.
pub fn write_refused(out: &mut Vec<u8>, transaction: u32, reason: &str) {
    begin(out, ERROR_ACTION, transaction);
    out.extend_from_slice(reason.as_bytes());
}

/// Writes what a scrape asked for, in the order in which it asked.
pub fn write_scraped(out: &mut Vec<u8>, transaction: u32, swarms: impl Iterator<Item = Counts>) {
    begin(out, SCRAPE_ACTION, transaction);
    for counts in swarms {
        for number in [counts.complete, counts.downloaded, counts.incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn begin(out: &mut Vec<u8>, action: u32, transaction: u32) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// Writes the answer to an announce, the list first, since the numbers before it are known only after.
pub struct ListWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    v4: bool,
}

impl<'a> ListWriter<'a> {
    /// Begins the answer for an asker at this address.
    pub fn new(out: &'a mut Vec<u8>, transaction: u32, asker: IpAddr) -> Self {
        let start = out.len();
        begin(out, ANNOUNCE_ACTION, transaction);
        out.extend_from_slice(&[0; 12]);
        Self { out, start, v4: asker.is_ipv4() }
    }

    /// Lists a member, unless it has the other IP version or there is no room left; returns whether it did.
    pub fn add(&mut self, address: SocketAddr) -> bool {
        let room = MAX_ANSWER - (self.out.len() - self.start).min(MAX_ANSWER);
        let fits = address.is_ipv4() == self.v4 && room >= if self.v4 { 6 } else { 18 };
        if fits {
            compact::write(address, self.out);
        }
        fits
    }

    /// Fills in the numbers. `interval` is in seconds.
    pub fn finish(self, interval: u32, counts: Counts) {
        let at = self.start + HEAD;
        for (nth, number) in [interval, counts.incomplete, counts.complete].into_iter().enumerate() {
            self.out[at + 4 * nth..at + 4 * nth + 4].copy_from_slice(&number.to_be_bytes());
        }
    }
}

/// Reads one datagram that came over IPv4 (`v4`) or IPv6. Entries that nobody can dial are skipped.
pub fn read(datagram: &[u8], v4: bool) -> Result<Reply, ReplyError> {
    let (head, body) = datagram.split_first_chunk::<HEAD>().ok_or(ReplyError::Short)?;
    let (action, transaction) = (number(head, 0), number(head, 1));
    let said = match action {
        CONNECT_ACTION => Said::Connected {
            connection: body.first_chunk().map(|id| u64::from_be_bytes(*id)).ok_or(ReplyError::Short)?,
        },
        ANNOUNCE_ACTION => Said::Announced(announced(body, v4)?),
        SCRAPE_ACTION => {
            let (swarms, rest) = body.as_chunks::<12>();
            if !rest.is_empty() {
                return Err(ReplyError::BrokenList);
            }
            let counts =
                |n: &[u8; 12]| Counts { complete: number(n, 0), downloaded: number(n, 1), incomplete: number(n, 2) };
            Said::Scraped(swarms.iter().map(counts).collect())
        }
        ERROR_ACTION => Said::Refused(String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).collect()),
        _ => return Err(ReplyError::NoSuchAction),
    };
    Ok(Reply { transaction, said })
}

fn announced(body: &[u8], v4: bool) -> Result<Answer, ReplyError> {
    let (numbers, list) = body.split_first_chunk::<12>().ok_or(ReplyError::Short)?;
    let width = if v4 { 6 } else { 18 };
    if !list.len().is_multiple_of(width) {
        return Err(ReplyError::BrokenList);
    }
    let addresses = list.chunks_exact(width).filter_map(compact::read);
    let dialable = addresses.filter(|address| address.port() != 0 && !address.ip().is_unspecified());
    Ok(Answer {
        interval: number(numbers, 0),
        incomplete: Some(number(numbers, 1)),
        complete: Some(number(numbers, 2)),
        peers: dialable.map(|address| Listed { address, id: None, claimed: false }).collect(),
        ..Answer::default()
    })
}

/// The nth number of four bytes.
fn number<const N: usize>(bytes: &[u8; N], nth: usize) -> u32 {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.get(nth).map_or(0, |number| u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn addresses(v4: bool) -> impl Strategy<Value = Vec<SocketAddr>> {
        let dialable = |address: &SocketAddr| !address.ip().is_unspecified();
        let address = (any::<[u8; 16]>(), 1..=u16::MAX).prop_map(move |(ip, port)| match v4 {
            true => SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], port)),
            false => SocketAddr::from((ip, port)),
        });
        prop::collection::vec(address.prop_filter("dialable", dialable), 0..60)
    }

    proptest! {
        #[test]
        fn a_list_is_read_back_as_written(
            v4: bool, transaction: u32, numbers: (u32, u32, u32), (fours, sixes) in (addresses(true), addresses(false))
        ) {
            let (own, other) = if v4 { (fours, sixes) } else { (sixes, fours) };
            let asker = if v4 { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
            let mut out = Vec::new();
            let mut list = ListWriter::new(&mut out, transaction, asker);
            prop_assert!(other.iter().all(|address| !list.add(*address)));
            prop_assert!(own.iter().all(|address| list.add(*address)));
            let (interval, complete, incomplete) = numbers;
            list.finish(interval, Counts { complete, incomplete, downloaded: 0 });
            prop_assert_eq!(out.len(), 20 + own.len() * if v4 { 6 } else { 18 });
            let expected = Answer {
                interval,
                complete: Some(complete),
                incomplete: Some(incomplete),
                peers: own.into_iter().map(|address| Listed { address, id: None, claimed: false }).collect(),
                ..Answer::default()
            };
            prop_assert_eq!(read(&out, v4), Ok(Reply { transaction, said: Said::Announced(expected) }));
        }

        #[test]
        fn the_others_are_read_back_as_written(
            transaction: u32, connection: u64, swarms in prop::collection::vec(any::<(u32, u32, u32)>(), 0..9), reason in "[ -~]{0,30}"
        ) {
            let mut out = Vec::new();
            write_connected(&mut out, transaction, connection);
            prop_assert_eq!(out.len(), 16);
            prop_assert_eq!(read(&out, true), Ok(Reply { transaction, said: Said::Connected { connection } }));
            let swarms: Vec<_> = swarms.into_iter().map(|(complete, incomplete, downloaded)| Counts { complete, incomplete, downloaded }).collect();
            out.clear();
            write_scraped(&mut out, transaction, swarms.iter().copied());
            prop_assert_eq!(read(&out, true), Ok(Reply { transaction, said: Said::Scraped(swarms) }));
            out.clear();
            write_refused(&mut out, transaction, &reason);
            prop_assert_eq!(read(&out, true), Ok(Reply { transaction, said: Said::Refused(reason) }));
        }

        #[test]
        fn no_datagram_panics(datagram in prop::collection::vec(any::<u8>(), 0..200), action in 0u8..5, v4: bool) {
            let _ = read(&datagram, v4);
            let _ = read(&[&[0, 0, 0, action], datagram.as_slice()].concat(), v4);
        }
    }

    #[test]
    fn an_answer_is_never_longer_than_a_path_carries() {
        for (address, fit) in [("10.0.0.1:7", 202), ("[fd00::1]:7", 67)] {
            let address: SocketAddr = address.parse().unwrap();
            let mut out = Vec::new();
            let mut list = ListWriter::new(&mut out, 1, address.ip());
            assert_eq!((0..500).filter(|_| list.add(address)).count(), fit);
            assert!(out.len() <= MAX_ANSWER);
        }
    }

    #[test]
    fn what_is_no_answer() {
        assert_eq!(read(&[0; 7], true), Err(ReplyError::Short));
        assert_eq!(read(&[0; 15], true), Err(ReplyError::Short));
        assert_eq!(read(&[0, 0, 0, 9, 0, 0, 0, 0], true), Err(ReplyError::NoSuchAction));
        let mut announced = [0; 26];
        announced[3] = 1;
        assert!(read(&announced, true).is_ok());
        assert_eq!(read(&announced, false), Err(ReplyError::BrokenList));
    }
}
