//! The query of `/announce` and `/scrape`, as a conductor reads it from anybody.

use orchestra::announce::http_request::{MAX_SCRAPED, read_announce, read_scrape, write_announce, write_scrape};

pub fn run(data: &[u8]) {
    if let Ok(announce) = read_announce(data) {
        assert_eq!(read_announce(write_announce(&announce).as_bytes()), Ok(announce));
    }
    if let Ok(hashes) = read_scrape(data) {
        assert!((1..=MAX_SCRAPED).contains(&hashes.len()));
        assert!(read_scrape(write_scrape(&hashes).as_bytes()) == Ok(hashes));
    }
}
