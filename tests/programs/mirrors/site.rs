//! A small HTTP server with manners of its own, good and bad.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use crate::support::PATIENCE;

/// One request.
pub struct Request {
    pub path: String,
    /// First and last byte, where a range is asked for.
    pub range: Option<(usize, usize)>,
}

/// A server on a free port; it goes on until the test ends.
pub struct Site {
    pub address: String,
    asked: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Site {
    /// Every request is answered by `answer`, which writes to the connection; an error ends it.
    pub fn new(answer: impl Fn(&Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (answer, asked) = (Arc::new(answer), Arc::new((Mutex::new(Vec::new()), Condvar::new())));
        let heard = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, heard) = (answer.clone(), heard.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("the same socket"));
                    let mut stream = stream;
                    while let Some(request) = request(&mut reader) {
                        heard.0.lock().expect("no panic").push(request.path.clone());
                        heard.1.notify_all();
                        if answer(&request, &mut stream).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// One with this file, whatever its path.
    pub fn of(data: &[u8]) -> Self {
        let data = data.to_vec();
        Self::new(move |request, stream| send(stream, request, &data))
    }

    /// The paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.0.lock().expect("no panic").clone()
    }

    /// Waits for the first request.
    pub fn wait_until_asked(&self) {
        let (lock, changed) = &*self.asked;
        let asked = lock.lock().expect("no panic");
        let (asked, _) = changed.wait_timeout_while(asked, PATIENCE, |asked| asked.is_empty()).expect("no panic");
        assert!(!asked.is_empty(), "nobody asked");
    }
}

fn request(reader: &mut impl BufRead) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let range = lines.iter().find_map(|line| {
        let (key, value) = line.split_once(": bytes=")?;
        let (first, last) = value.split_once('-')?;
        key.eq_ignore_ascii_case("range").then_some((first.parse().ok()?, last.parse().ok()?))
    });
    Some(Request { path, range })
}

/// What a good server says to this request for a part of `data`.
pub fn send(stream: &mut TcpStream, request: &Request, data: &[u8]) -> std::io::Result<()> {
    let (first, last) = request.range.expect("a range");
    let body = &data[first..=last.min(data.len() - 1)];
    let (len, total) = (body.len(), data.len());
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {len}\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n"
    )?;
    stream.write_all(body)
}

/// An answer without a body.
pub fn say(stream: &mut TcpStream, status: &str, headers: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}\r\n")
}
