//! What to type on other machines to fetch what is shared here.

use core::net::IpAddr;

use crate::manifest::{Endpoint, Host, endpoint::CONDUCTOR_PORT};

/// Lines for these names, of `files` in all: for each of our `own` addresses where the conductor is on this machine.
pub fn commands(conductor: &Endpoint, own: &[IpAddr], names: &[String], files: usize) -> Vec<String> {
    let hosts: Vec<String> = match conductor.host.is_this_machine() {
        true => own.iter().map(|ip| host(&Endpoint { host: Host::Ip(*ip), port: conductor.port })).collect(),
        false => vec![host(conductor)],
    };
    match (files, names) {
        (1, [name]) => hosts.iter().map(|host| format!("member get {}", word(&format!("{host}/{name}")))).collect(),
        _ => hosts
            .iter()
            .flat_map(|host| [format!("member list --conductor {host}"), format!("member get {host}/NAME")])
            .collect(),
    }
}

/// As [`commands`], on the same network and with no conductor.
pub fn near(names: &[String], files: usize) -> Vec<String> {
    match (files, names) {
        (1, [name]) => vec![format!("member get {}", word(name))],
        _ => vec!["member list".to_owned(), "member get NAME".to_owned()],
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

    fn lines(conductor: &str, names: &[&str]) -> Vec<String> {
        let own = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        commands(&conductor.parse().unwrap(), &own, &names, names.len())
    }

    #[test]
    fn one_file_is_fetched_by_its_name_from_each_address() {
        assert_eq!(
            lines("localhost:9999", &["vm.qcow2"]),
            ["member get 10.0.0.5/vm.qcow2", "member get '[fd00::5]/vm.qcow2'"]
        );
        assert_eq!(lines("localhost:10001", &["it's"])[0], r"member get '10.0.0.5:10001/it'\''s'");
        assert_eq!(lines("head:9999", &["vm.qcow2"]), ["member get head/vm.qcow2"]);
    }

    #[test]
    fn of_several_there_is_a_list() {
        assert_eq!(near(&["b c".to_owned()], 1), ["member get 'b c'"]);
        assert_eq!(near(&["a".to_owned()], 2), ["member list", "member get NAME"]);
        assert_eq!(lines("head:7", &["a", "b"]), ["member list --conductor head:7", "member get head:7/NAME"]);
    }
}
