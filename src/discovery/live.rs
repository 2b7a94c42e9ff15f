//! Members through the live links of conductors: they say at once who joins, who leaves and who has it all, and hear how
//! far we are.
//!
//! One link to each conductor carries all compositions of the process, a strand for each. It comes beside the announces
//! of [`conductor`](super::conductor), which become rare while it is up and are all there is where a conductor has no live
//! link. A link that breaks is opened again after 1, 2, 5 and then every 10 seconds, and so is a strand that is refused;
//! where there is no link, it is asked for again after ten minutes.
//!
//! What a hostile conductor can do: name as many addresses as fit into [`MAX_TOLD`] bytes a message, of which those are
//! dialled that [`Dialable`] leaves, and say that members are gone or have it all; nobody who is connected is left because
//! of it.

mod words;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        error::ProtocolError,
        http::{HeaderValue, StatusCode},
        protocol::WebSocketConfig,
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    Discovered,
    conductor::{Identity, RETRIES},
    lan::manners::Pace,
    resolve,
    told::Dialable,
};
use crate::{
    announce::live::{Copy, MAX_TOLD, PATH, Progress, REPORT, SILENCE, Told, Word},
    conductor::catalogue::gate::NO_PAGE,
    manifest::shown,
    metainfo::{InfoHash, Tracker},
    net::{range::is_near, via::Via},
    peer::dial::connect,
};
use words::{greet, leave, part, report};

/// How long it may take to connect, and to agree.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a conductor without a live link is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_millis(300);
/// Time that the conductor may take to close the link.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long all of that may take.
const LEAVING: Duration = Duration::from_secs(1);
/// Hellos that wait for their answers: who says more than is read may wait for ever.
const UNANSWERED: usize = 256;

/// Hellos to a conductor on the internet that are said at once, and the gap between further ones: it knows this member by a
/// public address, whose allowance of 20 questions a second other questions need too.
const FIRST_HELLOS: u32 = 32;
const HELLO_GAP: Duration = Duration::from_millis(70);

type Socket = WebSocketStream<TcpStream>;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    NoAddress(String),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("the connection failed: {0}")]
    Connect(#[from] std::io::Error),
    /// It is no conductor of ours, or an older one.
    #[error("it has none: {0}")]
    None(Box<tungstenite::Error>),
    #[error("it broke: {0}")]
    Socket(Box<tungstenite::Error>),
    #[error("it was closed")]
    Closed,
}

impl From<tungstenite::Error> for Broken {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

type Way = mpsc::UnboundedSender<Kept>;

/// All live links of the process.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The way to the task of each.
    all: Arc<Mutex<Vec<(Tracker, Way)>>>,
}

/// One composition at one conductor.
#[derive(Debug)]
pub struct Strand {
    pub identity: Identity,
    pub progress: watch::Receiver<Progress>,
    /// How far this member was at the start, until the conductor has heard it: the first hello says this, so that a member
    /// that completes at once is seen to complete.
    pub first: Option<Progress>,
    /// Told where the link is while the conductor takes us.
    pub up: watch::Sender<Option<SocketAddr>>,
    pub found: mpsc::Sender<Discovered>,
    /// Ends it: the conductor is told that we leave.
    pub stop: CancellationToken,
}

impl Strand {
    /// It lacked something at the start, has all of it now, and the conductor heard neither.
    fn completed_unheard(&self) -> bool {
        let progress = self.progress.borrow();
        self.first.as_ref().is_some_and(|first| first.left > 0) && progress.left == 0 && progress.downloaded > 0
    }
}

impl Links {
    /// Keeps this strand until it is to stop. The task ends within a second of that. To be called inside a tokio runtime.
    pub fn keep(&self, tracker: Tracker, strand: Strand) -> JoinHandle<()> {
        let (kept, ended) = oneshot::channel();
        let stop = strand.stop.clone();
        let strand = Kept { strand, nth: 0, state: State::Unsaid, failures: 0, _until: kept };
        self.pass_on(tracker, strand);
        tokio::spawn(async move {
            stop.cancelled().await;
            // A conductor that takes nothing holds nobody up.
            let _ = timeout(LEAVING, ended).await;
        })
    }

    fn pass_on(&self, tracker: Tracker, strand: Kept) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|(other, _)| *other == tracker);
        // The task of a link without strands ends.
        let strand = match known.map(|known| (known, &all[known].1)) {
            Some((known, more)) => match more.send(strand) {
                Ok(()) => return,
                Err(refused) => {
                    all.swap_remove(known);
                    refused.0
                }
            },
            None => strand,
        };
        let (more, coming) = mpsc::unbounded_channel();
        let _ = more.send(strand);
        tokio::spawn(Keeper::new(tracker.clone(), coming).run());
        all.push((tracker, more));
    }
}

/// How far a strand is with the conductor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The hello is still to be said.
    Unsaid,
    Said,
    Taken,
    /// It is not taken, and asks again then.
    Again(Instant),
}

#[derive(Debug)]
struct Kept {
    strand: Strand,
    /// Tells it from an earlier one of the same composition.
    nth: u64,
    state: State,
    failures: usize,
    /// Says by its end that this one has ended.
    _until: oneshot::Sender<()>,
}

impl Kept {
    fn lose(&mut self, state: State) {
        self.state = state;
        // Who was not up is not woken.
        self.strand.up.send_if_modified(|up| up.take().is_some());
    }

    /// It was refused, or ended, or did not keep up.
    fn wait(&mut self) {
        let wait = RETRIES[self.failures.min(RETRIES.len() - 1)];
        self.failures += 1;
        self.lose(State::Again(Instant::now() + Duration::from_secs(wait)));
    }

    /// Who is too busy to hear it hears all anew with the next hello: the others of the link do not wait.
    fn pass_on(&mut self, found: Discovered) {
        if let Err(TrySendError::Full(_)) = self.strand.found.try_send(found) {
            log::info!("{}: too busy to hear what its conductor tells", self.strand.identity.info_hash);
            self.wait();
        }
    }
}

type Ended = Pin<Box<dyn Future<Output = (InfoHash, u64)> + Send>>;

/// The task behind one link.
struct Keeper {
    tracker: Tracker,
    coming: mpsc::UnboundedReceiver<Kept>,
    strands: HashMap<InfoHash, Kept>,
    next: u64,
    ends: FuturesUnordered<Ended>,
    /// Links that were not there, or broke before a strand was taken.
    failures: usize,
    dialable: Dialable,
}

impl Keeper {
    fn new(tracker: Tracker, coming: mpsc::UnboundedReceiver<Kept>) -> Self {
        let (strands, ends, dialable) = (HashMap::new(), FuturesUnordered::new(), Dialable::default());
        Self { tracker, coming, strands, next: 0, ends, failures: 0, dialable }
    }

    /// Until there is no strand left.
    async fn run(mut self) {
        while self.has_strands() {
            let via = self.strands.values().next().map(|kept| kept.strand.identity.via.clone()).unwrap_or_default();
            let tracker = self.tracker.clone();
            let broken = match self.meanwhile(open(&tracker, &via)).await {
                None => continue,
                Some(Ok((socket, near, at))) => {
                    log::info!("conductor {}: live", tracker.conductor);
                    let talked = self.talk(socket, near, at).await;
                    self.strands.values_mut().for_each(|kept| kept.lose(State::Unsaid));
                    match talked {
                        Ok(()) => continue,
                        Err(broken) => broken,
                    }
                }
                Some(Err(broken)) => broken,
            };
            log::info!("conductor {}: no live link: {broken}", tracker.conductor);
            let wait = match broken {
                Broken::None(_) => ASK_AGAIN,
                _ => Duration::from_secs(RETRIES[self.failures.min(RETRIES.len() - 1)]),
            };
            self.failures += 1;
            self.meanwhile(tokio::time::sleep(wait)).await;
        }
    }

    /// Whether there are any, or will be.
    fn has_strands(&mut self) -> bool {
        self.take_all();
        if self.strands.is_empty() {
            // From now on they come to another task.
            self.coming.close();
            self.take_all();
        }
        !self.strands.is_empty()
    }

    fn take_all(&mut self) {
        while let Ok(kept) = self.coming.try_recv() {
            drop(self.take(kept));
        }
    }

    /// Takes it in; gives the earlier one of the same composition whose place it takes.
    fn take(&mut self, kept: Kept) -> Option<Kept> {
        let (info_hash, nth, stop) = (kept.strand.identity.info_hash, self.next, kept.strand.stop.clone());
        self.next += 1;
        self.ends.push(Box::pin(async move {
            stop.cancelled().await;
            (info_hash, nth)
        }));
        self.strands.insert(info_hash, Kept { nth, ..kept })
    }

    /// The strand that is to end, if it is still there.
    fn end(&mut self, (info_hash, nth): (InfoHash, u64)) -> Option<Kept> {
        match self.strands.get(&info_hash) {
            Some(kept) if kept.nth == nth => self.strands.remove(&info_hash),
            _ => None,
        }
    }

    /// Takes strands in and out until this is done; None: there is none left.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let mut what = pin!(what);
        while !self.strands.is_empty() {
            tokio::select! {
                done = &mut what => return Some(done),
                Some(kept) = self.coming.recv() => drop(self.take(kept)),
                Some(ended) = self.ends.next() => drop(self.end(ended)),
            }
        }
        None
    }

    /// Until the link breaks, or there is no strand left.
    async fn talk(&mut self, mut socket: Socket, near: IpAddr, at: SocketAddr) -> Result<(), Broken> {
        let mut tick = interval(REPORT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_heard = Instant::now();
        let mut unsaid: Vec<InfoHash> = self.strands.keys().copied().collect();
        let mut unanswered = 0;
        let start = Instant::now();
        let gap = if is_near(at.ip()) { Duration::ZERO } else { HELLO_GAP };
        let mut hellos = Pace::new(gap, FIRST_HELLOS);
        while !self.strands.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.ends.next() => if let Some(kept) = self.end(ended) {
                    unanswered -= usize::from(kept.state == State::Said);
                    let left = timeout(LAST_WORD, leave(&mut socket, kept, near, at)).await;
                    let left = left.map_err(|_| Broken::Silent)??;
                    if self.strands.is_empty() {
                        part(&mut socket).await;
                    }
                    drop(left);
                },
                message = socket.next() => {
                    let message = message.ok_or(Broken::Closed)??;
                    last_heard = Instant::now();
                    unanswered -= usize::from(self.hear(message, at)?);
                }
                Some(kept) = self.coming.recv() => {
                    unsaid.push(kept.strand.identity.info_hash);
                    let earlier = self.take(kept);
                    unanswered -= usize::from(earlier.is_some_and(|kept| kept.state == State::Said));
                }
                () = sleep_until(start + hellos.ready()), if unanswered < UNANSWERED && !unsaid.is_empty() => {
                    if let Some(kept) = unsaid.pop().and_then(|info_hash| self.strands.get_mut(&info_hash))
                        && kept.state == State::Unsaid
                    {
                        greet(&mut socket, kept, near).await?;
                        unanswered += 1;
                        hellos.takes(start.elapsed());
                    }
                }
                _ = tick.tick() => {
                    for kept in self.strands.values_mut() {
                        report(&mut socket, &mut kept.strand, kept.state).await?;
                        if matches!(kept.state, State::Again(due) if Instant::now() >= due) {
                            kept.state = State::Unsaid;
                            unsaid.push(kept.strand.identity.info_hash);
                        }
                    }
                }
                () = sleep_until(last_heard + SILENCE) => return Err(Broken::Silent),
            }
        }
        Ok(())
    }

    /// Takes in what the conductor tells; whether it answers a hello.
    fn hear(&mut self, message: Message, at: SocketAddr) -> Result<bool, Broken> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(Broken::Closed),
            // Pings are answered by themselves.
            _ => return Ok(false),
        };
        let Ok(Word { told, info_hash }) = serde_json::from_str(&text) else {
            log::debug!("conductor {}: not understood: {} bytes", self.tracker.conductor, text.len());
            return Ok(false);
        };
        // What is told of an earlier strand is nobody's news.
        let there = self.strands.get_mut(&info_hash).filter(|kept| matches!(kept.state, State::Said | State::Taken));
        let Some(kept) = there else { return Ok(false) };
        let answers = kept.state == State::Said && matches!(told, Told::Members { .. } | Told::Refused { .. });
        match told {
            Told::Members { members, named } => {
                // It took us.
                (kept.state, kept.failures, self.failures) = (State::Taken, 0, 0);
                // Told again it wakes nobody: each who is woken looks the conductor up.
                kept.strand.up.send_if_modified(|up| up.replace(at) != Some(at));
                kept.pass_on(Discovered::Found(self.dialable.of(members, &named, at.ip())));
            }
            Told::Changes { joined, named, left } => {
                if !left.is_empty() {
                    kept.pass_on(Discovered::Left(left));
                }
                let joined = self.dialable.of(joined, &named, at.ip());
                if !joined.is_empty() {
                    kept.pass_on(Discovered::Found(joined));
                }
            }
            Told::Whole { members } => kept.pass_on(Discovered::Whole(members.into_iter().map(Copy::cut).collect())),
            Told::Reach { address, open } => {
                let conductor = self.tracker.conductor.clone();
                kept.pass_on(Discovered::Reachable { conductor, address, open });
            }
            Told::Refused { why } => {
                log::info!("conductor {}: {info_hash} is refused: {}", self.tracker.conductor, shown(&why));
                kept.wait();
            }
            Told::Ended => kept.wait(),
            Told::Other => {}
        }
        Ok(answers)
    }
}

/// Opens a link at the first address that answers: with the address of our own that it leaves from, and where it is.
async fn open(tracker: &Tracker, via: &Via) -> Result<(Socket, IpAddr, SocketAddr), Broken> {
    let addresses = resolve::addresses(tracker, via).await.map_err(Broken::NoAddress)?;
    let mut why = Broken::NoAddress("it has no address that may be asked from ours".into());
    for address in addresses {
        match timeout(PATIENCE, open_at(tracker, via, address)).await {
            Ok(Ok((socket, near))) => return Ok((socket, near, address)),
            Ok(Err(error)) => why = error,
            Err(_) => why = Broken::Silent,
        }
    }
    Err(why)
}

async fn open_at(tracker: &Tracker, via: &Via, address: SocketAddr) -> Result<(Socket, IpAddr), Broken> {
    let stream = connect(address, via).await?;
    stream.set_nodelay(true)?;
    let near = stream.local_addr()?.ip().to_canonical();
    let mut request = format!("ws://{}{PATH}", tracker.conductor).into_client_request()?;
    request.headers_mut().insert(NO_PAGE, HeaderValue::from_static("member"));
    let config = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_TOLD))
        .max_frame_size(Some(MAX_TOLD));
    let opened = client_async_with_config(request, stream, Some(config)).await;
    let (socket, _) = opened.map_err(|error| match error {
        // It has one, and not now.
        tungstenite::Error::Http(ref answer) if is_for_now(answer.status()) => error.into(),
        tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => error.into(),
        tungstenite::Error::Http(_) | tungstenite::Error::Protocol(_) => Broken::None(error.into()),
        error => error.into(),
    })?;
    Ok((socket, near))
}

fn is_for_now(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
