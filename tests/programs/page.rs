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
    browser.becomes("!document.body.innerText.includes('late')");
    assert_eq!(browser.value("window.mark"), 1, "the page was not loaded anew");
    assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true, "it fits a phone");
    drop(conductor);
    browser.becomes("document.getElementById('state').textContent.includes('does not answer')");
}
