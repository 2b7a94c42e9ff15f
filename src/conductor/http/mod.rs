//! The HTTP front: `/announce` and `/scrape`, with or without something behind them in the path.
//!
//! It owns the sockets of the conductor and decides nothing. What asks for one answer gets it [at once](at_once), and the
//! rest a conversation. Whatever is wrong with an announce is said with status 200 and a `failure reason`, since clients
//! show nothing else to people.
//!
//! Faces the network. A connection costs an attacker's target at most 8 KiB of header and 20 seconds, of which 5 for the
//! first byte and 5 for a header; it may last longer while its one answer moves, at 3 KiB a second or more. [`Room`] bounds
//! how many there are at once, of one source and of all, and closes one that asks nothing where there is no place for the
//! next. A connection is closed after one answer unless the client asks for keep-alive.

mod answering;
mod at_once;
mod doors;
pub mod numbers;
mod tracked;

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    io,
    net::TcpListener,
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
    announce::live,
    catalogue::answer::said,
    net::progress::{Counted, Progress, limit_buffer},
};
use answering::until_sent;
use doors::Doors;
pub use tracked::TooMuch;

/// The longest header that is read, in bytes; hyper takes no less.
const MAX_HEADER: usize = 8 * 1024;
/// How long the first byte of a connection may take, and a header after it.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// When a connection is told to end after the answer under way.
const LAST_CALL: Duration = Duration::from_secs(10);
/// How much later it is closed, unless something moves: then it is given that time again.
const GRACE: Duration = Duration::from_secs(5);
/// When a member that is refused a live link may ask for one again.
const LATER: Duration = Duration::from_secs(2);
/// The pause when the system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections on sockets that listen, and answers on them until it is told to stop.
pub async fn serve(sockets: Vec<TcpListener>, desk: Arc<Desk>, room: Room, stop: CancellationToken) {
    let doors = match Doors::open(sockets) {
        Ok(doors) => doors,
        Err(error) => return log::error!("HTTP is not served: {error}"),
    };
    let router = catalogue::api::router(desk.clone()).merge(page::router(desk.clone()));
    while let Some(accepted) = stop.run_until_cancelled(doors.accept()).await {
        match accepted {
            Ok((stream, caller)) if at_once::answer(&stream, &caller, &desk) => {}
            Ok((stream, caller)) => {
                // Meanwhile others wait in the system's queue.
                let Some(place) = stop.run_until_cancelled(room.enter_or_wait(caller.source)).await else { return };
                // A source that has had its share is let go.
                let Some(place) = place.map(Arc::new) else {
                    desk.counted().turned_away();
                    continue;
                };
                let Ok(stream) = watched(stream) else { continue };
                place.fall_silent();
                let (desk, router, stop) = (desk.clone(), router.clone(), stop.clone());
                tokio::spawn(async move {
                    if !says_something(&stream, &stop, &place).await || at_once::answer(&stream, &caller, &desk) {
                        return;
                    }
                    // Most do not come here: the memory for the rest is taken for those who do.
                    let rest = async move {
                        let upgraded = tokio::select! {
                            biased;
                            upgraded = converse(stream, caller, desk, router, place.clone(), stop) => upgraded,
                            () = place.is_needed() => None,
                        };
                        drop(place);
                        if let Some(link) = upgraded {
                            link.await;
                        }
                    };
                    Box::pin(rest).await;
                });
            }
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn watched(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// Waits until something has come.
async fn says_something(stream: &TcpStream, stop: &CancellationToken, place: &Place) -> bool {
    tokio::select! {
        biased;
        readable = stream.readable() => readable.is_ok(),
        () = tokio::time::sleep(HEADER_TIME) => false,
        () = stop.cancelled() => false,
        () = place.is_needed() => false,
    }
}

/// Answers what is asked over one connection. Where that becomes a live link, the link is given back to be run.
async fn converse(
    stream: TcpStream,
    caller: Caller,
    desk: Arc<Desk>,
    router: Router,
    place: Arc<Place>,
    stop: CancellationToken,
) -> Option<impl Future<Output = ()>> {
    let source = caller.source;
    let link = Mutex::new(None);
    let front = Front { desk, caller, router: TowerToHyperService::new(router), place, link };
    let progress = Progress::default();
    limit_buffer(&stream);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(Counted::new(stream, progress.clone())), front);
    // To drop the stream closes it: a call to shut it down before would be one more for each announce.
    let ended = tokio::select! {
        // Most have asked before they are looked at, and need no clock.
        biased;
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
        () = tokio::time::sleep(LAST_CALL) => None,
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                // With a shutdown, which waits for what is not sent yet: without one the end of an answer is lost that has
                // been written and not taken.
                ended = &mut connection => Some(ended),
                () = progress.stands_still(GRACE) => None,
            }
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => log::debug!("{source}: {error}"),
        None => log::debug!("{source}: took too long"),
    }
    let parts = connection.into_parts();
    let Front { desk, link, .. } = parts.service;
    let place = link.into_inner().ok().flatten()?;
    let (stream, read) = (parts.io.into_inner().into_inner(), parts.read_buf.to_vec());
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
    /// The place of this connection.
    place: Arc<Place>,
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
        let busy = self.place.clone().answers();
        let keep = asks_to_keep(request.headers());
        let answer = match self.tracked(&request) {
            // Most come for this, each over a connection of its own: they do not go through the router.
            Some(body) => Either::Left(ready(Ok(plain(body)))),
            None if !self.desk.admits(self.caller.source) => {
                Either::Left(ready(Ok(catalogue::api_error::too_much(&TooMuch))))
            }
            None => {
                request.extensions_mut().insert(self.caller);
                Either::Right(self.router.call(request))
            }
        };
        Box::pin(async move {
            let mut answer = until_sent(answer.await?, busy);
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
            if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
                catalogue::api_error::mark_again(&mut answer, Some(LATER));
            }
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
        let query = request.uri().query().unwrap_or_default();
        let path = Some(request.uri().path()).filter(|_| request.method() == Method::GET)?;
        let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        tracked::answer(&self.desk, &self.caller, path, query, header)
    }
}

fn asks_to_keep(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONNECTION)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("keep-alive")))
}

fn plain(body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}
