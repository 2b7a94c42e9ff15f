//! Programs that are killed at random moments, round after round, and go on.
//!
//! The rule: a member ends with 0 if and only if the file on the disk is right, a part that is on the disk is never
//! fetched again, and nothing hangs. `KILL_ROUNDS` says how many rounds (8), `KILL_FIRST` the number of the first (0):
//! a round chooses whom it kills, and when, by its number alone.

use std::{collections::BTreeSet, env, fs, path::PathBuf, thread, time::Duration};

use rustix::process::Signal;

use crate::support::{Ended, Place, Program, bytes, compose, conductor, fetch, member, port};

const PART: usize = 64 << 10;
const SIZE: usize = 48 * PART - 77;
/// A life ends, or somebody else's does, within this time.
const MOMENT: u64 = 900;

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Fetching(Signal),
    Seed,
    Conductor,
    /// The seed is stopped for a while, its connections stay open.
    Pause,
}

const BLOWS: [Blow; 7] = [
    Blow::Fetching(Signal::KILL),
    Blow::Seed,
    Blow::Fetching(Signal::TERM),
    Blow::Conductor,
    Blow::Fetching(Signal::KILL),
    Blow::Pause,
    Blow::Fetching(Signal::INT),
];

/// How often what was meant to happen did happen.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    /// The member that fetches was ended with some parts on the disk and some missing.
    midway: u64,
    /// Somebody else was killed or stopped while it fetched.
    beside: u64,
    /// A life of the member that fetches came to its own end.
    finished: u64,
}

#[test]
fn whoever_is_killed_nothing_is_lost() {
    let number = |name, usual| env::var(name).ok().map_or(usual, |text| text.parse().expect(name));
    let (first, rounds): (u64, u64) = (number("KILL_FIRST", 0), number("KILL_ROUNDS", 8));
    let tally =
        (first..first + rounds).map(|number| Round::new(number).play()).fold(Tally::default(), |all, one| Tally {
            rounds: all.rounds + one.rounds,
            midway: all.midway + one.midway,
            beside: all.beside + one.beside,
            finished: all.finished + one.finished,
        });
    println!("{tally:?}");
    assert!(rounds < 8 || (tally.midway > 0 && tally.beside > 0), "nothing was killed midway: {tally:?}");
}

struct Round {
    number: u64,
    dice: fastrand::Rng,
    place: Place,
    data: Vec<u8>,
    manifest: PathBuf,
    conductor: Option<Program>,
    address: String,
    seed: Option<Program>,
    seed_port: u64,
    tally: Tally,
}

impl Round {
    fn new(number: u64) -> Self {
        let place = Place::new();
        let (conductor, address) = conductor(&place, "127.0.0.1:0");
        let data = bytes(SIZE, number);
        let manifest = compose(&place, "x.bin", &data, &[&address, "64K"]);
        let mut round = Self {
            number,
            dice: fastrand::Rng::with_seed(number),
            place,
            data,
            manifest,
            conductor: Some(conductor),
            address,
            seed: None,
            seed_port: 0,
            tally: Tally { rounds: 1, ..Tally::default() },
        };
        round.start_seed();
        round
    }

    fn play(mut self) -> Tally {
        // Every third round has one more member that fetches beside, and is never killed.
        let beside = self.number.is_multiple_of(3).then(|| self.fetching("beside", &["--download", "5M"]));
        for life in 0..self.dice.u64(1..=3) {
            let blow = BLOWS[(self.number * 3 + life) as usize % BLOWS.len()];
            self.live(blow);
        }
        self.last_life(beside.is_none());
        if let Some(beside) = beside {
            beside.signal(Signal::TERM);
            let ended = beside.end();
            self.check_end(&ended, "beside");
        }
        self.tally
    }

    fn start_seed(&mut self) {
        drop(self.seed.take());
        let mut seed = member(&self.place, &self.manifest, &self.place.path("seed"), &[]);
        self.seed_port = port(&mut seed);
        seed.event_named("whole");
        self.seed = Some(seed);
    }

    /// A member that fetches, and says which part came.
    fn fetching(&self, folder: &str, arguments: &[&str]) -> Program {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_member"));
        command.arg(&self.manifest).arg("-o").arg(self.place.path(folder)).args(["--port", "0", "-v"]);
        command.args(["--exit-when-done", "--no-progress"]).args(arguments);
        Program::start(command)
    }

    /// One life of the member that fetches, and a blow in it.
    fn live(&mut self, blow: Blow) {
        let before = self.on_disk();
        let peer = format!("127.0.0.1:{}", self.seed_port);
        let rate = ["3M", "6M", "100M"][self.dice.usize(..3)];
        let fetching = self.fetching("copy", &["--download", rate, "--peer", &peer]);
        self.moment();
        match blow {
            Blow::Fetching(signal) => fetching.signal(signal),
            Blow::Seed => self.start_seed(),
            Blow::Conductor => {
                drop(self.conductor.take());
                self.moment();
                self.conductor = Some(conductor(&self.place, &self.address).0);
            }
            Blow::Pause => {
                let stop = |seed: &Option<Program>, signal| seed.as_ref().expect("a seed").signal(signal);
                stop(&self.seed, Signal::STOP);
                self.moment();
                stop(&self.seed, Signal::CONT);
            }
        }
        self.tally.beside += u64::from(!matches!(blow, Blow::Fetching(_)));
        let ended = fetching.end();
        self.check_end(&ended, "copy");
        self.check_parts(&ended, &before, blow);
    }

    fn moment(&mut self) {
        thread::sleep(Duration::from_millis(self.dice.u64(..MOMENT)));
    }

    /// Undisturbed to the end: what was missing on the disk is fetched, and nothing else.
    fn last_life(&mut self, one_source: bool) {
        let whole = self.place.path("copy/x.bin").exists();
        let there: usize = self.on_disk().iter().map(|part| self.bytes_of(*part).len()).sum();
        let missing = if whole { 0 } else { (SIZE - there) as u64 };
        let peer = format!("127.0.0.1:{}", self.seed_port);
        let ended = fetch(&self.place, &self.manifest, "copy", &["--peer", &peer]).with(0);
        self.check_end(&ended, "copy");
        let told = ended.events().find(|event| event["event"] == "fetch").map_or(Some(0), |e| e["missing"].as_u64());
        assert_eq!(told, Some(missing), "round {}: it did not find all that is on the disk", self.number);
        let fetched = ended.last()["fetched"].as_u64().expect("a number");
        assert!(
            fetched == missing || (!one_source && fetched > missing),
            "round {}: {fetched} of {missing}",
            self.number
        );
        let left: Vec<_> = fs::read_dir(self.place.path("copy")).expect("a folder").collect();
        assert_eq!(left.len(), 1, "round {}: something is left behind: {left:?}", self.number);
    }

    /// 0 if and only if the file is there and right.
    fn check_end(&mut self, ended: &Ended, folder: &str) {
        let file = fs::read(self.place.path(folder).join("x.bin")).ok();
        let text = format!("round {}: {} after\n{}", self.number, ended.status, ended.lines.join("\n"));
        assert!(file.as_ref().is_none_or(|file| *file == self.data), "it has its name and is wrong: {text}");
        match ended.status.code() {
            Some(0) => {
                assert!(file.is_some(), "it is not there: {text}");
                self.tally.finished += 1;
            }
            Some(130) => assert!(file.is_none(), "it is whole: {text}"),
            None => {}
            Some(_) => panic!("{text}"),
        }
    }

    /// What is on the disk was not fetched again, and what was fetched is there unless it was killed on the way.
    fn check_parts(&mut self, ended: &Ended, before: &BTreeSet<usize>, blow: Blow) {
        let came: Vec<usize> = ended.lines.iter().filter_map(|line| part_of(line)).collect();
        let distinct: BTreeSet<usize> = came.iter().copied().collect();
        let text = format!("round {}, {blow:?}: {before:?} before, and then {came:?}", self.number);
        assert_eq!(came.len(), distinct.len(), "a part came twice: {text}");
        assert!(distinct.is_disjoint(before), "a part that was there came again: {text}");
        let after = self.on_disk();
        assert!(before.is_subset(&after), "a part was lost: {text}; now {after:?}");
        if blow != Blow::Fetching(Signal::KILL) {
            assert!(distinct.is_subset(&after), "a part that came is not there: {text}; now {after:?}");
        }
        let ended_midway = matches!(blow, Blow::Fetching(_)) && !after.is_empty() && after.len() < SIZE.div_ceil(PART);
        self.tally.midway += u64::from(ended_midway);
    }

    /// The parts that are on the disk and right.
    fn on_disk(&self) -> BTreeSet<usize> {
        let there = ["copy/x.bin", "copy/x.bin.part"].iter().find_map(|name| fs::read(self.place.path(name)).ok());
        let there = there.unwrap_or_default();
        let right = |part: &usize| there.chunks(PART).nth(*part).is_some_and(|chunk| chunk == self.bytes_of(*part));
        (0..SIZE.div_ceil(PART)).filter(right).collect()
    }

    fn bytes_of(&self, part: usize) -> &[u8] {
        &self.data[part * PART..SIZE.min((part + 1) * PART)]
    }
}

/// The number, from 0, in `part 17 from ...`.
fn part_of(line: &str) -> Option<usize> {
    let (number, _) = line.strip_prefix("part ")?.split_once(" from ")?;
    if line.ends_with("asking someone else") { None } else { number.parse().ok().map(|number: usize| number - 1) }
}
