//! Which conductor what is shared is announced to and registered at: told, found on this machine, or run here.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{AskError, Client, Key},
    cli::member::Settings,
    conductor::{self, ConductorError, Config, Voice, catalogue::Keep},
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
    metainfo::InfoHash,
};

/// Ports tried after a conductor's usual one, where another program has that.
const MORE_PORTS: u16 = 100;

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
    let found = match settings.conductors.is_empty() {
        false => settings.conductors.clone(),
        true => on_this_machine().await,
    };
    if !found.is_empty() || !may_conduct {
        return Ok(Conducting { conductors: found, own: None });
    }
    run(settings, stop).await
}

async fn on_this_machine() -> Vec<Endpoint> {
    let endpoint = Endpoint { host: Host::Name("localhost".to_owned()), port: CONDUCTOR_PORT };
    let answers = match Client::new(endpoint.clone(), None) {
        Ok(client) => client.find(&Key::Hash(InfoHash([0; 20]))).await,
        Err(error) => Err(error),
    };
    // That it has no such entry is what a catalogue says.
    match answers {
        Ok(_) | Err(AskError::Unknown { .. }) => vec![endpoint],
        Err(_) => Vec::new(),
    }
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
            lan: settings.lan,
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
