//! The command line: flags and help of each program, units, exit codes, `.env` and logs.
//!
//! What is typed, what the environment says (`ORCHESTRA_...`) and what `.env` says become one validated `Settings`
//! in [`composer`], [`conductor`], [`member`], [`offer`], [`menu`], [`ask`], [`search`], [`verify`] and [`unregister`]; nothing behind them reads arguments or the environment again.
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
pub mod unregister;
pub mod usage;
pub mod verify;

pub use exit::Exit;
pub use logging::LogDir;
pub use options::{Colour, ScreenOptions};

use std::ffi::OsString;

use clap::{
    Arg, Command, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use dotenv::DotEnv;

/// The arguments of a program as clap knows them: the command line, then the environment, then `.env`; and what of them
/// came from the first two alone.
///
/// # Errors
/// Wrong usage, and also `--help` and `--version`: the binary calls [`clap::Error::exit`], which prints each where it
/// belongs and exits with 2 or 0.
fn read<A: CommandFactory + FromArgMatches>(
    args: Vec<OsString>,
    dot_env: &DotEnv,
) -> Result<(A, clap::ArgMatches), clap::Error> {
    let command = A::command();
    let typed = command.clone().try_get_matches_from(&args).map_err(|error| with_variable(&command, &args, error))?;
    let extra = dot_env.arguments(&command, &typed);
    if extra.is_empty() {
        return Ok((A::from_arg_matches(&typed)?, typed));
    }
    let mut all = args;
    all.splice(1.min(all.len())..1.min(all.len()), extra);
    let matches = command.clone().try_get_matches_from(all).map_err(|error| {
        let variable = variable_of(&command, &error).map(|(_, name)| format!("{name}: ")).unwrap_or_default();
        wrong::<A>(format_args!("a setting in .env does not fit: {variable}{}", first_line(&error)))
    })?;
    Ok((A::from_arg_matches(&matches)?, typed))
}

/// Whether the command line or the environment gives this argument, and not `.env`, which may have come with a download.
fn is_trusted(typed: &clap::ArgMatches, id: &str) -> bool {
    matches!(typed.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// An error about a value that nobody typed, with the name of the environment variable that holds it.
fn with_variable(command: &Command, args: &[OsString], error: clap::Error) -> clap::Error {
    let Some((arg, variable)) = variable_of(command, &error) else { return error };
    let flag = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let names_it = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(&flag));
    let is_typed = args.iter().take_while(|arg| *arg != "--").any(names_it);
    match std::env::var_os(&variable).filter(|_| !is_typed) {
        Some(_) => {
            let message = format!("the environment variable {variable} does not fit: {}", first_line(&error));
            command.clone().error(ErrorKind::ValueValidation, message)
        }
        None => error,
    }
}

/// The argument that an error is about, and its environment variable.
fn variable_of(command: &Command, error: &clap::Error) -> Option<(Arg, String)> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    // Its form is that of a built command.
    let mut command = command.clone();
    command.build();
    let arg = command.get_arguments().find(|arg| arg.to_string() == *shown)?.clone();
    let variable = arg.get_env()?.to_str()?.to_owned();
    Some((arg, variable))
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
