//! Messages to bytes (BEP 3, 6, 10), appended to a buffer that the caller sends in one write.

use super::message::{Message, RawBlock, id};

/// Appends this message. [`Message::Unknown`] has no payload to send and appends nothing.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::KeepAlive => out.extend_from_slice(&[0; 4]),
        Message::Choke => bare(id::CHOKE, out),
        Message::Unchoke => bare(id::UNCHOKE, out),
        Message::Interested => bare(id::INTERESTED, out),
        Message::NotInterested => bare(id::NOT_INTERESTED, out),
        Message::Have(part) => numbers(id::HAVE, &[*part], out),
        Message::Bitfield(bits) => {
            head(id::BITFIELD, bits.len(), out);
            out.extend_from_slice(bits);
        }
        Message::Request(block) => raw_block(id::REQUEST, block, out),
        Message::Cancel(block) => raw_block(id::CANCEL, block, out),
        Message::Port(port) => {
            head(id::PORT, 2, out);
            out.extend_from_slice(&port.to_be_bytes());
        }
        Message::Suggest(part) => numbers(id::SUGGEST, &[*part], out),
        Message::HaveAll => bare(id::HAVE_ALL, out),
        Message::HaveNone => bare(id::HAVE_NONE, out),
        Message::Reject(block) => raw_block(id::REJECT, block, out),
        Message::AllowedFast(part) => numbers(id::ALLOWED_FAST, &[*part], out),
        Message::Extended { id, payload } => {
            head(id::EXTENDED, 1 + payload.len(), out);
            out.push(*id);
            out.extend_from_slice(payload);
        }
        Message::Unknown { .. } => {}
    }
}

/// Appends the 13 bytes that come before the payload of this block.
pub fn encode_block_header(block: &RawBlock, out: &mut Vec<u8>) {
    head(id::BLOCK, 8 + block.len as usize, out);
    out.extend_from_slice(&block.part.to_be_bytes());
    out.extend_from_slice(&block.begin.to_be_bytes());
}

fn head(number: u8, payload: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(1 + payload as u32).to_be_bytes());
    out.push(number);
}

fn bare(number: u8, out: &mut Vec<u8>) {
    head(number, 0, out);
}

fn numbers(number: u8, values: &[u32], out: &mut Vec<u8>) {
    head(number, 4 * values.len(), out);
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

fn raw_block(number: u8, block: &RawBlock, out: &mut Vec<u8>) {
    numbers(number, &[block.part, block.begin, block.len], out);
}
