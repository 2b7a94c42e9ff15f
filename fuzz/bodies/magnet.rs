//! Magnet links.

use orchestra::metainfo::{Magnet, magnet::MAX_LINK};

pub fn run(data: &[u8]) {
    let Ok(link) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(magnet) = link.parse::<Magnet>() {
        // Escapes make a link longer.
        let written = magnet.to_string();
        if written.len() <= MAX_LINK {
            assert_eq!(written.parse(), Ok(magnet));
        }
    }
}
