//! A `.torrent` or a magnet link in place of a manifest, among members.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use orchestra::{
    metainfo::{InfoHash, Magnet, Torrent},
    wire::{
        decode::{Limits, decode},
        encode::encode,
        extension::{
            self,
            handshake::ExtensionHandshake,
            metadata::{self, Metadata},
        },
        handshake::{Handshake, LENGTH, PeerId},
        message::{Frame, Message},
    },
};
use rustix::process::Signal;

use crate::support::{Ended, PATIENCE, Place, Program, bytes, compose, conductor, fetch, port};

/// A member for whatever is named, with a state folder of its own: what the others remember it does not.
fn stranger(place: &Place, named: &str, folder: &str, arguments: &[&str]) -> Program {
    let mut command = place.command(env!("CARGO_BIN_EXE_member"));
    command.env("XDG_STATE_HOME", place.path(&format!("state of {folder}")));
    command.arg(named).arg("-o").arg(place.path(folder)).args(["--port", "0", "--json"]).args(arguments);
    Program::start(command)
}

fn fetches(place: &Place, named: &str, folder: &str, arguments: &[&str]) -> Ended {
    stranger(place, named, folder, &[&["--exit-when-done"], arguments].concat()).end()
}

/// The composition `x.bin` with its `.torrent`, and its magnet link without any tracker.
fn torrent(place: &Place, data: &[u8], arguments: &[&str]) -> (String, Magnet) {
    let manifest = compose(place, "x.bin", data, &[arguments, &["--torrent"]].concat());
    let path = manifest.with_extension("torrent");
    let hash = Torrent::parse(&fs::read(&path).expect("a torrent")).expect("a torrent").info_hash();
    (path.to_str().expect("UTF-8").to_owned(), Magnet::new(hash))
}

/// The link with this member in it.
fn at(magnet: &Magnet, port: impl Into<u64>) -> String {
    format!("{magnet}&x.pe=127.0.0.1:{}", port.into())
}

#[track_caller]
fn assert_copy(place: &Place, folder: &str, data: &[u8]) {
    assert!(fs::read(place.path(folder).join("x.bin")).expect("a copy") == data, "the copy is different");
}

#[test]
fn a_torrent_is_as_good_as_a_manifest() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let data = bytes((1 << 20) + 5, 60);
    let (torrent, _) = torrent(&place, &data, &[&address, "64K"]);
    let mut seed = stranger(&place, &torrent, "seed", &[]);
    seed.event_named("whole");
    let last = fetches(&place, &torrent, "one", &[]).with(0).last();
    assert_eq!(last["size"], data.len());
    assert_copy(&place, "one", &data);
    fetch(&place, &place.path("x.bin.orch"), "two", &[]).with(0);
    assert_copy(&place, "two", &data);
}

#[test]
fn a_magnet_link_leads_to_the_file_and_on_to_others() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    // 1,025 digests: an info dictionary of two pieces.
    let data = bytes((16 << 20) + 5, 61);
    let (torrent, magnet) = torrent(&place, &data, &[&address, "16K"]);
    let mut seed = stranger(&place, &torrent, "seed", &[]);
    let seed_port = port(&mut seed);
    let tracked = Magnet { trackers: vec![format!("http://{address}/announce")], ..magnet.clone() };
    let ended = fetches(&place, &tracked.to_string(), "tracked", &[]).with(0);
    assert_copy(&place, "tracked", &data);
    assert!(ended.events().any(|event| event["event"] == "start" && event["name"] == "x.bin"));

    let mut second = stranger(&place, &at(&magnet, seed_port), "second", &[]);
    let second_port = port(&mut second);
    second.event_named("whole");
    seed.signal(Signal::TERM);
    seed.end().with(0);
    fetches(&place, &at(&magnet, second_port), "third", &[]).with(0);
    assert_copy(&place, "third", &data);
}

#[test]
fn the_same_link_goes_on_without_anybody() {
    let place = Place::new();
    let data = bytes(3 << 20, 62);
    let (torrent, magnet) = torrent(&place, &data, &[]);
    let mut seed = stranger(&place, &torrent, "seed", &[]);
    let link = at(&magnet, port(&mut seed));
    let mut first = stranger(&place, &link, "copy", &["--download", "1M"]);
    first.midway();
    first.signal(Signal::TERM);
    first.end().with(130);
    seed.signal(Signal::TERM);
    seed.end().with(0);
    let last = fetches(&place, &link, "copy", &["--timeout", "1s"]).with(7).last();
    assert_eq!(last["size"], data.len(), "it knows what it fetches");
    assert!(last["have"].as_u64() > Some(0), "it knows what it has: {last}");

    let mut seed = stranger(&place, &torrent, "seed", &[]);
    fetches(&place, &at(&magnet, port(&mut seed)), "copy", &[]).with(0);
    assert_copy(&place, "copy", &data);
    fetches(&place, &magnet.to_string(), "copy", &[]).with(0);
}

#[test]
fn what_cannot_be_fetched_is_said_and_nothing_made() {
    let place = Place::new();
    let several =
        "d4:infod5:filesld6:lengthi3e4:pathl2:..1:aeee4:name1:f12:piece lengthi3e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let v2 = "d4:infod9:file treede12:meta versioni2e4:name1:x12:piece lengthi16384eee";
    for (text, words) in [(several, "another folder"), (v2, "version 2"), ("hello", "no torrent file")] {
        let path = place.path("bad.torrent");
        fs::write(&path, text).expect("written");
        fetches(&place, path.to_str().expect("UTF-8"), "copy", &[]).with(3).says(words);
    }
    fetches(&place, "magnet:?xt=urn:btmh:1220ff", "copy", &[]).with(2).says("version 2");
    fetches(&place, "magnet:?dn=x", "copy", &[]).with(2).says("info-hash");
    assert!(!place.path("copy").exists());
}

#[test]
fn nobody_answers_a_magnet_link_is_7() {
    let place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let link = format!("magnet:?xt=urn:btih:{}&dn=film&tr=udp://t:1&x.pe={closed}", "5".repeat(40));
    let ended = fetches(&place, &link, "copy", &["--timeout", "1s"]).with(7);
    assert_eq!((&ended.last()["name"], &ended.last()["code"]), (&"film".into(), &7.into()));
    ended.says("udp://t:1");
    assert!(ended.events().any(|event| event["event"] == "waiting"));
}

#[test]
fn a_conductor_and_no_member_is_4() {
    let place = Place::new();
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let link = format!("magnet:?xt=urn:btih:{}&tr=http://{address}/announce", "5".repeat(40));
    fetches(&place, &link, "copy", &["--timeout", "1s"]).with(4);
    assert!(!place.path("copy").exists());
}

/// How a member of the test's own answers who asks for the info dictionary.
#[derive(Clone)]
enum Manner {
    /// It has these bytes in its place.
    Gives(Vec<u8>),
    /// It says that it is this long, and gives nothing.
    Promises(u32),
    /// This is all that it ever says.
    Says(Vec<u8>),
}

/// Listens for one member after the other; tells when one said its 68 bytes.
fn impostor(magnet: &Magnet, manner: Manner) -> (u16, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // Of two with the same id only one is asked.
    let mut id = *b"-XX0000-impostor....";
    id[16..18].copy_from_slice(&port.to_be_bytes());
    let id = PeerId(id);
    let hello = Handshake { info_hash: magnet.hash, id, extended: true, fast: true, dht: false };
    let (met, meets) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Who is left alone ends the conversation: that is no failure here.
            let _ = converse(stream, hello, &manner, || {
                let _ = met.send(());
            });
        }
    });
    (port, meets)
}

fn converse(mut stream: TcpStream, hello: Handshake, manner: &Manner, met: impl FnOnce()) -> std::io::Result<()> {
    let mut theirs = [0; LENGTH];
    stream.read_exact(&mut theirs)?;
    stream.write_all(&hello.encode())?;
    met();
    let (info, size) = match manner {
        Manner::Gives(info) => (&info[..], info.len() as u32),
        Manner::Promises(size) => (&[][..], *size),
        Manner::Says(bytes) => {
            stream.write_all(bytes)?;
            return stream.read_to_end(&mut Vec::new()).map(drop);
        }
    };
    let offer = ExtensionHandshake { ut_metadata: Some(7), metadata_size: Some(size), ..Default::default() };
    say(&mut stream, extension::HANDSHAKE, offer.encode())?;
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Ok(Some((frame, length))) = decode(&buffer, &Limits { block: 0 }) {
            buffer.drain(..length);
            let Frame::Message(Message::Extended { id: 7, payload }) = frame else { continue };
            let Ok(Metadata::Request { piece }) = Metadata::decode(&payload) else { continue };
            if let Some(bytes) = info.chunks(metadata::PIECE as usize).nth(piece as usize) {
                let data = Metadata::Data { piece, total: size, bytes: bytes.to_vec() };
                say(&mut stream, extension::OUR_METADATA, data.encode())?;
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

fn say(stream: &mut TcpStream, id: u8, payload: Vec<u8>) -> std::io::Result<()> {
    let mut out = Vec::new();
    encode(&Message::Extended { id, payload }, &mut out);
    stream.write_all(&out)
}

/// The info dictionary in this `.torrent`.
fn info(torrent: &str) -> Vec<u8> {
    Torrent::parse(&fs::read(torrent).expect("a torrent")).expect("a torrent").info_bytes().to_vec()
}

#[test]
fn liars_do_not_keep_it_from_the_file() {
    let place = Place::new();
    let data = bytes((16 << 20) + 5, 63);
    let (_conductor, address) = conductor(&place, "127.0.0.1:0");
    let (torrent, magnet) = torrent(&place, &data, &[&address, "16K"]);
    let mut wrong = info(&torrent);
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    let garbage = [&u32::MAX.to_be_bytes()[..], &[20; 100]].concat();
    let manners = [
        Manner::Gives(wrong),
        Manner::Gives(vec![b'd'; 100]),
        Manner::Promises(u32::MAX),
        Manner::Promises(8 << 20),
        Manner::Says(garbage),
        Manner::Says(b"\0\0\0\x02\x14\0\0\0\0\x0a\x14\x02d8:msg_t".to_vec()),
    ];
    let liars = manners.map(|manner| impostor(&magnet, manner));
    let mut link = format!("{magnet}&tr=http://{address}/announce");
    liars.iter().for_each(|(port, _)| link += &format!("&x.pe=127.0.0.1:{port}"));
    let mut fetching = stranger(&place, &link, "copy", &["--exit-when-done", "--log-dir", "-"]);
    for (_, meets) in &liars {
        meets.recv_timeout(PATIENCE).expect("a liar that is asked");
    }
    fetching.line("whom it does not ask again", |line| line.contains("is not asked again").then_some(()));
    // Only now does anybody come who tells the truth.
    let mut seed = stranger(&place, &torrent, "seed", &[]);
    seed.event_named("whole");
    fetching.end().with(0);
    assert_copy(&place, "copy", &data);
}

#[test]
fn a_link_to_what_cannot_be_fetched_is_3() {
    let place = Place::new();
    let file = |name: &str| format!("d6:lengthi3e4:name{name}12:piece lengthi3e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
    let several = "d5:filesld6:lengthi3e4:pathl2:..1:aeee4:name1:f12:piece lengthi3e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    for (info, words) in
        [(several.to_owned(), "another folder"), (file("5:../ab"), "separator"), ("i5e".into(), "no dictionary")]
    {
        let magnet = Magnet::new(InfoHash::of(info.as_bytes()));
        let (port, _meets) = impostor(&magnet, Manner::Gives(info.into_bytes()));
        fetches(&place, &at(&magnet, port), "copy", &[]).with(3).says(words);
    }
    assert!(!place.path("copy").exists());
}

#[test]
fn who_promises_and_gives_nothing_is_asked_in_vain() {
    let place = Place::new();
    let magnet = Magnet::new(InfoHash([5; 20]));
    let (port, meets) = impostor(&magnet, Manner::Promises(100));
    let ended = fetches(&place, &at(&magnet, port), "copy", &["--timeout", "2s"]).with(4);
    meets.recv_timeout(PATIENCE).expect("it was asked");
    ended.says("asking 1 member");
    ended.says("nobody gave the manifest");
}
