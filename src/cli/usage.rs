//! The end of a program that was used wrongly, or asked for its help.

use std::{ffi::OsString, time::Duration};

use super::{Exit, first_line, options::parse_switch};
use crate::ui::json;

/// Prints the error, the help or the version where it belongs, and ends the program; an error as JSON too, where that was
/// asked for.
pub fn end(error: clap::Error) -> ! {
    let setting = std::env::var("ORCHESTRA_JSON").ok();
    if error.use_stderr() && wants_json(std::env::args_os(), setting.as_deref()) {
        json::failed(None, Exit::Usage, &first_line(&error), Duration::ZERO);
    }
    error.exit()
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
