//! Members on hosts of their own, behind links of a known rate.

use std::{env, fs, path::PathBuf, process::Command};

use crate::support::{Place, Program, bytes, compose, conductor_command, listening, member_command, skip, tool};

const SIZE: usize = 8 << 20;

/// Two members fetch over links of 50 Mbit/s: the seed sends not much more than one copy, they help each other.
#[test]
fn three_hosts_on_shaped_links() {
    in_lab("network::three_hosts_on_shaped_links", inside);
}

/// Runs `inside`, the body of the test of this name, where it is alone with its hosts; says so where that is not allowed.
pub fn in_lab(test: &str, inside: impl FnOnce()) {
    if env::var_os("NETLAB_ALONE").is_some() {
        return inside();
    }
    if !tool("ip (iproute2)", Command::new("ip").arg("-V")) {
        return;
    }
    let mut alone = Command::new(netlab());
    alone.arg("alone").arg(env::current_exe().expect("a path")).args(["--exact", test, "--nocapture"]);
    let ended = Program::start(alone).end();
    match ended.status.code() {
        Some(77) => skip("network namespaces are not allowed here"),
        _ => ended.with(0).says("1 passed"),
    }
}

/// Does this to the lab, such as `up 3`.
pub fn lab(arguments: &[&str]) {
    let mut command = Command::new(netlab());
    command.args(arguments);
    Program::start(command).end().with(0);
}

fn inside() {
    let place = Place::new();
    lab(&["up", "3", "50mbit"]);
    let (_conductor, _) = listening(on("h1", &conductor_command(&place, "10.77.0.11:9999")));
    let data = bytes(SIZE, 40);
    let manifest = compose(&place, "big.bin", &data, &["10.77.0.11", "64K"]);
    let seed = member_command(&place, &manifest, &place.path("seed"), &["--until-all", "3"]);
    let mut seed = Program::start(on("h1", &seed));
    seed.event_named("whole");
    let fetching = ["h2", "h3"].map(|host| {
        // Each stays until the other has it too.
        let command = member_command(&place, &manifest, &place.path(host), &["--until-all", "3"]);
        (host, Program::start(on(host, &command)))
    });
    for (host, program) in fetching {
        program.end().with(0);
        assert!(fs::read(place.path(host).join("big.bin")).expect("a file") == data, "{host} has something else");
    }
    let sent = seed.end().with(0).last()["uploaded"].as_u64().expect("a number");
    assert!(sent < SIZE as u64 * 3 / 2, "the seed sent {sent} bytes of {SIZE}: the two did not help each other");
}

pub fn netlab() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lab/netlab")
}

/// The same command on this host of the lab.
pub fn on(host: &str, command: &Command) -> Command {
    let mut there = Command::new(netlab());
    there.args(["run", host]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => there.env(name, value),
            None => there.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        there.current_dir(folder);
    }
    there
}
