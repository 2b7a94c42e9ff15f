//! Bytes to [`Frame`]s (BEP 3, 6, 10).
//!
//! A decoder says one of three things: a frame, need more, or an error. It looks at the length and the number of a
//! message before it wants the rest of it, so that a message of a wrong length is refused after five bytes.

use super::message::{Frame, Message, RawBlock, id};

/// The longest message that is not a block: its number and payload. Longer ones end the conversation.
pub const MAX_MESSAGE: u32 = 1 << 20;
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
