//! How fast one member gets a composition from another over the loopback, and what that costs in processor time.
//!
//! `cargo bench --bench transfer [-- MIB [PART_KIB]]` moves 1 GiB (or so many MiB) in parts of 512 KiB through the whole
//! path: page cache, sendfile, socket, memory, SHA-1 of each part, file, SHA-1 of the whole. Both members live in this
//! process, so the processor time is that of both. The folders are made under `TMPDIR` and removed.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use orchestra::{
    geometry::Geometry,
    hashing::{Digest, Hasher},
    metainfo::InfoHash,
    net::limiter::Limiter,
    peer::{
        Command, Event, Introduction, PeerKey,
        driver::{Link, run},
        session::{Session, Setup, Show},
    },
    storage::{self, Contents, DiskEvent, Found, Opened, Wishes},
    time::Time,
    wire::handshake::PeerId,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

type Problem = Box<dyn std::error::Error>;

/// Parts asked for ahead.
const AHEAD: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Problem> {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let size = numbers.first().unwrap_or(&1024) << 20;
    let part_size = numbers.get(1).unwrap_or(&512) << 10;
    for (name, extended) in [("blocks as long as our own members ask for", true), ("blocks of 16 KiB", false)] {
        let (there, here) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let contents = compose(&there.path().join("composition"), Geometry::new(size, part_size)?)?;
        let full = share(contents.clone(), there.path()).await?;
        let empty = storage::open(contents, here.path(), &Wishes::default(), None)?;
        let (wall, cpu) = (Instant::now(), processor_time());
        transfer(full, empty, extended).await?;
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), (processor_time() - cpu).as_secs_f64());
        let gib = size as f64 / f64::from(1 << 30);
        println!("{name}: {:.2} s and {:.2} CPU s for a GiB", wall / gib, cpu / gib);
    }
    Ok(())
}

/// Writes random bytes, and says what they are.
fn compose(path: &Path, geometry: Geometry) -> std::io::Result<Contents> {
    let mut file = std::fs::File::create(path)?;
    let mut dice = fastrand::Rng::with_seed(1);
    let (mut whole, mut parts) = (Hasher::new(), Vec::new());
    for part in geometry.all_parts() {
        let mut bytes = vec![0; geometry.part_len(part) as usize];
        dice.fill(&mut bytes);
        std::io::Write::write_all(&mut file, &bytes)?;
        whole.update(&bytes);
        parts.push(Digest::of(&bytes));
    }
    Ok(Contents {
        name: "composition".into(),
        files: Vec::new(),
        executable: false,
        only: None,
        geometry,
        parts: parts.into(),
        whole: Some(whole.finish()),
        info_hash: InfoHash([1; 20]),
    })
}

async fn share(contents: Contents, folder: &Path) -> Result<Opened, Problem> {
    let mut opened = storage::open(contents, folder, &Wishes::default(), None)?;
    assert_eq!(opened.found, Found::Unproven);
    let _check = opened.store.check();
    while !matches!(opened.events.recv().await, Some(DiskEvent::Whole)) {}
    Ok(opened)
}

async fn transfer(full: Opened, mut empty: Opened, extended: bool) -> Result<(), Problem> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let dialled = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    let seed = converse(&full, accepted, Show::Everything, extended)?;
    let member = converse(&empty, dialled, Show::Nothing, extended)?;
    tokio::spawn(serve(seed));
    let fetching = tokio::spawn(fetch(member, *empty.store.geometry()));
    while !matches!(empty.events.recv().await.ok_or("the disk is silent")?, DiskEvent::Whole) {}
    fetching.await?;
    Ok(())
}

/// The swarm's end of a conversation.
struct Ends {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<(PeerKey, Vec<Event>)>,
}

fn converse(opened: &Opened, stream: TcpStream, show: Show, extended: bool) -> Result<Ends, Problem> {
    let (commands, their_commands) = mpsc::channel(64);
    let (their_events, events) = mpsc::channel(64);
    let remote =
        Introduction { id: PeerId([1; 20]), address: stream.peer_addr()?, dialled: true, fast: true, extended };
    let geometry = *opened.store.geometry();
    tokio::spawn(run(Link {
        key: PeerKey(1),
        stream,
        session: Session::new(
            Setup {
                geometry,
                info: Arc::default(),
                name: "test".into(),
                copy: None,
                machine: None,
                listen_port: 1,
                remote,
                show,
            },
            Time::ZERO,
        ),
        store: opened.store.clone(),
        commands: their_commands,
        events: their_events,
        start: Instant::now(),
        upload: Limiter::default(),
        download: Limiter::default(),
    }));
    Ok(Ends { commands, events })
}

async fn serve(mut seed: Ends) {
    while let Some((_, events)) = seed.events.recv().await {
        if events.contains(&Event::Asks) {
            let _ = seed.commands.send(Command::Serve { bytes: 4 << 20 }).await;
        }
    }
}

async fn fetch(mut member: Ends, geometry: Geometry) {
    let mut parts = geometry.all_parts();
    let mut left = parts.len();
    while let Some((_, events)) = member.events.recv().await {
        let starts = events.contains(&Event::Choked(false));
        let came = events.iter().filter(|event| matches!(event, Event::Right(_))).count();
        left -= came;
        for part in parts.by_ref().take(came + if starts { AHEAD } else { 0 }) {
            let _ = member.commands.send(Command::Fetch(part)).await;
        }
        if left == 0 {
            return;
        }
    }
}

/// What this process used of the processors so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
