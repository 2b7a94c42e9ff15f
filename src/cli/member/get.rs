//! The command line of `member get`: that of `member`, with names in place of files.

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{super::options::flag, Args};

/// The same options for a composition that a catalogue names.
#[derive(Clone, Debug)]
pub struct GetArgs {
    pub args: Args,
    /// The local network is asked alone.
    pub lan: bool,
    /// All that a host has is fetched.
    pub all: bool,
}

impl CommandFactory for GetArgs {
    fn command() -> Command {
        Self::command_for_update()
    }

    fn command_for_update() -> Command {
        let name = |arg: Arg| arg.value_name("NAME|HASH").help(GET_NAME).long_help(None);
        Args::command()
            .name("member get")
            .bin_name("member get")
            .about("Fetch a composition by its name, from who has it here or at a conductor, and share it until q is pressed")
            .long_about(None)
            .override_usage(
                "member get [OPTIONS] [HOST[:PORT]/][OWNER/]NAME|HASH...\n       \
                             member get [OPTIONS] HOST[:PORT]/|URL|MAGNET...\n       \
                             member get [OPTIONS] HOST[:PORT]/ --all",
            )
            .mut_arg("compositions", name)
            .arg(
                Arg::new("all")
                    .long("all")
                    .help("Fetch all that is shared at HOST/, and not only what is there alone")
                    .env("ORCHESTRA_GET_ALL")
                    .hide_env_values(true)
                    .value_parser(flag())
                    .action(ArgAction::SetTrue),
            )
            .arg(
                Arg::new("lan")
                    .long("lan")
                    .help("Ask the local network alone for the names, and no conductor that it does not lead to")
                    .help_heading("Network")
                    .env("ORCHESTRA_LAN")
                    .hide_env_values(true)
                    .value_parser(flag())
                    .action(ArgAction::SetTrue),
            )
    }
}

/// What `member get` is given.
const GET_NAME: &str = "The compositions' names or info-hashes in the catalogue, and perhaps which conductor's; HOST/ \
                        alone if it has only one; an address of its catalogue; a magnet link";

impl FromArgMatches for GetArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (lan, all) = (matches.get_flag("lan"), matches.get_flag("all"));
        Ok(Self { args: Args::from_arg_matches(matches)?, lan, all })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        (self.lan, self.all) = (matches.get_flag("lan"), matches.get_flag("all"));
        self.args.update_from_arg_matches(matches)
    }
}
