//! One million members in 10,000 swarms of the conductor's table: the memory that they take, and how long an announce
//! waits for its answer while another thread takes out who was not heard in time. `cargo bench --bench table`.
//!
//! The expiry is harsher than life: the table's clock runs so that each member's time is over as often as it announces,
//! and the sweep never rests.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use orchestra::{
    announce::{Announce, udp_answer::ListWriter},
    conductor::table::{Caller, Seed, Table},
    metainfo::InfoHash,
    wire::handshake::PeerId,
};

const MEMBERS: u32 = 1_000_000;
const SWARMS: u32 = 10_000;
/// Announces whose time is taken.
const TIMED: usize = 2_000_000;

/// The nth member's announce; it is in swarm n modulo [`SWARMS`], and one in ten is a seed.
fn announce(n: u32) -> (Announce, Caller) {
    let mut hash = [7; 20];
    hash[..4].copy_from_slice(&(n % SWARMS).to_be_bytes());
    let mut id = *b"-OC0100-............";
    id[8..12].copy_from_slice(&n.to_be_bytes());
    let source = IpAddr::V4(Ipv4Addr::from(0x0100_0000 + n));
    let announce = Announce {
        info_hash: InfoHash(hash),
        id: PeerId(id),
        port: 6881,
        ip: None,
        uploaded: 0,
        downloaded: 0,
        left: u64::from(!n.is_multiple_of(10)),
        event: None,
        numwant: None,
        compact: true,
        no_peer_id: true,
        key: Some(n),
    };
    (announce, Caller::new(source, source))
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

fn say(table: &Table, n: u32, now: Duration, dice: &mut fastrand::Rng, out: &mut Vec<u8>) {
    let (announce, caller) = announce(n);
    out.clear();
    let mut list = ListWriter::new(out, 1, caller.source);
    let word = table.announce(&announce, &caller, now, dice, drop, |listed| list.add(listed.address));
    let word = word.expect("room");
    list.finish(word.interval, word.counts);
}

fn main() {
    let table = Arc::new(Table::new(Seed(1, 2)));
    let mut dice = fastrand::Rng::with_seed(1);
    let mut out = Vec::with_capacity(2000);
    let before = resident();
    let start = Instant::now();
    (0..MEMBERS).for_each(|n| say(&table, n, Duration::ZERO, &mut dice, &mut out));
    let took = start.elapsed();
    let memory = resident() - before;
    assert_eq!((table.members(), table.swarms()), (MEMBERS as usize, SWARMS as usize));
    println!("{MEMBERS} members in {SWARMS} swarms came in {took:.2?}");
    println!("memory: {} MiB, {} bytes a member", memory >> 20, memory / MEMBERS as usize);

    let (clock, stop, gone) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let sweeper = {
        let (table, clock, stop, gone) = (table.clone(), clock.clone(), stop.clone(), gone.clone());
        thread::spawn(move || {
            let mut sweeps = 0;
            while !stop.load(Ordering::Relaxed) {
                let now = Duration::from_millis(clock.load(Ordering::Relaxed));
                table.sweep(now, |_| _ = gone.fetch_add(1, Ordering::Relaxed));
                sweeps += 1;
            }
            sweeps
        })
    };
    let mut times = Vec::with_capacity(TIMED);
    for nth in 0..TIMED {
        // The interval is two minutes and a member lives for two of these: a million announces in that time.
        let now = 240_000 * nth as u64 / u64::from(MEMBERS);
        clock.store(now, Ordering::Relaxed);
        let n = dice.u32(..MEMBERS);
        let start = Instant::now();
        say(&table, n, Duration::from_millis(now), &mut dice, &mut out);
        times.push(start.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let sweeps = sweeper.join().expect("no panic");
    times.sort_unstable();
    let at = |share: f64| times[(share * (TIMED - 1) as f64) as usize];
    println!("{sweeps} sweeps took out {} while {TIMED} announced", gone.load(Ordering::Relaxed));
    println!("announce: p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, most {:.1?}", at(0.5), at(0.99), at(0.999), at(1.0));
}
