//! The billboard beside the door: what this member shares, for who asks it over HTTP.
//!
//! The same questions and answers as a conductor's catalogue, those that only read: so `member list` and `member get`
//! ask a member as they ask a conductor. It speaks of this member alone, and hands out manifests, no parts.
//!
//! What it costs an attacker: only who is on a network of our own is answered. A connection takes one question, 8 KiB
//! of header and 15 seconds at most, or longer while its answer moves; [`Room`] bounds how many there are, of one source and of all. An answer names
//! at most [`MOST_LISTED`] compositions; any other is found by its name.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

use super::{
    blocking,
    repertoire::{Performed, Repertoire},
};
use crate::{
    catalogue::{
        Client, Composition, Entry, Holder, Key, Listing, Place, Refusal, Roster, VERSION,
        answer::{self, json, said},
        percent,
        place::{PlaceError, ROOT},
    },
    conductor::{
        catalogue::gate::{Gate, GateError, asked},
        room::Room,
    },
    discovery::lan::Near,
    manifest::{Endpoint, Host, Manifest},
    net::{
        progress::{Counted, Progress, limit_buffer},
        range::is_near,
        via::Via,
    },
};

/// Compositions in one answer, at most.
const MOST_LISTED: usize = 10_000;
/// The longest header that is read, in bytes; hyper takes no less.
const MAX_HEADER: usize = 8 * 1024;
/// How long a header may take, and how long an answer may stand still.
const HEADER_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a conductor on this machine may take to answer.
const CONDUCTOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Conversations at once, and how many sources it takes to have them all.
const PLACES: u32 = 32;
const SHARES: u32 = 8;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("a member tells what it shares to its own network alone: ask a conductor")]
    Far,
    #[error("this is a member: what it shares is read here, and nothing written")]
    ReadOnly,
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("nothing of this name is shared here: {0}")]
    Unknown(Key),
    #[error("{0}")]
    Coming(String),
    #[error("{name} may mean {} compositions here", .candidates.len())]
    Several { name: String, candidates: Vec<Composition> },
    #[error("it has no manifest that says all: take it by its info-hash")]
    NoManifest,
}

impl Unanswered {
    fn status(&self) -> StatusCode {
        match self {
            Self::Far => StatusCode::FORBIDDEN,
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::Gate(GateError::Host(_)) => StatusCode::MISDIRECTED_REQUEST,
            Self::Gate(GateError::NoHost | GateError::Origin) | Self::Place(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) | Self::NoManifest => StatusCode::NOT_FOUND,
            Self::Coming(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Several { .. } => StatusCode::MULTIPLE_CHOICES,
        }
    }
}

pub struct Billboard {
    repertoire: Repertoire,
    /// How people call this member.
    name: String,
    via: Via,
    gate: Gate,
    room: Room,
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    here: SocketAddr,
    there: IpAddr,
}

impl Billboard {
    /// For the member of this name, which listens through `via`.
    pub fn new(repertoire: Repertoire, name: String, via: Via) -> Self {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { repertoire, name, via, gate: Gate::new([own]), room: Room::of(PLACES, SHARES) }
    }

    /// Answers on this connection, which begins like HTTP. Who has had its share is let go at once.
    pub async fn show(&self, stream: TcpStream, there: SocketAddr) {
        let (Some(_place), Ok(here)) = (self.room.enter(there.ip()), stream.local_addr()) else { return };
        let ends = Ends { here, there: there.ip().to_canonical() };
        let answering =
            service_fn(
                |request: Request<Incoming>| async move { Ok::<_, Infallible>(self.answered(&request, ends).await) },
            );
        let progress = Progress::default();
        limit_buffer(&stream);
        let conversation = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(MAX_HEADER)
            .keep_alive(false)
            .serve_connection(TokioIo::new(Counted::new(stream, progress.clone())), answering);
        tokio::select! {
            ended = conversation => if let Err(error) = ended {
                log::debug!("{there}: {error}");
            },
            () = progress.stands_still(ANSWER_TIMEOUT) => log::debug!("{there}: took too long"),
        }
    }

    async fn answered<B>(&self, request: &Request<B>, ends: Ends) -> Response<Body> {
        self.answer(request, ends).await.unwrap_or_else(|error| {
            let (status, text) = (error.status(), error.to_string());
            let candidates = match error {
                Unanswered::Several { candidates, .. } => candidates,
                _ => Vec::new(),
            };
            let member = Some(self.name.clone());
            json(status, &Refusal { v: VERSION, error: text, candidates, member })
        })
    }

    async fn answer<B>(&self, request: &Request<B>, ends: Ends) -> Result<Response<Body>, Unanswered> {
        self.admits(ends.there)?;
        if request.method() != Method::GET {
            return Err(Unanswered::ReadOnly);
        }
        let said = said(request.headers());
        self.gate.may_read(said)?;
        let path = request.uri().path();
        if path.trim_end_matches('/') == ROOT {
            return Ok(json(StatusCode::OK, &self.listing()));
        }
        let member = Some(self.name.clone());
        let place = match Place::parse(path)? {
            // A member gives no torrents: an entry of this name is meant.
            Place::Torrent(key) => Place::Entry(key.with_torrent().ok_or_else(|| Unanswered::Unknown(key.clone()))?),
            place => place,
        };
        match place {
            Place::Torrent(key) => Err(Unanswered::Unknown(key)),
            Place::Entry(key) => {
                let composition = composition(&self.find(&key)?);
                Ok(json(StatusCode::OK, &Entry { v: VERSION, composition, member }))
            }
            Place::Members(key) => Ok(json(StatusCode::OK, &self.roster(&self.find(&key)?, ends))),
            Place::Manifest(key) => {
                let found = self.find(&key)?;
                let (name, asked) = (found.name.clone(), said.host.and_then(asked));
                let manifest = blocking(move || manifest(&found)).await.ok_or(Unanswered::NoManifest)?;
                let manifest = led(manifest, asked, ends).await;
                Ok(answer::manifest(&name, manifest.render().into_bytes()))
            }
        }
    }

    fn admits(&self, source: IpAddr) -> Result<(), Unanswered> {
        let near = is_near(source) || Near::of(&self.via).contains(source);
        if near { Ok(()) } else { Err(Unanswered::Far) }
    }

    fn listing(&self) -> Listing {
        let mut compositions: Vec<Composition> = self.repertoire.find(|_| true).iter().map(composition).collect();
        compositions.sort_by(|a, b| (&a.name, a.info_hash.0).cmp(&(&b.name, b.info_hash.0)));
        compositions.truncate(MOST_LISTED);
        let (coming, member) = (self.repertoire.expected(), Some(self.name.clone()));
        Listing { v: VERSION, compositions, coming, total: None, member }
    }

    fn find(&self, key: &Key) -> Result<Performed, Unanswered> {
        let mut found = match key {
            Key::Hash(hash) => self.repertoire.get(hash).into_iter().collect(),
            Key::Name(name) => self.repertoire.find(|performed| performed.name == name.as_str()),
            // Nothing here is anybody's but this member's.
            Key::Owned { .. } => Vec::new(),
        };
        match found.len() {
            0 => Err(self.unknown(key)),
            1 => Ok(found.remove(0)),
            _ => {
                Err(Unanswered::Several { name: key.to_string(), candidates: found.iter().map(composition).collect() })
            }
        }
    }

    fn unknown(&self, key: &Key) -> Unanswered {
        let coming = self.repertoire.expected();
        let named = |name: &str| matches!(key, Key::Name(wanted) if wanted.as_str() == name);
        match coming.iter().find(|coming| named(&coming.name)) {
            Some(coming) => Unanswered::Coming(coming.to_string()),
            None => Unanswered::Unknown(key.clone()),
        }
    }

    fn roster(&self, performed: &Performed, ends: Ends) -> Roster {
        let percent = percent(performed.geometry.size(), performed.left);
        let holder = Holder::new(ends.here, performed.left == 0, percent);
        let (holders, member) = (vec![holder], Some(self.name.clone()));
        Roster { v: VERSION, composition: composition(performed), holders, had_whole: 0, past: Vec::new(), member }
    }
}

fn composition(performed: &Performed) -> Composition {
    let Performed { info_hash, name, geometry, left, since, .. } = performed;
    Composition {
        name: name.clone(),
        info_hash: *info_hash,
        size: geometry.size(),
        part_size: geometry.part_size(),
        parts: geometry.parts(),
        owner: None,
        registered: *since,
        members: 1,
        complete: u32::from(*left == 0),
    }
}

/// Its manifest, if that says all that its info dictionary does. Blocks.
fn manifest(performed: &Performed) -> Option<Manifest> {
    let manifest = (performed.manifest)().filter(|manifest| manifest.info_hash() == performed.info_hash)?;
    Some(Manifest::clone(&manifest))
}

/// The manifest for an asker who may be elsewhere: a conductor on this machine is named as the asker reaches this machine,
/// if it answers there, and is not known otherwise. It may listen on the loopback alone.
async fn led(mut manifest: Manifest, asked: Option<Endpoint>, ends: Ends) -> Manifest {
    let port = manifest.conductor.port;
    if !manifest.conductor.host.is_this_machine() || manifest.conductor.is_unknown() || ends.there.is_loopback() {
        return manifest;
    }
    let here = Client::is_answered_at(Endpoint { host: Host::Ip(ends.here.ip().to_canonical()), port });
    let answers = timeout(CONDUCTOR_TIMEOUT, here).await.unwrap_or(false);
    let place = asked.filter(|_| answers).map(|asked| Endpoint { host: asked.host, port });
    manifest.conductor = place.unwrap_or(Endpoint::UNKNOWN);
    manifest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::to_bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{catalogue::Coming, member::repertoire::Listed, metainfo::InfoHash};

    fn manifest(name: &str, conductor: &str) -> Arc<Manifest> {
        let hash = "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8";
        Arc::new(Manifest::parse(format!("{conductor}\n{name}\n{hash}\n1\n16384\n1\n{hash}\n").as_bytes()).unwrap())
    }

    fn shares(repertoire: &Repertoire, manifest: &Arc<Manifest>, left: u64) -> Listed {
        let kept = manifest.clone();
        let manifests = Arc::new(move || Some(kept.clone()));
        repertoire.list(Performed::new(manifest.info_hash(), manifest, left, manifests))
    }

    fn board(repertoire: &Repertoire) -> Billboard {
        Billboard::new(repertoire.clone(), "alice".to_owned(), Via::default())
    }

    /// The status and the body of what is answered to somebody there.
    async fn asked(board: &Billboard, there: &str, method: &str, path: &str) -> (u16, String) {
        let ends = Ends { here: "10.0.0.1:9998".parse().unwrap(), there: there.parse().unwrap() };
        let request = Request::builder().method(method).uri(path).header("host", "10.0.0.1:9998").body(()).unwrap();
        let (head, body) = board.answered(&request, ends).await.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn only_its_own_network_is_answered_and_nothing_is_written() {
        let repertoire = Repertoire::default();
        let _one = shares(&repertoire, &manifest("a.iso", "0.0.0.0:0"), 0);
        let board = board(&repertoire);
        for there in ["10.0.0.2", "127.0.0.1", "fe80::2", "fd00::2"] {
            assert_eq!(asked(&board, there, "GET", "/compositions").await.0, 200, "{there}");
        }
        for there in ["8.8.8.8", "2606:4700::1111"] {
            assert_eq!(asked(&board, there, "GET", "/compositions").await.0, 403, "{there}");
        }
        assert_eq!(asked(&board, "10.0.0.2", "PUT", "/compositions/a.iso").await.0, 405);
        assert_eq!(asked(&board, "10.0.0.2", "GET", "/announce").await.0, 400);
    }

    #[tokio::test]
    async fn what_is_shared_can_be_read() {
        let repertoire = Repertoire::default();
        let (a, b) = (manifest("a.iso", "127.0.0.1:7"), manifest("b.iso", "head:7"));
        let _both = [shares(&repertoire, &a, 0), shares(&repertoire, &b, 1)];
        repertoire.expect(vec![Coming { name: "c.iso".to_owned(), size: 10, done: 5 }]);
        let board = board(&repertoire);
        let (_, text) = asked(&board, "10.0.0.2", "GET", "/compositions/").await;
        let listing: Listing = serde_json::from_str(&text).unwrap();
        let rows: Vec<_> = listing.compositions.iter().map(|c| (c.name.as_str(), c.members, c.complete)).collect();
        assert_eq!((rows, listing.member.as_deref()), (vec![("a.iso", 1, 1), ("b.iso", 1, 0)], Some("alice")));
        let (_, text) = asked(&board, "10.0.0.2", "GET", "/compositions/b.iso/members").await;
        let roster: Roster = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (roster.holders[0].address.to_string().as_str(), roster.holders[0].percent),
            ("10.0.0.1:9998", Some(0))
        );
        let (_, text) = asked(&board, "127.0.0.1", "GET", &format!("/compositions/{}.orch", a.info_hash())).await;
        assert_eq!(text, a.render());
        assert_eq!(asked(&board, "10.0.0.2", "GET", "/compositions/c.iso").await.0, 503);
        assert_eq!(asked(&board, "10.0.0.2", "GET", "/compositions/d.iso").await.0, 404);
    }

    /// Says that it has no such entry to everybody who asks.
    async fn empty_catalogue(listener: TcpListener) {
        let refusal = r#"{"v":1,"error":"it is not in this catalogue"}"#;
        let head = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(format!("{head} {}\r\n\r\n{refusal}", refusal.len()).as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn a_conductor_beside_it_is_named_where_it_answers_the_asker() {
        // The loopback stands for the address at which the asker reached this machine.
        let ends = |there: &str| Ends { here: "127.0.0.1:9998".parse().unwrap(), there: there.parse().unwrap() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let of_manifest = Manifest::clone(&manifest("a.iso", &format!("localhost:{port}")));
        let line_1 = async |there| {
            let asked = Some("10.0.0.1:9998".parse().unwrap());
            led(of_manifest.clone(), asked, ends(there)).await.conductor.to_string()
        };
        let answering = tokio::spawn(empty_catalogue(listener));
        assert_eq!(line_1("10.0.0.2").await, format!("10.0.0.1:{port}"));
        assert_eq!(line_1("127.0.0.1").await, format!("localhost:{port}"));
        answering.abort();
        let _ = answering.await;
        assert_eq!(line_1("10.0.0.2").await, "0.0.0.0:0");
        assert_eq!(line_1("127.0.0.1").await, format!("localhost:{port}"));
        let elsewhere = Manifest::clone(&manifest("a.iso", "head:7"));
        assert_eq!(led(elsewhere, None, ends("10.0.0.2")).await.conductor.to_string(), "head:7");
    }

    #[tokio::test]
    async fn a_name_may_mean_several_and_a_manifest_may_say_too_little() {
        let repertoire = Repertoire::default();
        let small = manifest("a.iso", "0.0.0.0:0");
        let _one = shares(&repertoire, &small, 0);
        let other = Performed { info_hash: InfoHash([7; 20]), ..repertoire.get(&small.info_hash()).unwrap() };
        let _other = repertoire.list(other);
        let board = board(&repertoire);
        let (status, text) = asked(&board, "10.0.0.2", "GET", "/compositions/a.iso").await;
        let refusal: Refusal = serde_json::from_str(&text).unwrap();
        assert_eq!((status, refusal.candidates.len(), refusal.member.as_deref()), (300, 2, Some("alice")));
        let path = format!("/compositions/{}.orch", InfoHash([7; 20]));
        assert_eq!(asked(&board, "10.0.0.2", "GET", &path).await.0, 404, "its info dictionary says more");
    }

    #[tokio::test]
    async fn a_list_has_an_end_and_the_rest_is_found_by_name() {
        let repertoire = Repertoire::default();
        let some = manifest("a.iso", "0.0.0.0:0");
        let manifests: crate::member::repertoire::Manifests = Arc::new(|| None);
        let all: Vec<Listed> = (0..=MOST_LISTED as u32)
            .map(|n| {
                let mut info_hash = InfoHash([0; 20]);
                info_hash.0[..4].copy_from_slice(&n.to_be_bytes());
                let one = Performed::new(info_hash, &some, 0, manifests.clone());
                repertoire.list(Performed { name: format!("{n:05}"), ..one })
            })
            .collect();
        let board = board(&repertoire);
        let (_, text) = asked(&board, "10.0.0.2", "GET", "/compositions").await;
        let listing: Listing = serde_json::from_str(&text).unwrap();
        assert_eq!((all.len(), listing.compositions.len()), (MOST_LISTED + 1, MOST_LISTED));
        assert!(text.len() < 4 << 20, "{} bytes: no member reads so many", text.len());
        assert_eq!(asked(&board, "10.0.0.2", "GET", "/compositions/10000").await.0, 200);
    }

    /// One source has its share of the places and no more, however long it says nothing.
    #[tokio::test]
    async fn a_source_that_says_nothing_takes_only_its_share() {
        let board = Arc::new(board(&Repertoire::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = Vec::new();
        for n in 0..=PLACES / SHARES {
            let mut there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (here, from) = listener.accept().await.unwrap();
            let showing = board.clone();
            let shown = tokio::spawn(async move { showing.show(here, from).await });
            if n == PLACES / SHARES {
                let _ = there.write_all(b"GET /compositions HTTP/1.1\r\nhost: x\r\n\r\n").await;
                shown.await.unwrap();
                let mut answer = Vec::new();
                let _ = there.read_to_end(&mut answer).await;
                assert!(answer.is_empty());
            } else {
                // Its place is taken when it is first polled.
                tokio::task::yield_now().await;
                silent.push(there);
            }
        }
    }
}
