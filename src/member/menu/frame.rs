//! What the menu knows and the size of the terminal in, the lines of the screen out.
//!
//! Pure. The lines fit whatever the size: columns are left out, names cut short, keys left unsaid, in this order.

use std::borrow::Cow;

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::{
    list::Row,
    state::{Asking, Page, State, Typing},
};
use crate::{
    cli::units,
    manifest::shown,
    member::ask::table,
    ui::{
        Phase, Signs, View,
        canvas::{Line, Look},
        report::counted,
    },
    wire::extension::search::Asks,
};

/// From so many rows on there are empty lines between the blocks.
const ROOMY: usize = 16;
/// Lines about what is shared, and about what happened, at most.
const MOST_SHARES: usize = 3;
const MOST_NEWS: usize = 3;
/// Columns of the size and of the members, each with the gap before it.
const SIZE: usize = 11;
const MEMBERS: usize = 11;
/// Columns of the name, at most: what is done with it should stand near it on a wide terminal.
const MAX_NAME: usize = 60;

/// What each key does: how long it stays where there is little room, and its words.
const KEYS: [(u8, &str); 14] = [
    (0, "Enter fetch"),
    (3, "Esc stop"),
    (3, "l parts"),
    (3, "/ filter"),
    (3, "s search"),
    (2, "a share"),
    (5, "n neighbours"),
    (4, "h history"),
    (6, "r refresh"),
    (7, ". all"),
    (8, "o elsewhere"),
    (9, "R repair"),
    (1, "? keys"),
    (0, "q quit"),
];

/// What `?` shows.
pub fn help() -> Vec<String> {
    [
        "up, down, k, j        move; PageUp, PageDown, Home and End too",
        "Enter, g              fetch it into the current folder, verify it, and share it",
        "o                     fetch it into another folder; Tab completes its path",
        "R                     where another file is in its place: replace that, with its good parts",
        "Esc                   stop fetching or sharing it; or take the filter away",
        "l                     who has it, and which parts: a map of all of them",
        "/                     show only names that hold what is typed",
        "s                     search the neighbours, and theirs, for words of a name",
        "n                     who the neighbours are",
        "a                     share a file or a folder; Tab completes its path",
        "h                     what came and went, on this machine",
        ".                     show what nobody holds now too, or hide it again",
        "r                     ask the conductor and the local network now",
        "q, Ctrl-C             end: what is fetched so far is kept, and goes on next time",
        "",
        "What is fetched and shared goes on meanwhile, and ends with the menu.",
        "MEMBERS: how many have all of it, of how many that take part.",
    ]
    .map(str::to_owned)
    .into()
}

/// Makes the state fit such a screen: how many rows of the page it shows, and no scrolling past the end.
pub fn fit(state: &mut State, size: (usize, usize), signs: Signs) {
    let lines = to_read(&state.page, size.0, signs).len();
    state.room = room(state, size);
    if let Page::Text { top, .. } | Page::Map { top, .. } = &mut state.page {
        *top = lines.saturating_sub(state.room).min(*top);
    }
}

/// The screen of a state that fits it.
pub fn frame(state: &State, size: (usize, usize), signs: Signs) -> Vec<Line> {
    let ((columns, rows), room) = (size, room(state, size));
    let mut lines = match &state.page {
        Page::List => list(state, size, room, signs),
        Page::Asked => asked(&state.asking, size, room, signs),
        Page::Text { title, top, .. } => text(title, &to_read(&state.page, columns, signs), *top, rows, room),
        Page::Map { name, top, .. } => text(name, &to_read(&state.page, columns, signs), *top, rows, room),
    };
    lines.truncate(rows);
    for line in &mut lines {
        line.text = cut(&line.text, columns, signs);
    }
    lines
}

/// The text of a page that is to be read; none of the others.
fn to_read(page: &Page, columns: usize, signs: Signs) -> Cow<'_, [String]> {
    match page {
        Page::List | Page::Asked => Cow::Borrowed(&[]),
        Page::Text { lines, .. } => Cow::Borrowed(lines),
        Page::Map { located: None, .. } => vec!["asking its members...".to_owned()].into(),
        Page::Map { located: Some(Err(why)), .. } => vec![why.clone()].into(),
        Page::Map { located: Some(Ok(located)), .. } => {
            located.text(Some(columns), signs).lines().map(str::to_owned).collect()
        }
    }
}

/// How many rows the list has, or the text.
fn room(state: &State, (columns, rows): (usize, usize)) -> usize {
    let around = match state.page {
        Page::List => 3 + 2 * usize::from(rows >= ROOMY) + foot(state, columns).len(),
        Page::Asked => 5,
        Page::Text { .. } | Page::Map { .. } => 4,
    };
    rows.saturating_sub(around).max(1)
}

fn line(text: impl Into<String>, look: Look) -> Line {
    Line { text: text.into(), look }
}

fn list(state: &State, (columns, rows): (usize, usize), room: usize, signs: Signs) -> Vec<Line> {
    let shown = state.rows();
    let cursor = state.cursor(&shown);
    let place = (shown.len() > room).then(|| format!("  row {} of {}", cursor + 1, shown.len()));
    let mut lines = vec![line(title(state, shown.len()) + &place.unwrap_or_default(), Look::Strong)];
    lines.extend((rows >= ROOMY).then(Line::default));
    lines.push(line(heading(columns), Look::Dim));
    let first = first_row(cursor, room, shown.len());
    for (n, row) in shown.iter().enumerate().skip(first).take(room) {
        let look = match (n == cursor, row.members) {
            (true, _) => Look::Chosen,
            // Nobody to fetch it from.
            (false, Some((_, 0))) => Look::Dim,
            (false, _) => Look::Plain,
        };
        lines.push(line(one(row, n == cursor, columns, signs), look));
    }
    if shown.is_empty() {
        let words = nothing(state);
        lines.extend(
            words.iter().flat_map(|text| wrapped(text, columns)).take(room).map(|text| line(text, Look::Plain)),
        );
    }
    let foot = foot(state, columns);
    lines.resize(rows.saturating_sub(foot.len() + 1), Line::default());
    lines.extend(foot);
    lines.push(bottom(state, columns));
    lines
}

/// The first row on the screen, of so many rows with room for so many: pages follow each other, and the last is full.
fn first_row(cursor: usize, room: usize, rows: usize) -> usize {
    (cursor / room * room).min(rows.saturating_sub(room))
}

fn title(state: &State, shown: usize) -> String {
    let all = state.to_list().count();
    let conductor = match state.listed {
        // Nobody expects an answer of a conductor that nobody named.
        Some(Err(_)) if !state.is_named => "no conductor named  ".to_owned(),
        _ => format!("conductor {}  ", state.conductor),
    };
    let hidden = match state.there().count() - all {
        0 => String::new(),
        hidden => format!("; {hidden} more that nobody holds"),
    };
    let counted = counted(all as u64, "composition");
    let there = match &state.listed {
        None => "is asked".to_owned(),
        Some(Err(_)) if !state.is_named && all == 0 => "nothing found on the local network yet".to_owned(),
        Some(Err(_)) if !state.is_named => format!("{counted} on the local network"),
        Some(Err(_)) if all == 0 => "does not answer".to_owned(),
        Some(Err(_)) => format!("does not answer; {counted} on the local network"),
        Some(Ok(())) if state.filter.is_empty() => counted,
        Some(Ok(())) => format!("{shown} of {counted}"),
    };
    format!("Orchestra  {conductor}{there}{hidden}")
}

/// Why the list is empty, and what to do about it.
fn nothing(state: &State) -> Vec<String> {
    let share = "a  shares a file or a folder from here; without a conductor this member is then one itself";
    match &state.listed {
        None => Vec::new(),
        _ if !state.filter.is_empty() => vec![format!("no name holds {:?}: Esc takes the filter away", state.filter)],
        Some(Ok(())) if state.there().next().is_some() => {
            vec!["nobody holds anything now:  .  shows what was there".to_owned(), share.to_owned()]
        }
        Some(Ok(())) => vec!["nothing is shared yet".to_owned(), share.to_owned()],
        Some(Err(why)) => {
            let other = match state.is_named {
                true => "q  ends; member --conductor HOST asks another one",
                false => "q  ends; member --conductor HOST asks that conductor too",
            };
            let why = state.is_named.then(|| [why.clone(), String::new()]);
            why.into_iter().flatten().chain([share.to_owned(), other.to_owned()]).collect()
        }
    }
}

/// How wide the name and what is done here are, and whether size and members are shown.
fn widths(columns: usize) -> (usize, usize, bool, bool) {
    let here = match columns {
        100.. => 36,
        76.. => 28,
        50.. => 16,
        30.. => 8,
        _ => 0,
    };
    let (size, members) = (columns >= 50, columns >= 64);
    let others = 2 + here + 2 * usize::from(here > 0) + SIZE * usize::from(size) + MEMBERS * usize::from(members);
    let name = columns.saturating_sub(others);
    (name.min(MAX_NAME), here + name.saturating_sub(MAX_NAME), size, members)
}

fn heading(columns: usize) -> String {
    columns_of(columns, "  ", "NAME", "SIZE", "MEMBERS", "HERE", Signs { unicode: true })
}

fn one(row: &Row<'_>, is_chosen: bool, columns: usize, signs: Signs) -> String {
    let size = row.size.map(units::size).unwrap_or_default();
    let members = row.members.map_or_else(|| "-".to_owned(), |(complete, all)| format!("{complete}/{all}"));
    let here = row.here.map(|here| here.text(widths(columns).1)).unwrap_or_default();
    columns_of(columns, if is_chosen { "> " } else { "  " }, &row.name, &size, &members, &here, signs)
}

fn columns_of(columns: usize, mark: &str, name: &str, size: &str, members: &str, here: &str, signs: Signs) -> String {
    let (name_width, here_width, has_size, has_members) = widths(columns);
    let name = cut(name, name_width, signs);
    let right = |text: &str, width| pad_str(text, width, Alignment::Right, None).into_owned();
    let mut text = format!("{mark}{}", pad_str(&name, name_width, Alignment::Left, None));
    if has_size {
        text += &right(size, SIZE);
    }
    if has_members {
        text += &right(members, MEMBERS);
    }
    if here_width > 0 {
        text += &format!("  {}", pad_str(here, here_width, Alignment::Left, None));
    }
    text
}

/// What is shared from here, and what happened last.
fn foot(state: &State, columns: usize) -> Vec<Line> {
    let hidden = state.shares.len().saturating_sub(MOST_SHARES);
    let mut lines: Vec<Line> = state.shares.iter().skip(hidden).map(|view| line(share(view), Look::Plain)).collect();
    let old = state.news.len().saturating_sub(MOST_NEWS);
    let news = state.news.iter().skip(old).flat_map(|news| {
        let is_bad = news.starts_with("error:") || news.starts_with("warning:");
        let look = if is_bad { Look::Warning } else { Look::Dim };
        wrapped(&shown(news), columns).into_iter().map(move |text| line(text, look))
    });
    let mut news: Vec<Line> = news.collect();
    lines.extend(news.drain(news.len().saturating_sub(MOST_NEWS)..));
    lines
}

/// The text in lines of so many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if measure_text_width(last) + 1 + measure_text_width(word) <= columns {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn share(view: &View) -> String {
    let View { name, phase, swarm, .. } = view;
    match phase {
        Phase::Checking { .. } => format!("to be shared: {name}, {} % hashed", view.percent()),
        _ => format!(
            "shared from here: {name}, {}  {} to {}",
            units::size(swarm.bytes),
            units::rate(swarm.rate_up),
            counted(swarm.members as u64, "member")
        ),
    }
}

/// What is being typed, or what may be pressed.
fn bottom(state: &State, columns: usize) -> Line {
    let typed = |what: &str, text: &str, keys: &str| {
        // Tab takes names from the disk, whatever is in them.
        let text = &*shown(text);
        let room = columns.saturating_sub(what.len() + 1);
        // The end of what is typed is what people look at.
        let over = measure_text_width(text).saturating_sub(room);
        let text: String = text.chars().skip(over).collect();
        let keys = if over == 0 && text.len() + keys.len() < room { keys } else { "" };
        line(format!("{what}{text}_{keys}"), Look::Strong)
    };
    match &state.typing {
        Some(Typing::Share(path)) => typed("share: ", path, "   Tab completes, Enter shares, Esc leaves"),
        Some(Typing::Search(words)) => {
            typed("search: ", words, "   words of a name; Enter asks the neighbours, Esc leaves")
        }
        Some(Typing::Folder(_, folder)) => {
            typed("fetch into folder: ", folder, "   Tab completes, Enter fetches, Esc leaves")
        }
        Some(Typing::Filter) => typed("/", &state.filter, "   Enter keeps it, Esc takes it away"),
        None => line(keys(columns), Look::Dim),
    }
}

/// The keys, as many as fit.
fn keys(columns: usize) -> String {
    let mut keys = KEYS.to_vec();
    loop {
        let text = keys.iter().map(|(_, words)| *words).collect::<Vec<_>>().join("   ");
        let Some(rank) = keys.iter().map(|(rank, _)| *rank).max().filter(|rank| *rank > 0 && text.len() > columns)
        else {
            return text;
        };
        if let Some(last) = keys.iter().rposition(|(other, _)| *other == rank) {
            keys.remove(last);
        }
    }
}

/// What the neighbours answer.
fn asked(asking: &Asking, (columns, rows): (usize, usize), room: usize, signs: Signs) -> Vec<Line> {
    let (what, table) = match &asking.asks {
        Asks::For(words) => (format!("Search: {}", shown(words)), table::finds(&asking.findings.found)),
        Asks::Who => ("Neighbours, and theirs".to_owned(), table::neighbours(&asking.findings.neighbours)),
    };
    let members = counted(asking.members as u64, "member");
    let state = match (asking.is_over, asking.members, asking.findings.is_empty()) {
        (false, 0, _) => "looking for members to ask".to_owned(),
        (false, ..) => format!("{members} asked, more may come"),
        (true, 0, _) => "no member answers: share something here (a), or name one (member --neighbour HOST)".to_owned(),
        (true, _, true) => format!("{members} asked: nothing"),
        (true, _, false) => format!("{members} asked"),
    };
    let mut lines = vec![line(format!("{what}  {state}"), Look::Strong), Line::default()];
    let all = table.render(Some(columns.saturating_sub(2)), signs);
    let mut all = all.lines().filter(|_| !asking.findings.is_empty());
    lines.extend(all.next().map(|heading| line(format!("  {heading}"), Look::Dim)));
    let all: Vec<&str> = all.collect();
    let first = first_row(asking.cursor, room, all.len());
    lines.extend(all.into_iter().enumerate().skip(first).take(room).map(|(n, text)| match n == asking.cursor {
        true => line(format!("> {text}"), Look::Chosen),
        false => line(format!("  {text}"), Look::Plain),
    }));
    lines.resize(rows.saturating_sub(1), Line::default());
    let fetch = if asking.found() > 0 { "Enter fetch   " } else { "" };
    lines.push(line(format!("{fetch}Esc back   up, down"), Look::Dim));
    lines
}

/// Text to read, under a title.
fn text(title: &str, text: &[String], top: usize, rows: usize, room: usize) -> Vec<Line> {
    let mut lines = vec![line(title, Look::Strong), Line::default()];
    lines.extend(text.iter().skip(top).take(room).map(|text| line(text, Look::Plain)));
    lines.resize(rows.saturating_sub(1), Line::default());
    let more = if text.len() > top + room { "   more below" } else { "" };
    lines.push(line(format!("Esc back   up, down{more}"), Look::Dim));
    lines
}

fn cut(text: &str, columns: usize, signs: Signs) -> String {
    truncate_str(text, columns, signs.ellipsis().encode_utf8(&mut [0; 4])).into_owned()
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyCode;
    use proptest::prelude::*;

    use super::{
        super::{
            list::{
                Here,
                tests::{composition, view},
            },
            state::Page,
        },
        *,
    };
    use crate::{
        cli::Exit,
        metainfo::InfoHash,
        wire::extension::search::{Answer, Find, QuestionId, Says},
    };

    const SIGNS: Signs = Signs { unicode: true };

    fn state() -> State {
        let names = ["a-long-name-of-an-image.iso", "b.iso", "vm.qcow2"];
        let there = names.into_iter().zip(1..).map(|(name, n)| composition(name, n)).collect();
        let here = [
            (2, Here::Running(Box::new(view(Phase::Fetching)))),
            (3, Here::Ended { exit: Exit::Interrupted, percent: 12 }),
        ];
        let here = here.into_iter().map(|(n, here)| (InfoHash([n; 20]), here)).collect();
        State { there, here, listed: Some(Ok(())), ..State::new("head:9999".to_owned(), true) }
    }

    fn drawn(state: &State, size: (usize, usize)) -> String {
        let lines = frame(state, size, SIGNS);
        assert!(lines.len() <= size.1);
        lines.iter().map(|line| line.text.trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn the_list_on_a_usual_terminal() {
        let mut state = state();
        state.shares.push(crate::ui::View { name: "3 files".to_owned(), ..view(Phase::Sharing) });
        state.say("b.iso: fetching 600 MiB to ./b.iso".to_owned());
        assert_eq!(
            drawn(&state, (100, 12)),
            "Orchestra  conductor head:9999  3 compositions\n\
             \x20 NAME                                         SIZE    MEMBERS  HERE\n\
             > a-long-name-of-an-image.iso               300 MiB        2/5\n\
             \x20 b.iso                                     600 MiB        2/5  47 %  12 MiB/s  26 s left\n\
             \x20 vm.qcow2                                  900 MiB        2/5  stopped at 12 %\n\
             \n\n\n\n\
             shared from here: 3 files, 1000 bytes  3 MiB/s to 0 members\n\
             b.iso: fetching 600 MiB to ./b.iso\n\
             Enter fetch   Esc stop   l parts   / filter   s search   a share   h history   ? keys   q quit\n"
        );
    }

    #[test]
    fn a_narrow_one_leaves_out_what_it_can() {
        assert_eq!(
            drawn(&state(), (40, 6)),
            "Orchestra  conductor head:9999  3 compo…\n\
             \x20 NAME                          HERE\n\
             > a-long-name-of-an-image.iso\n\
             \x20 b.iso                         47 %\n\
             \x20 vm.qcow2                      12 %\n\
             Enter fetch   a share   ? keys   q quit\n"
        );
        assert_eq!(drawn(&state(), (24, 4)).lines().last(), Some("Enter fetch   q quit"));
    }

    #[test]
    fn without_a_conductor_it_says_what_to_do() {
        let listed = Some(Err("conductor head:9999 does not answer".to_owned()));
        let text = drawn(&State { listed, ..State::new("head:9999".to_owned(), true) }, (100, 12));
        assert!(text.contains("does not answer\n\na  shares a file"), "{text}");
        let unnamed = State {
            listed: Some(Err("localhost:9999 does not answer".to_owned())),
            ..State::new("localhost:9999".to_owned(), false)
        };
        let text = drawn(&unnamed, (100, 12));
        let first = "Orchestra  no conductor named  nothing found on the local network yet\n";
        assert!(text.starts_with(first) && !text.contains("does not answer"), "{text}");
        let text = drawn(&State { near: vec![composition("a", 1)], ..unnamed }, (100, 12));
        assert!(text.starts_with("Orchestra  no conductor named  1 composition on the local network\n"), "{text}");
        let text = drawn(&State { filter: "zz".to_owned(), ..state() }, (80, 12));
        assert!(text.contains("0 of 3 compositions") && text.contains("no name holds \"zz\""), "{text}");
    }

    #[test]
    fn what_is_hidden_is_counted() {
        let mut state = state();
        state.there[0].members = 0;
        let text = drawn(&state, (100, 12));
        assert!(
            text.starts_with("Orchestra  conductor head:9999  2 compositions; 1 more that nobody holds\n"),
            "{text}"
        );
        assert!(!text.contains("a-long-name"), "{text}");
        state.all = true;
        let text = drawn(&state, (100, 12));
        assert!(text.starts_with("Orchestra  conductor head:9999  3 compositions\n"), "{text}");
        (state.all, state.there[1].members, state.there[2].members) = (false, 0, 0);
        state.here.clear();
        assert!(drawn(&state, (100, 12)).contains("nobody holds anything now:  .  shows"));
    }

    #[test]
    fn long_news_are_wrapped() {
        assert_eq!(wrapped("one two three  four", 9), ["one two", "three ", "four"]);
        let mut state = state();
        state.say("warning: the conductor cannot reach this member: open its port in the firewall".to_owned());
        let text = drawn(&state, (50, 10));
        assert!(
            text.contains("\nwarning: the conductor cannot reach this member:\nopen its port in the firewall\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_typed_is_at_the_bottom() {
        let typing = |path: &str| State { typing: Some(Typing::Share(path.to_owned())), ..state() };
        let last = |state: &State| drawn(state, (60, 12)).lines().last().map(str::to_owned);
        assert_eq!(last(&typing("~/x")).unwrap(), "share: ~/x_   Tab completes, Enter shares, Esc leaves");
        let long = "/".repeat(50) + "abc/def.iso";
        assert!(last(&typing(&long)).unwrap().ends_with("abc/def.iso_"));
        let evil = "x".repeat(70) + "/evil\u{1b}[31m";
        assert!(last(&typing(&evil)).unwrap().ends_with("/evil\\u{1b}[31m_"), "{:?}", last(&typing(&evil)));
    }

    #[test]
    fn a_long_text_is_read_page_by_page() {
        let lines: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let mut state = State { page: Page::Text { title: "Numbers", lines, top: 0 }, ..state() };
        let mut after = |key: KeyCode| {
            state.press(key.into());
            fit(&mut state, (40, 8), SIGNS);
            drawn(&state, (40, 8))
        };
        let first = "Numbers\n\n1\n2\n3\n4\n\nEsc back   up, down   more below\n";
        let last = "Numbers\n\n17\n18\n19\n20\n\nEsc back   up, down\n";
        assert_eq!(after(KeyCode::Home), first);
        assert_eq!(after(KeyCode::End), last);
        for _ in 0..3 {
            assert_eq!(after(KeyCode::PageDown), last);
        }
        assert!(after(KeyCode::Up).starts_with("Numbers\n\n16\n"), "not past the end first");
    }

    #[test]
    fn what_neighbours_found_is_a_list() {
        let mut state = State { page: Page::Asked, asking: Asking::new(Asks::For("big".to_owned())), ..state() };
        assert!(drawn(&state, (80, 8)).starts_with("Search: big  looking for members to ask\n\n\n"));
        state.asking.members = 2;
        for (host, hash) in [(1, 7), (2, 8)] {
            let find = Find { info_hash: InfoHash([hash; 20]), name: format!("big.{hash}"), size: 2048, left: 0 };
            let (says, address) = (Says::Finds(vec![find]), Some(([10, 0, 0, host], 9998).into()));
            state.asking.findings.add(Answer { id: QuestionId([0; 16]), hops: 1, port: 9998, address, says });
        }
        (state.asking.is_over, state.asking.cursor) = (true, 1);
        let text = drawn(&state, (60, 8));
        assert!(text.starts_with("Search: big  2 members asked\n\n  NAME "), "{text}");
        assert!(text.contains("\n  big.7  2 KiB") && text.contains("\n> big.8  2 KiB"), "{text}");
        assert!(text.ends_with("Enter fetch   Esc back   up, down\n"), "{text}");
    }

    #[test]
    fn the_page_with_the_cursor_is_shown() {
        let mut state = state();
        state.there = (0..50).map(|n| composition(&format!("{n:02}"), n + 1)).collect();
        for _ in 0..13 {
            state.press(KeyCode::Down.into());
        }
        let text = drawn(&state, (80, 13));
        assert!(
            text.contains("> 13") && text.contains("  10") && text.contains("  19") && !text.contains("  20 "),
            "{text}"
        );
        assert!(text.starts_with("Orchestra  conductor head:9999  50 compositions  row 14 of 50\n"), "{text}");
    }

    #[test]
    fn the_last_page_is_full() {
        assert_eq!([0, 9, 10, 19, 20, 22].map(|cursor| first_row(cursor, 10, 23)), [0, 0, 10, 10, 13, 13]);
        assert_eq!(first_row(2, 10, 3), 0);
    }

    #[test]
    fn on_a_wide_terminal_the_state_stands_near_the_name() {
        let text = drawn(&state(), (200, 12));
        let row = text.lines().find(|line| line.contains("b.iso")).unwrap();
        assert_eq!(row.find("47 %"), Some(2 + MAX_NAME + SIZE + MEMBERS + 2), "{text}");
    }

    proptest! {
        #[test]
        fn every_line_fits(names in proptest::collection::vec("\\PC{1,60}", 0..20), columns in 1usize..150, rows in 1usize..40, news in "\\PC{0,200}") {
            let there = names.iter().zip(1..).map(|(name, n)| composition(name, n)).collect();
            let mut state = State { there, ..state() };
            state.say(news);
            for typing in [None, Some(Typing::Share(names.concat()))] {
                state.typing = typing;
                let lines = frame(&state, (columns, rows), SIGNS);
                prop_assert!(lines.len() <= rows);
                for line in lines {
                    prop_assert!(measure_text_width(&line.text) <= columns, "{} columns: {}", columns, line.text);
                }
            }
        }
    }
}
