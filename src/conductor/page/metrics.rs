//! The conductor in numbers, as Prometheus reads them.

use core::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::conductor::{Desk, table::What};

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
    /// An announce was taken, or refused.
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
            What::Left => "stopped",
            What::Gone => "gone",
            What::Silent => "silent",
            What::Replaced => "replaced",
        };
        self.left.get_or_create(&Why { why }).inc();
    }
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
    registry.register("announces", "Announces that were answered", counted.announces.clone());
    registry.register("refused_announces", "Announces that were refused", counted.refused.clone());
    registry.register("joins", "Members that joined a swarm", counted.joined.clone());
    registry.register("completions", "Members that got the last part", counted.completed.clone());
    registry.register("leaves", "Members that left a swarm, and why", counted.left.clone());
    let mut text = String::new();
    // Text takes everything.
    let _ = encode(&mut text, &registry);
    text
}
