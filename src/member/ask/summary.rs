//! `member locate --summary`: who has had a composition whole, in what time, and who lacks it.
//!
//! Pure. What members and conductors say is made safe for a terminal here.

use core::{net::SocketAddr, time::Duration};
use std::collections::HashSet;

use serde::Serialize;

use super::lines;
use crate::{
    catalogue::{Composition, Holder, Past, Roster, VERSION},
    cli::units,
    manifest::shown,
};

/// Members that one sentence names, at most.
const MAX_NAMED: usize = 50;

/// Everybody that is known of, each once.
struct Groups<'a> {
    /// Got all of it, the slowest first.
    whole: Vec<&'a Past>,
    /// Members that are there and lack something, the slowest first.
    lacking: Vec<&'a Holder>,
    /// Members that left without all of it.
    gone: Vec<&'a Past>,
    /// Members that are there with all of it, and were not seen to get it.
    holding: Vec<&'a Holder>,
    /// Members that came with all of it, as they said, and left.
    came: Vec<&'a Past>,
}

impl<'a> Groups<'a> {
    fn of(roster: &'a Roster) -> Self {
        let (mut whole, others): (Vec<_>, Vec<_>) = roster.past.iter().partition(|past| past.whole.is_some());
        whole.sort_by(|a, b| b.seconds.unwrap_or(0.0).total_cmp(&a.seconds.unwrap_or(0.0)));
        let away = others.into_iter().filter(|past| !past.here);
        let (came, gone) = away.partition(|past| past.percent == Some(100));
        let counted: HashSet<SocketAddr> = whole.iter().map(|past| past.address).collect();
        let (complete, mut lacking): (Vec<_>, Vec<_>) = roster.holders.iter().partition(|holder| holder.complete);
        lacking.sort_by_key(|holder| holder.slowness());
        let holding = complete.into_iter().filter(|holder| !counted.contains(&holder.address)).collect();
        Self { whole, lacking, gone, holding, came }
    }
}

/// The sentences.
pub fn text(roster: &Roster) -> String {
    let Composition { name, info_hash, .. } = &roster.composition;
    let groups = Groups::of(roster);
    let had = roster.had_whole.max(groups.whole.len() as u64);
    let mut clauses = vec![match had {
        0 => "nobody was seen to get all of it".to_owned(),
        1 => format!("1 has had it whole: {}", named(groups.whole.iter().map(|past| finished(past)), had)),
        _ => format!("{had} have had it whole: {}", named(groups.whole.iter().map(|past| finished(past)), had)),
    }];
    let lacking = groups.lacking.len() + groups.gone.len();
    if lacking > 0 {
        let who = groups.lacking.iter().map(|holder| waiting(holder)).chain(groups.gone.iter().map(|past| gone(past)));
        let verb = if lacking == 1 { "lacks" } else { "lack" };
        clauses.push(format!("{lacking} {verb} it: {}", named(who, lacking as u64)));
    }
    if !groups.holding.is_empty() {
        let count = groups.holding.len();
        let who = groups.holding.iter().map(|holder| called(holder.name.as_deref(), holder.address));
        let verb = if count == 1 { "has" } else { "have" };
        clauses.push(format!("{count} more {verb} it: {}", named(who, count as u64)));
    }
    if !groups.came.is_empty() {
        let count = groups.came.len();
        let who = groups.came.iter().map(|past| called(past.name.as_deref(), past.address));
        clauses.push(format!("{count} came with it, and left: {}", named(who, count as u64)));
    }
    format!("{} ({info_hash}): {}\n", shown(name), clauses.join("; "))
}

fn named(who: impl Iterator<Item = String>, all: u64) -> String {
    let mut names: Vec<String> = who.take(MAX_NAMED).collect();
    let more = all.saturating_sub(names.len() as u64);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// A member by its name, or by its address.
fn called(name: Option<&str>, address: SocketAddr) -> String {
    name.map_or_else(|| address.to_string(), |name| shown(name).into_owned())
}

fn finished(past: &Past) -> String {
    let name = called(past.name.as_deref(), past.address);
    match past.seconds {
        Some(seconds) => format!("{name} ({})", took(seconds)),
        None => name,
    }
}

/// Seconds as people read them. The number may come from a stranger.
fn took(seconds: f64) -> String {
    units::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn waiting(holder: &Holder) -> String {
    let name = called(holder.name.as_deref(), holder.address);
    let facts = [
        holder.percent.map(|percent| format!("{percent} %")),
        holder.rate.map(|rate| if rate == 0 { "stands still".to_owned() } else { units::rate(rate as f64) }),
        holder.eta.map(|eta| format!("{} left", units::duration(Duration::from_secs(eta)))),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if facts.is_empty() { name } else { format!("{name} ({})", facts.join(", ")) }
}

fn gone(past: &Past) -> String {
    let name = called(past.name.as_deref(), past.address);
    match past.percent {
        Some(percent) => format!("{name} (left at {percent} %)"),
        None => format!("{name} (left)"),
    }
}

/// The one line of `member locate --summary --json`.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    composition: &'a Composition,
    had_whole: u64,
    /// Members that lack it, those that left included.
    lacking: usize,
    holders: Vec<&'a Holder>,
    past: &'a [Past],
}

/// The same for a script.
pub fn json(roster: &Roster) -> String {
    let groups = Groups::of(roster);
    let mut holders: Vec<&Holder> = roster.holders.iter().collect();
    holders.sort_by_key(|holder| holder.slowness());
    lines(core::iter::once(Line {
        v: VERSION,
        composition: &roster.composition,
        had_whole: roster.had_whole.max(groups.whole.len() as u64),
        lacking: groups.lacking.len() + groups.gone.len(),
        holders,
        past: &roster.past,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::composition;

    fn past(name: &str, port: u16, seconds: Option<f64>, percent: u8, here: bool) -> Past {
        let whole = seconds.map(|_| 1_786_000_000);
        let address = ([10, 0, 0, 1], port).into();
        Past { name: Some(name.to_owned()), address, whole, seconds, percent: Some(percent), here }
    }

    fn roster(holders: Vec<Holder>, past: Vec<Past>) -> Roster {
        let had_whole = past.iter().filter(|past| past.whole.is_some()).count() as u64;
        Roster { v: VERSION, composition: composition(), holders, had_whole, past, member: None }
    }

    #[test]
    fn everybody_is_in_one_group() {
        let holder = |port, percent: u8, name: &str| Holder {
            name: Some(name.to_owned()),
            ..Holder::new(([10, 0, 0, 1], port).into(), percent == 100, Some(percent))
        };
        let slow = Holder { rate: Some(2 << 20), eta: Some(180), ..holder(9, 40, "pc-9") };
        let holders = vec![holder(1, 100, "head"), holder(2, 100, "pc-2"), slow];
        let past = vec![
            past("pc-2", 2, Some(11.0), 100, true),
            past("pc-3", 3, Some(65.2), 100, false),
            past("pc-4", 4, None, 7, false),
            past("old-head", 5, None, 100, false),
        ];
        let roster = roster(holders, past);
        assert_eq!(
            text(&roster),
            format!(
                "vm.qcow2 ({}): 2 have had it whole: pc-3 (1 min 5 s), pc-2 (11 s); 2 lack it: pc-9 (40 %, 2 MiB/s, 3 min \
                 left), pc-4 (left at 7 %); 1 more has it: head; 1 came with it, and left: old-head\n",
                "ab".repeat(20)
            )
        );
        let line: serde_json::Value = serde_json::from_str(&json(&roster)).unwrap();
        assert_eq!((&line["had_whole"], &line["lacking"], &line["name"]), (&2.into(), &2.into(), &"vm.qcow2".into()));
        assert_eq!(line["holders"][0]["name"], "pc-9");
    }

    #[test]
    fn nothing_drives_the_terminal_and_the_list_has_an_end() {
        let many = (0..200).map(|n| past("\u{1b}[2J", n, Some(f64::MAX), 100, false)).collect();
        let text = text(&roster(Vec::new(), many));
        assert!(!text.contains('\u{1b}') && text.contains("200 have had it whole") && text.ends_with("and 150 more\n"));
    }
}
