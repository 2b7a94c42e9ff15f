//! Options of a member that change whom it talks to, and what it believes.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use crate::support::{Place, Program, bytes, compose, conductor, fetch, member, member_command, seed};

#[test]
fn an_interface_is_kept_to_and_one_that_is_not_there_is_1() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(40_000, 50), &[&address]);
    let _seed = seed(&place, &manifest, &["--interface", "lo"]);
    fetch(&place, &manifest, "copy", &["--interface", "lo"]).with(0);
    let refused = fetch(&place, &manifest, "other", &["--interface", "no-such-one"]).with(1);
    refused.says("no-such-one");
    assert!(!place.path("other").exists());
}

/// Who asks for a name through what is not there does not hear that nobody answers.
#[test]
fn what_this_machine_has_not_got_is_said_before_anybody_is_asked() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args(arguments).env_remove("ORCHESTRA_NO_LAN").env("ORCHESTRA_CONDUCTOR", "127.0.0.1:1");
        Program::start(command).end()
    };
    for arguments in [&["list"][..], &["locate", "x"], &["get", "x", "--port", "0"]] {
        let arguments = [arguments, &["--interface", "no-such-one"]].concat();
        run(&arguments).with(1).says("this machine has no network interface \"no-such-one\"");
    }
    run(&["get", "x", "--port", "0", "--listen", "192.0.2.1"]).with(1).says("this machine does not have this address");
}

#[test]
fn a_word_that_is_no_file_may_mean_something_else() {
    let place = Place::new();
    let run = |word: &str| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.args([word, "--port", "0"]);
        Program::start(command).end()
    };
    run("lits").with(1).says("did you mean member list?");
    run("10.0.0.1/big.iso").with(1).says("did you mean member get 10.0.0.1/big.iso?");
    run("da39a3ee5e6b4b0d3255bfef95601890afd80709").with(1).says("did you mean member get da39a3ee");
    assert!(!run("big.orch").with(1).lines.concat().contains("did you mean"));
    place.folder("isos");
    run("isos").with(3).says("member share isos");
}

#[test]
fn an_advertised_port_is_what_others_dial() {
    let place = Place::new();
    let (mut conductor, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(40_000, 51), &[&address]);
    let _seed = member(&place, &manifest, &place.path("seed"), &["--advertise", "127.0.0.9:7"]);
    // The live link says so; an announce that came before it was taken for what it looked like.
    conductor.event("that it is there", |event| {
        (event["event"] == "joined" || event["event"] == "moved") && event["address"] == "127.0.0.9:7"
    });
}

#[test]
fn a_conductor_that_refuses_is_9() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nd14:failure reason8:not you!e");
        }
    });
    let manifest = compose(&place, "x.bin", &bytes(40_000, 52), &[&address]);
    let ended = fetch(&place, &manifest, "copy", &["--timeout", "1s"]).with(9);
    ended.says("not you!");
}

#[test]
fn variables_make_no_command_line_wrong() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(40_000, 54), &[]);
    let arguments = ["--exit-when-done", "--neighbour", "127.0.0.1:1", "--links", "2", "-v"];
    let mut command = member_command(&place, &manifest, &place.path("seed"), &arguments);
    for (name, value) in [("DHT_BOOTSTRAP", "localhost"), ("NO_SEARCH", "0"), ("QUIET", "0")] {
        command.env(format!("ORCHESTRA_{name}"), value);
    }
    Program::start(command).end().with(0);
}

#[test]
fn what_is_remembered_is_not_believed_with_check() {
    let place = Place::new();
    let manifest = compose(&place, "x.bin", &bytes(400_000, 53), &[]);
    let checks = |arguments: &[&str]| {
        let arguments = [&["--exit-when-done"], arguments].concat();
        let ended = member(&place, &manifest, &place.path("seed"), &arguments).end().with(0);
        ended.events().any(|event| event["event"] == "check")
    };
    assert!(!checks(&[]), "composer left a proof");
    assert!(checks(&["--check"]));
    assert!(!checks(&[]));
}
