//! Folders: composed, shared, fetched whole or in part, repaired; nothing outside them is touched.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use orchestra::hashing::Digest;
use rustix::process::Signal;

use crate::{
    foreign::client::Client,
    support::{PATIENCE, Place, Program, bytes, conductor, fetch, member, port, seed},
};

/// The files of a folder: what is in each, and whether it is a program.
type Tree = BTreeMap<PathBuf, (Vec<u8>, bool)>;

fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("looked at");
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                let below = entry.path().strip_prefix(folder).expect("below it").to_owned();
                let program = meta.permissions().mode() & 0o100 != 0;
                tree.insert(below, (fs::read(entry.path()).expect("a file"), program));
            }
        }
    }
    tree
}

#[track_caller]
fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (tree(left), tree(right));
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (path, there) in &left {
        assert!(right[path] == *there, "{} is different", path.display());
    }
}

fn write(folder: &Path, name: &str, data: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, data).expect("written");
}

/// A folder of all sorts of files below `seed`, 2.3 MB. The first part alone has bytes of four files.
fn sorts(place: &Place) -> PathBuf {
    let folder = place.folder("seed").join("stuff");
    for (name, size) in [
        (".hidden", 3),
        ("a/deep/er/than/that", 7_777),
        ("a/deep/empty", 0),
        ("a/tiny", 1),
        ("a-b", 123_456),
        ("big", 2_000_000),
        ("docs/été 日本.txt", 100_000),
        ("docs/two words", 16_384),
        ("run", 20),
    ] {
        write(&folder, name, &bytes(size, size as u64));
    }
    fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755)).expect("a program");
    folder
}

/// Composes it; gives the manifest, which is in the place itself.
fn compose(place: &Place, folder: &Path, arguments: &[&str]) -> PathBuf {
    let name = folder.file_name().expect("a name").to_str().expect("text");
    let manifest = place.path(&format!("{name}.orch"));
    let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
    command.arg(folder).args(arguments).arg("--force").arg("-o").arg(&manifest);
    Program::start(command).end().with(0);
    manifest
}

fn end_of(program: Program) {
    program.signal(Signal::TERM);
    program.end().with(0);
}

#[test]
fn a_folder_arrives_as_it_was() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    let manifest = compose(&place, &folder, &[&address, "32K", "--torrent"]);
    let text = fs::read_to_string(&manifest).expect("a manifest");
    assert!(text.contains("\nfile 3 .hidden\n") && text.ends_with("\nexecutable run\n"), "{text}");
    let mut seeding = member(&place, &manifest, &place.path("seed"), &[]);
    let whole = seeding.event_named("whole");
    assert_eq!(whole["fetched"], 0);
    let last = fetch(&place, &manifest, "copy", &[]).with(0).last();
    assert_eq!(last["fetched"], last["size"]);
    assert_eq!(last["path"], place.path("copy/stuff").to_str().expect("text"));
    assert_same(&folder, &place.path("copy/stuff"));
    assert_eq!(fs::read_dir(place.path("copy")).expect("a folder").count(), 1, "nothing is left behind");

    // Whole, it is remembered; changed, it is left alone.
    let again = fetch(&place, &manifest, "copy", &[]).with(0);
    assert!(!again.events().any(|event| event["event"] == "check"), "it is not read again");
    write(&place.path("copy/stuff"), "a/tiny", b"X");
    fetch(&place, &manifest, "copy", &[]).with(6).says("--repair");
    assert_eq!(fs::read(place.path("copy/stuff/a/tiny")).expect("a file"), b"X");

    // A torrent has no place for the right to run a program.
    let torrent = manifest.with_extension("torrent");
    fetch(&place, &torrent, "torrent", &[]).with(0);
    fs::set_permissions(place.path("torrent/stuff/run"), fs::Permissions::from_mode(0o755)).expect("a program");
    assert_same(&folder, &place.path("torrent/stuff"));
}

#[test]
fn a_program_alone_stays_one() {
    let place = Place::new();
    let program = place.folder("seed").join("run me");
    fs::write(&program, "#!/bin/sh\n").expect("written");
    for (mode, line, copy) in [(0o755, true, "one"), (0o644, false, "two")] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("set");
        let mut composer = place.command(env!("CARGO_BIN_EXE_composer"));
        composer.args(["seed/run me", "--force", "-o", "run.orch"]);
        Program::start(composer).end().with(0);
        let manifest = place.path("run.orch");
        let text = fs::read_to_string(&manifest).expect("text");
        assert_eq!(text.ends_with("\nexecutable run me\n"), line, "{text}");
        let mut seed = member(&place, &manifest, &place.path("seed"), &[]);
        let peer = format!("127.0.0.1:{}", port(&mut seed));
        fetch(&place, &manifest, copy, &["--peer", &peer]).with(0);
        let got = fs::metadata(place.path(copy).join("run me")).expect("there").permissions().mode();
        assert_eq!(got & 0o100 != 0, line, "{got:o}");
        // What is remembered of it holds.
        fetch(&place, &manifest, copy, &[]).with(0);
    }
}

#[test]
fn a_magnet_link_leads_to_a_folder() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    let manifest = compose(&place, &folder, &[&address]);
    let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
    command.arg("--from").arg(&manifest).args(["--magnet", "-o"]).arg(place.path("again.orch"));
    let composed = Program::start(command).end().with(0);
    let link = composed.lines.iter().find(|line| line.starts_with("magnet:")).expect("a link").clone();
    let _seed = seed(&place, &manifest, &[]);
    fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o644)).expect("no program");
    fetch(&place, Path::new(&link), "copy", &[]).with(0);
    assert_same(&folder, &place.path("copy/stuff"));
}

#[test]
fn it_goes_on_after_a_kill() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    write(&folder, "more", &bytes(6 << 20, 5));
    let manifest = compose(&place, &folder, &[&address, "64K"]);
    let _seed = seed(&place, &manifest, &[]);
    for signal in [Signal::KILL, Signal::TERM] {
        let mut fetching = member(&place, &manifest, &place.path("copy"), &["--download", "2M"]);
        fetching.midway();
        fetching.signal(signal);
        let _ = fetching.end();
        assert!(!place.path("copy/stuff").exists() && place.path("copy/stuff.part").is_dir());
    }
    let ended = fetch(&place, &manifest, "copy", &[]).with(0);
    let start = ended.events().find(|event| event["event"] == "fetch").expect("something is missing");
    assert!(start["missing"].as_u64() < start["size"].as_u64());
    assert_eq!(ended.last()["fetched"], start["missing"], "what was verified is not fetched again");
    assert!(!ended.events().any(|event| event["event"] == "check"), "what is noted is not read again");
    assert_same(&folder, &place.path("copy/stuff"));
}

#[test]
fn wanted_files_come_first_and_the_rest_later() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    let manifest = compose(&place, &folder, &[&address, "16K"]);
    let mut seed = seed(&place, &manifest, &[]);
    fetch(&place, &manifest, "copy", &["--only", "*.pdf"]).with(2).says("--only");

    let ended = fetch(&place, &manifest, "copy", &["--only", "docs", "--only", "empty"]).with(0);
    let selected = ended.events().find(|event| event["event"] == "selected").expect("said");
    assert_eq!((&selected["wanted"], &selected["files"], &selected["size"]), (&3.into(), &9.into(), &116_384.into()));
    let last = ended.last();
    assert!(last["fetched"].as_u64() < Some(116_384 + 2 * 16_384), "{last}");
    let copy = place.path("copy/stuff");
    assert_eq!(last["path"], copy.to_str().expect("text"));
    let (whole, mut there) = (tree(&folder), tree(&copy));
    assert_eq!(there.len(), 3);
    assert!(there.iter().all(|(path, file)| whole[path] == *file));

    // Who has some of it shares that, and is no seed.
    let mut partial = member(&place, &manifest, &place.path("copy"), &["--only", "docs"]);
    assert_eq!(partial.event_named("whole")["fetched"], 0);
    let alone = |event: &serde_json::Value| event["members"] == 1 && event["complete_members"] == 0;
    seed.event("that nobody else has all of it", |event| event["event"] == "progress" && alone(event));
    end_of(seed);
    let from_partial = fetch(&place, &manifest, "third", &["--only", "docs/two words"]).with(0);
    assert_eq!(from_partial.last()["code"], 0);
    fetch(&place, &manifest, "third", &["--timeout", "1s"]).with(4);
    end_of(partial);

    let _seed = crate::support::seed(&place, &manifest, &[]);
    fetch(&place, &manifest, "copy", &["--only", "run"]).with(0);
    there = tree(&copy);
    assert_eq!((there.len(), there[Path::new("run")].1), (4, true));
    fetch(&place, &manifest, "copy", &[]).with(0);
    assert_same(&folder, &copy);
    assert_eq!(fs::read_dir(place.path("copy")).expect("a folder").count(), 1, "nothing is left behind");
}

#[test]
fn nothing_leaves_the_folder() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    let manifest = compose(&place, &folder, &[&address]);
    let _seed = seed(&place, &manifest, &[]);
    let outside = place.folder("outside");
    for (link, part) in
        [("stuff", ""), ("stuff.part", ""), ("stuff.part/a", "stuff.part"), ("stuff.part/big", "stuff.part")]
    {
        let copy = place.folder("copy");
        fs::create_dir_all(copy.join(part)).expect("made");
        symlink(&outside, copy.join(link)).expect("a link");
        let ended = fetch(&place, &manifest, "copy", &["--repair"]).with(1);
        ended.says("link");
        assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 0, "{link}");
        fs::remove_dir_all(copy).expect("removed");
    }
    let text = fs::read_to_string(&manifest).expect("a manifest");
    for evil in ["../big", "/big", "a/../../big", "a//big", "./big", "a\\big", ""] {
        let bad = place.path("bad.orch");
        fs::write(&bad, text.replace(" big\n", &format!(" {evil}\n"))).expect("written");
        fetch(&place, &bad, "copy", &[]).with(3);
    }
    assert!(!place.path("big").exists());
}

#[test]
fn links_are_left_out_and_said() {
    let place = Place::new();
    let folder = sorts(&place);
    symlink("/etc", folder.join("a/link")).expect("a link");
    let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
    command.arg(&folder);
    Program::start(command).end().with(0).says("left out: 1 symbolic link");
    assert!(!fs::read_to_string(place.path("stuff.orch")).expect("a manifest").contains("link"));
    // The manifest and the log would be in it.
    let mut command = place.command(env!("CARGO_BIN_EXE_composer"));
    command.arg(".").current_dir(&folder);
    Program::start(command).end().with(2).says("lies in the folder");
}

/// A file of which 3 % were changed, in one place and in another.
#[test]
fn of_what_changed_little_little_is_fetched() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    const SIZE: usize = 32 << 20;
    let new = bytes(SIZE, 40);
    let mut old = new.clone();
    for at in [SIZE / 3, SIZE - SIZE * 2 / 100] {
        old[at..at + SIZE * 3 / 200].fill(7);
    }
    let manifest = crate::support::compose(&place, "x.bin", &new, &[&address]);
    let _seed = seed(&place, &manifest, &[]);
    let little = |ended: crate::support::Ended| {
        let fetched = ended.with(0).last()["fetched"].as_u64().expect("a number");
        assert!((SIZE as u64 * 3 / 100..SIZE as u64 * 5 / 100).contains(&fetched), "{fetched}");
    };
    write(&place.folder("copy"), "x.bin", &old);
    little(fetch(&place, &manifest, "copy", &["--repair"]));
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == new, "it is different");
    write(&place.folder("old"), "x-1.bin", &old);
    let from = place.path("old/x-1.bin");
    little(fetch(&place, &manifest, "other", &["--from", from.to_str().expect("text")]));
    assert!(fs::read(place.path("other/x.bin")).expect("a file") == new, "it is different");
    assert!(fs::read(from).expect("a file") == old, "the old one was changed");
}

#[test]
fn a_folder_that_changed_little_is_repaired() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    let manifest = compose(&place, &folder, &[&address, "16K"]);
    let _seed = seed(&place, &manifest, &[]);
    for (copy, repair) in [("copy", true), ("other", false)] {
        fetch(&place, &manifest, copy, &[]).with(0);
        let there = place.path(copy).join("stuff");
        write(&there, "a/tiny", b"longer than it was");
        write(&there, "mine", b"mine");
        fs::remove_file(there.join("docs/two words")).expect("removed");
        let ended = match repair {
            true => fetch(&place, &manifest, copy, &["--repair"]),
            false => fetch(&place, &manifest, "new", &["--from", there.to_str().expect("text")]),
        };
        let fetched = ended.with(0).last()["fetched"].as_u64();
        assert!(fetched.is_some_and(|fetched| (16_384..6 * 16_384).contains(&fetched)), "{fetched:?}");
        if repair {
            assert_eq!(fs::read(there.join("mine")).expect("it stays"), b"mine");
            fs::remove_file(there.join("mine")).expect("removed");
            assert_same(&folder, &there);
        }
    }
    assert_same(&folder, &place.path("new/stuff"));
}

#[test]
fn a_check_says_which_parts_are_right() {
    let place = Place::new();
    let folder = sorts(&place);
    let manifest = compose(&place, &folder, &["127.0.0.1:1", "16K"]);
    let parts = fs::read_to_string(&manifest).expect("a manifest").lines().nth(5).map(str::to_owned);
    let parts: u64 = parts.and_then(|line| line.parse().ok()).expect("a number");
    let mut big = fs::read(folder.join("big")).expect("a file");
    big[1_000_000..1_000_020].fill(0);
    fs::write(folder.join("big"), big).expect("written");
    let part = (131_237 + 1_000_000) / 16_384 + 1;
    let ended = fetch(&place, &manifest, "seed", &["--check"]).with(6);
    let checked = ended.events().find(|event| event["event"] == "checked").expect("said");
    assert_eq!((&checked["parts"], &checked["wrong"]), (&parts.into(), &serde_json::json!([[part, part]])));

    // Of another size: as far as it goes.
    fs::remove_file(folder.join("run")).expect("removed");
    let ended = fetch(&place, &manifest, "seed", &["--check"]).with(6);
    let checked = ended.events().find(|event| event["event"] == "checked").expect("said");
    assert_eq!(checked["wrong"], serde_json::json!([[part, part], [parts, parts]]));
}

/// libtorrent puts zeroes between files, so that each begins with a part (BEP 47).
#[test]
fn padding_of_other_clients_is_on_no_disk() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let (a, run) = (bytes(3, 1), bytes(300_000, 2));
    let pad = 262_144 - a.len();
    let joined = [&a[..], &vec![0; pad], &run].concat();
    let pieces: Vec<u8> = joined.chunks(262_144).flat_map(|part| Digest::of(part).0).collect();
    let files = format!(
        "d6:lengthi3e4:pathl1:aeed4:attr1:p6:lengthi{pad}e4:pathl4:.pad1:1eed4:attr1:x6:lengthi{}e4:pathl3:runee",
        run.len()
    );
    let announce = format!("http://{address}/announce");
    let head = format!("d8:announce{}:{announce}4:infod5:filesl{files}e4:name6:padded", announce.len());
    let rest = format!("12:piece lengthi262144e6:pieces{}:", pieces.len());
    let torrent = place.path("padded.torrent");
    fs::write(&torrent, [head.as_bytes(), rest.as_bytes(), &pieces, b"ee"].concat()).expect("written");
    let folder = place.folder("seed").join("padded");
    write(&folder, "a", &a);
    write(&folder, "run", &run);
    fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755)).expect("a program");
    let _seed = seed(&place, &torrent, &[]);
    let last = fetch(&place, &torrent, "copy", &[]).with(0).last();
    assert_eq!(last["size"], joined.len());
    assert_same(&folder, &place.path("copy/padded"));
}

#[test]
fn thousands_of_files() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = place.folder("seed").join("many");
    for number in 0..2_000 {
        write(&folder, &format!("{}/{number}", number % 40), &bytes(number % 700, number as u64));
    }
    let manifest = compose(&place, &folder, &[&address]);
    let _seed = seed(&place, &manifest, &[]);
    // Far fewer files may be open than there are.
    let mut command = place.command("sh");
    command.args(["-c", "ulimit -n 128; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_member")]);
    command.arg(&manifest).arg("-o").arg(place.path("copy")).args(["--port", "0", "--json", "--exit-when-done"]);
    Program::start(command).end().with(0);
    assert_same(&folder, &place.path("copy/many"));
}

/// A client fetches a folder from a member; that leaves, and another member has only the client to fetch from.
fn takes_and_gives(client: Client) {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let folder = sorts(&place);
    fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o644)).expect("no program");
    let manifest = compose(&place, &folder, &[&address, "32K", "--torrent"]);
    let torrent = manifest.with_extension("torrent");
    let seed = seed(&place, &manifest, &["--listen", "127.0.0.2"]);
    let copy = place.path("theirs");
    let _client = client.start(&place, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4)), &copy, torrent.as_os_str());
    let copy = copy.join("stuff");
    let mut wanted = tree(&folder);
    // Transmission makes no empty files.
    wanted.retain(|_, (data, _)| client != Client::Transmission || !data.is_empty());
    let until = Instant::now() + PATIENCE;
    let has = |path: &PathBuf, data: &[u8]| fs::read(copy.join(path)).is_ok_and(|there| there == data);
    while !wanted.iter().all(|(path, (data, _))| has(path, data)) {
        assert!(Instant::now() < until, "{client:?} does not get it whole");
        thread::sleep(Duration::from_millis(100));
    }
    end_of(seed);
    let ended = fetch(&place, &manifest, "back", &["--listen", "127.0.0.3"]).with(0);
    assert_eq!(ended.last()["code"], 0);
    assert_same(&folder, &place.path("back/stuff"));
}

#[test]
fn aria2_takes_and_gives() {
    Client::Aria2.is_there().then(|| takes_and_gives(Client::Aria2));
}

#[test]
fn libtorrent_takes_and_gives() {
    Client::Libtorrent.is_there().then(|| takes_and_gives(Client::Libtorrent));
}

#[test]
fn transmission_takes_and_gives() {
    Client::Transmission.is_there().then(|| takes_and_gives(Client::Transmission));
}

#[test]
fn rqbit_takes_and_gives() {
    Client::Rqbit.is_there().then(|| takes_and_gives(Client::Rqbit));
}
