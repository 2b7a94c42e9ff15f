//! The swarm's policies, shown in virtual time against the lower bound. See [`sim`].

mod sim;

use std::time::Duration;

use sim::{
    report::{HEADER, Report},
    scenario::{CONDUCTORLESS, CROWDED, HOSTILE, MIXED, ORPHANED, SMALL, SMALL_HOSTILE, SMALL_MIXED, Scenario, TABLE},
};

/// Runs it, says what came of it, and holds the time of the last to so many times the lower bound.
fn within(at_most: f64, scenario: &Scenario, seed: u64) -> Report {
    let report = sim::run(scenario, seed);
    println!("{HEADER}\n{report}");
    assert_eq!(report.whole, report.counted, "all that stay are whole");
    let ratio = report.ratio();
    assert!(ratio <= at_most, "{}: {ratio:.3} x the bound, at most {at_most} is allowed", report.name);
    report
}

#[test]
fn a_few_finish_near_the_bound() {
    let report = within(1.15, &SMALL, 1);
    assert_eq!(report.wrong_parts, 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let timeless = |seed| Report { took: Duration::ZERO, ..sim::run(&SMALL_HOSTILE, seed) };
    assert_eq!(timeless(7), timeless(7));
    assert_ne!(timeless(7), timeless(8));
}

fn every_fault_happened(report: &Report) {
    assert!(report.withheld > 0, "the stallers stalled");
    assert!(report.lies > 0, "the liars lied");
    assert!(report.wrong_bytes > 0, "wrong bytes were sent");
    assert!(report.wrong_parts > 0, "and seen");
    assert!(report.left > 0, "some left");
}

#[test]
fn a_few_finish_among_bad_ones() {
    every_fault_happened(&within(2.1, &SMALL_HOSTILE, 3));
}

#[test]
fn a_few_finish_beside_other_clients() {
    within(1.8, &SMALL_MIXED, 4);
}

/// A newcomer that went on knowing one other would take many times the bound: it would have a small share of one uplink.
#[test]
fn a_swarm_outlives_its_conductor() {
    within(1.5, &ORPHANED, 5);
}

#[test]
fn who_knows_one_is_told_of_all() {
    within(1.5, &CONDUCTORLESS, 6);
}

#[test]
fn two_hundred_finish_near_the_bound() {
    let report = within(1.06, &CROWDED, 1);
    assert!(report.seed_sent < 1.15, "the seed gives each part once");
}

#[test]
fn two_hundred_finish_among_bad_ones() {
    every_fault_happened(&within(1.10, &HOSTILE, 1));
}

#[test]
fn two_hundred_finish_beside_other_clients() {
    within(1.25, &MIXED, 1);
}

/// What the environment says of the scripts: from which on, and how many.
fn scripts() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse().expect("a number"));
    let first = number("ORCHESTRA_FIRST_SCRIPT").unwrap_or(0);
    first..first + number("ORCHESTRA_SCRIPTS").unwrap_or(200)
}

/// `ORCHESTRA_SCRIPTS=10000` runs so many. A script that fails is run again alone by its number in
/// `ORCHESTRA_FIRST_SCRIPT`, with `ORCHESTRA_SCRIPTS=1`.
#[test]
fn whoever_leaves_stalls_or_lies_what_is_offered_is_fetched() {
    let scripts = scripts();
    let several = scripts.end - scripts.start >= 100;
    let (wrong, faults) = sim::script::run_all(scripts);
    println!("{faults:?}");
    assert!(wrong.is_empty(), "{} scripts fail:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!several || faults.all_happened(), "{faults:?}");
}

#[test]
fn every_scenario_has_somebody_to_wait_for() {
    for scenario in TABLE {
        assert!(scenario.crowd.counted(scenario.leechers) > 0);
        assert!(scenario.bound() > 0.0);
    }
}
