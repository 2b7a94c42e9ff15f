//! composer as its users meet it: the real program on real files.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::{Command, Output, Stdio},
};

use orchestra::{
    hashing::Digest,
    manifest::Manifest,
    metainfo::{Magnet, Torrent, convert},
};
use tempfile::TempDir;

/// A folder of its own for each test, which is also where composer runs and keeps its notes.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(name: &str, bytes: &[u8]) -> Self {
        let desk = Self::new();
        fs::write(desk.path(name), bytes).unwrap();
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_composer"));
        command.current_dir(self.0.path()).env_clear();
        command.env("XDG_STATE_HOME", self.path(".state")).env("ORCHESTRA_LOG_DIR", ".logs");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// stdout of a run that does what it was told.
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// stderr of a run that ends with this code, and leaves nothing new behind.
    fn refused(&self, code: i32, args: &[&str]) -> String {
        let before = self.names();
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert_eq!(self.names(), before);
        assert!(output.stdout.is_empty());
        stderr(&output)
    }

    fn manifest(&self, name: &str) -> Manifest {
        Manifest::parse(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// What is in the folder, but for the log and the notes.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != ".logs" && name != ".state")
            .collect();
        names.sort();
        names
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// As long as the composition of the original's example.
fn picture() -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| dice.u8(..)).take(142_044).collect()
}

#[test]
fn the_manifest_has_the_lines_of_the_original_in_the_same_order() {
    let bytes = picture();
    let desk = Desk::with("maxresdefault.jpg", &bytes);
    assert_eq!(desk.done(&["maxresdefault.jpg", "192.168.1.1:9999", "16384"]), "member maxresdefault.orch\n");
    let text = fs::read_to_string(desk.path("maxresdefault.orch")).unwrap();
    let mut expected = vec![
        "192.168.1.1:9999".to_owned(),
        "maxresdefault.jpg".to_owned(),
        Digest::of(&bytes).to_string(),
        "142044".to_owned(),
        "16384".to_owned(),
        "9".to_owned(),
    ];
    expected.extend(bytes.chunks(16_384).map(|part| Digest::of(part).to_string()));
    assert_eq!(text, expected.join("\n") + "\n");
    let original = include_str!("data/original-example.orch");
    assert_eq!(text.lines().count(), original.lines().count());
    let kept = [0, 1, 3, 4, 5];
    let line = |text: &str, n| text.lines().nth(n).map(str::to_owned);
    kept.iter().for_each(|&n| assert_eq!(line(&text, n), line(original, n)));
}

#[test]
fn the_three_forms() {
    let desk = Desk::with("a.bin", &picture());
    desk.done(&["a.bin"]);
    assert_eq!(desk.manifest("a.orch").conductor.to_string(), "0.0.0.0:0");
    desk.done(&["a.bin", "head", "-o", "b.orch"]);
    assert_eq!(desk.manifest("b.orch").conductor.to_string(), "head:9999");
    desk.done(&["a.bin", "[::1]:7", "64K", "-o", "c.orch"]);
    let manifest = desk.manifest("c.orch");
    assert_eq!(manifest.conductor.to_string(), "[::1]:7");
    assert_eq!((manifest.geometry.part_size(), manifest.geometry.parts()), (64 << 10, 3));
    assert_eq!(desk.names(), ["a.bin", "a.orch", "b.orch", "c.orch"]);
}

#[test]
fn the_last_line_shares_what_is_elsewhere() {
    let desk = Desk::new();
    fs::create_dir(desk.path("my data")).unwrap();
    fs::write(desk.path("my data/it's.bin"), b"x").unwrap();
    assert_eq!(desk.done(&["my data/it's.bin"]), "member 'it'\\''s.orch' -o 'my data'\n");
    let here = desk.path("my data/../my data/it's.bin");
    let output = desk.command().current_dir(desk.path("my data")).arg(here).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "member 'it'\\''s.orch'\n");
}

#[test]
fn what_was_composed_is_remembered() {
    let desk = Desk::with("a.bin", &picture());
    desk.done(&["a.bin"]);
    let notes = fs::read_dir(desk.path(".state/orchestra/proofs")).unwrap();
    let notes: Vec<_> = notes.map(|note| fs::read_to_string(note.unwrap().path()).unwrap()).collect();
    assert_eq!(notes.len(), 2, "the file's, and the composition's");
    let manifest = desk.manifest("a.orch");
    assert!(notes.iter().all(|note| note.contains(&manifest.info_hash().to_string())));
    let whole = manifest.whole.unwrap().to_string();
    assert!(notes.iter().any(|note| note.contains(&whole)));
}

#[test]
fn an_empty_file_is_a_composition_but_no_torrent() {
    let desk = Desk::with("nothing", b"");
    desk.refused(2, &["nothing", "--torrent"]);
    desk.refused(2, &["nothing", "--magnet"]);
    desk.done(&["nothing"]);
    let text = fs::read_to_string(desk.path("nothing.orch")).unwrap();
    assert_eq!(text, "0.0.0.0:0\nnothing\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n");
}

#[test]
fn torrent_and_magnet_name_the_same_swarm() {
    let desk = Desk::with("a.bin", &picture());
    let said = desk.done(&["a.bin", "head:7", "--torrent", "--magnet", "--comment", "of mine"]);
    let manifest = desk.manifest("a.orch");
    assert_eq!(manifest.comment(), Some("of mine"));
    let torrent = Torrent::parse(&fs::read(desk.path("a.torrent")).unwrap()).unwrap();
    assert_eq!(torrent.info_bytes()[..], manifest.info_bytes());
    assert_eq!(torrent.whole, manifest.whole);
    assert_eq!(torrent.trackers, [["http://head:7/announce"]]);
    let (magnet, share) = said.split_once('\n').unwrap();
    assert_eq!(magnet.parse::<Magnet>().unwrap(), convert::to_magnet(&manifest).unwrap());
    assert_eq!(share, "member a.orch\n");
}

#[test]
fn from_a_manifest_to_a_torrent_and_back() {
    let desk = Desk::with("a.bin", &picture());
    desk.done(&["a.bin", "head:7", "--comment", "of mine"]);
    fs::remove_file(desk.path("a.bin")).unwrap();
    // The manifest says what would be written already, so that only the torrent is.
    desk.done(&["--from", "a.orch", "--torrent"]);
    desk.done(&["--from", "a.torrent", "-o", "b.orch"]);
    assert_eq!(fs::read(desk.path("b.orch")).unwrap(), fs::read(desk.path("a.orch")).unwrap());
}

#[test]
fn from_a_manifest_with_another_conductor() {
    let desk = Desk::with("a.bin", &picture());
    desk.done(&["a.bin", "head:7"]);
    let before = desk.manifest("a.orch");
    assert!(desk.refused(6, &["--from", "a.orch", "tail:8"]).contains("--force"));
    assert_eq!(desk.manifest("a.orch"), before);
    desk.done(&["--from", "a.orch", "tail:8", "--force"]);
    let after = desk.manifest("a.orch");
    assert_eq!(after.conductor.to_string(), "tail:8");
    assert_eq!(after.info_hash(), before.info_hash());
    assert_eq!((after.whole, after.parts), (before.whole, before.parts));
}

#[test]
fn from_what_is_no_manifest() {
    let desk = Desk::with("a.orch", b"head:7\nname\nnonsense\n");
    fs::write(desk.path("a.torrent"), b"d4:spame").unwrap();
    assert!(desk.refused(3, &["--from", "a.orch", "-o", "b"]).contains("line 3"));
    desk.refused(3, &["--from", "a.torrent", "-o", "b"]);
    desk.refused(1, &["--from", "missing.orch", "-o", "b"]);
}

#[test]
fn json_is_one_object() {
    let desk = Desk::with("a.bin", &picture());
    let said = desk.done(&["a.bin", "head:7", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&said).unwrap();
    let manifest = desk.manifest("a.orch");
    for (key, value) in [
        ("event", "end"),
        ("path", "a.orch"),
        ("name", "a.bin"),
        ("info_hash", &manifest.info_hash().to_string()),
        ("sha1", &manifest.whole.unwrap().to_string()),
        ("magnet", &convert::to_magnet(&manifest).unwrap().to_string()),
        ("share", "member a.orch"),
    ] {
        assert_eq!(object[key], value);
    }
    for (key, value) in [("v", 1), ("code", 0), ("size", 142_044), ("part_size", 16_384), ("parts", 9)] {
        assert_eq!(object[key], value);
    }
    assert!(object["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn json_tells_a_failure_too() {
    let output = Desk::new().run(&["missing", "--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((objects.len(), output.status.code()), (2, Some(1)));
    assert_eq!((&objects[0]["event"], &objects[1]["event"]), (&"error".into(), &"end".into()));
    assert_eq!(objects[1]["code"], 1);
}

#[test]
fn an_output_that_exists_is_left_alone() {
    let desk = Desk::with("a.bin", &picture());
    fs::write(desk.path("a.orch"), b"mine").unwrap();
    assert!(desk.refused(6, &["a.bin"]).contains("--force"));
    assert_eq!(fs::read(desk.path("a.orch")).unwrap(), b"mine");
    desk.done(&["a.bin", "--force"]);
    desk.manifest("a.orch");
    fs::write(desk.path("b.torrent"), b"mine").unwrap();
    desk.refused(6, &["a.bin", "-o", "b.orch", "--torrent"]);
}

#[test]
fn a_composition_is_never_written_over() {
    let desk = Desk::with("a.orch", &picture());
    fs::hard_link(desk.path("a.orch"), desk.path("b.orch")).unwrap();
    desk.refused(2, &["a.orch", "--force"]);
    desk.refused(2, &["a.orch", "-o", "b.orch", "--force"]);
    desk.refused(2, &["a.orch", "-o", "c.torrent", "--torrent"]);
    assert_eq!(fs::read(desk.path("a.orch")).unwrap(), picture());
}

#[test]
fn what_cannot_be_composed_is_said() {
    let desk = Desk::with("a.bin", &picture());
    fs::create_dir(desk.path("folder")).unwrap();
    assert!(desk.refused(1, &["folder"]).contains("without files"));
    assert!(desk.refused(1, &["missing"]).contains("missing"));
    desk.refused(1, &["/dev/null"]);
    fs::write(desk.path("a\nb"), b"x").unwrap();
    desk.refused(1, &["a\nb"]);
    let raw = Path::new(std::ffi::OsStr::from_bytes(b"raw-\xff"));
    if fs::write(desk.0.path().join(raw), b"x").is_ok() {
        let output = desk.command().arg(raw).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("not UTF-8"));
    }
}

#[test]
fn a_file_that_may_not_be_read() {
    let desk = Desk::with("a.bin", &picture());
    fs::set_permissions(desk.path("a.bin"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    if File::open(desk.path("a.bin")).is_err() {
        assert!(desk.refused(1, &["a.bin"]).contains("a.bin"));
    }
}

#[test]
fn wrong_use_is_told_from_what_the_disk_refuses() {
    let desk = Desk::with("a.bin", &picture());
    for args in [&[][..], &["a.bin", "head", "24K"], &["a.bin", "head", "256M"], &["a.bin", "head", "x"], &["--nope"]] {
        desk.refused(2, args);
    }
    desk.refused(2, &["a.bin", "--comment", "two\nlines"]);
    assert!(desk.refused(5, &["a.bin", "-o", "missing/a.orch"]).contains("missing"));
    desk.refused(6, &["a.bin", "-o", "/dev/null", "--force"]);
}

#[test]
fn more_parts_than_a_manifest_holds_are_refused_before_it_is_read() {
    let desk = Desk::with("a.bin", b"");
    File::create(desk.path("a.bin")).unwrap().set_len((16 << 30) + 1).unwrap();
    assert!(desk.refused(2, &["a.bin", "head", "16K"]).contains("take at least 32 KiB"));
}

#[test]
fn an_interruption_ends_it_at_once_and_leaves_nothing() {
    let desk = Desk::with("a.bin", b"");
    // Long to read, but nothing on the disk.
    File::create(desk.path("a.bin")).unwrap().set_len(1 << 40).unwrap();
    let command = &mut desk.command();
    let mut composer = command.args(["a.bin", "--log-dir", "-"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(composer.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("composing")));
    let id = rustix::process::Pid::from_child(&composer);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(log.any(|line| line.unwrap().contains("error: interrupted")));
    assert_eq!(composer.wait().unwrap().code(), Some(130));
    assert_eq!(desk.names(), ["a.bin"]);
}
