//! A whole swarm in one thread and in virtual time: real [`orchestra::swarm::Swarm`]s and real
//! [`orchestra::peer::session::Session`]s, on links with a rate and a delay, with scripted bad members among them.
//!
//! It is not a network: no loss, no TCP start-up, no packet headers, no processor and no disk speed. What it shows is
//! what the policies cost against the lower bound of a [`scenario::Scenario`]. The same seed gives the same run, event
//! for event; nothing here reads a clock but [`run`], to say how long it took.
//!
//! - [`world`] holds the event loop and the hosts; [`uplink`] moves bytes, [`links`] opens and ends connections;
//! - an [`actor::Actor`] is what runs on a host: [`member`] (ours), [`stock`] (another client), [`liar`], [`odd`];
//! - a [`script`] is a small swarm with faults drawn by lot, and [`watch`] sees to it that its members always get on.

pub mod actor;
pub mod liar;
pub mod links;
pub mod member;
pub mod odd;
pub mod parts;
pub mod queue;
pub mod report;
pub mod scenario;
pub mod script;
pub mod stock;
pub mod uplink;
pub mod watch;
pub mod world;

use report::Report;
use scenario::Scenario;

/// Runs one scenario to its end and measures it.
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    let began = std::time::Instant::now();
    let mut world = scenario.build(seed);
    world.run(scenario.give_up());
    Report::of(scenario, &world, began.elapsed())
}
