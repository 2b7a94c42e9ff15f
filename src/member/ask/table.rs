//! Tables for people: what they show of compositions and members, and how it fits a terminal.
//!
//! Pure. Columns are as wide as what is in them. Where that is too wide, the columns that can be spared go first, then
//! the first column, a name, is cut short.

use core::time::Duration;
use std::borrow::Cow;

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::locate::Place;
use crate::{
    catalogue::Composition,
    cli::units,
    geometry::Geometry,
    manifest::shown,
    member::search::findings::{Found, Neighbour},
    ui::{Signs, part_map},
};

/// Between two columns.
const GAP: &str = "  ";
/// No name is cut shorter than this, and no list.
const SHORTEST_NAME: usize = 12;
const SHORTEST_LIST: usize = 16;
/// Runs of parts that people are told.
const MOST_RUNS: usize = 40;

/// Rows of text, safe to show, under a heading.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// One column.
struct Column {
    heading: &'static str,
    alignment: Alignment,
    /// Of those that can be spared the largest goes first; 0 stays.
    spare: u8,
    /// A list: what the others leave it is enough, and it is cut between two of its items.
    list: bool,
}

fn left(heading: &'static str) -> Column {
    Column { heading, alignment: Alignment::Left, spare: 0, list: false }
}

fn right(heading: &'static str, spare: u8) -> Column {
    Column { heading, alignment: Alignment::Right, spare, list: false }
}

/// Entries of a catalogue; `now` in seconds since 1970. `origins`: who spoke of each, shown where that is not `expected`, or
/// differs.
pub fn compositions(entries: &[Composition], origins: &[&str], expected: Option<&str>, now: u64) -> Table {
    let mut columns = vec![
        left("NAME"),
        right("SIZE", 0),
        right("PARTS", 4),
        right("MEMBERS", 0),
        right("COMPLETE", 1),
        right("AGE", 3),
    ];
    let owned = entries.iter().any(|entry| entry.owner.is_some());
    if owned {
        columns.push(Column { spare: 2, ..left("OWNER") });
    }
    let differ = origins.iter().any(|origin| *origin != expected.unwrap_or(origins[0]));
    if differ {
        // It says more than the others where it is not what was asked for.
        columns.push(Column { spare: if expected.is_some() { 1 } else { 5 }, ..left("FROM") });
    }
    let row = |(n, entry): (usize, &Composition)| {
        let mut row = vec![
            shown(&entry.name).into_owned(),
            units::size(entry.size),
            entry.parts.to_string(),
            entry.members.to_string(),
            entry.complete.to_string(),
            age(entry.registered, now),
        ];
        row.extend(owned.then(|| owner(entry)));
        row.extend(differ.then(|| origins.get(n).copied().unwrap_or_default().to_owned()));
        row
    };
    Table { columns, rows: entries.iter().enumerate().map(row).collect() }
}

/// Entries of one name, told apart by what differs, and by their info-hashes. `numbered`: each row starts with its
/// number.
pub fn candidates(entries: &[Composition], now: u64, numbered: bool) -> Table {
    let columns = vec![
        left(if numbered { "" } else { "HASH" }),
        right("SIZE", 0),
        right("MEMBERS", 0),
        right("COMPLETE", 3),
        right("AGE", 2),
        Column { spare: 1, ..left("OWNER") },
    ];
    let row = |(number, entry): (usize, &Composition)| {
        vec![
            if numbered { number.to_string() } else { entry.info_hash.to_string() },
            units::size(entry.size),
            entry.members.to_string(),
            entry.complete.to_string(),
            age(entry.registered, now),
            owner(entry),
        ]
    };
    Table { columns, rows: (1..).zip(entries).map(row).collect() }
}

/// Members of a swarm, and what was seen of them.
pub fn places(places: &[Place], geometry: &Geometry) -> Table {
    let has_rates = places.iter().any(|place| !place.is_complete() && place.holder.rate.is_some());
    let row = |place: &Place| {
        let seen = place.seen.as_ref();
        let told = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |text| shown(text).into_owned());
        let has = place.percent(geometry).map_or_else(|| "?".to_owned(), |percent| format!("{percent} %"));
        let parts = match (place.is_complete(), place.ranges(geometry)) {
            (true, _) => "all".to_owned(),
            (false, None) => "?".to_owned(),
            (false, Some(ranges)) if ranges.is_empty() => "none".to_owned(),
            (false, Some(ranges)) => part_map::runs(&ranges, MOST_RUNS),
        };
        let client = seen.and_then(|seen| seen.client.as_deref());
        let mut row = vec![told(place.name()), place.holder.address.to_string(), has];
        if has_rates {
            let fetches = !place.is_complete();
            let rate = place.holder.rate.filter(|_| fetches).map(|rate| units::rate(rate as f64));
            let wait = place.holder.eta.filter(|_| fetches).map(|eta| units::duration(Duration::from_secs(eta)));
            row.extend([rate, wait].map(|text| text.unwrap_or_else(|| "-".to_owned())));
        }
        row.extend([told(client), parts]);
        row
    };
    let mut columns = vec![left("NAME"), left("ADDRESS"), right("HAS", 0)];
    if has_rates {
        columns.extend([right("RATE", 1), right("LEFT", 2)]);
    }
    columns.extend([Column { spare: 3, ..left("CLIENT") }, Column { list: true, ..left("PARTS") }]);
    Table { columns, rows: places.iter().map(row).collect() }
}

/// What neighbours answered to a search.
pub fn finds(found: &[Found]) -> Table {
    let columns = vec![
        left("NAME"),
        right("SIZE", 0),
        right("HOLDERS", 2),
        right("HOPS", 4),
        Column { spare: 1, ..left("HASH") },
        Column { spare: 3, ..left("ADDRESS") },
    ];
    let row = |found: &Found| {
        vec![
            shown(&found.name).into_owned(),
            units::size(found.size),
            found.holders.len().to_string(),
            found.nearest().hops.to_string(),
            found.info_hash.to_string(),
            found.nearest().address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        ]
    };
    Table { columns, rows: found.iter().map(row).collect() }
}

/// Neighbours, and theirs.
pub fn neighbours(found: &[Neighbour]) -> Table {
    let columns = vec![
        left("ADDRESS"),
        left("NAME"),
        Column { spare: 2, ..left("VERSION") },
        right("COMPOSITIONS", 0),
        right("LINKS", 1),
        right("HOPS", 0),
    ];
    let row = |found: &Neighbour| {
        vec![
            found.address.to_string(),
            shown(&found.who.name).into_owned(),
            shown(&found.who.client).into_owned(),
            found.who.compositions.to_string(),
            found.who.links.to_string(),
            found.hops.to_string(),
        ]
    };
    Table { columns, rows: found.iter().map(row).collect() }
}

fn owner(entry: &Composition) -> String {
    entry.owner.as_deref().map(shown).unwrap_or_default().into_owned()
}

/// How long ago that was, from seconds since 1970.
fn age(registered: u64, now: u64) -> String {
    match now.saturating_sub(registered) {
        0 => "now".to_owned(),
        seconds => units::duration(Duration::from_secs(seconds)),
    }
}

impl Table {
    /// The lines, for a terminal of so many columns that can show these signs; None: as wide as it comes.
    pub fn render(&self, columns: Option<usize>, signs: Signs) -> String {
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|place| self.width(place)).collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let total = |shown: &[usize], widths: &[usize]| {
            shown.iter().map(|&place| widths[place] + GAP.len()).sum::<usize>().saturating_sub(GAP.len())
        };
        if let Some(room) = columns {
            if let Some(list) = self.columns.iter().position(|column| column.list) {
                let others = total(&shown, &widths) - widths[list];
                widths[list] = widths[list].min(room.saturating_sub(others).max(SHORTEST_LIST));
            }
            while total(&shown, &widths) > room && total(&shown, &widths) - room + SHORTEST_NAME > widths[0] {
                let Some(&spared) = shown.iter().max_by_key(|&&place| self.columns[place].spare) else { break };
                if self.columns[spared].spare == 0 {
                    break;
                }
                shown.retain(|&place| place != spared);
            }
            let over = total(&shown, &widths).saturating_sub(room);
            widths[0] = widths[0].saturating_sub(over).max(SHORTEST_NAME.min(widths[0]));
        }
        let headings: Vec<String> = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        let rows = std::iter::once(&headings).chain(&self.rows);
        rows.map(|row| self.line(row, &shown, &widths, signs) + "\n").collect()
    }

    fn width(&self, place: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(place)).map(|cell| measure_text_width(cell));
        cells.chain([self.columns[place].heading.len()]).max().unwrap_or_default()
    }

    fn line(&self, row: &[String], shown: &[usize], widths: &[usize], signs: Signs) -> String {
        let mark = signs.ellipsis().to_string();
        let cell = |&place: &usize| {
            let text = match self.columns[place].list {
                true => cut_list(&row[place], widths[place], &mark),
                false => truncate_str(&row[place], widths[place], &mark),
            };
            pad_str(&text, widths[place], self.columns[place].alignment, None).into_owned()
        };
        let cells: Vec<String> = shown.iter().map(cell).collect();
        cells.join(GAP).trim_end().to_owned()
    }
}

/// As many of these items as fit into so many columns; `mark` shows the cut, one column wide.
fn cut_list<'a>(text: &'a str, width: usize, mark: &str) -> Cow<'a, str> {
    if measure_text_width(text) <= width {
        return Cow::Borrowed(text);
    }
    let ends = text.match_indices(", ").map(|(at, _)| at + 1);
    match ends.take_while(|end| measure_text_width(&text[..*end]) + 2 <= width).last() {
        Some(end) => Cow::Owned(format!("{} {mark}", &text[..end])),
        None => truncate_str(text, width, mark),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metainfo::InfoHash;

    const SIGNS: Signs = Signs { unicode: true };

    fn entry(name: &str, owner: Option<&str>) -> Composition {
        Composition {
            name: name.to_owned(),
            info_hash: InfoHash([0xab; 20]),
            size: 300 << 20,
            part_size: 131_072,
            parts: 2400,
            owner: owner.map(str::to_owned),
            registered: 100,
            members: 3,
            complete: 1,
        }
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let table = compositions(&[entry("vm.qcow2", None), entry("日本.iso", None)], &[], None, 100 + 273_600);
        assert_eq!(
            table.render(None, SIGNS),
            "NAME         SIZE  PARTS  MEMBERS  COMPLETE      AGE\n\
             vm.qcow2  300 MiB   2400        3         1  3 d 4 h\n\
             日本.iso  300 MiB   2400        3         1  3 d 4 h\n"
        );
        assert_eq!(table.render(Some(80), SIGNS), table.render(None, SIGNS));
    }

    #[test]
    fn a_narrow_one_spares_columns_and_cuts_names() {
        let table =
            compositions(&[entry("a-very-long-name-of-an-image.qcow2", Some("alice"))], &["network"], None, 101);
        assert_eq!(
            table.render(Some(60), SIGNS),
            "NAME              SIZE  PARTS  MEMBERS  COMPLETE  AGE  OWNER\n\
             a-very-long-…  300 MiB   2400        3         1  1 s  alice\n"
        );
        assert_eq!(
            table.render(Some(30), SIGNS),
            "NAME             SIZE  MEMBERS\n\
             a-very-long…  300 MiB        3\n"
        );
    }

    #[test]
    fn what_is_cut_is_ascii_where_the_locale_is() {
        let ascii = Signs { unicode: false };
        let table = compositions(&[entry("a-very-long-name-of-an-image.qcow2", None)], &[], None, 101);
        assert_eq!(
            table.render(Some(30), ascii),
            "NAME             SIZE  MEMBERS\n\
             a-very-long~  300 MiB        3\n"
        );
        let (places, shown) = (Column { list: true, ..left("PARTS") }, vec!["1-40, 57, 60-2400, 2402".to_owned()]);
        let table =
            Table { columns: vec![left("NAME"), places], rows: vec![[vec!["pc-2".to_owned()], shown].concat()] };
        assert_eq!(table.render(Some(26), ascii), "NAME  PARTS\npc-2  1-40, 57, 60-2400, ~\n");
    }

    #[test]
    fn where_it_is_from_is_shown_where_that_differs() {
        let text =
            compositions(&[entry("a", None), entry("b", None)], &["network", "both"], None, 101).render(None, SIGNS);
        assert!(text.contains("  FROM\n") && text.contains("1 s  network\n") && text.contains("1 s  both\n"), "{text}");
        let text =
            compositions(&[entry("a", None), entry("b", None)], &["network", "network"], None, 101).render(None, SIGNS);
        assert!(!text.contains("FROM"), "{text}");
        // A conductor that was named has not got it: who asks that one for it is told that there is no such thing.
        let text = |origin| compositions(&[entry("a", None)], &[origin], Some("conductor"), 101).render(None, SIGNS);
        assert!(text("network").contains("  FROM\n") && !text("conductor").contains("FROM"));
    }

    #[test]
    fn nothing_drives_the_terminal() {
        let text = compositions(&[entry("\u{1b}[2Jx", Some("\u{202e}y"))], &[], None, 100).render(None, SIGNS);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        let text = candidates(&[entry("x", None)], 100, true).render(None, SIGNS);
        assert!(text.contains("\n1 "), "{text}");
    }

    #[test]
    fn a_list_is_cut_between_its_items() {
        let text = "1-40, 57, 60-2400, 2402";
        for (width, cut) in
            [(23, text), (22, "1-40, 57, 60-2400, …"), (20, "1-40, 57, 60-2400, …"), (19, "1-40, 57, …")]
        {
            assert_eq!(cut_list(text, width, "…"), cut, "{width}");
        }
        assert_eq!(cut_list("1000000-2000000", 9, "…"), "1000000-…");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(name in "\\PC{1,80}", owner in proptest::option::of("[a-z]{1,32}"), columns in 34usize..200) {
            let text = compositions(&[entry(&name, owner.as_deref())], &[], None, 1 << 33).render(Some(columns), SIGNS);
            for line in text.lines() {
                prop_assert!(measure_text_width(line) <= columns, "{:?}", line);
            }
        }
    }
}
