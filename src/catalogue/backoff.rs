//! How long to wait before a conductor that is busy is asked again.

use std::time::Duration;

/// Wait after the first refusal; twice as long after each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that is chosen here.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The longest wait that a conductor may ask for.
const MAX_ASKED_WAIT: Duration = Duration::from_secs(120);

/// Counts the refusals in a row of one conductor.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    refusals: u32,
}

impl Backoff {
    /// The conductor did what it was asked.
    pub fn reset(&mut self) {
        self.refusals = 0;
    }

    /// The wait after one more refusal. `asked`: what the conductor asked for (`Retry-After`). The wait is up to half
    /// longer by chance, so that many members that were refused together do not come back together.
    pub fn next(&mut self, asked: Option<Duration>, dice: &mut fastrand::Rng) -> Duration {
        let grown = FIRST_WAIT * 2_u32.saturating_pow(self.refusals.min(10));
        self.refusals = self.refusals.saturating_add(1);
        let least = asked.unwrap_or_default().min(MAX_ASKED_WAIT);
        least.max(grown.min(MAX_WAIT)).mul_f64(1.0 + dice.f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let (mut backoff, mut dice) = (Backoff::default(), fastrand::Rng::with_seed(1));
        for least in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next(None, &mut dice).as_secs_f64();
            assert!((least as f64..=1.5 * least as f64).contains(&wait), "{wait} after {least}");
        }
        backoff.reset();
        assert!(backoff.next(None, &mut dice) <= Duration::from_millis(1500));
    }

    #[test]
    fn a_conductor_may_ask_for_more_and_not_for_ever() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut after = |seconds| Backoff::default().next(Some(Duration::from_secs(seconds)), &mut dice).as_secs();
        assert!((10..=15).contains(&after(10)) && after(0) <= 1);
        assert!(after(1 << 40) <= 180);
    }
}
