//! The page for people at `/`: the orchestras, and at `/c/KEY` one of them with its members, parts and ways to join. Also
//! `/metrics` for Prometheus and `/health` for whoever starts it again.
//!
//! Gathered from the table, the catalogue, the live links and the history ([`view`]), written as HTML that needs no script
//! ([`html`]), once a second at most and on a thread of its own ([`cache`]); the one small script asks each second what has
//! changed ([`changes`]). Nothing comes from elsewhere, so that it works without the internet.
//!
//! Faces the network. Every text is escaped by the template, and the content policy lets no other script run, so that a
//! name does nothing even where it is one. A page costs time in proportion to the catalogue or to the members of one swarm,
//! once a second. Swarms that are not in the catalogue are shown to private addresses alone: their info-hash is all that is
//! needed to join. Private addresses are shown to private askers alone, also those of members that have left.

pub mod cache;
pub mod changes;
mod html;
mod join;
pub mod metrics;
pub mod query;
pub mod view;

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::Response,
    routing::get,
};

use super::{
    Desk,
    catalogue::{
        CatalogueError,
        gate::{GateError, asked},
    },
    table::Caller,
};
use crate::{
    catalogue::{Key, Place, answer::said, place::ROOT},
    manifest::Endpoint,
    net::range::is_near,
};
use cache::{Eyes, Made, Page, View};
use query::Query;

/// Where the page of a composition is; its key follows.
const COMPOSITION: &str = "/c";
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const HTML: &str = "text/html; charset=utf-8";
/// What a page may load and do: its own style, script and questions, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Why a page is not shown.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("This conductor has no such composition, and nobody shares it here")]
    Unknown,
    #[error("There is no such page here")]
    NoPage,
    #[error("Pages are only read here: nothing can be sent to them")]
    Method,
    #[error("The numbers are for this network alone: ask from a private address")]
    Private,
}

/// The routes of the page.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(index))
        .route(&format!("{COMPOSITION}/{{*key}}"), get(composition))
        .route("/page.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route("/page.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/metrics", get(numbers))
        .route("/health", get(health))
        .method_not_allowed_fallback(|| async { refused(&PageError::Method) })
        .fallback(|| async { refused(&PageError::NoPage) })
        .with_state(desk)
}

async fn index(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if let Err(error) = may_ask(&desk, &headers) {
        return refused(&error);
    }
    let (near, query) = (is_from_near(&caller, &headers), Query::read(uri.query().unwrap_or_default()));
    let view = View::Index { near, query: query.clone() };
    let own = desk.clone();
    let make = move || Ok(html::index(&own.pages().index(near, || view::index(&own, near)), &query));
    answered(desk.pages().get(view, make).await, &headers, &uri)
}

async fn composition(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if let Err(error) = may_ask(&desk, &headers) {
        return refused(&error);
    }
    let here = said(&headers).host.and_then(asked);
    let path = uri.path().strip_prefix(COMPOSITION).unwrap_or_default();
    let Ok(Place::Entry(key)) = Place::parse(&format!("{ROOT}{path}")) else { return refused(&PageError::Unknown) };
    let host = here.as_ref().map(ToString::to_string).unwrap_or_default();
    let (near, own) = (is_from_near(&caller, &headers), desk.clone());
    let view = View::Composition { key: path.to_owned(), host, near, eyes: Eyes::of(&caller) };
    let make = move || page_of(&own, &key, &caller, near, here.as_ref());
    answered(desk.pages().get(view, make).await, &headers, &uri)
}

fn page_of(desk: &Desk, key: &Key, caller: &Caller, near: bool, here: Option<&Endpoint>) -> Result<Page, PageError> {
    match desk.catalogue().find(key) {
        Ok(entry) => Ok(html::composition(&view::registered(desk, entry, caller), here)),
        Err(CatalogueError::Several { candidates, .. }) => {
            Ok(html::index(&view::several(desk, candidates), &Query::read("")))
        }
        Err(_) => match key {
            Key::Hash(hash) if near => {
                let view = view::unregistered(desk, *hash, caller).ok_or(PageError::Unknown)?;
                Ok(html::composition(&view, here))
            }
            _ => Err(PageError::Unknown),
        },
    }
}

/// Whether the asker is on this network. Whoever comes through a proxy may be anywhere.
fn is_from_near(caller: &Caller, headers: &HeaderMap) -> bool {
    const PROXIED: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];
    is_near(caller.source) && !PROXIED.iter().any(|name| headers.contains_key(*name))
}

/// How often somebody may ask, the front has seen to.
fn may_ask(desk: &Desk, headers: &HeaderMap) -> Result<(), PageError> {
    Ok(desk.gate().may_read(said(headers))?)
}

async fn numbers(State(desk): State<Arc<Desk>>, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Response {
    match is_from_near(&caller, &headers) {
        true => marked(StatusCode::OK, metrics::KIND, metrics::text(desk).await.into()),
        false => refused(&PageError::Private),
    }
}

async fn health() -> Response {
    marked(StatusCode::OK, "application/json", r#"{"v":1,"status":"ok"}"#.into())
}

/// The page, or what changed since the asker took it: `have` in the query is the version that it shows.
fn answered(made: Result<Arc<Made>, PageError>, headers: &HeaderMap, uri: &Uri) -> Response {
    let made = match made {
        Ok(made) => made,
        Err(error) => return refused(&error),
    };
    let query = uri.query().unwrap_or_default();
    let have = query.split('&').find_map(|pair| pair.strip_prefix("have="));
    let tag = format!("\"{}\"", made.version());
    let mut response = match have {
        Some(have) => match made.changes(have) {
            Some(changes) => marked(StatusCode::OK, "application/json", changes.into()),
            None => marked(StatusCode::NO_CONTENT, "application/json", Body::empty()),
        },
        None if is_known(headers, &tag) => marked(StatusCode::NOT_MODIFIED, HTML, Body::empty()),
        None => marked(StatusCode::OK, HTML, made.html.clone().into()),
    };
    if let (None, Ok(tag)) = (have, HeaderValue::try_from(tag)) {
        response.headers_mut().insert(header::ETAG, tag);
        // It may be kept, and is asked for each time.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    response
}

/// Whether the asker has what has this tag.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
}

fn refused(error: &PageError) -> Response {
    let status = match error {
        PageError::Gate(GateError::Host(_)) => StatusCode::MISDIRECTED_REQUEST,
        PageError::Gate(_) => StatusCode::BAD_REQUEST,
        PageError::Unknown | PageError::NoPage => StatusCode::NOT_FOUND,
        PageError::Method => StatusCode::METHOD_NOT_ALLOWED,
        PageError::Private => StatusCode::FORBIDDEN,
    };
    marked(status, HTML, html::error(&error.to_string()).into())
}

fn file(kind: &'static str, text: &'static str) -> Response {
    marked(StatusCode::OK, kind, text.into())
}

fn marked(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conductor::{Voice, report, table::Seed};

    #[tokio::test]
    async fn the_front_alone_counts_questions() {
        let (reporter, _) = report::start(Voice::Silent);
        let desk = Arc::new(Desk::new(reporter, Seed(1, 2), Some(Seed(3, 4))));
        let source = [8, 8, 8, 8].into();
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("8.8.4.4"))]);
        let caller = Extension(Caller::new(source, source));
        let ask = || index(State(desk.clone()), caller, headers.clone(), Uri::from_static("/"));
        for _ in 0..200 {
            assert_eq!(ask().await.status(), StatusCode::OK);
        }
        let admitted = (0..200).filter(|_| desk.admits(source)).count();
        assert!((100..200).contains(&admitted), "{admitted} were admitted: there is no limit, or it was used up");
    }
}
