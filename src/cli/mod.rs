//! The command line: flags and help of each program, units, exit codes, `.env` and logs.
//!
//! What is typed, what the environment says (`ORCHESTRA_...`) and what `.env` says become one validated `Settings`
//! in [`composer`], [`conductor`], [`member`], [`offer`], [`menu`], [`ask`] and [`search`]; nothing behind them reads arguments or the environment again.
//! [`input`] reads the manifests that are named there; [`meant`] knows what else a word may be.
//! Not here: what the programs do with it, and what they show ([`crate::ui`]).

pub mod ask;
pub mod composer;
pub mod conductor;
pub mod dotenv;
pub mod exit;
pub mod input;
pub mod logging;
pub mod meant;
pub mod member;
pub mod menu;
pub mod offer;
pub mod only;
pub mod options;
pub mod search;
pub mod tokens;
pub mod units;

pub use exit::Exit;
pub use logging::LogDir;
pub use options::{Colour, ScreenOptions};

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

use dotenv::DotEnv;

/// The arguments of a program as clap knows them: the command line, then the environment, then `.env`.
///
/// # Errors
/// Wrong usage, and also `--help` and `--version`: the binary calls [`clap::Error::exit`], which prints each where it
/// belongs and exits with 2 or 0.
fn read<A: CommandFactory + FromArgMatches>(
    args: Vec<OsString>,
    dot_env: &DotEnv,
) -> Result<(A, clap::ArgMatches), clap::Error> {
    let command = A::command();
    let typed = command.clone().try_get_matches_from(&args)?;
    let extra = dot_env.arguments(&command, &typed);
    let matches = if extra.is_empty() {
        typed
    } else {
        let mut all = args;
        all.splice(1.min(all.len())..1.min(all.len()), extra);
        command
            .try_get_matches_from(all)
            .map_err(|error| wrong::<A>(format_args!("a setting in .env does not fit: {}", first_line(&error))))?
    };
    Ok((A::from_arg_matches(&matches)?, matches))
}

/// An error of usage that clap itself cannot see; printed and exited with like its own.
fn wrong<A: CommandFactory>(message: impl std::fmt::Display) -> clap::Error {
    A::command().error(ErrorKind::ValueValidation, message)
}

/// What clap says of an error, without its `error: ` and its hints.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
