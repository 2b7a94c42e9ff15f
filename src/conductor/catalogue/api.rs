//! The catalogue over HTTP: JSON and manifests under `/compositions` ([`crate::catalogue::place`] has the paths).
//!
//! It reads requests, asks the [`Catalogue`](super::Catalogue), and writes answers; it decides nothing. Whatever is wrong
//! is a [`Refusal`] with its status.
//!
//! Faces the network. Names leave as JSON strings or percent-encoded, never raw. A request without the right to write
//! is refused before anything is kept for its body; what bodies may take, [`Bodies`] says. A list costs time and memory
//! in proportion to the catalogue, whose size is bounded. Many manifests in one request count as many requests, one for
//! each [`MANIFESTS_A_QUESTION`].

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
    routing::{get, put},
};
use serde::Serialize;

use super::{
    CatalogueError, Entry as Kept, Outcome,
    api_error::{ApiError, mark_again, retry_after, said_of, status},
    gate::asked,
    listing,
    register::Registered,
    uploads::{Bodies, BodyError, discard},
    writers::Writer,
};
use crate::{
    announce::Counts,
    catalogue::{
        Coming, Composition, Entry, IfTaken, Key, MAX_MANIFEST, Place, Refusal, VERSION,
        answer::{self, json, said},
        batch::{BatchAnswer, BatchResult, MAX_BATCH, MAX_BATCH_LENGTH},
        place::{COMING, ROOT},
    },
    conductor::{Desk, http::TooMuch, table::Caller},
    manifest::{Endpoint, Manifest},
    metainfo::convert::to_torrent,
};

/// Where it is told whether the conductor can do all its work.
const READY: &str = "/ready";
/// Length of a list of what is being hashed, in bytes, at most.
const MAX_COMING_LENGTH: usize = 256 << 10;
/// So many manifests of one request count as one question.
const MANIFESTS_A_QUESTION: usize = 16;

/// What `GET /ready` answers where all is well.
#[derive(Serialize)]
struct Readiness {
    v: u32,
    status: &'static str,
}

type Answer = Result<Response, ApiError>;

#[derive(Clone)]
struct Office {
    desk: Arc<Desk>,
    uploads: Bodies,
    manifests: Bodies,
}

/// The routes of the catalogue.
pub fn router(desk: Arc<Desk>) -> Router {
    let office = Office { desk, uploads: Bodies::received(), manifests: Bodies::sent() };
    Router::new()
        .route(ROOT, get(list).post(register_all))
        .route(&format!("{ROOT}/"), get(list).post(register_all))
        .route(&format!("{ROOT}/{{*place}}"), get(read).put(register).delete(remove))
        .route(COMING, put(expect))
        .route(READY, get(ready))
        .method_not_allowed_fallback(not_allowed)
        .with_state(office)
}

/// A method that nothing here answers.
async fn not_allowed() -> Response {
    let error = "this is not answered here: GET reads, and PUT, POST and DELETE change the catalogue".to_owned();
    json(StatusCode::METHOD_NOT_ALLOWED, &Refusal { v: VERSION, error, candidates: Vec::new(), member: None })
}

async fn list(State(office): State<Office>, headers: HeaderMap, uri: Uri) -> Response {
    office.answered(office.list(&headers, uri.query().unwrap_or_default()).await)
}

async fn read(
    State(office): State<Office>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    office.answered(office.read(&caller, &headers, &uri).await)
}

async fn register(
    State(office): State<Office>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Response {
    office.answered(office.register(&caller, &headers, &uri, body).await)
}

async fn register_all(
    State(office): State<Office>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Response {
    office.answered(office.register_all(&caller, &headers, &uri, body).await)
}

async fn remove(State(office): State<Office>, headers: HeaderMap, uri: Uri) -> Response {
    office.answered(office.remove(&headers, &uri).await)
}

async fn expect(
    State(office): State<Office>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    office.answered(office.expect(&caller, &headers, body).await)
}

/// Whether the store takes changes: unlike `/health`, which says that the conductor runs.
async fn ready(State(office): State<Office>) -> Response {
    let catalogue = office.desk.catalogue().clone();
    office.answered(match blocking(move || catalogue.ready()).await {
        Ok(()) => Ok(json(StatusCode::OK, &Readiness { v: VERSION, status: "ready" })),
        Err(error) => Err(ApiError::NotReady(error)),
    })
}

impl Office {
    async fn list(&self, headers: &HeaderMap, query: &str) -> Answer {
        self.desk.gate().may_read(said(headers))?;
        Ok(listing::list(&self.desk, headers, query).await)
    }

    async fn read(&self, caller: &Caller, headers: &HeaderMap, uri: &Uri) -> Answer {
        self.desk.gate().may_read(said(headers))?;
        let catalogue = self.desk.catalogue();
        match Place::parse(uri.path())? {
            Place::Entry(key) => Ok(json(StatusCode::OK, &self.entry(catalogue.find(&key)?))),
            Place::Members(key) => {
                Ok(json(StatusCode::OK, &listing::roster(&self.desk, catalogue.find(&key)?, *caller).await))
            }
            Place::Manifest(key) => self.manifest(catalogue.find(&key)?, caller, headers).await,
            Place::Torrent(key) => match key.with_torrent().map(|named| catalogue.find(&named)) {
                // Older members ask so for an entry that itself has such a name.
                Some(Ok(entry)) => Ok(json(StatusCode::OK, &self.entry(entry))),
                _ => self.torrent(catalogue.find(&key)?, caller, headers).await,
            },
        }
    }

    async fn manifest(&self, entry: Kept, caller: &Caller, headers: &HeaderMap) -> Answer {
        let text = self.text(&entry).await?;
        let text = reachable(text, said(headers).host.and_then(asked), caller);
        let text = self.manifests.hold(caller.source, text)?;
        Ok(answer::manifest(entry.name.as_str(), Bytes::from_owner(text)))
    }

    /// The manifest as it is kept.
    async fn text(&self, entry: &Kept) -> Result<Vec<u8>, ApiError> {
        let (catalogue, hash) = (self.desk.catalogue().clone(), entry.info_hash);
        let text = blocking(move || catalogue.manifest(&hash)).await.map_err(CatalogueError::from)?;
        Ok(text.ok_or_else(|| CatalogueError::Unknown(entry.name.shown().into_owned()))?)
    }

    /// The torrent of the same swarm, with this conductor as a tracker.
    async fn torrent(&self, entry: Kept, caller: &Caller, headers: &HeaderMap) -> Answer {
        let text = self.text(&entry).await?;
        let text = reachable(text, said(headers).host.and_then(asked), caller);
        let bytes = blocking(move || Ok(to_torrent(&Manifest::parse(&text)?)?.render()));
        let bytes = self.manifests.hold(caller.source, bytes.await.map_err(ApiError::Torrent)?)?;
        Ok(answer::torrent(entry.name.as_str(), Bytes::from_owner(bytes)))
    }

    async fn register(&self, caller: &Caller, headers: &HeaderMap, uri: &Uri, mut body: Body) -> Answer {
        let (writer, key) = match self.may_write(headers, uri) {
            Ok(allowed) => allowed,
            Err(refused) => {
                discard(&mut body, MAX_MANIFEST).await;
                return Err(refused);
            }
        };
        let if_taken = IfTaken::of_query(uri.query().unwrap_or_default());
        let upload = self.uploads.receive(caller.source, &mut body, MAX_MANIFEST).await;
        let upload = upload.map_err(|error| match error {
            BodyError::TooLong(_) => CatalogueError::TooLong.into(),
            error => ApiError::Body(error),
        })?;
        let catalogue = self.desk.catalogue().clone();
        let work = move || catalogue.register(&writer, &key, upload.bytes(), if_taken, now());
        let (entry, outcome) = blocking(work).await?;
        log_registered(&entry, outcome);
        Ok(json(status_of(outcome), &self.entry(entry)))
    }

    /// Takes in many manifests.
    async fn register_all(&self, caller: &Caller, headers: &HeaderMap, uri: &Uri, mut body: Body) -> Answer {
        let writer = match self.writer(headers) {
            Ok(writer) => writer,
            Err(refused) => {
                discard(&mut body, MAX_BATCH_LENGTH).await;
                return Err(refused);
            }
        };
        let if_taken = IfTaken::of_query(uri.query().unwrap_or_default());
        let upload = self.uploads.receive(caller.source, &mut body, MAX_BATCH_LENGTH).await?;
        let mut manifests: Vec<String> = serde_json::from_slice(upload.bytes()).map_err(ApiError::Batch)?;
        if manifests.len() > MAX_BATCH {
            return Err(ApiError::TooMany(manifests.len()));
        }
        let refused = manifests.split_off(self.admitted(caller, manifests.len())).len();
        let catalogue = self.desk.catalogue().clone();
        let work = move || {
            let registered = catalogue.register_all(&writer, &manifests, if_taken, now());
            drop(upload);
            registered
        };
        let registered: Vec<Registered> = blocking(work).await;
        let taken = registered.into_iter().map(|registered| registered.map_err(ApiError::from));
        let refused = (0..refused).map(|_| Err(ApiError::TooMuch(TooMuch)));
        Ok(self.batch(taken.chain(refused)))
    }

    /// How many of so many manifests this source may register now, the question itself being admitted.
    fn admitted(&self, caller: &Caller, manifests: usize) -> usize {
        let more = manifests.div_ceil(MANIFESTS_A_QUESTION).saturating_sub(1);
        let admitted = (0..more).take_while(|_| self.desk.admits(caller.source)).count();
        manifests.min((admitted + 1) * MANIFESTS_A_QUESTION)
    }

    fn batch(&self, registered: impl Iterator<Item = Result<(Kept, Outcome), ApiError>>) -> Response {
        let (mut results, mut again, mut failed) = (Vec::new(), None, None);
        for one in registered {
            results.push(match one {
                Ok((entry, outcome)) => {
                    log_registered(&entry, outcome);
                    let entry = Some(self.entry(entry).composition);
                    BatchResult { status: status_of(outcome).as_u16(), entry, error: None }
                }
                Err(error) => {
                    again = again.max(retry_after(&error));
                    let result =
                        BatchResult { status: status(&error).as_u16(), entry: None, error: Some(said_of(&error)) };
                    if let ApiError::Catalogue(CatalogueError::Store(error)) = error {
                        failed = Some(error);
                    }
                    result
                }
            });
        }
        if let Some(error) = failed {
            log::error!("catalogue: {error}");
        }
        let mut response = json(StatusCode::OK, &BatchAnswer { v: VERSION, results });
        mark_again(&mut response, again);
        response
    }

    async fn remove(&self, headers: &HeaderMap, uri: &Uri) -> Answer {
        let (writer, key) = self.may_write(headers, uri)?;
        let catalogue = self.desk.catalogue().clone();
        let entry = blocking(move || catalogue.remove(&writer, &key)).await?;
        log::info!("catalogue: {} {:?}, removed", entry.info_hash, entry.name.as_str());
        Ok(json(StatusCode::OK, &self.entry(entry)))
    }

    /// Takes in what somebody hashes.
    async fn expect(&self, caller: &Caller, headers: &HeaderMap, mut body: Body) -> Answer {
        if let Err(refused) = self.writer(headers) {
            discard(&mut body, MAX_COMING_LENGTH).await;
            return Err(refused);
        }
        let upload = self.uploads.receive(caller.source, &mut body, MAX_COMING_LENGTH).await?;
        let coming: Vec<Coming> = serde_json::from_slice(upload.bytes()).map_err(ApiError::Coming)?;
        self.desk.catalogue().expect(caller.source, coming);
        Ok(json(StatusCode::OK, &self.desk.catalogue().expected()))
    }

    /// Who wants to write.
    fn writer(&self, headers: &HeaderMap) -> Result<Writer, ApiError> {
        self.desk.gate().may_write(said(headers))?;
        let token = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = token.and_then(|value| value.strip_prefix(b"Bearer "));
        Ok(self.desk.catalogue().admit(token)?)
    }

    /// Who wants to write, and what.
    fn may_write(&self, headers: &HeaderMap, uri: &Uri) -> Result<(Writer, Key), ApiError> {
        let writer = self.writer(headers)?;
        match Place::parse(uri.path())? {
            Place::Entry(key) => Ok((writer, key)),
            Place::Torrent(key) => Ok((writer, key.with_torrent().ok_or(ApiError::NotWritable)?)),
            Place::Manifest(_) | Place::Members(_) => Err(ApiError::NotWritable),
        }
    }

    /// These entries with how their swarms stand.
    fn compositions(&self, entries: Vec<Kept>) -> Vec<Composition> {
        listing::compositions(&self.desk, entries)
    }

    fn entry(&self, entry: Kept) -> Entry {
        let counts = self.desk.counts_of(&entry.info_hash);
        Entry { v: VERSION, composition: composition(entry, counts), member: None }
    }

    fn answered(&self, answer: Answer) -> Response {
        let error = match answer {
            Ok(response) => return response,
            Err(error) => error,
        };
        let (status, text, again) = (status(&error), said_of(&error), retry_after(&error));
        let candidates = match error {
            ApiError::Catalogue(CatalogueError::Several { candidates, .. }) => self.compositions(candidates),
            ApiError::Catalogue(CatalogueError::Store(error)) | ApiError::NotReady(error) => {
                log::error!("catalogue: {error}");
                Vec::new()
            }
            _ => Vec::new(),
        };
        let mut response = json(status, &Refusal { v: VERSION, error: text, candidates, member: None });
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        mark_again(&mut response, again);
        response
    }
}

fn status_of(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::New => StatusCode::CREATED,
        Outcome::Replaced | Outcome::Unchanged => StatusCode::OK,
    }
}

fn log_registered(entry: &Kept, outcome: Outcome) {
    log::info!("catalogue: {} {:?}, {outcome:?}", entry.info_hash, entry.name.as_str());
}

pub(super) fn composition(entry: Kept, counts: Counts) -> Composition {
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

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Runs what blocks on a thread of its own; a panic there is one here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
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
