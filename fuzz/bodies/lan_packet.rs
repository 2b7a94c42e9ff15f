//! A packet of local service discovery (BEP 14).

use orchestra::discovery::lan::packet::{LONGEST, read, write};

pub fn run(data: &[u8]) {
    let Some(announce) = read(data) else {
        return;
    };
    assert!(announce.port != 0 && !announce.info_hashes.is_empty());
    assert!(announce.info_hashes.len() * 40 <= LONGEST.min(data.len()));
    for v6 in [false, true] {
        let again = read(&write(announce.info_hashes[0], announce.port, 5, v6)).expect("what we write is read");
        assert_eq!((again.port, &again.info_hashes[..]), (announce.port, &announce.info_hashes[..1]));
    }
}
