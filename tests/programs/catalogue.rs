//! The catalogue as its users meet it: composer registers, a conductor keeps, members list, locate and get.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Ended, Place, Program, bytes, conductor, conductor_command, listening, member};

const ROOT: &str = "0123456789abcdef";
const ALICE: &str = "aaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbb";

/// Composes `data` as this name under `seed/` and registers it; gives how that ended.
fn register(place: &Place, name: &str, data: &[u8], arguments: &[&str], token: Option<&str>) -> Ended {
    let file = place.folder("seed").join(name);
    fs::write(&file, data).expect("written");
    let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
    command.arg(&file).args(arguments).args(["--register", "--force", "--json"]).arg("-o");
    command.arg(place.path(&format!("{name}.orch")));
    command.envs(token.map(|token| ("ORCHESTRA_TOKEN", token)));
    Program::start(command).end()
}

fn ask_command(place: &Place, conductor: &str, arguments: &[&str]) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.args(arguments).env("ORCHESTRA_CONDUCTOR", conductor);
    command
}

/// `member` with these arguments, asking this conductor.
fn ask(place: &Place, conductor: &str, arguments: &[&str]) -> Ended {
    Program::start(ask_command(place, conductor, arguments)).end()
}

/// The names that `member list --all --json` gives.
fn names(place: &Place, conductor: &str) -> Vec<String> {
    let listed = ask(place, conductor, &["list", "--all", "--json"]).with(0);
    listed.events().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

/// Fetches what the catalogue calls so into this folder.
fn get(place: &Place, conductor: &str, name: &str, folder: &str) -> Ended {
    let folder = place.path(folder);
    let folder = folder.to_str().expect("UTF-8");
    ask(place, conductor, &["get", name, "-o", folder, "--exit-when-done", "--json", "--port", "0"])
}

/// A request of a stranger: its status and its body.
pub fn http(conductor: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(conductor).expect("a conductor");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn get_json(conductor: &str, path: &str) -> (u16, Value) {
    let (status, body) = http(conductor, &format!("GET {path} HTTP/1.1\r\nHost: {conductor}\r\n\r\n"));
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

fn put(conductor: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: {conductor}\r\nContent-Length: {length}\r\n{headers}\r\n");
    http(conductor, &(head + body))
}

/// A request with this body; gives all of the answer.
fn send(conductor: &str, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let mut stream = TcpStream::connect(conductor).expect("a conductor");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {conductor}\r\nContent-Length: {length}\r\n{headers}\r\n");
    stream.write_all((head + body).as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Many manifests in one request have a result each, as a request for each would have had.
#[test]
fn many_are_registered_in_one_request() {
    let place = Place::new();
    let (_conductor, address) = guarded(&place);
    let composed = |name: &str| {
        let file = place.folder("seed").join(name);
        fs::write(&file, name).expect("written");
        let orch = place.path(&format!("{name}.orch"));
        let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
        command.arg(&file).arg("0.0.0.0:0").arg("-o").arg(&orch);
        Program::start(command).end().with(0);
        fs::read_to_string(orch).expect("a manifest")
    };
    let manifests = [composed("a.iso"), "nonsense".to_owned(), composed("b.iso")];
    let body = serde_json::to_string(&manifests).expect("JSON");
    let post = |token: &str, body: &str| {
        let answer = send(&address, "POST", "/compositions", &format!("Authorization: Bearer {token}\r\n"), body);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str::<Value>(body).expect("JSON"))
    };
    assert_eq!(post("wrong-wrong-wrong", &body).0, 401);
    let (status, answer) = post(ALICE, &body);
    assert_eq!((status, &answer["v"]), (200, &1.into()));
    let results = answer["results"].as_array().expect("results");
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().expect("a status")).collect();
    assert_eq!(statuses, [201, 400, 201], "{answer}");
    assert_eq!((&results[0]["entry"]["name"], &results[2]["entry"]["owner"]), (&"a.iso".into(), &"alice".into()));
    assert!(results[1]["error"].as_str().is_some_and(|why| why.contains("no manifest")), "{answer}");
    assert_eq!(names(&place, &address), ["a.iso", "b.iso"]);
    let again = post(ALICE, &body).1;
    assert_eq!(again["results"][0]["status"], 200);

    assert_eq!(post(ALICE, "{}").0, 400);
    let too_many = serde_json::to_string(&vec!["x"; 257]).expect("JSON");
    assert_eq!(post(ALICE, &too_many).0, 413);
}

/// A request without the right to write takes nothing from those that have it, however slowly it is sent.
#[test]
fn a_stranger_that_sends_slowly_holds_up_no_writer() {
    let place = Place::new();
    let (_conductor, address) = guarded(&place);
    let strangers: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).expect("a conductor");
            let head = format!("PUT /coming HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        })
        .collect();
    let coming = r#"[{"name":"x","size":9,"done":1}]"#;
    let began = Instant::now();
    let (status, body) = put(&address, "/coming", &format!("Authorization: Bearer {ALICE}\r\n"), coming);
    assert_eq!((status, &body[..]), (200, coming));
    // Those are cut off after fifteen seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for the strangers");
    drop(strangers);
}

/// Sends these bytes, or as many at a time, so slowly that it takes longer than a transfer may stand still.
fn trickle(length: usize, mut some: impl FnMut(std::ops::Range<usize>)) {
    const AT_ONCE: usize = 32 << 10;
    const WHOLE: Duration = Duration::from_secs(18);
    let pause = WHOLE / u32::try_from(length.div_ceil(AT_ONCE)).expect("few");
    for start in (0..length).step_by(AT_ONCE) {
        some(start..length.min(start + AT_ONCE));
        std::thread::sleep(pause);
    }
}

/// A transfer that moves is not cut off, however long it takes; one that stands still is.
#[test]
fn what_moves_slowly_arrives_both_ways() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = |name: &str| {
        let parts = "2953289a34e0cc2bf776decc3f8b86622d66b705\n".repeat(40_000);
        format!("0.0.0.0:0\n{name}\n{}\n{}\n16384\n40000\n{parts}", "0".repeat(40), 16_384 * 40_000_u64)
    };
    assert_eq!(put(&address, "/compositions/there.bin", "", &manifest("there.bin")).0, 201);
    let upload = || {
        let body = manifest("new.bin");
        let mut stream = TcpStream::connect(&address).expect("a conductor");
        let head =
            format!("PUT /compositions/new.bin HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("sent");
        trickle(body.len(), |some| stream.write_all(&body.as_bytes()[some]).expect("it is still taken"));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    };
    let download = || {
        let mut stream = TcpStream::connect(&address).expect("a conductor");
        let head = format!("GET /compositions/there.bin.orch HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        trickle(manifest("there.bin").len(), |some| {
            (&mut stream).take(some.len() as u64).read_to_end(&mut answer).map(drop).expect("more");
        });
        stream.read_to_end(&mut answer).expect("the rest");
        let parts = b"2953289a34e0cc2bf776decc3f8b86622d66b705\n".repeat(40_000);
        assert!(answer.ends_with(&parts), "{} bytes came", answer.len());
    };
    let stalled = || {
        let mut stream = TcpStream::connect(&address).expect("a conductor");
        let head = format!("PUT /compositions/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\nx");
        stream.write_all(head.as_bytes()).expect("sent");
        // It ends before the test's patience does.
        stream.set_read_timeout(Some(crate::support::PATIENCE)).expect("a limit");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(ended.is_ok_and(|length| length == 0) || answer.is_empty(), "{answer:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(upload);
        scope.spawn(download);
        scope.spawn(stalled);
    });
}

/// A conductor with three tokens, the first the administrator's.
fn guarded(place: &Place) -> (Program, String) {
    let tokens = place.path("tokens");
    fs::write(&tokens, format!("# who may\nroot {ROOT}\nalice {ALICE}\nbob {BOB}\n")).expect("written");
    let mut command = conductor_command(place, "127.0.0.1:0");
    command.arg("--token-file").arg(tokens);
    listening(command)
}

#[test]
fn what_is_registered_is_listed_located_and_fetched_by_name() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes((2 << 20) + 77, 60);
    let registered = register(&place, "été 1.iso", &data, &[&address], None).with(0).last();
    let line = registered["registered"].as_str().expect("a line");
    assert!(line.contains("member get") && line.contains("été 1.iso"), "{line}");
    assert_eq!(names(&place, &address), ["été 1.iso"]);
    let hidden = ask(&place, &address, &["list"]).with(0);
    let again = format!("1 more that nobody holds now: member list --all --conductor {address}");
    assert_eq!(hidden.lines, [again]);

    let manifest = place.path("été 1.iso.orch");
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let port = seed.event_named("start")["port"].clone();
    seed.event_named("whole");
    let located = loop {
        // The first announce may still be on its way.
        let located = ask(&place, &address, &["locate", "été 1.iso", "--json"]).with(0);
        if let Some(holder) = located.events().next() {
            break holder;
        }
    };
    assert_eq!((&located["address"], &located["percent"]), (&format!("127.0.0.1:{port}").into(), &100.into()));
    let listed = ask(&place, &address, &["list", "--json"]).with(0).events().next().expect("an entry");
    assert_eq!((&listed["members"], &listed["complete"], &listed["size"]), (&1.into(), &1.into(), &data.len().into()));
    ask(&place, &address, &["list"]).with(0).says("NAME");

    get(&place, &address, "été 1.iso", "by-name").with(0);
    let hash = listed["info_hash"].as_str().expect("a hash");
    get(&place, "127.0.0.1:1", &format!("{address}/{hash}"), "by-hash").with(0);
    for folder in ["by-name", "by-hash"] {
        assert!(fs::read(place.path(folder).join("été 1.iso")).expect("a file") == data, "{folder} is different");
    }
}

#[test]
fn a_conductor_that_dies_keeps_its_catalogue() {
    let place = Place::new();
    let (first, address) = conductor(&place, "127.0.0.1:0");
    register(&place, "a.bin", b"a", &[&address], None).with(0);
    register(&place, "b.bin", b"b", &[&address], None).with(0);
    first.signal(Signal::KILL);
    first.end();
    let (second, address) = conductor(&place, "127.0.0.1:0");
    assert_eq!(names(&place, &address), ["a.bin", "b.bin"]);
    // Another one beside it does not write into the same file.
    let (mut third, beside) = conductor(&place, "127.0.0.1:0");
    let warning = third.event_named("warning");
    assert!(warning["text"].as_str().expect("text").contains("in use by another conductor"), "{warning}");
    assert!(names(&place, &beside).is_empty());
    let mut told = conductor_command(&place, "127.0.0.1:0");
    told.arg(format!("--store=sqlite:{}", place.path("data/orchestra/catalogue.sqlite").display()));
    Program::start(told).end().with(1).says("in use by another conductor");
    second.signal(Signal::TERM);
    second.end().with(0);
}

#[test]
fn nothing_is_kept_in_memory() {
    let place = Place::new();
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.args(["--store", "memory"]);
    let (_conductor, address) = listening(command);
    register(&place, "a.bin", b"a", &[&address], None).with(0);
    assert_eq!(names(&place, &address), ["a.bin"]);
    assert!(!place.path("data").exists());
}

#[test]
fn a_name_is_replaced_only_when_that_is_said() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    register(&place, "a.bin", b"old", &[&address], None).with(0);
    register(&place, "a.bin", b"old", &[&address], None).with(0);
    let refused = register(&place, "a.bin", b"new", &[&address], None).with(9);
    refused.says("a.bin.orch --register --replace");
    assert_eq!(refused.last()["code"], 9);
    register(&place, "a.bin", b"new", &[&address, "--replace"], None).with(0);
    let listed = ask(&place, &address, &["list", "--all", "--json"]).with(0);
    assert_eq!(listed.events().map(|entry| entry["size"].clone()).collect::<Vec<_>>(), [3]);
    register(&place, "b.bin", b"b", &["127.0.0.1:1"], None).with(7).says("composer --from");
}

/// A manifest that was composed before is in the way of composing it again, not of registering it.
#[test]
fn what_was_composed_before_is_registered_as_it_is() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let run = |arguments: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
        command.args(arguments);
        Program::start(command).end()
    };
    fs::write(place.path("x.bin"), "data").expect("written");
    run(&["x.bin", &address]).with(0);
    let refused = run(&["x.bin", &address, "--register"]).with(6);
    refused.says("register it as it is with: composer --from x.orch --register;");
    run(&["--from", "x.orch", "--register"]).with(0);
    assert_eq!(names(&place, &address), ["x.bin"]);
    // Another conductor has to be written into it first.
    let command = "composer --from x.orch localhost:1 --register --force";
    run(&["x.bin", "localhost:1", "--register"]).with(6).says(command);
    assert!(!run(&["x.bin", &address]).with(6).lines.concat().contains("--register"));
    fs::write(place.path("x.orch"), "mine").expect("written");
    assert!(!run(&["x.bin", &address, "--register"]).with(6).lines.concat().contains("--register"));
}

#[test]
fn only_tokens_write_and_each_owns_what_it_registered() {
    let place = Place::new();
    let (_conductor, address) = guarded(&place);
    let args = [address.as_str()];
    register(&place, "x.bin", b"none", &args, None).with(9).says("--register --token-file");
    register(&place, "x.bin", b"none", &args, Some("cccccccccccccccc")).with(9).says("--register --token-file");
    register(&place, "x.bin", b"none", &args, Some("short")).with(2).says("ORCHESTRA_TOKEN");
    register(&place, "x.bin", b"of alice", &args, Some(ALICE)).with(0);
    register(&place, "x.bin", b"of bob", &args, Some(BOB)).with(0);

    // One name, two compositions: nobody is there to be asked which.
    let ambiguous = get(&place, &address, "x.bin", "copy").with(2);
    ambiguous.says("alice");
    let (status, body) = get_json(&address, "/compositions/x.bin");
    assert_eq!((status, body["candidates"].as_array().map(Vec::len)), (300, Some(2)));
    let (status, body) = get_json(&address, "/compositions/bob/x.bin");
    assert_eq!((status, &body["size"], &body["owner"]), (200, &6.into(), &"bob".into()));

    let delete = |path: &str, token: &str| {
        let head = format!("DELETE {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        http(&address, &head).0
    };
    assert_eq!(delete("/compositions/bob/x.bin", "cccccccccccccccc"), 401);
    assert_eq!(delete("/compositions/bob/x.bin", ALICE), 403);
    assert_eq!(delete("/compositions/bob/x.bin", ROOT), 200);
    assert_eq!(delete("/compositions/bob/x.bin", ROOT), 404);
    assert_eq!(get_json(&address, "/compositions/x.bin").1["owner"], "alice");
    let log = fs::read_to_string(place.path("logs/conductor.log")).expect("a log");
    assert!(!log.contains(ALICE) && !log.contains(ROOT), "a token is in the log");
}

#[test]
fn an_unknown_line_1_leads_to_where_it_was_asked() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    register(&place, "a.bin", b"a", &[&address], None).with(0);
    let unknown = fs::read_to_string(place.path("a.bin.orch")).expect("a manifest").replacen(&address, "0.0.0.0:0", 1);
    let (status, _) = put(&address, "/compositions/a.bin?replace", "", &unknown);
    assert_eq!(status, 200);
    let port = address.rsplit_once(':').expect("a port").1;
    for host in [format!("localhost:{port}"), address.clone()] {
        let request = format!("GET /compositions/a.bin.orch HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (status, text) = http(&address, &request);
        assert_eq!((status, text), (200, unknown.replacen("0.0.0.0:0", &host, 1)));
    }
}

#[test]
fn strangers_and_web_pages_are_kept_out() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    register(&place, "a.bin", b"a", &[&address], None).with(0);
    let manifest = fs::read_to_string(place.path("a.bin.orch")).expect("a manifest");
    let other = manifest.replacen("a.bin", "b.bin", 1);
    assert_eq!(put(&address, "/compositions/b.bin", "Origin: http://evil.example\r\n", &other).0, 403);
    assert_eq!(http(&address, "GET /compositions HTTP/1.1\r\nHost: evil.example\r\n\r\n").0, 421);
    assert_eq!(put(&address, "/compositions/b.bin", "", &format!("{other}secret 00\n")).0, 403);
    assert_eq!(put(&address, "/compositions/b.bin", "", "hello").0, 400);
    assert_eq!(put(&address, "/compositions/c.bin", "", &other).0, 400);
    assert_eq!(put(&address, "/compositions/..%2Fb.bin", "", &other).0, 400);
    assert_eq!(put(&address, "/compositions/b.bin.orch", "", &other).0, 405);
    let long = format!("{other}{}", "comment x\n".repeat((8 << 20) / 10));
    assert_eq!(put(&address, "/compositions/b.bin", "", &long).0, 413);
    assert_eq!(names(&place, &address), ["a.bin"]);
    assert_eq!(put(&address, "/compositions/b.bin", "", &other).0, 201);
    assert_eq!(names(&place, &address), ["a.bin", "b.bin"]);
}

#[test]
fn with_allow_registered_other_swarms_are_refused() {
    let place = Place::new();
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.args(["--allow", "registered"]);
    let (_conductor, address) = listening(command);
    let fetch = |name: &str| {
        let manifest = place.path(&format!("{name}.orch"));
        member(&place, &manifest, &place.path("copy"), &["--exit-when-done", "--timeout", "1s"]).end()
    };
    register(&place, "in.bin", b"in", &[&address], None).with(0);
    crate::support::compose(&place, "out.bin", b"out", &[&address]);
    fetch("out.bin").with(9).says("catalogue");
    // Nobody has it, but the conductor does not refuse.
    fetch("in.bin").with(4);
}

#[test]
fn a_name_that_is_not_there_is_10_and_a_near_one_is_suggested() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    register(&place, "ubuntu.iso", b"u", &[&address], None).with(0);
    ask(&place, &address, &["get", "ubunto.iso", "--timeout", "0"]).with(10).says("did you mean ubuntu.iso?");
    ask(&place, &address, &["locate", "ubunto.iso"]).with(10).says("did you mean ubuntu.iso?");
    ask(&place, &address, &["get", "music", "--timeout", "0"]).with(10).says("member list");
    ask(&place, "127.0.0.1:1", &["list"]).with(7).says("127.0.0.1:1");
    ask(&place, &address, &["locate", "a/b/c/d"]).with(2);
    assert!(!place.path("copy").exists());
}

#[test]
fn a_manifest_that_is_called_list_still_is_one() {
    let place = Place::new();
    crate::support::compose(&place, "x.bin", b"", &[]);
    fs::rename(place.path("x.bin.orch"), place.path("list")).expect("renamed");
    let run = |arguments: &[&str]| ask(&place, "127.0.0.1:1", arguments);
    run(&["list", "--exit-when-done", "--port", "0"]).with(0).says("list is a manifest here");
    run(&["./list", "--exit-when-done", "--port", "0"]).with(0);
    fs::remove_file(place.path("list")).expect("removed");
    run(&["list"]).with(7);
}

#[test]
fn a_manifest_is_shown_without_a_conductor() {
    let place = Place::new();
    let manifest = crate::support::compose(&place, "x.bin", &bytes(40_000, 61), &["10.0.0.1", "--comment", "hello"]);
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let shown = ask(&place, "127.0.0.1:1", &["show", &path(&manifest)]).with(0);
    shown.says("10.0.0.1:9999");
    shown.says("hello");
    let shown = ask(&place, "127.0.0.1:1", &["show", &path(&manifest), "--json"]).with(0);
    let object = shown.events().next().expect("an object");
    assert_eq!((&object["name"], &object["parts"]), (&"x.bin".into(), &3.into()));
    ask(&place, "127.0.0.1:1", &["show", &path(&place.path("seed/x.bin"))]).with(3);
}
