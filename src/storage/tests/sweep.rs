//! A whole fetch on a disk that fails at its n-th call, for every n in turn, until there is no call left to fail.
//!
//! Whatever fails: the error is told, or the fetch is right without one; and after a fresh start on a sound disk nothing
//! that was verified is fetched again, nothing else is trusted, and the file comes out right.

use std::{
    io,
    ops::Range,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;

use super::{disk::Disk, *};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It fails, and the next one works again.
    Once(Errno),
    /// It fails, and so does every one after it.
    FromThenOn(Errno),
    /// Half of it is done, and nothing works after it.
    Torn,
    /// Half of it is done, and the rest is left to the next call.
    Short,
}

const FAULTS: [Fault; 6] = [
    Fault::Once(Errno::IO),
    Fault::Once(Errno::INTR),
    Fault::FromThenOn(Errno::IO),
    Fault::FromThenOn(Errno::NOSPC),
    Fault::Torn,
    Fault::Short,
];

/// A disk whose n-th call has a fault. As on a real one, a sync that fails loses what was written since the last one.
struct Failing {
    file: Arc<dyn Disk>,
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
    faults: Arc<AtomicUsize>,
    unsynced: Mutex<Vec<Range<u64>>>,
}

impl Failing {
    /// How many of `len` bytes this call is about.
    fn call(&self, len: usize) -> io::Result<usize> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let later = call > self.at;
        let is_over = later && !matches!(self.fault, Fault::FromThenOn(_) | Fault::Torn);
        if call < self.at || is_over {
            return Ok(len);
        }
        self.faults.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Once(error) | Fault::FromThenOn(error) => Err(error.into()),
            Fault::Torn if later => Err(Errno::IO.into()),
            Fault::Torn | Fault::Short => Ok(len.div_ceil(2)),
        }
    }
}

impl Disk for Failing {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.call(into.len())?;
        Disk::read_at(&*self.file, &mut into[..len], offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let len = self.call(bytes.len())?;
        self.unsynced.lock().unwrap().push(offset..offset + len as u64);
        Disk::write_at(&*self.file, &bytes[..len], offset)
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.call(0);
        if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            return done.map(drop);
        }
        let unsynced = std::mem::take(&mut *self.unsynced.lock().unwrap());
        if done.is_err() {
            for lost in unsynced {
                Disk::write_all_at(&*self.file, &vec![0; (lost.end - lost.start) as usize], lost.start)?;
            }
        }
        done.map(drop)
    }
}

/// What is on the disk when the fetch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A `NAME.part` with two parts and no word on which.
    Partial,
    /// A spoilt file to repair.
    Spoilt,
}

fn prepared(before: Before) -> (Lab, Existing) {
    let lab = Lab::new();
    match before {
        Before::Nothing => (lab, Existing::Share),
        Before::Partial => {
            let mut bytes = vec![0; lab.bytes.len()];
            let some = ..2 * PART as usize;
            bytes[some].copy_from_slice(&lab.bytes[some]);
            fs::write(lab.path(".part"), bytes).unwrap();
            (lab, Existing::Share)
        }
        Before::Spoilt => {
            let mut bytes = lab.bytes.clone();
            bytes[PART as usize] ^= 1;
            fs::write(lab.path(""), bytes).unwrap();
            (lab, Existing::Repair)
        }
    }
}

/// What a fetch came to.
struct Outcome {
    /// The parts that were told to be on the disk.
    told: Vec<PartIndex>,
    /// The parts that were fetched.
    fetched: Vec<PartIndex>,
    end: Result<PathBuf, StorageError>,
}

/// Checks and fetches as a member does, and ends as it does at the first failure.
async fn fetch(lab: &Lab, mut opened: Opened, spooled: bool) -> Outcome {
    let store = opened.store.clone();
    let _memory = spooled.then(|| store.take_all_memory());
    let (mut heard, mut fetched) = (Heard::default(), Vec::new());
    let end = try_fetch(lab, &mut opened, &mut heard, &mut fetched).await;
    let end = match end {
        Ok(()) => finish(&store).await,
        failed => failed.map(|()| store.path()),
    };
    if end.is_err() {
        // A note that cannot be written is only logged.
        let _ = save(&store).await;
    }
    drop(store);
    super::end(opened).await;
    Outcome { told: heard.parts, fetched, end }
}

/// What the disk has told.
#[derive(Default)]
struct Heard {
    parts: Vec<PartIndex>,
    whole: bool,
}

async fn try_fetch(
    lab: &Lab,
    opened: &mut Opened,
    heard: &mut Heard,
    fetched: &mut Vec<PartIndex>,
) -> Result<(), StorageError> {
    let store = opened.store.clone();
    if opened.found == Found::Unchecked {
        let _check = store.check();
        until(opened, heard, |event| matches!(event, DiskEvent::Checked)).await?;
    }
    for part in lab.contents.geometry.all_parts() {
        if store.have().has(part) {
            continue;
        }
        let mut assembly = store.begin(part).unwrap();
        // Not in order, so that a spooled part is read back.
        let last = lab.contents.geometry.blocks(part) - 1;
        let range = lab.contents.geometry.block_run(part, last..last + 1);
        lab.deliver(&store, &mut assembly, range, 0).await;
        assembly.block_done(range, PEER);
        lab.fill(&store, &mut assembly, PEER).await;
        fetched.push(part);
        match store.verify(assembly).await {
            Verdict::Right(verified) => store.commit(verified).await,
            Verdict::Lost => {}
            Verdict::Wrong { .. } => panic!("nobody is to blame"),
        }
        until(opened, heard, |event| matches!(event, DiskEvent::Written(written) if *written == part)).await?;
    }
    if !heard.whole {
        until(opened, heard, |event| matches!(event, DiskEvent::Whole)).await?;
    }
    Ok(())
}

/// Hears events up to the one that is wanted, or a failure.
async fn until(
    opened: &mut Opened,
    heard: &mut Heard,
    wanted: impl Fn(&DiskEvent) -> bool,
) -> Result<(), StorageError> {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), opened.events.recv()).await;
        let event = event.expect("nothing hangs").expect("it goes on");
        match &event {
            DiskEvent::Written(part) | DiskEvent::Proven(part) => heard.parts.push(*part),
            DiskEvent::Whole => heard.whole = true,
            DiskEvent::Failed { .. } | DiskEvent::Checked => {}
            DiskEvent::Different(_) | DiskEvent::WholeWrong(_) => panic!("{event:?}"),
        }
        if wanted(&event) {
            return Ok(());
        }
        if let DiskEvent::Failed { error, .. } = event {
            return Err(error);
        }
    }
}

/// One fetch with this fault at the n-th call, and the next without; false if there was no such call.
async fn survives(before: Before, spooled: bool, fault: Fault, at: usize) -> bool {
    let case = format!("{before:?}, spooled {spooled}, {fault:?} at call {at}");
    let (lab, existing) = prepared(before);
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = faults.clone();
    let opened =
        open_on(lab.contents.clone(), lab.folder.path(), &Wishes { existing, ..Wishes::default() }, None, |file| {
            let unsynced = Mutex::default();
            Arc::new(Failing { file, fault, at, calls: AtomicUsize::new(0), faults: counted, unsynced })
        });
    let first = fetch(&lab, opened.unwrap(), spooled).await;
    let happened = faults.load(Ordering::Relaxed) > 0;
    let harmless = matches!(fault, Fault::Short | Fault::Once(Errno::INTR));
    match &first.end {
        Ok(path) => assert!(fs::read(path).unwrap() == lab.bytes, "{case}: it came out wrong"),
        Err(error) => {
            assert!(happened && !harmless, "{case}: {error}");
            assert!(error.to_string().contains(NAME), "{case}: {error}");
            assert!(error.is_of_the_disk(), "{case}: {error}");
            let is_full = matches!(error, StorageError::NoRoom { .. });
            assert_eq!(is_full, fault == Fault::FromThenOn(Errno::NOSPC), "{case}: {error}");
            go_on(&lab, existing, &first, &case).await;
        }
    }
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes, "{case}");
    assert!(!lab.path(".part").exists() && !lab.path(".part.state").exists(), "{case}: something is left behind");
    happened
}

/// Starts again on a sound disk.
async fn go_on(lab: &Lab, existing: Existing, first: &Outcome, case: &str) {
    assert!(existing == Existing::Repair || !lab.path("").exists(), "{case}: a name for what is not verified");
    let there = fs::read(lab.path(".part")).unwrap();
    let is_right = |part: &PartIndex| {
        let range = lab.contents.geometry.part_range(*part);
        let range = range.start as usize..range.end as usize;
        there[range.clone()] == lab.bytes[range]
    };
    let opened = lab.try_open(existing).unwrap();
    assert!(opened.have.ones(&lab.contents.geometry).all(|part| is_right(&part)), "{case}: a wrong part is trusted");
    let again = fetch(lab, opened, false).await;
    again.end.unwrap_or_else(|error| panic!("{case}: {error}"));
    for part in &again.fetched {
        assert!(!(first.told.contains(part) && is_right(part)), "{case}: part {part:?} is fetched again");
    }
}

async fn sweep(before: Before) {
    for spooled in [false, true] {
        for fault in FAULTS {
            let mut calls = 0;
            while survives(before, spooled, fault, calls).await {
                calls += 1;
            }
            assert!(calls >= 5, "{before:?}, {fault:?}: only {calls} calls could fail");
        }
    }
}

#[tokio::test]
async fn every_call_of_a_fetch_may_fail() {
    sweep(Before::Nothing).await;
}

#[tokio::test]
async fn every_call_of_a_fetch_that_goes_on_may_fail() {
    sweep(Before::Partial).await;
}

#[tokio::test]
async fn every_call_of_a_repair_may_fail() {
    sweep(Before::Spoilt).await;
}

/// The system tells of a write-back that failed once, and not again: here to the thread that syncs on the way.
#[tokio::test]
async fn what_was_lost_on_the_way_is_lost_for_good() {
    let part_size = 4 << 20;
    let lab = Lab::of(10 * part_size as usize, part_size);
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = faults.clone();
    // The eight parts before it are written in one call each.
    let (fault, at, calls) = (Fault::Once(Errno::IO), 8, AtomicUsize::new(0));
    let mut opened = open_on(lab.contents.clone(), lab.folder.path(), &Wishes::default(), None, |file| {
        Arc::new(Failing { file, fault, at, calls, faults: counted, unsynced: Mutex::default() })
    })
    .unwrap();
    for number in 0..7 {
        lab.fetch(&mut opened, number).await;
    }
    // The thread that syncs may be faster than the one that writes.
    lab.give(&opened, 7).await;
    let told = [opened.events.recv().await, opened.events.recv().await];
    assert!(told.iter().any(|event| matches!(event, Some(DiskEvent::Failed { part: None, .. }))), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, Some(DiskEvent::Written(part)) if part.get() == 7)), "{told:?}");
    assert_eq!(faults.load(Ordering::Relaxed), 1);
    for number in 8..10 {
        lab.fetch(&mut opened, number).await;
    }
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
    assert!(finish(&opened.store).await.is_err(), "it got its name");
    assert!(save(&opened.store).await.is_err(), "it was noted");
    end(opened).await;
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [8, 9]);
}

/// A disk that takes nothing until it is let go.
struct Stuck {
    file: Arc<dyn Disk>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    waited: Arc<AtomicU64>,
}

impl Disk for Stuck {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        Disk::read_at(&*self.file, into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (open, opened) = &*self.gate;
        let open = open.lock().unwrap();
        if !*open {
            self.waited.fetch_add(1, Ordering::Relaxed);
        }
        drop(opened.wait_while(open, |open| !*open).unwrap());
        Disk::write_at(&*self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[tokio::test]
async fn a_disk_that_is_stuck_is_waited_for_in_bounded_memory() {
    let part_size = 2 << 20;
    let lab = Lab::of(60 * part_size as usize, part_size);
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waited = Arc::new(AtomicU64::new(0));
    let (at_the_gate, counted) = (gate.clone(), waited.clone());
    let mut opened = open_on(lab.contents.clone(), lab.folder.path(), &Wishes::default(), None, |file| {
        Arc::new(Stuck { file, gate: at_the_gate, waited: counted })
    })
    .unwrap();
    let store = opened.store.clone();
    let fetching = async {
        for number in 0..60 {
            let mut assembly = store.begin(lab.part(number)).unwrap();
            lab.fill(&store, &mut assembly, PEER).await;
            let Verdict::Right(verified) = store.verify(assembly).await else { panic!("part {number} is wrong") };
            let mut commit = std::pin::pin!(store.commit(verified));
            if tokio::time::timeout(Duration::from_millis(20), &mut commit).await.is_err() {
                // It waits as it should. Nothing grows meanwhile.
                assert!(store.memory() <= pool::LIMIT);
                *gate.0.lock().unwrap() = true;
                gate.1.notify_all();
                commit.await;
            }
        }
    };
    fetching.await;
    assert_eq!(waited.load(Ordering::Relaxed), 1, "the writer has to have waited");
    while !matches!(opened.events.recv().await, Some(DiskEvent::Whole)) {}
    assert!(store.memory() <= pool::LIMIT);
    finish(&store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
}
