//! The numbers of the conductor at an address of their own, for whoever asks.
//!
//! Faces the network: [`MAX_CONNECTIONS`] at once, a quarter of them from one source, and none for longer than
//! [`CONNECTION_TIMEOUT`]; where all are taken, the oldest of the largest crowd is closed for who comes next.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::header, routing::get};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{ACCEPT_PAUSE, HEADER_TIME, MAX_HEADER};
use crate::{
    conductor::{
        Desk,
        page::metrics::{KIND, text},
        room::Room,
    },
    net::listen::ListenError,
};

/// Connections at once, at most.
const MAX_CONNECTIONS: u32 = 64;
/// So many sources together may take all of them.
const SHARES: u32 = 4;
/// How long a connection is kept, whatever comes over it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the numbers at this address until `stop`; gives where that is.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(
    address: Option<SocketAddr>,
    desk: Arc<Desk>,
    stop: CancellationToken,
) -> Result<Option<SocketAddr>, ListenError> {
    let Some(address) = address else { return Ok(None) };
    let failed = |source| ListenError { address, over: "", source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let answer = async |State(desk): State<Arc<Desk>>| ([(header::CONTENT_TYPE, KIND)], text(desk).await);
    let router = Router::new().route("/metrics", get(answer)).with_state(desk);
    tokio::spawn(stop.run_until_cancelled_owned(serve(listener, router)));
    log::info!("metrics at http://{bound}/metrics");
    Ok(Some(bound))
}

async fn serve(listener: TcpListener, router: Router) {
    let room = Room::of(MAX_CONNECTIONS, SHARES);
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                let Some(place) = room.enter_or_wait(source.ip()).await else { continue };
                place.fall_silent();
                let conversation = converse(stream, router.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::time::timeout(CONNECTION_TIMEOUT, conversation) => {}
                        () = place.is_needed() => {}
                    }
                });
            }
            Err(error) => {
                log::warn!("cannot accept a connection for the metrics: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = conversation.await {
        log::debug!("metrics: {error}");
    }
}
