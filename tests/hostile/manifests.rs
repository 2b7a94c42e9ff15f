//! Manifests that lie, and files that are none: exit 3, the file and the line named, nothing written.
//!
//! The programs run in 512 MiB of address space, so that whoever took memory for what is only claimed would die of it.

use std::{fs, path::Path, process::Command};

use crate::{
    row,
    support::{Ended, Place, Program, bytes, compose, member_command, tool},
};

const ADDRESS_SPACE_KIB: u32 = 512 << 10;

/// The same command with little memory.
fn limited(place: &Place, command: &Command) -> Program {
    let mut limited = place.command("sh");
    limited.args(["-c", &format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args()).env("MALLOC_ARENA_MAX", "1");
    Program::start(limited)
}

/// What member and composer make of it; both say the same of a bad one.
fn read(place: &Place, manifest: &Path) -> [Ended; 2] {
    let member = member_command(place, manifest, &place.path("out"), &["--timeout", "1s"]);
    let mut composer = place.command(env!("CARGO_BIN_EXE_composer"));
    composer.arg("--from").arg(manifest).args(["-o", "out.orch"]);
    [member, composer].map(|command| limited(place, &command).end())
}

/// Fails unless both refuse it, naming the file and `words`.
#[track_caller]
fn refused(place: &Place, input: &str, manifest: &Path, words: &str) {
    let before = fs::read_dir(place.path(".")).expect("a folder").count();
    for ended in read(place, manifest) {
        let ended = ended.with(3);
        ended.says(manifest.to_str().expect("UTF-8"));
        ended.says(words);
        let text = ended.lines.join("\n");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{input}: it drives the terminal: {text:?}");
    }
    let logs = usize::from(place.path("logs").exists());
    assert!(!place.path("out").exists() && !place.path("out.orch").exists(), "{input}: something was made");
    assert!(fs::read_dir(place.path(".")).expect("a folder").count() <= before + logs, "{input}: something was made");
    row("manifest", input, &format!("3: {words}"));
}

/// A good manifest of three parts, by its lines.
fn good(place: &Place) -> Vec<String> {
    let manifest = compose(place, "x.bin", &bytes(40_000, 60), &[]);
    fs::read_to_string(manifest).expect("a manifest").lines().map(str::to_owned).take(9).collect()
}

#[test]
fn a_line_that_lies() {
    let place = Place::new();
    let lines = good(&place);
    let bad = place.path("bad.orch");
    let long = "x".repeat(256);
    let endless = "9".repeat(30);
    for (input, line, text, words) in [
        ("a conductor that is a URL with escapes", 1, "\u{1b}[2J://x", "line 1: the conductor"),
        ("a conductor with escapes", 1, "a\u{1b}[2Jb:1", "line 1: the conductor"),
        ("a conductor with port 65536", 1, "host:65536", "line 1: the conductor"),
        ("a name that is empty", 2, "", "line 2: the name is empty"),
        ("the name ..", 2, "..", "line 2: the name would lead to another folder"),
        ("the name .", 2, ".", "line 2: the name would lead to another folder"),
        ("the name ../x.bin", 2, "../x.bin", "line 2: the name has a path separator"),
        ("the name /etc/passwd", 2, "/etc/passwd", "line 2: the name has a path separator"),
        ("the name ..\\x.bin", 2, "..\\x.bin", "line 2: the name has a path separator"),
        ("a name with NUL", 2, "x\0.bin", "line 2: the name has a control character"),
        ("a name with an escape sequence", 2, "x\u{1b}]0;y\u{7}", "line 2: the name has a control character"),
        ("a name with a C1 control character", 2, "x\u{9b}2J", "line 2: the name has a control character"),
        ("a name of 256 bytes", 2, &long, "line 2: the name is longer than 240 bytes"),
        ("a checksum of 39 digits", 3, &lines[2][1..], "line 3: expected the SHA-1"),
        ("the size 2^64-1", 4, "18446744073709551615", "line 5: 18446744073709551615 bytes in parts of 16384"),
        ("the size 2^64", 4, "18446744073709551616", "line 4: expected the size"),
        ("the size -1", 4, "-1", "line 4: expected the size"),
        ("a size of thirty digits", 4, &endless, "line 4: expected the size"),
        ("the part size 0", 5, "0", "line 5: a part size of 0 bytes"),
        ("the part size 2^64-1", 5, "18446744073709551615", "line 5: a part size of 18446744073709551615 bytes"),
        ("the part size 1 (more parts than are written down)", 5, "1", "line 6: 3 parts are not what"),
        ("a number of parts that does not fit", 6, "4", "line 6: 4 parts are not what"),
        ("2^64-1 parts", 6, "18446744073709551615", "line 6: 18446744073709551615 parts are not what"),
        ("a part that is no checksum", 8, "zz", "line 8: expected the SHA-1 of a part"),
        ("half a line", 9, &lines[8][..20], "line 9: expected the SHA-1 of a part"),
        ("a line of a mebibyte", 8, &"ab".repeat(1 << 19), "line 8: the line is longer than 8 KiB"),
    ] {
        let mut changed = lines.clone();
        changed[line - 1] = text.to_owned();
        fs::write(&bad, changed.join("\n")).expect("written");
        refused(&place, input, &bad, words);
    }
}

#[test]
fn files_and_optional_lines_that_lie() {
    let place = Place::new();
    let lines = good(&place);
    let bad = place.path("bad.orch");
    for (input, more, words) in [
        ("a further line without a value", "key", "line 10: expected `key value`"),
        ("a further line with escapes in its key", "k\u{1b}[2J value", "line 10: "),
        ("a further line with an escape in its value", "comment \u{1b}[2J", "line 10: the value of `comment`"),
        ("a file of a folder above it", "file 40000 ../x", "line 10: a file's path is not safe"),
        ("a file of a folder at the root", "file 40000 /x", "line 10: a file's path is not safe"),
        ("files that do not add up", "file 1 a", "the files of the folder come to 1 bytes"),
        ("files that add up to more than 2^64", "file 18446744073709551615 a\nfile 40001 b", "the files of the folder"),
        ("a file that is a folder of another", "file 20000 a\nfile 20000 a/b", "two files of the folder"),
        ("parts beyond the number of parts", &lines[8], "line 10: expected `key value`"),
    ] {
        fs::write(&bad, format!("{}\n{more}\n", lines.join("\n"))).expect("written");
        refused(&place, input, &bad, words);
    }
}

#[test]
fn what_is_no_manifest() {
    let place = Place::new();
    let lines = good(&place);
    let bad = place.path("bad.orch");
    let million = format!(":1\nx\n{}\n{}\n16384\n1048576\n", "0".repeat(40), 16384u64 << 20);
    let mut wrong_byte = lines.join("\n").into_bytes();
    wrong_byte[30] = 0xff;
    for (input, content, words) in [
        ("an empty file", &b""[..], "line 1: the manifest ends before the conductor"),
        ("one line break", b"\n", "line 1: the conductor: expected HOST:PORT, found nothing"),
        ("cut after line 4", lines[..4].join("\n").as_bytes(), "line 5: the manifest ends before the part size"),
        ("one part line missing", lines[..8].join("\n").as_bytes(), "line 9: the manifest ends before the SHA-1"),
        ("a million part lines missing", million.as_bytes(), "line 7: the manifest ends before the SHA-1"),
        ("not UTF-8", &wrong_byte, "line 3: this is not text"),
        ("binary garbage", &bytes(100_000, 61), "line 1: this is not text"),
        ("a web page", b"<!DOCTYPE html>\n<html>\n", "line 1: the conductor"),
        ("200 MiB of zero bytes", &vec![0; 200 << 20], "line 1: the line is longer than 8 KiB"),
    ] {
        fs::write(&bad, content).expect("written");
        refused(&place, input, &bad, words);
    }
}

#[test]
fn what_is_no_file() {
    let place = Place::new();
    let folder = place.folder("folder.orch");
    refused(&place, "a folder", &folder, "this is a folder");
    let sparse = place.path("sparse.orch");
    fs::File::create(&sparse).and_then(|file| file.set_len(10 << 30)).expect("a sparse file");
    refused(&place, "a file of 10 GiB", &sparse, "larger than any manifest can be");
    refused(&place, "/dev/zero", Path::new("/dev/zero"), "this is no ordinary file");
    let pipe = place.path("pipe.orch");
    if tool("mkfifo", Command::new("mkfifo").arg(&pipe)) {
        refused(&place, "a pipe that nobody writes to", &pipe, "this is no ordinary file");
    }
}

#[test]
fn odd_and_legal() {
    let place = Place::new();
    let lines = good(&place);
    let odd = place.path("odd.orch");
    let names = ["\u{202e}gpj.exe", "nul", "con.txt", "...x", " x ", "-rf", "a:b*?\"<>|", &"x".repeat(240)];
    for (n, name) in names.into_iter().enumerate() {
        let mut changed = lines.clone();
        changed[1] = name.to_owned();
        fs::write(&odd, changed.join("\r\n")).expect("written");
        let folder = place.path(&format!("out{n}"));
        let mut command = place.command(env!("CARGO_BIN_EXE_member"));
        command.arg(&odd).arg("-o").arg(&folder).args(["--port", "0", "--timeout", "1s", "-v"]);
        let ended = limited(&place, &command).end().with(7);
        let text = ended.lines.join("\n");
        assert!(!text.contains('\u{202e}'), "the terminal is misled: {text}");
        let there: Vec<_> =
            fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        let expected = |found: &&std::ffi::OsString| found.to_str().is_some_and(|found| found.starts_with(name));
        assert!(there.iter().all(|found| expected(&found)), "{there:?}");
        let shown: String = name.chars().take(20).flat_map(char::escape_debug).collect();
        row("manifest", &format!("the legal name {shown}, CRLF"), "7: taken; nobody answered");
    }
}
