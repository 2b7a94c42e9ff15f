//! What a tracker answers over HTTP: the bodies for `/announce` and `/scrape`.

use super::super::{Desk, table::Caller};
use crate::announce::{
    Reply,
    http_answer::{ListForm, write_reply, write_scrape},
    http_request::{read_announce, read_scrape},
};

/// Said to a source that asks more than its share.
#[derive(Debug, thiserror::Error)]
#[error("too many questions from your address, ask less often")]
pub struct TooMuch;

/// The body for a GET of this path; None for what is not for a tracker.
pub fn answer(desk: &Desk, caller: &Caller, path: &str, query: &str) -> Option<Vec<u8>> {
    let answer = match path.split('/').nth(1)? {
        "announce" => announce,
        "scrape" => scrape,
        _ => return None,
    };
    Some(match desk.admits(caller.source) {
        true => answer(desk, caller, query.as_bytes()),
        false => failure(TooMuch),
    })
}

fn announce(desk: &Desk, caller: &Caller, query: &[u8]) -> Vec<u8> {
    match read_announce(query) {
        Ok(announce) => {
            let announce = desk.without_claims(announce);
            write_reply(&desk.announce(&announce, caller), ListForm::asked_by(&announce))
        }
        Err(error) => failure(error),
    }
}

fn scrape(desk: &Desk, _: &Caller, query: &[u8]) -> Vec<u8> {
    match read_scrape(query) {
        Ok(hashes) => write_scrape(&desk.counts(&hashes)),
        Err(error) => failure(error),
    }
}

fn failure(error: impl std::error::Error) -> Vec<u8> {
    write_reply(&Reply::Failure(error.to_string()), ListForm::Compact)
}
