//! Which conductor what is shared is announced to and registered at: told, found on this machine or the local network,
//! or run here.
//!
//! What it costs an attacker: who says on the local network that it is a conductor hears what is shared, as everybody
//! there may; what it then says of members is proven like all that members send. It gets no token: that goes only to a
//! conductor that a person named. The one that runs here takes changes of its catalogue from this process alone, by a
//! secret that is made at the start, kept in memory and sent to itself only.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{AskError, Client, Key, Token},
    cli::member::{Origin, Settings},
    conductor::{self, ConductorError, Config, Voice, catalogue::Keep, secret},
    discovery::dns_sd::{Browsing, Kind},
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    member::station,
    metainfo::InfoHash,
    net::via::Via,
    ui::Screen,
};

/// Ports tried after a conductor's usual one, where another program has that.
const MORE_PORTS: u16 = 100;
/// A conductor of the local network has said by then that it is there.
const LOOK: Duration = Duration::from_millis(1400);
/// Time between two questions to a conductor that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What was found.
pub struct Conducting {
    /// Whom to announce to; nobody, where none was found and none may be run here.
    pub conductors: Vec<Endpoint>,
    /// Who named them.
    pub from: Origin,
    /// What their catalogue is written with: the person's token only where a person named them.
    pub token: Option<Token>,
    /// The one that runs here.
    pub own: Option<JoinHandle<()>>,
    /// What people should know of it.
    pub note: Option<String>,
}

/// Finds a conductor that takes what is shared, or runs one here until `stop`. `token`: for those that a person named.
///
/// # Errors
/// None was found, one may be run here, and cannot.
pub async fn find(
    settings: &Settings,
    token: Option<Token>,
    may_conduct: bool,
    stop: &CancellationToken,
) -> Result<Conducting, ConductorError> {
    let without = |conductors, from, note| Conducting { conductors, from, token: None, own: None, note };
    let named = settings.conductors.clone();
    match (named.first(), settings.conductors_from) {
        (None, _) => {}
        (Some(first), Origin::DotEnv) => {
            let note = format!("the conductor {first} is named in .env: what is shared is put into its catalogue");
            return Ok(without(named, Origin::DotEnv, Some(note)));
        }
        (Some(_), from) => return Ok(Conducting { token, ..without(named, from, None) }),
    }
    let mut passed_over = None;
    match on_this_machine().await {
        Some((endpoint, true)) => {
            let note = format!("what is shared is put into the catalogue of the conductor on this machine, {endpoint}");
            return Ok(without(vec![endpoint], Origin::ThisMachine, Some(note)));
        }
        Some((endpoint, false)) => {
            passed_over = Some(format!(
                "the conductor on this machine, {endpoint}, takes nothing from here: it is not used, unless \
                 --conductor names it"
            ));
        }
        None => {}
    }
    if settings.lan {
        let looked = stop.run_until_cancelled(timeout(LOOK, on_this_network(&station::via(settings)))).await;
        if let Some(endpoint) = looked.and_then(Result::ok).flatten() {
            let note = format!(
                "a conductor at {endpoint} says on the local network that it is there: what is shared is put into its \
                 catalogue too; --conductor names another, --no-lan none"
            );
            return Ok(without(vec![endpoint], Origin::Network, Some(note)));
        }
    }
    match may_conduct {
        false => Ok(without(Vec::new(), Origin::Person, passed_over)),
        true => run(settings, passed_over, stop).await,
    }
}

/// Waits until the conductor has answered something, which is said once if it takes long; nothing, without one. Gives
/// those of this machine's `own` addresses under which it answers too, where it is on this machine: one that listens on the
/// loopback alone leads nobody else anywhere.
pub async fn answered(conductor: Option<Endpoint>, own: Vec<IpAddr>, screen: Arc<Screen>) -> Vec<IpAddr> {
    let client = conductor.and_then(|conductor| Client::new(conductor, None).ok());
    let Some(client) = client else { return own };
    let mut is_said = false;
    while let Err(error @ AskError::Unreachable { .. }) = client.find(&Key::Hash(InfoHash([0; 20]))).await {
        log::info!("{error}");
        if !is_said {
            is_said = true;
            screen.say(&format!("{error} What to type on the others is said once it answers"));
        }
        sleep(ASK_AGAIN).await;
    }
    let Endpoint { host, port } = client.conductor();
    if !host.is_this_machine() {
        return own;
    }
    let answers = own
        .into_iter()
        .map(async |ip| Client::is_answered_at(Endpoint { host: Host::Ip(ip), port: *port }).await.then_some(ip));
    join_all(answers).await.into_iter().flatten().collect()
}

/// The conductor of this machine, and whether it takes entries from here.
async fn on_this_machine() -> Option<(Endpoint, bool)> {
    let endpoint = Endpoint { host: Host::Name("localhost".to_owned()), port: CONDUCTOR_PORT };
    let client = Client::new(endpoint.clone(), None).ok()?;
    match has_catalogue(&client).await {
        true => Some((endpoint, takes_entries(&client).await)),
        false => None,
    }
}

/// The first that answers, and takes entries.
async fn on_this_network(via: &Via) -> Option<Endpoint> {
    let browsing = match Browsing::start(via) {
        Ok(browsing) => browsing,
        Err(error) => {
            log::warn!("no conductor is looked for on the local network: {error}");
            return None;
        }
    };
    while let Some(service) = browsing.next().await {
        for address in service.addresses.into_iter().filter(|at| service.kind == Kind::Conductor && !is_link_local(at))
        {
            if let Ok(client) = Client::near(address, via)
                && has_catalogue(&client).await
                && takes_entries(&client).await
            {
                return Some(Endpoint { host: Host::Ip(address.ip()), port: address.port() });
            }
        }
    }
    None
}

/// A manifest has no place for the interface that such an address is behind.
fn is_link_local(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local())
}

async fn has_catalogue(client: &Client) -> bool {
    // That it has no such entry is what a catalogue says.
    matches!(client.find(&Key::Hash(InfoHash([0; 20]))).await, Ok(_) | Err(AskError::Unknown { .. }))
}

/// Whether it can be written without a token: a list of nothing is sent, which changes nothing.
async fn takes_entries(client: &Client) -> bool {
    // An older one knows no such list, and takes entries.
    !matches!(client.announce(&[]).await, Err(AskError::Refused { .. } | AskError::Unreachable { .. }))
}

async fn run(
    settings: &Settings,
    passed_over: Option<String>,
    stop: &CancellationToken,
) -> Result<Conducting, ConductorError> {
    let secret = fresh_token()?;
    let host = settings.listen.map_or(Host::ThisMachine, Host::Ip);
    let mut port = CONDUCTOR_PORT;
    let running = loop {
        let config = Config {
            listen: vec![Endpoint { host: host.clone(), port }],
            // What is shared is registered anew at each start.
            store: Keep::Memory,
            voice: Voice::Silent,
            own_writer: Some(secret.clone()),
            // Who registers here is left without a conductor when this member ends: nobody is invited.
            lan: false,
            ..Config::default()
        };
        match conductor::start(config, stop.clone()).await {
            Err(ConductorError::Listen(error)) if error.taken() && port < CONDUCTOR_PORT + MORE_PORTS => port += 1,
            started => break started?,
        }
    };
    let note = format!("no conductor was found: this member is one, on port {port}");
    log::info!("{note}");
    let note = passed_over.into_iter().chain([note]).collect::<Vec<_>>().join("\n");
    let host = match host {
        Host::ThisMachine => Host::Name("localhost".to_owned()),
        host => host,
    };
    Ok(Conducting {
        conductors: vec![Endpoint { host, port }],
        from: Origin::Own,
        token: Some(secret),
        own: Some(tokio::spawn(running.work)),
        note: Some(note),
    })
}

/// A token that nobody can guess, for the conductor that runs here.
fn fresh_token() -> Result<Token, ConductorError> {
    let bytes = [secret::fresh()?, secret::fresh()?].concat();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Hex digits always are a token.
    Token::new(&text).map_err(|error| ConductorError::Thread(std::io::Error::other(error)))
}
