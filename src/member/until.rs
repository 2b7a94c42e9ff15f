//! When a member ends by itself: pure rules over numbers.

use std::collections::BTreeSet;

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

/// Of those that are waited for with `--until-all`, who has it whole and who has not: this member and those that left
/// counted, and each copy once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// So many have it whole: as many as there are copies.
    pub copies: usize,
    /// So many are waited for.
    pub wanted: usize,
    /// Who has it, in order; for people.
    pub whole: Vec<String>,
    /// Who is known and lacks something of it.
    pub lacking: Vec<String>,
}

impl Copies {
    /// So many are waited for, whoever they are. `own`: the name of this member if its own copy is whole.
    pub fn of_number(
        wanted: u32,
        own: Option<String>,
        others: impl Iterator<Item = String>,
        lacking: impl Iterator<Item = String>,
    ) -> Self {
        let mut whole: Vec<String> = own.into_iter().chain(others).collect();
        let mut lacking: Vec<String> = lacking.collect();
        whole.sort();
        lacking.sort();
        Self { copies: whole.len(), wanted: wanted as usize, whole, lacking }
    }

    /// Those of these names are waited for.
    pub fn of_names(names: &[String], own: Option<String>, others: impl Iterator<Item = String>) -> Self {
        let have: BTreeSet<String> = own.into_iter().chain(others).collect();
        let wanted: BTreeSet<&String> = names.iter().collect();
        let (whole, lacking): (Vec<&String>, Vec<&String>) = wanted.iter().partition(|name| have.contains(**name));
        let owned = |names: Vec<&String>| names.into_iter().cloned().collect();
        Self { copies: whole.len(), wanted: wanted.len(), whole: owned(whole), lacking: owned(lacking) }
    }

    /// Whether nobody has to be waited for any more.
    pub fn is_enough(&self) -> bool {
        self.copies >= self.wanted
    }

    /// What is missing, for people; names not safe for a terminal.
    pub fn missing(&self) -> String {
        let missing = format!("{} of {} have it whole", self.copies, self.wanted);
        match self.lacking.as_slice() {
            [] => missing,
            names => format!("{missing}, not {}", names.join(", ")),
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
    fn this_member_counts_among_the_copies() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let own = Some("seed".to_owned());
        let two = Copies::of_number(3, own.clone(), names(&["b"]).into_iter(), names(&["c"]).into_iter());
        assert_eq!((two.copies, two.is_enough(), two.whole.as_slice()), (2, false, names(&["b", "seed"]).as_slice()));
        assert_eq!(two.missing(), "2 of 3 have it whole, not c");
        let of_one_machine =
            Copies::of_number(3, own.clone(), names(&["seed", "seed"]).into_iter(), std::iter::empty());
        assert!(of_one_machine.is_enough(), "each copy counts, whatever its member is called");
        let wanted = names(&["c", "seed", "b", "b"]);
        let some = Copies::of_names(&wanted, own.clone(), names(&["b", "x"]).into_iter());
        assert_eq!((some.copies, some.wanted, some.lacking.clone()), (2, 3, names(&["c"])));
        assert!(!some.is_enough());
        assert!(Copies::of_names(&wanted, own, names(&["c", "b"]).into_iter()).is_enough());
        assert!(!Copies::of_names(&names(&["seed"]), None, std::iter::empty()).is_enough());
    }

    #[test]
    fn copies_are_waited_for_only_where_that_was_asked() {
        let waits = |copies_missing| at(Until::default(), Facts { copies_missing, ..facts() }, 10);
        assert_eq!(waits(None), None);
        assert_eq!(waits(Some(true)), None);
        assert_eq!(waits(Some(false)), Some(Met::Copies));
    }
}
