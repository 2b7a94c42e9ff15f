//! A rate as a bucket of tokens, one token a byte: what `--upload` and `--download` hold the whole process to.
//!
//! All connections share one bucket. Whoever is about to move bytes takes tokens, moves at most so many bytes, and
//! gives back what it did not use, so that the rate holds for the bytes that were really moved. Compositions have equal
//! shares of it, however many connections each has: who took more than another one that waits has to let it go first. It
//! knows no clock.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::time::Time;

/// What gathers while nobody takes anything: this long at the full rate.
const BURST: Duration = Duration::from_millis(100);
/// Nobody who wants more is woken for fewer bytes than gather in this time, within the bounds below.
const NAP: Duration = Duration::from_millis(20);
const LEAST_QUANTUM: f64 = 1024.0;
const MOST_QUANTUM: f64 = 16.0 * 1024.0;
/// Who waits for its turn and does not come for so long has lost it.
const TURN: Duration = Duration::from_millis(50);
/// Who did not ask for so long starts anew: what was not taken then is not owed.
const FORGET: Duration = Duration::from_secs(1);

/// Tokens that come at a rate and gather up to a bound.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Tokens a second.
    rate: f64,
    /// More never gather.
    most: f64,
    /// Fewer are not worth a system call.
    quantum: f64,
    tokens: f64,
    at: Time,
    shares: HashMap<Share, Taken>,
    next_share: u32,
}

/// One of those that share a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Share(u32);

/// How one of them stands.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Tokens; comparable among those that ask now.
    tokens: f64,
    /// When it asked last.
    asked: Time,
    /// It got nothing then.
    waits: bool,
}

impl Bucket {
    /// `rate` in bytes a second.
    pub fn new(rate: NonZeroU64, now: Time) -> Self {
        let rate = rate.get() as f64;
        let quantum = (rate * NAP.as_secs_f64()).clamp(LEAST_QUANTUM, MOST_QUANTUM);
        let most = (rate * BURST.as_secs_f64()).max(quantum);
        Self { rate, most, quantum, tokens: 0.0, at: now, shares: HashMap::new(), next_share: 0 }
    }

    /// Takes up to `wanted` tokens. 0: wait until [`Bucket::when_next`].
    pub fn take(&mut self, share: Share, now: Time, wanted: u32) -> u32 {
        self.fill(now);
        self.ask(share, now);
        let enough = self.tokens >= f64::from(wanted).min(self.quantum);
        let granted = match enough && !self.is_behind_others(share, now) {
            true => self.tokens.min(f64::from(wanted)).floor(),
            false => 0.0,
        };
        self.tokens -= granted;
        if let Some(taken) = self.shares.get_mut(&share) {
            taken.tokens += granted;
            taken.waits = granted == 0.0 && wanted > 0;
        }
        granted as u32
    }

    /// Tokens taken and not used.
    pub fn give_back(&mut self, share: Share, unused: u32) {
        self.tokens = (self.tokens + f64::from(unused)).min(self.most);
        if let Some(taken) = self.shares.get_mut(&share) {
            taken.tokens -= f64::from(unused);
        }
    }

    /// When there will be tokens worth taking.
    pub fn when_next(&mut self, share: Share, now: Time) -> Time {
        self.fill(now);
        let lacking = match self.is_behind_others(share, now) {
            // They come for theirs first.
            true => (self.quantum * 2.0 - self.tokens).max(self.quantum),
            false => (self.quantum - self.tokens).max(0.0),
        };
        // Rounded up: who comes at that time must not find a fraction of a token lacking.
        now + Duration::from_secs_f64(lacking / self.rate) + Duration::from_micros(1)
    }

    /// Notes that this one asks; who comes new or anew has taken as little as the one that took least.
    fn ask(&mut self, share: Share, now: Time) {
        let known = self.shares.get_mut(&share).filter(|taken| now < taken.asked + FORGET);
        if let Some(taken) = known {
            taken.asked = now;
            return;
        }
        self.shares.retain(|_, taken| now < taken.asked + FORGET);
        let least = self.shares.values().map(|taken| taken.tokens).reduce(f64::min);
        self.shares.insert(share, Taken { tokens: least.unwrap_or(0.0), asked: now, waits: false });
    }

    /// Whether another one waits that took less.
    fn is_behind_others(&self, share: Share, now: Time) -> bool {
        let Some(own) = self.shares.get(&share) else { return false };
        let goes_first = |other: &Taken| other.waits && now < other.asked + TURN && other.tokens < own.tokens;
        self.shares.len() > 1 && self.shares.iter().any(|(key, other)| *key != share && goes_first(other))
    }

    fn fill(&mut self, now: Time) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.most);
        self.at = self.at.max(now);
    }
}

/// One bucket for all connections of a process; without a bucket nothing is limited and nothing is locked. Clones have
/// the same share of it.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    bucket: Option<Arc<Mutex<Bucket>>>,
    share: Share,
}

impl Limiter {
    /// `rate` in bytes a second; None: no limit.
    pub fn new(rate: Option<NonZeroU64>, now: Time) -> Self {
        let bucket = rate.map(|rate| Arc::new(Mutex::new(Bucket::new(rate, now))));
        Self { bucket, share: Share::default() }
    }

    /// The same bucket for another one, with a share as large.
    pub fn another(&self) -> Self {
        let share = self.with(|bucket| {
            bucket.next_share += 1;
            Share(bucket.next_share)
        });
        Self { bucket: self.bucket.clone(), share: share.unwrap_or_default() }
    }

    /// As [`Bucket::take`]; all that is wanted where there is no limit.
    pub fn take(&self, now: Time, wanted: u32) -> u32 {
        self.with(|bucket| bucket.take(self.share, now, wanted)).unwrap_or(wanted)
    }

    /// As [`Bucket::give_back`].
    pub fn give_back(&self, unused: u32) {
        if unused > 0 {
            self.with(|bucket| bucket.give_back(self.share, unused));
        }
    }

    /// As [`Bucket::when_next`]; now where there is no limit.
    pub fn when_next(&self, now: Time) -> Time {
        self.with(|bucket| bucket.when_next(self.share, now)).unwrap_or(now)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        let bucket = self.bucket.as_ref()?;
        // A bucket is right after every step: who panicked while holding it left no harm.
        Some(act(&mut bucket.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Share = Share(1);

    /// Bytes that each share moved in 20 seconds, having so many connections that always want more.
    fn moved(rate: u64, connections: &[usize]) -> Vec<u64> {
        let mut bucket = bucket(rate);
        let of: Vec<usize> = connections.iter().enumerate().flat_map(|(share, n)| vec![share; *n]).collect();
        let mut wakes = vec![Time::ZERO; of.len()];
        let mut moved = vec![0; connections.len()];
        loop {
            let (who, now) = wakes.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
            if now > Duration::from_secs(20) {
                return moved;
            }
            let share = Share(of[who] as u32);
            let granted = bucket.take(share, now, 64 << 10);
            moved[of[who]] += u64::from(granted);
            let next = if granted == 0 { bucket.when_next(share, now) } else { now };
            wakes[who] = next.max(now + Duration::from_micros(50));
        }
    }

    #[test]
    fn compositions_have_equal_shares_and_nothing_is_lost() {
        for rate in [100_000, 1 << 20, 50 << 20] {
            for connections in [&[1, 1][..], &[5, 1], &[1, 20, 3]] {
                let moved = moved(rate, connections);
                let (sum, fair) = (moved.iter().sum::<u64>(), rate * 20 / connections.len() as u64);
                assert!(sum.abs_diff(rate * 20) <= rate * 20 / 20, "{rate} {connections:?}: {moved:?}");
                assert!(moved.iter().all(|one| one.abs_diff(fair) <= fair / 10), "{rate} {connections:?}: {moved:?}");
            }
        }
    }

    #[test]
    fn who_wants_nothing_holds_nobody_up() {
        let mut bucket = bucket(1 << 20);
        let second = Duration::from_secs(1);
        assert!(bucket.take(ONE, second, 1 << 20) > 0);
        // It waits for its turn, and never comes for it.
        assert_eq!(bucket.take(Share(2), second, 1 << 20), 0);
        let later = bucket.when_next(ONE, second);
        assert!(bucket.take(ONE, later, 1 << 20) > 0, "both took as much");
        let later = bucket.when_next(ONE, later);
        assert_eq!(bucket.take(ONE, later, 1 << 20), 0, "the other goes first");
        assert!(bucket.take(ONE, second + TURN, 1 << 20) > 0);
    }

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(rate).unwrap(), Time::ZERO)
    }

    #[test]
    fn a_second_gives_as_many_bytes_as_the_rate_says() {
        for rate in [5_000, 1 << 20, 1 << 30] {
            let mut bucket = bucket(rate);
            let (mut now, mut moved) = (Time::ZERO, 0);
            while now < Duration::from_secs(20) {
                let granted = bucket.take(ONE, now, 100_000);
                // Somebody who moves less than was granted.
                let used = granted.min(70_000);
                bucket.give_back(ONE, granted - used);
                moved += u64::from(used);
                now = if granted == 0 { bucket.when_next(ONE, now) } else { now + Duration::from_micros(10) };
            }
            let ideal = rate * 20;
            assert!(moved.abs_diff(ideal) <= ideal / 50 + 2 * MOST_QUANTUM as u64, "{rate}: {moved}");
        }
    }

    #[test]
    fn idle_time_does_not_gather_without_bound() {
        let mut bucket = bucket(1 << 20);
        assert!(bucket.take(ONE, Duration::from_secs(3600), u32::MAX) <= (1 << 20) / 10);
    }

    #[test]
    fn little_is_granted_whole_or_not_at_all() {
        let mut bucket = bucket(1000);
        assert_eq!(bucket.take(ONE, Duration::from_secs(1), 500), 500);
        assert_eq!(bucket.take(ONE, Duration::from_secs(1), 501), 0);
        let next = bucket.when_next(ONE, Duration::from_secs(1));
        assert!(bucket.take(ONE, next, 501) == 501);
    }

    #[test]
    fn no_limit_grants_everything() {
        let limiter = Limiter::default();
        assert_eq!(limiter.take(Time::ZERO, 123), 123);
        assert_eq!(limiter.when_next(Time::ZERO), Time::ZERO);
    }
}
