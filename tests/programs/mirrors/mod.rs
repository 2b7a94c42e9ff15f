//! HTTP servers that hold the same bytes (BEP 19), good and bad.

mod site;

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::support::{Ended, Place, Program, bytes, compose, fetch, member, port, seed};
use site::{Request, Site, say, send};

const PART: usize = 64 << 10;
const SIZE: usize = 160 * PART - 77;

/// A composition that names this mirror, and its manifest.
fn composed(place: &Place, data: &[u8], mirror: &str) -> PathBuf {
    compose(place, "x.bin", data, &["--mirror", mirror, "0.0.0.0:0", "64K"])
}

fn number(ended: &Ended, key: &str) -> u64 {
    ended.last()[key].as_u64().unwrap_or_else(|| panic!("no {key} in {}", ended.last()))
}

#[track_caller]
fn assert_same(file: &Path, data: &[u8]) {
    assert!(fs::read(file).is_ok_and(|read| read == data), "{} is not the file", file.display());
}

#[test]
fn a_mirror_alone_gives_a_file() {
    let (place, data) = (Place::new(), bytes(SIZE, 1));
    let site = Site::of(&data);
    let manifest = composed(&place, &data, &format!("http://{}/dir/", site.address));
    let ended = fetch(&place, &manifest, "copy", &[]).with(0);
    assert_same(&place.path("copy/x.bin"), &data);
    assert_eq!((number(&ended, "mirror"), number(&ended, "fetched")), (SIZE as u64, SIZE as u64));
    let asked = site.asked();
    assert!(asked.iter().all(|path| path == "/dir/x.bin") && asked.len() < 40, "{asked:?}");
    // What is verified on the disk is not asked for again.
    fetch(&place, &manifest, "copy", &[]).with(0);
    assert_eq!(site.asked().len(), asked.len());
    // The same for people.
    let mut told = place.command(env!("CARGO_BIN_EXE_member"));
    told.arg(&manifest).args(["-o", "other", "--port", "0", "--exit-when-done", "-v"]);
    let told = Program::start(told).end().with(0);
    told.says(&format!("part 160 from mirror {}", site.address));
    told.says("of it from mirrors: ./other/x.bin");
}

#[test]
fn a_mirror_alone_gives_a_folder_also_from_a_torrent() {
    let place = Place::new();
    let folder = place.folder("seed/a b");
    let files = [("1", 3 * PART + 5, 1), ("deep/er/ü#1", 7, 2), ("deep/none", 0, 3), ("z%2e", PART, 4)];
    for (path, size, seed) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes(size, seed)).expect("written");
    }
    let held = folder.clone();
    let site = Site::new(move |request, stream| {
        let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
        match path.strip_prefix("/m/a b/").map(|path| fs::read(held.join(path))) {
            Some(Ok(data)) => send(stream, request, &data),
            _ => say(stream, "404 Not Found", ""),
        }
    });
    let mirror = format!("http://{}/m", site.address);
    let mut composer = place.command(env!("CARGO_BIN_EXE_composer"));
    composer.arg(&folder).args(["--mirror", &mirror, "--torrent", "0.0.0.0:0", "16K"]);
    Program::start(composer).end().with(0);
    for (manifest, copy) in [("a b.orch", "one"), ("a b.torrent", "two")] {
        let ended = fetch(&place, &place.path(manifest), copy, &[]).with(0);
        assert!(number(&ended, "mirror") > 0);
        for (path, size, seed) in files {
            assert_same(&place.path(copy).join("a b").join(path), &bytes(size, seed));
        }
    }
}

#[test]
fn killed_midway_members_complete() {
    let (place, data) = (Place::new(), bytes(SIZE, 3));
    let (left, held) = (AtomicUsize::new(2 << 20), data.clone());
    let site = Site::new(move |request, stream| {
        let (first, last) = request.range.expect("a range");
        let left =
            left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left.saturating_sub(last + 1 - first)));
        match left.expect("always some") {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            _ => send(stream, request, &held),
        }
    });
    let manifest = composed(&place, &data, &format!("http://{}/x.bin", site.address));
    let mut fetching = member(&place, &manifest, &place.path("copy"), &["--exit-when-done"]);
    let there = port(&mut fetching);
    let failed = fetching.event_named("warning");
    assert!(failed["text"].as_str().is_some_and(|text| text.contains("does not help for now")), "{failed}");
    let _seed = seed(&place, &manifest, &["--peer", &format!("127.0.0.1:{there}")]);
    let ended = fetching.end().with(0);
    assert_same(&place.path("copy/x.bin"), &data);
    let (mirror, fetched) = (number(&ended, "mirror"), number(&ended, "fetched"));
    assert!(mirror >= 1 << 20 && mirror < fetched, "{mirror} of {fetched} from the mirror");
}

/// A mirror that answers like this is of no use, which the member says in these words; members complete the file.
fn is_no_use(words: &str, answer: impl Fn(&[u8], &Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) {
    let (place, data) = (Place::new(), bytes(SIZE, 4));
    let held = data.clone();
    let site = Site::new(move |request, stream| answer(&held, request, stream));
    let manifest = composed(&place, &data, &format!("http://{}/x.bin", site.address));
    let mut fetching = member(&place, &manifest, &place.path("copy"), &["--exit-when-done"]);
    let there = port(&mut fetching);
    // One that is silent is found out only where a member could do its work.
    if words != SILENT {
        let told = fetching.event("what becomes of the mirror", |event| {
            event["text"].as_str().is_some_and(|text| text.contains(words))
        });
        assert_eq!(told["event"], "warning");
    } else {
        site.wait_until_asked();
    }
    let _seed = seed(&place, &manifest, &["--peer", &format!("127.0.0.1:{there}")]);
    let ended = fetching.end().with(0);
    ended.says(words);
    assert_same(&place.path("copy/x.bin"), &data);
    assert!(number(&ended, "fetched") > number(&ended, "mirror"), "the member gave nothing");
}

const SILENT: &str = "does not help for now: it sends nothing";

#[test]
fn wrong_bytes_are_refused_and_the_mirror_left() {
    is_no_use("is not asked any more: what it sends is wrong", |_, request, stream| {
        send(stream, request, &bytes(SIZE, 5))
    });
}

#[test]
fn a_mirror_of_another_length_is_left() {
    is_no_use(&format!("its file has {} bytes, not {SIZE}", SIZE - 1), |data, request, stream| {
        send(stream, request, &data[..SIZE - 1])
    });
}

#[test]
fn a_mirror_that_knows_no_ranges_is_left() {
    is_no_use("it sends whole files alone", |data, _, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")?;
        stream.write_all(data)
    });
}

#[test]
fn a_mirror_without_the_file_is_left() {
    is_no_use("it has no such file (HTTP status 404)", |_, _, stream| say(stream, "404 Not Found", ""));
}

#[test]
fn a_mirror_that_sends_one_round_in_circles_is_left() {
    is_no_use("it redirects more than 5 times", |_, _, stream| say(stream, "302 Found", "Location: /again\r\n"));
}

#[test]
fn no_redirect_presses_a_button_nearby() {
    is_no_use("it leads to a private address", |_, request, stream| {
        assert!(!request.path.contains("reboot"), "it was pressed");
        say(stream, "302 Found", "Location: /reboot?now=1\r\n")
    });
}

#[test]
fn a_mirror_that_says_much_and_sends_nothing_holds_nobody_up() {
    is_no_use(SILENT, |_, request, stream| {
        let (first, last) = request.range.expect("a range");
        let len = last + 1 - first;
        write!(
            stream,
            "HTTP/1.1 206 x\r\nContent-Length: {len}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n"
        )?;
        // Until the other side has enough of it.
        stream.read(&mut [0]).map(drop)
    });
}

#[test]
fn a_redirect_is_followed() {
    let (place, data) = (Place::new(), bytes(SIZE, 6));
    let there = Site::of(&data);
    let to = format!("Location: http://{}/other/place\r\n", there.address);
    let site = Site::new(move |_, stream| say(stream, "307 Temporary Redirect", &to));
    let manifest = composed(&place, &data, &format!("http://{}/x.bin", site.address));
    fetch(&place, &manifest, "copy", &[]).with(0);
    assert_same(&place.path("copy/x.bin"), &data);
    assert!(there.asked().iter().all(|path| path == "/other/place"));
}

#[test]
fn a_magnet_link_names_mirrors_too() {
    let (place, data) = (Place::new(), bytes(SIZE, 7));
    let site = Site::of(&data);
    let manifest = compose(&place, "x.bin", &data, &["0.0.0.0:0", "64K"]);
    // It has the manifest that the link leads to, and nothing of the file.
    let mut other = member(&place, &manifest, &place.path("other"), &[]);
    let peer = format!("127.0.0.1:{}", port(&mut other));
    let link = format!("{}&ws=http://{}/y", magnet_of(&place, &manifest), site.address);
    let ended = fetch(&place, Path::new(&link), "copy", &["--peer", &peer]).with(0);
    assert_same(&place.path("copy/x.bin"), &data);
    assert!(number(&ended, "mirror") > 0);
}

/// What `member show` says.
fn magnet_of(place: &Place, manifest: &Path) -> String {
    let mut show = place.command(env!("CARGO_BIN_EXE_member"));
    show.arg("show").arg(manifest).arg("--json");
    let shown = Program::start(show).end().with(0);
    let magnet = shown.events().find_map(|facts| facts["magnet"].as_str().map(str::to_owned));
    magnet.expect("a magnet link")
}

#[test]
fn a_mirror_is_written_in_every_form_and_does_not_change_the_swarm() {
    let (place, data) = (Place::new(), bytes(3 * PART, 8));
    let plain = compose(&place, "plain.bin", &data, &[]);
    let plain = magnet_of(&place, &plain);
    let (one, two) = ("http://h.example/isos/", "https://[2001:db8::1]:8443/y?z=1");
    let arguments = ["--mirror", one, "--mirror", two, "--torrent", "--magnet"];
    let manifest = compose(&place, "x.bin", &data, &arguments);
    let text = fs::read_to_string(&manifest).expect("text");
    assert!(text.contains(&format!("\nmirror {one}\nmirror {two}\n")), "{text}");
    let torrent = fs::read(manifest.with_extension("torrent")).expect("a torrent");
    assert!(String::from_utf8_lossy(&torrent).contains(&format!("8:url-listl{}:{one}{}:{two}e", one.len(), two.len())));
    let magnet = magnet_of(&place, &manifest);
    assert!(magnet.contains("&ws=http%3A%2F%2Fh.example%2Fisos%2F&ws=https"), "{magnet}");
    let hash = |link: &str| link.split(['&', '?']).find(|field| field.starts_with("xt=")).map(str::to_owned);
    let named = compose(&place, "plain.bin", &data, &["--mirror", one, "--force"]);
    assert_eq!(hash(&magnet_of(&place, &named)), hash(&plain));

    let mut more = place.command(env!("CARGO_BIN_EXE_composer"));
    more.args(["--mirror", "http://third/", "--mirror", one, "-o", "more.orch", "--from"]).arg(&manifest);
    Program::start(more).end().with(0);
    let text = fs::read_to_string(place.path("more.orch")).expect("text");
    assert!(text.ends_with(&format!("mirror {one}\nmirror {two}\nmirror http://third/\n")), "{text}");

    let mut wrong = place.command(env!("CARGO_BIN_EXE_composer"));
    wrong.args(["--mirror", "ftp://h/", "seed/x.bin", "-o", "wrong.orch"]);
    Program::start(wrong).end().with(2).says("only http and https");
}
