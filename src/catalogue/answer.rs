//! Answers of a catalogue over HTTP, whoever keeps it: a conductor or a member.
//!
//! Names leave as JSON strings or percent-encoded, never raw. Not here: what is answered, and to whom.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use super::place::ESCAPED;
use crate::conductor::catalogue::gate::{NO_PAGE, Said};

/// What a request says of where it comes from.
pub fn said(headers: &HeaderMap) -> Said<'_> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // An Origin that is no text is none of ours.
    let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default());
    Said { host: text(header::HOST), origin, is_no_page: headers.contains_key(NO_PAGE) }
}

/// An object.
pub fn json(status: StatusCode, object: &impl Serialize) -> Response {
    // Plain data with text for keys always can be written.
    let mut response = Response::new(Body::from(serde_json::to_vec(object).unwrap_or_default()));
    *response.status_mut() = status;
    mark(response.headers_mut(), "application/json");
    response
}

/// JSON that has this tag (RFC 9110, `ETag`); nothing of it where the asker has it.
pub fn tagged(json: Bytes, tag: &str, is_known: bool) -> Response {
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(json) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    mark(headers, "application/json");
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    response
}

/// A manifest, to be kept as `name` and `.orch`.
pub fn manifest(name: &str, text: impl Into<Body>) -> Response {
    attached(name, "orch", "text/plain; charset=utf-8", text.into())
}

/// A torrent, to be kept as `name` and `.torrent`.
pub fn torrent(name: &str, bytes: impl Into<Body>) -> Response {
    attached(name, "torrent", "application/x-bittorrent", bytes.into())
}

fn attached(name: &str, ending: &str, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    mark(headers, kind);
    let name = utf8_percent_encode(name, ESCAPED);
    if let Ok(place) = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}.{ending}")) {
        headers.insert(header::CONTENT_DISPOSITION, place);
    }
    response
}

/// What every answer says of its body: what it is and nothing else, and that it is old at once.
fn mark(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
