//! When a member ends by itself: pure rules over numbers.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cli::member::{Until, UntilAll},
    swarm::Machine,
    time::Time,
};

/// Addresses of the hosts that are waited for, by name, as far as they are known.
pub type Known = BTreeMap<String, Vec<IpAddr>>;

/// What the rules look at, once the own copy is whole: nothing counts before.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// When the own copy was whole, verified and had its final name.
    pub since: Time,
    pub uploaded: u64,
    pub size: u64,
    /// Whether others that are waited for lack it still; None: none are waited for.
    pub copies_missing: Option<bool>,
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Done,
    SeedTime,
    SeedRatio,
    Copies,
}

impl Met {
    /// For people, after "ends: ".
    pub fn reason(self) -> &'static str {
        match self {
            Self::Done => "it is whole",
            Self::SeedTime => "it was shared for as long as was asked",
            Self::SeedRatio => "it was sent as often as was asked",
            Self::Copies => "all that were waited for have it",
        }
    }
}

/// Machines that are waited for with `--until-all`: those that have it whole and those that have not, this one and those
/// that left counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Number of machines that have it whole.
    pub copies: usize,
    /// Number of machines that are waited for.
    pub wanted: usize,
    /// Names of those that have it, in order; for people.
    pub whole: Vec<String>,
    /// Names of those that are known and lack something of it.
    pub lacking: Vec<String>,
    /// Names of those that have it only as their conductors say; they do not count.
    pub claimed: Vec<String>,
}

impl Copies {
    /// Waits for a number of machines, whichever they are. `own`: this machine, if its own copy is whole.
    pub fn of_number<'a>(
        wanted: u32,
        own: Option<&'a Machine>,
        others: impl Iterator<Item = &'a Machine>,
        lacking: impl Iterator<Item = String>,
    ) -> Self {
        let mut whole: Vec<String> = own.into_iter().chain(others).map(|machine| machine.name.clone()).collect();
        let mut lacking: Vec<String> = lacking.collect();
        whole.sort();
        lacking.sort();
        Self { copies: whole.len(), wanted: wanted as usize, whole, lacking, claimed: Vec::new() }
    }

    /// Waits for all of these hosts, each a member's name, an address of its machine, or a name that leads to one (`known`).
    pub fn of_hosts<'a>(
        hosts: &[String],
        known: &Known,
        own: Option<&'a Machine>,
        others: impl Iterator<Item = &'a Machine>,
    ) -> Self {
        let have: Vec<&Machine> = own.into_iter().chain(others).collect();
        let names: BTreeSet<String> = have.iter().map(|machine| machine.name.to_ascii_lowercase()).collect();
        let addresses: BTreeSet<IpAddr> = have.iter().flat_map(|machine| &machine.addresses).copied().collect();
        let is_there = |host: &str| match address(host) {
            Some(ip) => addresses.contains(&ip) || names.contains(&host.to_ascii_lowercase()),
            None => {
                let leads_there = |ips: &Vec<IpAddr>| ips.iter().any(|ip| addresses.contains(ip));
                names.contains(&host.to_ascii_lowercase()) || known.get(host).is_some_and(leads_there)
            }
        };
        let wanted: BTreeSet<&String> = hosts.iter().collect();
        let (whole, lacking): (Vec<&String>, Vec<&String>) = wanted.iter().partition(|host| is_there(host));
        let owned = |names: Vec<&String>| names.into_iter().cloned().collect();
        let (whole, lacking): (Vec<String>, Vec<String>) = (owned(whole), owned(lacking));
        Self { copies: whole.len(), wanted: wanted.len(), whole, lacking, claimed: Vec::new() }
    }

    /// The same with what conductors claim, for people.
    pub fn with_claims<'a>(mut self, claimed: impl Iterator<Item = &'a str>) -> Self {
        let claimed: BTreeSet<&str> = claimed.collect();
        self.claimed = claimed.into_iter().take(MAX_CLAIMED).map(str::to_owned).collect();
        self
    }

    /// Whether nobody has to be waited for any more.
    pub fn is_enough(&self) -> bool {
        self.copies >= self.wanted
    }

    /// Says what is missing, for people; names not safe for a terminal.
    pub fn missing(&self) -> String {
        let mut missing = format!("{} of {} have it whole", self.copies, self.wanted);
        if !self.lacking.is_empty() {
            missing = format!("{missing}, not {}", self.lacking.join(", "));
        }
        match self.claimed.as_slice() {
            [] => missing,
            names => format!("{missing}; claimed, and not seen over a connection: {}", names.join(", ")),
        }
    }
}

/// Counts the machines that are waited for. `known`: where hosts are; `own`: this machine, if its own copy is whole; `lacking`: members that are
/// connected and lack something.
pub fn count<'a>(
    all: &UntilAll,
    known: &Known,
    own: Option<&'a Machine>,
    others: impl Iterator<Item = &'a Machine>,
    lacking: impl Iterator<Item = String>,
) -> Copies {
    match all {
        UntilAll::Members(wanted) => Copies::of_number(*wanted, own, others, lacking),
        UntilAll::Named(hosts) => Copies::of_hosts(hosts, known, own, others),
    }
}

/// Claims that people are told, at most.
const MAX_CLAIMED: usize = 100;

/// The address that a line of a host list is; `None` where it is a name.
pub fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Addresses in a list of hosts: members are looked for there too.
pub fn addresses(hosts: &[String]) -> impl Iterator<Item = IpAddr> {
    hosts.iter().filter_map(|host| address(host))
}

/// The first condition that is met.
pub fn met(until: &Until, facts: &Facts, now: Time) -> Option<Met> {
    let ratio = |wanted: f64| facts.uploaded as f64 >= wanted * facts.size as f64;
    if until.done {
        Some(Met::Done)
    } else if until.seed_time.is_some_and(|time| now >= facts.since + time) {
        Some(Met::SeedTime)
    } else if until.seed_ratio.is_some_and(ratio) {
        Some(Met::SeedRatio)
    } else if facts.copies_missing == Some(false) {
        Some(Met::Copies)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { since: Time::from_secs(10), uploaded: 150, size: 100, copies_missing: None }
    }

    fn at(until: Until, facts: Facts, seconds: u64) -> Option<Met> {
        met(&until, &facts, Time::from_secs(seconds))
    }

    #[test]
    fn without_a_condition_it_goes_on() {
        assert_eq!(at(Until::default(), facts(), 1_000_000), None);
    }

    #[test]
    fn the_first_condition_that_is_met_ends_it() {
        let until = Until { seed_time: Some(Time::from_secs(5)), seed_ratio: Some(2.0), ..Until::default() };
        assert_eq!(at(until.clone(), facts(), 14), None);
        assert_eq!(at(until.clone(), facts(), 15), Some(Met::SeedTime));
        assert_eq!(at(until, Facts { uploaded: 200, ..facts() }, 14), Some(Met::SeedRatio));
    }

    fn machine(name: &str, addresses: &[&str]) -> Machine {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Machine { name: name.to_owned(), addresses }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn this_machine_counts_among_those_that_have_it() {
        let (own, b) = (machine("seed", &[]), machine("b", &[]));
        let two = Copies::of_number(3, Some(&own), [&b].into_iter(), names(&["c"]).into_iter());
        assert_eq!((two.copies, two.is_enough(), two.whole.as_slice()), (2, false, names(&["b", "seed"]).as_slice()));
        assert_eq!(two.missing(), "2 of 3 have it whole, not c");
        let of_one_name = Copies::of_number(3, Some(&own), [&own, &own].into_iter(), std::iter::empty());
        assert!(of_one_name.is_enough(), "each machine counts, whatever its member is called");
    }

    #[test]
    fn each_host_of_a_list_is_waited_for() {
        let (own, b, x) = (machine("seed", &[]), machine("b", &[]), machine("x", &[]));
        let wanted = names(&["c", "seed", "b", "b"]);
        let some = Copies::of_hosts(&wanted, &Known::new(), Some(&own), [&b, &x].into_iter());
        assert_eq!((some.copies, some.wanted, some.lacking.clone()), (2, 3, names(&["c"])));
        assert!(!some.is_enough());
        assert!(Copies::of_hosts(&wanted, &Known::new(), Some(&own), [&machine("C", &[]), &b].into_iter()).is_enough());
        assert!(!Copies::of_hosts(&names(&["seed"]), &Known::new(), None, std::iter::empty()).is_enough());
    }

    #[test]
    fn a_host_may_be_listed_by_an_address() {
        let hosts = names(&["10.0.0.7", "[fd00::7]", "::1"]);
        let seven = machine("seven", &["fd00::7", "10.0.0.7"]);
        let have = Copies::of_hosts(&hosts, &Known::new(), None, [&seven].into_iter());
        assert_eq!((have.whole.len(), have.lacking), (2, names(&["::1"])));
        let false_name = machine("seven", &["10.0.0.8"]);
        assert_eq!(Copies::of_hosts(&hosts, &Known::new(), None, [&false_name].into_iter()).copies, 0);
        assert_eq!(
            addresses(&names(&["a", "::ffff:10.0.0.7"])).collect::<Vec<IpAddr>>(),
            [IpAddr::from([10, 0, 0, 7])]
        );
    }

    #[test]
    fn a_host_is_known_by_where_its_name_leads() {
        let hosts = names(&["pc-7", "pc-8"]);
        let seven = machine("whatever", &["10.0.0.7"]);
        let known =
            Known::from([("pc-7", 7), ("pc-8", 8)].map(|(name, n)| (name.to_owned(), vec![[10, 0, 0, n].into()])));
        let have = Copies::of_hosts(&hosts, &known, None, [&seven].into_iter());
        assert_eq!((have.whole, have.lacking), (names(&["pc-7"]), names(&["pc-8"])));
        assert_eq!(Copies::of_hosts(&hosts, &Known::new(), None, [&seven].into_iter()).copies, 0);
    }

    #[test]
    fn what_is_only_claimed_is_said_and_not_counted() {
        let own = machine("seed", &[]);
        let alone = Copies::of_number(2, Some(&own), std::iter::empty(), std::iter::empty());
        let claimed = alone.with_claims(["b", "a", "a"].into_iter());
        assert!(!claimed.is_enough());
        assert_eq!(claimed.missing(), "1 of 2 have it whole; claimed, and not seen over a connection: a, b");
    }

    #[test]
    fn copies_are_waited_for_only_where_that_was_asked() {
        let waits = |copies_missing| at(Until::default(), Facts { copies_missing, ..facts() }, 10);
        assert_eq!(waits(None), None);
        assert_eq!(waits(Some(true)), None);
        assert_eq!(waits(Some(false)), Some(Met::Copies));
    }
}
