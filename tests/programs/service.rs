//! A conductor as a service: what it tells its manager, how it starts again, and that the unit in `systemd/` is sound.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::support::{PATIENCE, Place, Program, bytes, compose, conductor_command, fetch, listening, seed, skip, tool};

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
