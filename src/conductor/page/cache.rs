//! Pages as they were made last: each is made once a second at most, on a thread that answers nobody, whoever asks.
//!
//! What it costs an attacker: a page of [`ROWS`](super::query::ROWS) rows for each query, one after the other, and
//! [`MAX_VIEWS`] pages in memory (some 150 KiB each, and 4 KiB for each of their last [`MAX_TRACES`] versions).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::{
    PageError,
    changes::{Shown, Trace, tag_of},
    query::Query,
    view::Index,
};
use crate::conductor::table::{Caller, is_private};

/// Age up to which a page is shown to the next asker.
const FRESH: Duration = Duration::from_secs(1);
/// Pages that are kept, at most.
const MAX_VIEWS: usize = 64;
/// Earlier versions of a page of which it is known what they showed.
const MAX_TRACES: usize = 8;

/// Which page, as far as it differs between those who ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum View {
    Index {
        /// Swarms that are not in the catalogue are listed too.
        near: bool,
        query: Query,
    },
    Composition {
        key: String,
        /// The conductor's address, as the asker named it.
        host: String,
        /// It is shown also where it is not in the catalogue.
        near: bool,
        eyes: Eyes,
    },
}

/// Where an asker is, as far as it decides which addresses it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Eyes {
    loopback: bool,
    private: bool,
    v6: bool,
    reached: IpAddr,
}

impl Eyes {
    pub fn of(caller: &Caller) -> Self {
        let Caller { source, reached, .. } = *caller;
        Self { loopback: source.is_loopback(), private: is_private(source), v6: source.is_ipv6(), reached }
    }
}

/// A page, and all of it that changes.
pub struct Page {
    pub html: String,
    pub shown: Shown,
    pub trace: Trace,
}

/// A page as it was made last.
pub struct Made {
    at: Instant,
    pub html: Bytes,
    shown: Shown,
    trace: Arc<Trace>,
    /// What it showed before, the latest first.
    earlier: Vec<Arc<Trace>>,
}

impl Made {
    pub fn version(&self) -> &str {
        &self.trace.version
    }

    /// What changed since the page was of this version, as JSON; None: nothing did.
    pub fn changes(&self, version: &str) -> Option<Vec<u8>> {
        if version == self.version() {
            return None;
        }
        let old = self.earlier.iter().find(|trace| trace.version == version);
        // Plain data with text for keys always can be written.
        serde_json::to_vec(&self.shown.changes(self.version(), old.map(AsRef::as_ref))).ok()
    }
}

type Cell = Arc<AsyncMutex<Option<Arc<Made>>>>;

/// The list of all compositions, and when it was gathered.
type Gathered = Mutex<Option<(Instant, Arc<Index>)>>;

/// All pages that somebody looks at.
pub struct Pages {
    views: Mutex<HashMap<View, (Instant, Cell)>>,
    /// One page is made at a time.
    turn: Semaphore,
    near: Gathered,
    far: Gathered,
    listing: AsyncMutex<Option<Listed>>,
}

/// The whole catalogue as JSON, as it was written last.
#[derive(Clone)]
pub struct Listed {
    at: Instant,
    /// The generation of the catalogue.
    of: u64,
    pub json: Bytes,
    pub tag: String,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            views: Mutex::default(),
            turn: Semaphore::new(1),
            near: Mutex::default(),
            far: Mutex::default(),
            listing: AsyncMutex::default(),
        }
    }
}

impl Pages {
    /// The page of this view: what was made within the last second, or what `make` makes.
    pub async fn get(
        &self,
        view: View,
        make: impl FnOnce() -> Result<Page, PageError> + Send + 'static,
    ) -> Result<Arc<Made>, PageError> {
        let cell = self.cell(view);
        let mut last = cell.lock().await;
        if let Some(made) = last.as_ref().filter(|made| made.at.elapsed() < FRESH) {
            return Ok(made.clone());
        }
        let _turn = self.turn.acquire().await;
        let made = match tokio::task::spawn_blocking(make).await {
            Ok(made) => made?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let made = Arc::new(after(last.as_deref(), made));
        *last = Some(made.clone());
        Ok(made)
    }

    fn cell(&self, view: View) -> Cell {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if views.len() >= MAX_VIEWS
            && !views.contains_key(&view)
            && let Some(oldest) = views.iter().min_by_key(|(_, (used, _))| *used).map(|(view, _)| view.clone())
        {
            views.remove(&oldest);
        }
        let (used, cell) = views.entry(view).or_insert_with(|| (now, Cell::default()));
        *used = now;
        cell.clone()
    }

    /// The whole catalogue, of this generation, as JSON: what was written within the last second, or what `write` writes.
    pub async fn listing(&self, of: u64, write: impl FnOnce() -> Vec<u8> + Send + 'static) -> Listed {
        let mut last = self.listing.lock().await;
        if let Some(listed) = last.as_ref().filter(|listed| listed.of == of && listed.at.elapsed() < FRESH) {
            return listed.clone();
        }
        let _turn = self.turn.acquire().await;
        let write = move || {
            let json = write();
            let tag = format!("\"{}\"", tag_of(&json));
            (json, tag)
        };
        let (json, tag) = match tokio::task::spawn_blocking(write).await {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        last.insert(Listed { at: Instant::now(), of, json: json.into(), tag }).clone()
    }

    /// The list of all compositions: of the last second, or gathered now. Blocks.
    pub fn index(&self, near: bool, gather: impl FnOnce() -> Index) -> Arc<Index> {
        let place = if near { &self.near } else { &self.far };
        let mut last = place.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            Some((_, index)) => index.clone(),
            None => last.insert((Instant::now(), Arc::new(gather()))).1.clone(),
        }
    }
}

/// The next version of a page.
fn after(last: Option<&Made>, Page { html, shown, trace }: Page) -> Made {
    let mut earlier = Vec::new();
    if let Some(last) = last {
        earlier.push(last.trace.clone());
        earlier.extend(last.earlier.iter().filter(|old| old.version != last.trace.version).cloned());
        earlier.truncate(MAX_TRACES);
    }
    Made { at: Instant::now(), html: html.into(), shown, trace: Arc::new(trace), earlier }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conductor::page::changes::Piece;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn page(text: &str) -> Page {
        let shown = Shown { pieces: vec![Piece { id: "sum", html: text.to_owned() }], lists: Vec::new() };
        let trace = shown.trace();
        Page { html: text.to_owned(), shown, trace }
    }

    #[tokio::test]
    async fn a_page_is_made_once_for_all_who_ask() {
        let (pages, count) = (Pages::default(), Arc::new(AtomicUsize::new(0)));
        let view = View::Index { near: false, query: Query::read("") };
        let ask = || {
            let count = count.clone();
            pages.get(view.clone(), move || {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(page("1"))
            })
        };
        let all = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert!(all.iter().all(|made| made.as_ref().is_ok_and(|made| made.html == "1")));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_open_page_takes_what_changed() {
        let one = after(None, page("1"));
        let two = after(Some(&one), page("2"));
        assert_eq!(two.changes(two.version()), None);
        let told = |have: &str| String::from_utf8(two.changes(have).unwrap()).unwrap();
        assert_eq!(told(one.version()), format!(r#"{{"v":1,"version":"{}","pieces":{{"sum":"2"}}}}"#, two.version()));
        assert_eq!(told("older"), told(one.version()), "all of it, where it is not known what there was");
        let many = (0..20).fold(two, |last, n| after(Some(&last), page(&n.to_string())));
        assert_eq!(many.earlier.len(), MAX_TRACES);
    }

    #[tokio::test]
    async fn pages_that_nobody_looks_at_go() {
        let pages = Pages::default();
        for n in 0..2 * MAX_VIEWS {
            let query = Query { page: n + 1, ..Query::default() };
            assert!(pages.get(View::Index { near: true, query }, || Ok(page(""))).await.is_ok());
        }
        assert_eq!(pages.views.lock().unwrap().len(), MAX_VIEWS);
    }
}
