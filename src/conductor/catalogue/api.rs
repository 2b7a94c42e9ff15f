//! The catalogue over HTTP: JSON and manifests under `/compositions` ([`crate::catalogue::place`] has the paths).
//!
//! It reads requests, asks the [`Catalogue`](super::Catalogue), and writes answers; it decides nothing. Whatever is wrong
//! is a [`Refusal`] with its status.
//!
//! Faces the network. Names leave as JSON strings or percent-encoded, never raw. Who has no right to write is told so
//! before the body is read; bodies are at most [`MAX_MANIFEST`] bytes, [`MAX_UPLOADS`] of them at once. A list costs
//! time and memory in proportion to the catalogue, whose size is bounded.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
    routing::{get, put},
};
use hyper::body::Body as _;
use tokio::sync::Semaphore;

use super::{
    CatalogueError, Entry as Kept, Outcome, StoreError,
    gate::{GateError, asked},
    writers::{TokenRefused, Writer},
};
use crate::{
    announce::Counts,
    catalogue::{
        Coming, Composition, Entry, Holder, IfTaken, Key, Listing, MAX_MANIFEST, Place, Refusal, Roster, VERSION,
        answer::{self, json, said},
        percent,
        place::{COMING, PlaceError, ROOT},
    },
    conductor::{Desk, http::TooMuch, table::Caller},
    manifest::Endpoint,
};

/// Manifests that are received at the same time.
const MAX_UPLOADS: usize = 4;
/// Members that are listed of one composition, at most.
const MAX_HOLDERS: usize = 1000;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Token(#[from] TokenRefused),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("only NAME, HASH and OWNER/NAME can be written")]
    NotWritable,
    #[error("the manifest did not arrive: {0}")]
    Body(axum::Error),
    #[error("expected a list of what is being hashed: {0}")]
    Coming(#[from] serde_json::Error),
}

type Answer = Result<Response, ApiError>;

#[derive(Clone)]
struct Office {
    desk: Arc<Desk>,
    uploads: Arc<Semaphore>,
}

/// The routes of the catalogue.
pub fn router(desk: Arc<Desk>) -> Router {
    let office = Office { desk, uploads: Arc::new(Semaphore::new(MAX_UPLOADS)) };
    Router::new()
        .route(ROOT, get(list))
        .route(&format!("{ROOT}/"), get(list))
        .route(&format!("{ROOT}/{{*place}}"), get(read).put(register).delete(remove))
        .route(COMING, put(expect))
        .with_state(office)
}

async fn list(State(office): State<Office>, headers: HeaderMap) -> Response {
    office.answered(office.list(&headers))
}

async fn read(
    State(office): State<Office>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    office.answered(office.read(&caller, &headers, &uri).await)
}

async fn register(State(office): State<Office>, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    office.answered(office.register(&headers, &uri, body).await)
}

async fn remove(State(office): State<Office>, headers: HeaderMap, uri: Uri) -> Response {
    office.answered(office.remove(&headers, &uri).await)
}

async fn expect(State(office): State<Office>, headers: HeaderMap, body: Body) -> Response {
    office.answered(office.expect(&headers, body).await)
}

impl Office {
    fn list(&self, headers: &HeaderMap) -> Answer {
        self.desk.gate().may_read(said(headers))?;
        let compositions = self.compositions(self.desk.catalogue().list());
        let coming = self.desk.catalogue().expected();
        Ok(json(StatusCode::OK, &Listing { v: VERSION, compositions, coming, member: None }))
    }

    async fn read(&self, caller: &Caller, headers: &HeaderMap, uri: &Uri) -> Answer {
        self.desk.gate().may_read(said(headers))?;
        let catalogue = self.desk.catalogue();
        match Place::parse(uri.path())? {
            Place::Entry(key) => Ok(json(StatusCode::OK, &self.entry(catalogue.find(&key)?))),
            Place::Members(key) => Ok(json(StatusCode::OK, &self.roster(catalogue.find(&key)?, caller))),
            Place::Manifest(key) => self.manifest(catalogue.find(&key)?, caller, headers).await,
        }
    }

    async fn manifest(&self, entry: Kept, caller: &Caller, headers: &HeaderMap) -> Answer {
        let (catalogue, hash) = (self.desk.catalogue().clone(), entry.info_hash);
        let text = blocking(move || catalogue.manifest(&hash)).await.map_err(CatalogueError::from)?;
        let text = text.ok_or_else(|| CatalogueError::Unknown(entry.name.shown().into_owned()))?;
        let text = reachable(text, said(headers).host.and_then(asked), caller);
        Ok(answer::manifest(entry.name.as_str(), text))
    }

    async fn register(&self, headers: &HeaderMap, uri: &Uri, mut body: Body) -> Answer {
        let (writer, key) = match self.may_write(headers, uri) {
            Ok(allowed) => allowed,
            Err(refused) => {
                // A connection that is closed while its body is under way may lose the answer.
                let _ = receive(&mut body, |_| {}).await;
                return Err(refused);
            }
        };
        let if_taken = IfTaken::of_query(uri.query().unwrap_or_default());
        let _place = self.uploads.acquire().await;
        let mut text = Vec::new();
        receive(&mut body, |bytes| text.extend_from_slice(bytes)).await?;
        let catalogue = self.desk.catalogue().clone();
        let work = move || catalogue.register(&writer, &key, &text, if_taken, now());
        let (entry, outcome) = blocking(work).await?;
        let status = match outcome {
            Outcome::New => StatusCode::CREATED,
            Outcome::Replaced | Outcome::Unchanged => StatusCode::OK,
        };
        log::info!("catalogue: {} {:?}, {outcome:?}", entry.info_hash, entry.name.as_str());
        Ok(json(status, &self.entry(entry)))
    }

    async fn remove(&self, headers: &HeaderMap, uri: &Uri) -> Answer {
        let (writer, key) = self.may_write(headers, uri)?;
        let catalogue = self.desk.catalogue().clone();
        let entry = blocking(move || catalogue.remove(&writer, &key)).await?;
        log::info!("catalogue: {} {:?}, removed", entry.info_hash, entry.name.as_str());
        Ok(json(StatusCode::OK, &self.entry(entry)))
    }

    /// Takes in what somebody hashes.
    async fn expect(&self, headers: &HeaderMap, mut body: Body) -> Answer {
        let writer = self.writer(headers);
        let _place = self.uploads.acquire().await;
        let mut text = Vec::new();
        receive(&mut body, |bytes| text.extend_from_slice(bytes)).await?;
        writer?;
        let coming: Vec<Coming> = serde_json::from_slice(&text)?;
        self.desk.catalogue().expect(coming);
        Ok(json(StatusCode::OK, &self.desk.catalogue().expected()))
    }

    /// Who wants to write.
    fn writer(&self, headers: &HeaderMap) -> Result<Writer, ApiError> {
        self.desk.gate().may_write(said(headers))?;
        let token = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = token.and_then(|value| value.strip_prefix(b"Bearer "));
        Ok(self.desk.catalogue().writers().admit(token)?)
    }

    /// Who wants to write, and what.
    fn may_write(&self, headers: &HeaderMap, uri: &Uri) -> Result<(Writer, Key), ApiError> {
        let writer = self.writer(headers)?;
        match Place::parse(uri.path())? {
            Place::Entry(key) => Ok((writer, key)),
            Place::Manifest(_) | Place::Members(_) => Err(ApiError::NotWritable),
        }
    }

    /// These entries with how their swarms stand.
    fn compositions(&self, entries: Vec<Kept>) -> Vec<Composition> {
        let hashes: Vec<_> = entries.iter().map(|entry| entry.info_hash).collect();
        let counts = self.desk.counts(&hashes).into_iter().map(|(_, counts)| counts);
        entries.into_iter().zip(counts).map(|(entry, counts)| composition(entry, counts)).collect()
    }

    fn entry(&self, entry: Kept) -> Entry {
        let counts = self.desk.counts_of(&entry.info_hash);
        Entry { v: VERSION, composition: composition(entry, counts), member: None }
    }

    fn roster(&self, entry: Kept, caller: &Caller) -> Roster {
        let (hash, size) = (entry.info_hash, entry.size);
        let holder = |(address, left)| Holder { address, complete: left == 0, percent: percent(size, left) };
        let holders = self.desk.holders(&hash, caller, MAX_HOLDERS).into_iter().map(holder).collect();
        Roster { v: VERSION, composition: self.entry(entry).composition, holders, member: None }
    }

    fn answered(&self, answer: Answer) -> Response {
        let error = match answer {
            Ok(response) => return response,
            Err(error) => error,
        };
        let (status, text) = (status(&error), error.to_string());
        let (error, candidates) = match error {
            ApiError::Catalogue(CatalogueError::Several { candidates, .. }) => (text, self.compositions(candidates)),
            ApiError::Catalogue(CatalogueError::Store(error)) => {
                log::error!("catalogue: {error}");
                ("the catalogue could not be read or written: the conductor's log says why".to_owned(), Vec::new())
            }
            _ => (text, Vec::new()),
        };
        let mut response = json(status, &Refusal { v: VERSION, error, candidates, member: None });
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Said to a source that asks too much, whatever it asked for.
pub fn too_much(error: &TooMuch) -> Response {
    let refusal = Refusal { v: VERSION, error: error.to_string(), candidates: Vec::new(), member: None };
    json(StatusCode::TOO_MANY_REQUESTS, &refusal)
}

fn composition(entry: Kept, counts: Counts) -> Composition {
    Composition {
        name: entry.name.as_str().to_owned(),
        info_hash: entry.info_hash,
        size: entry.size,
        part_size: entry.part_size,
        parts: entry.parts,
        owner: entry.owner,
        registered: entry.registered,
        members: counts.complete.saturating_add(counts.incomplete),
        complete: counts.complete,
    }
}

fn status(error: &ApiError) -> StatusCode {
    match error {
        ApiError::Gate(GateError::Host(_)) => StatusCode::MISDIRECTED_REQUEST,
        ApiError::Gate(GateError::NoHost) | ApiError::Place(_) | ApiError::Body(_) | ApiError::Coming(_) => {
            StatusCode::BAD_REQUEST
        }
        ApiError::Gate(GateError::Origin) => StatusCode::FORBIDDEN,
        ApiError::Token(TokenRefused::Missing | TokenRefused::Unknown) => StatusCode::UNAUTHORIZED,
        // No token would help: to everybody else it is only to be read, as a member's list is.
        ApiError::Token(TokenRefused::Own) | ApiError::NotWritable => StatusCode::METHOD_NOT_ALLOWED,
        ApiError::Catalogue(error) => match error {
            CatalogueError::Manifest(_) | CatalogueError::Other { .. } => StatusCode::BAD_REQUEST,
            CatalogueError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            CatalogueError::Closed | CatalogueError::NotYours { .. } => StatusCode::FORBIDDEN,
            CatalogueError::There(_) | CatalogueError::Taken { .. } => StatusCode::CONFLICT,
            CatalogueError::Unknown(_) => StatusCode::NOT_FOUND,
            CatalogueError::Coming(_) => StatusCode::SERVICE_UNAVAILABLE,
            CatalogueError::Several { .. } => StatusCode::MULTIPLE_CHOICES,
            CatalogueError::Full => StatusCode::INSUFFICIENT_STORAGE,
            CatalogueError::Store(StoreError::Redis { .. } | StoreError::Raced { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            CatalogueError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// The manifest with the address that was `asked` in line 1, where what stands there leads this caller nowhere.
fn reachable(text: Vec<u8>, asked: Option<Endpoint>, caller: &Caller) -> Vec<u8> {
    let end = text.iter().position(|&b| b == b'\n').unwrap_or(text.len());
    let (Ok(line), Some(asked)) = (std::str::from_utf8(&text[..end]), asked) else {
        return text;
    };
    let leads_nowhere = line.parse::<Endpoint>().is_ok_and(|conductor| {
        conductor.is_unknown() || conductor.host.is_this_machine() && !caller.source.is_loopback()
    });
    match leads_nowhere {
        true => [asked.to_string().as_bytes(), &text[end..]].concat(),
        false => text,
    }
}

/// Takes a body as it comes.
async fn receive(body: &mut Body, mut take: impl FnMut(&[u8])) -> Result<(), ApiError> {
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame.map_err(ApiError::Body)?;
        let Some(bytes) = frame.data_ref() else { continue };
        length += bytes.len();
        if length > MAX_MANIFEST {
            return Err(CatalogueError::TooLong(length).into());
        }
        take(bytes);
    }
    Ok(())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Runs what blocks on a thread of its own; a panic there is one here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_1_leads_to_where_it_was_asked() {
        let caller = |ip: &str| Caller::new(ip.parse().unwrap(), ip.parse().unwrap());
        let asked = || Some("10.0.0.1:7".parse().unwrap());
        let line = |line: &str, source| {
            let text = reachable(format!("{line}\nx\n").into_bytes(), asked(), &caller(source));
            String::from_utf8(text).unwrap()
        };
        assert_eq!(line("0.0.0.0:0", "127.0.0.1"), "10.0.0.1:7\nx\n");
        assert_eq!(line("127.0.0.1:9999", "10.0.0.2"), "10.0.0.1:7\nx\n");
        assert_eq!(line("127.0.0.1:9999", "127.0.0.1"), "127.0.0.1:9999\nx\n");
        assert_eq!(line("head:9999", "10.0.0.2"), "head:9999\nx\n");
        assert_eq!(reachable(b"0.0.0.0:0\n".to_vec(), None, &caller("10.0.0.2")), b"0.0.0.0:0\n");
    }
}
