//! Members on hosts of their own, behind links of a known rate.

use std::fs;

pub use crate::netlab::{in_lab, lab, netlab, on};
use crate::support::{Place, Program, bytes, compose, conductor_command, listening, member_command};

const SIZE: usize = 8 << 20;

/// Two members fetch over links of 50 Mbit/s: the seed sends not much more than one copy, they help each other.
#[test]
fn three_hosts_on_shaped_links() {
    in_lab("network::three_hosts_on_shaped_links", inside);
}

fn inside() {
    let place = Place::new();
    lab(&["up", "3", "50mbit"]);
    let (_conductor, _) = listening(on("h1", &conductor_command(&place, "10.77.0.11:9999")));
    let data = bytes(SIZE, 40);
    let manifest = compose(&place, "big.bin", &data, &["10.77.0.11", "64K"]);
    let seed = member_command(&place, &manifest, &place.path("seed"), &["--until-all", "3"]);
    let mut seed = Program::start(on("h1", &seed));
    seed.event_named("whole");
    let fetching = ["h2", "h3"].map(|host| {
        // Each stays until the other has it too.
        let command = member_command(&place, &manifest, &place.path(host), &["--until-all", "3"]);
        (host, Program::start(on(host, &command)))
    });
    for (host, program) in fetching {
        program.end().with(0);
        assert!(fs::read(place.path(host).join("big.bin")).expect("a file") == data, "{host} has something else");
    }
    let sent = seed.end().with(0).last()["uploaded"].as_u64().expect("a number");
    assert!(sent < SIZE as u64 * 3 / 2, "the seed sent {sent} bytes of {SIZE}: the two did not help each other");
}
