//! Asks a conductor for its catalogue, over HTTP; or a member for what it shares.
//!
//! What a hostile conductor can do: answer up to 16 MiB, as slowly as [`Progress`] calls moving and for at most
//! [`WHOLE_TIMEOUT`] (4 MiB and [`NEAR_PATIENCE`] where nobody but the local network named it); redirects and proxies are not followed. Its texts are shown escaped, and a manifest from it is believed only under the info-hash that was asked for.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{self, HeaderMap},
    redirect,
};
use serde::de::DeserializeOwned;

use super::{
    Coming, Composition, Entry, Key, Listing, MAX_MANIFEST, Place, Refusal, Roster, Token,
    place::{COMING, ROOT},
};
use crate::{
    cli::Exit,
    discovery::{conductor::root, resolve},
    manifest::{Endpoint, Host, Manifest, ManifestError, shown},
    metainfo::InfoHash,
    net::{
        progress::{CountedBody, Progress},
        tls,
        via::Via,
    },
};

/// How long a question or its answer may stand still.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take to reach the conductor.
const REACH: Duration = Duration::from_secs(5);
/// How long one question may take, however it moves.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(600);
/// What the system may hold of a body that was handed to it, in bytes, and the slowest link that takes this along, in
/// bytes a second: an answer may come that much later.
const MAX_SEND_BUFFER: u64 = 4 << 20;
const SLOWEST: u64 = 32 << 10;
/// How long one question may take to who was found on the local network, of many.
const NEAR_PATIENCE: Duration = Duration::from_secs(2);
/// The largest answer that is read, in bytes: of one that was named, and of one that was found. 10,000 compositions take
/// 3 MiB.
const MAX_ANSWER: usize = 16 << 20;
const MAX_NEAR_ANSWER: usize = 4 << 20;
/// Stands in a URL for a link-local address, which has no place there with its interface.
const LINK_LOCAL: &str = "orchestra.local";
/// Says that no web page is asking: see [`crate::conductor::catalogue::gate`].
const NO_PAGE: &str = crate::conductor::catalogue::gate::NO_PAGE;

/// Why there is no answer. Each text is safe to show.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("cannot ask anyone: {0}")]
    Client(String),
    #[error("conductor {conductor} does not answer: {why}; is it running, and is this its address?")]
    Unreachable { conductor: String, why: String },
    #[error("what answers at {conductor} has no catalogue: {why}")]
    Strange { conductor: String, why: String },
    #[error("conductor {conductor} refused: {why}")]
    Refused { conductor: String, why: String, remedy: Remedy },
    /// It passes: ask again. `after`: when, as far as the conductor says.
    #[error("conductor {conductor} is too busy now: {why}")]
    Busy { conductor: String, why: String, after: Option<Duration> },
    #[error("the manifest is {0} bytes long, and a catalogue takes {MAX_MANIFEST}: compose it with larger parts")]
    TooLong(usize),
    #[error("conductor {conductor} has no {name}")]
    Unknown { conductor: String, name: String },
    /// Ask again soon.
    #[error("{why} at conductor {conductor}: ask again soon")]
    Coming { conductor: String, why: String },
    #[error("nothing is shared at conductor {conductor}: member share puts something in")]
    Empty { conductor: String },
    #[error("{name} may mean {} compositions at conductor {conductor}", .candidates.len())]
    Several { conductor: String, name: String, candidates: Vec<Composition>, member: Option<String> },
    #[error("the manifest that conductor {conductor} gave is none: {error}")]
    Manifest { conductor: String, error: ManifestError },
    #[error("the manifest that conductor {conductor} gave is of another composition than {hash}")]
    Other { conductor: String, hash: InfoHash },
}

impl AskError {
    /// What to tell the script that started the program.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => Exit::NobodyAnswered,
            Self::Refused { .. } | Self::Busy { .. } | Self::TooLong(_) => Exit::Refused,
            Self::Several { .. } => Exit::Usage,
            Self::Manifest { .. } | Self::Other { .. } => Exit::BadManifest,
            Self::Unknown { .. } | Self::Empty { .. } => Exit::UnknownName,
            Self::Client(_) | Self::Strange { .. } | Self::Coming { .. } => Exit::Other,
        }
    }
}

impl AskError {
    /// Whether the same question may well be answered later, though nobody changes anything.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Coming { .. } => true,
            Self::Client(_)
            | Self::Strange { .. }
            | Self::Refused { .. }
            | Self::TooLong(_)
            | Self::Unknown { .. }
            | Self::Empty { .. }
            | Self::Several { .. }
            | Self::Manifest { .. }
            | Self::Other { .. } => false,
        }
    }

    /// When the conductor wants to be asked again, as far as it says.
    pub fn after(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => *after,
            _ => None,
        }
    }
}

/// What may help against a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// To take the place of what is there.
    Replace,
    /// A token, or another one.
    Token,
    /// Another conductor: this one takes nothing from outside.
    Elsewhere,
    /// To ask in an older way: the conductor does not know this one.
    Older,
    Unknown,
}

/// How something is changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Put,
    Post,
    Delete,
}

impl Remedy {
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::CONFLICT => Self::Replace,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Token,
            StatusCode::METHOD_NOT_ALLOWED => Self::Elsewhere,
            _ => Self::Unknown,
        }
    }
}

/// Asks one conductor, or member.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    conductor: Endpoint,
    /// Where it was found.
    found: Option<SocketAddr>,
    token: Option<Token>,
    most: usize,
    /// Whether it takes one manifest at a time only.
    pub(super) is_old: Arc<AtomicBool>,
}

impl Client {
    /// Whether a catalogue answers there, whatever it says. To be used inside a tokio runtime.
    pub async fn is_answered_at(conductor: Endpoint) -> bool {
        let Ok(client) = Self::new(conductor, None) else { return false };
        !matches!(client.find(&Key::Hash(InfoHash([0; 20]))).await, Err(AskError::Unreachable { .. }))
    }

    /// To be used inside a tokio runtime. The token is sent with writes alone.
    pub fn new(conductor: Endpoint, token: Option<Token>) -> Result<Self, AskError> {
        let http = built(builder().connect_timeout(REACH).timeout(WHOLE_TIMEOUT))?;
        Ok(Self { http, conductor, found: None, token, most: MAX_ANSWER, is_old: Arc::default() })
    }

    /// Asks somebody who was found on the local network, from where `via` says, and with less patience.
    pub fn near(found: SocketAddr, via: &Via) -> Result<Self, AskError> {
        let builder = builder().timeout(NEAR_PATIENCE).resolve(LINK_LOCAL, found);
        let same = |ip: &IpAddr| !ip.is_unspecified() && ip.is_ipv4() == found.is_ipv4();
        let builder = builder.local_address(via.address.filter(same));
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let builder = match &via.interface {
            Some(name) => builder.interface(name),
            None => builder,
        };
        let conductor = Endpoint { host: Host::Ip(found.ip()), port: found.port() };
        let (http, most) = (built(builder)?, MAX_NEAR_ANSWER);
        Ok(Self { http, conductor, found: Some(found), token: None, most, is_old: Arc::default() })
    }

    /// Where on the local network it was found, if it was.
    pub fn found(&self) -> Option<SocketAddr> {
        self.found
    }

    /// Where it is.
    ///
    /// # Errors
    /// Its name is not found.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        match self.found {
            Some(found) => Ok(vec![found]),
            None => resolve::all_of(&self.conductor).await,
        }
    }

    pub fn conductor(&self) -> &Endpoint {
        &self.conductor
    }

    /// All compositions, sorted by name.
    pub async fn list(&self) -> Result<Listing, AskError> {
        self.read(ROOT).await
    }

    /// The only one that somebody shares.
    pub async fn only(&self) -> Result<Entry, AskError> {
        let Listing { v, mut compositions, mut coming, member, .. } = self.list().await?;
        compositions.retain(|there| there.members > 0);
        coming.retain(|soon| compositions.iter().all(|there| there.name != soon.name));
        let conductor = self.conductor.to_string();
        match (compositions.len(), coming.first()) {
            (1, None) => Ok(Entry { v, composition: compositions.remove(0), member }),
            (0, None) => Err(AskError::Empty { conductor }),
            (0 | 1, Some(coming)) => Err(AskError::Coming { conductor, why: coming.to_string() }),
            _ => Err(AskError::Several { conductor, name: "it".to_owned(), candidates: compositions, member }),
        }
    }

    /// Says that these are being hashed, and will be there soon.
    pub async fn announce(&self, coming: &[Coming]) -> Result<(), AskError> {
        // Plain data with text for keys always can be written.
        let body = serde_json::to_vec(coming).unwrap_or_default();
        self.write(Write::Put, COMING, body).await.map(drop)
    }

    /// The one that the key names.
    pub async fn find(&self, key: &Key) -> Result<Entry, AskError> {
        let answer = self.known(key, self.read(&Place::Entry(key.clone()).to_string()).await);
        let named = match &answer {
            Ok(Entry { composition, .. }) => core::slice::from_ref(composition),
            Err(AskError::Several { candidates, .. }) => candidates,
            Err(_) => &[],
        };
        match named.iter().all(|composition| composition.is_meant_by(key)) {
            true => answer,
            false => Err(self.strange(format!("asked for {key}, it speaks of something else"))),
        }
    }

    /// Who has it.
    pub async fn members(&self, key: &Key) -> Result<Roster, AskError> {
        self.known(key, self.read(&Place::Members(key.clone()).to_string()).await)
    }

    /// Its manifest.
    pub async fn manifest(&self, hash: InfoHash) -> Result<Manifest, AskError> {
        let place = Place::Manifest(Key::Hash(hash)).to_string();
        let request = self.request(Method::GET, &place).timeout(WHOLE_TIMEOUT);
        let text = self.ask_for(request, Vec::new(), MAX_ANSWER).await;
        let text = self.known(&Key::Hash(hash), text)?;
        let conductor = self.conductor.to_string();
        let manifest = Manifest::parse(&text).map_err(|error| AskError::Manifest { conductor, error })?;
        match manifest.info_hash() == hash {
            true => Ok(manifest),
            false => Err(AskError::Other { conductor: self.conductor.to_string(), hash }),
        }
    }

    /// Takes the one that the key names out of the catalogue.
    pub async fn remove(&self, key: &Key) -> Result<Composition, AskError> {
        let answer = self.write(Write::Delete, &Place::Entry(key.clone()).to_string(), Vec::new()).await;
        let entry: Entry = self.understand(&self.known(key, answer)?)?;
        Ok(entry.composition)
    }

    /// Sends a change, with the token; gives the body of the answer.
    pub(super) async fn write(&self, how: Write, path: &str, body: Vec<u8>) -> Result<Vec<u8>, AskError> {
        let method = match how {
            Write::Put => Method::PUT,
            Write::Post => Method::POST,
            Write::Delete => Method::DELETE,
        };
        let written = self.ask(self.signed(self.request(method, path)), body).await;
        // Of a change nothing is still being hashed.
        written.map_err(|error| match error {
            AskError::Coming { conductor, why } => AskError::Busy { conductor, why, after: None },
            error => error,
        })
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let port = self.conductor.port;
        let url = match (self.found, &self.conductor.host) {
            (Some(SocketAddr::V6(found)), _) if found.scope_id() != 0 => format!("http://{LINK_LOCAL}:{port}{path}"),
            (_, Host::ThisMachine) => format!("http://localhost:{port}{path}"),
            (_, Host::Ip(_) | Host::Name(_)) => format!("http://{}{path}", self.conductor),
        };
        self.http.request(method, url).header(NO_PAGE, "1")
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.understand(&self.ask(self.request(Method::GET, path), Vec::new()).await?)
    }

    /// Sends a question; gives the body of its answer, if that is one.
    async fn ask(&self, request: RequestBuilder, body: Vec<u8>) -> Result<Vec<u8>, AskError> {
        self.ask_for(request, body, self.most).await
    }

    /// As [`Client::ask`], for at most so many bytes.
    async fn ask_for(&self, request: RequestBuilder, body: Vec<u8>, most: usize) -> Result<Vec<u8>, AskError> {
        let (length, progress) = (body.len() as u64, Progress::default());
        let request = match length {
            0 => request,
            _ => request.body(reqwest::Body::wrap(CountedBody::new(body, progress.clone()))),
        };
        tokio::select! {
            answer = self.answer(request, most, &progress) => answer,
            why = stands_still(&progress, length) => {
                Err(AskError::Unreachable { conductor: self.conductor.to_string(), why })
            }
        }
    }

    async fn answer(&self, request: RequestBuilder, most: usize, progress: &Progress) -> Result<Vec<u8>, AskError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let after = retry_after(response.headers());
        let body = self.body(response, most, progress).await?;
        match status.is_success() {
            true => Ok(body),
            false => Err(self.refused(status, after, &body)),
        }
    }

    fn refused(&self, status: StatusCode, after: Option<Duration>, body: &[u8]) -> AskError {
        let conductor = self.conductor.to_string();
        let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
            let why = format!("HTTP status {status}");
            return match status {
                StatusCode::METHOD_NOT_ALLOWED => AskError::Refused { conductor, why, remedy: Remedy::Older },
                status if passes(status) => AskError::Busy { conductor, why, after },
                _ => AskError::Strange { conductor, why },
            };
        };
        let (why, candidates, member) = (shown(&refusal.error).into_owned(), refusal.candidates, refusal.member);
        match status {
            StatusCode::MULTIPLE_CHOICES => AskError::Several { conductor, name: String::new(), candidates, member },
            StatusCode::SERVICE_UNAVAILABLE => AskError::Coming { conductor, why },
            StatusCode::NOT_FOUND => AskError::Unknown { conductor, name: String::new() },
            status if passes(status) => AskError::Busy { conductor, why, after },
            _ => AskError::Refused { conductor, why, remedy: Remedy::of(status) },
        }
    }

    /// Puts the name that was asked for into what is said of it.
    fn known<T>(&self, key: &Key, answer: Result<T, AskError>) -> Result<T, AskError> {
        answer.map_err(|error| match error {
            AskError::Unknown { conductor, .. } => AskError::Unknown { conductor, name: key.to_string() },
            AskError::Several { conductor, candidates, member, .. } => {
                AskError::Several { conductor, name: key.to_string(), candidates, member }
            }
            error => error,
        })
    }

    pub(super) fn understand<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AskError> {
        serde_json::from_slice(body).map_err(|error| self.strange(error.to_string()))
    }

    async fn body(&self, mut response: Response, most: usize, progress: &Progress) -> Result<Vec<u8>, AskError> {
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + bytes.len() > most {
                return Err(self.strange(format!("more than {} MiB", most >> 20)));
            }
            progress.add(bytes.len());
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    pub(super) fn strange(&self, why: String) -> AskError {
        AskError::Strange { conductor: self.conductor.to_string(), why: shown(&why).into_owned() }
    }

    fn unreachable(&self, error: &reqwest::Error) -> AskError {
        let why = match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("no connection within {} s", REACH.as_secs()),
            (true, false) => format!("no answer within {} s", PATIENCE.as_secs()),
            (false, _) => shown(&root(error)).into_owned(),
        };
        AskError::Unreachable { conductor: self.conductor.to_string(), why }
    }
}

/// Waits until nothing moves any more of a question with a body of this length, in bytes, and its answer; says what is
/// wrong.
async fn stands_still(progress: &Progress, length: u64) -> String {
    progress.stands_still(PATIENCE).await;
    if progress.bytes() < length {
        return format!("nothing of the manifest moved for {} s", PATIENCE.as_secs());
    }
    // What was handed to the system last may still be on its way.
    tokio::time::sleep(Duration::from_secs(length.min(MAX_SEND_BUFFER) / SLOWEST)).await;
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// Whether what is answered with this status may pass by itself.
fn passes(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// What one result of many says with this status.
pub(super) fn status_means(conductor: String, status: u16, why: String) -> AskError {
    match StatusCode::from_u16(status) {
        Ok(status) if passes(status) => AskError::Busy { conductor, why, after: None },
        Ok(status) => AskError::Refused { conductor, why, remedy: Remedy::of(status) },
        Err(_) => AskError::Strange { conductor, why },
    }
}

/// The wait that an answer asks for; a date in its place is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What all questions have in common.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(tls::unused()).no_proxy().redirect(redirect::Policy::none())
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, AskError> {
    builder.build().map_err(|error| AskError::Client(root(&error)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        catalogue::{
            IfTaken, VERSION,
            batch::{BatchAnswer, BatchResult},
            tests::composition,
        },
        geometry::Geometry,
        manifest::Name,
    };

    /// A stranger that answers any question with this.
    async fn stranger(status: &'static str, body: String) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        address
    }

    fn manifest(name: &str) -> Manifest {
        let (name, geometry) = (Name::new(name).unwrap(), Geometry::new(0, 16_384).unwrap());
        Manifest::new(Endpoint::UNKNOWN, name, None, geometry, Vec::new(), Vec::new()).unwrap()
    }

    #[tokio::test]
    async fn many_have_a_result_each() {
        let manifests = [manifest("a"), manifest("b"), manifest("c")];
        let entry = |status| BatchResult { status, entry: Some(composition()), error: None };
        let refused = |status| BatchResult { status, entry: None, error: Some("no".to_owned()) };
        let answer = |results| serde_json::to_string(&BatchAnswer { v: VERSION, results }).unwrap();
        let at = stranger("200 OK", answer(vec![entry(201), refused(429), refused(409)])).await;
        let client = Client::near(at, &Via { address: None, interface: None }).unwrap();
        let results = client.register_some(&manifests, IfTaken::Refuse).await.unwrap();
        assert!(matches!(
            results[..],
            [Ok(_), Err(AskError::Busy { .. }), Err(AskError::Refused { remedy: Remedy::Replace, .. })]
        ));
        let at = stranger("200 OK", answer(vec![entry(201)])).await;
        let client = Client::near(at, &Via { address: None, interface: None }).unwrap();
        let few = client.register_some(&manifests, IfTaken::Refuse).await;
        assert!(matches!(few, Err(AskError::Strange { .. })), "{few:?}");
    }

    /// A whole request.
    async fn question(stream: &mut tokio::net::TcpStream) -> String {
        let (mut question, mut buffer) = (String::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            question += &String::from_utf8_lossy(&buffer[..length]);
            let Some((head, body)) = question.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return question;
            }
        }
    }

    #[tokio::test]
    async fn an_older_conductor_is_asked_for_one_after_the_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            while asked.len() < 3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let question = question(&mut stream).await;
                let entry = Entry { v: VERSION, composition: composition(), member: None };
                let body = serde_json::to_string(&entry).unwrap();
                let answer = match question.starts_with("POST") {
                    true => {
                        "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
                    }
                    false => format!(
                        "HTTP/1.1 201 Created\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    ),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked.push(question.split(' ').next().unwrap().to_owned());
            }
            asked
        });
        let client = Client::near(at, &Via { address: None, interface: None }).unwrap();
        for _ in 0..2 {
            let results = client.register_some(&[manifest("a"), manifest("b")], IfTaken::Refuse).await.unwrap();
            assert!(matches!(results[..], [Ok(_)]), "{results:?}");
        }
        assert_eq!(asked.await.unwrap(), ["POST", "PUT", "PUT"]);
    }

    #[tokio::test]
    async fn what_passes_is_told_from_what_does_not() {
        let refusal = Refusal { v: VERSION, error: "why".to_owned(), candidates: Vec::new(), member: None };
        let json = serde_json::to_string(&refusal).unwrap();
        for (status, body, passes, after) in [
            ("429 Too Many Requests\r\nretry-after: 7", &json[..], true, Some(7)),
            ("429 Too Many Requests\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT", "slow down", true, None),
            ("500 Internal Server Error", &json, true, None),
            ("502 Bad Gateway", "<html>", true, None),
            ("503 Service Unavailable", &json, true, None),
            ("507 Insufficient Storage", &json, true, None),
            ("409 Conflict", &json, false, None),
            ("403 Forbidden", &json, false, None),
            ("200 OK", "nonsense", false, None),
        ] {
            let at = stranger(status, body.to_owned()).await;
            let client = Client::near(at, &Via { address: None, interface: None }).unwrap();
            let error = client.list().await.unwrap_err();
            assert_eq!((error.passes(), error.after()), (passes, after.map(Duration::from_secs)), "{status}: {error}");
        }
    }

    #[tokio::test]
    async fn what_was_not_asked_for_is_no_answer() {
        let other = Composition { name: "other.iso".to_owned(), ..composition() };
        let entry = Entry { v: VERSION, composition: other.clone(), member: None };
        let refusal = Refusal { v: VERSION, error: String::new(), candidates: vec![other.clone()], member: None };
        let answers =
            [("200 OK", serde_json::to_string(&entry)), ("300 Multiple Choices", serde_json::to_string(&refusal))];
        for (status, body) in answers {
            let at = stranger(status, body.unwrap()).await;
            let client = Client::near(at, &Via { address: None, interface: None }).unwrap();
            for key in [Key::Hash(InfoHash([8; 20])), Key::Name(Name::new("big.iso").unwrap())] {
                let found = client.find(&key).await;
                assert!(matches!(found, Err(AskError::Strange { .. })), "{found:?}");
            }
            let meant = client.find(&Key::Name(Name::new("other.iso").unwrap())).await;
            match status {
                "200 OK" => assert_eq!(meant.unwrap().composition, other),
                _ => assert!(matches!(meant, Err(AskError::Several { .. })), "{meant:?}"),
            }
        }
    }
}
