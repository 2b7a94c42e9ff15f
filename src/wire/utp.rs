//! The little of uTP (BEP 29) that somebody needs who does not speak it: the packet that says so.
//!
//! Clients that try uTP first wait for a timeout otherwise, before they come over TCP.
//!
//! Faces the network: the answer is as long as the shortest question.

/// The bytes of a uTP header.
const HEADER: usize = 20;
/// A scrape of one swarm (BEP 15), which comes to the same port, is as long; an opening packet is shorter.
const TOO_LONG: usize = 36;
/// Type 4 (open) and version 1.
const SYN: u8 = 0x41;
/// Type 3 (reset) and version 1.
const RESET: u8 = 0x31;
/// The highest kind of extension header that is in use.
const LAST_EXTENSION: u8 = 3;

/// The reset that answers this datagram, if it opens a uTP connection. `now` is any clock's microseconds.
pub fn reset(datagram: &[u8], now: u32) -> Option<[u8; HEADER]> {
    let header: &[u8; HEADER] = datagram.first_chunk()?;
    if datagram.len() >= TOO_LONG || header[0] != SYN || header[1] > LAST_EXTENSION {
        return None;
    }
    let mut reset = [0; HEADER];
    reset[0] = RESET;
    // The connection's id, and as "received" the sequence number of what it answers.
    reset[2..4].copy_from_slice(&header[2..4]);
    reset[4..8].copy_from_slice(&now.to_be_bytes());
    reset[18..20].copy_from_slice(&header[16..18]);
    Some(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_packet_is_answered_and_nothing_else_is() {
        let mut syn = [0; HEADER];
        (syn[0], syn[2], syn[3], syn[16], syn[17]) = (SYN, 0xab, 0xcd, 0x12, 0x34);
        let expected = [0x31, 0, 0xab, 0xcd, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34];
        assert_eq!(reset(&syn, 7), Some(expected));
        assert_eq!(reset(&[syn.as_slice(), &[0; 12]].concat(), 7), Some(expected));
        assert_eq!(reset(&syn[..19], 7), None);
        assert_eq!(reset(&[syn.as_slice(), &[0; 16]].concat(), 7), None);
        for kind in [0x01, 0x11, 0x21, 0x31, 0x40, 0x42] {
            syn[0] = kind;
            assert_eq!(reset(&syn, 7), None);
        }
    }
}
