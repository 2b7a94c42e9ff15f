//! `member get HOST/NAME` from a host where there is nothing yet, or a member alone.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    netlab::{in_lab, lab, on},
    support::{Place, Program, bytes, conductor_command, listening},
};

/// Two hosts: on h1 there will be `x.bin`, on h2 it is wanted.
struct Stage {
    place: Place,
    data: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        lab(&["up", "2"]);
        let (place, data) = (Place::new(), bytes(300_000, 120));
        fs::write(place.folder("h1").join("x.bin"), &data).expect("written");
        Self { place, data }
    }

    /// A program on this host, with a folder and a state of its own there.
    fn start(&self, host: &str, program: &str, arguments: &[&str]) -> Program {
        let mut command: Command = self.place.command(program);
        command.current_dir(self.place.folder(host)).args(arguments);
        // A member that tells nothing to its network answers no questions either.
        command.env("XDG_STATE_HOME", self.place.path(&format!("state-{host}"))).env_remove("ORCHESTRA_NO_LAN");
        Program::start(on(host, &command))
    }

    fn share(&self, arguments: &[&str]) -> Program {
        let words = [&["share", "x.bin", "--json"], arguments].concat();
        let mut sharer = self.start("h1", env!("CARGO_BIN_EXE_member"), &words);
        sharer.event_named("sharing");
        sharer
    }

    fn get(&self, arguments: &[&str]) -> Program {
        let words = [&["get", "10.77.0.11/x.bin", "--exit-when-done"], arguments].concat();
        self.start("h2", env!("CARGO_BIN_EXE_member"), &words)
    }

    /// Waits until it says that it waits for this.
    fn waits_for(getting: &mut Program, what: &str) {
        getting.event(what, |event| {
            event["event"] == "waiting" && event["what"].as_str().is_some_and(|said| said.contains(what))
        });
    }

    #[track_caller]
    fn is_whole(&self) {
        assert!(fs::read(self.place.path("h2").join("x.bin")).expect("a file") == self.data, "it is something else");
    }
}

/// First nobody is there, then a conductor, then somebody who has it.
#[test]
fn a_conductor_and_a_name_that_come_later_are_waited_for() {
    in_lab("later::a_conductor_and_a_name_that_come_later_are_waited_for", || {
        let stage = Stage::new();
        let mut getting = stage.get(&["--json", "--timeout", "80s"]);
        Stage::waits_for(&mut getting, "conductor 10.77.0.11:9999 to answer");
        let _conductor = listening(on("h1", &conductor_command(&stage.place, ":9999")));
        Stage::waits_for(&mut getting, "somebody to share x.bin: conductor 10.77.0.11:9999 has none yet");
        let words = ["x.bin", "10.77.0.11", "--register"];
        stage.start("h1", env!("CARGO_BIN_EXE_composer"), &words).end().with(0);
        let _seed = stage.start("h1", env!("CARGO_BIN_EXE_member"), &["x.orch"]);
        getting.end().with(0);
        stage.is_whole();
    });
}

/// The sharer is its own conductor; for people, and with no percentage of what is not known yet.
#[test]
fn a_sharer_that_comes_later_is_waited_for() {
    in_lab("later::a_sharer_that_comes_later_is_waited_for", || {
        let stage = Stage::new();
        let mut getting = stage.get(&[]);
        let waiting = "x.bin: waiting for conductor 10.77.0.11:9999 to answer";
        getting.line(waiting, |line| (line == waiting).then_some(()));
        let _sharer = stage.share(&[]);
        let ended = getting.end().with(0);
        let before = ended.lines.iter().take_while(|line| !line.contains("x.bin: fetching"));
        let odd: Vec<_> = before.filter(|line| line.contains('%') || line.contains("0 of 0")).collect();
        assert!(odd.is_empty(), "{odd:?}");
        stage.is_whole();
    });
}

/// Nobody is a conductor there: the member is asked, at its own port.
#[test]
fn a_host_that_shares_and_is_no_conductor_is_asked_as_a_member() {
    in_lab("later::a_host_that_shares_and_is_no_conductor_is_asked_as_a_member", || {
        let stage = Stage::new();
        let sharer = stage.share(&["--no-conductor"]);
        stage.get(&["--timeout", "60s"]).end().with(0);
        stage.is_whole();
        // Also one that comes later.
        drop(sharer);
        fs::remove_file(stage.place.path("h2").join("x.bin")).expect("removed");
        let mut getting = stage.get(&["--json"]);
        Stage::waits_for(&mut getting, "conductor 10.77.0.11:9999 to answer");
        let _sharer = stage.share(&["--no-conductor"]);
        getting.end().with(0);
        stage.is_whole();
    });
}

/// A conductor that listens on the loopback alone leads nobody else anywhere: not in line 1 of what a member hands out, and
/// not in what composer says of it. One that listens everywhere does.
#[test]
fn a_conductor_on_the_loopback_is_named_to_nobody_else() {
    in_lab("later::a_conductor_on_the_loopback_is_named_to_nobody_else", || {
        for (listen, line_1, said) in [
            (
                "127.0.0.1:9999",
                "0.0.0.0:0",
                "only this machine reaches, which fetches it with: member get 127.0.0.1:9999/x.bin",
            ),
            (":9999", "10.77.0.11:9999", "others fetch it with: member get 10.77.0.11:9999/x.bin"),
        ] {
            let stage = Stage::new();
            let (conductor, _) = listening(on("h1", &conductor_command(&stage.place, listen)));
            let words = ["x.bin", "127.0.0.1:9999", "--register"];
            stage.start("h1", env!("CARGO_BIN_EXE_composer"), &words).end().with(0).says(said);
            let mut seed = stage.start("h1", env!("CARGO_BIN_EXE_member"), &["x.orch", "--json"]);
            seed.event_named("whole");
            let asking = "exec 3<>/dev/tcp/10.77.0.11/9998; cat <&3 & printf 'GET /compositions/x.bin.orch HTTP/1.1\\r\\n\
                          Host: 10.77.0.11:9998\\r\\nConnection: close\\r\\n\\r\\n' >&3; wait";
            let answer = stage.start("h2", "bash", &["-c", asking]).end().with(0);
            assert!(answer.lines.iter().any(|line| line == line_1), "{listen}: {:?}", answer.lines);
            drop((seed, conductor));
            lab(&["down"]);
        }
    });
}

/// As long as `--timeout` says, and no longer: 7 where nobody answered, 10 where nobody knew the name.
#[test]
fn waiting_ends_with_what_was_lacking() {
    in_lab("later::waiting_ends_with_what_was_lacking", || {
        let stage = Stage::new();
        let timed = |arguments: &[&str], code| {
            let start = Instant::now();
            let ended = stage.get(arguments).end().with(code);
            (start.elapsed(), ended)
        };
        let (took, ended) = timed(&["--timeout", "2s"], 7);
        assert!(took >= Duration::from_secs(2), "{took:?}");
        ended.says("conductor 10.77.0.11:9999 does not answer");
        let (_, ended) = timed(&["--timeout", "0"], 7);
        assert!(!ended.lines.concat().contains("waiting"), "{:?}", ended.lines);
        let _conductor = listening(on("h1", &conductor_command(&stage.place, ":9999")));
        let (took, ended) = timed(&["--timeout", "2s", "--json"], 10);
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert_eq!(ended.last()["code"], 10);
        timed(&["--timeout", "0"], 10);
    });
}
