//! What may stand where the composition or its parts should be: left as it is, and said.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{
    stage::Stage,
    support::{Place, Program, member_command, skip},
};

/// Somebody who may not write everywhere, as root may.
const NOBODY: u32 = 65534;

impl Stage {
    /// The same as somebody with fewer rights, if we may be that.
    fn fetch_as_nobody(&self, folder: &str) -> Program {
        let arguments = ["--exit-when-done", "--peer", &self.peer, "--download", "400K"];
        let mut command = member_command(&self.place, &self.manifest, &self.place.path(folder), &arguments);
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Program::start(command)
    }

    #[track_caller]
    fn assert_copy(&self, folder: &str) {
        assert!(fs::read(self.place.path(folder).join("x.bin")).expect("a file") == self.data, "the copy is different");
    }
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
}

/// What a member calls what is in its way, and how to put it there.
type Obstacle = (&'static str, fn(&Path));

const OBSTACLES: [Obstacle; 4] = [
    ("symbolic link", |path| symlink("../target", path).expect("a link")),
    ("symbolic link", |path| symlink("nowhere", path).expect("a link")),
    ("folder", |path| fs::create_dir(path).expect("a folder")),
    ("pipe", pipe),
];

#[test]
fn what_is_no_plain_file_is_left_alone() {
    let stage = Stage::new(500_000, "16K", 80);
    let target = stage.place.path("target");
    fs::write(&target, &stage.data).expect("written");
    for (number, name) in ["x.bin", "x.bin.part"].into_iter().enumerate() {
        for (which, (what, place)) in OBSTACLES.into_iter().enumerate() {
            let folder = format!("copy{number}{which}");
            let path = stage.place.folder(&folder).join(name);
            place(&path);
            let before = fs::symlink_metadata(&path).expect("it is there");
            let ended = stage.fetch(&folder).with(1);
            ended.says(path.to_str().expect("UTF-8"));
            ended.says(what);
            ended.says("move it away");
            let after = fs::symlink_metadata(&path).expect("it is still there");
            assert_eq!(before.file_type(), after.file_type());
            assert_eq!(fs::read_dir(stage.place.path(&folder)).expect("a folder").count(), 1, "nothing is added");
        }
    }
    assert!(fs::read(&target).expect("a file") == stage.data, "what a link led to was changed");
}

#[test]
fn an_output_that_is_no_folder_is_said() {
    let stage = Stage::new(500_000, "16K", 81);
    fs::write(stage.place.path("file"), "mine").expect("written");
    symlink("nowhere", stage.place.path("dangling")).expect("a link");
    pipe(&stage.place.path("pipe"));
    for folder in ["file", "dangling", "pipe", "file/below"] {
        let ended = stage.fetch(folder).with(1);
        ended.says(stage.place.path(folder).to_str().expect("UTF-8"));
    }
    assert_eq!(fs::read(stage.place.path("file")).expect("a file"), b"mine");
    assert!(!stage.place.path("nowhere").exists());
    // A link to a folder is as good as the folder.
    stage.place.folder("real");
    symlink("real", stage.place.path("link")).expect("a link");
    stage.fetch("link").with(0);
    stage.assert_copy("real");
}

/// Whether a program of ours can be run with fewer rights, in a place that is open to all.
fn may_be_nobody(place: &Place) -> bool {
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).expect("our own folder");
    let mut probe = Command::new(env!("CARGO_BIN_EXE_member"));
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if rustix::process::getuid().is_root() {
        probe.uid(NOBODY).gid(NOBODY);
    }
    let may = probe.status().is_ok_and(|status| status.success());
    if !may {
        skip("the programs cannot be run by somebody with fewer rights");
    }
    may
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
}

#[test]
fn what_may_not_be_written_is_5() {
    let stage = Stage::new(500_000, "16K", 82);
    if !may_be_nobody(&stage.place) {
        return;
    }
    // The folder.
    let folder = stage.place.folder("copy");
    allow(&folder, 0o555);
    let ended = stage.fetch_as_nobody("copy").end().with(5);
    ended.says("x.bin.part");
    ended.says("Permission denied");
    stage.fetch_as_nobody("copy/below").end().with(5);
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
    // The file that he began himself: one of somebody else's he would go round.
    allow(&folder, 0o777);
    fs::write(folder.join("x.bin.part"), &stage.data).expect("written");
    chown(folder.join("x.bin.part"), Some(NOBODY), None).expect("his");
    allow(&folder.join("x.bin.part"), 0o444);
    stage.fetch_as_nobody("copy").end().with(5).says("x.bin.part");
    fs::remove_file(folder.join("x.bin.part")).expect("removed");
    // One that is whole need not be written.
    fs::write(folder.join("x.bin"), &stage.data).expect("written");
    allow(&folder.join("x.bin"), 0o444);
    allow(&folder, 0o555);
    assert_eq!(stage.fetch_as_nobody("copy").end().with(0).last()["fetched"], 0);
}

#[test]
fn a_folder_that_is_closed_midway_is_5_and_nothing_is_lost() {
    let stage = Stage::new(500_000, "16K", 83);
    if !may_be_nobody(&stage.place) {
        return;
    }
    let folder = stage.place.folder("copy");
    allow(&folder, 0o777);
    let mut fetching = stage.fetch_as_nobody("copy");
    fetching.event_named("fetch");
    allow(&folder, 0o555);
    let ended = fetching.end().with(5);
    ended.says("cannot give it its final name");
    assert!(!folder.join("x.bin").exists());
    allow(&folder, 0o777);
    let again = stage.fetch_as_nobody("copy").end().with(0).last();
    assert_eq!(again["fetched"], 0, "every part was there");
    stage.assert_copy("copy");
}
