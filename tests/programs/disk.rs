//! Disks that break while they are used, and such that are taken away: real ones, in a mount namespace.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::{
    room::{goes_elsewhere, mount},
    stage::Stage,
    support::{Place, Program, bytes, compose, conductor, member, seed, skip},
};

const SIZE: usize = 4 << 20;
/// Bytes of a block of the broken disk.
const BLOCK: u64 = 4096;

/// Runs a command; whether it ended well, and what it printed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A file system of its own, in a file that can be cut short beneath it: what lies behind the cut fails to be read.
struct Breakable {
    image: String,
}

impl Breakable {
    /// Mounts one on this folder; None where that is not allowed.
    fn on(place: &Place, folder: &Path) -> Option<Self> {
        let image = place.path("image").to_str().expect("UTF-8").to_owned();
        File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("an image");
        let folder = folder.to_str().expect("UTF-8");
        let made = run("mkfs.ext4", &["-q", "-O", "^has_journal", &image]);
        if made.and_then(|_| run("mount", &["-o", "loop", &image, folder])).is_none() {
            skip("disks in files cannot be made or mounted here");
            return None;
        }
        Some(Self { image })
    }

    /// From now on the second half of this file, which lies in one piece, cannot be read.
    fn break_in(&self, file: &Path) {
        let path = file.to_str().expect("UTF-8");
        File::open(file).and_then(|file| file.sync_all()).expect("on the disk");
        let listed = run("filefrag", &["-e", "-v", &format!("-b{BLOCK}"), path]).expect("filefrag");
        let words = listed.lines().find_map(|line| line.trim_start().strip_prefix("0:")).expect("an extent");
        // The first and the last block in the file, then those on the disk.
        let start = words.split_whitespace().nth(2).expect("where it starts").trim_end_matches('.');
        let start: u64 = start.parse().expect("a number");
        let cut = start * BLOCK + SIZE as u64 / 2;
        File::options().write(true).open(&self.image).and_then(|image| image.set_len(cut)).expect("cut");
        // What was read of it is forgotten.
        run("dd", &[&format!("if={path}"), "iflag=nocache", "count=0", "status=none"]).expect("dd");
        assert!(fs::read(file).is_err(), "the fault happens");
    }
}

#[test]
fn a_seed_whose_disk_breaks_says_so_once_and_ends_with_5() {
    if goes_elsewhere("disk::a_seed_whose_disk_breaks_says_so_once_and_ends_with_5") {
        return;
    }
    let place = Place::new();
    let Some(disk) = Breakable::on(&place, &place.folder("seed")) else { return };
    let (mut conducting, address) = conductor(&place, "127.0.0.1:0");
    let manifest = compose(&place, "x.bin", &bytes(SIZE, 1), &[&address, "64K"]);
    let seeding = seed(&place, &manifest, &[]);
    conducting.event_named("joined");
    disk.break_in(&place.path("seed/x.bin"));
    let _fetching = member(&place, &manifest, &place.path("copy"), &[]);
    let ended = seeding.end().with(5);
    ended.says("x.bin: cannot read: Input/output error");
    assert_eq!(ended.events().filter(|event| event["event"] == "error").count(), 1);
    assert_eq!(ended.last()["code"], 5);
    let left = conducting.event("that it left", |event| event["event"] == "left");
    assert_eq!(left["why"], "stopped");
}

#[test]
fn what_is_shared_by_name_and_cannot_be_read_is_offered_no_more() {
    if goes_elsewhere("disk::what_is_shared_by_name_and_cannot_be_read_is_offered_no_more") {
        return;
    }
    let place = Place::new();
    let folder = place.folder("isos");
    let Some(disk) = Breakable::on(&place, &folder) else { return };
    let (_conducting, address) = conductor(&place, "127.0.0.1:0");
    let path = folder.join("x.iso");
    fs::write(&path, bytes(SIZE, 2)).expect("written");
    let command = |word: &str, arguments: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.arg(word).args(arguments).args(["--port", "0", "--json"]);
        Program::start(command)
    };
    let file = path.to_str().expect("UTF-8");
    let mut sharing = command("share", &[file, "--conductor", &address]);
    sharing.event_named("sharing");
    disk.break_in(&path);
    let copy = place.path("copy");
    let name = format!("{address}/x.iso");
    let whole_copies = || {
        let mut list = place.command(env!("CARGO_BIN_EXE_member"));
        list.args(["list", "--json", "--conductor", &address]);
        let listed = Program::start(list).end();
        listed.events().filter_map(|entry| entry["complete"].as_u64()).sum::<u64>()
    };
    // It may be on its way into the catalogue still.
    while whole_copies() == 0 {
        thread::yield_now();
    }
    let _getting = command("get", &[&name, "-o", copy.to_str().expect("UTF-8")]);
    let ended = sharing.end().with(5);
    ended.says("x.iso: cannot read: Input/output error");
    assert_eq!(ended.events().filter(|event| event["event"] == "error").count(), 1);
    assert_eq!(ended.last()["code"], 5);
    assert_eq!(whole_copies(), 0, "nobody is told of it any more");
}

/// Fetches slowly into `copy`, until it is midway.
fn midway(stage: &Stage) -> Program {
    let arguments = ["--peer", &stage.peer, "--download", "500K"];
    let mut fetching = member(&stage.place, &stage.manifest, &stage.place.path("copy"), &arguments);
    fetching.midway();
    fetching
}

#[test]
fn a_disk_that_is_unmounted_midway_is_5_and_nothing_is_written_into_what_lies_there() {
    if goes_elsewhere("disk::a_disk_that_is_unmounted_midway_is_5_and_nothing_is_written_into_what_lies_there") {
        return;
    }
    let stage = Stage::new(8 * SIZE, "64K", 3);
    let folder = stage.place.folder("copy");
    mount(&folder, 16 * SIZE);
    let fetching = midway(&stage);
    run("umount", &["--lazy", folder.to_str().expect("UTF-8")]).expect("unmounted");
    let ended = fetching.end().with(5);
    ended.says("x.bin.part: it is not there any more");
    assert_eq!(fs::read_dir(&folder).expect("the folder beneath").count(), 0);
}

#[test]
fn a_folder_that_is_removed_midway_is_5_and_is_not_made_again() {
    let stage = Stage::new(8 * SIZE, "64K", 4);
    let folder = stage.place.folder("copy");
    let fetching = midway(&stage);
    fs::remove_dir_all(&folder).expect("removed");
    let ended = fetching.end().with(5);
    ended.says("x.bin.part: it is not there any more");
    assert_eq!(ended.last()["code"], 5);
    assert!(!folder.exists());
}
