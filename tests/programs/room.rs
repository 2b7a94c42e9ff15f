//! Disks that are full, or become so, and such that cannot be written: real ones, small, in a mount namespace.

use std::{
    env,
    fs::{self, File},
    io::Write,
    os::unix::fs::{FileExt, MetadataExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    stage::Stage,
    support::{Place, Program, bytes, fetch, member, port, skip},
};

const PART: usize = 64 << 10;
const SIZE: usize = 96 * PART;
/// Set where disks of our own may be mounted.
const ALONE: &str = "MOUNTS_ALONE";

/// Runs this test again, by name, where nobody else sees what it mounts; false there.
pub fn goes_elsewhere(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return false;
    }
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let allowed = ways.into_iter().find(|way| {
        let mut probe = Command::new("unshare");
        probe.args(*way).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    let Some(way) = allowed else {
        skip("mount namespaces are not allowed here");
        return true;
    };
    let mut there = Command::new("unshare");
    there.args(way).arg(env::current_exe().expect("a path")).args(["--exact", test, "--nocapture"]);
    there.env(ALONE, "1");
    let ended = Program::start(there).end().with(0);
    ended.says("1 passed");
    true
}

/// A disk of this many bytes.
pub fn mount(path: &Path, size: usize) {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path);
    Program::start(command).end().with(0);
}

impl Stage {
    /// Bytes of the parts in `NAME.part` that are right.
    fn right(&self) -> usize {
        let there = fs::read(self.place.path("copy/x.bin.part")).expect("it is kept");
        let parts = there.chunks(PART).zip(self.data.chunks(PART));
        parts.filter(|(there, part)| there == part).map(|(_, part)| part.len()).sum()
    }
}

/// Writes until there is no room; gives how much that was.
fn fill(path: &Path) -> usize {
    let mut file = File::create(path).expect("a file");
    let mut written = 0;
    while let Ok(count) = file.write(&[1; 4096]) {
        written += count;
    }
    written
}

#[test]
fn a_disk_that_fills_up_is_5_and_it_goes_on_when_there_is_room() {
    if goes_elsewhere("room::a_disk_that_fills_up_is_5_and_it_goes_on_when_there_is_room") {
        return;
    }
    let stage = Stage::new(SIZE, "64K", 90);
    let folder = stage.place.folder("copy");
    mount(&folder, SIZE + (1 << 20));
    let arguments = ["--exit-when-done", "--peer", &stage.peer, "--download", "2M"];
    let mut fetching = member(&stage.place, &stage.manifest, &folder, &arguments);
    let told = fetching.midway()["bytes_done"].as_u64().expect("a number") as usize;
    assert!(fill(&folder.join("other")) > 0, "somebody else takes the room");
    let ended = fetching.end().with(5);
    ended.says("x.bin.part: the disk is full: make room");
    assert_eq!(ended.last()["code"], 5);
    assert!(!folder.join("x.bin").exists());
    let had = stage.right();
    assert!((told..SIZE).contains(&had), "{had} bytes are right, and it had told of {told}");
    // Nothing has changed: it says the same again, and loses nothing.
    stage.fetch("copy").with(5).says("the disk is full");
    assert!(stage.right() >= had);
    let had = stage.right();
    fs::remove_file(folder.join("other")).expect("room");
    let last = stage.fetch("copy").with(0).last();
    assert_eq!(last["fetched"], SIZE - had, "what was verified is not fetched again");
    assert!(fs::read(folder.join("x.bin")).expect("a file") == stage.data, "the copy is different");
}

#[test]
fn a_disk_that_is_too_small_is_5_before_the_first_byte() {
    if goes_elsewhere("room::a_disk_that_is_too_small_is_5_before_the_first_byte") {
        return;
    }
    let stage = Stage::new(SIZE, "64K", 91);
    let folder = stage.place.folder("copy");
    mount(&folder, SIZE - PART);
    let ended = stage.fetch("copy").with(5);
    ended.says(&format!("{PART} bytes more are needed on this disk"));
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0, "nothing is left behind");
}

/// A disk image: few bytes, far apart, in a large file.
#[test]
fn zeros_take_no_room_and_are_not_fetched() {
    if goes_elsewhere("room::zeros_take_no_room_and_are_not_fetched") {
        return;
    }
    const LARGE: u64 = 64 << 20;
    let place = Place::new();
    let (image, folder) = (place.folder("seed").join("x.img"), place.folder("copy"));
    let file = File::create(&image).expect("a file");
    file.set_len(LARGE).expect("its length");
    for at in [0, 20_000_000, LARGE - 1000] {
        file.write_all_at(&bytes(1000, at), at).expect("written");
    }
    drop(file);
    mount(&folder, SIZE);
    let manifest = place.path("x.orch");
    let mut composer = place.command(env!("CARGO_BIN_EXE_composer"));
    composer.arg(&image).args(["0.0.0.0:0", "64K", "-o"]).arg(&manifest);
    Program::start(composer).end().with(0);
    let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
    let peer = format!("127.0.0.1:{}", port(&mut seed));
    let last = fetch(&place, &manifest, "copy", &["--peer", &peer]).with(0).last();
    assert_eq!(last["fetched"], 3 * PART);
    let copy = folder.join("x.img");
    assert!(fs::metadata(&copy).expect("a file").blocks() * 512 <= 3 * PART as u64);
    assert!(fs::read(&copy).expect("a file") == fs::read(&image).expect("a file"), "the copy is different");
}

#[test]
fn a_disk_that_is_read_only_is_5() {
    if goes_elsewhere("room::a_disk_that_is_read_only_is_5") {
        return;
    }
    let stage = Stage::new(SIZE, "64K", 92);
    let folder = stage.place.folder("copy");
    mount(&folder, 2 * SIZE);
    let mut command = Command::new("mount");
    command.args(["-o", "remount,ro"]).arg(&folder);
    Program::start(command).end().with(0);
    let ended = stage.fetch("copy").with(5);
    ended.says("x.bin.part");
    ended.says("Read-only file system");
}

/// The log, the lines for scripts and those for people all go to a device that is always full.
#[test]
fn who_cannot_say_a_word_still_does_the_work() {
    let full = || File::options().write(true).open("/dev/full");
    if full().is_err() {
        return skip("there is no /dev/full");
    }
    let stage = Stage::new(SIZE, "64K", 93);
    let logs = stage.place.folder("full");
    symlink("/dev/full", logs.join("member.log")).expect("a link");
    for arguments in [&["--json"][..], &["-v"]] {
        let folder = stage.place.path(&format!("copy{}", arguments[0]));
        let mut command = stage.place.command(env!("CARGO_BIN_EXE_member"));
        command.arg(&stage.manifest).arg("-o").arg(&folder).args(["--port", "0", "--exit-when-done"]);
        command.args(["--peer", &stage.peer]).arg("--log-dir").arg(&logs).args(arguments);
        let mute = command.stdout(full().expect("seen")).stderr(full().expect("seen"));
        assert_eq!(mute.status().expect("it starts").code(), Some(0));
        assert!(fs::read(folder.join("x.bin")).expect("a file") == stage.data, "the copy is different");
    }
}
