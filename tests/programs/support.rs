//! Real programs as tests see them: what they print, line by line, and how they end.
//!
//! Nothing here sleeps: a test waits for a line or for an end, and fails with all that was printed when that does not
//! come within [`PATIENCE`].

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A folder of the test's own; everything in it is gone at the end.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A folder in it, made when missing.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// A command that runs here, with nothing of the caller's settings.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORCHESTRA_")) {
            command.env_remove(name);
        }
        command
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("NO_COLOR", "1")
            // Tests at the same time share the same bytes: on the local network they would meet.
            .env("ORCHESTRA_NO_LAN", "1")
            .env_remove("RUST_LOG");
        command
    }
}

/// `size` bytes that do not repeat, the same for the same seed.
pub fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    data
}

/// What a program has printed so far.
#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    /// Streams that have not ended yet.
    open: usize,
}

/// A program that runs; killed when the test forgets it.
pub struct Program {
    name: String,
    child: Child,
    printed: Arc<(Mutex<Printed>, Condvar)>,
    /// Lines that [`Program::line`] has passed.
    seen: usize,
}

impl Program {
    pub fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let printed = Arc::new((Mutex::new(Printed { lines: Vec::new(), open: 2 }), Condvar::new()));
        read_into(child.stdout.take().expect("a pipe"), printed.clone());
        read_into(child.stderr.take().expect("a pipe"), printed.clone());
        Self { name, child, printed, seen: 0 }
    }

    /// The next line, of what it prints from now on, that `wanted` takes something from.
    pub fn line<T>(&mut self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let (lock, changed) = &*self.printed;
        let until = Instant::now() + PATIENCE;
        let mut printed = lock.lock().expect("no panic");
        loop {
            while self.seen < printed.lines.len() {
                self.seen += 1;
                if let Some(found) = wanted(&printed.lines[self.seen - 1]) {
                    return found;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if printed.open == 0 || left.is_zero() {
                panic!("{} did not print {what}; it printed:\n{}", self.name, printed.lines.join("\n"));
            }
            printed = changed.wait_timeout(printed, left).expect("no panic").0;
        }
    }

    /// The next event, among its lines of JSON, that `wanted` accepts.
    pub fn event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.line(what, |line| serde_json::from_str(line).ok().filter(|event| wanted(event)))
    }

    /// The next event of this name.
    pub fn event_named(&mut self, name: &str) -> Value {
        self.event(name, |event| event["event"] == name)
    }

    /// Waits until it has ended: how, and all that it printed.
    pub fn end(mut self) -> Ended {
        let (lock, changed) = &*self.printed;
        let printed = lock.lock().expect("no panic");
        let (printed, waited) = changed.wait_timeout_while(printed, PATIENCE, |p| p.open > 0).expect("no panic");
        let lines = printed.lines.clone();
        assert!(!waited.timed_out(), "{} does not end; it printed:\n{}", self.name, lines.join("\n"));
        let status = self.child.wait().expect("a child");
        Ended { name: self.name.clone(), status, lines }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Ends it with this signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal)
            .unwrap_or_else(|e| panic!("cannot signal {}: {e}", self.name));
    }

    /// Ends it at once, its ports free again.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_into(stream: impl Read + Send + 'static, printed: Arc<(Mutex<Printed>, Condvar)>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            printed.0.lock().expect("no panic").lines.push(line);
            printed.1.notify_all();
        }
        printed.0.lock().expect("no panic").open -= 1;
        printed.1.notify_all();
    });
}

/// A program that has ended.
pub struct Ended {
    name: String,
    pub status: ExitStatus,
    pub lines: Vec<String>,
}

impl Ended {
    /// Fails the test unless it ended with this code.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        let text = self.lines.join("\n");
        assert_eq!(self.status.code(), Some(code), "{} ended with {}; it printed:\n{text}", self.name, self.status);
        self
    }

    pub fn events(&self) -> impl Iterator<Item = Value> {
        self.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok())
    }

    /// The last event, which has to be `end`.
    #[track_caller]
    pub fn last(&self) -> Value {
        let last = self.events().last().unwrap_or_else(|| panic!("{} told no event", self.name));
        assert_eq!(last["event"], "end", "the last event of {}", self.name);
        last
    }

    #[track_caller]
    pub fn says(&self, words: &str) {
        let text = self.lines.join("\n");
        assert!(text.contains(words), "{} did not say {words:?}; it said:\n{text}", self.name);
    }
}

/// A conductor that listens here, and where that is when the port was 0.
pub fn conductor(place: &Place, listen: &str) -> (Program, String) {
    listening(conductor_command(place, listen))
}

pub fn conductor_command(place: &Place, listen: &str) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_conductor"));
    command.args(["--json", "--listen", listen]);
    command
}

/// Starts a conductor, and waits until it says where it listens.
pub fn listening(command: Command) -> (Program, String) {
    let mut program = Program::start(command);
    let listening = program.event_named("listening");
    let address = listening["addresses"][0].as_str().expect("an address").to_owned();
    (program, address)
}

/// Composes `data` under `seed/NAME`; gives its manifest, `NAME.orch`.
pub fn compose(place: &Place, name: &str, data: &[u8], arguments: &[&str]) -> PathBuf {
    let file = place.folder("seed").join(name);
    fs::write(&file, data).expect("written");
    let manifest = place.path(&format!("{name}.orch"));
    let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
    command.arg(&file).args(arguments).arg("-o").arg(&manifest);
    Program::start(command).end().with(0);
    manifest
}

/// A member with `--json` on a free port, for the manifest, in the folder.
pub fn member(place: &Place, manifest: &Path, folder: &Path, arguments: &[&str]) -> Program {
    Program::start(member_command(place, manifest, folder, arguments))
}

pub fn member_command(place: &Place, manifest: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.arg(manifest).arg("-o").arg(folder).args(["--port", "0", "--json"]).args(arguments);
    // Each folder stands for a machine, and for the same one at each start.
    command.env("ORCHESTRA_MACHINE", folder.file_name().expect("a folder"));
    command
}

impl Program {
    /// Waits until it has fetched something and not everything; gives that `progress`.
    pub fn midway(&mut self) -> Value {
        let (done, all) = ("bytes_done", "bytes");
        let number = |event: &Value, key: &str| event[key].as_u64().unwrap_or(0);
        self.event("that it is midway", |event| {
            event["event"] == "progress" && number(event, done) > 0 && number(event, done) < number(event, all)
        })
    }
}

/// A member that shares what [`compose`] read, once it is ready to.
pub fn seed(place: &Place, manifest: &Path, arguments: &[&str]) -> Program {
    let mut seed = member(place, manifest, &place.path("seed"), arguments);
    seed.event_named("whole");
    seed
}

/// Fetches into this folder of the place, and waits for the end.
pub fn fetch(place: &Place, manifest: &Path, folder: &str, arguments: &[&str]) -> Ended {
    let arguments = [&["--exit-when-done"], arguments].concat();
    member(place, manifest, &place.path(folder), &arguments).end()
}

/// The port that a member says it listens on.
pub fn port(member: &mut Program) -> u64 {
    member.event_named("start")["port"].as_u64().expect("a port")
}

/// Says that a test was not done, past the capture of what passing tests print.
pub fn skip(why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
}

/// Whether this tool is there: `probe` ends well. Where CI promises every tool, a missing one fails the test.
pub fn tool(name: &str, probe: &mut Command) -> bool {
    let there =
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !there {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{name} is missing");
        skip(&format!("{name} is not installed"));
    }
    there
}
