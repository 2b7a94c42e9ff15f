//! `member locate`: who has a composition, and which parts of it.
//!
//! The conductor knows where members are and how much they have; which parts, they are asked themselves, each in a short
//! conversation. The slowest stand first: they are what somebody waits for. What it costs who asks a hostile conductor: connections to [`MOST_ASKED`] addresses of its choice,
//! [`AT_ONCE`] at the same time, and a bitfield of each in memory (128 KiB at most).

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::{lines, table};
use crate::{
    catalogue::{Composition, Holder, Roster, VERSION, percent},
    geometry::Geometry,
    member::report,
    metainfo::InfoHash,
    net::via::Via,
    peer::glance::{Seen, glance},
    ui::{Signs, part_map},
    wire::handshake::{Handshake, PeerId},
};

/// Members that are asked, at most; of the others it is shown what the conductor knows.
const MOST_ASKED: usize = 300;
/// Those that are asked at the same time.
const AT_ONCE: usize = 30;
/// How long one may take, and all together.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(15);
/// Runs of parts that nobody has which people are told.
const MOST_MISSING: usize = 20;

/// One who has a composition, or some of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// As the conductor knows it.
    pub holder: Holder,
    /// As it says itself; None: it could not be asked.
    pub seen: Option<Seen>,
}

impl Place {
    /// Its own word, or the conductor's: a first seed hides at first what it has.
    pub fn is_complete(&self) -> bool {
        self.holder.complete || self.seen.as_ref().is_some_and(|seen| seen.has.is_full())
    }

    /// Its name, as it says itself or as the conductor knows it. Not safe for a terminal.
    pub fn name(&self) -> Option<&str> {
        let own = self.seen.as_ref().and_then(|seen| seen.name.as_deref());
        own.or(self.holder.name.as_deref())
    }

    /// How much it has, rounded down; None where nobody knows.
    pub fn percent(&self, geometry: &Geometry) -> Option<u8> {
        if self.is_complete() {
            return Some(100);
        }
        let Some(seen) = &self.seen else { return self.holder.percent };
        let bytes: u64 = seen.has.ones(geometry).map(|part| u64::from(geometry.part_len(part))).sum();
        percent(geometry.size(), geometry.size() - bytes)
    }

    /// The parts that it has, as runs of their numbers from 1; None where they are not known.
    pub fn ranges(&self, geometry: &Geometry) -> Option<Vec<(u32, u32)>> {
        if self.is_complete() {
            return Some((geometry.parts() > 0).then_some((1, geometry.parts())).into_iter().collect());
        }
        let seen = self.seen.as_ref()?;
        Some(report::ranges(&seen.has.ones(geometry).collect::<Vec<_>>()))
    }
}

/// Who has a composition.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    pub composition: Composition,
    pub geometry: Geometry,
    pub places: Vec<Place>,
}

/// Asks those whom the conductor knows.
///
/// # Errors
/// The conductor says of the composition what no composition can be; the text is for people.
pub async fn ask(roster: Roster, via: &Via) -> Result<Located, String> {
    let Roster { composition, mut holders, .. } = roster;
    holders.sort_by_key(Holder::slowness);
    let geometry = Geometry::new(composition.size, u64::from(composition.part_size));
    let geometry = geometry.ok().filter(|geometry| geometry.parts() == composition.parts);
    let geometry = geometry.ok_or("what it says of the size and the parts does not fit together")?;
    let (ours, until) = (introduction(composition.info_hash), Instant::now() + PATIENCE_WITH_ALL);
    let looks = holders.into_iter().enumerate().map(|(n, holder)| {
        let via = via.clone();
        async move {
            let left = until.saturating_duration_since(Instant::now()).min(PATIENCE);
            if n >= MOST_ASKED || left.is_zero() {
                return Place { holder, seen: None };
            }
            let seen = glance(holder.address, &via, &ours, &geometry, left).await;
            Place { holder, seen: seen.inspect_err(|error| log::info!("{error}")).ok() }
        }
    });
    let places = stream::iter(looks).buffered(AT_ONCE).collect().await;
    Ok(Located { composition, geometry, places })
}

/// Not the id of any member: who asks takes no part.
fn introduction(info_hash: InfoHash) -> Handshake {
    let id = PeerId::fresh(&mut fastrand::Rng::new());
    Handshake { info_hash, id, extended: true, fast: true, dht: false }
}

/// One line of `member locate --json`.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    holder: Holder,
    name: Option<&'a str>,
    client: Option<&'a str>,
    /// Whether it could be asked.
    reached: bool,
    /// Runs of parts, first and last, counted from 1.
    ranges: Option<Vec<(u32, u32)>>,
}

impl Located {
    /// One object a line, one line a member.
    pub fn json(&self) -> String {
        lines(self.places.iter().map(|place| Line {
            v: VERSION,
            holder: Holder {
                complete: place.is_complete(),
                percent: place.percent(&self.geometry),
                name: None,
                ..place.holder.clone()
            },
            name: place.name(),
            client: place.seen.as_ref().and_then(|seen| seen.client.as_deref()),
            reached: place.seen.is_some(),
            ranges: place.ranges(&self.geometry),
        }))
    }

    /// The members as a table, and a map of the parts; `columns` of the terminal, None where there is none.
    pub fn text(&self, columns: Option<usize>, signs: Signs) -> String {
        if self.places.is_empty() {
            return String::new();
        }
        let mut text = table::places(&self.places, &self.geometry).render(columns, signs);
        let holders = self.holders();
        if !holders.is_empty() {
            text += &format!("\n{}\n", part_map::lines(&holders, columns.unwrap_or(80), signs).join("\n"));
            text += &self.missing(&holders);
        }
        text
    }

    /// How many members have each part, as far as they told.
    fn holders(&self) -> Vec<u16> {
        let complete = self.places.iter().filter(|place| place.is_complete()).count();
        let mut holders = vec![u16::try_from(complete).unwrap_or(u16::MAX); self.geometry.parts() as usize];
        for seen in self.places.iter().filter(|place| !place.is_complete()).filter_map(|place| place.seen.as_ref()) {
            for part in seen.has.ones(&self.geometry) {
                holders[part.as_usize()] = holders[part.as_usize()].saturating_add(1);
            }
        }
        holders
    }

    /// What is in no copy, and who could not be asked.
    fn missing(&self, holders: &[u16]) -> String {
        let nobody = self.geometry.all_parts().filter(|part| holders[part.as_usize()] == 0);
        let missing = report::ranges(&nobody.collect::<Vec<_>>());
        let mut text = match missing.is_empty() {
            true => String::new(),
            false => format!("parts nobody has: {}\n", part_map::runs(&missing, MOST_MISSING)),
        };
        let unasked = self.places.iter().filter(|place| place.seen.is_none() && !place.is_complete()).count();
        if unasked > 0 {
            text += &format!("{unasked} could not be asked, and may have any parts\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue, wire::bitfield::Bitfield};

    /// A member's port, what the conductor says of it, and what it shows.
    type Member<'a> = (u16, Option<u8>, Option<&'a [u32]>);

    /// A composition of ten parts, and who has it.
    fn located(members: &[Member<'_>]) -> Located {
        let geometry = Geometry::new(100, 10).unwrap();
        let place = |(port, percent, shows): &Member<'_>| {
            let seen = shows.map(|shows| {
                let mut has = Bitfield::none(&geometry);
                for part in shows.iter().filter_map(|n| geometry.part(n - 1)) {
                    has.insert(part);
                }
                Seen { client: Some("Orchestra 0.1.0".to_owned()), name: Some(format!("ws-{port}")), has }
            });
            let address = format!("10.0.0.5:{port}").parse().unwrap();
            Place { holder: Holder::new(address, *percent == Some(100), *percent), seen }
        };
        let (name, info_hash) = ("x".to_owned(), InfoHash([1; 20]));
        let composition =
            Composition { name, info_hash, size: 100, part_size: 10, parts: 10, ..catalogue::tests::composition() };
        Located { composition, geometry, places: members.iter().map(place).collect() }
    }

    #[test]
    fn the_members_and_the_map() {
        let located = located(&[(1, Some(50), Some(&[1, 2, 3, 7])), (2, None, Some(&[])), (3, Some(10), None)]);
        assert_eq!(
            located.text(Some(80), Signs { unicode: true }),
            "NAME  ADDRESS      HAS  CLIENT           PARTS\n\
             ws-1  10.0.0.5:1  40 %  Orchestra 0.1.0  1-3, 7\n\
             ws-2  10.0.0.5:2   0 %  Orchestra 0.1.0  none\n\
             -     10.0.0.5:3  10 %  -                ?\n\
             \n \
             1  ░░░···░···\n\
             members that have it:  · nobody  ░ 1  ▒ 2  ▓ 3-4  █ 5 or more\n\
             parts nobody has: 4-6, 8-10\n\
             1 could not be asked, and may have any parts\n"
        );
    }

    /// A first seed hides its parts: the conductor is believed.
    #[test]
    fn who_is_known_to_be_complete_has_all() {
        let located = located(&[(1, Some(100), Some(&[])), (2, Some(100), None), (3, Some(0), Some(&[2]))]);
        let text = located.text(None, Signs { unicode: false });
        assert!(text.contains("10.0.0.5:1  100 %  Orchestra 0.1.0  all\n"), "{text}");
        assert!(text.contains(" 1  2422222222\n") && !text.contains("nobody has") && !text.contains("asked"), "{text}");
    }

    #[test]
    fn a_script_hears_everything() {
        let text = located(&[(1, Some(50), Some(&[1, 2, 3, 7])), (2, Some(10), None)]).json();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = serde_json::json!({"v": 1, "address": "10.0.0.5:1", "complete": false, "percent": 40,
            "name": "ws-1", "client": "Orchestra 0.1.0", "reached": true, "ranges": [[1, 3], [7, 7]]});
        assert_eq!(lines[0], expected);
        assert_eq!((&lines[1]["reached"], &lines[1]["ranges"]), (&false.into(), &serde_json::Value::Null));
    }
}
