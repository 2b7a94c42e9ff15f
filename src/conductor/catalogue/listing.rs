//! What the catalogue lists, and who has an entry: written on threads that answer nobody, a long list once a second at most.

use std::sync::Arc;

use axum::{http::HeaderMap, response::Response};

use super::{
    Entry as Kept,
    api::{blocking, composition},
};
use crate::{
    catalogue::{Composition, Listing, Roster, VERSION, answer},
    conductor::{
        Desk,
        page::{
            changes::tag_of,
            is_known,
            query::Query,
            view::{self, Rosters},
        },
        table::Caller,
    },
};

/// Entries of a list that is written anew for each asker: less than a millisecond.
const SMALL: usize = 256;

/// All entries, or those of the page that the query asks for.
pub async fn list(desk: &Arc<Desk>, headers: &HeaderMap, query: &str) -> Response {
    let (own, generation) = (desk.clone(), desk.catalogue().generation());
    if query.is_empty() {
        let write = move || listing(&own, own.catalogue().list(), None);
        if desk.catalogue().count() <= SMALL {
            return tagged(write(), headers);
        }
        let listed = desk.pages().listing(generation, write).await;
        let known = is_known(headers, &listed.tag);
        return answer::tagged(listed.json, &listed.tag, known);
    }
    let query = Query::read(query);
    let page = move || {
        let index = own.pages().index(false, || view::index(&own, false));
        let (rows, total) = query.of(&index.orchestras);
        listing(&own, rows.into_iter().filter_map(|row| row.entry.clone()).collect(), Some(total as u64))
    };
    tagged(blocking(page).await, headers)
}

fn listing(desk: &Desk, entries: Vec<Kept>, total: Option<u64>) -> Vec<u8> {
    let (compositions, coming) = (compositions(desk, entries), desk.catalogue().expected());
    // Plain data with text for keys always can be written.
    serde_json::to_vec(&Listing { v: VERSION, compositions, coming, total, member: None }).unwrap_or_default()
}

/// These entries with how their swarms stand.
pub fn compositions(desk: &Desk, entries: Vec<Kept>) -> Vec<Composition> {
    let hashes: Vec<_> = entries.iter().map(|entry| entry.info_hash).collect();
    let counts = desk.counts(&hashes).into_iter().map(|(_, counts)| counts);
    entries.into_iter().zip(counts).map(|(entry, counts)| composition(entry, counts)).collect()
}

/// Who has an entry, and who has had it.
pub async fn roster(desk: &Arc<Desk>, entry: Kept, caller: Caller) -> Roster {
    let (own, hash, size) = (desk.clone(), entry.info_hash, entry.size);
    let Rosters { holders, past, had_whole } = blocking(move || view::rosters(&own, &hash, size, &caller)).await;
    let counts = desk.counts_of(&hash);
    Roster { v: VERSION, composition: composition(entry, counts), holders, had_whole, past, member: None }
}

/// JSON with a tag of its own, or nothing of it where the asker has it.
fn tagged(json: Vec<u8>, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", tag_of(&json));
    let known = is_known(headers, &tag);
    answer::tagged(json.into(), &tag, known)
}
