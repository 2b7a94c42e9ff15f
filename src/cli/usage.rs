//! The end of a program that was used wrongly, or asked for its help.

use std::{ffi::OsString, time::Duration};

use clap::error::ErrorKind;
use serde::Serialize;

use super::{Exit, first_line, options::parse_switch};
use crate::ui::{json, output};

/// Prints the error, the help or the version of `program` where it belongs, and ends it; as JSON, where that was asked for.
/// Help and version are what was asked for: losing them is no success.
pub fn end(program: &str, error: clap::Error) -> ! {
    let setting = std::env::var("ORCHESTRA_JSON").ok();
    let as_json = wants_json(std::env::args_os(), setting.as_deref());
    if error.use_stderr() {
        if as_json {
            json::failed(None, Exit::Usage, &first_line(&error), Duration::ZERO);
        }
        error.exit();
    }
    let printed = match as_json {
        true => output::print_line(&answer(program, &error)),
        false => output::flushed(error.print()),
    };
    std::process::exit(output::exit_of(printed, Exit::Done).code().into())
}

/// Help or version as one object.
#[derive(Serialize)]
struct Answer<'a> {
    v: u8,
    program: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

fn answer(program: &str, asked: &clap::Error) -> String {
    let text = asked.to_string();
    let help = (asked.kind() != ErrorKind::DisplayVersion).then(|| text.trim_end());
    // Plain data with text for keys always can be written.
    serde_json::to_string(&Answer { v: 1, program, version: env!("CARGO_PKG_VERSION"), help }).unwrap_or_default()
}

/// Whether these arguments, or the value of `ORCHESTRA_JSON`, ask for JSON.
fn wants_json(args: impl IntoIterator<Item = OsString>, setting: Option<&str>) -> bool {
    let is_typed = args.into_iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    is_typed || setting.and_then(parse_switch).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_by_flag_or_variable() {
        let wants = |args: &[&str], setting| wants_json(args.iter().map(OsString::from), setting);
        assert!(wants(&["member", "get", "--json"], None) && wants(&["member"], Some("yes")));
        assert!(
            !wants(&["member", "--", "--json"], None) && !wants(&["member"], Some("0")) && !wants(&["member"], None)
        );
    }
}
