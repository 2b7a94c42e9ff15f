//! Whether a mirror sends fast enough to be worth waiting for: one that gives a byte now and then would hold parts for ever.

use core::time::Duration;

/// So many bytes are to come ...
const BYTES: u64 = 64 << 10;
/// ... before this long was spent waiting for them.
const WITHIN: Duration = Duration::from_secs(30);

/// How a mirror does, over the time in which it was waited for; what we take to use its bytes does not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// After a wait of this long so many bytes came. False: it is too slow.
    pub fn came(&mut self, bytes: usize, waited: Duration) -> bool {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.bytes >= BYTES {
            *self = Self::default();
        }
        self.waited < WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_too_slow_and_a_slow_line_is_not() {
        let mut pace = Pace::default();
        assert!((0..29).all(|_| pace.came(1, Duration::from_secs(1))));
        assert!(!pace.came(1, Duration::from_secs(1)));
        let mut pace = Pace::default();
        assert!((0..1000).all(|_| pace.came(4 << 10, Duration::from_secs(1))));
    }
}
