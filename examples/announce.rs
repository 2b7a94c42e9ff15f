//! Asks a conductor who shares a composition, in the words that members use:
//! `cargo run --example announce -- big.orch`

use std::{
    env,
    error::Error,
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use orchestra::{
    announce::{Announce, Reply, http_answer::read_reply, http_request::write_announce},
    manifest::Manifest,
    wire::handshake::PeerId,
};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("name a manifest: announce FILE.orch")?;
    let manifest = Manifest::parse(&fs::read(path)?)?;
    let announce = Announce {
        info_hash: manifest.info_hash(),
        id: PeerId::fresh(&mut fastrand::Rng::new()),
        // Nobody can call back.
        port: 0,
        event: None,
        uploaded: 0,
        downloaded: 0,
        left: manifest.geometry.size(),
        numwant: Some(50),
        compact: true,
        no_peer_id: true,
        key: None,
        ip: None,
    };
    let conductor = manifest.conductor.to_string();
    let mut stream = TcpStream::connect(&conductor)?;
    let query = write_announce(&announce);
    write!(stream, "GET /announce?{query} HTTP/1.1\r\nHost: {conductor}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("this is no HTTP")? + 4;
    match read_reply(&answer[body..])? {
        Reply::Failure(why) => Err(format!("{conductor} says: {why}").into()),
        Reply::Answer(answer) => {
            println!("{} whole, {} on the way", answer.complete.unwrap_or(0), answer.incomplete.unwrap_or(0));
            answer.peers.iter().for_each(|peer| println!("{}", peer.address));
            Ok(())
        }
    }
}
