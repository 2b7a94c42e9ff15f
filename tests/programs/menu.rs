//! `member` alone, on a real terminal: tmux is one that says what is on it.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, Place, Program, bytes, conductor, tool};

/// A terminal of 100 columns and 20 rows with a shell in it.
struct Terminal<'a> {
    place: &'a Place,
}

impl<'a> Terminal<'a> {
    /// In this folder of the place; None where there is no tmux.
    fn open(place: &'a Place, folder: &str) -> Option<Self> {
        if !tool("tmux", Command::new("tmux").arg("-V")) {
            return None;
        }
        let terminal = Self { place };
        let folder = place.folder(folder);
        let session = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "20", "-c"];
        let mut command = terminal.command();
        command.args(session).arg(folder).arg("PS1='READY> ' exec sh");
        assert!(command.status().expect("tmux").success());
        terminal.shows("READY>");
        Some(terminal)
    }

    fn command(&self) -> Command {
        let mut command = self.place.command("tmux");
        command
            .arg("-S")
            .arg(self.place.path("tmux"))
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh");
        command
    }

    /// Types a line, and Enter.
    fn types(&self, line: &str) {
        self.sends(&["-l", line]);
        self.sends(&["Enter"]);
    }

    /// Presses keys, by tmux's names for them.
    fn sends(&self, keys: &[&str]) {
        assert!(self.command().arg("send-keys").args(keys).status().expect("tmux").success());
    }

    fn text(&self) -> String {
        let captured = self.command().args(["capture-pane", "-p"]).output().expect("tmux");
        String::from_utf8_lossy(&captured.stdout).into_owned()
    }

    /// Waits until these words are on the screen; gives all of it.
    #[track_caller]
    fn shows(&self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if text.contains(words) {
                return text;
            }
            assert!(Instant::now() < until, "{words:?} is not on the screen:\n{text}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// `member` with these arguments, and how it ended behind it.
    fn starts_menu(&self, arguments: &str) {
        let member = env!("CARGO_BIN_EXE_member");
        self.types(&format!("clear; stty -a >before; {member} --port 0 {arguments}; echo ended $?; stty -a >after"));
    }

    /// The process that runs in the shell.
    fn child(&self) -> Pid {
        let shell = self.command().args(["display-message", "-p", "#{pane_pid}"]).output().expect("tmux");
        let shell = String::from_utf8_lossy(&shell.stdout).trim().to_owned();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("children");
        Pid::from_raw(children.trim().parse().expect("one child")).expect("a process")
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").status();
    }
}

/// `member share` of this folder, at this conductor.
fn share(place: &Place, folder: &str, conductor: &str, arguments: &[&str]) -> Program {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.arg("share").arg(place.path(folder)).args(["--conductor", conductor, "--port", "0", "--json"]);
    let mut program = Program::start({
        command.args(arguments);
        command
    });
    program.event_named("sharing");
    program
}

/// No conductor at all: the neighbours are asked, and give what they found.
#[test]
fn neighbours_are_searched() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    let data = bytes(500_000, 154);
    fs::write(place.folder("isos").join("big-1.iso"), &data).expect("written");
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.args(["share", "isos", "--no-conductor", "--port", "0", "--json", "--name", "seed-1"]);
    let mut seed = Program::start(command);
    let port = seed.event_named("sharing")["port"].as_u64().expect("a port");
    terminal.starts_menu(&format!("--conductor 127.0.0.1:1 --neighbour 127.0.0.1:{port}"));
    terminal.shows("does not answer");
    terminal.sends(&["n"]);
    terminal.shows("seed-1");
    terminal.sends(&["Escape"]);
    terminal.shows("does not answer");
    terminal.sends(&["s"]);
    terminal.types("BIG iso");
    terminal.shows("> big-1.iso");
    terminal.sends(&["Enter"]);
    terminal.shows("whole, sharing");
    assert!(fs::read(place.path("work/big-1.iso")).expect("a file") == data, "the copy is different");
    terminal.sends(&["q"]);
    terminal.shows("ended 0");
}

#[test]
fn a_composition_is_picked_fetched_and_located() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = [bytes(700_000, 150), bytes(300_000, 151)];
    fs::write(place.folder("isos").join("a.iso"), &data[0]).expect("written");
    fs::write(place.path("isos/b.iso"), &data[1]).expect("written");
    let _seed = share(&place, "isos", &address, &["--name", "seed-1"]);
    terminal.starts_menu(&format!("--conductor {address} --name ws-05"));
    terminal.shows("2 compositions");
    terminal.shows("> a.iso");
    terminal.sends(&["Enter", "j", "g"]);
    terminal.shows("a.iso: 684 KiB whole and verified");
    terminal.shows("b.iso: 293 KiB whole and verified");
    assert!(fs::read(place.path("work/a.iso")).expect("a file") == data[0], "the copy is different");
    assert!(fs::read(place.path("work/b.iso")).expect("a file") == data[1], "the copy is different");
    terminal.sends(&["l"]);
    let text = terminal.shows("members that have it:");
    assert!(
        text.starts_with("b.iso") && text.contains("seed-1") && text.contains("ws-05") && text.contains('▒'),
        "{text}"
    );
    terminal.sends(&["q", "h"]);
    terminal.shows("fetched a.iso, 684 KiB in");
    terminal.sends(&["Escape"]);
    terminal.shows("2 compositions");
    terminal.sends(&["/"]);
    terminal.sends(&["-l", "B."]);
    assert!(!terminal.shows("1 of 2 compositions").contains("a.iso  "));
    terminal.sends(&["Enter", "q"]);
    let text = terminal.shows("ended 0");
    assert!(text.contains("a.iso: 684 KiB whole and verified in"), "{text}");
    let modes = |name: &str| fs::read_to_string(place.path("work").join(name)).expect("modes");
    terminal.types("echo again");
    terminal.shows("\nagain");
    assert_eq!(modes("before"), modes("after"));

    let mut history = place.command(env!("CARGO_BIN_EXE_member"));
    history.args(["history", "--json"]);
    let history: Vec<_> = Program::start(history).end().with(0).events().collect();
    let fetched =
        history.iter().find(|one| one["what"] == "fetched" && one["name"] == "a.iso").expect("it was fetched");
    assert_eq!(fetched["bytes"], 700_000);
    assert!(fetched["path"].as_str().is_some_and(|path| path.ends_with("/work/a.iso")), "{fetched}");
    let log = fs::read_to_string(place.path("work/logs/member.log")).expect("a log");
    assert!(log.contains("fetched a.iso, 684 KiB"), "{log}");
}

#[test]
fn what_is_stopped_goes_on_and_a_signal_ends_it() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(3 << 20, 152);
    fs::write(place.folder("isos").join("a.iso"), &data).expect("written");
    let _seed = share(&place, "isos", &address, &["--upload", "400K"]);
    terminal.starts_menu(&format!("--conductor {address}"));
    terminal.shows("> a.iso");
    terminal.sends(&["Enter"]);
    terminal.shows(" left");
    terminal.sends(&["Escape"]);
    terminal.shows("stopped at ");
    assert!(place.path("work/a.iso.part").exists());
    terminal.sends(&["Enter"]);
    terminal.shows("fetching the missing");
    kill_process(terminal.child(), Signal::TERM).expect("a process");
    let text = terminal.shows("ended 0");
    assert!(text.contains("a.iso: interrupted;") && text.contains("kept"), "{text}");
    terminal.starts_menu(&format!("--conductor {address}"));
    terminal.shows("> a.iso");
    terminal.sends(&["Enter"]);
    terminal.shows("whole, sharing");
    assert!(fs::read(place.path("work/a.iso")).expect("a file") == data, "the copy is different");
}

#[test]
fn another_file_in_its_place_is_repaired_or_the_fetch_goes_elsewhere() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(700_000, 155);
    fs::write(place.folder("isos").join("a.iso"), &data).expect("written");
    fs::write(place.path("work/a.iso"), &data[..600_000]).expect("written");
    let _seed = share(&place, "isos", &address, &[]);
    terminal.starts_menu(&format!("--conductor {address}"));
    terminal.shows("> a.iso");
    terminal.sends(&["Enter"]);
    terminal.shows("another file: R repairs, o elsewhere");
    terminal.sends(&["o"]);
    terminal.shows("fetch into folder: _");
    terminal.types("copy");
    terminal.shows("whole, sharing");
    assert!(fs::read(place.path("work/copy/a.iso")).expect("a file") == data, "the copy is different");
    assert_eq!(fs::read(place.path("work/a.iso")).expect("a file").len(), 600_000, "the other file is left alone");
    terminal.sends(&["Escape"]);
    terminal.shows("  whole\n");
    terminal.sends(&["Enter"]);
    terminal.shows("another file: R repairs, o elsewhere");
    terminal.sends(&["R"]);
    terminal.shows("whole, sharing");
    assert!(fs::read(place.path("work/a.iso")).expect("a file") == data, "it is repaired");
    terminal.sends(&["q"]);
    let text = terminal.shows("ended 0");
    assert!(text.contains("./a.iso") && text.contains("./copy/a.iso") && !text.contains("error:"), "{text}");
}

#[test]
fn a_terminal_that_cannot_draw_is_told_why() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    terminal.types(&format!("TERM=dumb {}; echo ended $?", env!("CARGO_BIN_EXE_member")));
    terminal.shows("TERM=dumb says");
    terminal.shows("ended 2");
}

#[test]
fn a_folder_is_shared_from_it() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(400_000, 153);
    fs::write(place.folder("work/isos").join("vm.qcow2"), &data).expect("written");
    terminal.starts_menu(&format!("--conductor {address}"));
    terminal.shows("nothing is shared yet");
    terminal.sends(&["a"]);
    terminal.sends(&["-l", "iso"]);
    terminal.sends(&["Tab"]);
    terminal.shows("share: isos/_");
    terminal.sends(&["Enter"]);
    terminal.shows("shared from here: vm.qcow2");
    let text = terminal.shows("1 composition\n");
    assert!(
        text.contains("On this machine:") && text.contains("member get"),
        "the conductor is on the loopback: {text}"
    );
    let mut get = place.command(env!("CARGO_BIN_EXE_member"));
    get.args(["get", &format!("{address}/vm.qcow2"), "-o", "copy", "--exit-when-done", "--json", "--port", "0"]);
    Program::start(get).end().with(0);
    assert!(fs::read(place.path("copy/vm.qcow2")).expect("a file") == data, "the copy is different");
    terminal.sends(&["Escape"]);
    // Nobody holds it now: it is counted and not listed, unless that is wanted.
    terminal.shows("0 compositions; 1 more that nobody holds");
    terminal.sends(&["."]);
    terminal.shows("  0/0");
    assert!(!terminal.text().contains("shared from here"), "it is not shared any more");
    terminal.sends(&["a"]);
    terminal.types("no-such");
    terminal.shows("error: no-such: No such file");
    terminal.sends(&["C-c"]);
    terminal.shows("ended 0");
}

#[test]
fn a_small_terminal_and_another_size_do() {
    let place = Place::new();
    let Some(terminal) = Terminal::open(&place, "work") else { return };
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    terminal.starts_menu(&format!("--conductor {address}"));
    terminal.shows("h history");
    for (columns, rows, words) in [("40", "8", "Enter fetch   a share   ? keys   q quit"), ("130", "30", "r refresh")] {
        assert!(
            terminal.command().args(["resize-window", "-x", columns, "-y", rows]).status().expect("tmux").success()
        );
        terminal.shows(words);
        terminal.shows("Orchestra  conductor");
    }
    // People get their shell meanwhile, and the menu back.
    terminal.sends(&["C-z"]);
    terminal.shows("READY>");
    terminal.types("fg");
    terminal.shows("nothing is shared yet");
    terminal.sends(&["q"]);
    terminal.shows("READY>");
}

#[test]
fn without_a_terminal_there_is_no_menu() {
    let place = Place::new();
    Program::start(place.command(env!("CARGO_BIN_EXE_member"))).end().with(2).says("FILE.orch");
}
