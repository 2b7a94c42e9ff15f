//! Commands on hosts of their own: network namespaces, with `tests/lab/netlab`.

use std::{env, path::PathBuf, process::Command};

use crate::support::{Program, skip, tool};

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
