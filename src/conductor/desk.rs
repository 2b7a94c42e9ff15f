//! Where every question is answered, whichever way it came: the table with what it is not allowed to have itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    allowance::{Allowance, Allowances, Meter},
    catalogue::{Catalogue, Gate},
    history::{History, Note},
    live::{Hub, Reach},
    page::{
        cache::Pages,
        metrics::{Counted, Way},
    },
    policy,
    report::{Happening, Reporter},
    room::Room,
    shared::{Outbox, glimpse::Glimpse, sighting::Sighting},
    table::{Caller, Change, Full, Seed, Table, What, Word},
};
use crate::{
    announce::{Announce, Answer, Counts, Event, Listed, Reply, live::Hello},
    metainfo::InfoHash,
    search::NEIGHBOURS,
    time::Time,
};

/// Why an announce is not taken. The text goes back to the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this conductor takes only compositions of its catalogue: register it with composer --register")]
    NotRegistered,
    #[error(transparent)]
    Full(#[from] Full),
}

/// What one source may ask, and be told.
struct Limits {
    proven: Allowances,
    unproven: Allowances,
    /// Words over live links.
    words: Allowances,
    /// Pieces of long lists over live links.
    pieces: Allowances,
    all_pieces: Meter,
}

impl Limits {
    fn new(seed: Seed) -> Self {
        let [proven, unproven, words, pieces] = [(); 4].map(|()| Allowances::new(seed));
        Self { proven, unproven, words, pieces, all_pieces: Meter::default() }
    }
}

/// What one source says over its live links beside its hellos: how far it is with each of its compositions, once a second.
const WORDS: Allowance = Allowance { each: Duration::from_micros(200), burst: 20_000 };
/// Pieces for one source: 1.6 MB a second.
const PIECES: Allowance = Allowance { each: Duration::from_millis(5), burst: 100 };
/// Pieces for all: a tenth of a core.
const ALL_PIECES: Allowance = Allowance { each: Duration::from_micros(500), burst: 1000 };

/// The table with what it is not allowed to have itself: a clock, dice, and somebody to tell.
pub struct Desk {
    table: Table,
    limits: Option<Limits>,
    start: Instant,
    /// The time of day then, in seconds since 1970.
    started: u64,
    reporter: Reporter,
    catalogue: Arc<Catalogue>,
    gate: Gate,
    hub: Hub,
    room: Room,
    link_room: Room,
    reach: Reach,
    counted: Counted,
    history: Arc<History>,
    pages: Pages,
    /// What other conductors are to hear; None where there are none.
    outbox: Option<Arc<Outbox>>,
}

impl Desk {
    /// Both seeds have to be secrets; without one for the limits there are none.
    pub fn new(reporter: Reporter, table: Seed, limits: Option<Seed>) -> Self {
        let limits = limits.map(Limits::new);
        let (catalogue, gate) = (Arc::new(Catalogue::in_memory()), Gate::default());
        let (table, start, hub) = (Table::new(table), Instant::now(), Hub::default());
        let (room, link_room) = (Room::new(), Room::for_links());
        // Nobody is dialled where nothing takes from the queue.
        let (reach, _) = Reach::new();
        let (counted, history, pages, outbox) = (Counted::default(), Arc::default(), Pages::default(), None);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            table,
            limits,
            start,
            started,
            reporter,
            catalogue,
            gate,
            hub,
            room,
            link_room,
            reach,
            counted,
            history,
            pages,
            outbox,
        }
    }

    /// With this catalogue instead of an empty one.
    pub fn with_catalogue(self, catalogue: Arc<Catalogue>, gate: Gate) -> Self {
        Self { catalogue, gate, ..self }
    }

    /// Newcomers are handed to be dialled here, and what other conductors are to hear there, if there are any.
    pub(super) fn with_ways_out(self, reach: Reach, outbox: Option<Arc<Outbox>>) -> Self {
        Self { reach, outbox, ..self }
    }

    /// With this history instead of an empty one.
    pub(super) fn with_history(self, history: Arc<History>) -> Self {
        Self { history, ..self }
    }

    pub(super) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Which requests to the catalogue are answered.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether this source, which receives what is sent to it, may ask now.
    pub fn admits(&self, source: IpAddr) -> bool {
        self.counted_if_refused(Way::Tcp, source, |limits| limits.proven.admits(source, self.now()))
    }

    /// As [`Desk::admits`], for a source that may be forged.
    pub fn admits_unproven(&self, source: IpAddr) -> bool {
        let admits = |limits: &Limits| limits.unproven.admits_unproven(source, self.now());
        self.counted_if_refused(Way::Udp, source, admits)
    }

    fn counted_if_refused(&self, way: Way, source: IpAddr, admits: impl Fn(&Limits) -> bool) -> bool {
        let admitted = self.limits.as_ref().is_none_or(admits);
        if !admitted {
            self.counted.limited(way, source);
        }
        admitted
    }

    /// As [`Desk::admits`], for a hello over a live link, which waits until it may come.
    pub fn admits_hello(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.proven.admits(source, self.now()))
    }

    /// Whether a word beside its hellos may come over a live link of this source now.
    pub fn admits_word(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.words.admits_to(WORDS, source, self.now()))
    }

    /// Whether a piece of a long list may be told over a live link of this source now.
    pub fn admits_piece(&self, source: IpAddr) -> bool {
        self.limits.as_ref().is_none_or(|limits| {
            let now = self.now();
            limits.all_pieces.admits(ALL_PIECES, now) && limits.pieces.admits_to(PIECES, source, now)
        })
    }

    /// An announce without the address that it names (`ip=`), which could be a victim's; unless the member's own live link
    /// names it too.
    pub fn without_claims(&self, announce: Announce) -> Announce {
        let ip = announce.ip.filter(|ip| announce.id.is_ours() && self.hub.is_named(&announce, *ip));
        Announce { ip, ..announce }
    }

    /// The answer with its list as neutral data; [`Desk::hear`] gives it entry by entry.
    pub fn announce(&self, announce: &Announce, caller: &Caller) -> Reply {
        let mut peers = Vec::with_capacity(policy::wanted(announce.numwant));
        let list = |listed: Listed| {
            if !listed.claimed {
                peers.push(listed);
            }
            !listed.claimed
        };
        let heard = self.hear(announce, caller, list);
        self.counted.announce(heard.is_ok());
        match heard {
            Ok(word) => Reply::Answer(Answer {
                interval: word.interval,
                min_interval: Some(word.interval),
                complete: Some(word.counts.complete),
                incomplete: Some(word.counts.incomplete),
                peers,
                external_ip: Some(caller.source),
                warning: None,
            }),
            Err(refusal) => Reply::Failure(refusal.to_string()),
        }
    }

    /// As [`Table::announce`], for the swarms that are conducted here.
    pub fn hear(
        &self,
        announce: &Announce,
        caller: &Caller,
        list: impl FnMut(Listed) -> bool,
    ) -> Result<Word, Refusal> {
        match self.catalogue.admits(&announce.info_hash) {
            true => self.take(announce, caller, list, What::Left).map_err(Refusal::from),
            false => Err(Refusal::NotRegistered),
        }
    }

    /// As [`Desk::hear`] of a member that stops, where it did not say so itself.
    pub fn cut_off(&self, announce: &Announce, caller: &Caller) {
        // Nobody is refused who leaves.
        let _ = self.take(announce, caller, |_| false, What::Gone);
    }

    /// `leave`: why it is no more, if it leaves.
    fn take(
        &self,
        announce: &Announce,
        caller: &Caller,
        list: impl FnMut(Listed) -> bool,
        leave: What,
    ) -> Result<Word, Full> {
        let mut changed = false;
        let tell = |change: Change| {
            changed = true;
            self.tell(change.because(leave));
        };
        let word = self.table.announce(announce, caller, self.now(), &mut fastrand::Rng::new(), tell, list)?;
        self.pass_on(announce, caller, word, changed, leave);
        Ok(word)
    }

    /// Everybody who is to know; under the lock of the swarm.
    fn tell(&self, change: Change) {
        if change.info_hash != NEIGHBOURS {
            self.reach.hear(&change);
        }
        self.tell_of_elsewhere(change, self.now());
    }

    /// As [`Desk::tell`], of what another conductor heard: that one dials newcomers. Who looks for neighbours comes and
    /// goes unnoticed.
    fn tell_of_elsewhere(&self, change: Change, at: Time) {
        if change.info_hash == NEIGHBOURS {
            return;
        }
        // The reporter looks there for names and times: first the note, then the change.
        if let Some(note) = Note::of_change(&change, at) {
            self.history.note(note);
        }
        self.counted.hear(change.what);
        self.hub.tell(&change);
        self.reporter.tell(Happening::Change(change));
    }

    /// Who shares what.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What happened since the start, in numbers.
    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Who got which composition, and when.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The page as it was made last.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The time of day, in seconds since 1970.
    pub fn time_of_day(&self, time: Time) -> u64 {
        self.started.saturating_add(time.as_secs())
    }

    /// All live links.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// How many connections there may be.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// How many live links there may be.
    pub fn link_room(&self) -> &Room {
        &self.link_room
    }

    /// Who could not be reached.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Where this member was dialled in vain, if it was.
    pub fn closed_at(&self, announce: &Announce, caller: &Caller) -> Option<SocketAddr> {
        let home = self.table.home(announce, caller).address;
        self.reach.is_closed(&announce.info_hash, home).then_some(home)
    }

    /// Lets other conductors know, save of a member that leaves and was not there.
    fn pass_on(&self, announce: &Announce, caller: &Caller, word: Word, changed: bool, leave: What) {
        if let Some(outbox) = &self.outbox
            && (changed || announce.event != Some(Event::Stopped))
        {
            outbox.note(announce, caller, word.interval, leave == What::Gone);
        }
    }

    /// Takes in what another conductor heard, that long ago. What is over by now, and what finds no room, is left out.
    pub fn hear_of(&self, sighting: &Sighting, ago: Duration) {
        let Sighting { announce, interval, .. } = sighting;
        let over = ago >= policy::lifetime(&announce.id, *interval) && announce.event.is_none();
        if !over && self.catalogue.admits(&announce.info_hash) {
            let then = self.now().saturating_sub(ago);
            let leave = if sighting.cut_off { What::Gone } else { What::Left };
            let tell = |change: Change| self.tell_of_elsewhere(change.because(leave), then);
            let heard =
                self.table.announce(announce, &sighting.caller(), then, &mut fastrand::Rng::new(), tell, |_| false);
            if let Err(full) = heard {
                log::debug!("{}: another conductor's member: {full}", announce.info_hash);
            }
        }
    }

    /// What another conductor heard of a member over its live link.
    pub fn see(&self, glimpse: Glimpse) {
        if self.catalogue.admits(&glimpse.info_hash) {
            let notes = Note::of_glimpse(&glimpse, self.now());
            let got = glimpse.got.is_some();
            if self.hub.see(glimpse, self.now()) || got {
                notes.into_iter().for_each(|note| self.history.note(note));
            }
        }
    }

    /// What a member says with a link here, with what the history knows of it, for other conductors.
    pub fn with_history_of(&self, glimpse: Glimpse) -> Glimpse {
        let now = self.now();
        let got = self.history.read(|book| book.record(&glimpse.info_hash, &glimpse.peer_id)?.got(now));
        Glimpse { got, ..glimpse }
    }

    /// Notes the name of a member that begins a live link, before it is put into the table.
    pub fn greet(&self, hello: &Hello, caller: &Caller) {
        if hello.info_hash == NEIGHBOURS || !self.catalogue.admits(&hello.info_hash) {
            return;
        }
        self.history.note(Note {
            at: self.now(),
            info_hash: hello.info_hash,
            id: hello.peer_id,
            address: self.table.home(&hello.announce(None, None), caller).address,
            source: caller.source,
            left: hello.progress.left,
            completed: false,
            named: Some((hello.name.clone(), hello.copy)),
        });
    }

    /// Lets other conductors know that a member's live link ended.
    pub fn tell_parted(&self, hello: &Hello, caller: &Caller) {
        if let Some(outbox) = &self.outbox {
            let home = self.table.home(&hello.announce(None, None), caller).address;
            let Hello { info_hash, peer_id, key, name, copy, .. } = hello.clone();
            outbox.note_parted(Glimpse { info_hash, peer_id, key, home, name, copy, progress: None, got: None });
        }
    }

    pub fn counts(&self, hashes: &[InfoHash]) -> Vec<(InfoHash, Counts)> {
        let counts = hashes.iter().map(|hash| (*hash, self.table.counts(hash)));
        counts.collect()
    }

    /// One swarm in numbers.
    pub fn counts_of(&self, info_hash: &InfoHash) -> Counts {
        self.table.counts(info_hash)
    }

    /// Up to `most` members of a swarm where this asker can reach them, and how many bytes each lacks; seeds first.
    pub fn holders(&self, info_hash: &InfoHash, asker: &Caller, most: usize) -> Vec<(SocketAddr, u64)> {
        self.table.holders(info_hash, asker, most)
    }

    /// Once in a while: who fell silent is gone.
    pub(super) fn sweep(&self) {
        self.table.sweep(self.now(), |change| self.tell(change));
        self.hub.forget_old(self.now());
        match self.history.sweep(self.now()) {
            0 => {}
            n => log::warn!("{n} words of members came too fast to be remembered"),
        }
    }

    /// The time since this conductor started: what its history counts from.
    pub fn now(&self) -> Time {
        self.start.elapsed()
    }
}
