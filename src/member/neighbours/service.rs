//! The task that holds the circle and the relay, and carries out what they want: dials, lets in, and hands messages from
//! link to link.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Sources,
    asker::Asker,
    link::{self, Heard, Link, SAYS, Say},
    visitors,
};
use crate::{
    discovery::Discovered,
    member::{
        links::{self, Arrival, Visitors},
        repertoire::Repertoire,
        station::Station,
    },
    net::via::Via,
    peer::{
        PeerKey,
        dial::{DialError, Met},
        talk::CLIENT,
    },
    search::{
        Words,
        circle::{Admission, Circle, Place},
        relay::{Outbox, Relay},
    },
    time::Time,
    wire::{
        extension::search::{Asks, Find, MOST_FINDS, Question, Says, Talk, Who},
        handshake::Handshake,
    },
};

const TICK: Duration = Duration::from_millis(500);
/// What was heard and waits for the service.
const HEARD: usize = 64;

/// What this member is to its neighbours.
pub enum Role {
    /// It answers, and passes on.
    Member { relay: Relay, repertoire: Repertoire },
    /// It asks.
    Asker(Asker),
}

pub struct Service {
    role: Role,
    circle: Circle,
    ours: Handshake,
    via: Via,
    /// On which others reach us; None: we only ask.
    port: Option<u16>,
    name: String,
    start: Instant,
    dice: fastrand::Rng,
    links: HashMap<PeerKey, Linked>,
    next_key: u32,
    visitors: Visitors,
    heard: mpsc::Sender<(PeerKey, Heard)>,
    hears: mpsc::Receiver<(PeerKey, Heard)>,
}

struct Linked {
    address: SocketAddr,
    says: mpsc::Sender<Say>,
}

impl Service {
    /// None: somebody else in this process looks for neighbours already.
    pub fn new(station: &Station, circle: Circle, role: Role) -> Option<Self> {
        let (heard, hears) = mpsc::channel(HEARD);
        Some(Self {
            port: matches!(role, Role::Member { .. }).then_some(station.reached.port),
            role,
            circle,
            ours: station.ours(crate::search::NEIGHBOURS),
            via: station.via(),
            name: station.settings.name.clone(),
            start: station.start,
            dice: fastrand::Rng::new(),
            links: HashMap::new(),
            next_key: 0,
            visitors: visitors(station)?,
            heard,
            hears,
        })
    }

    /// Until `stop`.
    pub async fn run(mut self, mut sources: Sources, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = self.now();
        sources.recall().await.into_iter().for_each(|address| self.circle.found(address, now));
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(arrival) = self.visitors.arrivals.recv() => self.on_arrival(arrival),
                Some((key, heard)) = self.hears.recv() => self.on_heard(key, heard),
                Some(conductor) = sources.told.recv() => sources.ask(conductor),
                Some(found) = sources.discovered.recv() => match found {
                    Discovered::Found(addresses) => self.on_found(addresses, false),
                    Discovered::Refused { conductor, .. } => sources.refused(&conductor),
                    // Who is gone is dialled in vain; all else is about compositions.
                    _ => {}
                },
                Some(named) = sources.named.recv() => {
                    if let Discovered::Found(addresses) = named {
                        self.on_found(addresses, true);
                    }
                }
                () = sleep_until(deadline.into()) => self.pass_on(),
                _ = tick.tick() => {
                    self.dial();
                    self.tell_of_others();
                    let now = self.now();
                    if let Some(acquaintances) = &mut sources.acquaintances {
                        acquaintances.tick(|| self.circle.reached(), now);
                    }
                }
            }
        }
        self.links.clear();
        sources.leave().await;
    }

    fn now(&self) -> Time {
        self.start.elapsed()
    }

    /// When a question that waits may be passed on.
    fn deadline(&self) -> Instant {
        let relay = match &self.role {
            Role::Member { relay, .. } => relay.deadline(),
            Role::Asker(_) => None,
        };
        // Otherwise there is nothing to wake up for.
        relay.map_or_else(|| Instant::now() + Duration::from_secs(3600), |at| self.start + at)
    }

    fn on_found(&mut self, addresses: Vec<SocketAddr>, named: bool) {
        let now = self.now();
        for address in addresses {
            match named {
                true => self.circle.named(address, now),
                false => self.circle.found(address, now),
            }
        }
        self.dial();
    }

    fn dial(&mut self) {
        let now = self.now();
        for address in self.circle.due(now, &mut self.dice) {
            links::dial(address, self.ours, self.via.clone(), self.visitors.arrivals_in.clone());
        }
    }

    fn tell_of_others(&mut self) {
        let now = self.now();
        for (key, exchange) in self.circle.news(now) {
            self.say(key, Say::Exchange(exchange));
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        let now = self.now();
        match arrival {
            Arrival::Met(met) => self.on_met(*met, now),
            Arrival::DialFailed(address, error) => {
                log::debug!("neighbours: {error}");
                match error {
                    DialError::Ourselves { .. } => self.circle.own(address),
                    _ => self.circle.failed(address, now),
                }
            }
        }
    }

    fn on_met(&mut self, met: Met, now: Time) {
        let key = PeerKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        let remote = met.introduction;
        match self.circle.met(key, remote.clone(), now) {
            Admission::Refused => return log::debug!("neighbours: {} has no place here", remote.address),
            Admission::InPlaceOf(twin) => drop(self.links.remove(&twin)),
            Admission::Welcome => {}
        }
        let (says, waiting) = mpsc::channel(SAYS);
        self.links.insert(key, Linked { address: remote.address, says });
        let (stream, heard) = (met.stream, self.heard.clone());
        let (port, name) = (self.port, self.name.clone());
        tokio::spawn(link::run(Link { key, stream, remote, port, name, says: waiting, heard }));
    }

    fn on_heard(&mut self, key: PeerKey, heard: Heard) {
        let now = self.now();
        if let Heard::Closed(why) = heard {
            log::debug!("neighbours: link {} ended: {why}", key.0);
            self.links.remove(&key);
            self.circle.closed(key, now);
            if let Role::Member { relay, .. } = &mut self.role {
                relay.left(key);
            }
            return;
        }
        // Who was let go may have said something before it knew.
        let Some(address) = self.links.get(&key).map(|linked| linked.address) else { return };
        match heard {
            Heard::Greeting { port } => self.on_greeting(key, port, address, now),
            Heard::Exchange(exchange) => self.circle.heard_of(key, &exchange, now),
            Heard::Talk(Talk::Question(question)) => self.on_question(key, question, address, now),
            Heard::Talk(Talk::Answer(answer)) => match &mut self.role {
                Role::Member { relay, .. } => {
                    let mut out = Outbox::new();
                    relay.answer(key, answer, now, &mut out);
                    self.send(out);
                }
                Role::Asker(asker) => asker.hear(answer, address),
            },
            Heard::Closed(_) => {}
        }
    }

    fn on_greeting(&mut self, key: PeerKey, port: Option<u16>, address: SocketAddr, now: Time) {
        match self.circle.greeted(key, port, now) {
            None => return,
            Some(Place::None(told)) => {
                self.say(key, Say::Exchange(told));
                self.links.remove(&key);
                return;
            }
            Some(Place::Neighbour) => log::info!("{address} is a neighbour"),
            Some(Place::Asker) => log::debug!("{address} has a question"),
        }
        match &mut self.role {
            Role::Member { relay, .. } => relay.joined(key, address.ip(), port.is_none()),
            Role::Asker(asker) => {
                if let Some(question) = asker.question_for(address) {
                    self.say(key, Say::Talk(Talk::Question(question)));
                }
            }
        }
    }

    fn on_question(&mut self, key: PeerKey, question: Question, address: SocketAddr, now: Time) {
        // Who only asks has nothing to answer.
        let Role::Member { relay, repertoire } = &mut self.role else { return };
        let (asked, id, hops) = (question.asks.clone(), question.id, question.hops);
        let mut out = Outbox::new();
        let (name, links) = (&self.name, self.circle.count());
        let heard = relay.ask(key, question, now, |asks| look(asks, repertoire, name, links), &mut out);
        let passed = out.iter().filter(|(_, talk)| matches!(talk, Talk::Question(_))).count();
        let id = hex::encode(&id.0[..4]);
        log::debug!("question {id} {asked:?} from {address} with {hops} hops: {heard:?}, passed on to {passed}");
        self.send(out);
    }

    fn pass_on(&mut self) {
        let now = self.now();
        if let Role::Member { relay, .. } = &mut self.role {
            let mut out = Outbox::new();
            relay.pass_on(now, &mut out);
            self.send(out);
        }
    }

    fn send(&mut self, out: Outbox) {
        out.into_iter().for_each(|(key, talk)| self.say(key, Say::Talk(talk)));
    }

    fn say(&self, key: PeerKey, say: Say) {
        if let Some(linked) = self.links.get(&key)
            && linked.says.try_send(say).is_err()
        {
            log::debug!("neighbours: {} does not keep up, and misses something", linked.address);
        }
    }
}

/// What we answer; None: we have nothing of that.
fn look(asks: &Asks, repertoire: &Repertoire, name: &str, links: usize) -> Option<Says> {
    match asks {
        Asks::Who => Some(Says::Who(Who {
            name: name.to_owned(),
            client: CLIENT.to_owned(),
            compositions: repertoire.len() as u32,
            links: links as u32,
        })),
        Asks::For(text) => {
            let (words, mut found) = (Words::of(text), 0);
            let finds = repertoire.find(|performed| {
                let is = found < MOST_FINDS && words.are_in(&performed.name);
                found += usize::from(is);
                is
            });
            let find = |performed: crate::member::repertoire::Performed| Find {
                info_hash: performed.info_hash,
                size: performed.geometry.size(),
                left: performed.left,
                name: performed.name,
            };
            (found > 0).then(|| Says::Finds(finds.into_iter().map(find).collect()))
        }
    }
}
