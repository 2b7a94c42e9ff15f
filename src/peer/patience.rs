//! How many messages that change nothing are borne from one member.
//!
//! An honest one sends few of them: a keep-alive now and then, cancels that come too late, changes of interest. Whoever
//! sends them without end costs a processor and gives nothing.
//!
//! What it costs an attacker: [`BURST`] such messages, then [`PER_SECOND`]; one more ends the conversation.

use crate::time::Time;

/// Borne at once: more than the requests that a client takes back when its last parts come.
const BURST: u32 = 4096;
/// Forgiven each second.
const PER_SECOND: u32 = 100;

/// The patience with one member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    spent: u32,
    /// Up to when what was spent is forgiven.
    forgiven: Time,
}

impl Patience {
    /// One more came. False: that was one too many.
    pub fn bears_another(&mut self, now: Time) -> bool {
        let seconds = now.saturating_sub(self.forgiven).as_secs();
        if seconds > 0 {
            let forgiven = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(PER_SECOND);
            self.spent = self.spent.saturating_sub(forgiven);
            self.forgiven = now;
        }
        self.spent += 1;
        self.spent <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_not_borne_and_a_steady_trickle_is() {
        let mut patience = Patience::default();
        assert!((0..BURST).all(|_| patience.bears_another(Time::from_secs(9))));
        assert!(!patience.bears_another(Time::from_secs(9)));
        let mut patience = Patience::default();
        let trickle = (0..1_000_000).map(|n| Time::from_millis(n * 10));
        assert!(trickle.into_iter().all(|now| patience.bears_another(now)));
    }
}
