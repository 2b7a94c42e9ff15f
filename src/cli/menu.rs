//! The command line of the menu: `member` with nothing to fetch, on a terminal.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{
    LogDir,
    ask::or_this_machine,
    dotenv::DotEnv,
    member::{self, Args, Settings},
    read, tokens, wrong,
};
use crate::{catalogue::Token, manifest::Endpoint, ui::keys::is_foreground};

/// What the menu was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Menu {
    pub settings: Settings,
    /// What the conductor's catalogue may ask for.
    pub token: Option<Token>,
}

impl Menu {
    /// Whom it asks for the list: those that were named, or the one on this machine.
    pub fn conductors(&self) -> Vec<Endpoint> {
        or_this_machine(self.settings.conductors.clone())
    }
}

/// The menu, if this process has a terminal to itself and the command line asks for one; `None`: it is another command
/// line.
pub(super) fn on_terminal(args: &[OsString], dot_env: &DotEnv) -> Option<Result<Menu, clap::Error>> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal() && is_foreground()) {
        return None;
    }
    let menu = parse(args, dot_env)?;
    Some(match can_draw(std::env::var("TERM").ok().as_deref()) {
        Ok(()) => menu,
        Err(why) => Err(wrong::<MenuArgs>(why)),
    })
}

/// Whether a terminal of this name (`TERM`) can move its cursor, as the menu needs it to.
fn can_draw(term: Option<&str>) -> Result<(), String> {
    let what = match term {
        Some("dumb") => "TERM=dumb says that this terminal cannot",
        None | Some("") => "TERM is not set, so that nothing is known of this terminal",
        Some(_) => return Ok(()),
    };
    Err(format!(
        "the menu needs a terminal that can move its cursor, and {what}: set TERM (TERM=xterm member), or name what to \
         fetch (member FILE.orch, member get NAME), or look around with member list"
    ))
}

/// The menu, if nothing to fetch is named and nothing asks for another form; None: it is another command line.
pub(super) fn parse(args: &[OsString], dot_env: &DotEnv) -> Option<Result<Menu, clap::Error>> {
    // What is wrong is said by the command line that it is then taken for; save in `.env`, where that one would want a
    // file first.
    let (MenuArgs(args), typed) = match read(args.to_vec(), dot_env) {
        Ok(read) => read,
        Err(error) => return read::<MenuArgs>(args.to_vec(), &DotEnv::default()).is_ok().then_some(Err(error)),
    };
    let settings = member::settings_of(args, &typed, dot_env.clone()).ok()?;
    let shows = !settings.screen.json && !settings.screen.quiet && settings.screen.progress;
    if !settings.compositions.is_empty() || !shows || settings.log_dir == LogDir::Stderr {
        return None;
    }
    let token = tokens::first(None).map_err(wrong::<MenuArgs>);
    Some(token.map(|token| Menu { settings, token }))
}

/// The options of a member without anything to fetch.
struct MenuArgs(Args);

impl CommandFactory for MenuArgs {
    fn command() -> Command {
        Args::command().mut_arg("compositions", |compositions| compositions.required(false))
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl FromArgMatches for MenuArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Args::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Menu {
        /// As it is told by this command line.
        pub fn of(args: &[&str]) -> Self {
            menu(args).unwrap()
        }
    }

    fn read(args: &[&str], dot_env: &str) -> Option<Result<Menu, clap::Error>> {
        let args: Vec<OsString> = std::iter::once(&"member").chain(args).map(OsString::from).collect();
        parse(&args, &DotEnv::parse(dot_env))
    }

    fn menu(args: &[&str]) -> Option<Menu> {
        read(args, "").and_then(Result::ok)
    }

    #[test]
    fn options_alone_are_the_menu() {
        assert_eq!(menu(&[]).unwrap().conductors()[0].to_string(), "localhost:9999");
        let told = menu(&["--conductor", "head", "-o", "d", "--upload", "10M"]).unwrap();
        assert_eq!(told.conductors()[0].to_string(), "head:9999");
        assert_eq!((told.settings.output, told.settings.upload), ("d".into(), Some(10 << 20)));
    }

    #[test]
    fn a_terminal_that_cannot_draw_is_named() {
        assert_eq!(can_draw(Some("xterm-256color")), Ok(()));
        assert!(can_draw(Some("dumb")).unwrap_err().contains("TERM=dumb"));
        assert!(can_draw(None).unwrap_err().contains("TERM is not set"));
    }

    #[test]
    fn what_is_wrong_in_dot_env_is_said() {
        let error = read(&[], "ORCHESTRA_UPLOAD=fast").unwrap().unwrap_err().to_string();
        assert!(error.contains("a setting in .env does not fit") && error.contains("fast"), "{error}");
        assert!(read(&["--no-such"], "ORCHESTRA_UPLOAD=fast").is_none());
    }

    #[test]
    fn anything_else_is_none() {
        for args in [&["x.orch"][..], &["--json"], &["-q"], &["--no-progress"], &["--log-dir", "-"], &["--no-such"]] {
            assert_eq!(menu(args), None, "{args:?}");
        }
    }
}
