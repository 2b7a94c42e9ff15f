//! What a tracker answers over HTTP: the bodies for `/announce` and `/scrape`.
//!
//! A web page can have a person's browser announce to a conductor on the same machine or network. The browser says then
//! that the request is for a page of another origin: such requests are refused.

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

/// Said to a page of another origin.
#[derive(Debug, thiserror::Error)]
#[error("a page of another origin may not announce here")]
struct OtherOrigin;

/// The headers in which a browser says for which page it asks.
pub const OF_PAGES: [&str; 3] = ["origin", "referer", "sec-fetch-site"];

/// Whether a browser asks for a page of another origin. A person who types the address is no page.
fn is_for_another_page<'a>(header: impl Fn(&'static str) -> Option<&'a [u8]>) -> bool {
    let host = header("host").unwrap_or_default();
    let is_here = |url: &[u8]| {
        let rest = url.strip_prefix(b"http://").or_else(|| url.strip_prefix(b"https://"));
        rest.and_then(|rest| rest.split(|byte| *byte == b'/').next()) == Some(host)
    };
    let site = header("sec-fetch-site").is_some_and(|site| site != b"same-origin" && site != b"none");
    site || ["origin", "referer"].into_iter().filter_map(header).any(|url| !is_here(url))
}

/// The body for a GET of this path with these headers; None for what is not for a tracker.
pub fn answer<'a>(
    desk: &Desk,
    caller: &Caller,
    path: &str,
    query: &str,
    header: impl Fn(&'static str) -> Option<&'a [u8]>,
) -> Option<Vec<u8>> {
    let answer = match path.split('/').nth(1)? {
        "announce" => announce,
        "scrape" => scrape,
        _ => return None,
    };
    Some(match desk.admits(caller.source) {
        true if is_for_another_page(header) => failure(OtherOrigin),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_too_many_questions_is_known_by_its_beginning() {
        assert!(TooMuch.to_string().starts_with(crate::announce::ASKED_TOO_OFTEN));
    }

    #[test]
    fn only_a_page_of_this_very_origin_may_ask() {
        let asks = |headers: &[(&str, &str)]| {
            let header = |name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes());
            is_for_another_page(header)
        };
        let host = ("host", "10.0.0.1:9999");
        for allowed in [
            &[][..],
            &[host],
            &[host, ("sec-fetch-site", "none")],
            &[host, ("sec-fetch-site", "same-origin"), ("referer", "http://10.0.0.1:9999/c/x")],
            &[host, ("origin", "http://10.0.0.1:9999")],
            &[host, ("origin", "https://10.0.0.1:9999"), ("referer", "https://10.0.0.1:9999")],
        ] {
            assert!(!asks(allowed), "{allowed:?}");
        }
        for refused in [
            &[host, ("sec-fetch-site", "cross-site")][..],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://10.0.0.1")],
            &[host, ("origin", "http://evil.example")],
            &[host, ("referer", "http://evil.example/10.0.0.1:9999")],
            &[host, ("referer", "http://10.0.0.1:9999.evil.example/")],
            &[("origin", "http://evil.example")],
        ] {
            assert!(asks(refused), "{refused:?}");
        }
    }
}
