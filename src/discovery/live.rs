//! Members through the live link of a conductor: it says at once who joins, who leaves and who has it all, and hears how
//! far we are.
//!
//! It comes beside the announces of [`conductor`](super::conductor), which become rare while it is up and are all there is
//! where a conductor has no live link. A link that breaks is opened again after 1, 2, 5 and then every 10 seconds; where there is none, it is
//! asked for again after ten minutes.
//!
//! What a hostile conductor can do: name as many addresses as fit into [`MAX_TOLD`] bytes a message, and say that members
//! are gone or have it all; nobody who is connected is left because of it.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

use super::{
    Discovered,
    conductor::{Identity, RETRIES},
    resolve,
};
use crate::{
    announce::live::{Hello, MAX_TOLD, PATH, Progress, REPORT, SILENCE, Said, Told, VERSION},
    conductor::catalogue::gate::NO_PAGE,
    metainfo::Tracker,
    peer::dial::connect,
};

/// How long it may take to connect, and to agree.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a conductor without a live link is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_millis(300);

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
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("it was closed")]
    Closed,
}

impl From<tungstenite::Error> for Broken {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// Starts to keep a link to this conductor. The task ends when `stop` is cancelled, within a second. `up` is told where
/// the link is while there is one.
///
/// To be called inside a tokio runtime.
pub fn start(
    tracker: Tracker,
    identity: Identity,
    progress: watch::Receiver<Progress>,
    up: watch::Sender<Option<SocketAddr>>,
    found: mpsc::Sender<Discovered>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut keeper = Keeper { tracker, identity, progress, up, found };
        keeper.run(&stop).await;
    })
}

struct Keeper {
    tracker: Tracker,
    identity: Identity,
    progress: watch::Receiver<Progress>,
    up: watch::Sender<Option<SocketAddr>>,
    found: mpsc::Sender<Discovered>,
}

impl Keeper {
    async fn run(&mut self, stop: &CancellationToken) {
        let mut failures = 0;
        loop {
            let broken = match stop.run_until_cancelled(self.open()).await {
                None => return,
                Some(Ok((socket, address))) => {
                    log::info!("conductor {}: live", self.tracker.conductor);
                    let talked = self.talk(socket, address, stop).await;
                    // Only who was taken begins anew.
                    if self.up.send_replace(None).is_some() {
                        failures = 0;
                    }
                    match talked {
                        Ok(()) => return,
                        Err(broken) => broken,
                    }
                }
                Some(Err(broken)) => broken,
            };
            log::info!("conductor {}: no live link: {broken}", self.tracker.conductor);
            let wait = match broken {
                Broken::None(_) => ASK_AGAIN,
                _ => Duration::from_secs(RETRIES[failures.min(RETRIES.len() - 1)]),
            };
            failures += 1;
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Opens a link at the first address that answers.
    async fn open(&self) -> Result<(Socket, SocketAddr), Broken> {
        let addresses = resolve::addresses(&self.tracker, &self.identity.via).await.map_err(Broken::NoAddress)?;
        let mut why = Broken::NoAddress("it has no address that may be asked from ours".into());
        for address in addresses {
            match timeout(PATIENCE, self.open_at(address)).await {
                Ok(Ok(socket)) => return Ok((socket, address)),
                Ok(Err(error)) => why = error,
                Err(_) => why = Broken::Silent,
            }
        }
        Err(why)
    }

    async fn open_at(&self, address: SocketAddr) -> Result<Socket, Broken> {
        let stream = connect(address, &self.identity.via).await?;
        stream.set_nodelay(true)?;
        let near = stream.local_addr()?.ip().to_canonical();
        let mut request = format!("ws://{}{PATH}", self.tracker.conductor).into_client_request()?;
        request.headers_mut().insert(NO_PAGE, HeaderValue::from_static("member"));
        let config = WebSocketConfig::default()
            .read_buffer_size(8 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_TOLD))
            .max_frame_size(Some(MAX_TOLD));
        let opened = client_async_with_config(request, stream, Some(config)).await;
        let (mut socket, _) = opened.map_err(|error| match error {
            tungstenite::Error::Http(_) | tungstenite::Error::Protocol(_) => Broken::None(error.into()),
            error => error.into(),
        })?;
        let hello = Hello {
            v: VERSION,
            info_hash: self.identity.info_hash,
            peer_id: self.identity.id,
            key: self.identity.key,
            port: self.identity.port,
            ip: self.identity.ip,
            near: vec![near],
            name: self.identity.name.clone(),
            progress: self.progress.borrow().clone(),
        };
        say(&mut socket, &Said::Hello(hello)).await?;
        Ok(socket)
    }

    /// Until the link breaks, or until `stop`.
    async fn talk(&mut self, mut socket: Socket, at: SocketAddr, stop: &CancellationToken) -> Result<(), Broken> {
        let mut report = interval(REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_heard = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    let farewell = async {
                        self.report(&mut socket).await?;
                        Ok::<(), Broken>(socket.close(None).await?)
                    };
                    let _ = timeout(LAST_WORD, farewell).await;
                    return Ok(());
                }
                message = socket.next() => {
                    let message = message.ok_or(Broken::Closed)??;
                    last_heard = Instant::now();
                    self.hear(message, at).await?;
                }
                _ = report.tick() => self.report(&mut socket).await?,
                () = sleep_until(last_heard + SILENCE) => return Err(Broken::Silent),
            }
        }
    }

    /// Says how far we are, if that is news.
    async fn report(&mut self, socket: &mut Socket) -> Result<(), Broken> {
        if !self.progress.has_changed().unwrap_or(false) {
            return Ok(());
        }
        let progress = self.progress.borrow_and_update().clone();
        say(socket, &Said::Progress(progress)).await
    }

    async fn hear(&self, message: Message, at: SocketAddr) -> Result<(), Broken> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(Broken::Closed),
            // Pings are answered by themselves.
            _ => return Ok(()),
        };
        let Ok(told) = serde_json::from_str(&text) else {
            log::debug!("conductor {}: not understood: {} bytes", self.tracker.conductor, text.len());
            return Ok(());
        };
        match told {
            Told::Members { members } => {
                // It took us.
                self.up.send_replace(Some(at));
                self.pass_on(Discovered::Found(members)).await;
            }
            Told::Changes { joined, left } => {
                if !left.is_empty() {
                    self.pass_on(Discovered::Left(left)).await;
                }
                if !joined.is_empty() {
                    self.pass_on(Discovered::Found(joined)).await;
                }
            }
            Told::Whole { members } => self.pass_on(Discovered::Whole(members)).await,
            Told::Reach { address, open } => {
                let conductor = self.tracker.conductor.clone();
                self.pass_on(Discovered::Reachable { conductor, address, open }).await;
            }
            Told::Refused { why } => return Err(Broken::Refused(why)),
            Told::Other => {}
        }
        Ok(())
    }

    async fn pass_on(&self, found: Discovered) {
        let _ = self.found.send(found).await;
    }
}

async fn say(socket: &mut Socket, said: &Said) -> Result<(), Broken> {
    let text = serde_json::to_string(said).map_err(|error| Broken::Connect(error.into()))?;
    timeout(SILENCE, socket.send(Message::text(text))).await.map_err(|_| Broken::Silent)??;
    Ok(())
}
