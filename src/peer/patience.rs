//! How many messages of a kind are borne from one member: so many at once, then so many a second.
//!
//! One that changes nothing is [`Patience::with_idle_talk`]: an honest member sends few of these (a keep-alive now and
//! then, cancels that come too late, changes of interest), and whoever sends them without end costs a processor and gives
//! nothing. One that names many members is [`Patience::with_hearsay`].

use crate::time::Time;

/// The patience with one member.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Borne at once.
    burst: u32,
    /// Forgiven each second.
    per_second: u32,
    spent: u32,
    /// Up to when what was spent is forgiven.
    forgiven: Time,
}

impl Patience {
    /// With messages that change nothing: more than the requests that a client takes back when its last parts come.
    pub fn with_idle_talk() -> Self {
        Self::new(4096, 100)
    }

    /// With peer exchange: stock clients send one a minute, our own one in two seconds.
    pub fn with_hearsay() -> Self {
        Self::new(8, 1)
    }

    fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, spent: 0, forgiven: Time::ZERO }
    }

    /// One more came. False: that was one too many.
    pub fn bears_another(&mut self, now: Time) -> bool {
        let seconds = now.saturating_sub(self.forgiven).as_secs();
        if seconds > 0 {
            let forgiven = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(self.per_second);
            self.spent = self.spent.saturating_sub(forgiven);
            self.forgiven = now;
        }
        let bears = self.spent < self.burst;
        // What is not borne is not forgiven later either.
        self.spent += u32::from(bears);
        bears
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_not_borne_and_a_steady_trickle_is() {
        let mut patience = Patience::with_idle_talk();
        assert!((0..4096).all(|_| patience.bears_another(Time::from_secs(9))));
        assert!(!patience.bears_another(Time::from_secs(9)));
        let mut patience = Patience::with_idle_talk();
        let trickle = (0..1_000_000).map(|n| Time::from_millis(n * 10));
        assert!(trickle.into_iter().all(|now| patience.bears_another(now)));
    }
}
