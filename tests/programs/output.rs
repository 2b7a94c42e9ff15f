//! Commands whose work is what they print, onto a device that is always full, and to a reader that has gone.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;

use crate::support::{Place, Program, bytes, compose, conductor, fetch, member, port, skip, tool};

/// `/dev/full`; None where there is none.
fn full() -> Option<File> {
    File::options().write(true).open("/dev/full").ok()
}

/// Each command that ends by itself having printed an answer, as words.
fn commands(address: &str, neighbour: &str) -> Vec<(&'static str, Vec<String>)> {
    let (composer, member) = (env!("CARGO_BIN_EXE_composer"), env!("CARGO_BIN_EXE_member"));
    let mut all = Vec::new();
    let mut add = |program, words: &[&str]| all.push((program, words.iter().map(|word| (*word).to_owned()).collect()));
    for more in [&[][..], &["--json"], &["--magnet"]] {
        add(composer, &[&["seed/x.bin", "--force"], more].concat());
        add(member, &[&["show", "x.bin.orch"][..], more.strip_prefix(&["--magnet"]).unwrap_or(more)].concat());
    }
    for json in [&[][..], &["--json"]] {
        add(member, &[&["verify", "x.bin.orch", "seed"], json].concat());
        add(member, &[&["history"], json].concat());
        add(member, &[&["list", "--all", "--no-lan", "--conductor", address], json].concat());
        add(member, &[&["locate", &format!("{address}/x.bin")], json].concat());
        add(member, &[&["locate", "--summary", &format!("{address}/x.bin")], json].concat());
        add(member, &[&["search", "x.bin", "--neighbour", neighbour, "--timeout", "2s"], json].concat());
        for program in [composer, member, env!("CARGO_BIN_EXE_conductor")] {
            add(program, &[&["--help"], json].concat());
            add(program, &[&["--version"], json].concat());
        }
        add(member, &[&["help", "get"], json].concat());
        add(member, &[&["version"], json].concat());
    }
    add(env!("CARGO_BIN_EXE_conductor"), &["backup", "catalogue.copy", "--force", "--json"]);
    all
}

/// Something registered, shared and fetched, so that every question has an answer.
struct Stage {
    place: Place,
    address: String,
    /// The member that shares it.
    neighbour: String,
    _running: [Program; 2],
}

fn stage() -> Stage {
    let place = Place::new();
    let (conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(100_000, 3), &[&address, "--register"]);
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let neighbour = format!("127.0.0.1:{}", port(&mut seed));
    seed.event_named("whole");
    fetch(&place, &manifest, "copy", &[]).with(0);
    Stage { place, address, neighbour, _running: [conductor, seed] }
}

fn run(place: &Place, program: &str, words: &[String], stdout: Stdio) -> Output {
    place.command(program).args(words).stdout(stdout).output().expect("it starts")
}

#[test]
fn lost_output_is_no_success() {
    if full().is_none() {
        return skip("there is no /dev/full");
    }
    let Stage { place, address, neighbour, _running } = stage();
    for (program, words) in commands(&address, &neighbour) {
        let ended = run(&place, program, &words, full().expect("seen").into());
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(5), "{program} {words:?} said: {said}");
        assert!(said.contains("error: what was printed is lost: standard output: "), "{program} {words:?}: {said}");
    }
    // Beside another error that one is told.
    let words = ["verify", "x.bin.orch", ".", "--json"].map(str::to_owned);
    let ended = run(&place, env!("CARGO_BIN_EXE_member"), &words, full().expect("seen").into());
    assert_eq!(ended.status.code(), Some(6));
}

/// As before `| head -1`.
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let Stage { place, address, neighbour, _running } = stage();
    for (program, words) in commands(&address, &neighbour) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = run(&place, program, &words, writer.into());
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{program} {words:?} said: {said}");
        assert!(!said.contains("error") && !said.contains("panic"), "{program} {words:?}: {said}");
    }
}

/// What it does is more than what it says of it.
#[test]
fn a_conductor_goes_on_when_what_it_tells_is_lost() {
    let Some(full) = full() else { return skip("there is no /dev/full") };
    let place = Place::new();
    // Where it listens nobody hears, thus a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let mut command = place.command(env!("CARGO_BIN_EXE_conductor"));
    command.args(["--json", "--listen", &address, "--log-dir", "-"]).env("RUST_LOG", "info");
    let mut child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("it starts");
    let log = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut lines = std::io::BufRead::lines(log).map_while(Result::ok);
    let lost = "what is told on standard output is lost";
    assert!(lines.any(|line| line.contains(lost)), "the loss is not in the log");
    let manifest = compose(&place, "x.bin", &bytes(100_000, 3), &[&address, "--register"]);
    let mut member = place.command(env!("CARGO_BIN_EXE_member"));
    member.arg(manifest).args(["-o", "seed", "--port", "0", "--exit-when-done"]);
    Program::start(member).end().with(0);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).expect("it runs");
    let again: Vec<String> = lines.filter(|line| line.contains(lost)).collect();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

/// The tables are ASCII where the locale is.
#[test]
fn a_narrow_table_is_ascii_where_the_locale_is() {
    if !tool("script", Command::new("script").arg("--version")) {
        return;
    }
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let name = "a-name-that-no-narrow-terminal-has-room-for-in-its-table.bin";
    compose(&place, name, &bytes(100_000, 3), &[&address, "--register"]);
    let member = env!("CARGO_BIN_EXE_member");
    let shown = |locale: &str| {
        let line = format!("stty rows 20 cols 50; {member} list --all --no-lan --conductor {address}");
        let mut command = place.command("script");
        command.args(["-qec", &line, "/dev/null"]).env("LC_ALL", locale).env("TERM", "xterm");
        let shown = command.output().expect("it starts").stdout;
        String::from_utf8(shown).expect("UTF-8")
    };
    let (ascii, unicode) = (shown("C"), shown("C.UTF-8"));
    assert!(ascii.is_ascii() && ascii.contains("a-name-that") && ascii.contains('~'), "{ascii}");
    assert!(unicode.contains('\u{2026}'), "{unicode}");
}
