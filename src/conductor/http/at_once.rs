//! Announces and scrapes that are answered as soon as they are there.
//!
//! Nearly every announce comes over a connection of its own, and on a conductor that is busy it is there by the time that
//! this is accepted. Then it is read, answered and closed: there is no task for it, no timer, and nobody watches it. What
//! is not such a request, or not all there, is left unread, and so is what a web page may have sent.
//!
//! Faces the network: it never waits and keeps nothing. What it reads as an announce is one to any other reader of HTTP
//! too, since hyper's own parser reads it.

use std::{io::Write, os::fd::AsFd, time::SystemTime};

use httparse::{EMPTY_HEADER, Header, Request, Status};
use httpdate::HttpDate;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{
    super::{Desk, table::Caller},
    tracked,
};

/// Longer requests are left, in bytes.
const LONGEST: usize = 4096;
/// Requests with more headers are left.
const MOST_HEADERS: usize = 32;
/// Room for the status line and the headers of an answer, in bytes.
const HEAD: usize = 160;

/// Answers what has come over a new connection, which may then be closed; or returns false and leaves it as it is.
pub fn answer(stream: &impl AsFd, caller: &Caller, desk: &Desk) -> bool {
    let mut buffer = [0; LONGEST];
    let Ok((_, len)) = recv(stream, &mut buffer[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) else { return false };
    let Some(Question { version, target }) = read(&buffer[..len]) else { return false };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(body) = tracked::answer(desk, caller, path, query, |_| None) else { return false };
    let mut answer = Vec::with_capacity(HEAD + body.len());
    // Memory takes everything.
    let _ = write!(
        answer,
        "HTTP/1.{version} 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\ndate: {}\r\n\r\n",
        body.len(),
        HttpDate::from(SystemTime::now())
    );
    answer.extend_from_slice(&body);
    // To close while something is unread would reset the connection, and could cost the answer.
    let _ = recv(stream, &mut buffer[..len], RecvFlags::DONTWAIT);
    // Of a new connection the system takes more than the longest answer at once.
    if let Err(error) = send(stream, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        log::debug!("{}: {error}", caller.source);
    }
    true
}

#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    /// HTTP/1.0 or 1.1.
    version: u8,
    /// Path and query.
    target: &'a str,
}

/// A GET that is all there, with nothing behind it, and that wants its connection closed.
fn read(bytes: &[u8]) -> Option<Question<'_>> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut request = Request::new(&mut headers);
    let alone = request.parse(bytes).ok()? == Status::Complete(bytes.len())
        && request.headers.iter().all(|header| !wants_more(header));
    let target = request.path.filter(|target| alone && target.starts_with('/') && !target.contains('#'))?;
    (request.method == Some("GET")).then_some(Question { version: request.version?, target })
}

/// Whether somebody who converses has to see this header: only what is known to be harmless is not.
fn wants_more(header: &Header<'_>) -> bool {
    let is = |name: &str| header.name.eq_ignore_ascii_case(name);
    let keeps = || !header.value.trim_ascii().eq_ignore_ascii_case(b"close");
    let others = ["content-length", "expect", "transfer-encoding", "upgrade"];
    is("connection") && keeps() || others.into_iter().chain(tracked::OF_PAGES).any(is)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn target(request: &str) -> Option<&str> {
        read(request.as_bytes()).map(|question| question.target)
    }

    #[test]
    fn what_clients_ask_is_read() {
        for headers in ["", "Host: c\r\n", "host: c\r\nUser-Agent: x\r\nAccept-Encoding: gzip\r\nCONNECTION: Close\r\n"]
        {
            for version in [0, 1] {
                let request = format!("GET /announce?port=1 HTTP/1.{version}\r\n{headers}\r\n");
                let question = Question { version, target: "/announce?port=1" };
                assert_eq!(read(request.as_bytes()), Some(question), "{request}");
                for end in 0..request.len() {
                    assert_eq!(target(&request[..end]), None, "{request}");
                }
            }
        }
    }

    #[test]
    fn what_wants_more_than_one_answer_is_left() {
        for request in [
            "POST /announce HTTP/1.1\r\n\r\n",
            "GET /announce HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
            "GET /announce HTTP/1.1\r\nConnection: close, Keep-Alive\r\n\r\n",
            "GET /live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET /announce HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
            "GET /announce HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /announce HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /announce HTTP/1.1\r\n\r\nGET /announce HTTP/1.1\r\n\r\n",
            "GET /announce HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n",
            "GET /announce HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\n\r\n",
            "GET /announce HTTP/1.1\r\nREFERER: http://evil.example/\r\n\r\n",
            "GET http://c/announce HTTP/1.1\r\n\r\n",
            "GET /announce#x HTTP/1.1\r\n\r\n",
            "GET /announce HTTP/2.0\r\n\r\n",
            "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
        ] {
            assert_eq!(target(request), None, "{request}");
        }
    }

    const ASKED: &str = "GET /announce?info_hash=%00%ff&port=1 HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n";

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(bytes in vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }

        #[test]
        fn what_is_read_with_a_wrong_byte_is_still_a_path(at in 0..ASKED.len(), byte: u8) {
            let mut bytes = ASKED.as_bytes().to_vec();
            bytes[at] = byte;
            if let Some(question) = read(&bytes) {
                prop_assert!(question.version <= 1);
                prop_assert!(question.target.starts_with('/') && !question.target.contains(['#', ' ']));
            }
        }
    }
}
