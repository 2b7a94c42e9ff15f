//! Members through one conductor: announces over HTTP (BEP 3), over IPv4 and IPv6 where its name has both.
//!
//! The first announce leaves at once; the conductor's interval says when the next one does. A member that becomes
//! complete says so at once, also where it leaves at once. While the conductor does not answer it is tried again after 1, 2, 5 and then every 10
//! seconds, and its name is resolved anew each time. At the end it is told, if that takes no longer than 0.7 seconds.
//! Where a [live link](super::live) to it is up, all is said there: over the IP version of the link it is announced to
//! once in twenty minutes, and at once when the link breaks. A member that announces many compositions leaves all of this to
//! the link, where there is one.
//!
//! A conductor that says that it is asked too often is asked at the [pace](super::pace) that it takes, and what it refused
//! for that is asked again.
//!
//! What a hostile conductor can do: name up to a thousand addresses an answer. Its answer is at most 1 MiB, it may take
//! 5 seconds, redirects and proxies are not followed.

use std::{
    error::Error,
    future::pending,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, Response, StatusCode, header, redirect};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{Discovered, pace::Paces, resolve, told::Dialable};
use crate::{
    announce::{
        ASKED_TOO_OFTEN, Announce, Answer, Event, Reply, http_answer::read_reply, http_request::write_announce,
    },
    manifest::{Host, shown},
    metainfo::{InfoHash, Tracker},
    net::{tls, via::Via},
    wire::{copy_id::CopyId, handshake::PeerId},
};

/// How long one announce may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Announces at the same time, over all compositions and conductors.
const AT_ONCE: usize = 16;
/// A connection is kept so long for the next announce: less than our conductor keeps it.
const IDLE: Duration = Duration::from_secs(4);
/// Between two announces over the IP version of a live link, in seconds.
const BESIDE_LINK: u32 = 20 * 60;
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_millis(700);
/// Time that the last words over the live link may take before ours.
const LINK_END: Duration = Duration::from_millis(400);
/// The largest answer that is read, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Announces that are refused in a row because the conductor is asked too often, before that is told.
const MAX_TOO_OFTEN: u32 = 8;
/// Seconds until the next try after the first, second, ... failure in a row.
pub(super) const RETRIES: [u64; 4] = [1, 2, 5, 10];
/// The intervals that are believed, in seconds.
const INTERVALS: std::ops::RangeInclusive<u32> = 1..=3600;

/// Who announces, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub info_hash: InfoHash,
    pub id: PeerId,
    /// Tells this member from others that claim its peer id (BEP 7). One for all conductors: two addresses may lead to
    /// the same, and it is one member there.
    pub key: u32,
    /// How people see us.
    pub name: String,
    /// Which copy we hold; None: that is nobody's concern.
    pub copy: Option<CopyId>,
    /// The port on which others reach us.
    pub port: u16,
    /// The address at which others reach us, where we know better than the conductor, which gives others the address
    /// that it sees.
    pub ip: Option<IpAddr>,
    /// What we announce through: what the conductor sees has to be where we listen.
    pub via: Via,
}

/// How far we are, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Since the start.
    pub uploaded: u64,
    /// Since the start.
    pub downloaded: u64,
    pub left: u64,
}

/// What all announces of a process go through. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// Announces at the same time.
    places: Arc<Semaphore>,
    /// How fast each conductor is asked.
    paces: Paces,
    /// There are many compositions to announce: connections are kept for the next one.
    many: bool,
}

impl Http {
    /// Through `via`. With `many` compositions to announce connections are kept; a single one would only hold a
    /// conductor's place between two announces.
    ///
    /// # Errors
    /// The system gives no HTTP client, or knows no such network interface.
    pub fn new(via: &Via, many: bool) -> Result<Self, HttpError> {
        let client = client(via, many).map_err(|error| HttpError(root(&error)))?;
        Ok(Self { client, places: Arc::new(Semaphore::new(AT_ONCE)), paces: Paces::default(), many })
    }
}

/// Why nothing can be announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot ask any conductor: {0}")]
pub struct HttpError(String);

/// Starts to announce to this conductor. The task ends when `stop` is cancelled, within a second. `link`: where a live
/// link to it is up.
///
/// To be called inside a tokio runtime.
pub fn start(
    tracker: Tracker,
    identity: Identity,
    http: Http,
    stats: watch::Receiver<Stats>,
    link: watch::Receiver<Option<SocketAddr>>,
    found: mpsc::Sender<Discovered>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move { Asker { tracker, identity, http, link, found }.run(stats, &stop).await })
}

fn client(via: &Via, many: bool) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls::unused())
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE)
        .pool_max_idle_per_host(if many { AT_ONCE } else { 0 })
        .pool_idle_timeout(IDLE)
        .local_address(via.address.filter(|ip| !ip.is_unspecified()));
    // Elsewhere the listening sockets refused the interface before.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let builder = match &via.interface {
        Some(name) => builder.interface(name),
        None => builder,
    };
    builder.build()
}

/// What the conductor knows of us over one IP version.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// `left` of the last announce that it took.
    told: Option<u64>,
    /// Where it took one, or may be taking one now.
    at: Option<SocketAddr>,
    /// When it took the last.
    last: Option<Instant>,
}

impl Line {
    /// Whether it was announced lately.
    fn is_fresh(&self) -> bool {
        self.at.is_some() && self.last.is_some_and(|last| last.elapsed() < Duration::from_secs(BESIDE_LINK.into()))
    }

    fn event(&self, left: u64) -> Option<Event> {
        match self.told {
            None => Some(Event::Started),
            Some(before) if before > 0 && left == 0 => Some(Event::Completed),
            Some(_) => None,
        }
    }
}

/// Why an announce failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    Unreachable(String),
    Refused(String),
    /// It is asked too often, and may be asked again later.
    TooOften(String),
}

/// What was last told of the conductor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Reached,
    Unreachable,
    Refused,
}

struct Asker {
    tracker: Tracker,
    identity: Identity,
    http: Http,
    /// Where a live link to the conductor is up.
    link: watch::Receiver<Option<SocketAddr>>,
    found: mpsc::Sender<Discovered>,
}

impl Asker {
    async fn run(&self, mut stats: watch::Receiver<Stats>, stop: &CancellationToken) {
        let first = *stats.borrow();
        let mut lines = [Line::default(); 2];
        let mut mood = None;
        let mut failures = 0;
        let mut link = self.link.clone();
        loop {
            link.mark_unchanged();
            let told = *stats.borrow_and_update();
            // In a box of its own: between announces, thousands of these tasks take little memory.
            let round = Box::pin(self.round(&mut lines, told));
            let Some(result) = stop.run_until_cancelled(round).await else {
                break;
            };
            let wait = match &result {
                Ok(interval) => {
                    failures = 0;
                    u64::from(*interval)
                }
                Err(_) => {
                    failures += 1;
                    RETRIES[(failures - 1).min(RETRIES.len() - 1)]
                }
            };
            self.tell(result.map(drop), &mut mood).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_secs(wait)) => {}
                () = completed(&mut stats, told) => {}
                () = changed(&mut link) => {}
            }
        }
        let last = *stats.borrow();
        Box::pin(self.take_leave(&mut lines, first, last)).await;
    }

    /// Announces over both IP versions at the same time; gives the interval until the next round.
    async fn round(&self, lines: &mut [Line; 2], stats: Stats) -> Result<u32, Failure> {
        let addresses = resolve::addresses(&self.tracker, &self.identity.via).await.map_err(Failure::Unreachable)?;
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
        let [line4, line6] = lines;
        let (first, second) =
            tokio::join!(self.announce_over(line4, &v4, stats), self.announce_over(line6, &v6, stats));
        match (first, second) {
            (Some(Ok(a)), Some(Ok(b))) => Ok(a.min(b)),
            (Some(Ok(interval)), _) | (_, Some(Ok(interval))) => Ok(interval),
            (Some(Err(failure)), _) | (None, Some(Err(failure))) => Err(failure),
            (None, None) => Err(Failure::Unreachable("it has no address that may be asked from ours".into())),
        }
    }

    /// Announces to the first of these addresses that answers; None where there is none.
    async fn announce_over(
        &self,
        line: &mut Line,
        addresses: &[SocketAddr],
        stats: Stats,
    ) -> Option<Result<u32, Failure>> {
        let version = addresses.first()?.is_ipv4();
        // One composition is announced beside the link too, in case that an old conductor forgets it with the link.
        let rests = self.http.many || line.is_fresh();
        if rests && self.link.borrow().is_some_and(|link| link.is_ipv4() == version) {
            return Some(Ok(BESIDE_LINK));
        }
        let mut result = None;
        for address in addresses {
            line.at = Some(*address);
            match self.announce_in_turn(*address, stats, line.event(stats.left)).await {
                Some(Ok(answer)) => {
                    line.told = Some(stats.left);
                    line.last = Some(Instant::now());
                    return Some(Ok(self.take(answer, *address).await));
                }
                Some(Err(failure)) => {
                    log::debug!("{}: {address}: {failure:?}", self.tracker.conductor);
                    line.at = None;
                    result = result.or(Some(Err(failure)));
                }
                None => {
                    line.at = None;
                    return Some(Ok(BESIDE_LINK));
                }
            }
        }
        result
    }

    /// Announces when it is this announce's turn, again where the conductor is asked too often; `None` where a live link has
    /// said it meanwhile.
    async fn announce_in_turn(
        &self,
        address: SocketAddr,
        stats: Stats,
        event: Option<Event>,
    ) -> Option<Result<Answer, Failure>> {
        let mut link = self.link.clone();
        let mut refused = 0;
        loop {
            let said = link.wait_for(|link| link.is_some_and(|link| link.is_ipv4() == address.is_ipv4()));
            tokio::select! {
                biased;
                () = self.http.paces.turn(address) => {}
                Ok(_) = said, if self.http.many => return None,
            }
            let result = self.announce(address, stats, event).await;
            refused += 1;
            match result {
                Err(Failure::TooOften(_)) => self.http.paces.refused(address),
                Ok(_) | Err(Failure::Refused(_)) => self.http.paces.answered(address),
                Err(Failure::Unreachable(_)) => {}
            }
            if refused >= MAX_TOO_OFTEN || !matches!(result, Err(Failure::TooOften(_))) {
                return Some(result);
            }
        }
    }

    /// Passes on the members that the conductor at this address told; gives the interval.
    async fn take(&self, answer: Answer, conductor: SocketAddr) -> u32 {
        if let Some(warning) = &answer.warning {
            log::warn!("conductor {} says: {}", self.tracker.conductor, shown(warning));
        }
        let told = answer.peers.iter().map(|peer| peer.address).collect();
        let addresses = Dialable::default().of(told, &[], conductor.ip());
        if !addresses.is_empty() {
            let _ = self.found.send(Discovered::Found(addresses)).await;
        }
        answer.interval.clamp(*INTERVALS.start(), *INTERVALS.end())
    }

    async fn announce(&self, address: SocketAddr, stats: Stats, event: Option<Event>) -> Result<Answer, Failure> {
        let announce = Announce {
            info_hash: self.identity.info_hash,
            id: self.identity.id,
            port: self.identity.port,
            ip: self.identity.ip,
            uploaded: stats.uploaded,
            downloaded: stats.downloaded,
            left: stats.left,
            event,
            numwant: None,
            compact: true,
            no_peer_id: true,
            key: Some(self.identity.key),
        };
        let url = format!("http://{address}{}", self.tracker.path_with(&write_announce(&announce)));
        let _place = self.http.places.acquire().await;
        let mut request = self.http.client.get(url);
        if let Host::Name(_) = self.tracker.conductor.host {
            request = request.header(header::HOST, self.tracker.conductor.to_string());
        }
        if self.http.many {
            request = request.header(header::CONNECTION, "keep-alive");
        }
        let again = request.try_clone();
        let response = match (request.send().await, again) {
            // A connection that was kept may have been closed at the other end meanwhile.
            (Err(error), Some(again)) if self.http.many && !error.is_connect() && !error.is_timeout() => {
                again.send().await
            }
            (response, _) => response,
        };
        let response = response.map_err(|error| unreachable(&error))?;
        let body = body(response).await?;
        match read_reply(&body) {
            Ok(Reply::Answer(answer)) => Ok(answer),
            Ok(Reply::Failure(reason)) if reason.starts_with(ASKED_TOO_OFTEN) => Err(Failure::TooOften(reason)),
            Ok(Reply::Failure(reason)) => Err(Failure::Refused(reason)),
            Err(error) => Err(Failure::Unreachable(format!("what answers there is no conductor: {error}"))),
        }
    }

    /// Tells what became of the conductor, where that is news.
    async fn tell(&self, result: Result<(), Failure>, mood: &mut Option<Mood>) {
        let conductor = self.tracker.conductor.clone();
        let (now, news) = match result {
            Ok(()) => (Mood::Reached, Discovered::Reached { conductor }),
            Err(Failure::Unreachable(why)) => (Mood::Unreachable, Discovered::Unreachable { conductor, why }),
            Err(Failure::Refused(why) | Failure::TooOften(why)) => {
                (Mood::Refused, Discovered::Refused { conductor, why })
            }
        };
        if mood.replace(now) != Some(now) {
            let _ = self.found.send(news).await;
        }
    }

    /// Says over one IP version what is still to be said: that we began, that we have all of it, that we leave.
    async fn last_words(&self, line: Line, link: Option<SocketAddr>, first: Stats, last: Stats) {
        let Some(address) = line.at else { return };
        let completed = line.told.map_or_else(|| has_fetched(first, last), |told| told > 0 && last.left == 0);
        // Where there was a live link it has said so, over whichever IP version.
        if completed && link.is_none() {
            if line.told.is_none() {
                let _ = self.announce(address, first, Some(Event::Started)).await;
            }
            let _ = self.announce(address, last, Some(Event::Completed)).await;
        }
        let _ = self.announce(address, last, Some(Event::Stopped)).await;
    }

    /// Tells the conductor that we leave, and before that what it has not heard of our copy. `first` is how far we were at
    /// the start.
    async fn take_leave(&self, lines: &mut [Line; 2], first: Stats, last: Stats) {
        let unheard = lines.iter().all(|line| line.at.is_none());
        let all = async {
            // What the live link says comes first: otherwise its words would put us into the table again.
            if tokio::time::timeout(LINK_END, ended(&mut self.link.clone())).await.is_err() {
                log::debug!("conductor {}: its live link has not ended yet", self.tracker.conductor);
            }
            let link = *self.link.borrow();
            if unheard && link.is_none() && has_fetched(first, last) {
                let _ = self.round(lines, first).await;
            }
            let [v4, v6] = lines.map(|line| self.last_words(line, link, first, last));
            tokio::join!(v4, v6)
        };
        if tokio::time::timeout(LAST_WORD, all).await.is_err() {
            log::info!("conductor {} did not hear that we leave", self.tracker.conductor);
        }
    }
}

/// Whether a member that was so far at the start has fetched the rest by now.
fn has_fetched(first: Stats, last: Stats) -> bool {
    first.left > 0 && last.left == 0 && last.downloaded > 0
}

/// Waits until the live link has said its last words, where there is one.
async fn ended(link: &mut watch::Receiver<Option<SocketAddr>>) {
    while link.changed().await.is_ok() {}
}

/// Waits until nothing is left, if something was when the conductor was last told.
async fn completed(stats: &mut watch::Receiver<Stats>, told: Stats) {
    if told.left == 0 || stats.wait_for(|stats| stats.left == 0).await.is_err() {
        pending::<()>().await;
    }
}

/// Waits until the live link comes up or breaks.
async fn changed(link: &mut watch::Receiver<Option<SocketAddr>>) {
    if link.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// The body of an answer that is one.
async fn body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::TooOften(format!("HTTP status {status}")));
    }
    if !status.is_success() {
        return Err(Failure::Unreachable(format!("what answers there is no conductor: HTTP status {status}")));
    }
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + bytes.len() > MAX_BODY {
            return Err(Failure::Unreachable("what answers there is no conductor: more than 1 MiB".into()));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

fn unreachable(error: &reqwest::Error) -> Failure {
    Failure::Unreachable(match error.is_timeout() {
        true => format!("no answer within {} s", PATIENCE.as_secs()),
        false => root(error),
    })
}

/// The innermost cause: what the system said.
pub(crate) fn root(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
