//! What to type on other machines to fetch what is shared here.
//!
//! Pure. It leads to the conductor that a person named, or to one on this machine. What was only found on the network, or
//! stands in `.env`, may be a stranger's and may give another file under the name: others are led to this member itself.

use core::net::IpAddr;
use std::path::Path;

use crate::{
    cli::member::{Origin, Settings},
    composer::word,
    manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT},
};

/// Lines for the only name, or for several, the likeliest to work first. `port`: that of this member; `own`: the addresses
/// under which others reach this machine, `reached` those of them at which the conductor on it answers. A machine without
/// any is alone: the lines are for itself.
pub fn commands(settings: &Settings, port: u16, own: &[IpAddr], reached: &[IpAddr], name: Option<&str>) -> Vec<String> {
    let at_each = |port: u16| own.iter().map(move |ip| Endpoint { host: Host::Ip(*ip), port });
    let is_stranger = matches!(settings.conductors_from, Origin::Network | Origin::DotEnv) && settings.lan;
    let hides = |conductor: &Endpoint| conductor.host.is_this_machine() && reached.is_empty() && settings.lan;
    let places: Vec<String> = match settings.conductors.first() {
        None if settings.lan => return near(name),
        None => return Vec::new(),
        // With its port: what answers at that of a conductor may be another one.
        Some(conductor) if (is_stranger || hides(conductor)) && !own.is_empty() => {
            at_each(port).map(|place| place.to_string()).collect()
        }
        Some(conductor) if conductor.host.is_this_machine() && !reached.is_empty() => {
            let at = |ip: &IpAddr| host(&Endpoint { host: Host::Ip(*ip), port: conductor.port });
            reached.iter().map(at).collect()
        }
        Some(conductor) => vec![host(conductor)],
    };
    match name {
        Some(name) => places.iter().map(|place| format!("member get {}", quoted(&format!("{place}/{name}")))).collect(),
        None => places
            .iter()
            .flat_map(|place| {
                let get = format!("member get {}", quoted(&format!("{place}/NAME")));
                [get, format!("member list --conductor {}", quoted(place))]
            })
            .collect(),
    }
}

/// Whether the lines lead others anywhere, and not only this machine.
pub fn is_for_others(settings: &Settings, own: &[IpAddr], reached: &[IpAddr]) -> bool {
    let leads = |conductor: &Endpoint| {
        !conductor.host.is_this_machine() || !reached.is_empty() || settings.lan && !own.is_empty()
    };
    settings.conductors.first().is_none_or(leads)
}

/// As [`commands`], on the same network and with no conductor.
fn near(name: Option<&str>) -> Vec<String> {
    match name {
        Some(name) if name.starts_with('-') => vec![format!("member get -- '{}'", name.replace('\'', r"'\''"))],
        Some(name) => vec![format!("member get {}", quoted(name))],
        None => vec!["member get NAME".to_owned(), "member list".to_owned()],
    }
}

/// Without the port where it is the usual one.
fn host(endpoint: &Endpoint) -> String {
    let text = endpoint.to_string();
    match text.strip_suffix(&format!(":{CONDUCTOR_PORT}")) {
        Some(short) if endpoint.port == CONDUCTOR_PORT => short.to_owned(),
        _ => text,
    }
}

fn quoted(text: &str) -> String {
    word(Path::new(text))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::ask::{Told, told};

    fn settings(conductor: &str, from: Origin) -> Settings {
        let args = ["member", "share", "x", "--conductor", conductor].map(OsString::from);
        match told(args).unwrap() {
            Told::Offer(offer) => Settings { conductors_from: from, ..offer.settings },
            other => panic!("{other:?}"),
        }
    }

    fn lines(conductor: &str, from: Origin, name: Option<&str>) -> Vec<String> {
        let own = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        commands(&settings(conductor, from), 9998, &own, &own, name)
    }

    #[test]
    fn one_file_is_fetched_by_its_name_from_each_address() {
        let lines = |conductor, name| lines(conductor, Origin::Own, Some(name));
        assert_eq!(
            lines("localhost:9999", "vm.qcow2"),
            ["member get 10.0.0.5/vm.qcow2", "member get '[fd00::5]/vm.qcow2'"]
        );
        assert_eq!(lines("localhost:10001", "it's")[0], r"member get '10.0.0.5:10001/it'\''s'");
        assert_eq!(lines("head:9999", "vm.qcow2"), ["member get head/vm.qcow2"]);
    }

    #[test]
    fn who_was_only_found_is_not_what_others_are_led_to() {
        for from in [Origin::Network, Origin::DotEnv] {
            let lines = lines("10.0.0.66:9999", from, Some("vm.qcow2"));
            assert_eq!(lines, ["member get 10.0.0.5:9998/vm.qcow2", "member get '[fd00::5]:9998/vm.qcow2'"]);
        }
        assert_eq!(lines("10.0.0.66:9999", Origin::Person, Some("x")), ["member get 10.0.0.66/x"]);
    }

    #[test]
    fn a_machine_without_a_network_is_told_of_itself() {
        let settings = settings("127.0.0.1:7", Origin::ThisMachine);
        assert_eq!(commands(&settings, 9998, &[], &[], Some("x")), ["member get 127.0.0.1:7/x"]);
        assert!(!is_for_others(&settings, &[], &[]));
    }

    #[test]
    fn a_conductor_on_the_loopback_is_not_said_to_be_elsewhere() {
        let settings = settings("localhost", Origin::ThisMachine);
        let own = ["10.0.0.5".parse().unwrap()];
        assert_eq!(commands(&settings, 9998, &own, &[], Some("x")), ["member get 10.0.0.5:9998/x"]);
        assert!(is_for_others(&settings, &own, &[]));
        let alone = Settings { lan: false, ..settings };
        assert_eq!(commands(&alone, 9998, &own, &[], Some("x")), ["member get localhost/x"]);
        assert!(!is_for_others(&alone, &own, &[]));
    }

    #[test]
    fn of_several_there_is_a_list() {
        assert_eq!(near(Some("b c")), ["member get 'b c'"]);
        assert_eq!(near(Some("-r")), ["member get -- '-r'"]);
        assert_eq!(near(None), ["member get NAME", "member list"]);
        assert_eq!(lines("head:7", Origin::Person, None), ["member get head:7/NAME", "member list --conductor head:7"]);
    }
}
