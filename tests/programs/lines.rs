//! Lines between members that break, stall and trickle: a proxy between two real members does it to them.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use crate::support::{Ended, Place, Program, bytes, compose, fetch, member, port};

const SIZE: usize = (3 << 20) + 99;
const BLOCK: u64 = 16 << 10;

/// What happens on a connection once so many bytes went towards who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Both sides are told that it ended.
    Closed(usize),
    /// Both sides are told that it broke.
    Reset(usize),
    /// Nothing comes any more, and nobody is told.
    Silent(usize),
    /// Nothing comes for so many milliseconds.
    Stalled(usize, u64),
    /// From then on, for a while, some bytes at a time.
    Trickling(usize),
}

/// A line to an address, whose first connections have these faults, one each.
struct Proxy {
    address: SocketAddr,
    happened: Arc<Mutex<Vec<Fault>>>,
    _runtime: Runtime,
}

impl Proxy {
    fn to(far: u64, faults: &[Fault]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let far = SocketAddr::from(([127, 0, 0, 1], far.try_into().expect("a port")));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let happened = Arc::new(Mutex::new(Vec::new()));
        let (mut faults, told) = (VecDeque::from(faults.to_vec()), happened.clone());
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (fault, told) = (faults.pop_front(), told.clone());
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(far).await {
                        // However it ends, it has ended.
                        let _ = carry(near, far, fault, &told).await;
                    }
                });
            }
        });
        Self { address, happened, _runtime: runtime }
    }

    fn happened(&self) -> Vec<Fault> {
        self.happened.lock().expect("no panic").clone()
    }
}

/// Carries bytes both ways until one side ends, or the fault does it.
async fn carry(
    mut near: TcpStream,
    mut far: TcpStream,
    mut fault: Option<Fault>,
    happened: &Mutex<Vec<Fault>>,
) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
    let mut came = 0;
    loop {
        let count = tokio::select! {
            read = near.read(&mut up) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                far.write_all(&up[..count]).await?;
                continue;
            }
            read = far.read(&mut down) => read?,
        };
        if count == 0 {
            return Ok(());
        }
        let (Fault::Closed(after)
        | Fault::Reset(after)
        | Fault::Silent(after)
        | Fault::Stalled(after, _)
        | Fault::Trickling(after)) = fault.unwrap_or(Fault::Closed(usize::MAX));
        let whole = count.min(after.saturating_sub(came));
        near.write_all(&down[..whole]).await?;
        came += count;
        if came < after {
            continue;
        }
        happened.lock().expect("no panic").extend(fault);
        match fault.take() {
            Some(Fault::Closed(_)) => return Ok(()),
            Some(Fault::Reset(_)) => {
                for stream in [&near, &far] {
                    SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
                }
                return Ok(());
            }
            Some(Fault::Silent(_)) => std::future::pending().await,
            Some(Fault::Stalled(_, time)) => tokio::time::sleep(Duration::from_millis(time)).await,
            Some(Fault::Trickling(_)) => {
                near.set_nodelay(true)?;
                for some in down[whole..count].chunks(7) {
                    near.write_all(some).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                continue;
            }
            None => {}
        }
        near.write_all(&down[whole..count]).await?;
    }
}

/// Others are told that this member is where nobody listens: or they would find a way around the proxy.
const NOT_HERE: [&str; 2] = ["--advertise", "127.0.0.1:1"];

/// A member that shares, by itself.
fn shared(number: u64, arguments: &[&str]) -> (Place, PathBuf, Vec<u8>, Program, u64) {
    let place = Place::new();
    let data = bytes(SIZE, number);
    let manifest = compose(&place, "x.bin", &data, &["0.0.0.0:0", "128K"]);
    let mut seed = member(&place, &manifest, &place.path("seed"), arguments);
    let port = port(&mut seed);
    seed.event_named("whole");
    (place, manifest, data, seed, port)
}

fn fetched_through(place: &Place, manifest: &Path, peers: &[SocketAddr]) -> Ended {
    let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
    let peers = peers.iter().flat_map(|peer| ["--peer", peer]);
    fetch(place, manifest, "copy", &NOT_HERE.into_iter().chain(peers).collect::<Vec<_>>()).with(0)
}

#[test]
fn a_line_that_breaks_again_and_again() {
    let (place, manifest, data, _seed, port) = shared(70, &[]);
    let faults = [
        Fault::Reset(30),
        Fault::Closed(68),
        Fault::Reset(500_000),
        Fault::Closed(700_001),
        Fault::Reset(120_000),
        Fault::Stalled(100_000, 1500),
    ];
    let breaks = faults.iter().filter(|fault| matches!(fault, Fault::Reset(_) | Fault::Closed(_))).count();
    let proxy = Proxy::to(port, &faults);
    let ended = fetched_through(&place, &manifest, &[proxy.address]);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data, "the copy is different");
    let happened = proxy.happened();
    assert_eq!(happened, faults);
    let fetched = ended.last()["fetched"].as_u64().expect("a number");
    let most = SIZE as u64 + breaks as u64 * BLOCK;
    assert!((SIZE as u64..=most).contains(&fetched), "{fetched}: more than the blocks that broke came again");
}

#[test]
fn a_line_that_trickles_gets_there() {
    let (place, manifest, data, _seed, port) = shared(73, &[]);
    let faults = [Fault::Trickling(1_000_000)];
    let proxy = Proxy::to(port, &faults);
    fetched_through(&place, &manifest, &[proxy.address]);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data, "the copy is different");
    assert_eq!(proxy.happened(), faults);
}

#[test]
fn a_line_that_stalls_goes_on() {
    let (place, manifest, data, _seed, port) = shared(71, &[]);
    let faults = [Fault::Stalled(1_000_000, 3000)];
    let proxy = Proxy::to(port, &faults);
    fetched_through(&place, &manifest, &[proxy.address]);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data, "the copy is different");
    assert_eq!(proxy.happened(), faults);
}

/// The other end of one line vanished without a word: what was asked of it comes from elsewhere.
#[test]
fn a_silent_line_holds_nothing_up() {
    let (place, manifest, data, _one, silent_port) = shared(72, &[]);
    let mut other = member(&place, &manifest, &place.path("seed"), &["--upload", "1M"]);
    let other_port = port(&mut other);
    let faults = [Fault::Silent(400_000)];
    let proxy = Proxy::to(silent_port, &faults);
    let sound = Proxy::to(other_port, &[]);
    fetched_through(&place, &manifest, &[proxy.address, sound.address]);
    assert!(fs::read(place.path("copy/x.bin")).expect("a file") == data, "the copy is different");
    assert_eq!(proxy.happened(), faults);
}
