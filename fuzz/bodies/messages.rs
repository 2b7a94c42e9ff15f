//! The messages of the peer protocol, as a stream.

use orchestra::{
    geometry::{BLOCK, Geometry},
    wire::{
        bitfield::Bitfield,
        decode::{BLOCK_HEADER, Limits, MAX_MESSAGE, decode},
        encode::{encode, encode_block_header},
        message::{Frame, Message},
    },
};

pub fn run(data: &[u8]) {
    for limits in [Limits { block: BLOCK }, Limits { block: 1 << 20 }] {
        stream(data, &limits);
    }
}

fn stream(data: &[u8], limits: &Limits) {
    let mut rest = data;
    loop {
        match decode(rest, limits) {
            Ok(Some((frame, taken))) => {
                check(&frame, &rest[..taken], limits);
                let payload = match frame {
                    Frame::Block(block) => (block.len as usize).min(rest.len() - taken),
                    Frame::Message(_) => 0,
                };
                rest = &rest[taken + payload..];
            }
            Ok(None) => {
                assert!(rest.len() < 4 + MAX_MESSAGE as usize, "it waits for more than a message may be");
                return;
            }
            Err(error) => {
                assert_eq!(decode(&rest[..5], limits), Err(error), "known by the first five bytes");
                assert_eq!(decode(&rest[..4], limits), Ok(None));
                return;
            }
        }
    }
}

fn check(frame: &Frame, bytes: &[u8], limits: &Limits) {
    for end in (0..bytes.len().min(BLOCK_HEADER)).chain(bytes.len().checked_sub(1)) {
        assert_eq!(decode(&bytes[..end], limits), Ok(None), "cut at {end}");
    }
    let mut written = Vec::new();
    match frame {
        Frame::Message(Message::Unknown { .. }) => return,
        Frame::Message(message) => encode(message, &mut written),
        Frame::Block(block) => {
            assert!((1..=limits.block).contains(&block.len));
            encode_block_header(block, &mut written);
        }
    }
    assert_eq!(written, bytes);
    if let Frame::Message(Message::Bitfield(payload)) = frame {
        bitfield(payload);
    }
}

/// A bitfield is read for any number of parts that it has the length for.
fn bitfield(payload: &[u8]) {
    let most = payload.len() as u64 * 8;
    for parts in most.saturating_sub(8)..=most + 1 {
        let Some(geometry) = Geometry::new(parts, 1).ok() else {
            continue;
        };
        if let Some(bits) = Bitfield::from_bytes(payload, &geometry) {
            assert_eq!(bits.to_bytes(), payload);
            assert_eq!(bits.ones(&geometry).count() as u32, bits.count());
            assert!(bits.ones(&geometry).all(|part| bits.has(part)));
        }
    }
}
