//! Where others reach this member, as far as it was told so with `--advertise`.

use std::{io, net::IpAddr};

use crate::manifest::{Endpoint, Host};

/// What is told to members and conductors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub port: u16,
    /// None: at the address that they see.
    pub ip: Option<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
#[error("--advertise {endpoint}: the name is not found: {error}; give an address instead")]
pub struct NotFound {
    pub endpoint: Endpoint,
    pub error: io::Error,
}

/// Looks the advertised name up, once; of several addresses the first counts. Without `--advertise` the port is the
/// one on which we listen.
///
/// # Errors
/// The name has no address.
pub async fn reached(advertise: Option<&Endpoint>, listening: u16) -> Result<Reached, NotFound> {
    let Some(endpoint) = advertise else {
        return Ok(Reached { port: listening, ip: None });
    };
    let ip = match &endpoint.host {
        Host::ThisMachine => None,
        Host::Ip(ip) => Some(*ip),
        Host::Name(name) => Some(look_up(name).await.map_err(|error| NotFound { endpoint: endpoint.clone(), error })?),
    };
    Ok(Reached { port: endpoint.port, ip })
}

async fn look_up(name: &str) -> io::Result<IpAddr> {
    let first = tokio::net::lookup_host((name, 0)).await?.next();
    first.map(|address| address.ip()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_and_the_address_are_those_that_were_told() {
        let told = async |text: &str| reached(Some(&text.parse().unwrap()), 9998).await;
        let ip = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(told("10.0.0.1:7").await.unwrap(), Reached { port: 7, ip });
        assert_eq!(told(":7").await.unwrap(), Reached { port: 7, ip: None });
        assert_eq!(reached(None, 9998).await.unwrap(), Reached { port: 9998, ip: None });
        let error = told("no-such-host.invalid:7").await.unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid:7"), "{error}");
    }
}
