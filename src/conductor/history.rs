//! A history of who got which composition, when and how fast, for [`KEPT`].
//!
//! The table knows who is there; this knows who was, also a member that completes and leaves within a second. Everything in
//! it is what members say: a member that was seen to lack something and then says that it has all counts as one that got
//! it; a member whose first word was that it has all only says so, and is not counted.
//!
//! [`History::note`] is called under the table's locks: it puts a note into a bounded queue and never waits. Whoever reads
//! takes the notes in first. It is soft state, which a crash loses.
//!
//! What it costs an attacker: a record of about 300 bytes for each peer id under which it announces, [`MAX_RECORDS`] in
//! all, [`MAX_IN_SWARM`] in one swarm. Where there is no room the oldest record of the source that has most of them goes,
//! which is the attacker's own.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use super::{
    allowance::one_customer,
    shared::glimpse::{Glimpse, Got},
    table::{Change, What},
};
use crate::{
    metainfo::InfoHash,
    time::Time,
    wire::{copy_id::CopyId, handshake::PeerId},
};

/// Time for which a completion is remembered.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Time for which a member is remembered that lacks something and says nothing new.
const KEPT_LACKING: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Records, at most: 15 MiB.
pub const MAX_RECORDS: usize = 50_000;
/// Records of one swarm, at most.
pub const MAX_IN_SWARM: usize = 10_000;
/// Notes that wait to be taken in, at most: 2 MiB.
const MAX_NOTES: usize = 16_384;
/// How often old records are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// One thing that a member was heard to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub at: Time,
    pub info_hash: InfoHash,
    pub id: PeerId,
    /// Where others reach it.
    pub address: SocketAddr,
    /// Where its word came from.
    pub source: IpAddr,
    /// Bytes that it lacks.
    pub left: u64,
    /// It lacked something when it was heard last.
    pub completed: bool,
    /// Its name, and which copy it holds; None: the note does not say.
    pub named: Option<(String, Option<CopyId>)>,
}

impl Note {
    /// The note of a change of the table; None where no member said anything.
    pub fn of_change(change: &Change, at: Time) -> Option<Self> {
        let origin = change.word_of?;
        Some(Self {
            at,
            info_hash: change.info_hash,
            id: origin.id,
            address: change.address,
            source: origin.source,
            left: origin.left,
            completed: change.what == What::Completed,
            named: None,
        })
    }

    /// The notes of what another conductor says of a member: how it stands, and when it got all of it.
    pub fn of_glimpse(glimpse: &Glimpse, now: Time) -> Vec<Self> {
        let Glimpse { info_hash, peer_id: id, home: address, name, copy, progress, got, .. } = glimpse;
        let (info_hash, id, address, source) = (*info_hash, *id, *address, address.ip());
        let named = Some((name.clone(), *copy));
        let note = |at, left, completed| {
            let named = named.clone();
            Self { at, info_hash, id, address, source, left, completed, named }
        };
        let ago = |millis| now.saturating_sub(Duration::from_millis(millis));
        match (got, progress) {
            // A byte stands for whatever it lacked.
            (Some(got), _) => vec![note(ago(got.began_ago), 1, false), note(ago(got.whole_ago), 0, true)],
            (None, Some(progress)) => vec![note(now, progress.left, false)],
            (None, None) => Vec::new(),
        }
    }
}

/// A member and one composition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name, if it has said one. Not safe to show.
    pub name: Option<String>,
    /// Where it was last heard of.
    pub address: SocketAddr,
    copy: Option<CopyId>,
    source: IpAddr,
    /// When it was first heard of.
    began: Time,
    /// It lacked something then.
    lacked: bool,
    /// When it got all of it.
    pub whole: Option<Time>,
    /// Bytes that it lacked when it was last heard.
    pub left: u64,
    /// When it was last heard.
    pub last: Time,
    /// Its completion was reported.
    told: bool,
}

impl Record {
    /// Time from its first word to its completion; None where it did not complete, or was not seen to begin.
    pub fn took(&self) -> Option<Duration> {
        self.whole.filter(|_| self.lacked).map(|whole| whole.saturating_sub(self.began))
    }

    /// What other conductors are told of its completion.
    pub fn got(&self, now: Time) -> Option<Got> {
        let (whole, took) = (self.whole?, self.took()?);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let whole_ago = millis(now.saturating_sub(whole));
        Some(Got { began_ago: whole_ago.saturating_add(millis(took)), whole_ago })
    }

    fn is_over(&self, now: Time) -> bool {
        let kept = if self.left > 0 { KEPT_LACKING } else { KEPT };
        now >= self.whole.unwrap_or(self.last).saturating_add(kept)
    }
}

/// Records by source, so that the source with the most of them is known.
struct Shares<K> {
    by_source: HashMap<IpAddr, BTreeSet<K>>,
    sizes: BTreeSet<(usize, IpAddr)>,
    total: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { by_source: HashMap::new(), sizes: BTreeSet::new(), total: 0 }
    }
}

impl<K: Ord + Copy> Shares<K> {
    fn change(&mut self, source: IpAddr, change: impl FnOnce(&mut BTreeSet<K>) -> bool) {
        let keys = self.by_source.entry(source).or_default();
        let before = keys.len();
        change(keys);
        let after = keys.len();
        self.sizes.remove(&(before, source));
        if after == 0 {
            self.by_source.remove(&source);
        } else {
            self.sizes.insert((after, source));
        }
        self.total = (self.total + after).saturating_sub(before);
    }

    fn add(&mut self, source: IpAddr, key: K) {
        self.change(source, |keys| keys.insert(key));
    }

    fn remove(&mut self, source: IpAddr, key: &K) {
        self.change(source, |keys| keys.remove(key));
    }

    /// The oldest of the source that has most.
    fn to_spare(&self) -> Option<K> {
        let (_, source) = self.sizes.last()?;
        self.by_source.get(source)?.first().copied()
    }
}

#[derive(Default)]
struct Swarm {
    records: BTreeMap<PeerId, Record>,
    shares: Shares<(Time, PeerId)>,
    by_copy: HashMap<CopyId, PeerId>,
    /// Completions within [`KEPT`], also those whose records found no room.
    completions: u64,
}

/// All records.
#[derive(Default)]
pub struct Book {
    swarms: HashMap<InfoHash, Swarm>,
    shares: Shares<(Time, InfoHash, PeerId)>,
    completions: u64,
    swept: Time,
}

impl Book {
    fn take(&mut self, note: Note) {
        let Note { at, info_hash, id, address, source, left, completed, named } = note;
        let copy = named.as_ref().and_then(|(_, copy)| *copy);
        self.follow(&info_hash, id, copy, one_customer(source));
        if self.record(&info_hash, &id).is_none() {
            if left == 0 && !completed && named.is_none() {
                // A stranger that only says that it has all leaves no trace but in the table.
                return;
            }
            let source = one_customer(source);
            let (lacked, whole, told) = (left > 0, None, false);
            let record =
                Record { name: None, address, copy: None, source, began: at, lacked, whole, left, last: at, told };
            self.insert(info_hash, id, record);
        }
        if left > 0 && self.record(&info_hash, &id).is_some_and(|record| !record.lacked && record.whole.is_none()) {
            // It fetches from now on, whatever it had before.
            let record = self.remove(&info_hash, &id).map(|record| Record { began: at, lacked: true, ..record });
            record.into_iter().for_each(|record| self.insert(info_hash, id, record));
        }
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return };
        let Some(record) = swarm.records.get_mut(&id) else { return };
        if record.whole.is_some() && left > 0 && !completed && at < record.last {
            // Another conductor tells of what is known here.
            return;
        }
        (record.address, record.left, record.last) = (address, left, at);
        if let Some((name, copy)) = named {
            record.name = Some(name).filter(|name| !name.is_empty());
            if let Some(copy) = copy {
                record.copy = Some(copy);
                swarm.by_copy.insert(copy, id);
            }
        }
        if completed && record.whole.is_none() {
            record.whole = Some(at);
            swarm.completions += 1;
            self.completions += 1;
        }
    }

    /// A member that was started anew goes on with the record of its copy, if it comes from the same source.
    fn follow(&mut self, info_hash: &InfoHash, id: PeerId, copy: Option<CopyId>, source: IpAddr) {
        let Some(copy) = copy else { return };
        let Some(swarm) = self.swarms.get(info_hash) else { return };
        let Some(old) = swarm.by_copy.get(&copy).copied().filter(|old| *old != id) else { return };
        if swarm.records.get(&old).is_none_or(|record| record.source != source) {
            return;
        }
        let known = self.remove(info_hash, &id).and_then(|known| known.whole);
        let Some(mut record) = self.remove(info_hash, &old) else { return };
        if record.whole.is_some() && known.is_some() {
            self.uncount(info_hash);
        }
        record.whole = record.whole.or(known);
        self.insert(*info_hash, id, record);
    }

    fn insert(&mut self, info_hash: InfoHash, id: PeerId, record: Record) {
        if self.swarms.get(&info_hash).is_some_and(|swarm| swarm.records.len() >= MAX_IN_SWARM)
            && let Some((_, spared)) = self.swarms.get(&info_hash).and_then(|swarm| swarm.shares.to_spare())
        {
            self.remove(&info_hash, &spared);
        }
        if self.shares.total >= MAX_RECORDS
            && let Some((_, of, spared)) = self.shares.to_spare()
        {
            self.remove(&of, &spared);
            if self.swarms.get(&of).is_some_and(|swarm| swarm.records.is_empty()) {
                self.swarms.remove(&of);
            }
        }
        let swarm = self.swarms.entry(info_hash).or_default();
        swarm.shares.add(record.source, (record.began, id));
        self.shares.add(record.source, (record.began, info_hash, id));
        if let Some(copy) = record.copy {
            swarm.by_copy.insert(copy, id);
        }
        swarm.records.insert(id, record);
    }

    fn remove(&mut self, info_hash: &InfoHash, id: &PeerId) -> Option<Record> {
        let swarm = self.swarms.get_mut(info_hash)?;
        let record = swarm.records.remove(id)?;
        swarm.shares.remove(record.source, &(record.began, *id));
        self.shares.remove(record.source, &(record.began, *info_hash, *id));
        if let Some(copy) = record.copy
            && swarm.by_copy.get(&copy) == Some(id)
        {
            swarm.by_copy.remove(&copy);
        }
        Some(record)
    }

    fn uncount(&mut self, info_hash: &InfoHash) {
        if let Some(swarm) = self.swarms.get_mut(info_hash) {
            swarm.completions = swarm.completions.saturating_sub(1);
        }
    }

    fn forget_old(&mut self, now: Time) {
        if now < self.swept.saturating_add(SWEEP_INTERVAL) {
            return;
        }
        self.swept = now;
        let is_over = |(hash, swarm): (&InfoHash, &Swarm)| {
            let over = swarm.records.iter().filter(|(_, record)| record.is_over(now));
            over.map(|(id, _)| (*hash, *id)).collect::<Vec<_>>()
        };
        let over: Vec<_> = self.swarms.iter().flat_map(is_over).collect();
        for (hash, id) in &over {
            if self.remove(hash, id).is_some_and(|record| record.whole.is_some()) {
                self.uncount(hash);
            }
        }
        self.swarms.retain(|_, swarm| !swarm.records.is_empty());
    }

    /// What is known of one member.
    pub fn record(&self, info_hash: &InfoHash, id: &PeerId) -> Option<&Record> {
        self.swarms.get(info_hash)?.records.get(id)
    }

    /// What is known of the members of one swarm.
    pub fn of(&self, info_hash: &InfoHash) -> impl Iterator<Item = &Record> {
        self.swarms.get(info_hash).into_iter().flat_map(|swarm| swarm.records.values())
    }

    /// Completions of one swarm within [`KEPT`], also those whose records found no room.
    pub fn completions_of(&self, info_hash: &InfoHash) -> u64 {
        self.swarms.get(info_hash).map_or(0, |swarm| swarm.completions)
    }

    /// Completions of all swarms since the start.
    pub fn completions(&self) -> u64 {
        self.completions
    }

    /// Whether the completion of this member is still to be reported; it is taken for reported from then on.
    pub fn is_to_be_told(&mut self, info_hash: &InfoHash, id: &PeerId) -> bool {
        let record = self.swarms.get_mut(info_hash).and_then(|swarm| swarm.records.get_mut(id));
        // Of what found no room it is not known.
        record.is_none_or(|record| !core::mem::replace(&mut record.told, true))
    }
}

/// The book, and what is still to be written into it.
pub struct History {
    notes: SyncSender<Note>,
    lost: AtomicU64,
    book: Mutex<(Receiver<Note>, Book)>,
}

impl Default for History {
    fn default() -> Self {
        let (notes, waiting) = sync_channel(MAX_NOTES);
        Self { notes, lost: AtomicU64::new(0), book: Mutex::new((waiting, Book::default())) }
    }
}

impl History {
    /// Puts a note into the queue, or drops it where the queue is full.
    pub fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the book, with all notes taken in.
    pub fn read<T>(&self, read: impl FnOnce(&mut Book) -> T) -> T {
        // A panic under the lock is a bug of one reader; the others go on.
        let mut locked = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (waiting, book) = &mut *locked;
        waiting.try_iter().take(MAX_NOTES).for_each(|note| book.take(note));
        read(book)
    }

    /// Takes the notes in, and forgets what is old; to be called about once a second. Returns how many notes were lost.
    pub fn sweep(&self, now: Time) -> u64 {
        self.read(|book| book.forget_old(now));
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    fn id(n: u32) -> PeerId {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    }

    fn note(seconds: u64, n: u32, left: u64) -> Note {
        let source = IpAddr::from([10, 0, 0, 1]);
        let address = SocketAddr::new(source, 9998);
        Note { at: at(seconds), info_hash: HASH, id: id(n), address, source, left, completed: false, named: None }
    }

    fn done(seconds: u64, n: u32) -> Note {
        Note { completed: true, ..note(seconds, n, 0) }
    }

    fn named(note: Note, name: &str, copy: Option<u8>) -> Note {
        Note { named: Some((name.to_owned(), copy.map(|copy| CopyId([copy; 8])))), ..note }
    }

    fn book(notes: impl IntoIterator<Item = Note>) -> Book {
        let mut book = Book::default();
        notes.into_iter().for_each(|note| book.take(note));
        book
    }

    #[test]
    fn who_completes_is_remembered_with_the_time_that_it_took() {
        let book = book([named(note(3, 1, 9), "pc-1", None), note(3, 1, 9), done(14, 1), done(20, 1), note(21, 1, 0)]);
        let record = book.record(&HASH, &id(1)).unwrap();
        assert_eq!((record.name.as_deref(), record.whole, record.took()), (Some("pc-1"), Some(at(14)), Some(at(11))));
        assert_eq!((book.completions(), book.completions_of(&HASH)), (1, 1), "however often it says so");
    }

    #[test]
    fn who_came_with_it_is_not_counted() {
        let book = book([note(1, 1, 0), named(note(1, 2, 0), "seed", None), note(2, 2, 0)]);
        assert!(book.record(&HASH, &id(1)).is_none());
        let seed = book.record(&HASH, &id(2)).unwrap();
        assert_eq!((seed.whole, seed.took(), seed.left, book.completions()), (None, None, 0, 0));
    }

    #[test]
    fn a_member_that_is_started_anew_goes_on_with_its_record() {
        let first = [named(note(1, 1, 9), "a", Some(7)), done(5, 1)];
        let again = [named(note(9, 2, 0), "b", Some(7)), done(9, 2)];
        let all = book(first.clone().into_iter().chain(again.clone()));
        assert_eq!((all.of(&HASH).count(), all.completions()), (1, 1));
        let record = all.record(&HASH, &id(2)).unwrap();
        assert_eq!((record.name.as_deref(), record.whole), (Some("b"), Some(at(5))));
        let elsewhere = again.map(|note| Note { source: [10, 0, 0, 2].into(), ..note });
        assert_eq!(book(first.into_iter().chain(elsewhere)).of(&HASH).count(), 2, "nobody takes over another's record");
    }

    /// Conductors tell each other of completions, also of members that were gone before anything else was told.
    #[test]
    fn another_conductor_knows_it_too() {
        let here = book([named(note(3, 1, 9), "pc-1", None), done(14, 1)]);
        let got = here.record(&HASH, &id(1)).unwrap().got(at(20));
        assert_eq!(got, Some(Got { began_ago: 17_000, whole_ago: 6000 }));
        let (address, name) = ("10.0.0.1:9998".parse().unwrap(), "pc-1".to_owned());
        let glimpse =
            Glimpse { info_hash: HASH, peer_id: id(1), key: 0, home: address, name, copy: None, progress: None, got };
        let told = || Note::of_glimpse(&glimpse, at(120));
        for first in [Vec::new(), told(), vec![note(110, 1, 9)], vec![named(note(110, 1, 0), "pc-1", None)]] {
            let there = book(first.into_iter().chain(told()));
            let record = there.record(&HASH, &id(1)).unwrap();
            assert_eq!((record.name.as_deref(), record.whole), (Some("pc-1"), Some(at(114))));
            assert_eq!((there.completions(), record.left), (1, 0));
        }
        assert_eq!(book(told()).record(&HASH, &id(1)).unwrap().took(), Some(at(11)));
    }

    #[test]
    fn a_completion_is_reported_once() {
        let mut book = book([note(1, 1, 9), done(2, 1)]);
        assert_eq!([(); 2].map(|()| book.is_to_be_told(&HASH, &id(1))), [true, false]);
    }

    #[test]
    fn old_records_go() {
        let mut book = book([note(0, 1, 9), done(10, 1), note(0, 2, 9)]);
        let day = KEPT.as_secs();
        book.forget_old(at(day + 9));
        assert_eq!(book.of(&HASH).count(), 2);
        book.forget_old(at(day + 100));
        assert_eq!(book.of(&HASH).map(|record| record.left).collect::<Vec<_>>(), [9]);
        book.forget_old(at(8 * day));
        assert!(book.swarms.is_empty() && book.shares.by_source.is_empty() && book.shares.total == 0);
    }

    /// Whoever floods it drives out its own records, not those of others.
    #[test]
    fn it_is_bounded_by_source() {
        let mut book = book([note(1, 1, 9), done(2, 1)]);
        for n in 2..MAX_IN_SWARM as u32 + 100 {
            book.take(Note { source: [8, 8, 8, 8].into(), ..note(u64::from(n), n, 9) });
        }
        assert_eq!(book.of(&HASH).count(), MAX_IN_SWARM);
        for n in 0..MAX_RECORDS as u32 + 100 {
            let mut hash = [2; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            book.take(Note { source: [8, 8, 8, 9].into(), info_hash: InfoHash(hash), ..note(9, n, 9) });
        }
        assert_eq!(book.shares.total, MAX_RECORDS);
        assert!(book.record(&HASH, &id(1)).is_some_and(|record| record.whole == Some(at(2))));
    }

    #[test]
    fn notes_that_find_no_room_are_counted() {
        let history = History::default();
        (0..MAX_NOTES as u32 + 5).for_each(|n| history.note(note(1, n, 9)));
        assert_eq!(history.sweep(at(1)), 5);
        history.note(note(2, 1, 9));
        assert_eq!(history.read(|book| book.of(&HASH).count()), MAX_IN_SWARM);
    }
}
