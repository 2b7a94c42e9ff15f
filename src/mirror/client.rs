//! Requests to mirrors: the only code that speaks HTTP to them.
//!
//! Proxies of the environment are not used: the addresses that are refused would be theirs to resolve. Redirects are
//! followed here, five at most, and each step is checked at the address that is connected to, so that no name that leads
//! elsewhere the second time is of use.
//!
//! What it costs an attacker: a manifest may name any server, and this sends it a `GET`. A private address (of the
//! loopback, a local network, a link) is asked only if the mirror's own address leads there, not a redirect from elsewhere, and
//! never with a query, so that no button is pressed on a machine that its author cannot get to.

use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, SocketAddr},
    ops::Range,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};
use tokio::time::timeout;
use url::{Host, Url};

use super::{
    Failure,
    address::is_http,
    answer::{self, Head},
};
use crate::{
    discovery::conductor::root,
    net::{range::is_near, tls, via::Via},
};

/// How long a connection may take.
const REACH: Duration = Duration::from_secs(10);
/// How long nothing may come.
pub const SILENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;
const AGENT: &str = concat!("orchestra/", env!("CARGO_PKG_VERSION"));
const ONLY_NEAR: &str = "it leads to a private address";

/// Makes requests. Clones are the same one, with the same connections.
#[derive(Clone, Debug)]
pub struct Client {
    any: reqwest::Client,
    /// Connects to no private address that a name leads to.
    far: reqwest::Client,
}

/// What was asked for, as it comes.
pub struct Body {
    response: Response,
    /// Bytes that are of use.
    pub len: u64,
}

impl Client {
    /// Through `via`. Reads the certificates of the system.
    ///
    /// # Errors
    /// The system gives no HTTP client, or knows no such network interface.
    pub fn new(via: &Via) -> Result<Self, ClientError> {
        let config = tls::of_this_system();
        let make = |resolver: Resolver| {
            let builder = reqwest::Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .connect_timeout(REACH)
                .user_agent(AGENT)
                .tls_backend_preconfigured(config.clone())
                .dns_resolver(Arc::new(resolver))
                .local_address(via.address.filter(|ip| !ip.is_unspecified()));
            #[cfg(any(target_os = "linux", target_os = "android"))]
            let builder = match &via.interface {
                Some(name) => builder.interface(name),
                None => builder,
            };
            builder.build().map_err(|error| ClientError(root(&error)))
        };
        Ok(Self { any: make(Resolver { far: false, look_up })?, far: make(Resolver { far: true, look_up })? })
    }

    /// Asks for these bytes of a file of `size` bytes.
    ///
    /// # Errors
    /// They do not come from there, now or ever.
    pub async fn get(&self, url: Url, range: &Range<u64>, size: u64) -> Result<Body, Failure> {
        let response = self.follow(url, range).await?;
        let text = |name| response.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let head = Head {
            status: response.status().as_u16(),
            content_range: text(header::CONTENT_RANGE),
            length: text(header::CONTENT_LENGTH).and_then(|digits| digits.parse().ok()),
            encoding: text(header::CONTENT_ENCODING),
        };
        let len = answer::usable(&head, range, size)?;
        Ok(Body { response, len })
    }

    /// The first answer that is no redirect.
    async fn follow(&self, mut url: Url, range: &Range<u64>) -> Result<Response, Failure> {
        let mut near = true;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(url, range, near).await?;
            let Some(next) = redirected(&response)? else { return Ok(response) };
            near &= response.remote_addr().is_some_and(|address| is_near(address.ip()));
            url = next;
        }
        Err(Failure::Never(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// One request. `near`: it may go to a private address, unless it has a query.
    async fn ask(&self, url: Url, range: &Range<u64>, near: bool) -> Result<Response, Failure> {
        let near = near && url.query().is_none();
        let client = if near { &self.any } else { &self.far };
        // The resolver is not asked for an address in place of a name.
        if !near && address(&url).is_some_and(is_near) {
            return Err(Failure::Never(ONLY_NEAR.to_owned()));
        }
        let request = client
            .get(url)
            .header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            .header(header::ACCEPT_ENCODING, "identity");
        let sent = timeout(SILENCE, request.send()).await.map_err(|_| silent())?;
        sent.map_err(|error| failure(&error))
    }
}

/// Why no mirror can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no mirror can be asked: {0}")]
pub struct ClientError(String);

impl Body {
    /// The next bytes; there are some.
    ///
    /// # Errors
    /// They do not come.
    pub async fn next(&mut self) -> Result<hyper::body::Bytes, Failure> {
        loop {
            let came = timeout(SILENCE, self.response.chunk()).await.map_err(|_| silent())?;
            match came.map_err(|error| Failure::Later(format!("its answer broke off: {}", root(&error))))? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => return Ok(bytes),
                None => return Err(Failure::Later("its answer is shorter than it said".to_owned())),
            }
        }
    }
}

/// Where this answer says to ask instead.
fn redirected(response: &Response) -> Result<Option<Url>, Failure> {
    const ELSEWHERE: [StatusCode; 5] = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !ELSEWHERE.contains(&response.status()) {
        return Ok(None);
    }
    let place = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let next = place.and_then(|place| response.url().join(place).ok()).filter(is_http);
    next.map(Some).ok_or_else(|| Failure::Never("it redirects to no HTTP address".to_owned()))
}

/// The address that stands in place of a name.
fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
    }
}

fn silent() -> Failure {
    Failure::Later(format!("nothing came for {} s", SILENCE.as_secs()))
}

fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<OnlyNear>() {
            return Failure::Never(ONLY_NEAR.to_owned());
        }
        cause = inner.source();
    }
    Failure::Later(match error.is_connect() && error.is_timeout() {
        true => format!("it cannot be reached within {} s", REACH.as_secs()),
        false => root(error),
    })
}

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// All addresses of this name; the ports mean nothing.
fn look_up(name: String) -> Found {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

/// Finds the addresses that are connected to.
struct Resolver {
    /// Leaves out private ones.
    far: bool,
    look_up: fn(String) -> Found,
}

/// A name has private addresses alone.
#[derive(Debug)]
struct OnlyNear;

impl fmt::Display for OnlyNear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ONLY_NEAR)
    }
}

impl Error for OnlyNear {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (far, looked_up) = (self.far, (self.look_up)(name.as_str().to_owned()));
        Box::pin(async move {
            let mut addresses = looked_up.await?;
            let some = !addresses.is_empty();
            addresses.retain(|address| !far || !is_near(address.ip()));
            if some && addresses.is_empty() {
                return Err(OnlyNear.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
