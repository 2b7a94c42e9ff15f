//! Who is believed: attackers who write to somebody else's catalogue, wait for a token, or leave a `.env` in a download.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::mpsc::Receiver,
    time::Instant,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    conductors::{conductor, http},
    netlab::{in_lab, lab, on},
    row,
    support::{Ended, PATIENCE, Place, Program, bytes, compose, conductor_command, listening, tool},
};

const TOKEN: &str = "s3cret-s3cret-s3cret";

fn member(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.args(arguments);
    command
}

/// A conductor that takes everything; gives the requests that it got.
fn listener() -> (String, Receiver<String>) {
    let (address, asked) = conductor(|mut stream, request| {
        let _ = stream.write_all(&match request.split(' ').next() {
            Some("PUT") => http(b"[]"),
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n{\"v\":1,\"error\":\"none\"}".to_vec(),
        });
    });
    (address.to_string(), asked)
}

/// Waits for a request to write, and says whether it has the token in it.
#[track_caller]
fn write_has_token(asked: &Receiver<String>) -> bool {
    loop {
        let request = asked.recv_timeout(PATIENCE).expect("a request to write");
        if request.starts_with("PUT ") {
            return request.contains(TOKEN);
        }
    }
}

/// Line 1 of a stranger's manifest names a conductor: the token stays here, unless the person names it too.
#[test]
fn a_token_does_not_go_where_a_manifest_leads() {
    let place = Place::new();
    let (address, asked) = listener();
    let manifest = compose(&place, "x.bin", &bytes(1000, 1), &[&address]);
    let register = |more: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
        command.arg("--from").arg(&manifest).args(more).arg("--register").env("ORCHESTRA_TOKEN", TOKEN);
        Program::start(command).end()
    };
    register(&[]);
    assert!(!write_has_token(&asked), "the stranger has the token");
    register(&[&address]);
    assert!(write_has_token(&asked), "who is named gets it");
    row("conductor", "line 1 of a stranger's manifest, composer --register with a token", "the token is not sent");
}

/// A token that was kept back is said where the conductor wants one.
#[test]
fn that_a_token_was_kept_back_is_said() {
    let place = Place::new();
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.env("ORCHESTRA_TOKEN", TOKEN);
    let (_conductor, address) = listening(command);
    let manifest = compose(&place, "x.bin", &bytes(1000, 1), &[&address]);
    let register = |more: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
        command.arg("--from").arg(&manifest).args(more).arg("--register").env("ORCHESTRA_TOKEN", TOKEN);
        Program::start(command).end()
    };
    let refused = register(&[]).with(9);
    refused.says("the token was not sent: it goes only to a conductor that you name");
    refused.says(&format!("{address} --register --token-file"));
    register(&[&address]).with(0);
}

/// A `.env` that came with a download names a conductor.
#[test]
fn a_token_does_not_go_where_dot_env_leads() {
    let place = Place::new();
    let (address, asked) = listener();
    fs::write(place.path(".env"), format!("ORCHESTRA_CONDUCTOR={address}\n")).expect("written");
    fs::write(place.path("x.bin"), bytes(1000, 1)).expect("written");
    let share = |more: &[&str]| {
        let mut command = member(&place, &[&["share", "x.bin", "--port", "0"], more].concat());
        command.env("ORCHESTRA_TOKEN", TOKEN);
        Program::start(command)
    };
    let mut sharer = share(&[]);
    sharer.line("whose conductor that is", |line| line.contains("is named in .env").then_some(()));
    assert!(!write_has_token(&asked), "the stranger has the token");
    drop(sharer);
    while asked.try_recv().is_ok() {}
    let _sharer = share(&["--conductor", &address]);
    assert!(write_has_token(&asked), "who is named gets it");
    row("conductor", "named in a downloaded .env, member share with a token", "the token is not sent");
}

/// What a name means is not asked of a conductor that only a downloaded `.env` names.
#[test]
fn dot_env_does_not_decide_what_is_fetched() {
    let place = Place::new();
    let (_conductor, address) = listening(conductor_command(&place, "127.0.0.1:0"));
    let data = bytes(100_000, 5);
    fs::write(place.folder("evil").join("x.bin"), &data).expect("written");
    let mut evil = Program::start(member(&place, &["share", "evil/x.bin", "--conductor", &address, "--json"]));
    evil.event_named("sharing");
    fs::write(place.path(".env"), format!("ORCHESTRA_CONDUCTOR={address}\n")).expect("written");
    let get = |more: &[&str]| {
        let fixed = ["get", "x.bin", "-o", "copy", "--exit-when-done", "--port", "0"];
        Program::start(member(&place, &[&fixed[..], more].concat())).end()
    };
    let refused = get(&["--timeout", "0"]);
    assert_ne!(refused.status.code(), Some(0), "a stranger's file was fetched");
    refused.says("is named in .env, which may have come with a download");
    assert!(!place.path("copy/x.bin").exists());
    get(&["--conductor", &address, "--timeout", "1m"]).with(0);
    row("conductor", "named in a downloaded .env, member get NAME", "not asked what NAME is, and said");
}

/// Files called `.env` that would hold a program up, or change what it does.
#[test]
fn odd_files_called_dot_env() {
    let place = Place::new();
    let data = [bytes(40_000, 6), bytes(40_000, 7), bytes(40_000, 8)];
    for (name, data) in ["a", "b", "c"].iter().zip(&data) {
        fs::write(place.folder("all").join(name), data).expect("written");
    }
    let mut compose = place.command(env!("CARGO_BIN_EXE_composer"));
    compose.args(["all", "0.0.0.0:0", "16K"]);
    Program::start(compose).end().with(0);
    let programs = || -> Vec<Ended> {
        let programs = [env!("CARGO_BIN_EXE_composer"), env!("CARGO_BIN_EXE_conductor"), env!("CARGO_BIN_EXE_member")];
        let arguments = [&["--from", "all.orch"][..], &["--listen", "127.0.0.1:0", "--no-lan"], &["show", "all.orch"]];
        let start = |(program, arguments): (&str, &[&str])| {
            let mut command = place.command(program);
            command.args(arguments);
            let mut program = Program::start(command);
            if arguments.contains(&"--listen") {
                program.line("where it listens", |line| line.contains("listens on").then_some(()));
                program.signal(Signal::TERM);
            }
            program.end().with(0)
        };
        programs.into_iter().zip(arguments).map(start).collect()
    };
    let path = place.path(".env");
    let mut mkfifo = Command::new("mkfifo");
    assert!(mkfifo.arg(&path).status().expect("mkfifo").success());
    programs().iter().for_each(|ended| ended.says("no regular file"));
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "ORCHESTRA_PORT=7\n".repeat(10_000)).expect("written");
    programs().iter().for_each(|ended| ended.says("larger than 64 KiB"));
    fs::write(&path, "ORCHESTRA_ONLY=a\n").expect("written");
    let ended =
        Program::start(member(&place, &["all.orch", "--exit-when-done", "--port", "0", "--json"])).end().with(0);
    ended.says("ORCHESTRA_ONLY ignored");
    assert!(!ended.events().any(|event| event["event"] == "selected"), "all of it is wanted");
    row(".env", "a pipe", "noted, and passed over by all three programs");
    row(".env", "larger than 64 KiB", "noted, and passed over by all three programs");
    row(".env", "ORCHESTRA_ONLY", "noted, and all files are fetched");
}

/// What this request gets, at a conductor in the lab.
fn curl(host: &str, place: &Place, arguments: &[&str]) -> String {
    let mut command = place.command("curl");
    command.args(["-s", "-m", "20", "-w", "\n%{http_code}"]).args(arguments);
    Program::start(on(host, &command)).end().with(0).lines.join("\n")
}

/// The README's story: `member share` on one machine, the line that it prints on another, and an attacker on the same
/// network who writes to the sharer's conductor, says that it is a conductor itself, and waits for a token.
#[test]
fn share_and_get_beside_an_attacker() {
    if !tool("curl", Command::new("curl").arg("--version")) {
        return;
    }
    in_lab("trust::share_and_get_beside_an_attacker", || {
        lab(&["up", "3"]);
        let place = Place::new();
        let data = bytes(1 << 20, 9);
        fs::write(place.path("vm.qcow2"), &data).expect("written");
        let evil = compose(&place, "vm.qcow2", &bytes(1 << 20, 10), &["10.77.0.13"]);
        let evil = evil.to_str().expect("UTF-8");
        let share = |arguments: &[&str]| {
            let mut command = member(&place, &[&["share", "vm.qcow2"], arguments].concat());
            command
                .env("ORCHESTRA_TOKEN", TOKEN)
                .env_remove("ORCHESTRA_NO_LAN")
                .env("XDG_STATE_HOME", place.path("s1"));
            let mut sharer = Program::start(on("h1", &command));
            // One is on stdout and one on stderr: either may come first.
            let (mut typed, mut is_shared) = (None, false);
            let line = sharer.line("what to type, and that it is shared", |line| {
                is_shared |= line.contains("1 MiB shared");
                typed = line.strip_prefix("On the others:  member ").map(str::to_owned).or(typed.take());
                typed.take_if(|_| is_shared)
            });
            (sharer, line)
        };
        let fetch = |line: &str, folder: &str| {
            let arguments: Vec<&str> = line.split(' ').collect();
            let more = ["-o", folder, "--exit-when-done", "--timeout", "1m"];
            let command = member(&place, &[&arguments[..], &more].concat());
            Program::start(on("h2", &command)).end().with(0);
            assert!(fs::read(place.path(folder).join("vm.qcow2")).expect("a file") == data, "{line}: another file");
        };

        // Its own conductor: everybody may read, and nobody else may write.
        let (sharer, line) = share(&[]);
        assert_eq!(line, "get 10.77.0.11/vm.qcow2");
        let entry = "http://10.77.0.11:9999/compositions/vm.qcow2";
        let coming = r#"[{"name":"vm.qcow2","size":1,"done":0}]"#;
        let guess = format!("Authorization: Bearer {TOKEN}");
        for (input, arguments) in [
            ("DELETE", &["-X", "DELETE", entry][..]),
            ("DELETE with a person's token", &["-X", "DELETE", "-H", &guess, entry]),
            ("PUT of another manifest", &["-T", evil, entry]),
            ("PUT ?replace", &["-T", evil, &format!("{entry}?replace")]),
            ("PUT ?beside", &["-T", evil, &format!("{entry}?beside")]),
            ("PUT /coming", &["-X", "PUT", "-d", coming, "http://10.77.0.11:9999/coming"]),
        ] {
            for host in ["h3", "h1"] {
                let answer = curl(host, &place, arguments);
                assert!(answer.ends_with("\n405"), "{input} from {host}: {answer}");
                assert!(answer.contains("takes changes from that member alone"), "{input}: {answer}");
            }
            row(
                "share",
                &format!("{input}, to the conductor that member share opened"),
                "405, takes changes from that member alone",
            );
        }
        let listed = curl("h3", &place, &["http://10.77.0.11:9999/compositions"]);
        let listed: Value = serde_json::from_str(listed.trim_end_matches("\n200")).expect("JSON");
        assert_eq!(listed["compositions"].as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(listed["compositions"][0]["owner"], Value::Null);
        fetch(&line, "one");
        sharer.signal(Signal::TERM);
        sharer.end().with(0);

        // A conductor that only says that it is one hears of it, and is not where the others are led to.
        let conductor = |token: Option<&str>| {
            let mut command = conductor_command(&place, ":9999");
            command.env_remove("ORCHESTRA_NO_LAN").args(["--store", "memory"]);
            if let Some(token) = token {
                command.env("ORCHESTRA_TOKEN", token);
            }
            listening(on("h3", &command)).0
        };
        let open = conductor(None);
        assert!(curl("h3", &place, &["-T", evil, "http://10.77.0.13:9999/compositions/vm.qcow2"]).ends_with("\n201"));
        let (sharer, line) = share(&[]);
        assert_eq!(line, "get 10.77.0.11:9998/vm.qcow2");
        fetch(&line, "two");
        row(
            "share",
            "a stranger's conductor (DNS-SD) with another file of the name",
            "others are led to the sharer itself",
        );
        sharer.signal(Signal::TERM);
        sharer.end().with(0).says("says on the local network that it is there");
        drop(open);

        // One that asks for the very token gets none, and nothing is registered there.
        let _asks = conductor(Some(TOKEN));
        let (sharer, line) = share(&[]);
        assert_eq!(line, "get 10.77.0.11/vm.qcow2");
        fetch(&line, "three");
        let listed = curl("h3", &place, &["http://10.77.0.13:9999/compositions"]);
        assert!(listed.contains(r#""compositions":[]"#), "it has had the token: {listed}");
        row("share", "a conductor found by DNS-SD that asks for a token", "none is sent; the sharer is one itself");
        drop(sharer);
    });
}

/// The same beside `tests/lab/attacker`: it leaves in the seed's name, has the conductor dial, invents members and names, sends
/// what nobody asked for. The head waits for the host that it was told to wait for, and ends when that has the file.
#[test]
fn the_head_waits_for_its_hosts_beside_an_attacker() {
    if !tool("python3", Command::new("python3").arg("--version")) {
        return;
    }
    in_lab("trust::the_head_waits_for_its_hosts_beside_an_attacker", || {
        lab(&["up", "3"]);
        let place = Place::new();
        let data = bytes(1 << 20, 11);
        fs::write(place.path("vm.qcow2"), &data).expect("written");
        // The attacker invents a member of this name too. A head that believed it would be gone before the host comes.
        fs::write(place.path("hosts"), "pc-2\n").expect("written");
        let on_host = |host: &str, arguments: &[&str]| {
            let mut command = member(&place, arguments);
            command.env_remove("ORCHESTRA_NO_LAN").env("XDG_STATE_HOME", place.path(&format!("state of {host}")));
            command.env("ORCHESTRA_NAME", host.replace('h', "pc-")).env("ORCHESTRA_MACHINE", host);
            Program::start(on(host, &command))
        };
        let mut sharer = on_host("h1", &["share", "vm.qcow2", "--until-all", "@hosts", "--json"]);
        assert_eq!(sharer.event_named("sharing")["get"][0], "member get 10.77.0.11/vm.qcow2");
        let mut attacker = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/attacker"));
        attacker.args(["10.77.0.11", "vm.qcow2", "10.77.0.11"]);
        let attacked = Program::start(on("h3", &attacker)).end().with(0);
        for (input, expected) in [
            ("out: hello with the seed's address, then leave", "it stands"),
            ("scan: hello with addresses that only the conductor reaches", "none is open"),
            ("thief: the seed's own peer id", "closed"),
        ] {
            let line = attacked.lines.iter().find(|line| line.split(':').next() == input.split(':').next());
            let line = line.unwrap_or_else(|| panic!("{input}: {:?}", attacked.lines));
            assert!(line.contains(expected), "{line}");
            row("share", input, expected);
        }
        let get = ["get", "10.77.0.11/vm.qcow2", "-o", "copy", "--exit-when-done", "--timeout", "1m", "--json"];
        on_host("h2", &get).end().with(0);
        assert!(fs::read(place.path("copy/vm.qcow2")).expect("a file") == data);
        let ended = sharer.end().with(0);
        let copies = ended.events().filter(|event| event["event"] == "copies").last().expect("copies are told");
        assert_eq!((&copies["whole"][0], &copies["copies"]), (&Value::from("pc-2"), &Value::from(1)), "{copies}");
        row(
            "share",
            "claims: 200 invented members, one of the name waited for",
            "the head waits until the host has it",
        );
    });
}

/// The secret of the conductor inside a sharer is nowhere to be read.
#[test]
fn the_secret_of_a_sharers_conductor_does_not_leave_it() {
    let place = Place::new();
    fs::write(place.path("x.bin"), bytes(1000, 1)).expect("written");
    let mut command = member(&place, &["share", "x.bin", "--listen", "127.9.9.9", "--port", "0", "--json"]);
    command.env("RUST_LOG", "trace");
    let mut sharer = Program::start(command);
    let sharing = sharer.event_named("sharing");
    let line = sharing["get"][0].as_str().expect("a line").to_owned();
    let Some(address) = line.strip_prefix("member get ").and_then(|rest| rest.split('/').next()) else {
        panic!("{line}")
    };
    // Somebody else's conductor may be on this machine, and is used then.
    if address.starts_with("127.9.9.9") {
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:9999") };
        let mut stream = TcpStream::connect(&address).expect("a conductor");
        write!(stream, "GET /compositions HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("x.bin") && !answer.to_ascii_lowercase().contains("authorization"), "{answer}");
    }
    let log = || fs::read_to_string(place.path("logs/member.log")).expect("a log");
    let until = Instant::now() + PATIENCE;
    while !log().contains("registered at") {
        assert!(Instant::now() < until, "it was not registered");
        std::thread::yield_now();
    }
    let log = log();
    let is_secret = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(!log.split(|c: char| !c.is_ascii_alphanumeric()).any(is_secret), "the log has a secret");
    assert!(!log.to_ascii_lowercase().contains("bearer"), "the log has a header");
}
