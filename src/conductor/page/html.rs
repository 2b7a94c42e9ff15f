//! The page as HTML, by a template that escapes whatever is put into it.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    cache::Page,
    changes::{Piece, Rows, Shown},
    join::{copy, join},
    query::{Column, Query, ROWS},
    view::{Composition, Index, Member, Orchestra},
};
use crate::{
    catalogue::Past,
    cli::units,
    manifest::{Endpoint, shown},
    ui::report::counted,
};

/// A whole document. `version`: what the script compares; none on a page that does not change.
fn document(title: &str, version: &str, body: &Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" data-version=(version) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="/page.css";
                link rel="icon" href="data:,";
                script src="/page.js" defer {}
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header { a href="/" { "Orchestra" } p id="state" role="status" {} }
                main id="main" { (body) }
                footer { p { "conductor " (env!("CARGO_PKG_VERSION")) } }
            }
        }
    };
    document.into_string()
}

/// A page whose pieces stand in `body`.
fn page(title: &str, shown: Shown, body: impl FnOnce(&Shown) -> Markup) -> Page {
    let trace = shown.trace();
    let html = document(title, &trace.version, &body(&shown));
    Page { html, shown, trace }
}

/// Where a piece stands.
fn piece(shown: &Shown, id: &str) -> Markup {
    let text = shown.pieces.iter().find(|piece| piece.id == id).map_or("", |piece| &piece.html);
    html! { div id=(id) data-piece { (PreEscaped(text)) } }
}

/// Where the rows of a list stand.
fn rows(shown: &Shown, id: &str) -> Markup {
    let rows = shown.lists.iter().find(|list| list.id == id).map_or(&[][..], |list| &list.rows);
    html! { tbody id=(id) data-list { @for (_, row) in rows { (PreEscaped(row)) } } }
}

fn new_piece(id: &'static str, html: Markup) -> Piece {
    Piece { id, html: html.into_string() }
}

/// What is wrong, for people.
pub fn error(text: &str) -> String {
    let body = html! { h1 { "Not here" } p { (text) "." } p { a href="/" { "All compositions" } } };
    document("Orchestra", "", &body)
}

pub fn index(view: &Index, query: &Query) -> Page {
    let title = if view.is_choice { "Which of these?" } else { "Compositions" };
    let (page_rows, count) = query.of(&view.orchestras);
    let rows_of =
        page_rows.iter().map(|orchestra| (orchestra.hash.to_string(), row(orchestra).into_string())).collect();
    let shown = Shown {
        pieces: vec![new_piece("sum", sum(view)), new_piece("pages", pages(query, count))],
        lists: vec![Rows { id: "all", rows: rows_of }],
    };
    page("Orchestra", shown, |shown| {
        html! {
            h1 { (title) }
            (piece(shown, "sum"))
            @if view.orchestras.is_empty() {
                p {
                    "Nothing is shared here yet. Put a file in with " code { "composer FILE CONDUCTOR --register" }
                    ", then share it with " code { "member FILE.orch" } "."
                }
            }
            @if !view.is_choice {
                form class="filter" role="search" {
                    label for="q" { "Filter by name" }
                    input id="q" name="q" type="search" value=(query.filter) maxlength="64" autocomplete="off";
                    @if query.column != Column::Name || query.reversed { input type="hidden" name="sort" value=(query.order()); }
                    button { "Filter" }
                }
            }
            table class="stacked sorted" {
                thead { tr { @for column in Column::ALL { (heading(query, column, view.is_choice)) } } }
                (rows(shown, "all"))
            }
            (piece(shown, "pages"))
        }
    })
}

fn sum(view: &Index) -> Markup {
    html! {
        p {
            (counted(view.machines as u64, "machine")) " here now, in " (memberships(view.memberships)) "."
            @if view.others > 0 { " " (number(view.others as u64)) " of these are other programs, or older ones." }
            @if view.unlisted > 0 { " " (counted(view.unlisted as u64, "swarm")) " not listed." }
        }
    }
}

fn memberships(count: usize) -> String {
    counted(count as u64, "membership")
}

/// One page of several, and the ways to the others.
fn pages(query: &Query, count: usize) -> Markup {
    let last = count.div_ceil(ROWS).max(1);
    let here = query.page.min(last);
    let to = |page: usize| Query { page, ..query.clone() }.link();
    html! {
        @if !query.filter.is_empty() && count == 0 { p { "No name here has " q { (query.filter) } " in it." } }
        @if last > 1 {
            nav aria-label="Pages" {
                @if here > 1 { a rel="prev" href=(to(here - 1)) { "Previous" } }
                span { (number(((here - 1) * ROWS + 1) as u64)) " to " (number((here * ROWS).min(count) as u64)) " of " (number(count as u64)) }
                @if here < last { a rel="next" href=(to(here + 1)) { "Next" } }
            }
        }
    }
}

fn heading(query: &Query, column: Column, is_choice: bool) -> Markup {
    let title = match column {
        Column::Name => "Name",
        Column::Size => "Size",
        Column::Members => "Members",
        Column::Complete => "With all of it",
        Column::Had => "Got it today",
        Column::Rate => "Receiving",
    };
    let is_it = query.column == column;
    let falls = column.is_number() != query.reversed;
    let order = is_it.then_some(if falls { "descending" } else { "ascending" });
    html! {
        th scope="col" class=[column.is_number().then_some("n")] aria-sort=[order] {
            @if is_choice { (title) } @else {
                a href=(query.sorted_by(column).link()) { (title) }
                @if is_it { span aria-hidden="true" { (if falls { "\u{a0}↓" } else { "\u{a0}↑" }) } }
            }
        }
    }
}

fn row(orchestra: &Orchestra) -> Markup {
    html! {
        tr data-key=(orchestra.hash) {
            th scope="row" {
                a href={ "/c/" (orchestra.hash) } { (name(orchestra)) }
                @if let Some(owner) = orchestra.entry.as_ref().and_then(|entry| entry.owner.as_ref()) {
                    " " small { "by " (owner) }
                }
            }
            td class="n" data-label="Size" {
                @match &orchestra.entry { Some(entry) => (size(entry.size)), None => "not known" }
            }
            td class="n" data-label="Members" { (number(orchestra.members().into())) }
            td class="n" data-label="With all of it" { (number(orchestra.counts.complete.into())) }
            td class="n" data-label="Got it today" { (number(orchestra.had_whole)) }
            td class="n" data-label="Receiving" { (rate(orchestra.rate)) }
        }
    }
}

pub fn composition(view: &Composition, here: Option<&Endpoint>) -> Page {
    let orchestra = &view.orchestra;
    let title = name(orchestra);
    let members =
        view.members.iter().map(|member| (member.holder.address.to_string(), member_row(member).into_string()));
    let past = view.past.iter().map(|past| (key_of(past), past_row(past).into_string()));
    let shown = Shown {
        pieces: vec![new_piece("sum", standing(view)), new_piece("parts", parts(&view.map))],
        lists: vec![Rows { id: "members", rows: members.collect() }, Rows { id: "past", rows: past.collect() }],
    };
    page(&format!("{title} - Orchestra"), shown, |shown| {
        html! {
            h1 { (title) }
            (piece(shown, "sum"))
            (piece(shown, "parts"))
            h2 { "Join" }
            (join(view, here))
            dl {
                @if let Some(entry) = &orchestra.entry {
                    dt { "Size" } dd { (size(entry.size)) " (" (number(entry.size)) " bytes)" }
                    dt { "Parts" } dd { (number(entry.parts.into())) " of " (size(entry.part_size.into())) }
                    @if let Some(owner) = &entry.owner { dt { "Registered by" } dd { (owner) } }
                } @else {
                    dt { "Catalogue" } dd { "not in it: " code { "composer --register" } " gives it a name here" }
                }
                dt { "Info-hash" } dd { code id="hash" { (orchestra.hash) } " " (copy("hash", "Copy the info-hash")) }
            }
            h2 id="here" { "Members here now" }
            table class="stacked people" aria-labelledby="here" {
                thead { tr {
                    th scope="col" { "Member" }
                    th scope="col" { "Has" }
                    th scope="col" class="n" { "Receives" }
                    th scope="col" class="n" { "Time left" }
                    th scope="col" class="n" { "Sends" }
                } }
                (rows(shown, "members"))
            }
            h2 id="had" { "Seen within the last day" }
            table class="stacked people" aria-labelledby="had" {
                thead { tr {
                    th scope="col" { "Member" }
                    th scope="col" { "Got all of it" }
                    th scope="col" class="n" { "In" }
                } }
                (rows(shown, "past"))
            }
        }
    })
}

/// Who has had it and who lacks it, in a sentence.
fn standing(view: &Composition) -> Markup {
    let orchestra = &view.orchestra;
    let gone = view.past.iter().filter(|past| past.whole.is_none() && past.percent != Some(100)).count();
    let lacking = u64::from(orchestra.counts.incomplete) + gone as u64;
    html! {
        p class="standing" {
            @match orchestra.had_whole {
                0 => "Nobody got all of it within the last day",
                1 => { b { "1" } " has got all of it within the last day" }
                had => { b { (number(had)) } " have got all of it within the last day" }
            }
            "; "
            @match lacking {
                0 => "nobody lacks it",
                1 => { b { "1" } " lacks it" }
                lacking => { b { (number(lacking)) } " lack it" }
            }
            "."
        }
        p {
            (counted(orchestra.members().into(), "member")) " here now, " (number(orchestra.counts.complete.into()))
            " with all of it; receiving " (rate(orchestra.rate)) " together."
        }
    }
}

fn parts(map: &[u8]) -> Markup {
    let whole = map.iter().filter(|level| **level == 15).count();
    let label = format!("Parts: {} of {} stretches are with every member", whole, map.len());
    html! {
        @if !map.is_empty() {
            svg class="parts" role="img" aria-label=(label) viewBox={ "0 0 " (map.len()) " 1" } preserveAspectRatio="none" {
                @for (at, level) in map.iter().enumerate() {
                    rect x=(at) y="0" width="1" height="1" class="part" fill-opacity={ "0." (format!("{:02}", u32::from(*level) * 99 / 15)) } {}
                }
            }
            p class="note" { "The parts from the first to the last: the stronger the colour, the more of the members have them." }
        }
    }
}

/// A member by its name and address.
fn called(name: Option<&str>, address: &str) -> Markup {
    let name = name.map(shown).filter(|name| !name.is_empty());
    html! { @if let Some(name) = &name { (name) " " small class="address" { (address) } } @else { span class="address" { (address) } } }
}

fn member_row(member: &Member) -> Markup {
    let holder = &member.holder;
    let address = holder.address.to_string();
    html! {
        tr data-key=(address) {
            th scope="row" {
                (called(holder.name.as_deref(), &address))
                @if member.is_closed {
                    p class="warning" {
                        "Cannot be reached from here: open TCP port " (holder.address.port()) " on that machine."
                    }
                }
            }
            td data-label="Has" {
                @match holder.percent {
                    Some(percent) => span class="has" {
                        progress max="100" value=(percent) aria-label={ "has " (percent) " percent" } {}
                        " " (percent) "\u{a0}%"
                    },
                    None => "does not say",
                }
            }
            td class="n" data-label="Receives" { (rate(holder.rate.unwrap_or(0))) }
            td class="n" data-label="Time left" {
                @match (holder.complete, holder.rate, holder.eta) {
                    (true, _, _) => "-",
                    (false, _, Some(eta)) => (duration(Duration::from_secs(eta))),
                    (false, Some(_), None) => "stands still",
                    (false, None, None) => "not known",
                }
            }
            td class="n" data-label="Sends" { (rate(member.rate_up)) }
        }
    }
}

/// What tells one remembered member from others.
fn key_of(past: &Past) -> String {
    format!("{} {}", past.address, past.name.as_deref().unwrap_or_default())
}

fn past_row(past: &Past) -> Markup {
    let address = past.address.to_string();
    html! {
        tr data-key=(key_of(past)) {
            th scope="row" { (called(past.name.as_deref(), &address)) @if !past.here { " " small { "has left" } } }
            td data-label="Got all of it" {
                @match (past.whole.and_then(clock), past.percent) {
                    (Some((machine, people)), _) => time datetime=(machine) { (people) },
                    (None, Some(100)) => "came with it",
                    (None, Some(percent)) => { "left with " (percent) "\u{a0}%" }
                    (None, None) => "left without it",
                }
            }
            td class="n" data-label="In" {
                @match past.seconds {
                    Some(seconds) => (took(seconds)),
                    None => "-",
                }
            }
        }
    }
}

/// A time of day, for machines and for people; None where RFC 3339 cannot write it.
fn clock(seconds: u64) -> Option<(String, String)> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    (seconds < 1 << 37).then(|| {
        let machine = humantime::format_rfc3339_seconds(time).to_string();
        let people = machine.replace('T', "\u{a0}").replace('Z', "\u{a0}UTC");
        (machine, people)
    })
}

fn name(orchestra: &Orchestra) -> String {
    match &orchestra.entry {
        Some(entry) => entry.name.shown().into_owned(),
        None => format!("{}...", &orchestra.hash.to_string()[..8]),
    }
}

/// A quantity that no line breaks between number and unit.
fn whole(text: String) -> String {
    text.replace(' ', "\u{a0}")
}

fn size(bytes: u64) -> String {
    whole(units::size(bytes))
}

fn duration(time: Duration) -> String {
    whole(units::duration(time))
}

fn took(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time < Duration::from_secs(1) => "less\u{a0}than\u{a0}1\u{a0}s".to_owned(),
        Ok(time) => duration(time),
        Err(_) => "-".to_owned(),
    }
}

/// Digits in groups of three.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let grouped = digits.bytes().enumerate().map(|(at, digit)| {
        let is_group = at > 0 && (digits.len() - at).is_multiple_of(3);
        format!("{}{}", if is_group { "," } else { "" }, char::from(digit))
    });
    grouped.collect()
}

fn rate(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        bytes => whole(units::rate(bytes as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        announce::Counts,
        catalogue::{Holder, Key},
        conductor::catalogue::Entry,
        manifest::Name,
        metainfo::InfoHash,
    };

    const EVIL: &str = "<script>alert(1)</script>'\"&";

    fn orchestra(name: &str) -> Orchestra {
        let entry = Entry {
            info_hash: InfoHash([0xab; 20]),
            name: Name::new(name).unwrap(),
            size: 1 << 20,
            part_size: 1 << 14,
            parts: 64,
            owner: None,
            registered: 0,
            length: 1,
        };
        let counts = Counts { complete: 1, incomplete: 1, downloaded: 0 };
        Orchestra { hash: InfoHash([0xab; 20]), entry: Some(entry), counts, rate: 1 << 20, had_whole: 29 }
    }

    fn view(name: &str, member: &str) -> Composition {
        let address = "10.0.0.5:9998".parse().unwrap();
        let holder = Holder {
            name: Some(member.to_owned()),
            rate: Some(1 << 20),
            eta: Some(75),
            ..Holder::new(address, false, Some(37))
        };
        let past = |name: &str, whole, percent| Past {
            name: Some(name.to_owned()),
            address,
            whole,
            seconds: whole.map(|_| 11.2),
            percent: Some(percent),
            here: false,
        };
        let past = vec![past(member, Some(1_786_000_000), 100), past("pc-9", None, 40)];
        let members = vec![Member { holder, rate_up: 0, is_closed: true }];
        let key = Key::Name(Name::new(name).unwrap());
        Composition { orchestra: orchestra(name), members, past, map: vec![0, 15], key }
    }

    fn list(orchestras: Vec<Orchestra>) -> Index {
        Index { orchestras, memberships: 34, machines: 12, others: 0, unlisted: 0, is_choice: false }
    }

    #[test]
    fn whatever_a_name_holds_it_is_text() {
        let evil = EVIL.replace('/', "|");
        let page = composition(&view(&evil, EVIL), Some(&"10.0.0.1:9999".parse().unwrap())).html;
        assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(1)"), "{page}");
        let query = Query { filter: EVIL.to_owned(), page: 1, ..Query::default() };
        assert!(!index(&list(vec![orchestra(&evil)]), &query).html.contains("<script>alert"));
        assert!(!error(EVIL).contains("<script>alert"));
    }

    #[test]
    fn a_composition_shows_its_members_and_how_to_join() {
        let page = composition(&view("vm.qcow2", "node1"), Some(&"10.0.0.1:9999".parse().unwrap())).html;
        let hash = "ab".repeat(20);
        for part in [
            "member get 10.0.0.1:9999/vm.qcow2",
            &format!("magnet:?xt=urn:btih:{hash}"),
            &format!("/compositions/{hash}.orch"),
            "node1",
            "value=\"37\"",
            "open TCP port 9998",
            "1 of 2 stretches",
            &format!("/compositions/{hash}.torrent"),
            "<b>29</b> have got all of it within the last day; <b>2</b> lack it.",
            "1\u{a0}min\u{a0}15\u{a0}s",
            "2026-08-06\u{a0}07:06:40\u{a0}UTC",
            "11\u{a0}s",
            "left with 40\u{a0}%",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_list_is_paged_sorted_and_filtered() {
        let many = |count: usize| {
            (0..count).map(|n| {
                let entry = orchestra(&format!("file-{n:04}")).entry;
                Orchestra { hash: InfoHash([(n % 251) as u8; 20]), rate: n as u64, entry, ..orchestra("x") }
            })
        };
        let index = |query: &str| super::index(&list(many(250).collect()), &Query::read(query));
        let first = index("");
        assert_eq!(first.shown.lists[0].rows.len(), ROWS);
        assert!(first.html.contains("1 to 100 of 250") && first.html.contains("href=\"/?page=2\""), "{}", first.html);
        assert!(first.html.contains("12 machines here now, in 34 memberships."));
        let last = index("page=9").html;
        assert!(last.contains("201 to 250 of 250") && last.contains("file-0249") && !last.contains("rel=\"next\""));
        let fastest = index("sort=rate&q=FILE-01");
        assert!(fastest.html.contains("1 to 100 of 100") || fastest.shown.lists[0].rows.len() == 100);
        assert!(fastest.shown.lists[0].rows[0].1.contains("file-0199"));
        assert!(index("q=nothing").html.contains("No name here has"));
    }

    #[test]
    fn no_quantity_is_broken() {
        assert_eq!((size(1 << 20), rate(1 << 20)), ("1\u{a0}MiB".to_owned(), "1\u{a0}MiB/s".to_owned()));
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((took(0.2), took(f64::NAN)), ("less\u{a0}than\u{a0}1\u{a0}s".to_owned(), "-".to_owned()));
        assert_eq!(clock(u64::MAX), None);
    }
}
