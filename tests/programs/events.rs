//! What the programs write with `--json` is what `docs/events.schema.json` says.

use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, Program, bytes, conductor_command, listening};

/// Whether the value is as the schema says: as much of JSON Schema as ours uses.
fn fits(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    let complain = |what: &str| Err(format!("{value} is not {what}: {schema}"));
    if let Some(place) = schema["$ref"].as_str() {
        let found = root.pointer(place.trim_start_matches('#')).ok_or_else(|| format!("no {place}"))?;
        return fits(found, value, root);
    }
    if let Some(all) = schema["oneOf"].as_array() {
        let errors: Vec<_> = all.iter().filter_map(|one| fits(one, value, root).err()).collect();
        return match all.len() - errors.len() {
            1 => Ok(()),
            0 => {
                let of_event = |error: &&String| !error.contains("is not the constant");
                Err(errors.iter().find(of_event).unwrap_or(&errors[0]).clone())
            }
            fitting => Err(format!("{value} fits {fitting} schemas")),
        };
    }
    if schema.get("const").is_some_and(|constant| constant != value) {
        return complain("the constant");
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return complain("one of these");
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the schema has a type {other}"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        return complain("of this type");
    }
    if schema["minimum"].as_f64().is_some_and(|least| value.as_f64().is_some_and(|value| value < least)) {
        return complain("large enough");
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(key) {
            fits(schema, value, root)?;
        }
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(key).is_none() {
            return complain(&format!("complete: {key} is missing"));
        }
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema.get("items").is_some()) {
        fits(&schema["items"], item, root)?;
    }
    Ok(())
}

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.schema.json");
    serde_json::from_slice(&fs::read(path).expect("a schema")).expect("JSON")
}

/// Fails unless every line of JSON fits; gives their events.
#[track_caller]
fn all_fit(schema: &Value, events: impl Iterator<Item = Value>) -> Vec<String> {
    let fitting = |event: Value| {
        fits(schema, &event, schema).unwrap_or_else(|error| panic!("{error}"));
        event["event"].as_str().expect("an event").to_owned()
    };
    events.map(fitting).collect()
}

/// Fails unless the keys of its last line begin as in all programs, in the same order.
#[track_caller]
fn begins_alike(ended: &crate::support::Ended) {
    let line = ended.lines.iter().rfind(|line| line.contains("\"event\":\"end\"")).expect("an end");
    let keys = ["v", "time", "event", "name", "code", "path", "size", "have", "fetched", "mirror", "uploaded"];
    let keys = keys.into_iter().chain(["seconds", "whole_after"]);
    let places: Vec<_> = keys.map(|key| line.find(&format!("\"{key}\":")).unwrap_or(usize::MAX)).collect();
    assert!(places.is_sorted() && places.last() < Some(&line.len()), "{line}");
    assert!(line.find("\"text\":").is_none_or(|text| Some(&text) > places.last()), "{line}");
}

/// What a transfer, an error, a check, and each program's end look like.
#[test]
fn what_the_programs_write_is_as_the_schema_says() {
    let schema = schema();
    let place = Place::new();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = place.command(program);
        command.args(arguments).arg("--json");
        Program::start(command)
    };
    let (composer, member) = (env!("CARGO_BIN_EXE_composer"), env!("CARGO_BIN_EXE_member"));
    let conductor_program = env!("CARGO_BIN_EXE_conductor");
    let (conductor, address) = listening(conductor_command(&place, "127.0.0.1:0"));
    fs::write(place.path("x.bin"), bytes(300_000, 1)).expect("written");
    let composed = run(composer, &["x.bin", &address]).end().with(0);
    let mut seen = all_fit(&schema, composed.events());
    let end = |ended: &crate::support::Ended| ended.last().as_object().expect("an object").clone();
    begins_alike(&composed);
    let composed = end(&composed);
    let sharer = run(member, &["share", "x.bin", "--conductor", &address, "--port", "0"]);
    let mut sharer = sharer;
    sharer.event_named("sharing");
    let got = run(member, &["get", &format!("{address}/x.bin"), "-o", "d", "--exit-when-done", "--port", "0"]);
    let got = got.end().with(0);
    seen.extend(all_fit(&schema, got.events()));
    begins_alike(&got);
    let got = end(&got);
    for ended in [
        run(member, &["verify", "x.orch", "d"]).end().with(0),
        run(member, &["list", "--conductor", "127.0.0.1:1", "--no-lan"]).end().with(7),
        run(member, &["locate", &format!("{address}/y.bin")]).end().with(10),
        run(member, &["show", "nothing.orch"]).end().with(1),
        run(member, &["unregister", &format!("{address}/y.bin")]).end().with(10),
        run(member, &["get", "--no-such"]).end().with(2),
        run(member, &["nothing.orch"]).end().with(1),
        run(composer, &["nothing"]).end().with(1),
        run(composer, &["--no-such"]).end().with(2),
        run(conductor_program, &["backup", "copy"]).end().with(0),
        run(conductor_program, &["backup", "copy"]).end().with(1),
        run(conductor_program, &["backup"]).end().with(2),
        run(conductor_program, &["--listen", "192.0.2.1:0"]).end().with(1),
        run(conductor_program, &["--no-such"]).end().with(2),
    ] {
        let code = ended.status.code();
        let events = all_fit(&schema, ended.events());
        begins_alike(&ended);
        let end = end(&ended);
        assert_eq!(end.contains_key("text"), code != Some(0), "{end:?}");
        assert_eq!(end["code"].as_i64(), code.map(i64::from));
        assert!(got.keys().all(|key| end.contains_key(key)), "{end:?}");
        assert!(code == Some(0) || events.iter().any(|event| event == "error"), "{events:?}");
        seen.extend(events);
    }
    conductor.signal(Signal::TERM);
    let conducted = conductor.end().with(0);
    seen.extend(all_fit(&schema, conducted.events()));
    begins_alike(&conducted);
    for end in [composed, end(&conducted)] {
        assert!(got.keys().all(|key| end.contains_key(key)), "{end:?}");
    }
    sharer.signal(Signal::TERM);
    seen.extend(all_fit(&schema, sharer.end().with(0).events()));
    for event in
        ["start", "shared", "sharing", "fetch", "progress", "whole", "checked", "error", "end", "listening", "copied"]
    {
        assert!(seen.iter().any(|seen| seen == event), "{event} did not come");
    }
}

/// Help and version, by flag and by word, are one object each.
#[test]
fn help_and_version_are_json_too() {
    let place = Place::new();
    let said = |program: &str, arguments: &[&str]| {
        let mut command = place.command(program);
        command.args(arguments);
        let ended = Program::start(command).end().with(0);
        assert_eq!(ended.lines.len(), 1, "{arguments:?}: {:?}", ended.lines);
        serde_json::from_str::<Value>(&ended.lines[0]).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    };
    let (composer, conductor) = (env!("CARGO_BIN_EXE_composer"), env!("CARGO_BIN_EXE_conductor"));
    let member = env!("CARGO_BIN_EXE_member");
    for (program, name, arguments) in [
        (composer, "composer", &["--version", "--json"][..]),
        (conductor, "conductor", &["--json", "--version"]),
        (member, "member", &["version", "--json"]),
        (member, "member", &["get", "--version", "--json"]),
    ] {
        let said = said(program, arguments);
        assert_eq!((&said["v"], &said["program"]), (&1.into(), &name.into()));
        assert_eq!((&said["version"], &said["help"]), (&env!("CARGO_PKG_VERSION").into(), &Value::Null));
    }
    for (program, arguments, words) in [
        (composer, &["--help", "--json"][..], "composer [OPTIONS]"),
        (conductor, &["backup", "--help", "--json"], "conductor backup"),
        (member, &["help", "--json"], "member get"),
        (member, &["help", "get", "--json"], "member get [OPTIONS]"),
        (member, &["help", "--json", "verify"], "member verify"),
    ] {
        let help = said(program, arguments)["help"].clone();
        assert!(help.as_str().is_some_and(|help| help.contains(words) && help.contains("--json")), "{help}");
    }
}

/// An environment variable that does not fit is named.
#[test]
fn a_bad_environment_variable_is_named() {
    let place = Place::new();
    let run = |program: &str, variable: &str, value: &str, arguments: &[&str]| {
        let mut command = place.command(program);
        command.args(arguments).env(variable, value);
        Program::start(command).end()
    };
    let (composer, conductor) = (env!("CARGO_BIN_EXE_composer"), env!("CARGO_BIN_EXE_conductor"));
    let member = env!("CARGO_BIN_EXE_member");
    for (program, variable, value, arguments) in [
        (member, "ORCHESTRA_PORT", "many", &["x.orch"][..]),
        (member, "ORCHESTRA_JSON", "perhaps", &["list"]),
        (member, "ORCHESTRA_TIMEOUT", "soon", &["get", "x"]),
        (member, "ORCHESTRA_UPLOAD", "fast", &["share", "x"]),
        (conductor, "ORCHESTRA_METRICS", "here", &[]),
        (composer, "ORCHESTRA_CONDUCTOR", "a b", &["x"]),
        (composer, "ORCHESTRA_PART_SIZE", "large", &["x"]),
        (composer, "ORCHESTRA_TOKEN", "short", &["x", "--register"]),
    ] {
        run(program, variable, value, arguments).with(2).says(variable);
    }
    // What is typed goes first, and is what is wrong then.
    let ended = run(member, "ORCHESTRA_PORT", "many", &["x.orch", "--port", "few"]).with(2);
    assert!(!ended.lines.concat().contains("ORCHESTRA_PORT"));
}
