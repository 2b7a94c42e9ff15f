//! Bytes to [`Frame`]s (BEP 3, 6, 10).
//!
//! A decoder says one of three things: a frame, need more, or an error. It looks at the length and the number of a
//! message before it wants the rest of it, so that a message of a wrong length is refused after five bytes.

use super::message::{Frame, Message, RawBlock, id};

/// The longest message that is not a block: its number and payload; with its length before it, 1 MiB. Longer ones end
/// the conversation.
pub const MAX_MESSAGE: u32 = (1 << 20) - 4;
/// The longest bitfield payload, in bytes: 2^20 parts.
pub const MAX_BITFIELD: u32 = 131_072;
/// What comes before a block's payload: length, number, part, begin.
pub const BLOCK_HEADER: usize = 13;

/// How long what comes from this connection may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload of a block, in bytes.
    pub block: u32,
}

/// These bytes are no message of BEP 3, 6 or 10. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("it sent a message of number {id} with {len} bytes, longer than any may be")]
    TooLong { id: u8, len: u32 },
    #[error("it sent a message of number {id} with {len} bytes, which is not its length")]
    WrongLength { id: u8, len: u32 },
}

/// Finds what `buf` starts with, and how many bytes of it that took. None: need more.
///
/// Of a block only the header is taken; the payload is the caller's to read. A keep-alive is a message.
///
/// # Errors
/// A length that the message may not have; known as soon as its first five bytes are there.
pub fn decode(buf: &[u8], limits: &Limits) -> Result<Option<(Frame, usize)>, DecodeError> {
    let Some((head, rest)) = buf.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*head);
    if len == 0 {
        return Ok(Some((Frame::Message(Message::KeepAlive), 4)));
    }
    let Some((&number, rest)) = rest.split_first() else {
        return Ok(None);
    };
    check_length(number, len, limits)?;
    if number == id::BLOCK {
        return Ok(numbers::<2>(rest).map(|[part, begin]| {
            let len = len - 9;
            (Frame::Block(RawBlock { part, begin, len }), BLOCK_HEADER)
        }));
    }
    let Some(payload) = rest.get(..len as usize - 1) else {
        return Ok(None);
    };
    let message = message(number, payload).ok_or(DecodeError::WrongLength { id: number, len })?;
    Ok(Some((Frame::Message(message), 4 + len as usize)))
}

/// `len` is that of the number and the payload.
fn check_length(number: u8, len: u32, limits: &Limits) -> Result<(), DecodeError> {
    let exact = match number {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => Some(1),
        id::HAVE_ALL | id::HAVE_NONE => Some(1),
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => Some(5),
        id::REQUEST | id::CANCEL | id::REJECT => Some(13),
        id::PORT => Some(3),
        _ => None,
    };
    let (least, most) = match (exact, number) {
        (Some(exact), _) => (exact, exact),
        // Ten: a block of no bytes would be a message without an effect, to be had for nothing.
        (None, id::BLOCK) => (10, limits.block.saturating_add(9)),
        (None, id::BITFIELD) => (1, 1 + MAX_BITFIELD),
        (None, id::EXTENDED) => (2, MAX_MESSAGE),
        (None, _) => (1, MAX_MESSAGE),
    };
    if len > most.max(16) {
        Err(DecodeError::TooLong { id: number, len })
    } else if len < least || len > most {
        Err(DecodeError::WrongLength { id: number, len })
    } else {
        Ok(())
    }
}

fn message(number: u8, payload: &[u8]) -> Option<Message> {
    Some(match number {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(number_of(payload)?),
        id::BITFIELD => Message::Bitfield(payload.to_vec()),
        id::REQUEST => Message::Request(raw_block(payload)?),
        id::CANCEL => Message::Cancel(raw_block(payload)?),
        id::PORT => Message::Port(u16::from_be_bytes(*payload.first_chunk()?)),
        id::SUGGEST => Message::Suggest(number_of(payload)?),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(raw_block(payload)?),
        id::ALLOWED_FAST => Message::AllowedFast(number_of(payload)?),
        id::EXTENDED => {
            let (&id, payload) = payload.split_first()?;
            let payload = payload.to_vec();
            Message::Extended { id, payload }
        }
        id => Message::Unknown { id },
    })
}

fn number_of(payload: &[u8]) -> Option<u32> {
    numbers::<1>(payload).map(|[n]| n)
}

fn raw_block(payload: &[u8]) -> Option<RawBlock> {
    numbers::<3>(payload).map(|[part, begin, len]| RawBlock { part, begin, len })
}

/// The first `N` numbers of four bytes, if they are there.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    let (chunks, _) = bytes.as_chunks::<4>();
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = u32::from_be_bytes(*chunks.get(i)?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::wire::encode::{encode, encode_block_header};

    const LIMITS: Limits = Limits { block: 1 << 20 };

    fn any_block() -> impl Strategy<Value = RawBlock> {
        any::<(u32, u32, u32)>().prop_map(|(part, begin, len)| RawBlock { part, begin, len })
    }

    fn any_message() -> impl Strategy<Value = Message> {
        prop_oneof![
            Just(Message::KeepAlive),
            Just(Message::Choke),
            Just(Message::Unchoke),
            Just(Message::Interested),
            Just(Message::NotInterested),
            any::<u32>().prop_map(Message::Have),
            vec(any::<u8>(), 0..40).prop_map(Message::Bitfield),
            any_block().prop_map(Message::Request),
            any_block().prop_map(Message::Cancel),
            any::<u16>().prop_map(Message::Port),
            any::<u32>().prop_map(Message::Suggest),
            Just(Message::HaveAll),
            Just(Message::HaveNone),
            any_block().prop_map(Message::Reject),
            any::<u32>().prop_map(Message::AllowedFast),
            (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(id, payload)| Message::Extended { id, payload }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(messages in vec(any_message(), 1..20)) {
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| encode(message, &mut bytes));
            let mut rest = &bytes[..];
            for message in messages {
                let (frame, taken) = decode(rest, &LIMITS).unwrap().unwrap();
                prop_assert_eq!(frame, Frame::Message(message));
                for end in 0..taken {
                    prop_assert_eq!(decode(&rest[..end], &LIMITS), Ok(None));
                }
                rest = &rest[taken..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_block_is_its_header(part: u32, begin: u32, len in 1..=LIMITS.block) {
            let block = RawBlock { part, begin, len };
            let mut bytes = Vec::new();
            encode_block_header(&block, &mut bytes);
            for end in 0..BLOCK_HEADER {
                prop_assert_eq!(decode(&bytes[..end], &LIMITS), Ok(None));
            }
            bytes.push(1);
            let frame = Frame::Block(block);
            prop_assert_eq!(decode(&bytes, &LIMITS), Ok(Some((frame, BLOCK_HEADER))));
        }

        #[test]
        fn broken_bytes_never_panic(message in any_message(), at: prop::sample::Index, byte: u8) {
            let mut bytes = Vec::new();
            encode(&message, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(Some((_, taken))) = decode(&bytes, &LIMITS) {
                prop_assert!(taken <= bytes.len());
            }
        }
    }

    /// What is said of a message of this number and length (number and payload) when nothing else is there yet.
    fn begins(id: u8, len: u32) -> Result<Option<(Frame, usize)>, DecodeError> {
        let [a, b, c, d] = len.to_be_bytes();
        decode(&[a, b, c, d, id], &LIMITS)
    }

    #[test]
    fn a_length_is_judged_before_the_rest_comes() {
        for (id, len) in [(5, 1 + MAX_BITFIELD), (20, MAX_MESSAGE), (99, MAX_MESSAGE), (7, 9 + LIMITS.block)] {
            assert_eq!(begins(id, len), Ok(None), "{id}");
            assert_eq!(begins(id, len + 1), Err(DecodeError::TooLong { id, len: len + 1 }));
            assert_eq!(begins(id, u32::MAX), Err(DecodeError::TooLong { id, len: u32::MAX }));
        }
        for (id, len) in [(0, 2), (4, 4), (6, 12), (6, 14), (7, 9), (9, 4), (14, 2), (17, 1), (20, 1)] {
            assert_eq!(begins(id, len), Err(DecodeError::WrongLength { id, len }));
        }
    }

    #[test]
    fn numbers_that_nobody_named_are_skipped_whole() {
        let bytes = [0, 0, 0, 4, 99, 1, 2, 3, 0, 0, 0, 0];
        let skipped = Frame::Message(Message::Unknown { id: 99 });
        assert_eq!(decode(&bytes, &LIMITS), Ok(Some((skipped, 8))));
        assert_eq!(decode(&bytes[..7], &LIMITS), Ok(None));
    }
}
