//! The owner of a swarm's state: hears everything, and carries out what the swarm wants.
//!
//! One task, one loop. It waits for nobody: neighbours get commands into their queues, the disk works on threads of
//! its own. A crash loses at most the parts in memory; everything on the disk is proven again at the next start.

mod ending;
mod mirrors;
mod telling;
mod vigil;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use ending::Ending;
use vigil::Vigil;

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Duration, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    acquaintances::Acquaintances,
    ledger::Ledger,
    links::{Arrival, Heard, Links, Visitors},
    lookout::Lookout,
    mirrors::Mirrors,
    narrow::Narrow,
    on_complete,
    repertoire::Listed,
    report,
    share::standing::Standing,
    station::{Pending, Station, Unmet},
    teller::Teller,
    until,
};
use crate::{
    announce::live::REPORT,
    cli::{
        Exit,
        member::{DEFAULT_PORT, UntilAll},
    },
    discovery::conductor::Stats,
    manifest::{Manifest, shown},
    peer::{Event, PeerKey, dial::DialError},
    storage::{Check, DiskEvent, Found, StorageError, Store},
    swarm::{Copies, Effect, Input, Swarm},
    time::Time,
    ui::Report,
};

const TICK: Duration = Duration::from_millis(100);
/// Having written nothing for so long, what is on the disk is noted.
const NOTE_AFTER: Time = Time::from_secs(10);
pub struct Parts {
    pub station: Arc<Station>,
    /// Ends this composition.
    pub stop: CancellationToken,
    pub manifest: Arc<Manifest>,
    pub swarm: Swarm,
    pub store: Store,
    pub found: Found,
    pub disk: mpsc::UnboundedReceiver<DiskEvent>,
    pub links: Links,
    pub mirrors: Mirrors,
    pub heard: Heard,
    pub acquaintances: Acquaintances,
    pub ledger: Ledger,
    pub narrow: Narrow,
    /// Kept until what ends it is met; it then goes on while others of the process have not met it.
    pub pending: Option<Pending>,
    pub unmet: Unmet,
    /// Its author wants members to come through its conductors alone (BEP 27).
    pub private: bool,
    /// None: it is listed by somebody else, or private.
    pub listed: Option<Listed>,
    /// Bytes sent before it was last asleep.
    pub uploaded: u64,
    /// Where it is told how far the composition is; somebody else then decides when to end.
    pub standing: Option<Arc<Standing>>,
}

/// How far the own copy is.
enum Stage {
    /// Proving what was on the disk.
    Checking(Check),
    Fetching,
    /// Verified; it is being given its final name.
    Naming(JoinHandle<Result<PathBuf, StorageError>>),
    Whole {
        since: Time,
    },
    /// It was whole, and somebody changed it or took it away.
    Spoilt,
}

pub struct Owner {
    parts: Parts,
    lookout: Lookout,
    stage: Stage,
    /// When something was last gained: a part, a copy elsewhere.
    progress: Time,
    gained: (u32, usize),
    /// Number of claims that people were told of, and when.
    claims_told: (usize, Time),
    noted: u32,
    noting: Option<JoinHandle<()>>,
    /// When the live links were last told how far we are.
    reported: Time,
    /// It may sleep while nobody wants it; when somebody was last there.
    wanted: Option<Time>,
    vigil: Vigil,
}

/// What is left of a composition that sleeps.
pub struct Asleep {
    pub lookout: Lookout,
    pub visitors: Visitors,
    /// Bytes sent since the start.
    pub uploaded: u64,
    /// Machines that have it whole.
    pub copies: Copies,
}

impl Owner {
    pub fn new(mut parts: Parts, mut lookout: Lookout) -> Self {
        let now = parts.station.start.elapsed();
        let mut known = std::mem::take(&mut lookout.known);
        if let Some(UntilAll::Named(hosts)) = &parts.station.settings.until.all {
            known.extend(until::addresses(hosts).map(|ip| SocketAddr::new(ip, DEFAULT_PORT)));
        }
        parts.swarm.handle(Input::Endpoints(known), now);
        std::mem::take(&mut lookout.later).into_iter().for_each(|input| parts.swarm.handle(input, now));
        let stage = match parts.found {
            Found::Whole => Stage::Whole { since: now },
            Found::Unproven | Found::Unchecked => Stage::Checking(parts.store.check()),
            Found::Ready => Stage::Fetching,
        };
        let (noted, counted) = (parts.swarm.have().count(), parts.swarm.copies().count());
        Self {
            parts,
            lookout,
            stage,
            progress: now,
            gained: (0, counted),
            claims_told: (0, now),
            noted,
            noting: None,
            wanted: None,
            reported: Time::ZERO,
            vigil: Vigil::default(),
        }
    }

    fn now(&self) -> Time {
        self.parts.station.start.elapsed()
    }

    fn name(&self) -> String {
        self.parts.manifest.name.shown().into_owned()
    }

    pub async fn run(mut self, screen: &Teller) -> Exit {
        self.tell_first(screen);
        let ending = self.work(screen).await;
        self.end(ending, screen).await
    }

    /// Serves a composition that is whole, until nobody has been there for a while.
    ///
    /// # Errors
    /// It is over, and told so: the exit code of it alone.
    pub async fn serve(mut self, screen: &Teller) -> Result<Asleep, Exit> {
        self.wanted = Some(self.now());
        let ending = self.work(screen).await;
        if ending.error.is_some() || self.parts.stop.is_cancelled() {
            return Err(self.end(ending, screen).await);
        }
        screen.finish(self.parts.swarm.snapshot(self.now()).uploaded);
        tokio::task::spawn_blocking(self.parts.acquaintances.note(self.parts.swarm.reached(), self.now()));
        self.parts.ledger.tick();
        let uploaded = self.stats().uploaded;
        self.tell_standing(uploaded);
        let copies = self.parts.swarm.into_copies();
        let visitors = self.parts.links.into_visitors(self.parts.heard);
        Ok(Asleep { lookout: self.lookout, visitors, uploaded, copies })
    }

    async fn work(&mut self, screen: &Teller) -> Ending {
        let stop = self.parts.stop.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ending = tokio::select! {
                biased;
                () = stop.cancelled() => Some(self.interrupted(screen).await),
                Some((key, events)) = self.parts.heard.events.recv() => {
                    self.on_events(key, events, screen);
                    None
                }
                Some(event) = self.parts.disk.recv() => self.on_disk(event, screen),
                Some(arrival) = self.parts.heard.arrivals.recv() => {
                    self.on_arrival(arrival);
                    None
                }
                Some(found) = self.lookout.hear() => {
                    if let Some(input) = self.lookout.take(found, screen) {
                        self.hear(input);
                    }
                    None
                }
                Some((key, events)) = self.parts.mirrors.hear() => {
                    self.on_mirror(key, events, screen);
                    None
                }
                named = named(&mut self.stage) => self.on_named(named, screen),
                _ = tick.tick() => self.on_tick(screen),
            };
            self.carry_out(screen);
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    fn hear(&mut self, input: Input) {
        let now = self.now();
        self.parts.swarm.handle(input, now);
    }

    fn carry_out(&mut self, screen: &Teller) {
        while let Some(effect) = self.parts.swarm.next_effect() {
            match effect {
                Effect::Dial(address) => self.parts.links.dial(address),
                Effect::Admit(key, show) => {
                    self.lookout.contact.met();
                    self.parts.links.admit(key, show);
                    log::info!("{} joins", self.name_of(key));
                    if screen.is_verbose() {
                        screen.verbose(&format!("{} joins", self.name_of(key)));
                    }
                }
                Effect::Refuse(key, why) => {
                    log::debug!("a connection is refused: {why}");
                    self.parts.links.refuse(key);
                }
                Effect::Tell(key, command) => self.parts.links.tell(key, command),
                Effect::Mirror(key, order) => self.parts.mirrors.order(key, order),
                Effect::MirrorFailed(key, failure) => self.on_mirror_failed(key, &failure, screen),
                // What follows from it comes from the disk, when the whole is verified too.
                Effect::Complete => {}
            }
        }
    }

    /// Who is at the other end, safe for a terminal; also of one that the swarm has parted from.
    fn name_of(&self, key: PeerKey) -> String {
        let name = self.parts.swarm.name_of(key);
        let name = name.or_else(|| self.parts.links.address(key).map(|address| address.to_string()));
        shown(&name.unwrap_or_default()).into_owned()
    }

    fn on_events(&mut self, key: PeerKey, events: Vec<Event>, screen: &Teller) {
        for event in events {
            let event = if self.parts.private { event.in_private() } else { event };
            let who = matches!(event, Event::Closed(_)).then(|| self.name_of(key));
            self.parts.ledger.hear(key, &event, || who.unwrap_or_default());
            let address = || self.parts.links.address(key).map(|address| address.ip().to_canonical());
            if self.parts.narrow.hear(key, &event, address) {
                self.tell_narrow(key, screen);
            }
            match &event {
                Event::Right(part) if screen.is_verbose() => {
                    screen.verbose(&format!("part {} from {}", part.get() + 1, self.name_of(key)));
                }
                Event::Wrong { part, .. } => {
                    let text =
                        format!("part {} from {} is wrong: asking someone else", part.get() + 1, self.name_of(key));
                    log::warn!("{text}");
                    screen.event(&Report::Warning { name: Some(self.name()), text });
                }
                Event::Node(port) => self.parts.station.greet(self.parts.links.address(key), *port),
                Event::Closed(why) => {
                    let text = format!("{} leaves: {}", self.name_of(key), shown(&why.to_string()));
                    log::info!("{text}");
                    screen.verbose(&text);
                    self.parts.links.closed(key);
                }
                _ => {}
            }
            self.hear(Input::Peer(key, event));
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Met(met) => {
                let (key, introduction) = self.parts.links.introduce(*met);
                self.hear(Input::Introduced(key, introduction));
            }
            Arrival::DialFailed(address, error) => {
                log::debug!("{error}");
                self.hear(match error {
                    DialError::Ourselves { .. } => Input::Ourselves(address),
                    _ => Input::DialFailed(address),
                });
            }
        }
    }

    fn on_disk(&mut self, event: DiskEvent, screen: &Teller) -> Option<Ending> {
        let end = |exit, error: String| Some(Ending { exit, error: Some(error) });
        match event {
            DiskEvent::Written(part) | DiskEvent::Proven(part) => self.hear(Input::Have(part)),
            DiskEvent::Different(wrong) => {
                self.tell_checked(&wrong, screen);
                let error = StorageError::Different { path: self.parts.store.final_path() };
                return end(Exit::OtherData, error.to_string());
            }
            DiskEvent::Checked => {
                self.noted = self.parts.swarm.have().count();
                let missing = self.missing();
                self.tell_checked(&missing, screen);
                self.hear(Input::Checked);
                self.progress = self.now();
                // The whole may have been verified in the same pass: then it is being named already, or has its name.
                if let Stage::Checking(_) = self.stage {
                    self.stage = Stage::Fetching;
                    self.tell_first(screen);
                }
            }
            DiskEvent::Whole => {
                let store = self.parts.store.clone();
                self.stage = Stage::Naming(tokio::task::spawn_blocking(move || store.finish()));
            }
            DiskEvent::WholeWrong(digest) => {
                let text = format!(
                    "every part is right, and yet the whole file's SHA-1 is {digest}: the manifest contradicts itself; \
                     ask for it again where it came from"
                );
                return end(Exit::BadManifest, text);
            }
            DiskEvent::Failed { part, error } => {
                log::error!("part {part:?}: {error}");
                return end(report::exit_of(&error), error.to_string());
            }
        }
        None
    }

    fn on_named(&mut self, named: Result<PathBuf, StorageError>, screen: &Teller) -> Option<Ending> {
        let path = match named {
            Ok(path) => path,
            Err(error) => return Some(Ending { exit: report::exit_of(&error), error: Some(error.to_string()) }),
        };
        self.stage = Stage::Whole { since: self.now() };
        self.progress = self.now();
        self.tell_whole(screen);
        log::info!("{}: whole and verified", self.name());
        if let Some(program) = &self.parts.station.settings.on_complete {
            let (teller, name) = (screen.clone(), self.name());
            let warn = move |text: String| {
                log::warn!("{text}");
                teller.event(&Report::Warning { name: Some(name), text });
            };
            if let Err(text) = on_complete::start(program, &path, warn.clone()) {
                warn(text);
            }
        }
        self.is_over()
    }

    fn on_tick(&mut self, screen: &Teller) -> Option<Ending> {
        let now = self.now();
        self.parts.swarm.tick(now);
        let snapshot = self.parts.swarm.snapshot(now);
        let gained = (snapshot.parts_done, snapshot.copies);
        if self.gained != gained {
            if self.gained.1 != gained.1 {
                self.tell_copies(screen);
            }
            self.gained = gained;
            self.progress = now;
        }
        self.tell_claims(now, screen);
        let stats = self.stats();
        if let Some(listed) = &self.parts.listed {
            listed.lacks(stats.left);
        }
        self.tell_standing(stats.uploaded);
        self.lookout.tell(stats);
        if now >= self.reported + REPORT {
            self.reported = now;
            self.lookout.report(report::progress(&self.parts.swarm, &snapshot));
        }
        self.show(&snapshot, now, screen);
        self.note(now);
        self.parts.acquaintances.tick(|| self.parts.swarm.reached(), now);
        self.parts.ledger.tick();
        self.watch(screen).or_else(|| self.is_over()).or_else(|| self.gives_up(now)).or_else(|| self.rests(now))
    }

    /// Tells the conductors how far this member is now.
    fn tell_conductors(&mut self) {
        self.lookout.tell(self.stats());
        let snapshot = self.parts.swarm.snapshot(self.now());
        self.lookout.report(report::progress(&self.parts.swarm, &snapshot));
    }

    /// How far this member is, for its conductors.
    fn stats(&self) -> Stats {
        let snapshot = self.parts.swarm.snapshot(self.now());
        let uploaded = self.parts.uploaded + snapshot.uploaded;
        Stats { uploaded, downloaded: snapshot.fetched, left: snapshot.left }
    }

    /// Notes what is on the disk once nothing was written for a while, so that even a kill costs no check.
    fn note(&mut self, now: Time) {
        let have = self.parts.swarm.have().count();
        let busy = self.noting.as_ref().is_some_and(|n| !n.is_finished());
        let due = matches!(self.stage, Stage::Fetching) && now >= self.progress + NOTE_AFTER && have != self.noted;
        if due && !busy {
            self.noted = have;
            let store = self.parts.store.clone();
            self.noting = Some(tokio::task::spawn_blocking(move || save(&store)));
        }
    }
}

fn save(store: &Store) {
    if let Err(error) = store.save_state() {
        log::warn!("{error}; what is there is checked at the next start");
    }
}

async fn named(stage: &mut Stage) -> Result<PathBuf, StorageError> {
    match stage {
        Stage::Naming(task) => match task.await {
            Ok(named) => named,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        _ => std::future::pending().await,
    }
}
