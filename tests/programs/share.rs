//! Files and folders shared by name: hashed once, watched, asleep while nobody wants them, fetched with one command.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    network::{netlab, on},
    support::{Ended, PATIENCE, Place, Program, bytes, conductor, skip, tool},
};

fn command(place: &Place, word: &str, arguments: &[&str]) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.arg(word).args(arguments);
    command
}

/// `member share` of this folder or file, with `--json`, at this conductor.
fn share(place: &Place, path: &Path, conductor: &str, arguments: &[&str]) -> Program {
    let path = path.to_str().expect("UTF-8");
    let arguments = [&[path, "--conductor", conductor, "--port", "0", "--json"], arguments].concat();
    Program::start(command(place, "share", &arguments))
}

/// `member get` of these into this folder, to the end.
fn get(place: &Place, folder: &str, names: &[&str]) -> Ended {
    let folder = place.path(folder);
    let folder = ["-o", folder.to_str().expect("UTF-8"), "--exit-when-done", "--json", "--port", "0"];
    Program::start(command(place, "get", &[names, &folder].concat())).end()
}

/// What this conductor lists, by name.
fn listed(place: &Place, conductor: &str) -> Vec<Value> {
    let list = command(place, "list", &["--all", "--json", "--conductor", conductor]);
    Program::start(list).end().with(0).events().collect()
}

fn names(place: &Place, conductor: &str) -> Vec<String> {
    listed(place, conductor).iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

/// Waits until this holds.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it did not come to pass that {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_folder_is_shared_and_followed() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("isos");
    let data: Vec<_> = (0..3).map(|n| bytes(300_000 + n, 70 + n as u64)).collect();
    fs::write(folder.join("a.iso"), &data[0]).expect("written");
    fs::write(folder.join("b b.iso"), &data[1]).expect("written");
    for none in [".hidden", "c.part", "c.orch"] {
        fs::write(folder.join(none), "x").expect("written");
    }
    let mut program = share(&place, &folder, &address, &[]);
    let sharing = program.event_named("sharing");
    assert_eq!((&sharing["files"], &sharing["size"]), (&2.into(), &600_001.into()));
    wait_until("both are registered", || names(&place, &address) == ["a.iso", "b b.iso"]);
    let both = [&format!("{address}/a.iso")[..], &format!("{address}/b b.iso")];
    let ended = get(&place, "copies", &both).with(0);
    assert_eq!(ended.events().filter(|event| event["event"] == "end").count(), 2);
    assert!(fs::read(place.path("copies/a.iso")).expect("a file") == data[0]);
    assert!(fs::read(place.path("copies/b b.iso")).expect("a file") == data[1]);
    // Which one is meant is not known.
    get(&place, "copies", &[&format!("{address}/")]).with(2).says("b b.iso");

    fs::write(folder.join("c.iso"), &data[2]).expect("written");
    let shared = program.event_named("shared");
    assert_eq!((&shared["name"], &shared["size"]), (&"c.iso".into(), &300_002.into()));
    fs::remove_file(folder.join("a.iso")).expect("removed");
    assert_eq!(program.event_named("withdrawn")["name"], "a.iso");
    wait_until("one is out and one in", || names(&place, &address) == ["b b.iso", "c.iso"]);
    fs::write(folder.join("c.iso"), &data[0]).expect("written");
    let changed = program.event_named("shared");
    assert!(changed["name"] == "c.iso" && changed["info_hash"] != shared["info_hash"]);
    let is_new = |one: &Value| one["name"] == "c.iso" && one["info_hash"] == changed["info_hash"];
    wait_until("the new one is registered", || listed(&place, &address).iter().any(is_new));
    get(&place, "changed", &[&format!("{address}/c.iso")]).with(0);
    assert!(fs::read(place.path("changed/c.iso")).expect("a file") == data[0]);
    program.signal(Signal::TERM);
    program.end().with(0);
    assert!(listed(&place, &address).iter().all(|one| one["members"] == 0), "it took leave");
}

#[test]
fn a_folder_in_a_folder_is_one_composition() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("shelf");
    let photos = place.folder("shelf/photos/deep").join("..");
    let (one, two) = (bytes(200_000, 91), bytes(70_000, 92));
    fs::write(photos.join("deep/1.jpg"), &one).expect("written");
    fs::write(photos.join(".2"), &two).expect("written");
    fs::write(folder.join("x"), "file").expect("written");
    place.folder("shelf/empty");
    place.folder("shelf/.git");
    let mut program = share(&place, &folder, &address, &[]);
    assert_eq!(program.event_named("sharing")["files"], 2);
    wait_until("both are registered", || names(&place, &address) == ["photos", "x"]);
    get(&place, "copy", &[&format!("{address}/photos")]).with(0);
    assert!(fs::read(place.path("copy/photos/deep/1.jpg")).expect("a file") == one);
    assert!(fs::read(place.path("copy/photos/.2")).expect("a file") == two);

    fs::write(photos.join("deep/3"), "new").expect("written");
    let changed = program.event_named("shared");
    assert_eq!((&changed["name"], &changed["size"]), (&"photos".into(), &270_003.into()));
    let is_new = |one: &Value| one["info_hash"] == changed["info_hash"];
    wait_until("the new one is registered", || listed(&place, &address).iter().any(is_new));
    get(&place, "changed", &[&format!("{address}/photos")]).with(0);
    assert_eq!(fs::read(place.path("changed/photos/deep/3")).expect("a file"), b"new");

    fs::rename(photos.join("deep"), photos.join("deeper")).expect("renamed");
    assert_ne!(program.event_named("shared")["info_hash"], changed["info_hash"], "its paths are others");
    fs::rename(folder.join("photos"), place.path("away")).expect("moved");
    assert_eq!(program.event_named("withdrawn")["name"], "photos");
    program.signal(Signal::TERM);
    program.end().with(0);
}

/// One of two equal files is enough; when it goes, the other one takes its place.
#[test]
fn of_two_equal_files_the_other_is_shared_when_one_goes() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes(300_000, 93);
    let [one, two] = ["one", "two"].map(|name| place.folder(name).join("x.iso"));
    for path in [&one, &two] {
        fs::write(path, &data).expect("written");
    }
    let folder = place.path("two");
    let mut program = share(&place, &place.path("one"), &address, &[folder.to_str().expect("UTF-8")]);
    let idle =
        program.event("one of them is idle", |event| event["text"].as_str().is_some_and(|t| t.contains("the same")));
    let idle_is = |path: &Path| idle["text"].as_str().is_some_and(|text| text.contains(path.to_str().expect("UTF-8")));
    let (gone, left) = if idle_is(&two) { (one, two) } else { (two, one) };
    wait_until("it is registered", || names(&place, &address) == ["x.iso"]);
    fs::remove_file(gone).expect("removed");
    program.event_named("withdrawn");
    assert_eq!(program.event_named("shared")["path"], left.to_str().expect("UTF-8"));
    let is_there = |one: &Value| one["name"] == "x.iso" && one["members"] == 1;
    wait_until("it is registered again", || listed(&place, &address).iter().any(is_there));
    get(&place, "copy", &[&format!("{address}/x.iso")]).with(0);
    assert!(fs::read(place.path("copy/x.iso")).expect("a file") == data);
}

#[test]
fn what_was_hashed_once_is_remembered() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("isos");
    let data = bytes(500_000, 75);
    fs::write(folder.join("a.iso"), &data).expect("written");
    let hashed = |log: &str| {
        let text = fs::read_to_string(place.path(log).join("member.log")).expect("a log");
        text.contains(": hashed")
    };
    for (log, expected, check) in [("one", true, false), ("two", false, false), ("three", true, true)] {
        let path = place.path(log);
        let mut arguments = vec!["--log-dir", path.to_str().expect("UTF-8")];
        arguments.extend(check.then_some("--check"));
        let mut program = share(&place, &folder, &address, &arguments);
        program.event_named("sharing");
        program.signal(Signal::KILL);
        program.end();
        assert_eq!(hashed(log), expected, "{log}");
    }
    // It also serves what it did not hash.
    let _program = {
        let mut program = share(&place, &folder, &address, &[]);
        program.event_named("sharing");
        program
    };
    get(&place, "copy", &[&format!("{address}/")]).with(0);
    assert!(fs::read(place.path("copy/a.iso")).expect("a file") == data);
}

#[test]
fn a_manifest_beside_a_file_is_used() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("isos");
    let compose = |name: &str, more: &[&str]| {
        let mut composer = place.command(env!("CARGO_BIN_EXE_composer"));
        composer.arg(folder.join(name)).args(["--json", "-o"]).arg(folder.join(format!("{name}.orch"))).args(more);
        Program::start(composer).end().with(0).last()["info_hash"].clone()
    };
    fs::write(folder.join("a.iso"), bytes(500_000, 76)).expect("written");
    fs::write(folder.join("b.iso"), bytes(500_000, 77)).expect("written");
    let composed = compose("a.iso", &[&address, "64K"]);
    let stale = compose("b.iso", &[]);
    fs::write(folder.join("b.iso"), bytes(500_000, 78)).expect("written");
    let mut program = share(&place, &folder, &address, &[]);
    let a = program.event_named("shared");
    assert_eq!((&a["name"], &a["info_hash"], &a["part_size"]), (&"a.iso".into(), &composed, &65_536.into()));
    let warning = program.event_named("warning");
    assert!(warning["name"] == "b.iso" && warning["text"].as_str().is_some_and(|text| text.contains("manifest")));
    assert!(program.event_named("shared")["info_hash"] != stale);
    program.event_named("sharing");
    let _ = get(&place, "copy", &[&format!("{address}/a.iso")]).with(0);
}

#[test]
fn what_nobody_wants_sleeps_and_wakes_again() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let file = place.path("a.iso");
    fs::write(&file, bytes(500_000, 79)).expect("written");
    let logs = place.path("share-logs");
    let mut program = share(&place, &file, &address, &["--log-dir", logs.to_str().expect("UTF-8")]);
    program.event_named("sharing");
    let log = || fs::read_to_string(logs.join("member.log")).expect("a log");
    for time in 1..=2 {
        get(&place, &format!("copy{time}"), &[&format!("{address}/a.iso")]).with(0);
        wait_until("it sleeps", || log().matches(": sleeps").count() == time);
        assert_eq!(log().matches(": wakes").count(), time);
    }
}

#[test]
fn what_is_being_hashed_is_waited_for() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let coming = r#"[{"name":"a.iso","size":1000,"done":450}]"#;
    // Whoever hashes says so again and again.
    let tell = |body: &str| {
        let mut stream = TcpStream::connect(&address).expect("a conductor");
        let length = body.len();
        write!(stream, "PUT /coming HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(tell(coming).contains("a.iso"));
    assert!(tell("nonsense").starts_with("HTTP/1.1 400"));
    let folder = place.path("copy");
    let folder = ["-o", folder.to_str().expect("UTF-8"), "--exit-when-done", "--json", "--port", "0"];
    let by_name = format!("{address}/a.iso");
    let mut waiting = Program::start(command(&place, "get", &[&[&by_name[..]][..], &folder].concat()));
    let event = waiting.event_named("waiting");
    assert!(event["what"].as_str().is_some_and(|what| what.contains("hashing")), "{event}");
    tell(coming);
    let file = place.path("a.iso");
    fs::write(&file, bytes(200_000, 80)).expect("written");
    let _program = share(&place, &file, &address, &[]);
    waiting.end().with(0);
    assert!(fs::read(place.path("copy/a.iso")).is_ok());
}

/// A conductor that takes its time to hear what is being hashed, and knows nothing else.
fn slow_conductor() -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address").to_string();
    let knows = Arc::new(AtomicBool::new(false));
    let told = knows.clone();
    let answer = |mut stream: TcpStream, told: &AtomicBool| {
        let mut request = [0; 4096];
        let count = stream.read(&mut request).unwrap_or(0);
        if request[..count].starts_with(b"PUT /coming") {
            thread::sleep(Duration::from_millis(300));
            told.store(true, Ordering::SeqCst);
        }
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = told.clone();
            thread::spawn(move || answer(stream, &told));
        }
    });
    (address, knows)
}

#[test]
fn what_to_type_is_said_when_the_conductor_knows_of_it() {
    let place = Place::new();
    let (address, knows) = slow_conductor();
    fs::write(place.path("a.iso"), bytes(200_000, 94)).expect("written");
    let arguments = ["a.iso", "--conductor", &address, "--port", "0"];
    let mut program = Program::start(command(&place, "share", &arguments));
    program.line("what to type", |line| line.starts_with("On this machine:").then_some(()));
    assert!(knows.load(Ordering::SeqCst), "who types it now is told that there is no such thing");
}

/// Who has neither a conductor nor the local network to tell is told the info-hash, and others are not.
#[test]
fn what_nobody_is_told_of_is_found_by_its_info_hash() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    fs::write(place.path("a.iso"), bytes(200_000, 95)).expect("written");
    let run =
        |arguments: &[&str]| Program::start(command(&place, "share", &[&["a.iso", "--port", "0"], arguments].concat()));
    let mut told = run(&["--conductor", &address]);
    // In either order: how fast the conductor answers decides.
    let (mut typed, mut shared) = (false, false);
    told.line("what to type, and that it is shared", |line| {
        typed |= line.contains("member get");
        shared |= line.contains(": 195 KiB shared");
        (typed && shared).then_some(())
    });
    told.signal(Signal::TERM);
    assert!(!told.end().with(0).lines.concat().contains("nobody is told"));
    let mut untold = run(&["--no-conductor"]);
    let port = untold.line("how it is found", |line| {
        line.starts_with("nobody is told of it").then(|| line.rsplit_once(':').expect("a port").1.to_owned())
    });
    let hash = untold.line("its info-hash", |line| line.strip_suffix("  a.iso").map(str::to_owned));
    get(&place, "copy", &[&hash, "--peer", &format!("127.0.0.1:{port}"), "--conductor", "127.0.0.1:1"]).with(0);
}

#[test]
fn what_is_not_there_is_said() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    share(&place, &place.path("none"), &address, &[]).end().with(1).says("none");
    std::os::unix::fs::symlink("file", place.path("link")).expect("a link");
    fs::write(place.path("file"), "x").expect("written");
    // A link that is named is followed.
    share(&place, &place.path("link"), &address, &["--exit-when-done"]).end().with(0);
    std::os::unix::fs::symlink("nowhere", place.path("broken")).expect("a link");
    share(&place, &place.path("broken"), &address, &[]).end().with(1).says("symbolic link");
    let ended = share(&place, Path::new("/dev/null"), &address, &[]).end().with(1);
    ended.says("no ordinary file");
    assert!(!ended.lines.concat().contains("nothing to share yet"), "nothing can come");
    get(&place, "copy", &[&format!("{address}/"), "--timeout", "0"]).with(10).says("nothing is shared");
    let named = format!("{address}/none");
    let both = get(&place, "copy", &[&named, &named, "--timeout", "0"]).with(10);
    both.says("has no none");
    assert_eq!(both.events().filter(|event| event["event"] == "error").count(), 2, "each is told");
}

/// Both are there, and who asks for the name has to say which.
#[test]
fn two_of_one_name_are_both_listed() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let mut sharers = Vec::new();
    for n in 1..=2u8 {
        let path = place.folder(&format!("d{n}")).join("x.iso");
        fs::write(&path, bytes(100_000, n.into())).expect("written");
        sharers.push(share(&place, &path, &address, &[]));
        wait_until("it is listed", || names(&place, &address).len() == usize::from(n));
    }
    let warning = sharers[1].event_named("warning");
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("which is meant")), "{warning}");
    let asked = get(&place, "copy", &[&format!("{address}/x.iso")]).with(2);
    let hashes: Vec<_> =
        listed(&place, &address).iter().map(|one| one["info_hash"].as_str().expect("a hash").to_owned()).collect();
    asked.says(&hashes[0]);
    asked.says(&hashes[1]);
    get(&place, "copy", &[&format!("{address}/{}", hashes[1])]).with(0);
    // One that changes takes its own place alone.
    let path = place.path("d2/x.iso");
    fs::write(place.path("new"), bytes(100_000, 3)).expect("written");
    fs::rename(place.path("new"), &path).expect("renamed");
    wait_until("the new one is listed", || {
        let now = listed(&place, &address);
        let known = |hash: &String| now.iter().any(|one| one["info_hash"] == hash.as_str());
        now.len() == 2 && hashes.iter().filter(|hash| known(hash)).count() == 1
    });
}

/// What a share that ended leaves in the catalogue is not in the way of what somebody has.
#[test]
fn a_name_means_the_only_one_that_is_still_held() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = [bytes(100_000, 11), bytes(100_000, 12)];
    let mut sharers = Vec::new();
    for (n, data) in data.iter().enumerate() {
        let path = place.folder(&format!("d{n}")).join("x.iso");
        fs::write(&path, data).expect("written");
        sharers.push(share(&place, &path, &address, &[]));
        wait_until("it is listed", || names(&place, &address).len() == n + 1);
    }
    sharers[0].signal(Signal::TERM);
    sharers.remove(0).end().with(0);
    assert_eq!(names(&place, &address).len(), 2, "both are in the catalogue");
    get(&place, "copy", &[&format!("{address}/x.iso")]).with(0);
    assert!(fs::read(place.path("copy/x.iso")).expect("a file") == data[1]);
    let located = command(&place, "locate", &[&format!("{address}/x.iso"), "--json"]);
    assert_eq!(Program::start(located).end().with(0).events().count(), 1);
    sharers[0].signal(Signal::TERM);
    sharers.remove(0).end().with(0);
    get(&place, "other", &[&format!("{address}/x.iso")]).with(2).says("may mean 2");
}

/// One command on each side: who shares is the conductor too, and says what to type elsewhere.
#[test]
fn without_a_conductor_it_is_one_itself() {
    if env::var_os("NETLAB_ALONE").is_some() {
        return alone();
    }
    if !tool("ip (iproute2)", Command::new("ip").arg("-V")) {
        return;
    }
    let mut alone = Command::new(netlab());
    let this_test = ["--exact", "share::without_a_conductor_it_is_one_itself", "--nocapture"];
    alone.arg("alone").arg(env::current_exe().expect("a path")).args(this_test);
    let ended = Program::start(alone).end();
    match ended.status.code() {
        Some(77) => skip("network namespaces are not allowed here"),
        _ => drop(ended.with(0)),
    }
}

fn alone() {
    let place = Place::new();
    let mut up = Command::new(netlab());
    up.args(["up", "2"]);
    Program::start(up).end().with(0);
    let data = bytes(3 << 20, 81);
    fs::write(place.path("vm.qcow2"), &data).expect("written");
    let mut share = Program::start(on("h1", &command(&place, "share", &["vm.qcow2"])));
    let line = share.line("what to type", |line| line.strip_prefix("On the others:  member ").map(str::to_owned));
    assert_eq!(line, "get 10.77.0.11/vm.qcow2");
    let line: Vec<_> = line.split(' ').skip(1).collect();
    for (n, names) in
        [&line[..], &["10.77.0.11/"], &["http://10.77.0.11:9999/compositions/vm.qcow2"]].iter().enumerate()
    {
        let folder = place.path(&format!("copy{n}"));
        let more = ["-o", folder.to_str().expect("UTF-8"), "--exit-when-done"];
        Program::start(on("h2", &command(&place, "get", &[*names, &more].concat()))).end().with(0);
        assert!(fs::read(folder.join("vm.qcow2")).expect("a file") == data, "{names:?}");
    }
    // It takes changes from its own process alone: another one on the same machine is one itself.
    fs::write(place.path("b.iso"), &data[..100_000]).expect("written");
    let mut other = Program::start(on("h1", &command(&place, "share", &["b.iso"])));
    other.line("why", |line| line.contains("localhost:9999, takes nothing from here").then_some(()));
    other.line("what to type", |line| line.ends_with("member get 10.77.0.11:10000/b.iso").then_some(()));
    let folder = place.path("other");
    let more = ["10.77.0.11:10000/b.iso", "-o", folder.to_str().expect("UTF-8"), "--exit-when-done"];
    Program::start(on("h2", &command(&place, "get", &more))).end().with(0);
}
