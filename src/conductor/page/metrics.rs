//! The conductor in numbers, as Prometheus reads them.

use std::{
    cmp::Reverse,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::conductor::{
    Desk,
    page::view::{self, Orchestra},
    table::What,
};

/// What the text is, for its header: Prometheus' own text format, which all its tools read.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Compositions that are told of, at most.
const MAX_COMPOSITIONS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Over {
    over: &'static str,
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Tcp,
    Udp,
}

/// The log says at most this often that somebody asks too much.
const LIMITED_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Refusals that the log does not know of yet.
#[derive(Default)]
struct Unlogged {
    refusals: u64,
    logged: Option<Instant>,
}

/// What is counted from the start on.
#[derive(Default)]
pub struct Counted {
    rate_limited: Family<Over, Counter<u64, AtomicU64>>,
    unlogged: Mutex<Unlogged>,
    /// Connections that were closed at once, their source having its share of places.
    turned_away: Counter<u64, AtomicU64>,
    /// Whether Redis carries members and catalogue, and does so now.
    has_redis: AtomicBool,
    redis_is_there: AtomicBool,
    redis_lost: Counter<u64, AtomicU64>,
    announces: Counter<u64, AtomicU64>,
    refused: Counter<u64, AtomicU64>,
    joined: Counter<u64, AtomicU64>,
    left: Family<Why, Counter<u64, AtomicU64>>,
}

impl Counted {
    /// An announce over HTTP or UDP was taken, or refused; what comes over live links is none.
    pub fn announce(&self, taken: bool) {
        let counter = if taken { &self.announces } else { &self.refused };
        counter.inc();
    }

    /// A question was refused since this source asks too much.
    pub fn limited(&self, way: Way, source: IpAddr) {
        let over = if way == Way::Tcp { "tcp" } else { "udp" };
        self.rate_limited.get_or_create(&Over { over }).inc();
        let mut unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        unlogged.refusals += 1;
        if unlogged.logged.is_none_or(|logged| logged.elapsed() >= LIMITED_LOG_INTERVAL) {
            let refusals = std::mem::take(&mut unlogged.refusals);
            unlogged.logged = Some(Instant::now());
            log::warn!(
                "{refusals} questions were refused since this was said last, now from {source}: it asks too often"
            );
        }
    }

    /// A connection was closed at once.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Redis is there from now on, or gone.
    pub fn redis(&self, is_there: bool) {
        self.has_redis.store(true, Ordering::Relaxed);
        if self.redis_is_there.swap(is_there, Ordering::Relaxed) && !is_there {
            self.redis_lost.inc();
        }
    }

    /// Takes in a change of the table.
    pub fn hear(&self, what: What) {
        let why = match what {
            What::Joined => {
                self.joined.inc();
                return;
            }
            // The history counts completions, each once.
            What::Completed | What::Moved => return,
            What::Left => "stopped",
            What::Gone => "gone",
            What::Silent => "silent",
            What::Crowded => "crowded",
            What::Replaced => "replaced",
        };
        self.left.get_or_create(&Why { why }).inc();
    }
}

/// A composition of the catalogue. Hosts are no labels: each would be a series for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Which {
    composition: String,
    info_hash: String,
}

/// Who shares and who got each composition of the catalogue, of [`MAX_COMPOSITIONS`] at most: those with most members.
fn of_compositions(desk: &Desk, registry: &mut Registry) {
    let index = desk.pages().index(false, || view::index(desk, false));
    let busiest = |row: &&Orchestra| Reverse(u64::from(row.members()).max(row.had_whole));
    let mut rows: Vec<&Orchestra> = index.orchestras.iter().collect();
    rows.sort_by_key(busiest);
    rows.truncate(MAX_COMPOSITIONS);
    let [members, complete, had] = [(); 3].map(|()| Family::<Which, Gauge>::default());
    for row in rows {
        let Some(entry) = row.entry.as_ref().filter(|_| row.members() > 0 || row.had_whole > 0) else { continue };
        let which = Which { composition: entry.name.as_str().to_owned(), info_hash: row.hash.to_string() };
        members.get_or_create(&which).set(row.members().into());
        complete.get_or_create(&which).set(row.counts.complete.into());
        had.get_or_create(&which).set(i64::try_from(row.had_whole).unwrap_or(i64::MAX));
    }
    registry.register("composition_members", "Members of a composition of the catalogue", members);
    registry.register("composition_complete", "Those of them that have all of it", complete);
    registry.register("composition_had_whole", "Members that got all of it within the last day", had);
}

/// All numbers, as they are now, gathered on a thread that answers nobody.
pub async fn text(desk: Arc<Desk>) -> String {
    match tokio::task::spawn_blocking(move || written(&desk)).await {
        Ok(text) => text,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn written(desk: &Desk) -> String {
    let mut registry = Registry::with_prefix("orchestra");
    let catalogue = desk.catalogue();
    let (connection_places, connections) = desk.room().places();
    let (live_link_places, _) = desk.link_room().places();
    let gauges = [
        ("connections", "Connections that are open, live links aside", connections),
        ("connection_places", "Connections that may be open", connection_places),
        ("live_link_places", "Live links that may be open", live_link_places),
        ("members", "Members in all swarms", desk.table().members()),
        ("swarms", "Swarms with at least one member", desk.table().swarms()),
        ("live_links", "Members with a live link", desk.hub().links()),
        ("compositions", "Compositions in the catalogue", catalogue.count()),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    let troubles = catalogue.troubles();
    let counters = [
        ("store_errors", "Questions to the catalogue's store that failed", &troubles.failed),
        ("store_races", "Changes of the catalogue made anew since another conductor came before", &troubles.raced),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value.load(Ordering::Relaxed)));
    }
    let counted = desk.counted();
    registry.register("announces", "Announces over HTTP and UDP that were answered", counted.announces.clone());
    registry.register("refused_announces", "Announces over HTTP and UDP that were refused", counted.refused.clone());
    registry.register("joins", "Members that joined a swarm", counted.joined.clone());
    let completions = ConstCounter::new(desk.history().read(|book| book.completions()));
    registry.register("completions", "Members that got the last part", completions);
    registry.register(
        "rate_limited",
        "Questions refused since their source asks too often",
        counted.rate_limited.clone(),
    );
    let help = "Connections closed at once since their source has its share, or no place is free";
    registry.register("refused_connections", help, counted.turned_away.clone());
    if counted.has_redis.load(Ordering::Relaxed) {
        let is_there = i64::from(counted.redis_is_there.load(Ordering::Relaxed));
        registry.register("redis_connected", "Whether Redis is there", ConstGauge::new(is_there));
        registry.register("redis_losses", "How often Redis went away", counted.redis_lost.clone());
    }
    registry.register("leaves", "Members that left a swarm, and why", counted.left.clone());
    of_compositions(desk, &mut registry);
    let mut text = String::new();
    // Text takes everything.
    let _ = encode(&mut text, &registry);
    as_text_format(&text)
}

/// OpenMetrics as the text format: there a counter is described under the name that its samples have, and nothing marks
/// the end.
fn as_text_format(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().filter(|line| *line != "# EOF").collect();
    let counters: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in lines {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) if counters.contains(&name) => {
                text += &format!("# {what} {name}_total {rest}\n");
            }
            _ => text += &format!("{line}\n"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open = "# HELP x Exes.\n# TYPE x counter\nx_total 1\n# HELP y Whys.\n# TYPE y gauge\ny 2\n# EOF\n";
        let text = "# HELP x_total Exes.\n# TYPE x_total counter\nx_total 1\n# HELP y Whys.\n# TYPE y gauge\ny 2\n";
        assert_eq!(as_text_format(open), text);
    }
}
