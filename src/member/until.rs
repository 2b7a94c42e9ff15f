//! When a member ends by itself: pure rules over numbers.

use crate::{cli::member::Until, time::Time};

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

    #[test]
    fn copies_are_waited_for_only_where_that_was_asked() {
        let waits = |copies_missing| at(Until::default(), Facts { copies_missing, ..facts() }, 10);
        assert_eq!(waits(None), None);
        assert_eq!(waits(Some(true)), None);
        assert_eq!(waits(Some(false)), Some(Met::Copies));
    }
}
