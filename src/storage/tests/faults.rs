//! Disks that are full, that fail, and that do things by halves. Each test sees to it that its fault happened.

use std::{
    io,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use rustix::io::Errno;

use super::{disk::Disk, *};

/// A file with faults.
struct Faulty {
    file: Arc<dyn Disk>,
    /// Bytes that it takes before it is full.
    room: AtomicU64,
    /// At most so many bytes a call, and every third call is interrupted.
    step: Option<usize>,
    reads_fail: bool,
    syncs_fail: bool,
    faults: Arc<AtomicUsize>,
}

impl Faulty {
    fn fault(&self, error: Errno) -> io::Error {
        self.faults.fetch_add(1, Ordering::Relaxed);
        error.into()
    }

    fn step(&self, len: usize) -> io::Result<usize> {
        let Some(step) = self.step else { return Ok(len) };
        if self.faults.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return Err(Errno::INTR.into());
        }
        Ok(len.min(step))
    }
}

impl Disk for Faulty {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.reads_fail {
            return Err(self.fault(Errno::IO));
        }
        let len = self.step(into.len())?;
        Disk::read_at(&*self.file, &mut into[..len], offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let len = self.step(bytes.len())?;
        let room = self.room.load(Ordering::Relaxed);
        if room < len as u64 {
            return Err(self.fault(Errno::NOSPC));
        }
        self.room.store(room - len as u64, Ordering::Relaxed);
        Disk::write_at(&*self.file, &bytes[..len], offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs_fail { Err(self.fault(Errno::IO)) } else { self.file.sync() }
    }
}

fn open_faulty(lab: &Lab, change: impl FnOnce(&mut Faulty)) -> (Opened, Arc<AtomicUsize>) {
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = faults.clone();
    let opened = open_on(lab.contents.clone(), lab.folder.path(), &Wishes::default(), None, |file| {
        let mut faulty = Faulty {
            file,
            room: AtomicU64::new(u64::MAX),
            step: None,
            reads_fail: false,
            syncs_fail: false,
            faults: counted,
        };
        change(&mut faulty);
        Arc::new(faulty)
    });
    (opened.unwrap(), faults)
}

#[tokio::test]
async fn a_disk_that_does_things_by_halves_is_asked_again() {
    let lab = Lab::new();
    let (mut opened, faults) = open_faulty(&lab, |disk| disk.step = Some(1000));
    lab.fetch_all(&mut opened).await;
    assert!(faults.load(Ordering::Relaxed) > 100);
    assert_eq!(fs::read(lab.path(".part")).unwrap(), lab.bytes);
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_part_is_free_again() {
    for spooled in [false, true] {
        let lab = Lab::new();
        let (mut opened, faults) = open_faulty(&lab, |disk| disk.room = u64::from(PART + 100).into());
        let store = opened.store.clone();
        let _memory = spooled.then(|| store.take_all_memory());
        lab.fetch(&mut opened, 0).await;
        let mut assembly = store.begin(lab.part(1)).unwrap();
        lab.fill(&store, &mut assembly, PEER).await;
        match store.verify(assembly).await {
            Verdict::Right(verified) => store.commit(verified).await,
            Verdict::Lost => assert!(spooled),
            Verdict::Wrong { .. } => panic!("nobody is to blame"),
        }
        let told = opened.events.recv().await;
        let Some(DiskEvent::Failed { part: Some(part), error }) = told else { panic!("{told:?}") };
        assert_eq!(part, lab.part(1));
        assert!(error.is_of_the_disk(), "{error}");
        assert!(faults.load(Ordering::Relaxed) > 0);
        save(&store).await.unwrap();
        assert!(store.begin(lab.part(1)).is_some());
        assert_eq!(store.have().count(), 1);
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_read_back_is_nobodys_fault() {
    let lab = Lab::new();
    let (mut opened, faults) = open_faulty(&lab, |disk| disk.reads_fail = true);
    let store = opened.store.clone();
    let _memory = store.take_all_memory();
    let part = lab.part(1);
    let mut assembly = store.begin(part).unwrap();
    let last = lab.contents.geometry.block_run(part, 1..3);
    lab.deliver(&store, &mut assembly, last, 0).await;
    assembly.block_done(last, PEER);
    lab.fill(&store, &mut assembly, PEER).await;
    assert!(matches!(store.verify(assembly).await, Verdict::Lost));
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Failed { part: Some(p), .. }) if p == part));
    assert!(faults.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn what_is_shared_and_cannot_be_read_is_told() {
    let lab = Lab::new();
    fs::write(lab.path(""), &lab.bytes).unwrap();
    let (mut opened, faults) = open_faulty(&lab, |disk| disk.reads_fail = true);
    let mut block = [0; 1000];
    assert!(opened.store.read_at(0, &mut block).is_err());
    let told = opened.events.recv().await;
    let Some(DiskEvent::Failed { part: None, error }) = told else { panic!("{told:?}") };
    assert!(error.is_of_the_disk(), "{error}");
    assert!(faults.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn what_was_cut_short_is_no_fault_of_the_disk() {
    let lab = Lab::new();
    fs::write(lab.path(""), &lab.bytes).unwrap();
    let mut opened = lab.open();
    fs::write(lab.path(""), &lab.bytes[..100]).unwrap();
    assert!(opened.store.read_at(50, &mut [0; 100]).is_err());
    assert!(opened.store.warm(50..150).is_err());
    assert!(opened.events.try_recv().is_err(), "it is found when it is looked after");
}

#[tokio::test]
async fn what_cannot_be_read_is_missing() {
    let lab = Lab::new();
    fs::write(lab.path(".part"), &lab.bytes).unwrap();
    let (mut opened, faults) = open_faulty(&lab, |disk| disk.reads_fail = true);
    let _check = opened.store.check();
    let (parts, end) = proven(&mut opened.events).await;
    assert!(parts.is_empty());
    assert!(matches!(end, DiskEvent::Checked), "{end:?}");
    assert_eq!(faults.load(Ordering::Relaxed), 4);
    assert!(opened.store.begin(lab.part(0)).is_some(), "it may be fetched");
}

#[tokio::test]
async fn what_cannot_be_synced_is_neither_noted_nor_named() {
    let lab = Lab::new();
    let (mut opened, faults) = open_faulty(&lab, |disk| disk.syncs_fail = true);
    lab.fetch_all(&mut opened).await;
    assert!(save(&opened.store).await.is_err());
    assert!(finish(&opened.store).await.is_err());
    assert_eq!(faults.load(Ordering::Relaxed), 1, "what was lost once stays lost");
    assert!(!lab.path("").exists());
    end(opened).await;
    assert_eq!(lab.open().found, Found::Unchecked);
}
