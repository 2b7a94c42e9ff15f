//! What to type on other machines to fetch what is shared here.

use core::net::IpAddr;

use crate::manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT};

/// Lines for the only name, or for several: for each of our `own` addresses where the conductor is on this machine. A
/// machine without any is alone: they are for itself.
pub fn commands(conductor: &Endpoint, own: &[IpAddr], name: Option<&str>) -> Vec<String> {
    let hosts: Vec<String> = match conductor.host.is_this_machine() {
        true if !own.is_empty() => {
            own.iter().map(|ip| host(&Endpoint { host: Host::Ip(*ip), port: conductor.port })).collect()
        }
        _ => vec![host(conductor)],
    };
    match name {
        Some(name) => hosts.iter().map(|host| format!("member get {}", word(&format!("{host}/{name}")))).collect(),
        None => hosts
            .iter()
            .flat_map(|host| [format!("member list --conductor {host}"), format!("member get {host}/NAME")])
            .collect(),
    }
}

/// As [`commands`], on the same network and with no conductor.
pub fn near(name: Option<&str>) -> Vec<String> {
    match name {
        Some(name) => vec![format!("member get {}", word(name))],
        None => vec!["member list".to_owned(), "member get NAME".to_owned()],
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

/// As one word for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/.:_-+,@[]".contains(c);
    match text.chars().all(plain) && !text.contains('[') {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(conductor: &str, name: Option<&str>) -> Vec<String> {
        let own = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        commands(&conductor.parse().unwrap(), &own, name)
    }

    #[test]
    fn one_file_is_fetched_by_its_name_from_each_address() {
        assert_eq!(
            lines("localhost:9999", Some("vm.qcow2")),
            ["member get 10.0.0.5/vm.qcow2", "member get '[fd00::5]/vm.qcow2'"]
        );
        assert_eq!(lines("localhost:10001", Some("it's"))[0], r"member get '10.0.0.5:10001/it'\''s'");
        assert_eq!(lines("head:9999", Some("vm.qcow2")), ["member get head/vm.qcow2"]);
    }

    #[test]
    fn a_machine_without_a_network_is_told_of_itself() {
        let conductor = "127.0.0.1:7".parse().unwrap();
        assert_eq!(commands(&conductor, &[], Some("x")), ["member get 127.0.0.1:7/x"]);
    }

    #[test]
    fn of_several_there_is_a_list() {
        assert_eq!(near(Some("b c")), ["member get 'b c'"]);
        assert_eq!(near(None), ["member list", "member get NAME"]);
        assert_eq!(lines("head:7", None), ["member list --conductor head:7", "member get head:7/NAME"]);
    }
}
