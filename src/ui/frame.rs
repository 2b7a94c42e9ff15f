//! A [`View`] and a width in, one line of the screen out.
//!
//! Pure. The line fits the width whatever is in the view: what matters least is dropped first, the name is shortened,
//! and wide characters count as two. The bar itself is drawn by whoever draws the frame; here it is a number of cells.

use console::measure_text_width;

use super::{Phase, Signs, View, report::counted};
use crate::cli::units;

/// One line: the name, a bar of so many cells, and the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub name: String,
    /// Cells of the bar; 0: there is none.
    pub bar: usize,
    /// How much of the bar is full, from 0 to 1.
    pub fraction: f64,
    /// What is behind the bar.
    pub text: String,
}

/// Two spaces between name, bar and text.
pub const GAP: &str = "  ";

const MIN_BAR: usize = 10;
const MAX_BAR: usize = 30;
const MIN_NAME: usize = 8;
const MAX_NAME: usize = 40;

/// Something to show. The smaller its rank, the longer it stays on a line that gets narrower.
struct Field {
    rank: u8,
    /// Spaces before it: 1 where it belongs to the field before.
    gap: usize,
    text: String,
}

/// The bar's rank among the fields.
const BAR_RANK: u8 = 4;

/// The line for `view`, at most `width` columns. `keys`: q is listened for, and there may be room to say so.
pub fn frame(view: &View, width: usize, keys: bool, signs: Signs) -> Frame {
    let mut fields = fields(view, signs);
    if keys {
        fields.push(Field { rank: 9, gap: 3, text: "q quits".to_owned() });
    }
    let mut bar = has_bar(view);
    let name_width = measure_text_width(&view.name).min(MAX_NAME);
    loop {
        let name_min = name_width.min(MIN_NAME);
        let bar_min = if bar { GAP.len() + MIN_BAR } else { 0 };
        if name_min + bar_min + text_width(&fields) <= width || !drop_least(&mut fields, &mut bar) {
            break;
        }
    }
    lay_out(view, &fields, bar, width, signs)
}

/// Shares the room that is left among name and bar.
fn lay_out(view: &View, fields: &[Field], bar: bool, width: usize, signs: Signs) -> Frame {
    let text = text(fields);
    let room = width.saturating_sub(text_width(fields));
    let for_bar = if bar { GAP.len() + MIN_BAR } else { 0 };
    let name = shorten(&view.name, room.saturating_sub(for_bar).min(MAX_NAME), signs);
    let left = room.saturating_sub(measure_text_width(&name) + GAP.len());
    let bar = if bar { left.min(MAX_BAR) } else { 0 };
    Frame { name, bar, fraction: view.fraction(), text }
}

/// Drops the field (or the bar) of the highest rank; the last field stays.
fn drop_least(fields: &mut Vec<Field>, bar: &mut bool) -> bool {
    let Some(rank) = fields.iter().map(|field| field.rank).max() else { return false };
    if *bar && rank <= BAR_RANK {
        *bar = false;
    } else if fields.len() > 1 {
        fields.retain(|field| field.rank != rank);
    } else {
        return false;
    }
    true
}

fn has_bar(view: &View) -> bool {
    match view.phase {
        Phase::Waiting(_) => view.is_known(),
        Phase::Checking { .. } | Phase::Fetching | Phase::Verifying => true,
        Phase::Seeking { .. } | Phase::Sharing => false,
    }
}

fn fields(view: &View, signs: Signs) -> Vec<Field> {
    let (down_mark, up_mark) = signs.arrows();
    let swarm = &view.swarm;
    let field = |rank, gap, text| Field { rank, gap, text };
    let down = || field(2, 2, format!("{down_mark} {:>8}", units::rate(swarm.rate_down)));
    let up = |rank, gap| field(rank, gap, format!("{up_mark} {:>8}", units::rate(swarm.rate_up)));
    let members = |rank| field(rank, 2, counted(swarm.members as u64, "member"));
    let percent = |gap| field(0, gap, format!("{:>2}%", view.percent()));
    match &view.phase {
        Phase::Seeking { asked: 0, waiting_for } => vec![field(1, 2, format!("waiting for {waiting_for}"))],
        Phase::Seeking { asked, .. } => {
            let asking = format!("asking {}", counted(*asked as u64, "member"));
            vec![field(1, 2, asking), field(2, 1, "for the manifest".to_owned())]
        }
        Phase::Checking { done_bytes } => vec![
            field(1, 2, "checking".to_owned()),
            percent(1),
            field(5, 2, format!("{} of {}", units::size(*done_bytes), units::size(swarm.bytes))),
            members(6),
            up(7, 2),
        ],
        Phase::Waiting(what) if !view.is_known() => vec![field(1, 2, format!("waiting for {what}"))],
        Phase::Waiting(what) => vec![parts(view, 5), percent(1), field(1, 2, format!("waiting for {what}"))],
        Phase::Fetching => {
            let mut fields = vec![parts(view, 5), percent(1), down(), up(7, 1), members(6)];
            fields.extend(view.eta.map(|eta| field(3, 2, format!("ETA {}", units::time_left(eta)))));
            fields
        }
        Phase::Verifying => vec![percent(2), field(1, 2, "verifying the whole file".to_owned()), up(7, 2), members(6)],
        Phase::Sharing => vec![
            field(0, 2, "whole, sharing".to_owned()),
            up(1, 2),
            members(2),
            field(3, 2, format!("ratio {:.2}", view.ratio())),
        ],
    }
}

/// `812/2048 parts`, as wide all the way.
fn parts(view: &View, rank: u8) -> Field {
    let total = view.swarm.parts.to_string();
    let text = format!("{:>width$}/{total} parts", view.swarm.parts_done, width = total.len());
    Field { rank, gap: 2, text }
}

/// With the gap before each; the first has the one after the bar, whatever it belonged to.
fn text(fields: &[Field]) -> String {
    let gap = |index, field: &Field| if index == 0 { GAP.len() } else { field.gap };
    fields.iter().enumerate().map(|(index, field)| " ".repeat(gap(index, field)) + &field.text).collect()
}

fn text_width(fields: &[Field]) -> usize {
    measure_text_width(&text(fields))
}

/// At most `width` columns of this text; what is cut off becomes an ellipsis.
fn shorten(text: &str, width: usize, signs: Signs) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        // Measured as a whole: some characters change the width of the one before.
        if measure_text_width(&short) + 1 > width {
            short.pop();
            break;
        }
    }
    if width > 0 {
        short.push(signs.ellipsis());
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::tests::view;
    use proptest::prelude::*;

    const SIGNS: Signs = Signs { unicode: true };

    /// The line as it is drawn.
    fn drawn(view: &View, width: usize, keys: bool) -> String {
        let Frame { name, bar, fraction, text } = frame(view, width, keys, SIGNS);
        let full = (fraction * bar as f64) as usize;
        let gap = if bar > 0 { GAP } else { "" };
        format!("{name}{gap}{}{}{text}", "█".repeat(full), "░".repeat(bar - full))
    }

    #[test]
    fn fetching_at_many_widths() {
        for (width, line) in [
            (
                130,
                "big.iso  ███████████░░░░░░░░░░░░░░░░░░░   812/2048 parts 39%  ↓ 99 MiB/s ↑ 12 MiB/s  8 members  ETA 26 s   q quits",
            ),
            (
                100,
                "big.iso  ██████████░░░░░░░░░░░░░░░░   812/2048 parts 39%  ↓ 99 MiB/s ↑ 12 MiB/s  8 members  ETA 26 s",
            ),
            (80, "big.iso  ██████░░░░░░░░░░░   812/2048 parts 39%  ↓ 99 MiB/s  8 members  ETA 26 s"),
            (60, "big.iso  █████████░░░░░░░░░░░░░░░  39%  ↓ 99 MiB/s  ETA 26 s"),
            (40, "big.iso  39%  ↓ 99 MiB/s  ETA 26 s"),
            (20, "big.iso  39%"),
        ] {
            assert_eq!(drawn(&view(), width, width > 100), line, "{width}");
        }
    }

    #[test]
    fn the_other_phases() {
        let at = |phase| View { phase, ..view() };
        for (phase, line) in [
            (
                Phase::Checking { done_bytes: 1 << 30 },
                "big.iso  ████░░░░░░░░░░░░░░  checking 25%  1 GiB of 4 GiB  8 members  ↑ 12 MiB/s   q quits",
            ),
            (Phase::Seeking { asked: 3, waiting_for: "" }, "big.iso  asking 3 members for the manifest   q quits"),
            (
                Phase::Seeking { asked: 0, waiting_for: "the conductor to answer" },
                "big.iso  waiting for the conductor to answer   q quits",
            ),
            (
                Phase::Waiting("a member that has the missing parts".to_owned()),
                "big.iso  ████░░░░░░░   812/2048 parts 39%  waiting for a member that has the missing parts",
            ),
            (
                Phase::Verifying,
                "big.iso  ████████████████  100%  verifying the whole file  ↑ 12 MiB/s  8 members   q quits",
            ),
            (Phase::Sharing, "big.iso  whole, sharing  ↑ 12 MiB/s  8 members  ratio 0.25   q quits"),
        ] {
            assert_eq!(drawn(&at(phase), 90, true), line);
        }
    }

    #[test]
    fn what_is_waited_for_and_not_known_yet_has_no_percentage() {
        let phase = Phase::Waiting("conductor head:9999 to answer".to_owned());
        let view = View { phase, swarm: Default::default(), ..view() };
        assert_eq!(drawn(&view, 90, true), "big.iso  waiting for conductor head:9999 to answer   q quits");
    }

    #[test]
    fn a_wide_name_is_shortened_by_columns() {
        assert_eq!(shorten("日本語のファイル.iso", 9, SIGNS), "日本語の…");
        assert_eq!(shorten("日本語のファイル.iso", 8, SIGNS), "日本語…");
        assert_eq!(shorten("big.iso", 7, SIGNS), "big.iso");
        assert_eq!(shorten("big.iso", 1, SIGNS), "…");
        assert_eq!(shorten("big.iso", 0, SIGNS), "");
    }

    #[test]
    fn without_unicode_the_line_is_ascii() {
        let long = View { name: "a-name-that-is-longer-than-forty-columns-wide.iso".to_owned(), ..view() };
        for width in [20, 40, 60, 80, 130] {
            let Frame { name, text, .. } = frame(&long, width, true, Signs { unicode: false });
            assert!(name.is_ascii() && text.is_ascii(), "{name}{text}");
        }
        let Frame { text, .. } = frame(&view(), 80, false, Signs { unicode: false });
        assert!(text.contains("39%  down 99 MiB/s"), "{text}");
    }

    fn any_view() -> impl Strategy<Value = View> {
        let phase = prop_oneof![
            (0usize..1000).prop_map(|asked| Phase::Seeking { asked, waiting_for: "a member" }),
            any::<u64>().prop_map(|done_bytes| Phase::Checking { done_bytes }),
            "\\PC{0,60}".prop_map(Phase::Waiting),
            Just(Phase::Fetching),
            Just(Phase::Verifying),
            Just(Phase::Sharing),
        ];
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<f64>(), any::<u32>());
        ("\\PC{0,60}", phase, numbers).prop_map(|(name, phase, (parts, bytes, uploaded, rate, members))| {
            let mut view = View { name, phase, ..view() };
            view.swarm.parts = parts;
            view.swarm.bytes = bytes;
            view.swarm.uploaded = uploaded;
            view.swarm.rate_down = rate;
            view.swarm.members = members as usize;
            view
        })
    }

    proptest! {
        #[test]
        fn every_line_fits(view in any_view(), width in 20usize..200, keys: bool) {
            let line = drawn(&view, width, keys);
            prop_assert!(measure_text_width(&line) <= width, "{} columns: {}", width, line);
        }
    }
}
