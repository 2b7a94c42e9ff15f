//! The page in a real browser, headless Chromium, driven over its DevTools protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client::client};

use crate::support::{PATIENCE, Place, Program, bytes, compose, conductor, member, seed, tool};

const BROWSER: &str = "chromium";

/// A browser that shows one page.
struct Browser {
    _program: Program,
    socket: WebSocket<TcpStream>,
    asked: u64,
}

impl Browser {
    fn open(place: &Place, url: &str) -> Self {
        let mut command = place.command(BROWSER);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--remote-debugging-port=0", "--window-size=360,740"]);
        command.arg(format!("--user-data-dir={}", place.folder("browser").display())).arg(url);
        let mut program = Program::start(command);
        let devtools = "DevTools listening on ws://";
        let address = program.line("where it is driven from", |line| {
            line.strip_prefix(devtools).and_then(|rest| rest.split('/').next()).map(str::to_owned)
        });
        let socket = page_of(&address);
        Self { _program: program, socket, asked: 0 }
    }

    /// What this expression is, on the page.
    fn value(&mut self, expression: &str) -> Value {
        self.asked += 1;
        let id = self.asked;
        let parameters = json!({"expression": expression, "returnByValue": true});
        let question = json!({"id": id, "method": "Runtime.evaluate", "params": parameters});
        self.socket.send(Message::text(question.to_string())).expect("asked");
        loop {
            let Message::Text(text) = self.socket.read().expect("an answer") else { continue };
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == id {
                return answer["result"]["result"]["value"].clone();
            }
        }
    }

    /// Waits until this is true on the page.
    fn becomes(&mut self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.value(expression) != json!(true) {
            let text = self.value("document.body.innerText");
            assert!(Instant::now() < until, "{expression} does not become true; the page says {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The connection to the one page of the browser that is driven from here.
fn page_of(address: &str) -> WebSocket<TcpStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        let targets = targets(address);
        let page = targets.as_array().into_iter().flatten().find(|target| target["type"] == "page");
        if let Some(url) = page.and_then(|page| page["webSocketDebuggerUrl"].as_str()) {
            let stream = TcpStream::connect(address).expect("a browser");
            stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
            return client(url, stream).expect("a page").0;
        }
        assert!(Instant::now() < until, "the browser shows no page: {targets}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn targets(address: &str) -> Value {
    let mut stream = TcpStream::connect(address).expect("a browser");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.write_all(format!("GET /json HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).expect("asked");
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    // It keeps the connection open behind the answer.
    loop {
        let read = stream.read(&mut block).expect("an answer");
        bytes.extend_from_slice(&block[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body));
        match body {
            Some(Ok(targets)) => return targets,
            _ if read == 0 => return Value::Null,
            _ => {}
        }
    }
}

#[test]
fn a_browser_shows_who_comes_and_goes() {
    if !tool(BROWSER, Command::new(BROWSER).arg("--version")) {
        return;
    }
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(6 << 20, 70), &[&address, "64K", "--register"]);
    let _seed = seed(&place, &manifest, &["--name", "<img src=x onerror=pwned=1>"]);
    let mut browser = Browser::open(&place, &format!("http://{address}/c/x.bin"));
    let says = |text: &str| format!("document.body.innerText.includes({})", json!(text));
    browser.becomes(&says("<img src=x onerror=pwned=1>"));
    assert_eq!(browser.value("typeof pwned"), "undefined", "a name is run");
    assert_eq!(browser.value("document.getElementById('line').value"), format!("member get {address}/x.bin"));
    browser.value("window.mark = 1");
    let late = ["--name", "late", "--download", "500K"];
    let fetching = member(&place, &manifest, &place.path("copy"), &late);
    browser.becomes(&says("late"));
    browser.becomes("[...document.querySelectorAll('progress')].some((bar) => bar.value > 0 && bar.value < 100)");
    assert_eq!(browser.value("document.querySelectorAll('svg.parts rect').length"), 96);
    fetching.signal(Signal::KILL);
    browser.becomes("!document.getElementById('members').innerText.includes('late')");
    browser.becomes("/late [^]*left with \\d+.%/.test(document.getElementById('past').innerText)");
    assert_eq!(browser.value("window.mark"), 1, "the page was not loaded anew");
    assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true, "it fits a phone");
    drop(conductor);
    browser.becomes("document.getElementById('state').textContent.includes('does not answer')");
}

/// What is answered to this question: the head and the body.
fn ask(server: &str, request: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server).expect("a conductor");
    write!(stream, "{request} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{headers}\r\n").expect("asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
}

#[test]
fn each_composition_has_a_torrent_that_names_the_conductor() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(100_000, 71), &["0.0.0.0:0", "--torrent"]);
    let mut register = place.command(env!("CARGO_BIN_EXE_composer"));
    register.arg("--from").arg(&manifest).args([&address, "-o", "other.orch", "--register"]);
    Program::start(register).end().with(0);
    let (head, torrent) = ask(&address, "GET /compositions/x.bin.torrent", "");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("filename*=UTF-8''x.bin.torrent"), "{head}");
    let torrent = orchestra::metainfo::torrent::Torrent::parse(&torrent).expect("a torrent");
    assert_eq!(torrent.trackers, [[format!("http://{address}/announce")]]);
    let own = std::fs::read(manifest.with_extension("torrent")).expect("a torrent");
    assert_eq!(torrent.info_hash(), orchestra::metainfo::torrent::Torrent::parse(&own).expect("a torrent").info_hash());
    let (head, _) = ask(&address, "GET /compositions/none.torrent", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[test]
fn an_open_page_takes_what_changed_and_errors_are_for_who_asks() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(100_000, 72), &[&address, "--register"]);
    let (head, body) = ask(&address, "GET /", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag").to_owned();
    let page = String::from_utf8(body).expect("UTF-8");
    assert!(page.contains("x.bin") && head.contains("content-security-policy: default-src 'none'"), "{head}");
    let (head, body) = ask(&address, "GET /", &format!("If-None-Match: {tag}\r\n"));
    assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
    let have = format!("GET /?have={}", tag.trim_matches('"'));
    assert!(ask(&address, &have, "").0.starts_with("HTTP/1.1 204"));
    let _seed = seed(&place, &manifest, &[]);
    let until = Instant::now() + PATIENCE;
    let changes = loop {
        let (head, body) = ask(&address, &have, "");
        if head.starts_with("HTTP/1.1 200") {
            break serde_json::from_slice::<Value>(&body).expect("JSON");
        }
        assert!(Instant::now() < until, "nothing changes: {head}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(
        (&changes["lists"]["all"]["order"], changes["lists"]["all"]["rows"].as_object().map(|rows| rows.len())),
        (&Value::Null, Some(1)),
        "{changes}"
    );

    let json = |request: &str, status: u16| {
        let (head, body) = ask(&address, request, "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
        let error: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{request}: {error}"));
        assert!(error["error"].is_string(), "{error}");
    };
    json("GET /compositions/none", 404);
    json("GET /compositions/a/b/c/d", 400);
    json("GET /compositions/none/members", 404);
    json("DELETE /compositions", 405);
    json("GET /coming", 405);
    for (request, status) in [("GET /nowhere", 404), ("GET /c/none", 404), ("POST /", 405)] {
        let (head, body) = ask(&address, request, "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")) && head.contains("content-type: text/html"), "{head}");
        let page = String::from_utf8(body).expect("UTF-8");
        assert!(page.contains("<h1>Not here</h1>") && !page.contains("any more"), "{page}");
    }
    let proxied = ask(&address, "GET /metrics", "X-Forwarded-For: 8.8.8.8\r\n").0;
    assert!(proxied.starts_with("HTTP/1.1 403"), "who comes through a proxy may be anywhere: {proxied}");
}

/// Long lists come in pages, in the order that is asked for.
#[test]
fn the_list_is_asked_for_in_pages() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    for name in ["a.bin", "b.bin", "c.iso"] {
        compose(&place, name, &bytes(40_000, 73), &[&address, "--register"]);
    }
    let names = |query: &str| {
        let (_, body) = ask(&address, &format!("GET /compositions{query}"), "");
        let listing: Value = serde_json::from_slice(&body).expect("JSON");
        let all = listing["compositions"].as_array().expect("a list").clone();
        (
            all.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>(),
            listing["total"].clone(),
        )
    };
    assert_eq!(names(""), (["a.bin", "b.bin", "c.iso"].map(String::from).to_vec(), Value::Null));
    assert_eq!(names("?q=BIN&sort=-name"), (["b.bin", "a.bin"].map(String::from).to_vec(), json!(2)));
    let (head, _) = ask(&address, "GET /compositions", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag").to_owned();
    compose(&place, "d.iso", &bytes(40_000, 74), &[&address, "--register"]);
    let (head, _) = ask(&address, "GET /compositions", &format!("If-None-Match: {tag}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200"), "what was registered is there at once: {head}");
}
