//! What travels in the envelope of BEP 10.

use orchestra::wire::extension::{
    handshake::ExtensionHandshake,
    metadata::{Metadata, PIECE},
};

pub fn run(data: &[u8]) {
    if let Ok(hello) = ExtensionHandshake::decode(data) {
        let names = hello.client.iter().chain(&hello.name);
        assert!(names.into_iter().all(|name| name.len() <= 100));
        assert_ne!(hello.port, Some(0));
        assert_eq!(ExtensionHandshake::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(message) = Metadata::decode(data) {
        if let Metadata::Data { bytes, .. } = &message {
            assert!(bytes.len() <= PIECE as usize && data.ends_with(bytes));
        }
        if message != Metadata::Unknown {
            assert_eq!(Metadata::decode(&message.encode()), Ok(message));
        }
    }
}
