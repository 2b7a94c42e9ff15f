//! The 68 bytes that open every conversation.

use orchestra::wire::handshake::{Handshake, LENGTH, NotPlain, UP_TO_INFO_HASH, info_hash};

const FIRST: &[u8; 20] = b"\x13BitTorrent protocol";

pub fn run(data: &[u8]) {
    match Handshake::decode(data) {
        Ok(Some(handshake)) => {
            assert!(data.len() >= LENGTH);
            assert_eq!(info_hash(data), Ok(Some(handshake.info_hash)));
            assert_eq!(Handshake::decode(&handshake.encode()), Ok(Some(handshake)));
            assert_eq!(Handshake::decode(&data[..LENGTH]), Ok(Some(handshake)));
            assert_eq!(Handshake::decode(&data[..LENGTH - 1]), Ok(None));
        }
        Ok(None) => {
            assert!(data.len() < LENGTH);
            let named = info_hash(data).expect("plain so far");
            assert_eq!(named.is_some(), data.len() >= UP_TO_INFO_HASH);
        }
        Err(NotPlain) => {
            let wrong = data.iter().zip(FIRST).position(|(is, ought)| is != ought).expect("a wrong byte");
            assert_eq!(Handshake::decode(&data[..=wrong]), Err(NotPlain));
            assert_eq!(Handshake::decode(&data[..wrong]), Ok(None));
        }
    }
}
