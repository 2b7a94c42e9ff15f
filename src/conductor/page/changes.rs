//! What a page shows, in pieces: an open page takes those that changed.
//!
//! Pure. A page has pieces, each with an id, and lists of rows, each row with a key. Two pages with the same pieces and rows
//! have the same version, whoever made them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::hashing::Hasher;

/// HTML of one piece that changes as a whole.
pub struct Piece {
    pub id: &'static str,
    pub html: String,
}

/// HTML of rows that come, change and go one by one.
pub struct Rows {
    pub id: &'static str,
    /// Each with its key.
    pub rows: Vec<(String, String)>,
}

/// All that changes on one page.
#[derive(Default)]
pub struct Shown {
    pub pieces: Vec<Piece>,
    pub lists: Vec<Rows>,
}

/// What a page showed, as short as it can be compared.
pub struct Trace {
    pub version: String,
    /// Digests of the pieces and rows, by id and key.
    digests: HashMap<u64, u64>,
    /// Digests of the keys of each list, in order.
    orders: Vec<u64>,
}

/// What is to be changed on a page that shows an earlier version.
#[derive(Serialize)]
pub struct Changes<'a> {
    v: u32,
    version: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pieces: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<&'a str, List<'a>>,
}

#[derive(Serialize)]
struct List<'a> {
    /// The keys of all rows; absent where they are what they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Vec<&'a str>>,
    /// The rows that are new or changed.
    rows: BTreeMap<&'a str, &'a str>,
}

/// A short name for these bytes and no others.
pub fn tag_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hex::encode(&hasher.finish().0[..8])
}

fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = Hasher::new();
    for text in texts {
        // Each with its length before it: no two lists are hashed as the same bytes.
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finish().0[..8]);
    u64::from_be_bytes(first)
}

impl Shown {
    /// Rows and pieces with their ids.
    fn items(&self) -> impl Iterator<Item = (u64, &str)> {
        let pieces = self.pieces.iter().map(|piece| (digest([piece.id]), piece.html.as_str()));
        let rows = |list: &'_ Rows| list.id;
        let lists = self
            .lists
            .iter()
            .flat_map(move |list| list.rows.iter().map(move |(key, html)| (digest([rows(list), key]), html.as_str())));
        pieces.chain(lists)
    }

    pub fn trace(&self) -> Trace {
        let digests: HashMap<u64, u64> = self.items().map(|(id, html)| (id, digest([html]))).collect();
        let orders = self.lists.iter().map(|list| digest(list.rows.iter().map(|(key, _)| key.as_str()))).collect();
        let all = self.items().map(|(_, html)| html);
        let keys = self.lists.iter().flat_map(|list| list.rows.iter().map(|(key, _)| key.as_str()));
        let version = format!("{:016x}", digest(all.chain(keys)));
        Trace { version, digests, orders }
    }

    /// What changed since `old`; everything where that is not known.
    pub fn changes<'a>(&'a self, version: &'a str, old: Option<&Trace>) -> Changes<'a> {
        let is_new = |id: u64, html: &str| old.is_none_or(|old| old.digests.get(&id) != Some(&digest([html])));
        let pieces = self.pieces.iter().filter(|piece| is_new(digest([piece.id]), &piece.html));
        let pieces = pieces.map(|piece| (piece.id, piece.html.as_str())).collect();
        let mut lists = BTreeMap::new();
        for (nth, list) in self.lists.iter().enumerate() {
            let order = digest(list.rows.iter().map(|(key, _)| key.as_str()));
            let moved = old.is_none_or(|old| old.orders.get(nth) != Some(&order));
            let order = moved.then(|| list.rows.iter().map(|(key, _)| key.as_str()).collect());
            let rows = list.rows.iter().filter(|(key, html)| is_new(digest([list.id, key]), html));
            let rows: BTreeMap<&str, &str> = rows.map(|(key, html)| (key.as_str(), html.as_str())).collect();
            if order.is_some() || !rows.is_empty() {
                lists.insert(list.id, List { order, rows });
            }
        }
        Changes { v: 1, version, pieces, lists }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sum: &str, rows: &[(&str, &str)]) -> Shown {
        let rows = rows.iter().map(|(key, html)| ((*key).to_owned(), (*html).to_owned())).collect();
        Shown { pieces: vec![Piece { id: "sum", html: sum.to_owned() }], lists: vec![Rows { id: "all", rows }] }
    }

    fn told(old: &Shown, new: &Shown) -> serde_json::Value {
        let changes = serde_json::to_value(new.changes("new", Some(&old.trace()))).unwrap();
        assert_eq!((&changes["v"], &changes["version"]), (&1.into(), &"new".into()));
        changes
    }

    #[test]
    fn only_what_changed_is_told() {
        let old = shown("2", &[("a", "A"), ("b", "B"), ("c", "C")]);
        assert_eq!(told(&old, &shown("2", &[("a", "A"), ("b", "B"), ("c", "C")])).as_object().unwrap().len(), 2);
        let changed = told(&old, &shown("3", &[("a", "A"), ("b", "B2"), ("c", "C")]));
        assert_eq!(changed["pieces"], serde_json::json!({"sum": "3"}));
        assert_eq!(changed["lists"], serde_json::json!({"all": {"rows": {"b": "B2"}}}));
        let moved = told(&old, &shown("2", &[("c", "C"), ("a", "A"), ("d", "D")]));
        assert_eq!(moved["lists"], serde_json::json!({"all": {"order": ["c", "a", "d"], "rows": {"d": "D"}}}));
    }

    #[test]
    fn the_version_is_that_of_what_is_shown() {
        let version = |shown: Shown| shown.trace().version;
        assert_eq!(version(shown("1", &[("a", "A")])), version(shown("1", &[("a", "A")])));
        assert_ne!(version(shown("1", &[("a", "A")])), version(shown("1", &[("b", "A")])));
        let all = shown("1", &[("a", "A")]);
        let told = serde_json::to_value(all.changes("x", None)).unwrap();
        assert_eq!(told["lists"], serde_json::json!({"all": {"order": ["a"], "rows": {"a": "A"}}}));
    }
}
