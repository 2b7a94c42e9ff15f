//! `member` alone on a terminal: a list of what the conductor and the local network have, and keys to fetch, share and look around.
//!
//! [`run`] is one loop: keys, answers and the time in; the screen out. What is on the screen is in [`state`], how it looks
//! in [`frame`]; what runs meanwhile is in [`jobs`]. It ends with `q` or a signal, and everything that it started ends
//! with it; only then is the terminal given back.

mod frame;
mod jobs;
mod list;
mod on_disk;
mod path;
mod state;

use std::{
    collections::HashSet,
    fmt::Display,
    path::PathBuf,
    time::{Duration, Instant},
};

use crossterm::event::KeyEvent;
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    StartError,
    ask::{self, AskingFailed, locate::Located},
    blocking, got,
    history::{History, HistoryError, Record},
    load::Named,
    neighbours::asker,
};
use crate::{
    catalogue::{Composition, Key, place::Typed},
    cli::{
        Exit,
        ask::{Get, Whom},
        menu::Menu as Told,
        search::{DEFAULT_HOPS, DEFAULT_TIMEOUT, THEIRS},
    },
    manifest::Endpoint,
    metainfo::InfoHash,
    ui::{Signs, canvas::Canvas, keys::Keys, to_stderr, to_stdout},
    wire::extension::search::Asks,
};
use jobs::{Jobs, Way};
use list::Here;
use state::{Page, State, Wish};

/// The screen is drawn so often, if anything on it changed.
const TICK: Duration = Duration::from_millis(100);
/// The conductor is asked so often.
const REFRESH: Duration = Duration::from_secs(2);
/// The local network is asked so often: everybody there hears it.
const REFRESH_NEAR: Duration = Duration::from_secs(20);

/// What a conductor has, or the local network, and what of it is on the disk here.
struct Listing {
    conductor: Option<Endpoint>,
    there: Vec<Composition>,
    on_disk: Vec<(InfoHash, Here)>,
}

/// What came of something that was asked.
enum Answer {
    Listed(Result<Listing, String>),
    /// By the local network.
    Near(Option<Listing>),
    Located(Result<Located, String>),
    Got(InfoHash, Result<Named, StartError>),
    History(Result<Vec<Record>, HistoryError>),
    Completed {
        typed: String,
        completed: String,
        names: Vec<String>,
    },
}

/// Shows the menu until it is to end. To be called inside a tokio runtime.
pub async fn run(told: Told, stop: CancellationToken) -> Exit {
    let Some((keys, pressed)) = Keys::all() else {
        to_stderr("member: the menu needs a terminal: member --help says what else there is");
        return Exit::Usage;
    };
    let colours = told.settings.screen.colour.on_stdout();
    let mut menu = Menu::new(told, stop.child_token());
    let mut canvas = Canvas::new(colours);
    menu.work(pressed, &mut canvas).await;
    menu.state.say("leaving".to_owned());
    menu.draw(&mut canvas);
    let last_words = menu.jobs.leave(&mut menu.state).await;
    canvas.close();
    drop(keys);
    last_words.iter().for_each(|line| to_stdout(line));
    Exit::Done
}

struct Menu {
    state: State,
    jobs: Jobs,
    stop: CancellationToken,
    signs: Signs,
    /// What is being asked.
    asking: FuturesUnordered<LocalBoxFuture<'static, Answer>>,
    /// A question to the neighbours, and when something new last came of it.
    question: Option<(asker::Asking, Instant)>,
    /// When the conductor was last asked; whether it has not answered yet.
    refreshed: Option<Instant>,
    is_asked: bool,
    /// Likewise of the local network.
    refreshed_near: Option<Instant>,
    is_asked_near: bool,
}

impl Menu {
    fn new(told: Told, stop: CancellationToken) -> Self {
        let jobs = Jobs::new(told, stop.clone());
        let (state, signs) = (State::new(jobs.conductor(), jobs.is_named()), Signs::of_locale());
        Self {
            state,
            jobs,
            stop,
            signs,
            asking: FuturesUnordered::new(),
            question: None,
            refreshed: None,
            is_asked: false,
            refreshed_near: None,
            is_asked_near: false,
        }
    }

    async fn work(&mut self, mut pressed: mpsc::Receiver<KeyEvent>, canvas: &mut Canvas) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Ctrl-Z: people get their terminal back meanwhile.
        let mut suspended = signal(SignalKind::from_raw(Signal::TSTP.as_raw()));
        let stop = self.stop.clone();
        loop {
            let suspend = async {
                match &mut suspended {
                    Ok(suspended) => drop(suspended.recv().await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                key = pressed.recv() => {
                    // The terminal is gone.
                    let Some(key) = key else { return };
                    if let Some(wish) = self.state.press(key) && !self.grant(wish).await {
                        return;
                    }
                }
                () = suspend => {
                    canvas.close();
                    // That it could not be stopped is no reason to end.
                    let _ = kill_process(getpid(), Signal::STOP);
                }
                Some(answer) = self.asking.next() => self.take(answer),
                news = heard(&mut self.question) => self.hear(news),
                _ = tick.tick() => self.look(),
            }
            self.draw(canvas);
        }
    }

    fn draw(&mut self, canvas: &mut Canvas) {
        let size = Canvas::size();
        frame::fit(&mut self.state, size, self.signs);
        canvas.draw(frame::frame(&self.state, size, self.signs), size);
    }

    /// What changed meanwhile.
    fn look(&mut self) {
        let is_left = self.state.page != Page::Asked;
        if self.question.as_ref().is_some_and(|(_, news)| is_left || news.elapsed() >= DEFAULT_TIMEOUT) {
            self.end_question();
        }
        self.jobs.look(&mut self.state);
        // A long list is a long answer.
        let every = REFRESH * (1 + u32::try_from(self.state.there.len() / 1000).unwrap_or(u32::MAX).min(30));
        if self.refreshed.is_none_or(|at| at.elapsed() >= every) {
            self.refresh();
        }
        if self.refreshed_near.is_none_or(|at| at.elapsed() >= REFRESH_NEAR) {
            self.refresh_near();
        }
    }

    /// False: it is over.
    async fn grant(&mut self, wish: Wish) -> bool {
        match wish {
            Wish::Quit => return false,
            Wish::Fetch(info_hash) => self.fetch(info_hash, Way::default()).await,
            Wish::Repair(info_hash) => self.fetch(info_hash, Way { repair: true, folder: None }).await,
            Wish::FetchInto(info_hash, typed) => {
                self.fetch(info_hash, Way { repair: false, folder: Some(path::typed(&typed)) }).await;
            }
            Wish::FetchFound(info_hash) => {
                let found = self.state.asking.findings.found.iter().find(|found| found.info_hash == info_hash).cloned();
                if let Some(found) = found {
                    self.jobs.fetch_found(&found, &mut self.state).await;
                }
            }
            Wish::Ask(asks) => self.question(asks).await,
            Wish::Stop(info_hash) => self.jobs.stop(info_hash, &self.state),
            Wish::Share(typed) => {
                self.jobs.share(path::typed(&typed), &mut self.state).await;
                self.refresh();
            }
            Wish::Refresh => {
                self.refresh();
                self.refresh_near();
            }
            Wish::Locate(info_hash) => self.locate(info_hash),
            Wish::History => self.ask(async {
                let read = blocking(|| History::of_this_user().map_or(Ok(Vec::new()), |history| history.read()));
                Answer::History(read.await)
            }),
            Wish::Complete(typed) => self.ask(async {
                let (typed, (completed, names)) = blocking(move || {
                    let completed = path::completed(&typed);
                    (typed, completed)
                })
                .await;
                Answer::Completed { typed, completed, names }
            }),
        }
        true
    }

    /// Asks the neighbours.
    async fn question(&mut self, asks: Asks) {
        self.end_question();
        let hops = if asks == Asks::Who { THEIRS } else { DEFAULT_HOPS };
        match asker::Asking::start(self.jobs.settings(), asks, hops, &self.stop).await {
            Ok(asking) => {
                self.question = Some((asking, Instant::now()));
                self.state.asking.is_over = false;
            }
            Err(error) => {
                self.state.page = Page::List;
                self.state.say(format!("error: {error}"));
            }
        }
    }

    fn end_question(&mut self) {
        self.state.asking.is_over = true;
        if let Some((asking, _)) = self.question.take() {
            tokio::spawn(asking.end());
        }
    }

    fn hear(&mut self, news: Option<asker::News>) {
        let (Some((_, last)), Some(news)) = (&mut self.question, news) else { return self.end_question() };
        let is_new = match news {
            asker::News::Asked(_) => {
                self.state.asking.members += 1;
                true
            }
            asker::News::Answer(answer) => !self.state.asking.findings.add(answer).is_empty(),
        };
        if is_new {
            *last = Instant::now();
        }
    }

    /// Starts something whose answer is taken later.
    fn ask(&self, asking: impl Future<Output = Answer> + 'static) {
        self.asking.push(Box::pin(asking));
    }

    fn refresh(&mut self) {
        self.refreshed = Some(Instant::now());
        if !std::mem::replace(&mut self.is_asked, true) {
            let asked = listing(self.jobs.whom(true, false), self.jobs.folder());
            self.ask(async { Answer::Listed(asked.await.map_err(text)) });
        }
    }

    /// As [`Self::refresh`], on the local network.
    fn refresh_near(&mut self) {
        self.refreshed_near = Some(Instant::now());
        let whom = self.jobs.whom(false, true);
        if whom.near.is_some() && !std::mem::replace(&mut self.is_asked_near, true) {
            let asked = listing(whom, self.jobs.folder());
            // That nobody is there is no error.
            self.ask(async { Answer::Near(asked.await.inspect_err(|error| log::debug!("{error}")).ok()) });
        }
    }

    /// What is listed under this info-hash.
    fn named(&self, info_hash: InfoHash) -> Get {
        let typed = Typed { conductor: None, key: Some(Key::Hash(info_hash)) };
        // Who is found on the local network takes a second or two to be found again.
        Get { typed, whom: self.jobs.whom(true, !self.state.is_listed(info_hash)) }
    }

    async fn fetch(&mut self, info_hash: InfoHash, way: Way) {
        let (get, stop) = (self.named(info_hash), self.jobs.coming(info_hash, way, &mut self.state).await);
        if let Some(stop) = stop {
            self.ask(async move { Answer::Got(info_hash, got(&get, None, &stop).await) });
        }
    }

    fn locate(&self, info_hash: InfoHash) {
        let get = self.named(info_hash);
        let via = self.jobs.via();
        self.ask(async move { Answer::Located(ask::locate(&get, &via).await.map_err(text)) });
    }

    /// Notes what is on the disk; gives what there is.
    fn found(&mut self, Listing { there, on_disk, .. }: Listing) -> Vec<Composition> {
        let here = &mut self.state.here;
        let hashes: HashSet<InfoHash> = there.iter().map(|one| one.info_hash).collect();
        here.retain(|hash, here| !matches!(here, Here::OnDisk { .. }) || !hashes.contains(hash));
        for (info_hash, on_disk) in on_disk {
            here.entry(info_hash).or_insert(on_disk);
        }
        there
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Listed(listed) => {
                self.is_asked = false;
                let listed = listed.map(|listing| {
                    if let Some(conductor) = &listing.conductor {
                        self.state.conductor = conductor.to_string();
                    }
                    self.state.there = self.found(listing);
                });
                self.state.listed = Some(listed);
            }
            Answer::Near(near) => {
                self.is_asked_near = false;
                self.state.near = near.map(|listing| self.found(listing)).unwrap_or_default();
            }
            Answer::Located(located) => self.state.located(located),
            Answer::Got(info_hash, got) => self.jobs.begin(info_hash, got, &mut self.state),
            Answer::Completed { typed, completed, names } => {
                self.state.completed(&typed, completed);
                if !names.is_empty() {
                    self.state.say(names.join("  "));
                }
            }
            Answer::History(Ok(records)) => {
                let mut lines: Vec<String> = records.iter().rev().map(Record::line).collect();
                if lines.is_empty() {
                    lines.push("nothing came or went yet".to_owned());
                }
                self.state.page = Page::Text { title: "What came and went, the newest first", lines, top: 0 };
            }
            Answer::History(Err(error)) => self.state.say(format!("error: {error}")),
        }
    }
}

/// What they have, and what of that is in this folder.
async fn listing(whom: Whom, folder: PathBuf) -> Result<Listing, AskingFailed> {
    let listed = ask::listing(&whom).await?;
    let conductor = listed.conductor.clone();
    let there: Vec<Composition> = listed.compositions.into_iter().map(|found| found.composition).collect();
    let found = blocking(move || {
        let on_disk = on_disk::found(&there, &folder);
        (there, on_disk)
    });
    let (there, on_disk) = found.await;
    Ok(Listing { conductor, there, on_disk })
}

/// What comes of the question, if there is one.
async fn heard(question: &mut Option<(asker::Asking, Instant)>) -> Option<asker::News> {
    match question {
        Some((asking, _)) => asking.news.recv().await,
        None => std::future::pending().await,
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
