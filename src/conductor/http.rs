//! The HTTP front: `/announce` and `/scrape`, with or without something behind them in the path.
//!
//! It owns the sockets of the conductor and decides nothing. Whatever is wrong with an announce is said with status 200
//! and a `failure reason`, since clients show nothing else to people.
//!
//! Faces the network. A connection costs an attacker's target at most 8 KiB of header and 15 seconds, of which 5 for a
//! header; [`Room`] bounds how many there are at once, of one source and of all. A connection is closed after one answer
//! unless the client asks for keep-alive.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    Desk, catalogue,
    live::link,
    page,
    room::{Place, Room},
    table::Caller,
};
use crate::{
    announce::{
        Reply,
        http_answer::{ListForm, write_reply, write_scrape},
        http_request::{read_announce, read_scrape},
        live,
    },
    catalogue::answer::said,
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
/// The pause when the system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and answers on them until it is told to stop.
pub async fn serve(listeners: Listeners, desk: Arc<Desk>, room: Room, stop: CancellationToken) {
    let router = catalogue::api::router(desk.clone()).merge(page::router(desk.clone()));
    while let Some(accepted) = stop.run_until_cancelled(next(&listeners, &room)).await {
        match accepted {
            Ok(Some((stream, source, place))) => {
                let conversation = converse(stream, source, desk.clone(), router.clone(), stop.clone());
                tokio::spawn(async move {
                    let upgraded = conversation.await;
                    drop(place);
                    if let Some(link) = upgraded {
                        link.await;
                    }
                });
            }
            Ok(None) => {}
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection with its place in the room; None where its source has had its share.
async fn next(listeners: &Listeners, room: &Room) -> io::Result<Option<(TcpStream, SocketAddr, Place)>> {
    room.has_place().await;
    let (stream, source) = listeners.accept().await?;
    Ok(room.enter(source.ip()).map(|place| (stream, source, place)))
}

/// Answers what is asked over one connection. Where that becomes a live link, the link is given back to be run.
async fn converse(
    stream: TcpStream,
    source: SocketAddr,
    desk: Arc<Desk>,
    router: Router,
    stop: CancellationToken,
) -> Option<impl Future<Output = ()>> {
    let reached = stream.local_addr().ok()?;
    let caller = Caller::new(source.ip(), reached.ip());
    let link = Mutex::new(None);
    let front = Front { desk, caller, router: TowerToHyperService::new(router), link };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), front);
    // To drop the stream closes it: a call to shut it down before would be one more for each announce.
    let ended = tokio::select! {
        // Most have asked before they are looked at, and need no clock.
        biased;
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
        () = tokio::time::sleep(LAST_CALL) => None,
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::time::timeout(GRACE, poll_fn(|context| connection.poll_without_shutdown(context))).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("{source}: {error}"),
        Err(_) => log::debug!("{source}: took too long"),
    }
    let parts = connection.into_parts();
    let Front { desk, link, .. } = parts.service;
    let place = link.into_inner().ok().flatten()?;
    let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
    Some(async move {
        link::run(stream, read, desk, caller, stop).await;
        drop(place);
    })
}

/// Everything that is asked over one connection: it knows both ends, and closes unless asked not to.
struct Front {
    desk: Arc<Desk>,
    caller: Caller,
    router: TowerToHyperService<Router>,
    /// The place of the live link that this connection became.
    link: Mutex<Option<Place>>,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if request.uri().path() == live::PATH {
            return Box::pin(ready(Ok(self.upgrade(&request))));
        }
        let keep = asks_to_keep(request.headers());
        let answer = match self.tracked(&request) {
            // Most come for this, each over a connection of its own: they do not go through the router.
            Some(body) => Either::Left(ready(Ok(plain(body)))),
            None if !self.desk.admits(self.caller.source) => {
                Either::Left(ready(Ok(catalogue::api::too_much(&TooMuch))))
            }
            None => {
                request.extensions_mut().insert(self.caller);
                Either::Right(self.router.call(request))
            }
        };
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

impl Front {
    /// Makes the connection a live link, or says why not.
    fn upgrade(&self, request: &Request<Incoming>) -> Response<Body> {
        let refused = |status, why: String| {
            let mut answer = plain(why.into_bytes());
            *answer.status_mut() = status;
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        };
        // A page of another origin could open one too: browsers let it.
        if let Err(error) = self.desk.gate().may_write(said(request.headers())) {
            return refused(StatusCode::FORBIDDEN, error.to_string());
        }
        let accepted = match create_response_with_body(request, Body::empty) {
            Ok(accepted) => accepted,
            Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
        };
        if !self.desk.admits(self.caller.source) {
            return refused(StatusCode::TOO_MANY_REQUESTS, TooMuch.to_string());
        }
        match (self.desk.link_room().enter(self.caller.source), self.link.lock()) {
            (Some(place), Ok(mut link)) => {
                *link = Some(place);
                accepted
            }
            _ => refused(StatusCode::SERVICE_UNAVAILABLE, "too many live links: announce instead".into()),
        }
    }

    /// What a tracker answers; None to what is not for one.
    fn tracked(&self, request: &Request<Incoming>) -> Option<Vec<u8>> {
        if request.method() != Method::GET {
            return None;
        }
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let answer = match request.uri().path().split('/').nth(1)? {
            "announce" => Self::announce,
            "scrape" => Self::scrape,
            _ => return None,
        };
        Some(match self.desk.admits(self.caller.source) {
            true => answer(self, query),
            false => failure(TooMuch),
        })
    }

    fn announce(&self, query: &[u8]) -> Vec<u8> {
        match read_announce(query) {
            Ok(announce) => {
                let announce = self.desk.without_claims(announce);
                write_reply(&self.desk.announce(&announce, &self.caller), ListForm::asked_by(&announce))
            }
            Err(error) => failure(error),
        }
    }

    fn scrape(&self, query: &[u8]) -> Vec<u8> {
        match read_scrape(query) {
            Ok(hashes) => write_scrape(&self.desk.counts(&hashes)),
            Err(error) => failure(error),
        }
    }
}

fn asks_to_keep(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONNECTION)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("keep-alive")))
}

/// Said to a source that asks more than its share.
#[derive(Debug, thiserror::Error)]
#[error("too many questions from your address, ask less often")]
pub struct TooMuch;

fn failure(error: impl std::error::Error) -> Vec<u8> {
    write_reply(&Reply::Failure(error.to_string()), ListForm::Compact)
}

fn plain(body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}
