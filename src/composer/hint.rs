//! What a person should know about the conductor that a manifest names.

use std::path::Path;

use crate::manifest::{Endpoint, Host};

/// Advice on this conductor, or none where others can be expected to reach it; `orch` is where the manifest is.
pub fn hint(conductor: &Endpoint, orch: &Path) -> Option<String> {
    let orch = orch.display();
    if conductor.is_unknown() {
        Some(format!(
            "no conductor is named: write its HOST:PORT into line 1 of {orch}, or give members --conductor or --peer"
        ))
    } else if is_this_machine(&conductor.host) {
        Some(format!(
            "only this machine finds a conductor at {conductor}: for others write a HOST:PORT that they reach into line 1 of {orch}"
        ))
    } else {
        None
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::ThisMachine => true,
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_where_others_could_not_reach_it() {
        let hint = |text: &str| hint(&text.parse().unwrap(), Path::new("a.orch"));
        for text in ["0.0.0.0:0", ":9999", "127.0.0.1:9999", "[::1]:1", "LocalHost:1"] {
            assert!(hint(text).unwrap().contains("line 1 of a.orch"), "{text}");
        }
        for text in ["10.0.0.1:9999", "head:9999", "[2001:db8::1]:1"] {
            assert_eq!(hint(text), None);
        }
    }
}
