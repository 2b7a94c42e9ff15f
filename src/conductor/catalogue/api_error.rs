//! Whatever is wrong with a request to the catalogue: its status, what the asker hears, and when to ask again.
//!
//! What passes by itself says so with `Retry-After`: askers that wait get what they asked for.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::{CatalogueError, StoreError, gate::GateError, uploads::BodyError, writers::TokenRefused};
use crate::{
    catalogue::{Refusal, VERSION, answer::json, batch::MAX_BATCH, place::PlaceError},
    conductor::http::TooMuch,
    manifest::ManifestError,
    metainfo::convert::ConvertError,
};

/// After this time an asker may come again: where the catalogue was busy, and where its store is away or a composition is
/// still being hashed.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(2);
/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Token(#[from] TokenRefused),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("there is no torrent of it: {0}")]
    Torrent(NoTorrent),
    #[error("only NAME, HASH and OWNER/NAME can be written")]
    NotWritable,
    #[error("the body was not taken: {0}")]
    Body(#[from] BodyError),
    #[error("expected a list of what is being hashed: {0}")]
    Coming(serde_json::Error),
    #[error("expected a list of manifests, each as text: {0}")]
    Batch(serde_json::Error),
    #[error("one request takes up to {MAX_BATCH} manifests, and this one has {0}: send several")]
    TooMany(usize),
    #[error("the store of the catalogue does not take changes: {0}")]
    NotReady(Arc<StoreError>),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// Why a manifest has no torrent.
#[derive(Debug, thiserror::Error)]
pub enum NoTorrent {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// Said to a source that asks too much, whatever it asked for.
pub fn too_much(error: &TooMuch) -> Response {
    let refusal = Refusal { v: VERSION, error: error.to_string(), candidates: Vec::new(), member: None };
    let mut response = json(StatusCode::TOO_MANY_REQUESTS, &refusal);
    mark_again(&mut response, Some(SOON));
    response
}

/// What an asker hears of an error. Where the store is, is said in the log alone.
pub fn said_of(error: &ApiError) -> String {
    match error {
        ApiError::Catalogue(CatalogueError::Store(error)) | ApiError::NotReady(error) => match **error {
            StoreError::Redis { .. } => "the catalogue's Redis does not answer: try again".to_owned(),
            StoreError::Raced { .. } => "too many change the catalogue at the same moment: try again".to_owned(),
            _ => "the catalogue could not be read or written: the conductor's log says why".to_owned(),
        },
        error => error.to_string(),
    }
}

/// When to ask again after an error that passes by itself.
pub fn retry_after(error: &ApiError) -> Option<Duration> {
    match error {
        ApiError::TooMuch(_) | ApiError::Body(BodyError::NoRoom) => Some(SOON),
        ApiError::Catalogue(CatalogueError::Coming(_)) | ApiError::NotReady(_) => Some(LATER),
        ApiError::Catalogue(CatalogueError::Store(error)) => match **error {
            StoreError::Raced { .. } => Some(SOON),
            StoreError::Redis { .. } => Some(LATER),
            _ => None,
        },
        _ => None,
    }
}

/// Says when to ask again.
pub fn mark_again(response: &mut Response, again: Option<Duration>) {
    if let Some(again) = again {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(again.as_secs()));
    }
}

/// The status of its answer.
pub fn status(error: &ApiError) -> StatusCode {
    match error {
        ApiError::Gate(GateError::Host(_)) => StatusCode::MISDIRECTED_REQUEST,
        ApiError::Gate(GateError::NoHost)
        | ApiError::Place(_)
        | ApiError::Body(BodyError::Broken(_))
        | ApiError::Coming(_)
        | ApiError::Batch(_) => StatusCode::BAD_REQUEST,
        ApiError::Body(BodyError::TooLong(_)) | ApiError::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
        ApiError::Body(BodyError::NoRoom) | ApiError::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
        ApiError::Torrent(_) => StatusCode::NOT_FOUND,
        ApiError::TooMuch(_) => StatusCode::TOO_MANY_REQUESTS,
        ApiError::Gate(GateError::Origin) => StatusCode::FORBIDDEN,
        ApiError::Token(TokenRefused::Missing | TokenRefused::Unknown) => StatusCode::UNAUTHORIZED,
        // No token would help: to everybody else it is only to be read, as a member's list is.
        ApiError::Token(TokenRefused::Own) | ApiError::NotWritable => StatusCode::METHOD_NOT_ALLOWED,
        ApiError::Catalogue(error) => match error {
            CatalogueError::Manifest(_) | CatalogueError::Other { .. } => StatusCode::BAD_REQUEST,
            CatalogueError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            CatalogueError::Closed | CatalogueError::NotYours { .. } => StatusCode::FORBIDDEN,
            CatalogueError::There(_) | CatalogueError::Taken { .. } => StatusCode::CONFLICT,
            CatalogueError::Unknown(_) => StatusCode::NOT_FOUND,
            CatalogueError::Coming(_) => StatusCode::SERVICE_UNAVAILABLE,
            CatalogueError::Several { .. } => StatusCode::MULTIPLE_CHOICES,
            CatalogueError::Full | CatalogueError::Share(_) => StatusCode::INSUFFICIENT_STORAGE,
            CatalogueError::Store(error) => match **error {
                StoreError::Redis { .. } | StoreError::Raced { .. } => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        },
    }
}
