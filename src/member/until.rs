//! When a member ends by itself: pure rules over numbers.

use crate::{
    cli::member::{Until, UntilAll},
    time::Time,
};

/// What the rules look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// When the own copy was whole, verified and had its final name.
    pub whole_since: Option<Time>,
    pub uploaded: u64,
    pub size: u64,
    /// Others that were seen to have it whole.
    pub copies: usize,
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

/// The first condition that is met; nothing counts before the own copy is whole.
pub fn met(until: &Until, facts: &Facts, now: Time) -> Option<Met> {
    let since = facts.whole_since?;
    let ratio = |wanted: f64| facts.uploaded as f64 >= wanted * facts.size as f64;
    if until.done {
        Some(Met::Done)
    } else if until.seed_time.is_some_and(|time| now >= since + time) {
        Some(Met::SeedTime)
    } else if until.seed_ratio.is_some_and(ratio) {
        Some(Met::SeedRatio)
    } else if matches!(&until.all, Some(UntilAll::Members(n)) if facts.copies >= *n as usize) {
        Some(Met::Copies)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { whole_since: Some(Time::from_secs(10)), uploaded: 150, size: 100, copies: 2 }
    }

    fn at(until: Until, facts: Facts, seconds: u64) -> Option<Met> {
        met(&until, &facts, Time::from_secs(seconds))
    }

    #[test]
    fn without_a_condition_it_goes_on() {
        assert_eq!(at(Until::default(), facts(), 1_000_000), None);
    }

    #[test]
    fn nothing_counts_before_the_own_copy_is_whole() {
        let all = Until {
            done: true,
            seed_time: Some(Time::ZERO),
            seed_ratio: Some(0.0),
            all: Some(UntilAll::Members(1)),
        };
        assert_eq!(at(all, Facts { whole_since: None, ..facts() }, 100), None);
    }

    #[test]
    fn the_first_condition_that_is_met_ends_it() {
        let until = Until { seed_time: Some(Time::from_secs(5)), seed_ratio: Some(2.0), ..Until::default() };
        assert_eq!(at(until.clone(), facts(), 14), None);
        assert_eq!(at(until.clone(), facts(), 15), Some(Met::SeedTime));
        assert_eq!(at(until, Facts { uploaded: 200, ..facts() }, 14), Some(Met::SeedRatio));
        let all = Until { all: Some(UntilAll::Members(2)), ..Until::default() };
        assert_eq!(at(all, facts(), 10), Some(Met::Copies));
    }
}
