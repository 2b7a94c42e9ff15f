//! The HTTP front: `/announce` and `/scrape`, with or without something behind them in the path.
//!
//! It owns the sockets of the conductor and decides nothing. Whatever is wrong with an announce is said with status 200
//! and a `failure reason`, since clients show nothing else to people.
//!
//! Faces the network. A connection costs an attacker's target at most 8 KiB of header and 15 seconds, of which 5 for a
//! header; [`Room`] bounds how many there are at once, and who comes beyond that waits in the listen queue. A connection
//! is closed after one answer unless the client asks for keep-alive.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, Request, Response, header},
    response::IntoResponse,
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::{Desk, catalogue, table::Caller};
use crate::{
    announce::{
        Reply,
        http_answer::{ListForm, write_reply, write_scrape},
        http_request::{read_announce, read_scrape},
    },
    net::listen::Listeners,
};

/// The longest header that is read, in bytes; hyper takes no less.
const MAX_HEADER: usize = 8 * 1024;
/// How long a header may take.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// When a connection is told to end after the answer under way.
const LAST_CALL: Duration = Duration::from_secs(10);
/// How much later it is closed whatever it does.
const GRACE: Duration = Duration::from_secs(5);
/// Connections at once, at most.
const MAX_CONNECTIONS: u64 = 4096;
/// File descriptors that are needed for other things.
const OTHER_FILES: u64 = 64;
/// The pause when the system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be at once, over all listeners.
#[derive(Clone)]
pub struct Room {
    places: Arc<Semaphore>,
    size: u32,
}

impl Room {
    /// As many as make sense and the process may open.
    pub fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let size = files.saturating_sub(OTHER_FILES).clamp(16, MAX_CONNECTIONS) as u32;
        Self { places: Arc::new(Semaphore::new(size as usize)), size }
    }

    /// Waits until nobody is in it.
    pub async fn emptied(&self) {
        let _ = self.places.acquire_many(self.size).await;
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// Accepts connections and answers on them until it is told to stop.
pub async fn serve(listeners: Listeners, desk: Arc<Desk>, room: Room, stop: CancellationToken) {
    let router = router(desk);
    while let Some(accepted) = stop.run_until_cancelled(next(&listeners, &room)).await {
        match accepted {
            Some((stream, source, place)) => {
                let conversation = converse(stream, source, router.clone(), stop.clone());
                tokio::spawn(async move {
                    conversation.await;
                    drop(place);
                });
            }
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The next connection with its place in the room; None when the system gave none.
async fn next(listeners: &Listeners, room: &Room) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = room.places.clone().acquire_owned().await.ok()?;
    match listeners.accept().await {
        Ok((stream, source)) => Some((stream, source, place)),
        Err(error) => {
            log::warn!("cannot accept a connection: {error}");
            None
        }
    }
}

async fn converse(stream: TcpStream, source: SocketAddr, router: Router, stop: CancellationToken) {
    let Ok(reached) = stream.local_addr() else {
        return;
    };
    let caller = Caller::new(source.ip(), reached.ip());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), Front::new(router, caller));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = tokio::time::sleep(LAST_CALL) => None,
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("{source}: {error}"),
        Err(_) => log::debug!("{source}: took too long"),
    }
}

/// The router as one connection sees it: it knows both ends, and closes unless asked not to.
struct Front {
    router: TowerToHyperService<Router>,
    caller: Caller,
}

impl Front {
    fn new(router: Router, caller: Caller) -> Self {
        Self { router: TowerToHyperService::new(router), caller }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let keep = asks_to_keep(request.headers());
        request.extensions_mut().insert(self.caller);
        let answer = self.router.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if !keep {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(answer)
        })
    }
}

fn asks_to_keep(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONNECTION)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("keep-alive")))
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/announce", get(announce))
        .route("/announce/", get(announce))
        .route("/announce/{*more}", get(announce))
        .route("/scrape", get(scrape))
        .route("/scrape/", get(scrape))
        .route("/scrape/{*more}", get(scrape))
        .with_state(desk.clone())
        .merge(catalogue::api::router(desk))
}

async fn announce(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> impl IntoResponse {
    let body = match read_announce(query.unwrap_or_default().as_bytes()) {
        Ok(announce) => write_reply(&desk.announce(&announce, &caller), ListForm::asked_by(&announce)),
        Err(error) => failure(error),
    };
    plain(body)
}

async fn scrape(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    plain(match read_scrape(query.unwrap_or_default().as_bytes()) {
        Ok(hashes) => write_scrape(&desk.counts(&hashes)),
        Err(error) => failure(error),
    })
}

fn failure(error: impl std::error::Error) -> Vec<u8> {
    write_reply(&Reply::Failure(error.to_string()), ListForm::Compact)
}

fn plain(body: Vec<u8>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain")], body)
}
