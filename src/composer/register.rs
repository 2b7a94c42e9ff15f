//! Puts what was composed into a conductor's catalogue.

use core::net::IpAddr;
use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{ComposeError, hint, share::word};
use crate::{
    catalogue::{AskError, Client, Composition, IfTaken, backoff::Backoff, place::is_owner},
    cli::composer::Register,
    manifest::{Endpoint, Host, Manifest, endpoint::CONDUCTOR_PORT},
};

/// How long a conductor that is too busy is asked again.
const MAX_REGISTERING: Duration = Duration::from_secs(60);

/// The command that fetches what was registered.
#[derive(Clone, Debug)]
pub struct Registered {
    pub command: String,
    /// Other machines can use it too: the conductor does not listen on the loopback alone.
    pub is_for_others: bool,
}

/// Registers the manifest, which is at `orch`, with the conductor that it names, or with the one on this machine.
pub async fn register(
    manifest: &Manifest,
    orch: &Path,
    told: &Register,
    own: Option<IpAddr>,
    stop: &CancellationToken,
) -> Result<Registered, ComposeError> {
    let conductor = match manifest.conductor.is_unknown() {
        true => Endpoint { host: Host::ThisMachine, port: CONDUCTOR_PORT },
        false => manifest.conductor.clone(),
    };
    let failed = |error| {
        let again = hint::register_again(orch, manifest, &conductor, told, &error);
        ComposeError::Register { orch: orch.to_owned(), error: Box::new(error), again }
    };
    let client = Client::new(conductor.clone(), told.token.clone()).map_err(failed)?;
    let if_taken = if told.replace { IfTaken::Replace } else { IfTaken::Refuse };
    let asked = stop.run_until_cancelled(patiently(&client, manifest, if_taken)).await;
    let entry = asked.ok_or_else(|| ComposeError::NotRegistered(orch.to_owned()))?.map_err(failed)?;
    log::info!("registered at {}: {}", client.conductor(), entry.info_hash);
    let conductor = seen_from_afar(client.conductor(), own).await;
    let (is_for_others, name) = (!conductor.host.is_this_machine(), manifest.name.as_str());
    // The name alone may mean several where there are owners.
    let what = match entry.owner.filter(|owner| is_owner(owner)) {
        Some(owner) => format!("{conductor}/{owner}/{name}"),
        None => format!("{conductor}/{name}"),
    };
    Ok(Registered { command: format!("member get {}", word(Path::new(&what))), is_for_others })
}

/// Asks again for a while where the conductor is there and too busy: that passes.
async fn patiently(client: &Client, manifest: &Manifest, if_taken: IfTaken) -> Result<Composition, AskError> {
    let (start, mut backoff, mut dice) = (Instant::now(), Backoff::default(), fastrand::Rng::new());
    loop {
        match client.register(manifest, if_taken).await {
            Err(error @ (AskError::Busy { .. } | AskError::Coming { .. })) => {
                let wait = backoff.next(error.after(), &mut dice);
                if start.elapsed() + wait > MAX_REGISTERING {
                    return Err(error);
                }
                log::info!("{error}: it is asked again");
                tokio::time::sleep(wait).await;
            }
            asked => return asked,
        }
    }
}

/// A conductor on this machine by the address at which others most likely reach it, if it answers there: it may listen on
/// the loopback alone.
async fn seen_from_afar(conductor: &Endpoint, own: Option<IpAddr>) -> Endpoint {
    let own = own.filter(|_| conductor.host.is_this_machine());
    match own.map(|ip| Endpoint { host: Host::Ip(ip), port: conductor.port }) {
        Some(place) if Client::is_answered_at(place.clone()).await => place,
        _ => conductor.clone(),
    }
}
