//! What runs behind the menu: compositions that are fetched and shared, files and folders that are offered.
//!
//! They are the same as those of `member get` and `member share`, at one station, which is opened when the first needs it:
//! who only looks around takes no port.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use console::strip_ansi_codes;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{list::Here, state::State};
use crate::{
    catalogue::Token,
    cli::{
        Exit,
        ask::Whom,
        member::{Origin, Settings},
        menu::Menu,
    },
    composer::word as quoted,
    manifest::{Endpoint, Host, shown},
    member::{
        StartError,
        begin::Beginning,
        load::Named,
        search::findings::{Found, Holder},
        share::{self, conductor},
        station::{self, Pending, Station},
        teller::Teller,
    },
    metainfo::{InfoHash, Magnet},
    net::via::Via,
    ui::{
        Report, Screen,
        kept::{Kept, News},
        report::{Begun, End},
    },
};

pub struct Jobs {
    told: Menu,
    start: Instant,
    stop: CancellationToken,
    kept: Arc<Kept>,
    screen: Arc<Screen>,
    station: Option<Station>,
    /// Who is asked for the list, and told of what is shared.
    conductors: Vec<Endpoint>,
    /// Who named them.
    conductors_from: Origin,
    /// What their catalogue is written with.
    token: Option<Token>,
    /// The conductor that runs in here, if one does, and what ends it.
    own: Option<(JoinHandle<()>, CancellationToken)>,
    next_slot: usize,
    fetches: BTreeMap<InfoHash, Fetch>,
    /// What is offered, by slot.
    shares: BTreeMap<usize, Share>,
    running: JoinSet<Ended>,
    /// What came, for when people have their terminal back.
    last_words: Vec<String>,
    /// Likewise, what is not whole now and how to go on, and by name what failed.
    unfinished: BTreeMap<InfoHash, String>,
    failed: BTreeMap<String, String>,
}

/// How a composition is fetched.
#[derive(Default)]
pub struct Way {
    /// In place of the other file under its name, with that file's good parts.
    pub repair: bool,
    /// Into this folder; `None`: the folder of all.
    pub folder: Option<PathBuf>,
}

/// A composition that is fetched or shared.
struct Fetch {
    slot: usize,
    station: Arc<Station>,
    name: String,
}

/// A file or folder that is offered.
struct Share {
    path: PathBuf,
    stop: CancellationToken,
}

enum Ended {
    Fetch(InfoHash, Exit),
    Share(usize, Result<Exit, StartError>),
}

impl Jobs {
    /// None yet; they end with `stop`.
    pub fn new(told: Menu, stop: CancellationToken) -> Self {
        let kept = Arc::<Kept>::default();
        Self {
            start: Instant::now(),
            stop,
            screen: Arc::new(Screen::kept(kept.clone())),
            kept,
            station: None,
            conductors: told.conductors(),
            conductors_from: told.settings.conductors_from,
            token: None,
            told,
            own: None,
            next_slot: 0,
            fetches: BTreeMap::new(),
            shares: BTreeMap::new(),
            running: JoinSet::new(),
            last_words: Vec::new(),
            unfinished: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Who is asked: the conductors, the local network, or both.
    pub fn whom(&self, conductors: bool, near: bool) -> Whom {
        let conductors = if conductors { self.conductors.clone() } else { Vec::new() };
        Whom {
            conductors,
            members: Vec::new(),
            are_named: false,
            near: (near && self.told.settings.lan).then(|| self.via()),
        }
    }

    fn conductors(&self) -> Vec<Endpoint> {
        self.conductors.clone()
    }

    /// Whether the user named a conductor.
    pub fn is_named(&self) -> bool {
        !self.told.settings.conductors.is_empty()
    }

    /// Whom people know as the conductor.
    pub fn conductor(&self) -> String {
        self.conductors.first().map(Endpoint::to_string).unwrap_or_default()
    }

    /// Whom to ask as a neighbour.
    pub fn settings(&self) -> Settings {
        Settings { conductors: self.conductors(), ..self.told.settings.clone() }
    }

    /// Where compositions go.
    pub fn folder(&self) -> PathBuf {
        self.told.settings.output.clone()
    }

    /// What connections are dialled through.
    pub fn via(&self) -> Via {
        station::via(&self.told.settings)
    }

    /// The station, for something of its own that asks these conductors.
    async fn station(&mut self, conductors: Vec<Endpoint>, from: Origin) -> Result<Station, StartError> {
        let station = match &self.station {
            Some(station) => station,
            None => {
                let settings = self.told.settings.clone();
                let opened = Station::open(settings, self.start, self.screen.clone(), self.stop.clone(), true).await?;
                self.station.insert(opened)
            }
        };
        Ok(station.another(conductors, from))
    }

    fn slot(&mut self) -> usize {
        self.next_slot += 1;
        self.next_slot
    }

    /// It is to be fetched, once its manifest is there; gives what ends it. None: it cannot, and people are told.
    pub async fn coming(&mut self, info_hash: InfoHash, way: Way, state: &mut State) -> Option<CancellationToken> {
        let there = state.there().find(|there| there.info_hash == info_hash)?;
        let name = shown(&there.name).into_owned();
        self.expect(info_hash, name, way, state).await
    }

    async fn expect(
        &mut self,
        info_hash: InfoHash,
        name: String,
        way: Way,
        state: &mut State,
    ) -> Option<CancellationToken> {
        let Settings { conductors, conductors_from, .. } = self.told.settings.clone();
        let mut station = match self.station(conductors, conductors_from).await {
            Ok(station) => station,
            Err(error) => {
                state.say(format!("error: {error}"));
                return None;
            }
        };
        station.settings.repair |= way.repair;
        if let Some(folder) = way.folder {
            station.settings.output = folder;
        }
        let (slot, stop) = (self.slot(), station.stop.clone());
        self.unfinished.remove(&info_hash);
        state.here.insert(info_hash, Here::Coming { name: name.clone() });
        self.fetches.insert(info_hash, Fetch { slot, station: Arc::new(station), name });
        Some(stop)
    }

    /// Starts to fetch what neighbours found; whoever has it gives the manifest.
    pub async fn fetch_found(&mut self, found: &Found, state: &mut State) {
        let name = shown(&found.name).into_owned();
        if self.expect(found.info_hash, name, Way::default(), state).await.is_some() {
            let peer = |holder: &Holder| {
                let address = holder.address?;
                Some(Endpoint { host: Host::Ip(address.ip()), port: address.port() })
            };
            let peers = found.holders.iter().filter_map(peer).collect();
            let (name, size) = (Some(found.name.clone()), Some(found.size));
            let magnet = Magnet { name, size, peers, ..Magnet::new(found.info_hash) };
            self.begin(found.info_hash, Ok(Named::Magnet(magnet)), state);
        }
    }

    /// Starts to fetch it, if it was found what it is.
    pub fn begin(&mut self, info_hash: InfoHash, got: Result<Named, StartError>, state: &mut State) {
        let Some(Fetch { slot, station, .. }) = self.fetches.get(&info_hash) else { return };
        match got {
            Ok(named) => {
                let begins = Beginning { station: station.clone(), screen: Teller::new(self.screen.clone(), *slot) };
                let work = begins.run(named, Pending::new());
                self.running.spawn(async move { Ended::Fetch(info_hash, work.await) });
            }
            Err(_) if station.stop.is_cancelled() => self.ended(Ended::Fetch(info_hash, Exit::Interrupted), state),
            Err(error) => {
                let exit = error.told(None, station.start, &station.screen);
                self.ended(Ended::Fetch(info_hash, exit), state);
            }
        }
    }

    /// Ends it; what was fetched is kept. Of a folder that is shared all ends.
    pub fn stop(&self, info_hash: InfoHash, state: &State) {
        if let Some(fetch) = self.fetches.get(&info_hash) {
            fetch.station.stop.cancel();
        } else if let Some(Here::Shared { path, .. }) = state.here.get(&info_hash) {
            self.shares.values().filter(|share| path.starts_with(&share.path)).for_each(|share| share.stop.cancel());
        }
    }

    /// Starts to share what is there.
    pub async fn share(&mut self, path: PathBuf, state: &mut State) {
        if let Err(error) = self.offer(path, state).await {
            state.say(format!("error: {error}"));
        }
    }

    async fn offer(&mut self, path: PathBuf, state: &mut State) -> Result<(), StartError> {
        let named = share::named(vec![path], false, &self.told.settings)?;
        let path: PathBuf = named.paths.iter().collect();
        if self.shares.values().any(|share| path.starts_with(&share.path)) {
            state.say(format!("{} is shared already", path.display()));
            return Ok(());
        }
        if self.own.is_none() {
            let ends = CancellationToken::new();
            let found = conductor::find(&self.told.settings, self.told.token.clone(), true, &ends).await?;
            (self.conductors, self.conductors_from, self.token) = (found.conductors, found.from, found.token);
            self.own = found.own.map(|own| (own, ends));
            found.note.iter().flat_map(|note| note.lines()).for_each(|line| state.say(line.to_owned()));
        }
        let station = Arc::new(self.station(self.conductors(), self.conductors_from).await?);
        let (slot, token) = (self.slot(), self.token.clone());
        self.shares.insert(slot, Share { path, stop: station.stop.clone() });
        self.running.spawn(async move { Ended::Share(slot, share::share_from(station, named, token, slot).await) });
        Ok(())
    }

    /// Brings what is on the screen up to date.
    pub fn look(&mut self, state: &mut State) {
        let views = self.kept.views();
        for (info_hash, fetch) in &self.fetches {
            if let Some(view) = views.get(&fetch.slot) {
                state.here.insert(*info_hash, Here::Running(Box::new(view.clone())));
            }
        }
        state.shares = self.shares.keys().filter_map(|slot| views.get(slot).cloned()).collect();
        for news in self.kept.take_news() {
            self.hear(news, state);
        }
        while let Some(ended) = self.running.try_join_next() {
            match ended {
                Ok(ended) => self.ended(ended, state),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
    }

    fn hear(&mut self, news: News, state: &mut State) {
        let line = match news {
            News::Said(line) => Some(line),
            News::Report(report) => {
                let line = report.line();
                match (report, line) {
                    (Report::Shared(Begun { name, size, info_hash, path, .. }), _) => {
                        // It has changed: what it was is here no more.
                        state.here.retain(|_, here| !matches!(here, Here::Shared { path: old, .. } if *old == path));
                        let info_hash = info_hash.parse().ok();
                        // What was fetched here goes on as it was.
                        let info_hash = info_hash.filter(|hash| !self.fetches.contains_key(hash));
                        info_hash.map(|hash| state.here.insert(hash, Here::Shared { name, size, path }));
                        None
                    }
                    (Report::Withdrawn { info_hash, .. }, _) => {
                        let gone = info_hash.parse::<InfoHash>().ok();
                        state.here.retain(|hash, here| Some(*hash) != gone || !matches!(here, Here::Shared { .. }));
                        None
                    }
                    // What was interrupted is said with the line that goes on.
                    (Report::End(End { code: Exit::Interrupted, .. }), _) => None,
                    (Report::End(_), line) => {
                        self.last_words.extend(line);
                        None
                    }
                    (Report::Error { name: Some(name), .. }, Some(line)) => {
                        self.failed.insert(name, line.clone());
                        Some(line)
                    }
                    (Report::Whole { name, .. }, line) => {
                        self.failed.remove(&name);
                        line
                    }
                    // The list says it.
                    (Report::Start(_), _) => None,
                    (_, line) => line,
                }
            }
        };
        let line = line.map(|line| strip_ansi_codes(&line).into_owned());
        line.iter().flat_map(|line| line.lines()).for_each(|line| state.say(line.to_owned()));
    }

    fn ended(&mut self, ended: Ended, state: &mut State) {
        match ended {
            Ended::Fetch(info_hash, exit) => {
                let fetch = self.fetches.remove(&info_hash);
                let percent = match state.here.get(&info_hash) {
                    Some(Here::Running(view)) => view.percent(),
                    _ => 0,
                };
                if let (Some(fetch), Exit::Interrupted) = (fetch, exit) {
                    let folder = &fetch.station.settings.output;
                    self.unfinished.insert(info_hash, unfinished(&fetch.name, percent, info_hash, folder));
                }
                state.here.insert(info_hash, Here::Ended { exit, percent });
            }
            Ended::Share(slot, ended) => {
                if let Some(share) = self.shares.remove(&slot) {
                    let is_of_it =
                        |here: &Here| matches!(here, Here::Shared { path, .. } if path.starts_with(&share.path));
                    state.here.retain(|_, here| !is_of_it(here));
                }
                if let Err(error) = ended {
                    state.say(format!("error: {error}"));
                }
            }
        }
    }

    /// Ends everything, and waits for it; gives what people should still hear.
    pub async fn leave(mut self, state: &mut State) -> Vec<String> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(ended) => self.ended(ended, state),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        self.look(state);
        if let Some(station) = &self.station {
            station.leave().await;
        }
        // Who shared has taken leave of it by now.
        if let Some((own, ends)) = self.own {
            ends.cancel();
            let _ = own.await;
        }
        self.last_words.extend(self.unfinished.into_values().chain(self.failed.into_values()));
        self.last_words
    }
}

/// The line about a composition that is not whole, with the command that goes on fetching it.
fn unfinished(name: &str, percent: u32, info_hash: InfoHash, folder: &Path) -> String {
    let into = match folder == Path::new(".") {
        true => String::new(),
        false => format!(" -o {}", quoted(folder)),
    };
    format!("{name}: interrupted; {percent} % are verified and kept, and go on with: member get {info_hash}{into}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfinished_says_how_to_go_on() {
        let line = |folder: &str| unfinished("vm.qcow2", 47, InfoHash([7; 20]), Path::new(folder));
        let hash = "07".repeat(20);
        assert_eq!(
            line("."),
            format!("vm.qcow2: interrupted; 47 % are verified and kept, and go on with: member get {hash}")
        );
        assert!(line("/my data").ends_with(&format!("member get {hash} -o '/my data'")), "{}", line("/my data"));
    }

    #[tokio::test]
    async fn a_shared_file_that_changed_is_listed_once() {
        let mut jobs = Jobs::new(Menu::of(&[]), CancellationToken::new());
        let mut state = State::new(String::new(), true);
        for (path, hash) in [("/d/a", 1), ("/d/b", 2), ("/d/a", 3)] {
            let (name, info_hash) = ("a".to_owned(), InfoHash([hash; 20]).to_string());
            let (size, parts, part_size, port) = (1, 1, 16_384, 9998);
            let report = Report::Shared(Begun { name, path: path.into(), size, parts, part_size, info_hash, port });
            jobs.hear(News::Report(report), &mut state);
        }
        assert_eq!(state.here.keys().copied().collect::<Vec<_>>(), [InfoHash([2; 20]), InfoHash([3; 20])]);
    }
}
