//! The info dictionary in pieces of 16 KiB (BEP 9), for whoever came by a magnet link.

use crate::metainfo::bencode::{self, Dict, Value, write_bytes, write_int};

/// Every piece but the last has this many bytes.
pub const PIECE: u32 = 16 * 1024;

/// One message of BEP 9. (Its `piece` is one of the dictionary's pieces, no part of the composition.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    Request {
        piece: u32,
    },
    /// `total` is the length of the whole dictionary in bytes.
    Data {
        piece: u32,
        total: u32,
        bytes: Vec<u8>,
    },
    Reject {
        piece: u32,
    },
    /// A message type that BEP 9 does not name: to be ignored.
    Unknown,
}

/// It is no message of BEP 9.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its metadata message does not follow BEP 9")]
pub struct Malformed;

impl Metadata {
    /// As the payload behind the extension's number. [`Metadata::Unknown`] is never sent and gives nothing.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request { piece } => dict(0, *piece, None),
            Self::Data { piece, total, bytes } => {
                let mut out = dict(1, *piece, Some(*total));
                out.extend_from_slice(bytes);
                out
            }
            Self::Reject { piece } => dict(2, *piece, None),
            Self::Unknown => Vec::new(),
        }
    }

    /// # Errors
    /// No dictionary, no message type or piece, or data of another length than that piece of `total` has.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let (value, rest) = bencode::parse_prefix(payload).map_err(|_| Malformed)?;
        let dict = value.as_dict().ok_or(Malformed)?;
        let kind = dict.get("msg_type").and_then(Value::as_u64);
        let piece = || number(&dict, "piece");
        match kind.ok_or(Malformed)? {
            0 => Ok(Self::Request { piece: piece()? }),
            1 => {
                let (piece, total) = (piece()?, number(&dict, "total_size")?);
                if length(piece, total) != Some(rest.len()) {
                    return Err(Malformed);
                }
                let bytes = rest.to_vec();
                Ok(Self::Data { piece, total, bytes })
            }
            2 => Ok(Self::Reject { piece: piece()? }),
            _ => Ok(Self::Unknown),
        }
    }
}

/// Length of this piece of a dictionary of `total` bytes; None: it has no such piece.
pub fn length(piece: u32, total: u32) -> Option<usize> {
    let start = piece.checked_mul(PIECE)?;
    (start < total).then(|| (total - start).min(PIECE) as usize)
}

fn dict(kind: u8, piece: u32, total: Option<u32>) -> Vec<u8> {
    let mut out = vec![b'd'];
    write_bytes(&mut out, b"msg_type");
    write_int(&mut out, kind);
    write_bytes(&mut out, b"piece");
    write_int(&mut out, piece);
    if let Some(total) = total {
        write_bytes(&mut out, b"total_size");
        write_int(&mut out, total);
    }
    out.push(b'e');
    out
}

fn number(dict: &Dict<'_>, key: &str) -> Result<u32, Malformed> {
    dict.get(key).and_then(Value::as_u64).and_then(|number| number.try_into().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_message() -> impl Strategy<Value = Metadata> {
        let data = (0..200u32, 1..=PIECE).prop_flat_map(|(piece, last)| {
            let total = piece * PIECE + last;
            proptest::collection::vec(any::<u8>(), last as usize).prop_map(move |bytes| Metadata::Data {
                piece,
                total,
                bytes,
            })
        });
        prop_oneof![
            any::<u32>().prop_map(|piece| Metadata::Request { piece }),
            any::<u32>().prop_map(|piece| Metadata::Reject { piece }),
            data,
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(message in any_message()) {
            prop_assert_eq!(Metadata::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn broken_bytes_never_panic(
            message in any_message(), end: prop::sample::Index, at: prop::sample::Index, byte: u8,
        ) {
            let mut bytes = message.encode();
            prop_assert_eq!(Metadata::decode(&bytes[..end.index(bytes.len())]), Err(Malformed));
            let at = at.index(bytes.len().min(60));
            bytes[at] = byte;
            let _ = Metadata::decode(&bytes);
        }
    }

    #[test]
    fn message_types_to_come_are_no_fault() {
        let message = b"d8:msg_typei7e5:hello5:worlde";
        assert_eq!(Metadata::decode(message), Ok(Metadata::Unknown));
    }

    #[test]
    fn data_has_the_length_of_its_piece() {
        let short = b"d8:msg_typei1e5:piecei0e10:total_sizei5eeabcd";
        assert_eq!(Metadata::decode(short), Err(Malformed));
        let none = b"d8:msg_typei1e5:piecei1e10:total_sizei5ee";
        assert_eq!(Metadata::decode(none), Err(Malformed));
        assert_eq!(length(u32::MAX, u32::MAX), None);
    }
}
