//! What each shared composition has done towards the end of `member share`: bytes sent, and machines that have it whole.
//!
//! Kept while the composition sleeps. The task that serves it writes, the one that decides when to end reads.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    cli::member::{Until, UntilAll},
    member::until::{self, Copies, Facts},
    metainfo::InfoHash,
    swarm::Machine,
    time::Time,
};

/// How one composition stands.
#[derive(Debug)]
pub struct Standing {
    /// As people see it.
    name: String,
    /// Bytes of the composition.
    size: u64,
    /// When it was first shared.
    since: Time,
    /// Bytes of it that were sent.
    uploaded: AtomicU64,
    copies: Mutex<Copies>,
}

impl Standing {
    /// Of a composition that is shared from now on, by the machine `this`.
    pub fn new(name: String, size: u64, since: Time, until: &Until, this: &Machine) -> Self {
        let alone = |all: &UntilAll| {
            until::count(all, &until::Known::new(), Some(this), std::iter::empty(), std::iter::empty())
        };
        let copies = Mutex::new(until.all.as_ref().map(alone).unwrap_or_default());
        Self { name, size, since, uploaded: AtomicU64::new(0), copies }
    }

    /// Takes in how far it is. `copies`: where machines are waited for.
    pub fn note(&self, uploaded: u64, copies: Option<Copies>) {
        self.uploaded.store(uploaded, Ordering::Relaxed);
        if let Some(copies) = copies {
            *self.copies.lock().unwrap_or_else(PoisonError::into_inner) = copies;
        }
    }

    fn copies(&self) -> Copies {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All compositions that are shared, and what people were told of their copies.
#[derive(Default)]
pub struct Standings {
    all: HashMap<InfoHash, Arc<Standing>>,
    told: HashMap<InfoHash, Copies>,
}

impl Standings {
    /// The standing of this composition, which goes on if it is known already.
    pub fn of(&mut self, info_hash: InfoHash, new: impl FnOnce() -> Standing) -> Arc<Standing> {
        self.all.entry(info_hash).or_insert_with(|| Arc::new(new())).clone()
    }

    /// It is shared no more, and waited for no more.
    pub fn forget(&mut self, info_hash: &InfoHash) {
        self.all.remove(info_hash);
        self.told.remove(info_hash);
    }

    /// Whether every composition has met one of the conditions; there is at least one.
    pub fn are_met(&self, until: &Until, now: Time) -> bool {
        let is_met = |standing: &Arc<Standing>| {
            let copies_missing = until.all.is_some().then(|| !standing.copies().is_enough());
            let uploaded = standing.uploaded.load(Ordering::Relaxed);
            let facts = Facts { since: standing.since, uploaded, size: standing.size, copies_missing };
            until::met(until, &facts, now).is_some()
        };
        !self.all.is_empty() && self.all.values().all(is_met)
    }

    /// Names of compositions that others lack still, each with what is missing.
    pub fn missing(&self) -> Vec<(String, Copies)> {
        let all = self.all.values().map(|standing| (standing.name.clone(), standing.copies()));
        let mut missing: Vec<_> = all.filter(|(_, copies)| !copies.is_enough()).collect();
        missing.sort_by(|a, b| a.0.cmp(&b.0));
        missing
    }

    /// Those of which people were not told yet how many machines have it.
    pub fn news(&mut self) -> Vec<(String, Copies)> {
        let mut news = Vec::new();
        for (info_hash, standing) in &self.all {
            let copies = standing.copies();
            if self.told.get(info_hash).is_none_or(|told| told.whole != copies.whole) {
                self.told.insert(*info_hash, copies.clone());
                news.push((standing.name.clone(), copies));
            }
        }
        news.sort_by(|a, b| a.0.cmp(&b.0));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: [InfoHash; 2] = [InfoHash([1; 20]), InfoHash([2; 20])];

    fn standings(until: &Until) -> (Standings, Vec<Arc<Standing>>) {
        let mut standings = Standings::default();
        let this = Machine { name: "seed".to_owned(), addresses: Vec::new() };
        let one = |n: usize| {
            let new = || Standing::new(format!("f{n}"), 100, Time::from_secs(10 * n as u64), until, &this);
            standings.of(HASHES[n], new)
        };
        let all = [0, 1].map(one).to_vec();
        (standings, all)
    }

    fn two_machines(until: &Until) -> Option<Copies> {
        let machine = |name: &str| Machine { name: name.to_owned(), addresses: Vec::new() };
        let (this, other) = (machine("seed"), machine("other"));
        Some(until::count(
            until.all.as_ref()?,
            &until::Known::new(),
            Some(&this),
            [&other].into_iter(),
            std::iter::empty(),
        ))
    }

    #[test]
    fn all_have_to_meet_a_condition() {
        let until = Until { seed_time: Some(Time::from_secs(5)), ..Until::default() };
        let (mut standings, _) = standings(&until);
        assert!(!standings.are_met(&until, Time::from_secs(14)));
        assert!(standings.are_met(&until, Time::from_secs(15)));
        assert!(!standings.are_met(&Until::default(), Time::from_secs(1_000)), "without a condition it goes on");
        HASHES.iter().for_each(|hash| standings.forget(hash));
        assert!(!standings.are_met(&until, Time::from_secs(15)), "nothing is shared yet");
    }

    #[test]
    fn each_may_meet_another_condition() {
        let until = Until { seed_ratio: Some(2.0), all: Some(UntilAll::Members(2)), ..Until::default() };
        let (mut standings, all) = standings(&until);
        assert_eq!(standings.news().len(), 2);
        all[0].note(200, None);
        assert_eq!((standings.are_met(&until, Time::ZERO), standings.news().len()), (false, 0));
        all[1].note(0, two_machines(&until));
        assert!(standings.are_met(&until, Time::ZERO));
        assert_eq!(standings.news()[0].1.whole, ["other", "seed"]);
        let missing = standings.missing();
        assert_eq!(missing.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["f0"]);
    }
}
