//! Who can be asked on the local network what is shared: members and conductors say so there, and are looked for
//! (DNS-SD over multicast DNS, RFC 6763 and 6762).
//!
//! It knows where somebody can be asked, not what there is: that is asked over TCP, so that a list has no size limit and
//! who died does not show. The crate `mdns-sd` does the work, on a thread of its own; where multicast fails, nobody is
//! found and nothing else changes.
//!
//! What it costs an attacker on the same network: it may name any number of services. Only so many are believed as the
//! asker takes, and only addresses of networks that this machine is on are ever asked ([`Near`]).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use if_addrs::Interface;
use mdns_sd::{
    DaemonEvent, IfKind, IfPredicate, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::lan::Near;
use crate::net::via::Via;

/// The longest name of a service, in bytes: a label of DNS has 63, and an id is added.
const LONGEST_NAME: usize = 52;
/// The longest type of ours; RFC 6335 would have 15 letters at most, and nobody minds.
const LONGEST_TYPE: u8 = 19;
/// How often it is looked whether there is something to tell of, and then how much there is.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long it may take to say that we go.
const FAREWELL: Duration = Duration::from_millis(300);
/// Addresses of one service that are looked at, at most.
const MOST_ADDRESSES: usize = 8;

/// Who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Member,
    Conductor,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Member, Self::Conductor];

    fn text(self) -> &'static str {
        match self {
            Self::Member => "_orchestra._tcp.local.",
            Self::Conductor => "_orchestra-conductor._tcp.local.",
        }
    }
}

/// Why nobody can be told or found.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS cannot be spoken here: {0}")]
pub struct Mute(#[from] mdns_sd::Error);

/// Says on the local network that somebody can be asked here, until it is taken down or the process ends.
pub struct Notice {
    ended: CancellationToken,
    gone: CancellationToken,
}

/// What a notice says.
#[derive(Clone, Debug)]
pub struct Words {
    pub kind: Kind,
    /// How people call it; an id is added, for others may be called the same.
    pub name: String,
    /// Where it is asked, on every address that `via` means: one that is unspecified means all of its IP version.
    pub port: u16,
    pub via: Via,
}

impl Notice {
    /// Puts it up, a member's once it has something; `count` says how many compositions there are. It ends with `stop`.
    /// Where the system lets nobody speak there, that is logged. To be called inside a tokio runtime.
    pub fn put_up(words: Words, count: impl Fn() -> usize + Send + 'static, stop: &CancellationToken) -> Self {
        let (ended, gone) = (stop.child_token(), CancellationToken::new());
        let (until, done) = (ended.clone(), gone.clone().drop_guard());
        tokio::spawn(async move {
            if let Err(error) = keep(&words, count, &until).await {
                log::warn!("the local network is not told who can be asked here: {error}");
            }
            drop(done);
        });
        Self { ended, gone }
    }

    /// Says that nobody can be asked here any more.
    pub async fn take_down(&self) {
        self.ended.cancel();
        self.gone.cancelled().await;
    }
}

async fn keep(words: &Words, count: impl Fn() -> usize, ended: &CancellationToken) -> Result<(), Mute> {
    while words.kind == Kind::Member && count() == 0 {
        if ended.run_until_cancelled(sleep(FIRST_LOOK)).await.is_none() {
            return Ok(());
        }
    }
    let daemon = daemon(&words.via)?;
    watch(&daemon)?;
    let id = format!("{:08x}", fastrand::Rng::new().u32(..));
    let mut said = None;
    loop {
        let now = count();
        if said.replace(now) != Some(now) {
            daemon.register(info(words, &id, now)?)?;
        }
        if ended.run_until_cancelled(sleep(LOOK_AGAIN)).await.is_none() {
            break;
        }
    }
    let leaving = daemon.shutdown()?;
    let _ = timeout(FAREWELL, leaving.recv_async()).await;
    Ok(())
}

/// `id`: nobody else's. To find out who has a name already (RFC 6762, 9) goes wrong where many machines that are called
/// the same start together.
fn info(words: &Words, id: &str, count: usize) -> Result<ServiceInfo, Mute> {
    let facts = HashMap::from([("v".to_owned(), "1".to_owned()), ("n".to_owned(), count.to_string())]);
    let address = words.via.address.filter(|ip| !ip.is_unspecified());
    let addresses: Vec<IpAddr> = address.into_iter().collect();
    let name = format!("{} [{id}]", short(&words.name));
    // Not the host's own name: that is for the system to speak for.
    let host = format!("orchestra-{id}.local.");
    let mut info = ServiceInfo::new(words.kind.text(), &name, &host, &addresses[..], words.port, facts)?;
    info.set_requires_probe(false);
    Ok(if address.is_none() { info.enable_addr_auto() } else { info })
}

/// Somebody who says that it can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub kind: Kind,
    /// Tells it from others of its kind; a stranger's text.
    pub name: String,
    /// Where, the likeliest to be reached first; never empty.
    pub addresses: Vec<SocketAddr>,
}

/// Looks for services until it is dropped.
pub struct Browsing {
    daemon: ServiceDaemon,
    found: [(Kind, Receiver<ServiceEvent>); 2],
    near: Near,
}

impl Browsing {
    /// Looks on the networks that `via` means.
    ///
    /// # Errors
    /// The system lets nobody speak there.
    pub fn start(via: &Via) -> Result<Self, Mute> {
        let daemon = daemon(via)?;
        let [members, conductors] = Kind::ALL;
        let found = [(members, daemon.browse(members.text())?), (conductors, daemon.browse(conductors.text())?)];
        Ok(Self { daemon, found, near: Near::of(via) })
    }

    /// The next one that answers; it may have been given before. None: nothing can be heard any more.
    pub async fn next(&self) -> Option<Service> {
        let [members, conductors] = &self.found;
        loop {
            let (kind, event) = tokio::select! {
                event = members.1.recv_async() => (members.0, event.ok()?),
                event = conductors.1.recv_async() => (conductors.0, event.ok()?),
            };
            if let ServiceEvent::ServiceResolved(resolved) = event
                && let Some(service) = self.service(kind, &resolved)
            {
                return Some(service);
            }
        }
    }

    fn service(&self, kind: Kind, resolved: &ResolvedService) -> Option<Service> {
        let addresses = resolved.addresses.iter().filter_map(|ip| address(ip, resolved.port));
        let addresses = likeliest_first(addresses.filter(|address| self.near.contains(address.ip())));
        let name = resolved.fullname.clone();
        (!addresses.is_empty() && resolved.port != 0).then_some(Service { kind, name, addresses })
    }
}

impl Drop for Browsing {
    fn drop(&mut self) {
        // Its thread ends by itself.
        let _ = self.daemon.shutdown();
    }
}

/// Speaks and hears on the networks that `via` means.
fn daemon(via: &Via) -> Result<ServiceDaemon, Mute> {
    let daemon = ServiceDaemon::new()?;
    let via = via.clone();
    daemon.disable_interface(IfKind::All)?;
    daemon.enable_interface(IfKind::Predicate(IfPredicate::new(move |interface| is_used(interface, &via))))?;
    daemon.set_service_name_len_max(LONGEST_TYPE)?;
    Ok(daemon)
}

/// The other half of each cable to a container is left out, of which there may be hundreds; a tunnel and this machine
/// itself are used only where they are named.
fn is_used(interface: &Interface, via: &Via) -> bool {
    let named = via.interface.as_ref().map(|name| *name == interface.name);
    let inside = via.address.is_some_and(|ip| ip.is_loopback());
    let usual = !interface.is_p2p && !interface.name.starts_with("veth") && (inside || !interface.is_loopback());
    let at = via.address.is_none_or(|ip| match ip.is_unspecified() {
        true => ip.is_ipv4() == interface.ip().is_ipv4(),
        false => ip == interface.ip(),
    });
    named.unwrap_or(usual) && at
}

/// What goes wrong is logged, the first time.
fn watch(daemon: &ServiceDaemon) -> Result<(), Mute> {
    let events = daemon.monitor()?;
    tokio::spawn(async move {
        let mut told = false;
        while let Ok(event) = events.recv_async().await {
            if let DaemonEvent::Error(error) = event
                && !std::mem::replace(&mut told, true)
            {
                log::warn!("the local network may not hear who can be asked here: {error}");
            }
        }
    });
    Ok(())
}

fn address(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V4(ip) => Some((*ip.addr(), port).into()),
        ScopedIp::V6(ip) => {
            let scope = if ip.addr().is_unicast_link_local() { ip.scope_id().index } else { 0 };
            Some(SocketAddrV6::new(*ip.addr(), port, 0, scope).into())
        }
        _ => None,
    }
}

/// IPv4 first, and last what means something on one cable alone.
fn likeliest_first(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = addresses.take(MOST_ADDRESSES).collect();
    all.sort_by_key(|address| match address.ip() {
        IpAddr::V4(ip) => (ip.is_link_local(), false, *address),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), true, *address),
    });
    all
}

/// As much of a name as there is room for.
fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr};

    use super::*;

    fn interface(name: &str, ip: [u8; 4], is_p2p: bool) -> Interface {
        let addr = Ifv4Addr { ip: ip.into(), netmask: Ipv4Addr::new(255, 255, 255, 0), prefixlen: 24, broadcast: None };
        let (addr, oper_status) = (IfAddr::V4(addr), IfOperStatus::Up);
        Interface { name: name.to_owned(), addr, index: Some(1), oper_status, is_p2p }
    }

    #[test]
    fn networks_are_used_and_what_is_named() {
        let used = |address: Option<&str>, named: Option<&str>| {
            let address = address.map(|ip| ip.parse().unwrap());
            let via = Via { address, interface: named.map(str::to_owned) };
            let all = [
                interface("lo", [127, 0, 0, 1], false),
                interface("eth0", [10, 0, 0, 5], false),
                interface("docker0", [172, 17, 0, 1], false),
                interface("veth12", [169, 254, 3, 4], false),
                interface("tun0", [10, 8, 0, 2], true),
            ];
            all.iter().filter(|one| is_used(one, &via)).map(|one| one.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(used(None, None), ["eth0", "docker0"]);
        assert_eq!(used(Some("0.0.0.0"), None), ["eth0", "docker0"]);
        assert!(used(Some("::"), None).is_empty());
        assert_eq!(used(None, Some("tun0")), ["tun0"]);
        assert_eq!(used(Some("10.0.0.5"), None), ["eth0"]);
        assert_eq!(used(Some("127.0.0.1"), None), ["lo"]);
        assert!(used(Some("10.0.0.6"), None).is_empty());
    }

    #[test]
    fn what_is_likely_to_be_reached_is_tried_first() {
        let all = ["[fe80::1%3]:1", "[fd00::1]:1", "169.254.0.1:1", "10.0.0.1:1"].map(|text| text.parse().unwrap());
        let sorted: Vec<String> = likeliest_first(all.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["10.0.0.1:1", "[fd00::1]:1", "169.254.0.1:1", "[fe80::1%3]:1"]);
    }

    #[test]
    fn a_long_name_is_cut_between_letters() {
        assert_eq!(short("h1"), "h1");
        assert_eq!(short(&"é".repeat(40)), "é".repeat(26));
        assert_eq!(short(&format!("x{}", "é".repeat(40))).len(), 51);
    }
}
