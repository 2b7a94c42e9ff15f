//! What a person should know about the conductor that a manifest names.

use core::net::IpAddr;
use std::path::Path;

use super::share::word;
use crate::{
    catalogue::{AskError, Remedy},
    cli::composer::Register,
    manifest::{Endpoint, Host, Manifest},
};

/// Advice on this conductor, or none where others can be expected to reach it; `orch` is where the manifest is.
pub fn hint(conductor: &Endpoint, orch: &Path) -> Option<String> {
    let orch = orch.display();
    if conductor.is_unknown() {
        Some(format!(
            "no conductor is named, so members find each other on one network alone: for others write its HOST:PORT into line 1 of {orch}, or give them --conductor or --peer"
        ))
    } else if conductor.host.is_this_machine() {
        Some(format!(
            "only this machine finds a conductor at {conductor}: for others write a HOST:PORT that they reach into line 1 of {orch}"
        ))
    } else {
        None
    }
}

/// The command that registers what is at `orch`, with what helps against this error. A token goes only to a conductor
/// that is named, so that the command names this one.
pub fn register_again(
    orch: &Path,
    manifest: &Manifest,
    conductor: &Endpoint,
    told: &Register,
    error: &AskError,
) -> String {
    let remedy = match error {
        AskError::Refused { remedy, .. } => *remedy,
        _ => Remedy::Unknown,
    };
    let replace = told.replace || remedy == Remedy::Replace;
    if remedy == Remedy::Elsewhere {
        let replace = if replace { " --replace" } else { "" };
        return format!("composer --from {} HOST:PORT --register{replace} --force", word(orch));
    }
    let needs_token = remedy == Remedy::Token;
    let name = (needs_token || told.token.is_some()).then_some(conductor);
    let command = register(orch, &manifest.conductor, name, replace);
    let kept = match told.token_is_kept {
        true => "; the token was not sent: it goes only to a conductor that you name",
        false => "",
    };
    match needs_token {
        true => format!("{command} --token-file PATH (or with the token in ORCHESTRA_TOKEN{kept})"),
        false => command,
    }
}

/// The command that registers what is at `orch`, where the conductor `there` is named, with the one that is to be named
/// on the command line, if one is.
pub fn register(orch: &Path, there: &Endpoint, name: Option<&Endpoint>, replace: bool) -> String {
    let orch = word(orch);
    let replace = if replace { " --replace" } else { "" };
    match name {
        // What is written there is replaced.
        Some(conductor) if conductor != there => {
            format!("composer --from {orch} {conductor} --register{replace} --force")
        }
        Some(conductor) => format!("composer --from {orch} {conductor} --register{replace}"),
        None => format!("composer --from {orch} --register{replace}"),
    }
}

/// Line 1 is read on other machines: where "this machine" is to be written, its `own` address is, if it has one. Tells
/// what was written.
pub fn name_this_machine(conductor: &mut Option<Endpoint>, own: Option<IpAddr>) -> Option<String> {
    let conductor = conductor.as_mut().filter(|conductor| conductor.host == Host::ThisMachine)?;
    conductor.host = Host::Ip(own?);
    Some(format!("the conductor is this machine: {conductor}"))
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

    #[test]
    fn what_was_refused_is_registered_with_what_helps() {
        let manifest =
            Manifest::parse(b"head:9999\nx\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n").unwrap();
        let again_at = |at: &str, replace, token_is_kept, error| {
            let told = Register { replace, token: None, token_is_kept };
            register_again(Path::new("a b.orch"), &manifest, &at.parse().unwrap(), &told, &error)
        };
        let refused = |remedy| AskError::Refused { conductor: "head:9999".to_owned(), why: "no".to_owned(), remedy };
        let again = |replace, remedy| again_at("head", replace, false, refused(remedy));
        assert_eq!(again(false, Remedy::Replace), "composer --from 'a b.orch' --register --replace");
        assert_eq!(again(true, Remedy::Unknown), "composer --from 'a b.orch' --register --replace");
        assert_eq!(again(false, Remedy::Elsewhere), "composer --from 'a b.orch' HOST:PORT --register --force");
        let text = again(false, Remedy::Token);
        assert!(text.starts_with("composer --from 'a b.orch' head:9999 --register --token-file PATH"), "{text}");
        assert!(text.contains("ORCHESTRA_TOKEN") && !text.contains("not sent"), "{text}");
        let text = again_at("localhost:9999", false, true, refused(Remedy::Token));
        assert!(text.contains("localhost:9999 --register --force --token-file") && text.contains("not sent"), "{text}");
        let away = AskError::Unreachable { conductor: "head:9999".to_owned(), why: "no".to_owned() };
        assert_eq!(again_at("head", false, false, away), "composer --from 'a b.orch' --register");
    }

    #[test]
    fn this_machine_is_written_as_its_address() {
        let written = |text: &str, own: Option<&str>| {
            let mut conductor = Some(text.parse().unwrap());
            let told = name_this_machine(&mut conductor, own.map(|own| own.parse().unwrap()));
            (conductor.unwrap().to_string(), told.is_some())
        };
        assert_eq!(written(":9999", Some("10.0.0.1")), ("10.0.0.1:9999".to_owned(), true));
        assert_eq!(written(":7", Some("fd00::1")), ("[fd00::1]:7".to_owned(), true));
        assert_eq!(written(":7", None), (":7".to_owned(), false));
        assert_eq!(written("head:7", Some("10.0.0.1")), ("head:7".to_owned(), false));
    }
}
