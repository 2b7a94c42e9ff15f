//! How fast bytes come: while there is something to come ([`BusyRate`], for decisions), and by the clock ([`Meter`], for people).

use crate::time::Time;

/// Bytes a second over the time in which bytes were due, weighted towards the last second of it.
///
/// Time in which nothing was asked does not count, so that a fast member stays fast while it idles.
#[derive(Clone, Copy, Debug, Default)]
pub struct BusyRate {
    bytes: f64,
    seconds: f64,
    since: Time,
}

/// After so many seconds the past counts for a third.
const MEMORY: f64 = 1.0;
/// Less than this is no measurement.
const LEAST: f64 = 0.002;

impl BusyRate {
    /// From now on bytes are due.
    pub fn start(&mut self, now: Time) {
        self.since = now;
    }

    pub fn add(&mut self, bytes: u32, now: Time) {
        let passed = now.saturating_sub(self.since).as_secs_f64();
        self.since = now;
        let keep = (-passed / MEMORY).exp();
        self.bytes = self.bytes * keep + f64::from(bytes);
        self.seconds = self.seconds * keep + passed;
    }

    /// Bytes a second; 0 while nothing came.
    pub fn get(&self) -> f64 {
        self.bytes / self.seconds.max(LEAST)
    }
}

const SLOTS: usize = 16;
const SLOT: Time = Time::from_millis(250);

/// Bytes a second over the last four seconds of the clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    slots: [u64; SLOTS],
    newest: u64,
    first: Option<Time>,
}

impl Meter {
    fn slot(now: Time) -> u64 {
        (now.as_millis() / SLOT.as_millis()) as u64
    }

    fn advance(&mut self, now: Time) {
        let slot = Self::slot(now);
        let passed = slot.saturating_sub(self.newest).min(SLOTS as u64);
        for i in 0..passed {
            self.slots[((slot - i) % SLOTS as u64) as usize] = 0;
        }
        self.newest = self.newest.max(slot);
    }

    pub fn add(&mut self, bytes: u32, now: Time) {
        self.first.get_or_insert(now);
        self.advance(now);
        self.slots[(self.newest % SLOTS as u64) as usize] += u64::from(bytes);
    }

    pub fn get(&self, now: Time) -> f64 {
        let Some(first) = self.first else { return 0.0 };
        let mut aged = *self;
        aged.advance(now);
        let window = SLOT.as_secs_f64() * (SLOTS as f64 - 1.0);
        let span = now.saturating_sub(first).as_secs_f64().clamp(0.25, window);
        aged.slots.iter().sum::<u64>() as f64 / span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time::from_millis(n)
    }

    #[test]
    fn idle_time_does_not_slow_a_busy_rate() {
        let mut rate = BusyRate::default();
        rate.start(ms(0));
        rate.add(1_000_000, ms(100));
        rate.start(ms(60_000));
        rate.add(1_000_000, ms(60_100));
        assert!((rate.get() - 1e7).abs() < 1.0, "{}", rate.get());
    }

    #[test]
    fn a_meter_forgets() {
        let mut meter = Meter::default();
        meter.add(1000, ms(0));
        assert!(meter.get(ms(1000)) > 900.0);
        assert_eq!(meter.get(ms(10_000)), 0.0);
    }
}
