//! Where the hosts of `--until-all @FILE` are: names are looked up (DNS, the hosts file), so that a member counts as the
//! host from whose address it was seen, whatever it calls itself.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::until::{self, Known};
use crate::{
    discovery::resolve,
    manifest::{Endpoint, Host},
};

/// Names that are looked up at the same time.
const LOOKUPS_AT_ONCE: usize = 16;
/// Time after which names that were not found are looked up again.
const AGAIN_INTERVAL: Duration = Duration::from_secs(60);

/// Addresses of hosts by name. Clones are the same one.
#[derive(Clone, Default)]
pub struct Hosts(Arc<Mutex<Arc<Known>>>);

impl Hosts {
    /// Looks these hosts up until all are found or `stop`. To be called inside a tokio runtime.
    pub fn look_up(hosts: &[String], stop: CancellationToken) -> Self {
        let (found, names) = (Self::default(), hosts.iter().filter(|host| until::address(host).is_none()));
        let (all, mut missing) = (found.clone(), names.cloned().collect::<Vec<String>>());
        let looking = async move {
            while !missing.is_empty() {
                let looked = stream::iter(missing).map(look_up).buffer_unordered(LOOKUPS_AT_ONCE);
                missing = looked.filter_map(async |(name, ips)| all.take(name, ips)).collect().await;
                sleep(AGAIN_INTERVAL).await;
            }
        };
        tokio::spawn(stop.run_until_cancelled_owned(looking));
        found
    }

    /// Takes in what came of a name; gives it back if it was not found.
    fn take(&self, name: String, ips: Vec<IpAddr>) -> Option<String> {
        if ips.is_empty() {
            return Some(name);
        }
        Arc::make_mut(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)).insert(name, ips);
        None
    }

    /// What is known by now.
    pub fn known(&self) -> Arc<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn look_up(name: String) -> (String, Vec<IpAddr>) {
    let found = resolve::all_of(&Endpoint { host: Host::Name(name.clone()), port: 0 }).await;
    match found {
        Ok(addresses) => (name, addresses.iter().map(|address| address.ip().to_canonical()).collect()),
        Err(why) => {
            log::info!("--until-all: {why}");
            (name, Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_found_in_the_end_and_an_address_is_none() {
        let names = ["localhost", "10.0.0.7"].map(str::to_owned);
        let stop = CancellationToken::new();
        let hosts = Hosts::look_up(&names, stop.clone());
        while hosts.known().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(hosts.known()["localhost"].iter().all(IpAddr::is_loopback));
        assert_eq!(hosts.known().len(), 1);
        stop.cancel();
    }
}
