//! Where honest programs meet hostile ones: a victim that the foe attacks first, and an honest member that comes later.
//! Between the two the file arrives, and the victim's memory stays below [`BOUND`].

use std::{fs, net::TcpListener, path::PathBuf};

use orchestra::{
    manifest::Manifest,
    wire::{handshake::PeerId, message::Message},
};
use rustix::process::Signal;

use crate::{
    foe::{FOE, Foe, id},
    support::{Place, Program, bytes, compose, fetch, member, port, seed, skip},
};

/// What a member may have of memory, whatever it is sent: 48 MiB of parts on their way at most, the program itself, and
/// 64 KiB to 1 MiB for each of up to 60 connections.
pub const BOUND: u64 = 128 << 20;
/// The composition: parts of four blocks, the last one shorter.
const SIZE: usize = (4 << 20) + 4321;

/// Who is attacked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Fetches,
    Shares,
}

pub struct Arena {
    pub place: Place,
    pub manifest: PathBuf,
    pub parsed: Manifest,
    pub data: Vec<u8>,
    pub victim: Program,
    pub port: u16,
    who: Victim,
}

/// Whether hostile members can have an address of their own here.
pub fn is_possible() -> bool {
    let possible = TcpListener::bind((FOE, 0)).is_ok();
    if !possible {
        skip(&format!("this machine has no {FOE}"));
    }
    possible
}

impl Arena {
    /// A victim that knows nobody, with these further arguments.
    pub fn new(who: Victim, arguments: &[&str]) -> Self {
        let place = Place::new();
        let data = bytes(SIZE, 66);
        let manifest = compose(&place, "x.bin", &data, &["0.0.0.0:0", "64K"]);
        let parsed = Manifest::parse(&fs::read(&manifest).expect("a manifest")).expect("a manifest");
        let folder = if who == Victim::Shares { "seed" } else { "copy" };
        let mut victim = member(&place, &manifest, &place.path(folder), arguments);
        let port = port(&mut victim) as u16;
        if who == Victim::Shares {
            victim.event_named("whole");
        }
        Self { place, manifest, parsed, data, victim, port, who }
    }

    /// Another connection of the foe, past the 68 bytes; None: refused.
    pub fn foe(&self, id: PeerId) -> Option<Foe> {
        Foe::greet(FOE, self.port, self.parsed.info_hash(), id, true)
    }

    /// One that is let in, and was told what the victim has.
    pub fn friend(&self, n: u64) -> Foe {
        let mut foe = self.foe(id(n)).expect("let in");
        assert!(foe.is_heard(), "let in");
        foe
    }

    /// One that says it has everything and serves, and was asked for something.
    pub fn giver(&self, n: u64) -> Foe {
        let mut foe = self.foe(id(n)).expect("let in");
        foe.say(&[Message::HaveAll, Message::Unchoke]);
        foe
    }

    /// The honest member comes, and the file arrives; says how much memory the victim took.
    #[track_caller]
    pub fn honest_fetch(mut self) -> u64 {
        let peer = format!("127.0.0.1:{}", self.port);
        let _seed = match self.who {
            Victim::Fetches => {
                let seed = seed(&self.place, &self.manifest, &["--peer", &peer]);
                self.victim.event_named("whole");
                Some(seed)
            }
            Victim::Shares => {
                fetch(&self.place, &self.manifest, "copy", &["--peer", &peer]).with(0);
                None
            }
        };
        let peak = peak(&self.victim);
        self.victim.signal(Signal::TERM);
        self.victim.end().with(0);
        assert!(fs::read(self.place.path("copy/x.bin")).expect("a file") == self.data, "the copy is different");
        let there = fs::read_dir(self.place.path("copy")).expect("a folder").count();
        assert_eq!(there, 1, "nothing but the file is left behind");
        assert!(peak < BOUND, "the victim took {} MiB", peak >> 20);
        peak
    }
}

/// The most memory that it has had so far, in bytes.
pub fn peak(program: &Program) -> u64 {
    let path = format!("/proc/{}/status", program.pid().as_raw_nonzero());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}
