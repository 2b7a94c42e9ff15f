//! What each connection was shown and given by a first seed, and what it owes for it.
//!
//! Who was sent a part and does not spread it owes that part; so does for good who had it taken over by another who did.
//! Owing more than the others do is the end of the credit: whoever takes parts and hides them, or spoils them, costs the
//! swarm a few, not a share of all.

use std::collections::{BTreeMap, BTreeSet};

use crate::{geometry::PartIndex, peer::PeerKey, time::Time, wire::handshake::PeerId};

/// Nothing new for who owes so many parts more than is usual.
const CREDIT: u32 = 3;
/// Debts of so many who left are remembered.
const MOST_DEPARTED: usize = 10_000;

/// What one connection was given.
#[derive(Clone, Debug, Default)]
struct Account {
    /// Parts that it sees and was not sent.
    shown: Vec<PartIndex>,
    /// Parts that it was sent and that were not spread.
    owed: u32,
    /// Since when something lies there that it was shown: it took nothing since.
    since: Option<Time>,
    /// It let lie what it was shown, and took nothing since.
    idle: bool,
    /// It owed more than its credit, and still owes more than the others.
    closed: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<PeerKey, Account>,
    /// What those owe who left.
    departed: BTreeMap<PeerId, u32>,
}

impl Ledger {
    pub fn joined(&mut self, key: PeerKey, id: PeerId) {
        let owed = self.departed.remove(&id).unwrap_or(0);
        self.accounts.insert(key, Account { owed, ..Account::default() });
    }

    /// What it owes is remembered.
    pub fn left(&mut self, key: PeerKey, id: PeerId) {
        if let Some(account) = self.accounts.remove(&key)
            && account.owed > 0
            && self.departed.len() < MOST_DEPARTED
        {
            self.departed.insert(id, account.owed);
        }
    }

    pub fn is_idle(&self, key: PeerKey) -> bool {
        self.accounts.get(&key).is_some_and(|account| account.idle)
    }

    pub fn is_anything_shown(&self) -> bool {
        self.all_shown().next().is_some()
    }

    pub fn all_shown(&self) -> impl Iterator<Item = PartIndex> {
        self.accounts.values().flat_map(|account| account.shown.iter().copied())
    }

    pub fn is_shown(&self, key: PeerKey, part: PartIndex) -> bool {
        self.accounts.get(&key).is_some_and(|account| account.shown.contains(&part))
    }

    /// How many parts it is shown; None: it gets no more for now.
    pub fn open(&self, key: PeerKey) -> Option<usize> {
        let account = self.accounts.get(&key)?;
        (!account.idle && !account.closed).then_some(account.shown.len())
    }

    /// It spreads what it gets about as well as the others do.
    pub fn is_proven(&self, key: PeerKey) -> bool {
        self.accounts.get(&key).is_some_and(|account| account.owed <= self.usual())
    }

    pub fn show(&mut self, key: PeerKey, part: PartIndex, now: Time) {
        let account = self.accounts.entry(key).or_default();
        account.since.get_or_insert(now);
        account.shown.push(part);
    }

    /// It takes what it is given.
    pub fn took(&mut self, key: PeerKey, now: Time) {
        if let Some(account) = self.accounts.get_mut(&key) {
            account.idle = false;
            account.since = (!account.shown.is_empty()).then_some(now);
        }
    }

    /// This part is not on offer to it any more.
    pub fn settle(&mut self, key: PeerKey, part: PartIndex) {
        if let Some(account) = self.accounts.get_mut(&key) {
            account.shown.retain(|shown| *shown != part);
        }
    }

    pub fn owes(&mut self, key: PeerKey, more: i32) {
        if let Some(account) = self.accounts.get_mut(&key) {
            account.owed = account.owed.saturating_add_signed(more);
        }
    }

    /// All that was on offer to it.
    pub fn recall(&mut self, key: PeerKey) -> Vec<PartIndex> {
        let Some(account) = self.accounts.get_mut(&key) else {
            return Vec::new();
        };
        account.since = None;
        std::mem::take(&mut account.shown)
    }

    /// Those that took nothing for so long of what they were shown.
    pub fn find_idle(&mut self, now: Time, patience: Time) -> Vec<PeerKey> {
        let lazy = |a: &Account| !a.idle && a.since.is_some_and(|since| now >= since + patience);
        let found = self.accounts.iter_mut().filter(|(_, account)| lazy(account));
        let found = found.map(|(key, account)| {
            account.idle = true;
            *key
        });
        found.collect()
    }

    /// What a member may owe that does nothing wrong.
    fn usual(&self) -> u32 {
        let mut owed: Vec<u32> = self.accounts.values().filter(|a| !a.idle && !a.closed).map(|a| a.owed).collect();
        owed.sort_unstable();
        1 + 2 * owed.get(owed.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    }

    /// Once in a while: whose credit is used up? Who spread all but the usual since has some again.
    pub fn review(&mut self) -> BTreeSet<PeerKey> {
        let usual = self.usual();
        for account in self.accounts.values_mut() {
            account.closed = account.owed > usual + if account.closed { 0 } else { CREDIT };
        }
        self.accounts.iter().filter(|(_, account)| account.closed).map(|(key, _)| *key).collect()
    }
}
