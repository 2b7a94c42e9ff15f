//! The command line of `member search` and `member neighbours`.

use std::{ffi::OsString, time::Duration};

use clap::Parser;

use super::{
    dotenv::DotEnv,
    exit::Exit,
    member::{self, Settings, member_endpoint},
    options::{Log, STYLES, flag},
    read,
    units::parse_duration,
    wrong,
};
use crate::{
    manifest::Endpoint,
    wire::extension::search::{Asks, MOST_HOPS, MOST_TEXT},
};

/// Links that a search crosses, where nobody says.
pub const DEFAULT_HOPS: u8 = 7;
/// Neighbours, and theirs.
pub const THEIRS: u8 = 2;
/// So long after the last answer a search ends by itself.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A question to the neighbours, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Quest {
    pub asks: Asks,
    /// Links between members that it crosses at most; that to this machine's member is none.
    pub hops: u8,
    /// When nothing new came for so long it ends.
    pub timeout: Duration,
    /// One JSON object a line on stdout instead of text for people.
    pub json: bool,
    /// Whom to ask.
    pub settings: Settings,
}

/// `member search` as it was typed, with what the environment and `.env` say.
pub(super) fn search(args: Vec<OsString>, dot_env: DotEnv) -> Result<Quest, clap::Error> {
    let (SearchArgs { text, hops, asked }, _) = read::<SearchArgs>(args, &dot_env)?;
    let text = text.join(" ");
    match text.trim() {
        "" => Err(wrong::<SearchArgs>("there is nothing to search for: give a word of the name")),
        text if text.len() > MOST_TEXT => Err(wrong::<SearchArgs>(format_args!(
            "the text is {} bytes long: at most {MOST_TEXT} are asked for",
            text.len()
        ))),
        text => Ok(asked.quest(Asks::For(text.to_owned()), hops.unwrap_or(DEFAULT_HOPS), dot_env)),
    }
}

/// `member neighbours` as it was typed.
pub(super) fn neighbours(args: Vec<OsString>, dot_env: DotEnv) -> Result<Quest, clap::Error> {
    let (NeighboursArgs { asked }, _) = read::<NeighboursArgs>(args, &dot_env)?;
    Ok(asked.quest(Asks::Who, THEIRS, dot_env))
}

/// Ask neighbouring members who has something of this name
///
/// The question goes to the member of this machine, which passes it on to its neighbours, and they to theirs; no server
/// is asked. Who shares something with all these words in its name answers, in whatever case they are. One line a
/// composition, with the number of members that answered for it; the command that fetches the first one comes last.
#[derive(Parser, Clone, Debug)]
#[command(name = "member search", bin_name = "member search", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help("member search ubuntu desktop\n  member search vm --neighbour 10.0.0.5"))]
struct SearchArgs {
    /// The words to look for in names
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,

    /// Ask over so many links between members, up to 32
    ///
    /// 0 asks this machine's member alone. Default: 7.
    #[arg(long, value_name = "N", env = "ORCHESTRA_HOPS", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=i64::from(MOST_HOPS)))]
    hops: Option<u8>,

    #[command(flatten)]
    asked: Asked,
}

/// Show the neighbours of this machine's member, and theirs
///
/// One line a member: its name, its version, how many compositions it shares, how many neighbours it has, and how many
/// links lie between.
#[derive(Parser, Clone, Debug)]
#[command(name = "member neighbours", bin_name = "member neighbours", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help("member neighbours\n  member neighbours --neighbour 10.0.0.5"))]
struct NeighboursArgs {
    #[command(flatten)]
    asked: Asked,
}

/// Who is asked, and how the answer is shown.
#[derive(clap::Args, Clone, Debug)]
struct Asked {
    /// Ask this member, and nobody else (repeatable)
    ///
    /// Without a port it is 9998. Default: the members of this machine and of its network, those that a conductor knows,
    /// and those that were neighbours before.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = member_endpoint)]
    #[arg(env = "ORCHESTRA_NEIGHBOUR", hide_env_values = true)]
    neighbour: Vec<Endpoint>,

    /// Look for members at this conductor too (repeatable)
    ///
    /// Without a port it is 9999.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(env = "ORCHESTRA_CONDUCTOR", hide_env_values = true)]
    conductor: Vec<Endpoint>,

    /// Ask only through this network interface
    ///
    /// Linux only. Default: any.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_INTERFACE", hide_env_values = true)]
    interface: Option<String>,

    /// Do not look for members on the local network
    #[arg(long, env = "ORCHESTRA_NO_LAN", hide_env_values = true, value_parser = flag())]
    no_lan: bool,

    /// End when nothing new came for so long, such as 10s
    ///
    /// Default: 5 s.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    #[arg(env = "ORCHESTRA_TIMEOUT", hide_env_values = true)]
    timeout: Option<Duration>,

    /// Write one JSON object a line on stdout, as answers come, instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag())]
    json: bool,

    #[command(flatten)]
    log: Log,
}

impl Asked {
    fn quest(self, asks: Asks, hops: u8, dot_env: DotEnv) -> Quest {
        let (timeout, log_dir) = (self.timeout.unwrap_or(DEFAULT_TIMEOUT), self.log.log_dir());
        let settings = member::of_asker(self.neighbour, self.conductor, self.interface, self.no_lan, log_dir, dot_env);
        Quest { asks, hops, timeout, json: self.json, settings }
    }
}

fn after_help(examples: &str) -> String {
    let codes = [Exit::Done, Exit::Other, Exit::Usage, Exit::NobodyAnswered, Exit::Interrupted];
    format!("Examples:\n  {examples}\n\n{}  4 of a search: nobody who was asked has such a thing\n", Exit::help(&codes))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn typed(args: &[&str], dot_env: &str) -> Result<Quest, clap::Error> {
        let args = std::iter::once(&"member").chain(args).map(OsString::from);
        search(args.collect(), DotEnv::parse(dot_env))
    }

    #[test]
    fn the_command_lines_are_sound() {
        SearchArgs::command().debug_assert();
        NeighboursArgs::command().debug_assert();
    }

    #[test]
    fn words_are_one_text() {
        let quest = typed(&["Big", "file"], "").unwrap();
        assert_eq!((quest.asks, quest.hops, quest.timeout), (Asks::For("Big file".to_owned()), 7, DEFAULT_TIMEOUT));
        assert!(!quest.settings.search && quest.settings.lan && quest.settings.neighbours.is_empty());
        let quest = typed(&["x", "--hops", "0", "--neighbour", "h", "--timeout", "1"], "ORCHESTRA_NO_LAN=1").unwrap();
        assert_eq!((quest.hops, quest.timeout, quest.settings.lan), (0, Duration::from_secs(1), false));
        assert_eq!(quest.settings.neighbours[0].to_string(), "h:9998");
        let who = neighbours(vec!["member".into()], DotEnv::parse("")).unwrap();
        assert_eq!((who.asks, who.hops), (Asks::Who, 2));
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let long = "x".repeat(256);
        for args in [&[][..], &[" "], &[&long], &["x", "--hops", "33"]] {
            assert_eq!(typed(args, "").unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
