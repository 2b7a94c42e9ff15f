//! A conductor as a service: what it tells its manager, how it starts again, and that the unit in `systemd/` is sound.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    catalogue::http,
    support::{
        PATIENCE, Place, Program, bytes, compose, conductor, conductor_command, fetch, listening, seed, skip, tool,
    },
};

#[test]
fn the_manager_hears_when_it_is_ready_and_when_it_ends() {
    let place = Place::new();
    let path = place.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let told = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.env("NOTIFY_SOCKET", &path);
    let (conductor, address) = listening(command);
    assert_eq!(told(), "READY=1");
    assert!(std::net::TcpStream::connect(address).is_ok());
    conductor.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    conductor.end().with(0);
}

/// The catalogue is whole, and the members come back by themselves.
#[test]
fn a_conductor_that_starts_again_knows_all() {
    for signal in [Signal::KILL, Signal::TERM] {
        let place = Place::new();
        let store = format!("--store=sqlite:{}", place.path("catalogue").display());
        let start = |listen: &str| {
            let mut command = conductor_command(&place, listen);
            command.arg(&store);
            listening(command)
        };
        let (mut conductor, address) = start("127.0.0.1:0");
        let manifest = compose(&place, "song.bin", &bytes(300_000, 60), &[&address, "--register"]);
        let _seed = seed(&place, &manifest, &["--no-lan"]);
        conductor.event_named("joined");
        conductor.signal(signal);
        conductor.end();

        let (mut conductor, _) = start(&address);
        conductor.event_named("joined");
        let mut locate = place.command(env!("CARGO_BIN_EXE_member"));
        locate.args(["locate", "song.bin", "--json", "--conductor", &address]);
        let located = Program::start(locate).end().with(0);
        assert!(located.events().any(|holder| holder["complete"] == true), "{:?}", located.lines);
        fetch(&place, &manifest, "fetched", &["--no-lan"]).with(0);
    }
}

/// What the answers of `path` begin with, asked until they do.
fn answers(address: &str, path: &str, status: u16) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let (answered, body) = http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        if answered == status {
            return body;
        }
        assert!(Instant::now() < until, "{path} is {answered}, not {status}: {body}");
    }
}

/// A conductor runs and is healthy while its catalogue takes nothing any more, but is not ready.
#[test]
fn a_conductor_whose_store_fails_is_not_ready() {
    let place = Place::new();
    let store = place.folder("store").join("catalogue");
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.arg(format!("--store=sqlite:{}", store.display()));
    let (_conductor, address) = listening(command);
    assert!(answers(&address, "/ready", 200).contains(r#""status":"ready""#));
    fs::remove_dir_all(place.path("store")).expect("removed");
    let body = answers(&address, "/ready", 503);
    assert!(body.contains("error") && !body.contains("catalogue.sqlite"), "{body}");
    answers(&address, "/health", 200);
    let errors = answers(&address, "/metrics", 200);
    let errors = errors.lines().find_map(|line| line.strip_prefix("orchestra_store_errors_total "));
    assert!(errors.is_some_and(|count| count != "0"), "{errors:?}");
}

/// The copy is a catalogue itself, whole, while the conductor goes on taking entries.
#[test]
fn a_catalogue_is_copied_while_it_is_used() {
    let place = Place::new();
    let store = format!("--store=sqlite:{}", place.path("catalogue").display());
    let start = |store: &str| {
        let mut command = conductor_command(&place, "127.0.0.1:0");
        command.arg(store);
        listening(command)
    };
    let (_conductor, address) = start(&store);
    compose(&place, "song.bin", &bytes(300_000, 60), &[&address, "--register"]);
    let copy = place.path("copy");
    let backup = |more: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_conductor"));
        command.arg("backup").arg(&copy).arg(&store).args(more);
        Program::start(command).end()
    };
    backup(&[]).with(0).says("1 composition copied to");
    compose(&place, "other.bin", &bytes(300_000, 61), &[&address, "--register"]);
    backup(&[]).with(1).says("--force replaces it");
    let of_copy = |count: usize| {
        let (conductor, address) = start(&format!("--store=sqlite:{}", copy.display()));
        let (status, body) = http(&address, &format!("GET /compositions HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert_eq!((status, body.matches("info_hash").count()), (200, count), "{body}");
        conductor.signal(Signal::TERM);
        conductor.end().with(0);
    };
    of_copy(1);
    backup(&["--force"]).with(0).says("2 compositions copied to");
    of_copy(2);

    let mut command = place.command(env!("CARGO_BIN_EXE_conductor"));
    command.args(["backup", "x", "--store=memory"]);
    Program::start(command).end().with(1).says("memory");
    assert!(!place.path("x").exists());
}

#[test]
fn on_sighup_the_tokens_are_read_again_and_the_conductor_goes_on() {
    let place = Place::new();
    let tokens = place.path("tokens");
    let (old, new) = ("0123456789abcdef", "fedcba9876543210");
    fs::write(&tokens, old).expect("written");
    let mut command = conductor_command(&place, "127.0.0.1:0");
    command.arg("--token-file").arg(&tokens).stdin(Stdio::null());
    let (mut conductor, address) = listening(command);
    let says = |token: &str| {
        let head = format!("PUT /coming HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n");
        http(&address, &format!("{head}Authorization: Bearer {token}\r\n\r\n[]")).0
    };
    assert_eq!((says(old), says(new)), (200, 401));
    fs::write(&tokens, "short").expect("written");
    conductor.signal(Signal::HUP);
    conductor.event("that the tokens stay", |event| {
        event["event"] == "warning" && event["text"].as_str().is_some_and(|text| text.contains("stay as they were"))
    });
    assert_eq!((says(old), says(new)), (200, 401));
    fs::write(&tokens, new).expect("written");
    conductor.signal(Signal::HUP);
    let until = Instant::now() + PATIENCE;
    while says(new) != 200 {
        assert!(Instant::now() < until, "the new token is not known");
    }
    assert_eq!(says(old), 401);
    conductor.signal(Signal::TERM);
    conductor.end().with(0);
}

#[test]
fn the_numbers_are_as_prometheus_wants_them() {
    if !tool("promtool", Command::new("promtool").arg("--version")) {
        return;
    }
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let numbers = place.path("numbers");
    let text = answers(&address, "/metrics", 200);
    fs::write(&numbers, text).expect("written");
    let mut command = place.command("promtool");
    command.args(["check", "metrics"]).stdin(fs::File::open(&numbers).expect("opened"));
    let checked = Program::start(command).end().with(0);
    assert!(checked.lines.is_empty(), "{:?}", checked.lines);
}

#[test]
fn the_unit_lets_the_conductor_see_its_networks() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/conductor.service"));
    let text = text.expect("a unit");
    let families = text.lines().find_map(|line| line.strip_prefix("RestrictAddressFamilies=")).expect("families");
    let families: Vec<_> = families.split(' ').collect();
    for needed in ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"] {
        assert!(families.contains(&needed), "{needed}: the local network is not told of the conductor without it");
    }
    assert!(text.lines().any(|line| line.starts_with("ExecReload=") && line.contains("-HUP")));
}

#[test]
fn the_unit_is_sound_and_shuts_the_conductor_in() {
    if !tool("systemd-analyze", Command::new("systemd-analyze").arg("--version")) {
        return;
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/conductor.service"));
    let text = text.expect("a unit").replace("/usr/local/bin/conductor", env!("CARGO_BIN_EXE_conductor"));
    let place = Place::new();
    let unit = place.path("conductor.service");
    fs::write(&unit, text).expect("written");
    let analyze = |arguments: &[&str]| {
        let mut command = place.command("systemd-analyze");
        command.args(arguments).arg(&unit).stdin(Stdio::null());
        Program::start(command).end()
    };
    let verified = analyze(&["verify", "--man=no"]);
    if verified.lines.iter().any(|line| line.contains("Failed to initialize manager")) {
        return skip("systemd-analyze cannot look at units here");
    }
    let verified = verified.with(0);
    assert!(verified.lines.iter().all(|line| !line.contains("conductor.service")), "{:?}", verified.lines);
    // In tenths of the scale to 10, where 10 is a service that may do everything.
    analyze(&["security", "--offline=true", "--threshold=15", "--no-pager"]).with(0);
}
