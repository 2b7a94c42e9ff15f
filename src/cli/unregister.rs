//! The command line of `member unregister`.

use std::{ffi::OsString, path::PathBuf};

use clap::Parser;

use super::{
    ask::{Question, What, or_this_machine},
    dotenv::DotEnv,
    exit::Exit,
    is_trusted,
    options::{Log, STYLES, flag},
    read, tokens, wrong,
};
use crate::{
    catalogue::{Key, Token, place::Typed},
    manifest::Endpoint,
};

/// What is to be taken out of a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Unregister {
    pub key: Key,
    /// Each of them is asked.
    pub conductors: Vec<Endpoint>,
    /// Only where a person named the conductors.
    pub token: Option<Token>,
}

/// `member unregister` as it was typed, with what the environment and `.env` say.
pub(super) fn parse(args: Vec<OsString>, dot_env: DotEnv) -> Result<Question, clap::Error> {
    let (Args { name, conductor, token_file, json, log }, typed) = read::<Args>(args, &dot_env)?;
    // A conductor of `.env` may have come with a download: it does not turn the host that was typed into an owner.
    let is_named = !conductor.is_empty() && is_trusted(&typed, "conductor");
    let parsed = Typed::parse(&name, is_named);
    let Typed { conductor: host, key } = parsed.map_err(|error| wrong::<Args>(format_args!("{name:?}: {error}")))?;
    let key = key.ok_or_else(|| wrong::<Args>("say which composition: HOST/NAME, or its info-hash"))?;
    let token = tokens::first(token_file.as_deref()).map_err(wrong::<Args>)?;
    let token = token.filter(|_| host.is_some() || is_trusted(&typed, "conductor"));
    let conductors = host.map_or_else(|| or_this_machine(conductor), |host| vec![host]);
    let what = What::Unregister(Unregister { key, conductors, token });
    Ok(Question { what, json, log_dir: log.log_dir(), notes: dot_env.notes })
}

/// Take a composition out of a conductor's catalogue
///
/// What members share goes on; "member get NAME" finds it there no more. A conductor with tokens lets its owner and the
/// administrator do so.
#[derive(Parser, Clone, Debug)]
#[command(name = "member unregister", bin_name = "member unregister", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help())]
struct Args {
    /// The composition: [HOST[:PORT]/][OWNER/]NAME, or its info-hash
    #[arg(value_name = "NAME|HASH")]
    name: String,

    /// Out of the catalogue of this conductor (repeatable)
    ///
    /// Without a port it is 9999. Default: the one on this machine.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(env = "ORCHESTRA_CONDUCTOR", hide_env_values = true)]
    conductor: Vec<Endpoint>,

    /// Write to the catalogue with the first token of this file
    ///
    /// It goes only to a conductor that is named here or in ORCHESTRA_CONDUCTOR. Default: what ORCHESTRA_TOKEN holds, if
    /// anything.
    #[arg(long, value_name = "PATH", env = "ORCHESTRA_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,

    /// Write one JSON object on stdout instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag())]
    json: bool,

    #[command(flatten)]
    log: Log,
}

fn after_help() -> String {
    let codes = [
        Exit::Done,
        Exit::Other,
        Exit::Usage,
        Exit::NobodyAnswered,
        Exit::Refused,
        Exit::UnknownName,
        Exit::Interrupted,
    ];
    format!("Example:\n  member unregister 10.0.0.1/big.iso\n\n{}", Exit::help(&codes))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_token_goes_to_who_is_named() {
        Args::command().debug_assert();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "0123456789abcdef").unwrap();
        let told = |args: &[&str], dot_env: &str| {
            let file = ["--token-file", path.to_str().unwrap()];
            let args = ["member"].iter().chain(args).chain(&file).map(OsString::from).collect();
            match parse(args, DotEnv::parse(dot_env)).unwrap().what {
                What::Unregister(what) => (what.conductors[0].to_string(), what.token.is_some()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(&["head/x"], "ORCHESTRA_CONDUCTOR=evil"), ("head:9999".to_owned(), true));
        assert_eq!(told(&["x", "--conductor", "head:7"], ""), ("head:7".to_owned(), true));
        assert_eq!(told(&["x"], "ORCHESTRA_CONDUCTOR=evil"), ("evil:9999".to_owned(), false));
        assert_eq!(told(&["x"], ""), ("localhost:9999".to_owned(), false));
        assert!(parse(["member", "head/"].map(OsString::from).to_vec(), DotEnv::default()).is_err());
    }
}
