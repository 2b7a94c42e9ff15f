//! Conductors that are none, or lie.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use crate::{
    arena::{Arena, Victim},
    row,
    support::PATIENCE,
};

/// Listens, and lets `answer` have each connection with what was asked on it. Tells of each request.
pub fn conductor(answer: impl Fn(TcpStream, &str) + Send + Sync + Clone + 'static) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (answer, tell) = (answer.clone(), tell.clone());
            thread::spawn(move || {
                let request = head(&stream);
                // The test may be over.
                let _ = tell.send(request.clone());
                answer(stream, &request);
            });
        }
    });
    (address, asked)
}

/// What is asked, up to the blank line.
fn head(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn http(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// The answer that lists these members.
fn listing(members: &[u8]) -> Vec<u8> {
    http(&[format!("d8:intervali5e5:peers{}:", members.len()).as_bytes(), members, b"e"].concat())
}

fn compact(address: [u8; 4], port: u16) -> Vec<u8> {
    [&address[..], &port.to_be_bytes()].concat()
}

/// What the member says of such a conductor; then an honest member comes, and the file arrives.
fn warned(input: &str, words: &str, answer: impl Fn(TcpStream, &str) + Send + Sync + Clone + 'static) {
    let (address, _asked) = conductor(answer);
    warned_of(input, words, &address.to_string());
}

fn warned_of(input: &str, words: &str, address: &str) {
    let mut arena = Arena::new(Victim::Fetches, &["--conductor", address]);
    let warning = arena.victim.event_named("warning");
    let text = warning["text"].as_str().expect("a text").to_owned();
    assert!(text.contains(words), "{input}: {text}");
    assert!(!text.contains(char::is_control), "{input}: {text:?}");
    arena.honest_fetch();
    row("conductor", input, &format!("a warning: {words}"));
}

#[test]
fn what_is_no_conductor() {
    let no = "what answers there is no conductor";
    let say = |bytes: Vec<u8>| move |mut stream: TcpStream, _: &str| drop(stream.write_all(&bytes));
    warned("an answer in HTML", no, say(http(b"<!DOCTYPE html><html><body>Welcome</body></html>")));
    warned("garbage in place of HTTP", "does not answer", say(crate::support::bytes(4096, 68)));
    warned("an empty body", no, say(http(b"")));
    warned("status 404", no, say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()));
    warned("lists nested 100,000 deep", no, say(http(&vec![b'l'; 100_000])));
    warned("a million members", "more than 1 MiB", say(listing(&vec![1; 6_000_000])));
    let escape = b"d14:failure reason11:\x1b[2Jno\x07\xff\xff\xff\xffe";
    warned("a refusal with escapes in its reason", "refuses", say(http(escape)));
    warned("a connection that is closed at once", "does not answer", say(Vec::new()));
}

#[test]
fn what_never_ends() {
    warned("silence", "no answer within 5 s", |stream, _| {
        // Until the other side has enough.
        let _ = head(&stream);
    });
    warned("a body without end", "more than 1 MiB", |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"1000\r\n").is_ok()
            && stream.write_all(&[b'd'; 0x1000]).is_ok()
            && stream.write_all(b"\r\n").is_ok()
        {}
    });
    warned("headers without end", "does not answer", |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Header: more and more and more and more\r\n").is_ok() {}
    });
    warned_of("a name that leads nowhere", "is not found", "no-such-host.invalid:9999");
}

#[test]
fn redirects_are_not_followed() {
    let (address, asked) = conductor(|mut stream, request| {
        let path = request.split_whitespace().nth(1).unwrap_or("/");
        let _ = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n");
    });
    let mut arena = Arena::new(Victim::Fetches, &["--conductor", &address.to_string()]);
    let warning = arena.victim.event_named("warning");
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("302")), "{warning}");
    let count = asked.try_iter().count();
    assert!(count <= 3, "{count} requests");
    arena.honest_fetch();
    row("conductor", "a redirect to itself, for ever", "a warning: HTTP status 302; not followed");
}

/// The member takes this list, and is not led astray: an honest member comes, and the file arrives.
fn misled(input: &str, list: impl Fn(SocketAddr, u16) -> Vec<u8> + Send + Sync + Clone + 'static) -> Receiver<String> {
    let (address, asked) = conductor(move |mut stream, request| {
        let port = request.split_once("port=").and_then(|(_, rest)| rest.split(['&', ' ']).next());
        let own = stream.local_addr().expect("an address");
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        let _ = stream.write_all(&listing(&list(own, port)));
    });
    let arena = Arena::new(Victim::Fetches, &["--conductor", &address.to_string()]);
    asked.recv_timeout(PATIENCE).expect("an announce");
    arena.honest_fetch();
    row("conductor", input, "dialled in vain, or not at all; the file arrives");
    asked
}

#[test]
fn lists_that_lead_nowhere() {
    let asked = misled("its own address as a member's", |own, _| compact([127, 0, 0, 1], own.port()));
    assert!(asked.try_iter().any(|request| request.starts_with("\u{13}BitTorrent")), "it was not dialled");
    misled("the member's own address", |_, port| compact([127, 0, 0, 1], port));
    misled("port 0, 0.0.0.0, multicast, broadcast, reserved", |_, _| {
        let lies = [[127, 0, 0, 1], [0, 0, 0, 0], [239, 1, 1, 1], [255, 255, 255, 255], [240, 0, 0, 1]];
        let ports = [0, 9999, 9999, 9999, 9999];
        lies.into_iter().zip(ports).flat_map(|(ip, port)| compact(ip, port)).collect()
    });
    misled("a thousand addresses that refuse", |_, _| {
        (0..1000u16).flat_map(|n| compact([127, 1, (n >> 8) as u8, n as u8], 1)).collect()
    });
    misled("a list that is cut", |_, _| vec![127, 0, 0]);
}

#[test]
fn only_lies_and_nobody_else() {
    let (address, _asked) = conductor(|mut stream, _| drop(stream.write_all(&http(b"<html>"))));
    let arena = Arena::new(Victim::Fetches, &["--conductor", &address.to_string(), "--timeout", "1s"]);
    arena.victim.end().with(7);
    let (address, _asked) = conductor(|mut stream, _| drop(stream.write_all(&listing(&compact([127, 0, 0, 1], 1)))));
    let arena = Arena::new(Victim::Fetches, &["--conductor", &address.to_string(), "--timeout", "1s"]);
    arena.victim.end().with(4);
    row("conductor", "HTML, and nobody else", "exit 7 after --timeout");
    row("conductor", "members that do not exist, and nobody else", "exit 4 after --timeout");
}
