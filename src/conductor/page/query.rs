//! Which part of the list of compositions is asked for, and in which order: read from the query of a URL, and written into
//! links.
//!
//! Pure. Whatever the query holds it means some list; what is not understood is passed over.

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::view::Orchestra;
use crate::catalogue::place::ESCAPED;

/// Rows of one page.
pub const ROWS: usize = 100;
/// Characters of a filter, at most.
const MAX_FILTER: usize = 64;

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Column {
    #[default]
    Name,
    Size,
    Members,
    Complete,
    Had,
    Rate,
}

impl Column {
    pub const ALL: [Self; 6] = [Self::Name, Self::Size, Self::Members, Self::Complete, Self::Had, Self::Rate];

    /// As a query says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Members => "members",
            Self::Complete => "complete",
            Self::Had => "had",
            Self::Rate => "rate",
        }
    }

    /// Numbers: the largest come first.
    pub fn is_number(self) -> bool {
        self != Self::Name
    }

    fn number(self, row: &Orchestra) -> u64 {
        match self {
            Self::Name => 0,
            Self::Size => row.entry.as_ref().map_or(0, |entry| entry.size),
            Self::Members => row.members().into(),
            Self::Complete => row.counts.complete.into(),
            Self::Had => row.had_whole,
            Self::Rate => row.rate,
        }
    }
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    pub column: Column,
    /// The other way round.
    pub reversed: bool,
    /// Counted from 1.
    pub page: usize,
    /// Part of a name, in lower case.
    pub filter: String,
}

impl Query {
    pub fn read(query: &str) -> Self {
        let mut read = Self { page: 1, ..Self::default() };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "sort" => {
                    let (reversed, word) = value.strip_prefix('-').map_or((false, value), |word| (true, word));
                    if let Some(column) = Column::ALL.into_iter().find(|column| column.word() == word) {
                        (read.column, read.reversed) = (column, reversed);
                    }
                }
                "page" => read.page = value.parse().unwrap_or(1).max(1),
                "q" => {
                    let spaced = value.replace('+', " ");
                    let text = percent_decode_str(&spaced).decode_utf8_lossy();
                    read.filter = text.trim().to_lowercase().chars().take(MAX_FILTER).collect();
                }
                _ => {}
            }
        }
        read
    }

    /// The link that leads there.
    pub fn link(&self) -> String {
        let mut pairs = Vec::new();
        if !self.filter.is_empty() {
            pairs.push(format!("q={}", utf8_percent_encode(&self.filter, ESCAPED)));
        }
        if self.column != Column::Name || self.reversed {
            pairs.push(format!("sort={}", self.order()));
        }
        if self.page > 1 {
            pairs.push(format!("page={}", self.page));
        }
        if pairs.is_empty() { "/".to_owned() } else { format!("/?{}", pairs.join("&")) }
    }

    /// The order as a query says it.
    pub fn order(&self) -> String {
        format!("{}{}", if self.reversed { "-" } else { "" }, self.column.word())
    }

    /// The same list by this column; the other way round where it is by this one already.
    pub fn sorted_by(&self, column: Column) -> Self {
        let reversed = self.column == column && !self.reversed;
        Self { column, reversed, page: 1, filter: self.filter.clone() }
    }

    /// The rows of this page, and how many there are in all. `all` is sorted by name.
    pub fn of<'a>(&self, all: &'a [Orchestra]) -> (Vec<&'a Orchestra>, usize) {
        let is_meant = |row: &&Orchestra| self.filter.is_empty() || row.searched().contains(&self.filter);
        let mut rows: Vec<&Orchestra> = all.iter().filter(is_meant).collect();
        if self.column.is_number() {
            rows.sort_by_key(|row| core::cmp::Reverse(self.column.number(row)));
        }
        if self.reversed {
            rows.reverse();
        }
        let count = rows.len();
        let first = (self.page.min(count.div_ceil(ROWS).max(1)) - 1) * ROWS;
        (rows.into_iter().skip(first).take(ROWS).collect(), count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_link_leads_to_what_it_names() {
        let query = Query { column: Column::Size, reversed: true, page: 3, filter: "a b&c".to_owned() };
        assert_eq!(query.link(), "/?q=a%20b%26c&sort=-size&page=3");
        assert_eq!(Query::read(&query.link()[2..]), query);
        assert_eq!(Query::read("q=A+B").filter, "a b");
        assert_eq!(Query::read("").link(), "/");
        assert_eq!(query.sorted_by(Column::Size).link(), "/?q=a%20b%26c&sort=size");
    }

    proptest! {
        #[test]
        fn any_query_means_some_list(query in "\\PC{0,200}") {
            let read = Query::read(&query);
            prop_assert!(read.page > 0 && read.filter.chars().count() <= MAX_FILTER);
            prop_assert_eq!(Query::read(read.link().strip_prefix("/?").unwrap_or("")), read);
        }
    }
}
