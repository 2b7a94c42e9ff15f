//! What came of a run.

use std::{fmt, time::Duration};

use super::{
    scenario::{Scenario, seconds},
    world::{Fault, World},
};

/// The measures of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub name: &'static str,
    /// Leechers that count, and how many of them are whole.
    pub counted: usize,
    pub whole: usize,
    /// Virtual seconds: lower bound, median and last of those that count.
    pub bound: f64,
    pub median: f64,
    pub last: f64,
    /// What the first seed sent / the composition's size.
    pub seed_sent: f64,
    /// Payload bytes that were of no use / all that those that count received.
    pub unwanted: f64,
    pub wrong_parts: u64,
    pub messages: u64,
    /// The scripted faults that happened: turns at which a staller sent nothing, requests that a liar did not
    /// serve, wrong bytes sent, leavers that were not whole when they left.
    pub withheld: u64,
    pub lies: u64,
    pub wrong_bytes: u64,
    pub left: u64,
    /// Real time that the run took.
    pub took: Duration,
}

impl Report {
    pub fn of(scenario: &Scenario, world: &World, took: Duration) -> Self {
        let size = scenario.size() as f64;
        let staying = world.counted();
        let mut times: Vec<f64> = staying.iter().filter_map(|h| Some(seconds(h.whole_at?))).collect();
        times.sort_by(f64::total_cmp);
        let whole = times.len();
        times.resize(staying.len(), f64::INFINITY);
        let sum = |of: fn(&super::world::Host) -> u64| world.hosts.iter().map(of).sum::<u64>();
        let received: u64 = staying.iter().map(|h| h.received).sum();
        let unwanted: u64 = staying.iter().map(|h| h.actor.tally().unwanted).sum();
        Self {
            name: scenario.name,
            counted: staying.len(),
            whole,
            bound: scenario.bound(),
            median: times.get(times.len() / 2).copied().unwrap_or(0.0),
            last: times.last().copied().unwrap_or(0.0),
            seed_sent: world.hosts[0].sent as f64 / size,
            unwanted: unwanted as f64 / received.max(1) as f64,
            wrong_parts: sum(|h| h.actor.tally().wrong_parts),
            messages: world.messages,
            withheld: sum(|h| if h.fault == Fault::None { 0 } else { h.withheld }),
            lies: sum(|h| h.actor.tally().lies),
            wrong_bytes: sum(|h| h.sent_wrong),
            left: world.left,
            took,
        }
    }

    /// Time of the last over the lower bound.
    pub fn ratio(&self) -> f64 {
        self.last / self.bound
    }
}

/// The columns of [`Report`]'s row.
pub const HEADER: &str = "\
| scenario | whole | bound s | median / bound | last / bound | seed sent / size | unwanted | wrong parts | stalls, lies, wrong MiB, left | messages | real s |
|---|---|---|---|---|---|---|---|---|---|---|";

/// A row of a table in Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {}/{} | {:.2} | {:.3} | {:.3} | {:.3} | {:.2} % | {} | {}, {}, {:.1}, {} | {} | {:.1} |",
            self.name,
            self.whole,
            self.counted,
            self.bound,
            self.median / self.bound,
            self.ratio(),
            self.seed_sent,
            self.unwanted * 100.0,
            self.wrong_parts,
            self.withheld,
            self.lies,
            self.wrong_bytes as f64 / f64::from(1 << 20),
            self.left,
            self.messages,
            self.took.as_secs_f64(),
        )
    }
}
