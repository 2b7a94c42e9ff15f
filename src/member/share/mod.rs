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
mod scan;
mod shelf;
mod sleeper;
mod watch;

use std::{
    fs,
    net::IpAddr,
    path::{self, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    StartError, blocking,
    history::{self, Record, What},
    leave_on_q,
    station::Station,
    teller::Sum,
};
use crate::{
    catalogue::Token,
    cli::{Exit, offer::Offer, units},
    manifest::{Endpoint, shown},
    net::own_address::own_addresses,
    swarm::Snapshot,
    ui::{End, Phase, Report, Screen, View},
};
use memory::Memory;
use register::Registrar;
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
    let Offer { paths, may_conduct, token, mut settings } = offer;
    let named = absolute(paths)?;
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
    named: Vec<PathBuf>,
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
    let shelf = Shelf::new(station.clone(), memory, registrar, sum.clone());
    let watch = Watch::start(&named);
    Ok(Work { station, named, shelf, watch, sum, slot, settled: None, may_tell: false }.run().await)
}

/// The paths as they are remembered.
pub(super) fn absolute(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, StartError> {
    let one = |path: PathBuf| {
        let there = fs::symlink_metadata(&path).and_then(|_| path::absolute(&path));
        // A folder may be named through a link.
        let there = there.and_then(|there| if there.is_dir() { there.canonicalize() } else { Ok(there) });
        there.map_err(|error| StartError::NotThere { path, error })
    };
    paths.into_iter().map(one).collect()
}

struct Work {
    station: Arc<Station>,
    named: Vec<PathBuf>,
    shelf: Shelf,
    watch: Watch,
    sum: Arc<Sum>,
    /// Its place on the screen.
    slot: usize,
    /// All that was there is shared, and people heard so: whether there was anything.
    settled: Option<bool>,
    /// The conductor has answered: what to type elsewhere leads somewhere.
    may_tell: bool,
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
        let mut answered = pin!(conductor::answered(first, self.station.screen.clone()));
        let mut look_again = pin!(sleep(wait));
        loop {
            let soon = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = &mut answered, if !self.may_tell => {
                    self.may_tell = true;
                    self.tell_elsewhere();
                    None
                }
                () = &mut look_again => {
                    let wait = self.look(false).await;
                    look_again.as_mut().reset(tokio::time::Instant::now() + wait);
                    None
                }
                () = self.watch.changed() => Some(SETTLE),
                again = self.shelf.next() => again.then_some(shelf::QUIET),
                _ = expect.tick() => {
                    drop(self.shelf.tell_coming());
                    None
                }
                _ = tick.tick() => {
                    self.show();
                    if self.has_nothing() {
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
        self.shelf.leave().await;
        match self.has_nothing() {
            true => Exit::Other,
            false => {
                self.tell_end();
                Exit::Done
            }
        }
    }

    /// None of the files that were named can be shared, and no folder was from which others may come.
    fn has_nothing(&self) -> bool {
        self.settled == Some(false) && self.shelf.cannot() > 0 && !self.is_followed()
    }

    /// Whether something may come by itself: a folder was named.
    fn is_followed(&self) -> bool {
        self.named.iter().any(|path| path.is_dir())
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
            if self.settled == Some(false) && self.may_tell {
                self.tell_elsewhere();
            }
            self.settled = Some(files > 0);
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
        let of_others = |conductor: &Endpoint| !conductor.host.is_this_machine() || !self.own_addresses().is_empty();
        let heading = match self.station.settings.conductors.first().is_none_or(of_others) {
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
        elsewhere::commands(settings, *port, &self.own_addresses(), self.shelf.only_name().as_deref())
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
        self.tell_untold();
        self.note(&title, size);
    }

    /// Once, not for every file: there may be thousands.
    fn note(&self, title: &str, size: u64) {
        let paths: Vec<_> = self.named.iter().map(|path| path.to_string_lossy()).collect();
        let record = Record::new(title, None, size, What::Shared { path: paths.join(", ") });
        tokio::task::spawn_blocking(move || history::note(&[record]));
    }

    fn tell_end(&self) {
        let sent = self.sum.snapshot().uploaded;
        log::info!("ends: {sent} bytes sent");
        self.station.screen.say(&format!("shared no more; {} sent", units::size(sent)));
        let early = End::early(Some(self.shelf.title()), Exit::Done, self.station.start.elapsed());
        self.station.screen.event(&Report::End(End { uploaded: sent, ..early }));
    }
}
