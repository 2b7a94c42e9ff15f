//! The page as HTML, by a template that escapes whatever is put into it.

use maud::{DOCTYPE, Markup, html};
use percent_encoding::utf8_percent_encode;

use super::view::{Composition, Index, Member, Orchestra};
use crate::{
    catalogue::{
        Key,
        place::{ESCAPED, ROOT},
    },
    cli::units,
    manifest::{Endpoint, shown},
    metainfo::Magnet,
    ui::report::counted,
};

/// A whole page. What may change has an id and `data-live`: the script swaps it.
fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
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
    }
}

pub fn error(text: &str) -> Markup {
    page("Orchestra", &html! { h1 { "Not here" } p { (text) "." } p { a href="/" { "All compositions" } } })
}

pub fn index(view: &Index) -> Markup {
    let title = if view.is_choice { "Which of these?" } else { "Compositions" };
    let body = html! {
        h1 { (title) }
        div id="all" data-live {
            p {
                (counted(view.members as u64, "member")) " here now."
                @if view.unlisted > 0 { " " (counted(view.unlisted as u64, "swarm")) " not listed." }
            }
            @if view.orchestras.is_empty() {
                p {
                    "Nothing is shared here yet. Put a file in with " code { "composer FILE CONDUCTOR --register" }
                    ", then share it with " code { "member FILE.orch" } "."
                }
            } @else {
                table {
                    thead { tr {
                        th scope="col" { "Name" }
                        th scope="col" class="n" { "Size" }
                        th scope="col" class="n" { "Members" }
                        th scope="col" class="n" { "Whole" }
                        th scope="col" class="n" { "Receiving" }
                    } }
                    tbody { @for orchestra in &view.orchestras { (row(orchestra)) } }
                }
            }
        }
    };
    page("Orchestra", &body)
}

fn row(orchestra: &Orchestra) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href={ "/c/" (orchestra.hash) } { (name(orchestra)) }
                @if let Some(owner) = orchestra.entry.as_ref().and_then(|entry| entry.owner.as_ref()) {
                    " " small { "by " (owner) }
                }
            }
            td class="n" data-label="Size" {
                @match &orchestra.entry { Some(entry) => (units::size(entry.size)), None => "not known" }
            }
            td class="n" data-label="Members" { (orchestra.members()) }
            td class="n" data-label="Whole" { (orchestra.counts.complete) }
            td class="n" data-label="Receiving" { (rate(orchestra.rate)) }
        }
    }
}

pub fn composition(view: &Composition, here: Option<&Endpoint>) -> Markup {
    let orchestra = &view.orchestra;
    let title = name(orchestra);
    let body = html! {
        h1 { (title) }
        dl {
            @if let Some(entry) = &orchestra.entry {
                dt { "Size" } dd { (units::size(entry.size)) " (" (entry.size) " bytes)" }
                dt { "Parts" } dd { (entry.parts) " of " (units::size(entry.part_size.into())) }
            } @else {
                dt { "Catalogue" } dd { "not in it: " code { "composer --register" } " gives it a name here" }
            }
            dt { "Info-hash" } dd { code { (orchestra.hash) } }
        }
        h2 { "Join" }
        (join(view, here))
        div id="swarm" data-live {
            h2 { "Members" }
            p {
                (counted(orchestra.members().into(), "member")) ", " (orchestra.counts.complete) " with all of it; "
                "receiving " (rate(orchestra.rate)) " together."
            }
            @if !view.map.is_empty() { (parts(&view.map)) }
            @if !view.members.is_empty() { (members(&view.members)) }
        }
    };
    page(&format!("{title} - Orchestra"), &body)
}

fn join(view: &Composition, here: Option<&Endpoint>) -> Markup {
    let orchestra = &view.orchestra;
    let line = here.map(|here| match &orchestra.entry {
        Some(_) => format!("member get {here}/{}", typed(&view.key)),
        None => format!("member '{}'", magnet(orchestra, Some(here))),
    });
    html! {
        @if let Some(line) = line {
            p { label for="line" { "Type this to fetch and share it" } }
            p { input id="line" class="line" readonly value=(line); }
        }
        p {
            a href=(magnet(orchestra, here)) { "Magnet link" }
            @if orchestra.entry.is_some() {
                " · "
                a href={ (ROOT) "/" (orchestra.hash) ".orch" } download { "Manifest (.orch)" }
            }
        }
    }
}

/// The key as it is typed: a name only where no shell makes something else of it.
fn typed(key: &Key) -> String {
    match key {
        Key::Name(name) if name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b)) => {
            name.as_str().to_owned()
        }
        Key::Name(name) => format!("'{}'", name.as_str().replace('\'', r"'\''")),
        Key::Hash(hash) => hash.to_string(),
        Key::Owned { owner, name } => format!("{owner}/{}", utf8_percent_encode(name.as_str(), ESCAPED)),
    }
}

fn magnet(orchestra: &Orchestra, here: Option<&Endpoint>) -> String {
    let magnet = Magnet {
        name: orchestra.entry.as_ref().map(|entry| entry.name.as_str().to_owned()),
        size: orchestra.entry.as_ref().map(|entry| entry.size),
        trackers: here.and_then(Endpoint::tracker_url).into_iter().collect(),
        ..Magnet::new(orchestra.hash)
    };
    magnet.to_string()
}

fn parts(map: &[u8]) -> Markup {
    let whole = map.iter().filter(|level| **level == 15).count();
    let label = format!("Parts: {} of {} stretches are with every member", whole, map.len());
    html! {
        svg class="parts" role="img" aria-label=(label) viewBox={ "0 0 " (map.len()) " 1" } preserveAspectRatio="none" {
            @for (at, level) in map.iter().enumerate() {
                rect x=(at) y="0" width="1" height="1" class="part" fill-opacity={ "0." (format!("{:02}", u32::from(*level) * 99 / 15)) } {}
            }
        }
        p class="note" { "The parts from the first to the last: the stronger the colour, the more of the members have them." }
    }
}

fn members(members: &[Member]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Member" }
                th scope="col" { "Has" }
                th scope="col" class="n" { "Receives" }
                th scope="col" class="n" { "Sends" }
            } }
            tbody { @for member in members { (member_row(member)) } }
        }
    }
}

fn member_row(member: &Member) -> Markup {
    let address = member.address.to_string();
    let name = member.name.as_deref().map(shown).filter(|name| !name.is_empty());
    html! {
        tr {
            th scope="row" {
                @if let Some(name) = &name { (name) " " small { (address) } } @else { (address) }
                @if member.is_closed {
                    p class="warning" {
                        "Cannot be reached from here: open TCP port " (member.address.port()) " on that machine."
                    }
                }
            }
            td data-label="Has" {
                @match member.percent {
                    Some(percent) => {
                        progress max="100" value=(percent) aria-label={ "has " (percent) " percent" } {}
                        " " (percent) " %"
                    }
                    None => "does not say",
                }
            }
            td class="n" data-label="Receives" { (rate(member.rate_down)) }
            td class="n" data-label="Sends" { (rate(member.rate_up)) }
        }
    }
}

fn name(orchestra: &Orchestra) -> String {
    match &orchestra.entry {
        Some(entry) => entry.name.shown().into_owned(),
        None => format!("{}...", &orchestra.hash.to_string()[..8]),
    }
}

fn rate(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        bytes => units::rate(bytes as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{announce::Counts, conductor::catalogue::Entry, manifest::Name, metainfo::InfoHash};

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
        Orchestra { hash: InfoHash([0xab; 20]), entry: Some(entry), counts, rate: 1 << 20 }
    }

    fn view(name: &str, member: &str) -> Composition {
        let member = Member {
            name: Some(member.to_owned()),
            address: "10.0.0.5:9998".parse().unwrap(),
            percent: Some(37),
            rate_up: 0,
            rate_down: 1 << 20,
            is_closed: true,
        };
        let key = Key::Name(Name::new(name).unwrap());
        Composition { orchestra: orchestra(name), members: vec![member], map: vec![0, 15], key }
    }

    #[test]
    fn whatever_a_name_holds_it_is_text() {
        let evil = EVIL.replace('/', "|");
        let page = composition(&view(&evil, EVIL), Some(&"10.0.0.1:9999".parse().unwrap())).into_string();
        assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(1)"), "{page}");
        let list = Index { orchestras: vec![orchestra(&evil)], members: 2, unlisted: 0, is_choice: false };
        assert!(!index(&list).into_string().contains("<script>alert"));
        assert!(!error(EVIL).into_string().contains("<script>alert"));
    }

    #[test]
    fn a_composition_shows_its_members_and_how_to_join() {
        let page = composition(&view("vm.qcow2", "node1"), Some(&"10.0.0.1:9999".parse().unwrap())).into_string();
        let hash = "ab".repeat(20);
        for part in [
            "member get 10.0.0.1:9999/vm.qcow2",
            &format!("magnet:?xt=urn:btih:{hash}"),
            &format!("/compositions/{hash}.orch"),
            "node1",
            "value=\"37\"",
            "open TCP port 9998",
            "1 of 2 stretches",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_line_to_type_means_the_same_to_a_shell() {
        let typed = |name: &str| super::typed(&Key::Name(Name::new(name).unwrap()));
        assert_eq!(typed("vm-1.0.qcow2"), "vm-1.0.qcow2");
        assert_eq!(typed("a $(b) 'c'"), r"'a $(b) '\''c'\'''");
    }
}
