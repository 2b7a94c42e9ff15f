//! How many members have each part of a composition, as a picture of text.
//!
//! Pure. One sign stands for as many parts as it takes to fit, and shows the rarest of them: a part that nobody has is
//! never hidden among others.

use super::Signs;

/// Rows of a picture, at most.
const ROWS: usize = 16;
/// A picture is no wider than this, so that it can be taken in.
const MOST_COLUMNS: usize = 100;
/// Nor narrower, whatever the terminal.
const LEAST_COLUMNS: usize = 10;

/// A sign for up to so many members, and what it means.
type Sign = (u16, char, &'static str);

const UNICODE: [Sign; 5] =
    [(0, '·', "nobody"), (1, '░', "1"), (2, '▒', "2"), (4, '▓', "3-4"), (u16::MAX, '█', "5 or more")];
const ASCII: [Sign; 5] =
    [(0, '.', "nobody"), (1, '1', "1"), (2, '2', "2"), (4, '4', "3-4"), (u16::MAX, '#', "5 or more")];

/// The picture, and under it what its signs mean. `holders`: how many members have each part, in order; `columns` of the
/// terminal.
pub fn lines(holders: &[u16], columns: usize, signs: Signs) -> Vec<String> {
    let table = if signs.unicode { UNICODE } else { ASCII };
    let label = holders.len().to_string().len();
    let cells = columns.min(MOST_COLUMNS).saturating_sub(label + 2).max(LEAST_COLUMNS);
    let group = holders.len().div_ceil(cells * ROWS).max(1);
    let drawn: Vec<char> = holders.chunks(group).map(|parts| sign(parts, &table)).collect();
    let rows = drawn.chunks(cells).enumerate().map(|(row, signs)| {
        let first = row * cells * group + 1;
        format!("{first:>label$}  {}", signs.iter().collect::<String>())
    });
    let mut lines: Vec<String> = rows.collect();
    let meanings: Vec<String> = table.iter().map(|(_, sign, meaning)| format!("{sign} {meaning}")).collect();
    let each = if group > 1 { format!("; a sign is {group} parts: the rarest of them") } else { String::new() };
    lines.push(format!("members that have it:  {}{each}", meanings.join("  ")));
    lines
}

fn sign(parts: &[u16], table: &[Sign]) -> char {
    let rarest = parts.iter().copied().min().unwrap_or_default();
    table.iter().find(|(most, ..)| rarest <= *most).map_or(' ', |(_, sign, _)| *sign)
}

/// Runs of parts for people: `1-40, 57, 60-2400`; at most so many of them.
pub fn runs(runs: &[(u32, u32)], most: usize) -> String {
    let run = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let told: Vec<_> = runs.iter().take(most).map(run).collect();
    let more = if runs.len() > most { " and more" } else { "" };
    format!("{}{more}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use proptest::prelude::*;

    use super::*;

    const ASCII_SIGNS: Signs = Signs { unicode: false };
    const SIGNS: Signs = Signs { unicode: true };

    #[test]
    fn each_part_has_its_sign_where_there_is_room() {
        let lines = lines(&[0, 1, 2, 3, 4, 5, 900, 0, 1, 1, 1, 2], 14, SIGNS);
        assert_eq!(
            lines,
            [" 1  ·░▒▓▓██·░░", "11  ░▒", "members that have it:  · nobody  ░ 1  ▒ 2  ▓ 3-4  █ 5 or more"]
        );
    }

    #[test]
    fn a_sign_shows_the_rarest_of_its_parts() {
        let mut holders = vec![3; 640];
        holders[17] = 0;
        let lines = lines(&holders, 25, ASCII_SIGNS);
        assert_eq!(lines[0], "  1  44444444.44444444444");
        assert_eq!(lines[1], " 41  44444444444444444444");
        assert!(lines.last().unwrap().ends_with("; a sign is 2 parts: the rarest of them"), "{lines:?}");
    }

    #[test]
    fn parts_are_told_in_runs() {
        assert_eq!(runs(&[(1, 40), (57, 57), (60, 2400)], 9), "1-40, 57, 60-2400");
        assert_eq!(runs(&[(1, 2), (4, 4), (6, 6)], 2), "1-2, 4 and more");
        assert_eq!(runs(&[], 2), "");
    }

    proptest! {
        #[test]
        fn it_fits_whatever_there_is(holders in proptest::collection::vec(0u16..9, 0..5000), columns in 20usize..200) {
            let lines = lines(&holders, columns, SIGNS);
            let (legend, rows) = lines.split_last().unwrap();
            prop_assert!(rows.len() <= ROWS && legend.contains("nobody"));
            for row in rows {
                prop_assert!(measure_text_width(row) <= columns, "{:?}", row);
            }
            let missing = holders.contains(&0);
            prop_assert_eq!(rows.iter().any(|row| row.contains('·')), missing);
        }
    }
}
