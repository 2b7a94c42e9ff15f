//! What is typed, what the environment and `.env` say, and what becomes of it.

use std::{fs, path::Path, time::Duration};

use super::*;

fn told(args: &[&str], dot_env: &str) -> Result<Settings, clap::Error> {
    let args = std::iter::once(&"member").chain(args).map(OsString::from);
    parse(args.collect(), DotEnv::parse(dot_env))
}

#[test]
fn the_command_line_is_sound() {
    <Args as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn a_manifest_is_enough() {
    let settings = told(&["x.orch"], "").unwrap();
    assert_eq!(settings.compositions, ["x.orch"]);
    assert_eq!(settings.output, Path::new("."));
    assert_eq!(settings.until, Until::default());
    assert!(settings.lan && settings.search && settings.dht.is_none());
    assert!(settings.screen.progress && !settings.name.is_empty());
}

#[test]
fn everything_that_is_typed_arrives() {
    let args = "a.orch b.orch -o d --listen ::1 --interface eth0 --port 0 --conductor h --conductor i:1 \
                --peer 10.0.0.1 --peer [::1]:5 --advertise h:1 --exit-when-done --seed-time 30m --seed-ratio 1.5 \
                --until-all 3 --timeout 10 --upload 10M --download 100Mbit --on-complete ./x --check --repair \
                --dht --dht-bootstrap 10.0.0.9,n:1 --from old --only *.pdf --only docs --name n --no-lan \
                --neighbour 10.0.0.2 --links 3 --json -v --no-progress --color never --log-dir -";
    let settings = told(&args.split_whitespace().collect::<Vec<_>>(), "").unwrap();
    let shown = |endpoints: &[Endpoint]| endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>();
    assert_eq!(settings.compositions, ["a.orch", "b.orch"]);
    assert_eq!(settings.listen, Some("::1".parse().unwrap()));
    assert_eq!(settings.port, Some(0));
    assert_eq!(shown(&settings.conductors), ["h:9999", "i:1"]);
    assert_eq!(shown(&settings.peers), ["10.0.0.1:9998", "[::1]:5"]);
    assert_eq!(settings.dht.map(|dht| shown(&dht.nodes)), Some(vec!["10.0.0.9:6881".into(), "n:1".into()]));
    assert_eq!((shown(&settings.neighbours), settings.links), (vec!["10.0.0.2:9998".to_owned()], 3));
    assert_eq!(settings.until.seed_time, Some(Duration::from_secs(1_800)));
    assert_eq!(settings.until.all, Some(UntilAll::Members(3)));
    assert_eq!(settings.timeout, Some(Duration::from_secs(10)));
    assert_eq!((settings.upload, settings.download), (Some(10 << 20), Some(12_500_000)));
    assert_eq!(settings.only.iter().map(Glob::as_str).collect::<Vec<_>>(), ["*.pdf", "docs"]);
    assert_eq!(settings.from, Some("old".into()));
    assert!(settings.check && settings.repair && !settings.lan && settings.until.done);
    assert!(settings.screen.json && settings.screen.verbose && !settings.screen.progress);
    assert_eq!(settings.log_dir, LogDir::Stderr);
}

#[test]
fn a_member_without_a_port_has_9998() {
    for (text, shown) in [("h", "h:9998"), ("h:1", "h:1"), ("::1", "[::1]:9998"), ("[::1]", "[::1]:9998")] {
        assert_eq!(member_endpoint(text).unwrap().to_string(), shown);
    }
    assert!(member_endpoint("a/b").is_err());
}

#[test]
fn the_command_line_goes_before_dot_env() {
    let dot_env = "ORCHESTRA_PORT=7\nORCHESTRA_CONDUCTOR=a,b\nORCHESTRA_JSON=yes\nORCHESTRA_NO_LAN=0";
    let settings = told(&["x.orch", "--port", "8"], dot_env).unwrap();
    assert_eq!(settings.port, Some(8));
    assert_eq!(settings.conductors.len(), 2);
    assert!(settings.screen.json && settings.lan);
    let settings = told(&["x.orch", "--conductor", "c"], dot_env).unwrap();
    assert_eq!(settings.conductors.len(), 1);
}

#[test]
fn of_two_that_contradict_each_other_one_goes_before() {
    let settings = told(&["x.orch", "-v", "--links", "3"], "ORCHESTRA_QUIET=0\nORCHESTRA_LINKS=4").unwrap();
    assert!(settings.screen.verbose && settings.links == 3);
    let settings = told(&["x.orch", "-q", "-v", "--no-search", "--links", "3", "--dht-bootstrap", "h"], "").unwrap();
    assert!(settings.screen.quiet && !settings.screen.verbose);
    assert!(!settings.search && settings.dht.is_none());
}

#[test]
fn names_of_others_are_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    let option = format!("--until-all=@{}", path.display());
    assert_eq!(told(&["x.orch", &option], "").unwrap_err().exit_code(), 2);
    fs::write(&path, "# rack 4\nnode1\n\n node2 # the old one\n").unwrap();
    let settings = told(&["x.orch", &option], "").unwrap();
    assert_eq!(settings.until.all, Some(UntilAll::Named(vec!["node1".to_owned(), "node2".to_owned()])));
}

#[test]
fn what_is_wrong_is_said_with_the_option() {
    for (args, dot_env, words) in [
        (&[][..], "", "FILE.orch"),
        (&["x", "--upload", "fast"], "", "--upload"),
        (&["x", "--seed-ratio", "nan"], "", "--seed-ratio"),
        (&["x", "--until-all", "0"], "", "--until-all"),
        (&["x", "--advertise", "0.0.0.0:5"], "", "--advertise"),
        (&["x", "--advertise", "h:0"], "", "--advertise"),
        (&["x", "--only", "[a"], "", "--only"),
        (&["x", "--name", "\u{1b}[2J"], "", "--name"),
        (&["x"], "ORCHESTRA_PORT=many", ".env"),
        (&["x"], "ORCHESTRA_JSON=perhaps", "--json"),
    ] {
        let error = told(args, dot_env).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn help_names_every_variable_and_exit_code() {
    let error = told(&["--help"], "").unwrap_err();
    let help = error.to_string();
    assert_eq!(error.exit_code(), 0);
    assert!(help.starts_with("Fetch a composition"));
    assert!(help.contains("ORCHESTRA_ON_COMPLETE") && help.contains("Examples:") && help.contains("130"));
    let command = <Args as clap::CommandFactory>::command();
    for option in command.get_opts().filter(|option| !option.is_global_set()) {
        let known = matches!(option.get_id().as_str(), "help" | "version");
        assert!(known || option.get_env().is_some(), "{} has no variable", option.get_id());
    }
}
