//! The one thing that is said over uTP (BEP 29): no.
//!
//! libtorrent and Transmission try uTP, over UDP, before TCP, and wait for seconds where nobody answers; an ICMP
//! refusal does not reach them. A reset does, and they dial over TCP at once.
//!
//! What it gives an attacker: 20 bytes to the source of a packet of 20 or more, so nothing is amplified; no state is
//! kept.

/// A header without extensions: what a connection begins with, and what refuses it.
pub const HEADER: usize = 20;

const VERSION: u8 = 1;
const SYN: u8 = 4 << 4 | VERSION;
const RESET: u8 = 3 << 4 | VERSION;

/// The reset that answers this packet; None unless it asks for a connection.
pub fn refusal(packet: &[u8]) -> Option<[u8; HEADER]> {
    let asked: &[u8; HEADER] = packet.first_chunk()?;
    if asked[0] != SYN {
        return None;
    }
    let mut reset = [0; HEADER];
    reset[0] = RESET;
    // The connection that is meant, and the sequence number of what is answered: without these it is not believed.
    reset[2..4].copy_from_slice(&asked[2..4]);
    reset[18..20].copy_from_slice(&asked[16..18]);
    Some(reset)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A SYN as libtorrent 2 sends it: connection 0x1234, sequence number 0xabcd.
    const ASKED: [u8; HEADER] = [0x41, 0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, 0, 16, 0, 0, 0xab, 0xcd, 0, 0];

    #[test]
    fn a_connection_is_refused_by_its_number() {
        let expected = [0x31, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd];
        assert_eq!(refusal(&ASKED), Some(expected));
        let longer = [&ASKED[..], &[0; 80]].concat();
        assert_eq!(refusal(&longer), Some(expected));
    }

    #[test]
    fn two_refusals_do_not_answer_each_other() {
        assert_eq!(refusal(&refusal(&ASKED).unwrap()), None);
    }

    proptest! {
        #[test]
        fn nothing_else_is_answered(packet in vec(any::<u8>(), 0..60)) {
            let asks = packet.len() >= HEADER && packet[0] == 0x41;
            prop_assert_eq!(refusal(&packet).is_some(), asks);
        }
    }
}
