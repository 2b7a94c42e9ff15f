//! The conductor in numbers, as Prometheus reads them.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use axum::{Router, extract::State, http::header, routing::get};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    conductor::{Desk, table::What},
    net::listen::ListenError,
};

/// What the text is, for its header.
pub const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

/// What is counted from the start on.
#[derive(Default)]
pub struct Counted {
    announces: Counter<u64, AtomicU64>,
    refused: Counter<u64, AtomicU64>,
    joined: Counter<u64, AtomicU64>,
    completed: Counter<u64, AtomicU64>,
    left: Family<Why, Counter<u64, AtomicU64>>,
}

impl Counted {
    /// An announce over HTTP or UDP was taken, or refused; what comes over live links is none.
    pub fn announce(&self, taken: bool) {
        let counter = if taken { &self.announces } else { &self.refused };
        counter.inc();
    }

    /// Takes in a change of the table.
    pub fn hear(&self, what: What) {
        let why = match what {
            What::Joined => {
                self.joined.inc();
                return;
            }
            What::Completed => {
                self.completed.inc();
                return;
            }
            What::Moved => return,
            What::Left => "stopped",
            What::Gone => "gone",
            What::Silent => "silent",
            What::Replaced => "replaced",
        };
        self.left.get_or_create(&Why { why }).inc();
    }
}

/// Serves the numbers at this address to whoever asks, until `stop`; gives where that is.
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
    let answer = async |State(desk): State<Arc<Desk>>| ([(header::CONTENT_TYPE, KIND)], text(&desk));
    let router = Router::new().route("/metrics", get(answer)).with_state(desk);
    tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).into_future());
    log::info!("metrics at http://{bound}/metrics");
    Ok(Some(bound))
}

/// All numbers, as they are now.
pub fn text(desk: &Desk) -> String {
    let mut registry = Registry::with_prefix("orchestra");
    let gauges = [
        ("members", "Members in all swarms", desk.table().members()),
        ("swarms", "Swarms with at least one member", desk.table().swarms()),
        ("live_links", "Members with a live link", desk.hub().links()),
        ("compositions", "Compositions in the catalogue", desk.catalogue().list().len()),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    let counted = desk.counted();
    registry.register("announces", "Announces over HTTP and UDP that were answered", counted.announces.clone());
    registry.register("refused_announces", "Announces over HTTP and UDP that were refused", counted.refused.clone());
    registry.register("joins", "Members that joined a swarm", counted.joined.clone());
    registry.register("completions", "Members that got the last part", counted.completed.clone());
    registry.register("leaves", "Members that left a swarm, and why", counted.left.clone());
    let mut text = String::new();
    // Text takes everything.
    let _ = encode(&mut text, &registry);
    text
}
