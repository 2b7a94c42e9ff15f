//! The command line of `member list`, `locate`, `show`, `history` and `get`; and which command is meant, of these and of
//! those that have a file of their own.
//!
//! The word has to come first, so that every other command line is that of `member FILE.orch`. A manifest in the current
//! folder that is called like one of the words goes first too: what was typed for it always worked.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, Parser};

use super::{
    LogDir,
    dotenv::DotEnv,
    exit::Exit,
    input,
    member::{self, DEFAULT_PORT, GetArgs, Origin, Settings, member_endpoint},
    menu::{self, Menu},
    offer::{self, Offer},
    options::{Log, STYLES, flag},
    read,
    search::{self, Quest},
    unregister::{self, Unregister},
    verify::{self, Verify},
    wrong,
};
use crate::{
    catalogue::place::Typed,
    manifest::{Endpoint, Host, Manifest, endpoint::CONDUCTOR_PORT},
    metainfo::magnet::is_magnet,
    net::via::Via,
};

/// What a member was told to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// To fetch and share what manifests describe.
    Share(Box<Settings>),
    /// To share files and folders as they are.
    Offer(Box<Offer>),
    /// To show what there is, and do what is then chosen.
    Menu(Box<Menu>),
    /// To ask its neighbours something.
    Search(Box<Quest>),
    /// To say what is wrong with what is on the disk.
    Verify(Box<Verify>),
    /// To say something and end.
    Say(Box<Question>),
}

/// A question that is answered with a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub what: What,
    /// One JSON object a line on stdout instead of text for people.
    pub json: bool,
    pub log_dir: LogDir,
    /// What of `.env` was not taken, for people.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// What is in a catalogue; with `all` also what nobody holds now.
    List { whom: Whom, all: bool },
    /// Who has it; with `summary` in a sentence, without asking the members themselves.
    Locate { get: Get, summary: bool },
    /// What a manifest or a `.torrent` says.
    Show { path: PathBuf },
    /// What came and went on this machine.
    History,
    /// To take something out of a catalogue, and say what that was.
    Unregister(Unregister),
}

/// An entry of a catalogue as it was named, and where to ask for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    pub typed: Typed,
    pub whom: Whom,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Whom {
    /// Of these the first that answers counts.
    pub conductors: Vec<Endpoint>,
    /// Members at the hosts of these conductors, asked where no conductor answers.
    pub members: Vec<Endpoint>,
    /// A person named them: that they do not answer has to be said.
    pub are_named: bool,
    /// Whether everybody on the local network is asked too, and through what of this machine.
    pub near: Option<Via>,
}

/// Where to look on the local network.
struct Near {
    /// There alone.
    alone: bool,
    /// Not there.
    never: bool,
    via: Via,
}

impl Whom {
    /// `told`: the conductors of the command line or the environment.
    fn new(told: Vec<Endpoint>, Near { alone, never, via }: Near) -> Self {
        let are_named = !told.is_empty() && !alone;
        let conductors = if alone { Vec::new() } else { or_this_machine(told) };
        Self { conductors, members: Vec::new(), are_named, near: (alone || !never).then_some(via) }
    }
}

/// As options of `member list`, each with a space before it; nothing where nobody was named.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.are_named, self.conductors.is_empty()) {
            (true, _) => self.conductors.iter().try_for_each(|conductor| write!(f, " --conductor {conductor}")),
            (false, true) => f.write_str(" --lan"),
            (false, false) => Ok(()),
        }
    }
}

impl Get {
    /// Reads a name as it was typed; `told`: the conductors of the command line or the environment.
    fn new(text: &str, told: Vec<Endpoint>, near: Near) -> Result<Self, String> {
        let typed = Typed::parse(text, !told.is_empty()).map_err(|error| format!("{text:?}: {error}"))?;
        let whom = match &typed.conductor {
            Some(conductor) if near.alone => {
                return Err(format!("{conductor} is asked, or the local network: leave the one or --lan out"));
            }
            Some(conductor) => Whom {
                conductors: vec![conductor.clone()],
                members: member_at(text, conductor).into_iter().collect(),
                are_named: true,
                near: None,
            },
            None => Whom::new(told, near),
        };
        Ok(Self { typed, whom })
    }
}

/// The member at a conductor's host that was typed as `HOST/...`; None where a port or an address of a page was typed.
fn member_at(text: &str, conductor: &Endpoint) -> Option<Endpoint> {
    let host = text.split('/').next().filter(|host| !host.is_empty() && conductor.port == CONDUCTOR_PORT)?;
    // Of `HOST:9999` the port is the typed one.
    member_endpoint(host).ok().filter(|member| member.port == DEFAULT_PORT && member.host == conductor.host)
}

/// Where a catalogue is asked when nobody says where.
pub(super) fn or_this_machine(told: Vec<Endpoint>) -> Vec<Endpoint> {
    match told.is_empty() {
        true => vec![Endpoint { host: Host::Name("localhost".to_owned()), port: CONDUCTOR_PORT }],
        false => told,
    }
}

/// Reads the arguments, the environment and `.env`.
///
/// # Errors
/// Wrong usage, `--help` and `--version`: the caller ends with [`clap::Error::exit`].
pub fn told(args: impl IntoIterator<Item = OsString>) -> Result<Told, clap::Error> {
    let (args, dot_env): (Vec<OsString>, DotEnv) = (args.into_iter().collect(), DotEnv::here());
    match menu::on_terminal(&args, &dot_env) {
        Some(menu) => Ok(Told::Menu(Box::new(menu?))),
        None => parse(args, dot_env),
    }
}

fn parse(mut args: Vec<OsString>, mut dot_env: DotEnv) -> Result<Told, clap::Error> {
    let word = args.get(1).and_then(|arg| arg.to_str()).filter(|word| WORDS.contains(word)).map(str::to_owned);
    let Some(word) = word else {
        return Ok(Told::Share(Box::new(member::parse(args, dot_env)?)));
    };
    if is_manifest(&word) {
        dot_env.notes.push(format!("{word} is a manifest here, and is taken as one: for the command go elsewhere"));
        return Ok(Told::Share(Box::new(member::parse(args, dot_env)?)));
    }
    args.remove(1);
    match word.as_str() {
        "get" => get(args, dot_env),
        "list" => list(args, dot_env),
        "locate" => locate(args, dot_env),
        "history" => history(args, dot_env),
        "neighbours" => Ok(Told::Search(Box::new(search::neighbours(args, dot_env)?))),
        "search" => Ok(Told::Search(Box::new(search::search(args, dot_env)?))),
        "share" => Ok(Told::Offer(Box::new(offer::parse(args, dot_env)?))),
        "verify" => Ok(Told::Verify(Box::new(verify::parse(args, dot_env)?))),
        "unregister" => Ok(Told::Say(Box::new(unregister::parse(args, dot_env)?))),
        "help" => help(args, dot_env),
        "version" => parse(replaced(&args, ["--version"]), dot_env),
        _ => show(args, dot_env),
    }
}

/// `member help [COMMAND]`: as `--help` of it.
fn help(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    // How it is shown is seen to where it is.
    let word = args.iter().skip(1).find(|word| *word != "--json");
    match word.map(|word| word.to_string_lossy().into_owned()) {
        None => parse(replaced(&args, ["--help"]), dot_env),
        Some(word) if WORDS.contains(&&*word) && word != "help" && word != "version" => {
            parse(replaced(&args, [&word, "--help"]), dot_env)
        }
        Some(word) if word == "help" || word == "version" => parse(replaced(&args, ["--help"]), dot_env),
        Some(word) => Err(wrong::<member::Args>(format_args!(
            "{} is no command: they are {}",
            word.escape_debug(),
            WORDS.join(", ")
        ))),
    }
}

/// The program's name and these arguments.
fn replaced<'a>(args: &[OsString], words: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    args.iter().take(1).cloned().chain(words.into_iter().map(OsString::from)).collect()
}

/// The words that are commands.
pub(super) const WORDS: [&str; 12] = [
    "get",
    "help",
    "history",
    "list",
    "locate",
    "neighbours",
    "search",
    "share",
    "show",
    "unregister",
    "verify",
    "version",
];

/// Whether a file of this name is here, and is a manifest.
fn is_manifest(name: &str) -> bool {
    input::read(Path::new(name)).is_ok_and(|bytes| Manifest::parse(&bytes).is_ok())
}

/// Only of what was typed: in the environment `--no-lan` may stand for whenever nothing else is said.
fn is_consistent<A: CommandFactory>(args: &[OsString]) -> Result<(), clap::Error> {
    let has = |flag: &str| args.iter().take_while(|arg| *arg != "--").any(|arg| arg == flag);
    match has("--lan") && has("--no-lan") {
        true => Err(wrong::<A>("--lan asks the local network alone, --no-lan never: give one of them")),
        false => Ok(()),
    }
}

fn get(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    is_consistent::<GetArgs>(&args)?;
    let (GetArgs { args, lan, all }, typed) = read(args, &dot_env)?;
    let mut settings = member::settings_of(args, &typed, dot_env)?;
    settings.all = all;
    // What a name means decides what is fetched.
    let asked = match settings.conductors_from {
        Origin::DotEnv => Vec::new(),
        _ => settings.conductors.clone(),
    };
    let via = Via { address: settings.listen, interface: settings.interface.clone() };
    for named in std::mem::take(&mut settings.compositions) {
        let name = named.to_str().ok_or_else(|| wrong::<GetArgs>("the name is not UTF-8 text"))?;
        if is_magnet(name) {
            settings.compositions.push(named);
        } else {
            let near = Near { alone: lan, never: !settings.lan, via: via.clone() };
            settings.gets.push(Get::new(name, asked.clone(), near).map_err(wrong::<GetArgs>)?);
        }
    }
    if all && (!settings.compositions.is_empty() || settings.gets.iter().any(|get| get.typed.key.is_some())) {
        return Err(wrong::<GetArgs>("--all fetches all that a host has: give HOST/ alone, without a name"));
    }
    if settings.conductors_from == Origin::DotEnv && settings.gets.iter().any(|get| get.typed.conductor.is_none()) {
        let named: Vec<String> = settings.conductors.iter().map(Endpoint::to_string).collect();
        settings.notes.push(format!(
            "{} is named in .env, which may have come with a download: it is not asked what a name means; \
             --conductor or ORCHESTRA_CONDUCTOR has it asked",
            named.join(" and ")
        ));
    }
    Ok(Told::Share(Box::new(settings)))
}

fn list(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    is_consistent::<ListArgs>(&args)?;
    let (ListArgs { all, asked }, _) = read(args, &dot_env)?;
    let what = What::List { whom: Whom::new(asked.conductor, asked.local.near()), all };
    Ok(Told::Say(Box::new(Question { what, json: asked.json, log_dir: asked.log.log_dir(), notes: dot_env.notes })))
}

fn locate(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    is_consistent::<LocateArgs>(&args)?;
    let (LocateArgs { name, summary, asked }, _) = read(args, &dot_env)?;
    let get = Get::new(&name, asked.conductor, asked.local.near()).map_err(wrong::<LocateArgs>)?;
    let what = What::Locate { get, summary };
    Ok(Told::Say(Box::new(Question { what, json: asked.json, log_dir: asked.log.log_dir(), notes: dot_env.notes })))
}

fn show(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    let (ShowArgs { path, json, log }, _) = read(args, &dot_env)?;
    Ok(Told::Say(Box::new(Question { what: What::Show { path }, json, log_dir: log.log_dir(), notes: dot_env.notes })))
}

fn history(args: Vec<OsString>, dot_env: DotEnv) -> Result<Told, clap::Error> {
    let (HistoryArgs { json, log }, _) = read(args, &dot_env)?;
    let what = What::History;
    Ok(Told::Say(Box::new(Question { what, json, log_dir: log.log_dir(), notes: dot_env.notes })))
}

/// List what is shared: what a conductor's catalogue has, and what is found on the local network
///
/// One line a composition: its size, its parts, how many members share it now, how many of them have all of it, and how
/// long ago it was registered.
#[derive(Parser, Clone, Debug)]
#[command(name = "member list", bin_name = "member list", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help("member list --lan"))]
struct ListArgs {
    /// Also what nobody holds now
    #[arg(long, env = "ORCHESTRA_ALL", hide_env_values = true, value_parser = flag())]
    all: bool,

    #[command(flatten)]
    asked: Asked,
}

/// Say which members have a composition
#[derive(Parser, Clone, Debug)]
#[command(name = "member locate", bin_name = "member locate", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help("member locate 10.0.0.1/big.iso"))]
struct LocateArgs {
    /// The composition: [HOST[:PORT]/][OWNER/]NAME, or its info-hash
    #[arg(value_name = "NAME|HASH")]
    name: String,

    /// Say in a few lines who has had all of it, in what time, and who lacks it
    ///
    /// As the conductor remembers it, for a day: also of members that have left. The members themselves are not asked.
    #[arg(long)]
    summary: bool,

    #[command(flatten)]
    asked: Asked,
}

/// Print what a manifest or a .torrent says
///
/// Nothing is fetched, and nobody is asked.
#[derive(Parser, Clone, Debug)]
#[command(name = "member show", bin_name = "member show", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help("member show big.orch"))]
struct ShowArgs {
    /// The manifest
    #[arg(value_name = "FILE")]
    path: PathBuf,

    /// Write one JSON object on stdout instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag())]
    json: bool,

    #[command(flatten)]
    log: Log,
}

/// Print what came and went on this machine, the newest last
///
/// What was fetched, what was shared, and how much was sent to whom, by any member of this user. It is kept in the user's
/// state folder, the newest few thousand lines.
#[derive(Parser, Clone, Debug)]
#[command(name = "member history", bin_name = "member history", max_term_width = 120, styles = STYLES)]
#[command(after_help = after_help("member history --json"))]
struct HistoryArgs {
    /// Write one JSON object a line on stdout instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag())]
    json: bool,

    #[command(flatten)]
    log: Log,
}

/// Who is asked, and how the answer is shown.
#[derive(clap::Args, Clone, Debug)]
struct Asked {
    /// Ask this conductor; of several the first that answers counts
    ///
    /// Without a port it is 9999. A member is asked so too, at its own port. Default: the one on this machine.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(env = "ORCHESTRA_CONDUCTOR", hide_env_values = true)]
    conductor: Vec<Endpoint>,

    #[command(flatten)]
    local: Local,

    /// Write one JSON object a line on stdout instead of text for people
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag())]
    json: bool,

    #[command(flatten)]
    log: Log,
}

/// Whether the local network is asked.
#[derive(clap::Args, Clone, Debug)]
struct Local {
    /// Ask the local network alone, and no conductor that it does not lead to
    #[arg(long, env = "ORCHESTRA_LAN", hide_env_values = true, value_parser = flag())]
    lan: bool,

    /// Do not ask the local network
    ///
    /// Default: members and conductors that are found there within one and a half seconds are asked too (DNS-SD).
    #[arg(long, env = "ORCHESTRA_NO_LAN", hide_env_values = true, value_parser = flag())]
    no_lan: bool,

    /// Ask the local network only through this network interface
    ///
    /// Linux only. Default: on every network of this machine.
    #[arg(long, value_name = "NAME", env = "ORCHESTRA_INTERFACE", hide_env_values = true)]
    interface: Option<String>,
}

impl Local {
    fn near(self) -> Near {
        Near { alone: self.lan, never: self.no_lan, via: Via { address: None, interface: self.interface } }
    }
}

fn after_help(example: &str) -> String {
    let codes = [
        Exit::Done,
        Exit::Other,
        Exit::Usage,
        Exit::BadManifest,
        Exit::NobodyAnswered,
        Exit::Refused,
        Exit::UnknownName,
        Exit::Interrupted,
    ];
    format!("Example:\n  {example}\n\n{}", Exit::help(&codes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &[&str], dot_env: &str) -> Result<Told, clap::Error> {
        let args = std::iter::once(&"member").chain(args).map(OsString::from);
        parse(args.collect(), DotEnv::parse(dot_env))
    }

    fn question(args: &[&str], dot_env: &str) -> Question {
        match told(args, dot_env).unwrap() {
            Told::Say(question) => *question,
            other => panic!("{other:?}"),
        }
    }

    fn shown(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(Endpoint::to_string).collect()
    }

    #[test]
    fn the_command_lines_are_sound() {
        ListArgs::command().debug_assert();
        LocateArgs::command().debug_assert();
        ShowArgs::command().debug_assert();
        HistoryArgs::command().debug_assert();
        GetArgs::command().debug_assert();
    }

    #[test]
    fn the_catalogue_of_this_machine_is_the_default() {
        let What::List { whom, all } = question(&["list"], "").what else { panic!("no list") };
        assert_eq!((shown(&whom.conductors), all), (vec!["localhost:9999".to_owned()], false));
        assert!(whom.near == Some(Via::default()) && !whom.are_named);
        let question = question(&["list", "--all", "--json"], "ORCHESTRA_CONDUCTOR=head,tail:1");
        assert!(question.json);
        let What::List { whom, all } = question.what else { panic!("no list") };
        assert_eq!((shown(&whom.conductors), all), (vec!["head:9999".to_owned(), "tail:1".to_owned()], true));
        assert!(whom.are_named);
    }

    #[test]
    fn the_local_network_is_asked_too_or_alone_or_never() {
        let whom = |args: &[&str], dot_env| match question(args, dot_env).what {
            What::List { whom, .. } | What::Locate { get: Get { whom, .. }, .. } => whom,
            What::Show { .. } | What::History | What::Unregister(_) => panic!("nobody is asked"),
        };
        let alone = whom(&["list", "--lan", "--interface", "eth1"], "ORCHESTRA_NO_LAN=1\nORCHESTRA_CONDUCTOR=head");
        assert_eq!(alone.near, Some(Via { address: None, interface: Some("eth1".to_owned()) }));
        assert!(alone.conductors.is_empty() && !alone.are_named);
        assert_eq!(whom(&["list", "--no-lan"], "").near, None);
        assert_eq!(whom(&["locate", "x"], "ORCHESTRA_NO_LAN=yes").near, None);
        assert_eq!(whom(&["locate", "x"], "").near, Some(Via::default()));
        assert_eq!(whom(&["locate", "head/x"], "").near, None);
        assert_eq!(told(&["locate", "head/x", "--lan"], "").unwrap_err().exit_code(), 2);
        for args in [&["list"][..], &["locate", "x"], &["get", "x"]] {
            let error = told(&[args, &["--no-lan", "--lan"]].concat(), "").unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("give one of them"), "{error}");
        }
        let Told::Share(settings) = told(&["get", "x", "--lan"], "").unwrap() else { panic!("not shared") };
        assert!(settings.gets[0].whom.conductors.is_empty() && settings.gets[0].whom.near.is_some());
        assert_eq!(told(&["x.orch", "--lan"], "").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn who_is_asked_is_repeated_in_hints() {
        let options = |args: &[&str]| match question(args, "").what {
            What::List { whom, .. } | What::Locate { get: Get { whom, .. }, .. } => whom.to_string(),
            What::Show { .. } | What::History | What::Unregister(_) => panic!("nobody is asked"),
        };
        assert_eq!(options(&["list"]), "");
        assert_eq!(options(&["list", "--lan"]), " --lan");
        assert_eq!(options(&["list", "--conductor", "a,b:1"]), " --conductor a:9999 --conductor b:1");
        assert_eq!(options(&["locate", "a/x"]), " --conductor a:9999");
    }

    #[test]
    fn get_has_the_options_of_a_member() {
        let Told::Share(settings) = told(&["get", "head/x.iso", "-o", "d", "--timeout", "5"], "").unwrap() else {
            panic!("not shared")
        };
        let get = settings.gets[0].clone();
        assert_eq!(shown(&get.whom.conductors), ["head:9999"]);
        assert_eq!((get.typed.key.unwrap().to_string(), settings.output.to_str()), ("x.iso".to_owned(), Some("d")));
        let several = told(&["get", "head/", "x", "magnet:?xt=urn:btih:00"], "").unwrap();
        let Told::Share(settings) = several else { panic!("not shared") };
        assert_eq!((settings.gets.len(), settings.compositions.len()), (2, 1));
        let error = told(&["get", "--help"], "").unwrap_err();
        let help = error.to_string();
        assert!(help.contains("member get") && help.contains("NAME|HASH") && !help.contains("FILE.orch"), "{help}");
    }

    #[test]
    fn what_a_name_means_is_not_asked_of_who_is_named_in_dot_env() {
        let asked = |args: &[&str], dot_env: &str| match told(args, dot_env).unwrap() {
            Told::Share(settings) => {
                (shown(&settings.gets[0].whom.conductors), settings.conductors_from, settings.notes)
            }
            other => panic!("{other:?}"),
        };
        let (conductors, from, notes) = asked(&["get", "x"], "ORCHESTRA_CONDUCTOR=evil");
        assert_eq!((conductors, from), (vec!["localhost:9999".to_owned()], Origin::DotEnv));
        assert!(notes.iter().any(|note| note.contains("evil:9999 is named in .env")), "{notes:?}");
        let (conductors, _, notes) = asked(&["get", "head/x"], "ORCHESTRA_CONDUCTOR=evil");
        assert_eq!((&conductors[0][..], notes.len()), ("head:9999", 0));
        let (conductors, from, _) = asked(&["get", "x", "--conductor", "head"], "ORCHESTRA_CONDUCTOR=evil");
        assert_eq!((&conductors[0][..], from), ("head:9999", Origin::Person));
        let (_, from, _) = asked(&["get", "x"], "");
        assert_eq!(from, Origin::Person);
    }

    #[test]
    fn a_host_without_a_port_is_asked_as_a_member_too() {
        let members = |text: &str| match question(&["locate", text], "").what {
            What::Locate { get, .. } => shown(&get.whom.members),
            other => panic!("{other:?}"),
        };
        assert_eq!(members("head/x"), ["head:9998"]);
        assert_eq!(members("10.0.0.1/alice/x"), ["10.0.0.1:9998"]);
        assert_eq!(members("[fd00::1]/x"), ["[fd00::1]:9998"]);
        for text in ["head:9999/x", "head:7/x", "[fd00::1]:9999/x", "http://head/compositions/x", "x"] {
            assert!(members(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn help_and_version_are_words_too() {
        let text = |args: &[&str]| {
            let error = told(args, "").unwrap_err();
            (error.exit_code(), error.to_string())
        };
        assert_eq!(text(&["help"]), text(&["--help"]));
        assert_eq!(text(&["version"]), text(&["--version"]));
        assert_eq!(text(&["help", "get"]), text(&["get", "--help"]));
        assert_eq!(text(&["help", "verify"]).0, 0);
        let (code, wrong) = text(&["help", "gte"]);
        assert!(code == 2 && wrong.contains("verify"), "{wrong}");
        assert!(matches!(told(&["verify", "x.orch"], "").unwrap(), Told::Verify(_)));
    }

    #[test]
    fn only_the_first_word_is_a_command() {
        for args in [&["x.orch", "list"][..], &["./list"], &["--", "list"], &["lists"], &["--json", "list"]] {
            assert!(matches!(told(args, "").unwrap(), Told::Share(settings) if settings.gets.is_empty()), "{args:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for args in [&["get"][..], &["get", "a", ""], &["get", "a/b/c/d"], &["locate"], &["show"], &["list", "x"]] {
            assert_eq!(told(args, "").unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
