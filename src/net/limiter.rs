//! A rate as a bucket of tokens, one token a byte: what `--upload` and `--download` hold the whole process to.
//!
//! All connections share one bucket. Whoever is about to move bytes takes tokens, moves at most so many bytes, and
//! gives back what it did not use, so that the rate holds for the bytes that were really moved. It knows no clock.

use std::{
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
}

impl Bucket {
    /// `rate` in bytes a second.
    pub fn new(rate: NonZeroU64, now: Time) -> Self {
        let rate = rate.get() as f64;
        let quantum = (rate * NAP.as_secs_f64()).clamp(LEAST_QUANTUM, MOST_QUANTUM);
        Self { rate, most: (rate * BURST.as_secs_f64()).max(quantum), quantum, tokens: 0.0, at: now }
    }

    /// Takes up to `wanted` tokens. 0: wait until [`Bucket::when_next`].
    pub fn take(&mut self, now: Time, wanted: u32) -> u32 {
        self.fill(now);
        if self.tokens < f64::from(wanted).min(self.quantum) {
            return 0;
        }
        let granted = self.tokens.min(f64::from(wanted)).floor();
        self.tokens -= granted;
        granted as u32
    }

    /// Tokens taken and not used.
    pub fn give_back(&mut self, unused: u32) {
        self.tokens = (self.tokens + f64::from(unused)).min(self.most);
    }

    /// When there will be tokens worth taking.
    pub fn when_next(&mut self, now: Time) -> Time {
        self.fill(now);
        let lacking = (self.quantum - self.tokens).max(0.0);
        // Rounded up: who comes at that time must not find a fraction of a token lacking.
        now + Duration::from_secs_f64(lacking / self.rate) + Duration::from_micros(1)
    }

    fn fill(&mut self, now: Time) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.most);
        self.at = self.at.max(now);
    }
}

/// One bucket for all connections of a process; without a bucket nothing is limited and nothing is locked.
#[derive(Clone, Debug, Default)]
pub struct Limiter(Option<Arc<Mutex<Bucket>>>);

impl Limiter {
    /// `rate` in bytes a second; None: no limit.
    pub fn new(rate: Option<NonZeroU64>, now: Time) -> Self {
        Self(rate.map(|rate| Arc::new(Mutex::new(Bucket::new(rate, now)))))
    }

    /// As [`Bucket::take`]; all that is wanted where there is no limit.
    pub fn take(&self, now: Time, wanted: u32) -> u32 {
        self.with(|bucket| bucket.take(now, wanted)).unwrap_or(wanted)
    }

    /// As [`Bucket::give_back`].
    pub fn give_back(&self, unused: u32) {
        if unused > 0 {
            self.with(|bucket| bucket.give_back(unused));
        }
    }

    /// As [`Bucket::when_next`]; now where there is no limit.
    pub fn when_next(&self, now: Time) -> Time {
        self.with(|bucket| bucket.when_next(now)).unwrap_or(now)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        let bucket = self.0.as_ref()?;
        // A bucket is right after every step: who panicked while holding it left no harm.
        Some(act(&mut bucket.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(rate).unwrap(), Time::ZERO)
    }

    #[test]
    fn a_second_gives_as_many_bytes_as_the_rate_says() {
        for rate in [5_000, 1 << 20, 1 << 30] {
            let mut bucket = bucket(rate);
            let (mut now, mut moved) = (Time::ZERO, 0);
            while now < Duration::from_secs(20) {
                let granted = bucket.take(now, 100_000);
                // Somebody who moves less than was granted.
                let used = granted.min(70_000);
                bucket.give_back(granted - used);
                moved += u64::from(used);
                now = if granted == 0 { bucket.when_next(now) } else { now + Duration::from_micros(10) };
            }
            let ideal = rate * 20;
            assert!(moved.abs_diff(ideal) <= ideal / 50 + 2 * MOST_QUANTUM as u64, "{rate}: {moved}");
        }
    }

    #[test]
    fn idle_time_does_not_gather_without_bound() {
        let mut bucket = bucket(1 << 20);
        assert!(bucket.take(Duration::from_secs(3600), u32::MAX) <= (1 << 20) / 10);
    }

    #[test]
    fn little_is_granted_whole_or_not_at_all() {
        let mut bucket = bucket(1000);
        assert_eq!(bucket.take(Duration::from_secs(1), 500), 500);
        assert_eq!(bucket.take(Duration::from_secs(1), 501), 0);
        let next = bucket.when_next(Duration::from_secs(1));
        assert!(bucket.take(next, 501) == 501);
    }

    #[test]
    fn no_limit_grants_everything() {
        let limiter = Limiter::default();
        assert_eq!(limiter.take(Time::ZERO, 123), 123);
        assert_eq!(limiter.when_next(Time::ZERO), Time::ZERO);
    }
}
