//! `member share`: files and folders as they are, by name, without a manifest.
//!
//! [`run`] is the list of what it starts. [`scan`] looks what there is and [`watch`] tells when to look again; the
//! [`shelf`] has [`describe`] find out what new files are (hashed, or remembered in [`memory`]), and gives each a
//! [`sleeper`], which is announced and listened for, and wakes an owner of its swarm when somebody wants it. [`register`]
//! keeps the catalogue of the [`conductor`], which may be one that runs in here.

pub(super) mod conductor;
mod describe;
mod elsewhere;
mod look;
pub mod memory;
mod register;
mod rest;
mod scan;
mod shelf;
mod sleeper;
pub(super) mod standing;
mod watch;

use std::{
    convert::Infallible,
    fs,
    net::IpAddr,
    path::{self, Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    StartError, blocking,
    history::{self, Record, What},
    leave_on_q,
    station::Station,
    teller::Sum,
    until::Copies,
};
use crate::{
    catalogue::Token,
    cli::{
        Exit, LogDir,
        member::{Settings, Until},
        offer::Offer,
        units,
    },
    composer::Rules,
    manifest::shown,
    net::own_address::own_addresses,
    swarm::Snapshot,
    time::Time,
    ui::{End, Phase, Report, Screen, View},
};
use memory::Memory;
use register::Registrar;
use scan::Named;
use shelf::Shelf;
use watch::Watch;

const TICK: Duration = Duration::from_millis(250);
/// The catalogue is told so often what is being hashed.
const EXPECT: Duration = Duration::from_secs(3);
/// People hear what to type elsewhere when the conductors know what comes, or do not answer for so long.
const TOLD: Duration = Duration::from_secs(5);
/// After something changed, the disk is looked at when this has passed.
const SETTLE: Duration = Duration::from_millis(300);
/// The disk is looked at so often where nobody tells of changes, and where somebody does.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_SELDOM: Duration = Duration::from_secs(300);

/// Files of which people are told one by one how many machines have them, at most.
const MAX_TOLD: usize = 20;
/// A member that is to end by itself waits for so long until the conductors were told of what it shares.
const MAX_REGISTERING: Time = Time::from_secs(15);

/// Info-hashes that people are told at once, at most.
const MOST_HASHES: usize = 10;

/// Shares what is offered until it is told to stop. To be called inside a tokio runtime.
pub async fn run(offer: Offer, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let screen = Arc::new(Screen::new(offer.settings.screen, &offer.settings.log_dir, SystemTime::now));
    match share(offer, start, screen.clone(), stop.child_token()).await {
        Ok(exit) => exit,
        Err(error) => error.told(None, start, &screen),
    }
}

async fn share(offer: Offer, start: Instant, screen: Arc<Screen>, stop: CancellationToken) -> Result<Exit, StartError> {
    let Offer { paths, as_one, may_conduct, token, mut settings } = offer;
    let named = named(paths, as_one, &settings)?;
    let conducts = CancellationToken::new();
    let conducting = conductor::find(&settings, token, may_conduct, &conducts).await?;
    conducting.note.iter().flat_map(|note| note.lines()).for_each(|line| screen.say(line));
    (settings.conductors, settings.conductors_from) = (conducting.conductors, conducting.from);
    let station = Arc::new(Station::open(settings, start, screen.clone(), stop.clone(), true).await?);
    let _keys = leave_on_q(&stop);
    let exit = share_from(station.clone(), named, conducting.token, 0).await?;
    station.leave().await;
    conducts.cancel();
    if let Some(own) = conducting.own {
        let _ = own.await;
    }
    Ok(exit)
}

/// Shares these files and folders from a station until that is to stop. `slot`: its place on the screen.
pub(super) async fn share_from(
    station: Arc<Station>,
    named: Named,
    token: Option<Token>,
    slot: usize,
) -> Result<Exit, StartError> {
    let (memory, warning) = blocking(Memory::of_this_user).await?;
    if let Some(error) = warning {
        let text = format!("what is hashed is not remembered: {error}");
        station.screen.event(&Report::Warning { name: None, text });
    }
    let memory = Arc::new(memory);
    let registrar = Registrar::start(&station.settings.conductors, token, &memory, &station.screen, &station.stop)?;
    let sum = Arc::<Sum>::default();
    let shelf = Shelf::new(station.clone(), memory, registrar, sum.clone(), named.rules.clone());
    let watch = Watch::start(&named);
    let progress = station.start.elapsed();
    let (settled, reached, registered) = (None, None, None);
    Ok(Work { station, named, shelf, watch, sum, slot, settled, reached, progress, registered }.run().await)
}

/// What is shared of these paths, as it is remembered.
///
/// # Errors
/// One of them is not there.
pub(super) fn named(paths: Vec<PathBuf>, as_one: bool, settings: &Settings) -> Result<Named, StartError> {
    let one = |path: PathBuf| {
        let there = fs::symlink_metadata(&path).and_then(|_| path::absolute(&path));
        // The entries of a folder lie where it leads to. What is shared itself keeps its own name, which `.` is none.
        let is_plain = |there: &Path| there.is_dir() && (!as_one || there.file_name().is_none() || ends_in_dots(&path));
        let there = there.and_then(|there| if is_plain(&there) { there.canonicalize() } else { Ok(there) });
        there.map_err(|error| StartError::NotThere { path, error })
    };
    let paths = paths.into_iter().map(one).collect::<Result<_, _>>()?;
    let logs = match &settings.log_dir {
        LogDir::Folder(folder) => folder.canonicalize().ok(),
        LogDir::Stderr => None,
    };
    Ok(Named { paths, as_one, rules: Rules { follow_links: settings.follow_links, logs } })
}

/// Whether the last of the path is `.` or `..`.
fn ends_in_dots(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().rsplit(|byte| *byte == b'/').find(|part| !part.is_empty());
    matches!(last, None | Some(b"." | b".."))
}

struct Work {
    station: Arc<Station>,
    named: Named,
    shelf: Shelf,
    watch: Watch,
    sum: Arc<Sum>,
    /// Its place on the screen.
    slot: usize,
    /// All that was there is shared, and people heard so: whether there was anything.
    settled: Option<bool>,
    /// Addresses of this machine under which the conductor on it answers; all, where it is elsewhere. None: no conductor has
    /// answered yet, and what to type elsewhere may lead nowhere.
    reached: Option<Vec<IpAddr>>,
    /// When more machines were last seen to have something.
    progress: Time,
    /// Closed when the conductors took what was found first.
    registered: Option<mpsc::Receiver<Infallible>>,
}

impl Work {
    async fn run(mut self) -> Exit {
        let stop = self.station.stop.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expect = interval(EXPECT);
        expect.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wait = self.look(true).await;
        let mut told = self.shelf.tell_coming();
        // Whoever types it finds it there already.
        let _ = stop.run_until_cancelled(timeout(TOLD, told.recv())).await;
        let first = self.station.settings.conductors.first().cloned();
        let mut answered = pin!(conductor::answered(first, self.own_addresses(), self.station.screen.clone()));
        let mut look_again = pin!(sleep(wait));
        loop {
            let soon = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                reached = &mut answered, if self.reached.is_none() => {
                    self.reached = Some(reached);
                    self.tell_elsewhere();
                    None
                }
                () = &mut look_again => {
                    let wait = self.look(false).await;
                    look_again.as_mut().reset(tokio::time::Instant::now() + wait);
                    None
                }
                () = self.watch.changed() => Some(SETTLE),
                again = self.shelf.next() => again.then_some(rest::QUIET),
                _ = expect.tick() => {
                    drop(self.shelf.tell_coming());
                    None
                }
                _ = tick.tick() => {
                    self.show();
                    self.tell_copies();
                    if self.has_nothing() || self.has_lost_all() || self.is_over() || self.gives_up() {
                        break;
                    }
                    None
                }
            };
            if let Some(soon) = soon {
                let at = tokio::time::Instant::now() + soon;
                if at < look_again.deadline() {
                    look_again.as_mut().reset(at);
                }
            }
        }
        self.station.screen.leave(self.slot);
        // What ended by itself ends for all that is shared.
        stop.cancel();
        self.shelf.leave().await;
        match self.has_nothing() {
            true => Exit::Other,
            false => self.tell_end(),
        }
    }

    /// Whether the disk failed what was shared, and nothing else is shared or will be soon.
    fn has_lost_all(&self) -> bool {
        self.shelf.failure() == Some(Exit::Disk) && self.shelf.count().0 + self.shelf.waiting() == 0
    }

    fn until(&self) -> &Until {
        &self.station.settings.until
    }

    /// All that was found is shared, and each composition met one of the conditions that were given.
    fn is_over(&self) -> bool {
        let now = self.station.start.elapsed();
        let is_registered = self.registered.as_ref().is_none_or(mpsc::Receiver::is_closed);
        let is_told = is_registered || now >= self.progress + MAX_REGISTERING;
        self.settled == Some(true)
            && self.shelf.is_at_rest()
            && is_told
            && self.shelf.standings.are_met(self.until(), now)
    }

    /// Whether machines are waited for, and no further one has anything for as long as was allowed.
    fn gives_up(&self) -> bool {
        let Station { settings, start, .. } = &*self.station;
        let is_late = |timeout| start.elapsed() >= self.progress + timeout;
        self.settled.is_some() && self.until().all.is_some() && settings.timeout.is_some_and(is_late)
    }

    /// Says how many machines have what is shared, where they are waited for.
    fn tell_copies(&mut self) {
        if self.until().all.is_none() {
            return;
        }
        let news = self.shelf.standings.news();
        if !news.is_empty() {
            self.progress = self.station.start.elapsed();
        }
        let (files, _) = self.shelf.count();
        if files <= MAX_TOLD || self.station.settings.screen.json {
            news.into_iter().for_each(|(name, copies)| self.station.screen.event(&of_copies(name, copies)));
        }
    }

    /// None of the files that were named can be shared, and no folder was from which others may come.
    fn has_nothing(&self) -> bool {
        self.settled == Some(false) && self.shelf.cannot() > 0 && !self.is_followed()
    }

    /// Whether something may come by itself: a folder was named.
    fn is_followed(&self) -> bool {
        self.named.paths.iter().any(|path| path.is_dir())
    }

    /// Compares the disk with what is shared; gives when to do so again.
    async fn look(&mut self, first: bool) -> Duration {
        let named = self.named.clone();
        let found = blocking(move || scan::scan(&named)).await;
        let again = self.shelf.compare(found, first);
        let regularly = if self.watch.works() { LOOK_SELDOM } else { LOOK };
        again.map_or(regularly, |again| again.min(regularly))
    }

    fn show(&mut self) {
        let (files, size) = self.shelf.count();
        let elapsed = self.station.start.elapsed();
        let screen = &self.station.screen;
        let swarm = Snapshot { bytes: size, bytes_done: size, ..self.sum.snapshot() };
        if let Some((path, hashed)) = self.shelf.progress() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let phase = Phase::Checking { done_bytes: hashed.done };
            let swarm = Snapshot { bytes: hashed.total, ..swarm };
            return screen
                .update(self.slot, &View { name: shown(&name).into_owned(), phase, swarm, eta: None, elapsed });
        }
        if self.shelf.is_settled() && self.settled.is_none_or(|any| !any && files > 0) {
            if self.settled == Some(false) && self.reached.is_some() {
                self.tell_elsewhere();
            }
            self.settled = Some(files > 0);
            self.progress = elapsed;
            self.registered = Some(self.shelf.registered());
            self.shelf.tells_each = true;
            self.tell_settled(files, size);
        }
        let name = self.shelf.title();
        screen.update(self.slot, &View { name, phase: Phase::Sharing, swarm, eta: None, elapsed });
    }

    /// What to type elsewhere; also before it is hashed: who asks then is told so, and waits.
    fn tell_elsewhere(&self) {
        let screen = &self.station.screen;
        if self.shelf.count().0 + self.shelf.waiting() == 0 {
            if self.is_followed() || self.shelf.cannot() == 0 {
                screen.say("nothing to share yet: what is put there is shared");
            }
            return;
        }
        let own = self.own_addresses();
        let reached = self.reached.as_ref().unwrap_or(&own);
        let heading = match elsewhere::is_for_others(&self.station.settings, &own, reached) {
            true => "On the others:",
            false => "On this machine:",
        };
        if let Some(line) = self.commands().first() {
            screen.say(&format!("{heading}  {line}"));
        }
    }

    /// What is found only by who knows its info-hash: so people have to hear that.
    fn tell_untold(&self) {
        let Station { screen, port, settings, .. } = &*self.station;
        let untold = self.shelf.untold();
        if untold.is_empty() {
            return;
        }
        screen.say(&match settings.dht {
            Some(_) => "only the DHT is told of it: others find it by its info-hash, with --dht".to_owned(),
            None => format!("nobody is told of it: others find it by its info-hash, with --peer HOST:{port}"),
        });
        for (name, hash) in untold.iter().take(MOST_HASHES) {
            screen.say(&format!("{hash}  {name}"));
        }
        if untold.len() > MOST_HASHES {
            screen.say(&format!("and {} more: --json says all", untold.len() - MOST_HASHES));
        }
    }

    fn commands(&self) -> Vec<String> {
        let Station { settings, port, .. } = &*self.station;
        let own = self.own_addresses();
        let reached = self.reached.as_ref().unwrap_or(&own);
        elsewhere::commands(settings, *port, &own, reached, self.shelf.only_name().as_deref())
    }

    /// Where others reach this machine, IPv4 first.
    fn own_addresses(&self) -> Vec<IpAddr> {
        let mut all = own_addresses();
        all.sort_by_key(IpAddr::is_ipv6);
        match self.station.settings.listen.filter(|ip| !ip.is_unspecified()) {
            Some(only) => all.into_iter().filter(|ip| *ip == only).collect(),
            None => all,
        }
    }

    /// Everything that was found is shared.
    fn tell_settled(&self, files: usize, size: u64) {
        let Station { screen, port, .. } = &*self.station;
        screen.event(&Report::Sharing { files, size, port: *port, get: self.commands() });
        let (title, size_shown) = (self.shelf.title(), units::size(size));
        match files {
            0 => return,
            1 => screen.say(&format!("{title}: {size_shown} shared")),
            _ => screen.say(&format!("{title} shared, {size_shown}")),
        }
        self.tell_kind();
        self.tell_untold();
        self.note(&title, size);
    }

    /// Says whether a folder is one composition or many, and how to have it the other way.
    fn tell_kind(&self) {
        let mut folders = self.named.paths.iter().filter(|path| path.is_dir());
        let Some(folder) = folders.next() else { return };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = shown(&name);
        self.station.screen.say(&match self.named.as_one {
            true => format!("{name} is shared as one composition; without --as-one each entry of it is, by itself"),
            false => format!("each entry of {name} is shared by itself; --as-one shares the folder as one composition"),
        });
    }

    /// Once, not for every file: there may be thousands.
    fn note(&self, title: &str, size: u64) {
        let paths: Vec<_> = self.named.paths.iter().map(|path| path.to_string_lossy()).collect();
        let record = Record::new(title, None, size, What::Shared { path: paths.join(", ") });
        tokio::task::spawn_blocking(move || history::note(&[record]));
    }

    /// Says how it ended; gives the exit code.
    fn tell_end(&self) -> Exit {
        let screen = &self.station.screen;
        let missing = match self.until().all {
            Some(_) => self.shelf.standings.missing(),
            None => Vec::new(),
        };
        let late = (!missing.is_empty()).then_some(Exit::CopiesMissing);
        let exit = Exit::worst(self.shelf.failure().into_iter().chain(late));
        let more = missing.len().saturating_sub(MAX_TOLD);
        missing.into_iter().take(MAX_TOLD).for_each(|(name, copies)| screen.event(&of_copies(name, copies)));
        if more > 0 {
            screen.say(&format!("and {more} more are not on all machines that were waited for"));
        }
        let sent = self.sum.snapshot().uploaded;
        log::info!("ends: {sent} bytes sent");
        self.station.screen.say(&format!("shared no more; {} sent", units::size(sent)));
        let early = End::early(Some(self.shelf.title()), exit, self.station.start.elapsed());
        self.station.screen.event(&Report::End(End { uploaded: sent, ..early }));
        exit
    }
}

fn of_copies(name: String, copies: Copies) -> Report {
    let Copies { copies, wanted, whole, lacking, claimed } = copies;
    Report::Copies { name, copies, wanted, whole, lacking, claimed }
}
