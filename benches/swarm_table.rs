//! Prints the table of simulated scenarios for benches/RESULTS.md: `cargo bench --bench swarm_table [-- NAME]`.

#[path = "../tests/simulation/sim/mod.rs"]
mod sim;

use sim::{report::HEADER, scenario::TABLE};

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let asked = args.any(|a| a == "--bench");
    let name = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    if !asked {
        return println!("run with: cargo bench --bench swarm_table [-- NAME]");
    }
    println!("{HEADER}");
    for scenario in TABLE {
        if name.as_ref().is_none_or(|n| scenario.name.contains(n.as_str())) {
            println!("{}", sim::run(scenario, 1));
        }
    }
}
