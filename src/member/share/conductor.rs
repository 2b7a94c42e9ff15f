//! Which conductor what is shared is announced to and registered at: told, found on this machine or the local network,
//! or run here.
//!
//! What it costs an attacker: who says on the local network that it is a conductor hears what is shared, as everybody
//! there may; what it then says of members is proven like all that members send.

use std::{net::SocketAddr, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{AskError, Client, Key},
    cli::member::Settings,
    conductor::{self, ConductorError, Config, Voice, catalogue::Keep},
    discovery::dns_sd::{Browsing, Kind},
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    member::station,
    metainfo::InfoHash,
    net::via::Via,
};

/// Ports tried after a conductor's usual one, where another program has that.
const MORE_PORTS: u16 = 100;
/// A conductor of the local network has said by then that it is there.
const LOOK: Duration = Duration::from_millis(1400);

/// What was found.
pub struct Conducting {
    /// Whom to announce to; nobody, where none was found and none may be run here.
    pub conductors: Vec<Endpoint>,
    /// The one that runs here.
    pub own: Option<JoinHandle<()>>,
}

/// Finds a conductor, or runs one here until `stop`.
///
/// # Errors
/// None was found, one may be run here, and cannot.
pub async fn find(
    settings: &Settings,
    may_conduct: bool,
    stop: &CancellationToken,
) -> Result<Conducting, ConductorError> {
    let mut found = settings.conductors.clone();
    if found.is_empty() {
        found = on_this_machine().await;
    }
    if found.is_empty() && settings.lan {
        let looked = stop.run_until_cancelled(timeout(LOOK, on_this_network(&station::via(settings)))).await;
        found = looked.and_then(Result::ok).unwrap_or_default();
    }
    if !found.is_empty() || !may_conduct {
        return Ok(Conducting { conductors: found, own: None });
    }
    run(settings, stop).await
}

async fn on_this_machine() -> Vec<Endpoint> {
    let endpoint = Endpoint { host: Host::Name("localhost".to_owned()), port: CONDUCTOR_PORT };
    if has_catalogue(Client::new(endpoint.clone(), None)).await { vec![endpoint] } else { Vec::new() }
}

/// The first that answers.
async fn on_this_network(via: &Via) -> Vec<Endpoint> {
    let browsing = match Browsing::start(via) {
        Ok(browsing) => browsing,
        Err(error) => {
            log::warn!("no conductor is looked for on the local network: {error}");
            return Vec::new();
        }
    };
    while let Some(service) = browsing.next().await {
        for address in service.addresses.into_iter().filter(|at| service.kind == Kind::Conductor && !is_link_local(at))
        {
            if has_catalogue(Client::near(address, via)).await {
                return vec![Endpoint { host: Host::Ip(address.ip()), port: address.port() }];
            }
        }
    }
    Vec::new()
}

/// A manifest has no place for the interface that such an address is behind.
fn is_link_local(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local())
}

async fn has_catalogue(client: Result<Client, AskError>) -> bool {
    let answer = match client {
        Ok(client) => client.find(&Key::Hash(InfoHash([0; 20]))).await,
        Err(error) => Err(error),
    };
    // That it has no such entry is what a catalogue says.
    matches!(answer, Ok(_) | Err(AskError::Unknown { .. }))
}

async fn run(settings: &Settings, stop: &CancellationToken) -> Result<Conducting, ConductorError> {
    let host = settings.listen.map_or(Host::ThisMachine, Host::Ip);
    let mut port = CONDUCTOR_PORT;
    let running = loop {
        let config = Config {
            listen: vec![Endpoint { host: host.clone(), port }],
            // What is shared is registered anew at each start.
            store: Keep::Memory,
            voice: Voice::Silent,
            // Who registers here is left without a conductor when this member ends: nobody is invited.
            lan: false,
            ..Config::default()
        };
        match conductor::start(config, stop.clone()).await {
            Err(ConductorError::Listen(error)) if error.taken() && port < CONDUCTOR_PORT + MORE_PORTS => port += 1,
            started => break started?,
        }
    };
    log::info!("no conductor was found: this member is one, on port {port}");
    let host = match host {
        Host::ThisMachine => Host::Name("localhost".to_owned()),
        host => host,
    };
    Ok(Conducting { conductors: vec![Endpoint { host, port }], own: Some(tokio::spawn(running.work)) })
}
