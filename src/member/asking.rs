//! A magnet link names a composition by its hash alone: asks other members for its info dictionary (BEP 9).
//!
//! One task, one loop, until [`Gather`] has it: then these connections are closed, and the swarm opens its own. Nothing is
//! written meanwhile. At most [`MAX_DIALLED`] connections are opened and [`MAX_ACCEPTED`] let in, so that who comes cannot
//! take the places of whom we look for.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::mpsc,
    time::{Duration, MissedTickBehavior, interval},
};

use super::{
    StartError,
    links::{self, Arrival, Visitors},
    lookout::Lookout,
    report,
    station::Station,
    teller::Teller,
};
use crate::{
    cli::Exit,
    peer::{
        Introduction, PeerKey,
        dial::{DialError, Met},
        gather::{Gather, Step},
        inquiry::{self, Answer, Inquiry},
    },
    swarm::{Input, KnownPeers, STRANGERS, Snapshot},
    time::Time,
    ui::{End, Phase, Report, View},
    wire::handshake::Handshake,
};

const TICK: Duration = Duration::from_millis(100);
/// Connections that we open ourselves, and that we let others open, at the same time.
const MAX_DIALLED: usize = 20;
const MAX_ACCEPTED: usize = 10;
/// Who had nothing to give is asked again after this time.
const ASK_AGAIN: Time = Time::from_secs(5);
/// Answers that wait to be heard, and pieces that wait to be asked for.
const ANSWERS: usize = 64;
/// Messages for the swarm that are kept until there is one.
const MOST_LATER: usize = 1000;
const ASKS: usize = 16;

/// What is asked with.
pub struct Setup<'a> {
    pub station: &'a Station,
    /// What the composition is called for people until its name is known.
    pub name: String,
    pub ours: Handshake,
    pub dice: fastrand::Rng,
}

/// A member that is asked.
struct Asked {
    asks: mpsc::Sender<u32>,
    introduction: Introduction,
}

pub struct Asking<'a> {
    setup: Setup<'a>,
    gather: Gather,
    known: KnownPeers,
    asked: BTreeMap<PeerKey, Asked>,
    next_key: u32,
    answers: mpsc::Sender<(PeerKey, Answer)>,
    arrivals: mpsc::Sender<Arrival>,
    /// When it came closer to the whole.
    progress: Time,
    most: usize,
}

/// What ends the loop.
enum Outcome {
    Whole(Arc<[u8]>),
    Ended { exit: Exit, error: Option<String> },
}

/// Asks until the dictionary is there. The addresses that were heard of are left in `lookout`.
///
/// # Errors
/// It ends before; everything is told by then. Or somebody else in this process shares it already.
pub async fn ask(setup: Setup<'_>, lookout: &mut Lookout, screen: &Teller) -> Result<Arc<[u8]>, StartError> {
    let Some(mut visitors) = Visitors::with(&setup.station.door, setup.ours) else {
        return Err(StartError::Twice { name: setup.name, info_hash: setup.ours.info_hash });
    };
    let (answers, heard) = mpsc::channel(ANSWERS);
    let mut asking = Asking {
        gather: Gather::new(setup.ours.info_hash),
        known: KnownPeers::default(),
        asked: BTreeMap::new(),
        next_key: 0,
        answers,
        arrivals: visitors.arrivals_in.clone(),
        progress: setup.station.start.elapsed(),
        most: 0,
        setup,
    };
    let known = std::mem::take(&mut lookout.known);
    known.into_iter().for_each(|address| asking.known.add(address, asking.progress));
    let Setup { station, name, .. } = &asking.setup;
    screen.say(&format!("{name}: asking for its manifest; listening on port {}", station.reached.port));
    let outcome = asking.work(heard, &mut visitors, lookout, screen).await;
    lookout.known = asking.known.addresses();
    match outcome {
        Outcome::Whole(info) => Ok(info),
        Outcome::Ended { exit, error } => {
            asking.tell_end(exit, error, screen);
            Err(StartError::Ended(exit))
        }
    }
}

impl Asking<'_> {
    fn now(&self) -> Time {
        self.setup.station.start.elapsed()
    }

    async fn work(
        &mut self,
        mut heard: mpsc::Receiver<(PeerKey, Answer)>,
        visitors: &mut Visitors,
        lookout: &mut Lookout,
        screen: &Teller,
    ) -> Outcome {
        let stop = &self.setup.station.stop;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let left = || Outcome::Ended { exit: Exit::Interrupted, error: None };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return left(),
                Some((key, answer)) = heard.recv() => self.on_answer(key, answer),
                Some(arrival) = visitors.arrivals.recv() => self.on_arrival(arrival, lookout),
                Some(found) = lookout.hear() => {
                    let now = self.now();
                    match lookout.take(found, screen) {
                        Some(Input::Endpoints(addresses)) => addresses.into_iter().for_each(|a| self.known.add(a, now)),
                        Some(Input::Hearsay(addresses)) => self.known.hear(addresses.into_iter(), STRANGERS, now),
                        Some(later @ Input::Whole(_)) if lookout.later.len() < MOST_LATER => lookout.later.push(later),
                        _ => {}
                    }
                }
                _ = tick.tick() => {
                    if let Some(outcome) = self.on_tick(lookout, screen) {
                        return outcome;
                    }
                }
            }
            if let Some(info) = self.carry_out() {
                return Outcome::Whole(info);
            }
        }
    }

    fn on_tick(&mut self, lookout: &Lookout, screen: &Teller) -> Option<Outcome> {
        let now = self.now();
        self.gather.tick(now);
        for address in self.known.due(MAX_DIALLED, self.count(true), now, &mut self.setup.dice) {
            links::dial(address, self.setup.ours, self.setup.station.via(), self.arrivals.clone());
        }
        if self.gather.most_pieces() > self.most {
            self.most = self.gather.most_pieces();
            self.progress = now;
        }
        self.show(lookout, now, screen);
        let timeout = self.setup.station.settings.timeout?;
        (now >= self.progress + timeout).then(|| {
            let missing = "nobody gave the manifest that the link names";
            let advice = "start a member that has it, and try again";
            let (exit, error) = report::gave_up(lookout.contact.reach(), false, timeout, missing, advice);
            Outcome::Ended { exit, error: Some(error) }
        })
    }

    fn count(&self, dialled: bool) -> usize {
        self.asked.values().filter(|asked| asked.introduction.dialled == dialled).count()
    }

    fn on_arrival(&mut self, arrival: Arrival, lookout: &mut Lookout) {
        let now = self.now();
        match arrival {
            Arrival::Met(met) => {
                lookout.contact.met();
                self.on_met(*met, now);
            }
            Arrival::DialFailed(address, error) => {
                log::debug!("{error}");
                match error {
                    DialError::Ourselves { .. } => self.known.own(address),
                    _ => self.known.failed(address, now),
                }
            }
        }
    }

    fn on_met(&mut self, met: Met, now: Time) {
        let remote = met.introduction;
        let (ip, id) = (remote.address.ip().to_canonical(), remote.id);
        let twice = self.asked.values().any(|asked| asked.introduction.id == id);
        let full = !remote.dialled && self.count(false) >= MAX_ACCEPTED;
        if twice || full || self.known.is_banned(ip, id, now) {
            if remote.dialled {
                self.known.failed(remote.address, now);
            }
            return;
        }
        let key = PeerKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        if remote.dialled {
            self.known.connected(remote.address, key, now);
        }
        log::info!("{} is asked for the manifest", remote.address);
        let (asks, asked) = mpsc::channel(ASKS);
        self.asked.insert(key, Asked { asks, introduction: remote.clone() });
        tokio::spawn(inquiry::run(Inquiry {
            key,
            stream: met.stream,
            remote,
            port: self.setup.station.reached.port,
            name: self.setup.station.settings.name.clone(),
            asks: asked,
            answers: self.answers.clone(),
        }));
    }

    fn on_answer(&mut self, key: PeerKey, answer: Answer) {
        let now = self.now();
        // Who was let go may have said something before it knew.
        if !self.asked.contains_key(&key) {
            return;
        }
        match answer {
            Answer::Listens(address) => self.known.connected(address, key, now),
            Answer::Offers(size) => self.gather.on_offer(key, size, now),
            Answer::Data { piece, total, bytes } => self.gather.on_data(key, piece, total, bytes, now),
            Answer::Rejects(piece) => self.gather.on_reject(key, piece, now),
            Answer::Closed(why) => {
                self.gather.on_closed(key, now);
                self.let_go(key, false, &why);
            }
        }
    }

    /// Does what is to be done; gives the dictionary once it is whole.
    fn carry_out(&mut self) -> Option<Arc<[u8]>> {
        while let Some(step) = self.gather.next_step() {
            match step {
                Step::Whole(info) => return Some(info),
                Step::Drop { key, blame, why } => self.let_go(key, blame, why),
                Step::Ask(key, piece) => {
                    let asked = self.asked.get(&key).is_none_or(|asked| asked.asks.try_send(piece).is_ok());
                    if !asked {
                        let now = self.now();
                        self.gather.on_closed(key, now);
                        self.let_go(key, false, "it does not keep up");
                    }
                }
            }
        }
        None
    }

    fn let_go(&mut self, key: PeerKey, blame: bool, why: &str) {
        let Some(gone) = self.asked.remove(&key) else { return };
        let (now, address) = (self.now(), gone.introduction.address);
        if blame {
            log::warn!("{address} is not asked again: {why}");
            self.known.ban(address.ip().to_canonical(), gone.introduction.id, now);
        } else {
            log::info!("{address} gave no manifest: {why}");
        }
        self.known.closed(key, ASK_AGAIN, now);
    }

    fn show(&self, lookout: &Lookout, now: Time, screen: &Teller) {
        let waiting_for = report::waiting_for_anybody(lookout.contact.reach(), self.progress, now);
        let phase = Phase::Seeking { asked: self.gather.members(), waiting_for };
        let swarm = Snapshot { members: self.asked.len(), ..Snapshot::default() };
        screen.update(&View { name: self.setup.name.clone(), phase, swarm, eta: None, elapsed: now });
    }

    fn tell_end(&self, exit: Exit, error: Option<String>, screen: &Teller) {
        screen.finish(0);
        let name = self.setup.name.clone();
        if let Some(text) = error.clone() {
            log::error!("{text}");
            screen.event(&Report::Error { name: Some(name.clone()), code: exit, text });
        }
        screen.event(&Report::End(End { text: error, ..End::early(Some(name), exit, self.now()) }));
    }
}
