//! The page for people at `/`: the orchestras, and at `/c/KEY` one of them with its members, parts and ways to join. Also
//! `/metrics` for Prometheus and `/health` for whoever starts it again.
//!
//! Rendered here from the table, the catalogue and the live links ([`view`]), as HTML that needs no script ([`html`]); the one
//! small script takes the same page again each second and swaps what changed. Nothing comes from elsewhere, so that it
//! works without the internet.
//!
//! Faces the network. Every text is escaped by the template, and the content policy lets no other script run, so that a
//! name does nothing even where it is one. A page costs time in proportion to the catalogue or to [`view::MOST`] members. Swarms that are
//! not in the catalogue are shown to private addresses alone: their info-hash is all that is needed to join.

mod html;
pub mod metrics;
mod view;

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
    routing::get,
};
use maud::Markup;

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
    net::range::is_near,
};

/// Where the page of a composition is; its key follows.
const COMPOSITION: &str = "/c";
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// What a page may load and do: its own style, script and questions, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Why a page is not shown.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("this conductor has no such composition, and nobody shares it here")]
    Unknown,
    #[error("the numbers are for this network alone: ask from a private address")]
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
        .with_state(desk)
}

async fn index(State(desk): State<Arc<Desk>>, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Response {
    let page = || {
        may_ask(&desk, &headers)?;
        Ok(html::index(&view::index(&desk, is_near(caller.source))))
    };
    answered(page())
}

async fn composition(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let page = || {
        may_ask(&desk, &headers)?;
        let here = said(&headers).host.and_then(asked);
        let key = uri.path().strip_prefix(COMPOSITION).unwrap_or_default();
        let Ok(Place::Entry(key)) = Place::parse(&format!("{ROOT}{key}")) else { return Err(PageError::Unknown) };
        match desk.catalogue().find(&key) {
            Ok(entry) => Ok(html::composition(&view::registered(&desk, entry, &caller), here.as_ref())),
            Err(CatalogueError::Several { candidates, .. }) => Ok(html::index(&view::several(&desk, candidates))),
            Err(_) => match key {
                Key::Hash(hash) if is_near(caller.source) => {
                    let view = view::unregistered(&desk, hash, &caller).ok_or(PageError::Unknown)?;
                    Ok(html::composition(&view, here.as_ref()))
                }
                _ => Err(PageError::Unknown),
            },
        }
    };
    answered(page())
}

/// How often somebody may ask, the front has seen to.
fn may_ask(desk: &Desk, headers: &HeaderMap) -> Result<(), PageError> {
    Ok(desk.gate().may_read(said(headers))?)
}

async fn numbers(State(desk): State<Arc<Desk>>, Extension(caller): Extension<Caller>) -> Response {
    match is_near(caller.source) {
        true => marked(StatusCode::OK, metrics::KIND, metrics::text(&desk).into()),
        false => marked(StatusCode::FORBIDDEN, "text/plain", PageError::Private.to_string().into()),
    }
}

async fn health() -> Response {
    marked(StatusCode::OK, "application/json", r#"{"v":1,"status":"ok"}"#.into())
}

fn answered(page: Result<Markup, PageError>) -> Response {
    let (status, markup) = match page {
        Ok(markup) => (StatusCode::OK, markup),
        Err(error) => {
            let status = match error {
                PageError::Gate(GateError::Host(_)) => StatusCode::MISDIRECTED_REQUEST,
                PageError::Gate(_) => StatusCode::BAD_REQUEST,
                PageError::Unknown => StatusCode::NOT_FOUND,
                PageError::Private => StatusCode::FORBIDDEN,
            };
            (status, html::error(&error.to_string()))
        }
    };
    marked(status, "text/html; charset=utf-8", markup.into_string().into())
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
        let ask = || index(State(desk.clone()), Extension(Caller::new(source, source)), headers.clone());
        for _ in 0..200 {
            assert_eq!(ask().await.status(), StatusCode::OK);
        }
        let admitted = (0..200).filter(|_| desk.admits(source)).count();
        assert!((100..200).contains(&admitted), "{admitted} were admitted: there is no limit, or it was used up");
    }
}
