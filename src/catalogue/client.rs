//! Asks a conductor for its catalogue, over HTTP.
//!
//! What a hostile conductor can do: answer up to 16 MiB, which take at most [`PATIENCE`]; redirects and proxies are not
//! followed. Its texts are shown escaped, and a manifest from it is believed only under the info-hash that was asked for.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;

use super::{
    Coming, Composition, Entry, Key, Listing, MAX_MANIFEST, Place, Refusal, Roster, Token,
    place::{COMING, ROOT},
};
use crate::{
    cli::Exit,
    discovery::conductor::root,
    manifest::{Endpoint, Host, Manifest, ManifestError, shown},
    metainfo::InfoHash,
    net::tls,
};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take to reach the conductor.
const REACH: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;
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
    Refused { conductor: String, why: String },
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
    Several { conductor: String, name: String, candidates: Vec<Composition> },
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
            Self::Refused { .. } | Self::TooLong(_) => Exit::Refused,
            Self::Several { .. } => Exit::Usage,
            Self::Manifest { .. } | Self::Other { .. } => Exit::BadManifest,
            Self::Client(_)
            | Self::Strange { .. }
            | Self::Unknown { .. }
            | Self::Coming { .. }
            | Self::Empty { .. } => Exit::Other,
        }
    }
}

/// Asks one conductor.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    conductor: Endpoint,
    token: Option<Token>,
}

impl Client {
    /// To be used inside a tokio runtime. The token is sent with writes alone.
    pub fn new(conductor: Endpoint, token: Option<Token>) -> Result<Self, AskError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::unused())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(REACH)
            .timeout(PATIENCE);
        let http = builder.build().map_err(|error| AskError::Client(root(&error)))?;
        Ok(Self { http, conductor, token })
    }

    pub fn conductor(&self) -> &Endpoint {
        &self.conductor
    }

    /// All compositions, sorted by name.
    pub async fn list(&self) -> Result<Vec<Composition>, AskError> {
        let listing: Listing = self.read(ROOT).await?;
        Ok(listing.compositions)
    }

    /// The only one that somebody shares.
    pub async fn only(&self) -> Result<Composition, AskError> {
        let Listing { mut compositions, mut coming, .. } = self.read(ROOT).await?;
        compositions.retain(|there| there.members > 0);
        coming.retain(|soon| compositions.iter().all(|there| there.name != soon.name));
        let conductor = self.conductor.to_string();
        match (compositions.len(), coming.first()) {
            (1, None) => Ok(compositions.remove(0)),
            (0, None) => Err(AskError::Empty { conductor }),
            (0 | 1, Some(coming)) => Err(AskError::Coming { conductor, why: coming.to_string() }),
            _ => Err(AskError::Several { conductor, name: "it".to_owned(), candidates: compositions }),
        }
    }

    /// Says that these are being hashed, and will be there soon.
    pub async fn announce(&self, coming: &[Coming]) -> Result<(), AskError> {
        // Plain data with text for keys always can be written.
        let body = serde_json::to_vec(coming).unwrap_or_default();
        let request = self.request(Method::PUT, COMING).body(body);
        self.ask(self.signed(request)).await.map(drop)
    }

    /// The one that the key names.
    pub async fn find(&self, key: &Key) -> Result<Composition, AskError> {
        let entry: Entry = self.known(key, self.read(&Place::Entry(key.clone()).to_string()).await)?;
        Ok(entry.composition)
    }

    /// Who has it.
    pub async fn members(&self, key: &Key) -> Result<Roster, AskError> {
        self.known(key, self.read(&Place::Members(key.clone()).to_string()).await)
    }

    /// Its manifest.
    pub async fn manifest(&self, hash: InfoHash) -> Result<Manifest, AskError> {
        let place = Place::Manifest(Key::Hash(hash)).to_string();
        let text = self.ask(self.request(Method::GET, &place)).await;
        let text = self.known(&Key::Hash(hash), text)?;
        let conductor = self.conductor.to_string();
        let manifest = Manifest::parse(&text).map_err(|error| AskError::Manifest { conductor, error })?;
        match manifest.info_hash() == hash {
            true => Ok(manifest),
            false => Err(AskError::Other { conductor: self.conductor.to_string(), hash }),
        }
    }

    /// Puts a manifest into the catalogue, or in place of what stands in its way.
    pub async fn register(&self, manifest: &Manifest, replace: bool) -> Result<Composition, AskError> {
        let text = manifest.render();
        if text.len() > MAX_MANIFEST {
            return Err(AskError::TooLong(text.len()));
        }
        let place = Place::Entry(Key::Hash(manifest.info_hash()));
        let question = if replace { "?replace" } else { "" };
        let request = self.request(Method::PUT, &format!("{place}{question}")).body(text);
        let entry: Entry = self.understand(&self.ask(self.signed(request)).await?)?;
        Ok(entry.composition)
    }

    /// Takes the one that the key names out of the catalogue.
    pub async fn remove(&self, key: &Key) -> Result<Composition, AskError> {
        let request = self.request(Method::DELETE, &Place::Entry(key.clone()).to_string());
        let answer = self.ask(self.signed(request)).await;
        let entry: Entry = self.understand(&self.known(key, answer)?)?;
        Ok(entry.composition)
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let port = self.conductor.port;
        let url = match &self.conductor.host {
            Host::ThisMachine => format!("http://localhost:{port}{path}"),
            Host::Ip(_) | Host::Name(_) => format!("http://{}{path}", self.conductor),
        };
        self.http.request(method, url).header(NO_PAGE, "1")
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.understand(&self.ask(self.request(Method::GET, path)).await?)
    }

    /// Sends a question; gives the body of its answer, if that is one.
    async fn ask(&self, request: RequestBuilder) -> Result<Vec<u8>, AskError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = self.body(response).await?;
        match status.is_success() {
            true => Ok(body),
            false => Err(self.refused(status, &body)),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> AskError {
        let conductor = self.conductor.to_string();
        let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
            return AskError::Strange { conductor, why: format!("HTTP status {status}") };
        };
        let (why, candidates) = (shown(&refusal.error).into_owned(), refusal.candidates);
        match status {
            StatusCode::MULTIPLE_CHOICES => AskError::Several { conductor, name: String::new(), candidates },
            StatusCode::SERVICE_UNAVAILABLE => AskError::Coming { conductor, why },
            StatusCode::NOT_FOUND => AskError::Unknown { conductor, name: String::new() },
            _ => AskError::Refused { conductor, why },
        }
    }

    /// Puts the name that was asked for into what is said of it.
    fn known<T>(&self, key: &Key, answer: Result<T, AskError>) -> Result<T, AskError> {
        answer.map_err(|error| match error {
            AskError::Unknown { conductor, .. } => AskError::Unknown { conductor, name: key.to_string() },
            AskError::Several { conductor, candidates, .. } => {
                AskError::Several { conductor, name: key.to_string(), candidates }
            }
            error => error,
        })
    }

    fn understand<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AskError> {
        serde_json::from_slice(body).map_err(|error| self.strange(error.to_string()))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, AskError> {
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + bytes.len() > MAX_ANSWER {
                return Err(self.strange(format!("more than {} MiB", MAX_ANSWER >> 20)));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    fn strange(&self, why: String) -> AskError {
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
