//! Several compositions have one name: a person at a terminal says which is meant.

use std::io::{self, BufRead, IsTerminal, Write};

use super::table;
use crate::{catalogue::Composition, ui::Signs};

/// Whether somebody is there to choose.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The candidates as a table; `columns` of the terminal, numbered there.
pub fn table(candidates: &[Composition], now: u64, columns: Option<usize>) -> String {
    table::candidates(candidates, now, columns.is_some()).render(columns, Signs::of_locale())
}

/// Asks on stderr until a number of the list is typed; None if nothing or `q` is. Blocks.
pub fn choose(mut candidates: Vec<Composition>, now: u64) -> Option<Composition> {
    let columns = console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
    eprint!("{}", table(&candidates, now, Some(columns)));
    loop {
        eprint!("which one? 1 to {}, or q: ", candidates.len());
        let _ = io::stderr().flush();
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).ok()?;
        match chosen(&line, candidates.len()) {
            Typed::Number(place) => return Some(candidates.swap_remove(place)),
            Typed::Nothing => return None,
            Typed::Strange => {}
        }
    }
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// A place in the list, counted from 0.
    Number(usize),
    Nothing,
    Strange,
}

fn chosen(line: &str, candidates: usize) -> Typed {
    match (line.trim(), line.trim().parse::<usize>()) {
        ("" | "q" | "Q", _) => Typed::Nothing,
        (_, Ok(number)) if (1..=candidates).contains(&number) => Typed::Number(number - 1),
        _ => Typed::Strange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_the_list_chooses() {
        for (line, typed) in [
            ("2\n", Typed::Number(1)),
            (" 1 \r\n", Typed::Number(0)),
            ("", Typed::Nothing),
            ("q\n", Typed::Nothing),
            ("3\n", Typed::Strange),
            ("0\n", Typed::Strange),
            ("x\n", Typed::Strange),
        ] {
            assert_eq!(chosen(line, 2), typed, "{line:?}");
        }
    }
}
