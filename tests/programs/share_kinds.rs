//! What `member share` and `composer` take for a composition: links, folders as one, files that are being written.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use rustix::process::Signal;

use crate::support::{Ended, Place, Program, bytes, conductor};

fn command(place: &Place, word: &str, arguments: &[&str]) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.arg(word).args(arguments);
    command
}

fn share(place: &Place, path: &Path, conductor: &str, arguments: &[&str]) -> Program {
    let path = path.to_str().expect("UTF-8");
    let arguments = [&[path, "--conductor", conductor, "--port", "0", "--json"], arguments].concat();
    Program::start(command(place, "share", &arguments))
}

fn get(place: &Place, folder: &str, arguments: &[&str]) -> Ended {
    let folder = place.path(folder);
    let folder = ["-o", folder.to_str().expect("UTF-8"), "--exit-when-done", "--json", "--port", "0"];
    Program::start(command(place, "get", &[arguments, &folder].concat())).end()
}

/// A folder in which every file is a link to a blob beside it, as the cache of a model hub has it.
fn snapshot(place: &Place) -> std::path::PathBuf {
    let (blobs, snapshot) = (place.folder("hub/blobs"), place.folder("hub/snapshots/main"));
    fs::write(blobs.join("1"), bytes(70_000, 1)).expect("written");
    fs::write(blobs.join("2"), bytes(300_000, 2)).expect("written");
    symlink("../../blobs/1", snapshot.join("config.json")).expect("a link");
    symlink("../../blobs/2", snapshot.join("model.bin")).expect("a link");
    snapshot
}

fn is_snapshot(folder: &Path) -> bool {
    let is = |name: &str, data: Vec<u8>| fs::read(folder.join(name)).expect("a file") == data;
    is("config.json", bytes(70_000, 1)) && is("model.bin", bytes(300_000, 2))
}

#[test]
fn a_folder_of_links_is_composed_and_shared() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let snapshot = snapshot(&place);
    let compose = |more: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
        command.arg(&snapshot).arg(&address).args(["-o"]).arg(place.path("main.orch")).args(more);
        Program::start(command).end()
    };
    compose(&[]).with(1).says("2 symbolic links: --follow-links");
    let composed = compose(&["--follow-links"]).with(0);
    composed.says("leads out of the folder");
    composed.says("--follow-links");
    let above = snapshot.parent().expect("a folder").to_str().expect("UTF-8");
    let mut seed = place.command(env!("CARGO_BIN_EXE_member"));
    seed.arg(place.path("main.orch")).args(["-o", above, "--follow-links", "--port", "0", "--json"]);
    let mut seed = Program::start(seed);
    seed.event_named("whole");
    let mut fetch = place.command(env!("CARGO_BIN_EXE_member"));
    fetch.arg(place.path("main.orch")).arg("-o").arg(place.path("copy")).args(["--exit-when-done", "--port", "0"]);
    Program::start(fetch).end().with(0);
    assert!(is_snapshot(&place.path("copy/main")));
    seed.signal(Signal::TERM);
    seed.end().with(0);

    // The same without a manifest.
    let mut program = share(&place, &snapshot, &address, &["--as-one", "--follow-links"]);
    assert_eq!(program.event_named("sharing")["size"], 370_000);
    get(&place, "shared", &[&format!("{address}/main")]).with(0);
    assert!(is_snapshot(&place.path("shared/main")));
    program.signal(Signal::TERM);
    program.end().with(0);
}

#[test]
fn a_named_link_is_shared_under_its_own_name() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(300_000, 3);
    fs::write(place.path("real-1.2.iso"), &data).expect("written");
    symlink("real-1.2.iso", place.path("latest.iso")).expect("a link");
    let mut program = share(&place, &place.path("latest.iso"), &address, &[]);
    assert_eq!(program.event_named("shared")["name"], "latest.iso");
    program.event_named("sharing");
    get(&place, "copy", &[&format!("{address}/latest.iso")]).with(0);
    assert!(fs::read(place.path("copy/latest.iso")).expect("a file") == data);
    program.signal(Signal::TERM);
    program.end().with(0);
    // A manifest of it is shared from there too.
    let mut compose = place.command(env!("CARGO_BIN_EXE_composer"));
    compose.args(["latest.iso", &address]);
    Program::start(compose).end().with(0).says("member latest.orch --follow-links");
    let mut seed = place.command(env!("CARGO_BIN_EXE_member"));
    seed.args(["latest.orch", "--follow-links", "--port", "0", "--json"]);
    let mut seed = Program::start(seed);
    assert_eq!(seed.event_named("whole")["name"], "latest.iso");
    seed.signal(Signal::TERM);
    seed.end().with(0);
}

#[test]
fn a_folder_is_shared_as_one_and_all_of_a_host_is_fetched() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let game = place.folder("game");
    fs::write(game.join("data.pak"), bytes(200_000, 4)).expect("written");
    fs::write(game.join("run.orch"), bytes(20_000, 5)).expect("written");
    let logs = game.join("logs");
    let logs_option = ["--as-one", "--log-dir", logs.to_str().expect("UTF-8")];
    let mut one = share(&place, &game, &address, &logs_option);
    let shared = one.event_named("shared");
    assert_eq!((&shared["name"], &shared["size"]), (&"game".into(), &220_000.into()), "without our own log");
    one.event_named("sharing");
    fs::write(place.path("x.iso"), bytes(30_000, 6)).expect("written");
    let mut other = share(&place, &place.path("x.iso"), &address, &[]);
    other.event_named("sharing");
    get(&place, "both", &[&format!("{address}/game"), "--all"]).with(2).says("--all");
    let ended = get(&place, "both", &[&format!("{address}/"), "--all"]).with(0);
    assert_eq!(ended.events().filter(|event| event["event"] == "end").count(), 2);
    assert!(fs::read(place.path("both/game/run.orch")).expect("a file") == bytes(20_000, 5));
    assert!(fs::read(place.path("both/x.iso")).expect("a file") == bytes(30_000, 6));
    for program in [one, other] {
        program.signal(Signal::TERM);
        program.end().with(0);
    }
}

#[test]
fn all_of_a_host_is_waited_for() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let host = format!("{address}/");
    get(&place, "copy", &[&host, "--all", "--timeout", "0"]).with(10);
    let folder = place.path("copy");
    let folder = ["-o", folder.to_str().expect("UTF-8"), "--exit-when-done", "--json", "--port", "0"];
    let mut early = Program::start(command(&place, "get", &[&[host.as_str(), "--all"], &folder[..]].concat()));
    early.line("what it waits for", |line| line.contains("waiting for something to be shared").then_some(()));
    fs::write(place.path("x.iso"), bytes(30_000, 6)).expect("written");
    let mut seed = share(&place, &place.path("x.iso"), &address, &[]);
    seed.event_named("sharing");
    early.end().with(0);
    assert!(fs::read(place.path("copy/x.iso")).expect("a file") == bytes(30_000, 6));
    seed.signal(Signal::TERM);
    seed.end().with(0);
}

#[test]
fn a_terminal_is_told_whether_a_folder_is_one_composition() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    fs::write(place.folder("game").join("data.pak"), bytes(20_000, 7)).expect("written");
    for (options, says) in [
        (&[][..], "each entry of game is shared by itself; --as-one"),
        (&["--as-one"], "game is shared as one composition; without --as-one"),
    ] {
        let arguments = [&["game", "--conductor", &address, "--port", "0"], options].concat();
        let mut program = Program::start(command(&place, "share", &arguments));
        program.line(says, |line| line.contains(says).then_some(()));
    }
}

#[test]
fn a_file_that_is_being_written_is_not_shared_before_it_is_closed() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("isos");
    fs::write(folder.join("done.iso"), bytes(50_000, 8)).expect("written");
    let mut writing = File::create(folder.join("half.iso")).expect("a file");
    writing.write_all(&bytes(100_000, 9)).expect("written");
    let mut program = share(&place, &folder, &address, &[]);
    let sharing = program.event_named("sharing");
    assert_eq!(sharing["files"], 1, "only the other one");
    writing.write_all(&bytes(100_000, 10)).expect("written");
    drop(writing);
    let shared = program.event_named("shared");
    assert_eq!((&shared["name"], &shared["size"]), (&"half.iso".into(), &200_000.into()));
    program.signal(Signal::TERM);
    let ended = program.end().with(0);
    ended.says("half.iso: not shared yet: a program has it open for writing");
}

#[test]
fn composer_says_that_a_file_is_being_written() {
    let place = Place::new();
    let mut writing = File::create(place.path("half.iso")).expect("a file");
    writing.write_all(&bytes(100_000, 11)).expect("written");
    let mut compose = place.command(env!("CARGO_BIN_EXE_composer"));
    compose.arg("half.iso");
    Program::start(compose).end().with(0).says("half.iso: a program has it open for writing");
}
