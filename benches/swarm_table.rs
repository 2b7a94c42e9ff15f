//! Prints the table of simulated scenarios for benches/RESULTS.md: `cargo bench --bench swarm_table [-- NAME]`.

#[allow(dead_code, reason = "only the tests run random scripts")]
#[path = "../tests/simulation/sim/mod.rs"]
mod sim;

use sim::{report::HEADER, scenario::TABLE};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.iter().any(|a| a == "--bench") {
        return println!("run with: cargo bench --bench swarm_table [-- NAME [SEED]]");
    }
    let mut given = args.iter().filter(|a| !a.starts_with("--"));
    let name = given.next();
    let seed = given.next().map_or(1, |seed| seed.parse().expect("SEED is a number"));
    println!("{HEADER}");
    for scenario in TABLE {
        if name.is_none_or(|n| scenario.name == n.as_str()) {
            println!("{}", sim::run(scenario, seed));
        }
    }
}
