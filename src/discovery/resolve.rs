//! Where a conductor, or a member that a person named, is: looked up anew each time it is needed.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{
    manifest::{Endpoint, Host},
    metainfo::Tracker,
    net::via::Via,
};

/// How long the name service may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses that our own can reach and that may be asked.
///
/// # Errors
/// The name is not found; the text says why.
pub async fn addresses(tracker: &Tracker, via: &Via) -> Result<Vec<SocketAddr>, String> {
    let reaches = |address: &SocketAddr| {
        via.address.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4()) && tracker.may_be_at(address.ip())
    };
    Ok(all_of(&tracker.conductor).await?.into_iter().filter(reaches).collect())
}

/// All its addresses.
///
/// # Errors
/// The name is not found; the text says why.
pub async fn all_of(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, String> {
    let port = endpoint.port;
    Ok(match &endpoint.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::ThisMachine => {
            vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)]
        }
        Host::Name(name) => {
            let look_up = tokio::net::lookup_host((name.as_str(), port));
            let unknown = |why| format!("{name} is not found: {why}");
            let found = tokio::time::timeout(PATIENCE, look_up).await;
            found
                .map_err(|_| unknown("the name service does not answer".into()))?
                .map_err(|error| unknown(error.to_string()))?
                .collect()
        }
    })
}
