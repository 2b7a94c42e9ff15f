//! A question of a person: asked of the members of this machine, of its network and of those named, and what they and
//! their neighbours answer.
//!
//! It is linked like a member, and tells them that it listens nowhere: so nobody asks it anything, nor tells others of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Neighbours, Sources,
    service::{Role, Service},
};
use crate::{
    cli::member::{DEFAULT_PORT, Settings},
    discovery::{Discovered, lan::Lan},
    manifest::endpoint::CONDUCTOR_PORT,
    member::{StartError, acquaintances::Acquaintances, station::Station},
    net::{
        own_address::own_addresses,
        range::{Range, are_beside, range},
    },
    search::{NEIGHBOURS, circle::Circle, relay::seen_from},
    ui::Screen,
    wire::extension::search::{Answer, Asks, Question, QuestionId, Says},
};

/// Members that are asked, of those that are not named.
const ASKED: usize = 8;
/// Answers that wait to be shown; what does not fit is lost.
const ANSWERS: usize = 1024;
/// Where members of this machine listen that were told no port.
const HERE: [u16; 5] = [DEFAULT_PORT, CONDUCTOR_PORT + 1, CONDUCTOR_PORT + 2, CONDUCTOR_PORT + 3, CONDUCTOR_PORT + 4];

/// What comes of a question.
#[derive(Debug)]
pub enum News {
    /// This member was asked.
    Asked(SocketAddr),
    Answer(Answer),
}

/// The question, and who waits for the answers.
pub struct Asker {
    asks: Asks,
    id: QuestionId,
    hops: u8,
    /// Addresses of this machine.
    own: Vec<IpAddr>,
    news: mpsc::Sender<News>,
}

impl Asker {
    /// What to ask the member at this address; None: it is too far away.
    pub fn question_for(&self, address: SocketAddr) -> Option<Question> {
        // Hops are links between members: we ask as if we were that of this machine.
        let hops = if self.is_here(address) { self.hops } else { self.hops.checked_sub(1)? };
        let _ = self.news.try_send(News::Asked(address));
        Some(Question { id: self.id, hops, asks: self.asks.clone() })
    }

    fn is_here(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || self.own.contains(&ip)
    }

    /// Whether an answer that came from `ip` names an address of a network that we are on too, or `ip` is.
    fn is_reachable(&self, answer: &Answer, ip: IpAddr) -> bool {
        let Some(named) = answer.address.map(|address| address.ip()) else { return false };
        match range(ip) {
            // Our own machine passes on what it hears elsewhere.
            Range::Machine => named.is_loopback() || self.own.iter().any(|own| are_beside(named, *own)),
            Range::Site | Range::World => are_beside(named, ip),
        }
    }

    /// Tells on what the member at this address says.
    pub fn hear(&self, mut answer: Answer, address: SocketAddr) {
        let fits = matches!((&self.asks, &answer.says), (Asks::For(_), Says::Finds(_)) | (Asks::Who, Says::Who(_)));
        if fits && answer.id == self.id {
            if !seen_from(&mut answer, address.ip()) || !self.is_reachable(&answer, address.ip()) {
                // Found it is, but nobody knows where.
                answer.address = None;
            }
            answer.hops = answer.hops.saturating_add(u8::from(!self.is_here(address)));
            let _ = self.news.try_send(News::Answer(answer));
        }
    }
}

/// A question under way.
pub struct Asking {
    pub news: mpsc::Receiver<News>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Asking {
    /// Asks, over so many links at most. Of the settings it uses what says whom to ask: where `neighbours` are named only
    /// these are asked, else the members of this machine, its network, the conductors and those that were known before.
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(settings: Settings, asks: Asks, hops: u8, stop: &CancellationToken) -> Result<Self, StartError> {
        let stop = stop.child_token();
        let only_named = !settings.neighbours.is_empty();
        let looks_near = settings.lan && !only_named;
        // On the local network it looks for neighbours, and has nothing else to say.
        let settings = Settings { lan: false, search: false, port: Some(0), ..settings };
        let screen = Arc::new(Screen::new(settings.screen, &settings.log_dir, SystemTime::now));
        let station = Station::open(settings, Instant::now(), screen, stop.clone(), false).await?;
        let mut id = [0; 16];
        fastrand::Rng::new().fill(&mut id);
        let (tell, news) = mpsc::channel(ANSWERS);
        let asker = Asker { asks, id: QuestionId(id), hops, own: own_addresses(), news: tell };
        let (neighbours, told) = Neighbours::new();
        let mut sources = Sources::new(&station, told);
        match only_named {
            true => sources.name(&station.settings.neighbours),
            false => {
                neighbours.may_be_at(station.settings.conductors.iter().cloned());
                let lan = looks_near.then(|| Lan::start(station.port, station.via(), stop.clone()));
                sources.look_near(lan.as_ref());
                sources.acquaintances = Some(Acquaintances::of(NEIGHBOURS));
                let here = HERE.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
                let _ = sources.names.try_send(Discovered::Found(here.to_vec()));
            }
        }
        let circle = Circle::new(station.id, if only_named { 0 } else { ASKED });
        let service = Service::new(&station, circle, Role::Asker(asker));
        let ended = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(service) = service {
                service.run(sources, ended).await;
            }
        });
        Ok(Self { news, stop, task })
    }

    /// Ends it.
    pub async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}
