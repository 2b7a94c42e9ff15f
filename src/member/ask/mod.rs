//! Questions about compositions: `member list`, `locate` and `show`, and what a `member get` is to fetch.
//!
//! [`everyone`] asks a conductor and the local network, [`merged`] makes one list of what they say, [`named`] finds in it
//! what a person named.
//!
//! What a catalogue says is shown and nothing of it is trusted: its texts are escaped, and a manifest is taken only under
//! the info-hash that was asked for. Answers go to stdout, remarks to stderr.

mod choice;
mod everyone;
pub mod locate;
mod merged;
mod named;
mod show;
mod summary;
pub(super) mod table;
mod turns;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::load::Named;
use crate::{
    catalogue::{AskError, Client, Composition, Key, Listing, VERSION},
    cli::{
        Exit,
        ask::{Get, Question, What, Whom},
        unregister::Unregister,
    },
    manifest::{Endpoint, Fault, shown},
    metainfo::InfoHash,
    net::{
        listen::{ListenError, Listeners},
        via::Via,
    },
    ui::{Signs, json, output, to_stderr},
};
use everyone::{Source, everyone};
use locate::Located;
use merged::{Merged, Said, merge};
use show::ShowError;

use super::history::{History, HistoryError};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskingFailed {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Show(#[from] ShowError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("{error}{advice}")]
    Advised { error: AskError, advice: String },
    #[error(
        "nobody answers: {}nobody on the local network says what it shares; \
         member share FILE on another machine does, or name a conductor (--conductor HOST)",
        .conductor.as_ref().map(|conductor| format!("there is no conductor at {conductor}, and ")).unwrap_or_default()
    )]
    Nobody { conductor: Option<String> },
    #[error("nobody who answers has {name}{advice}")]
    Nowhere { name: String, advice: String },
    #[error("{}", .0.why())]
    Via(#[from] ListenError),
    #[error(transparent)]
    Load(#[from] super::load::LoadError),
    #[error("{name} may mean {count} compositions; take one by its info-hash:\n{table}")]
    Several { name: String, count: usize, table: String },
    #[error("what is said of {name} cannot be: {why}")]
    Nonsense { name: String, why: String },
    #[error("none was chosen")]
    NotChosen,
    #[error("the conductor's address has no place in the manifest: {0}")]
    Manifest(#[from] Fault),
    #[error("interrupted")]
    Interrupted,
}

impl AskingFailed {
    /// What was asked for is being hashed: it will be there soon.
    pub fn is_coming(&self) -> bool {
        matches!(self, Self::Ask(AskError::Coming { .. }))
    }

    /// No catalogue that was asked has it, or none answers.
    pub fn is_not_there(&self) -> bool {
        match self {
            Self::Ask(error) | Self::Advised { error, .. } => {
                matches!(error, AskError::Unknown { .. } | AskError::Unreachable { .. })
            }
            Self::Nobody { .. } | Self::Nowhere { .. } => true,
            Self::Show(_)
            | Self::History(_)
            | Self::Via(_)
            | Self::Nonsense { .. }
            | Self::Load(_)
            | Self::Several { .. }
            | Self::NotChosen
            | Self::Manifest(_)
            | Self::Interrupted => false,
        }
    }

    /// What asking again later may find, to be read after "waiting for"; None: waiting would not help.
    pub fn awaited(&self) -> Option<String> {
        match self {
            Self::Ask(error) | Self::Advised { error, .. } => match error {
                AskError::Unreachable { conductor, .. } => Some(format!("conductor {conductor} to answer")),
                AskError::Unknown { conductor, name } => {
                    Some(format!("somebody to share {name}: conductor {conductor} has none yet"))
                }
                AskError::Empty { conductor } => Some(format!("something to be shared at conductor {conductor}")),
                AskError::Coming { .. } => Some("its hashing to end, where it is shared".to_owned()),
                _ => None,
            },
            Self::Nobody { .. } => Some("a conductor, or a member of the local network, to answer".to_owned()),
            Self::Nowhere { name, .. } => Some(format!("somebody to share {name}: nobody who answers has it yet")),
            _ => None,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Ask(error) | Self::Advised { error, .. } => error.exit(),
            Self::Show(error) => error.exit(),
            Self::Load(error) => error.exit(),
            Self::Nobody { .. } => Exit::NobodyAnswered,
            Self::NotChosen | Self::Several { .. } => Exit::Usage,
            Self::Nowhere { .. } => Exit::UnknownName,
            Self::Manifest(_) | Self::History(_) | Self::Via(_) | Self::Nonsense { .. } => Exit::Other,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

/// Answers a question on stdout; gives the exit code.
pub async fn say(question: Question, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let answer = stop.run_until_cancelled(answer(&question)).await.unwrap_or(Err(AskingFailed::Interrupted));
    match answer {
        Ok(answer) => output::exit_of(output::print(&answer), Exit::Done),
        Err(error) => {
            log::error!("{error}");
            to_stderr(&format!("error: {error}"));
            if question.json {
                json::failed(None, error.exit(), &error.to_string(), start.elapsed());
            }
            error.exit()
        }
    }
}

async fn answer(question: &Question) -> Result<String, AskingFailed> {
    match &question.what {
        What::List { whom, all } => Ok(list(listing(whom).await?, whom, *all, question.json)),
        What::Locate { get, summary: true } => {
            let roster = named::roster(get).await?;
            Ok(if question.json { summary::json(&roster) } else { summary::text(&roster) })
        }
        What::Locate { get, summary: false } => {
            let located = locate(get, &get.whom.near.clone().unwrap_or_default()).await?;
            Ok(match question.json {
                true => located.json(),
                false => {
                    let Composition { name, info_hash, members, complete, .. } = &located.composition;
                    to_stderr(&summary(name, *info_hash, *members, *complete));
                    located.text(width(), Signs::of_locale())
                }
            })
        }
        What::Unregister(told) => unregister(told, question.json).await,
        What::Show { path } => Ok(show_file(path.clone(), question.json).await?),
        What::History => {
            let read = || History::of_this_user().map_or(Ok(Vec::new()), |history| history.read());
            let records = super::blocking(read).await?;
            Ok(match question.json {
                true => lines(records.into_iter()),
                false => records.iter().map(|record| record.line() + "\n").collect(),
            })
        }
    }
}

/// Takes it out of each catalogue that was named, and says what that was.
async fn unregister(told: &Unregister, json: bool) -> Result<String, AskingFailed> {
    let mut text = String::new();
    for conductor in &told.conductors {
        let client = Client::new(conductor.clone(), told.token.clone())?;
        let removed = client.remove(&told.key).await.map_err(|error| match error {
            AskError::Several { name, candidates, .. } => {
                let table = choice::table(&candidates, now(), None).trim_end().to_owned();
                AskingFailed::Several { name, count: candidates.len(), table }
            }
            error => error.into(),
        })?;
        text += &match json {
            true => lines([Line { v: VERSION, composition: removed, from: vec![conductor.to_string()] }].into_iter()),
            false => {
                format!("{} ({}) is out of the catalogue of {conductor}\n", shown(&removed.name), removed.info_hash)
            }
        };
    }
    Ok(text)
}

/// Who has it, and which parts of it.
///
/// # Errors
/// Nobody answers, or nothing, or several things have this name.
pub async fn locate(get: &Get, via: &Via) -> Result<Located, AskingFailed> {
    let roster = named::roster(get).await?;
    let name = shown(&roster.composition.name).into_owned();
    locate::ask(roster, via).await.map_err(|why| AskingFailed::Nonsense { name, why })
}

async fn show_file(path: PathBuf, json: bool) -> Result<String, ShowError> {
    super::blocking(move || show::show(&path, json)).await
}

/// A person at the terminal, who is asked one thing after the other.
#[derive(Default)]
pub struct Person(tokio::sync::Mutex<()>);

/// What is meant, and where it is. `person`: who is asked which of several is meant.
///
/// # Errors
/// Nobody answers, or nothing, or several things have this name.
pub async fn get(get: &Get, person: Option<&Person>, stop: &CancellationToken) -> Result<Named, AskingFailed> {
    let got = stop.run_until_cancelled(named::fetch(get, person)).await;
    got.unwrap_or(Err(AskingFailed::Interrupted))
}

/// All that is shared where this is asked for.
///
/// # Errors
/// Nobody answers, or shares anything.
pub async fn all_of(get: &Get) -> Result<Vec<Get>, AskingFailed> {
    named::all(get).await
}

/// What there is, at everybody who was asked.
pub struct Listed {
    pub compositions: Vec<Merged<Source>>,
    /// The conductor that answered, if one did.
    pub conductor: Option<Endpoint>,
}

/// Asks everybody what there is.
///
/// # Errors
/// Nobody answers.
pub async fn listing(whom: &Whom) -> Result<Listed, AskingFailed> {
    can_be_asked(whom)?;
    let heard = everyone(whom, |client| async move { client.list().await }).await;
    heard.tell_left_out();
    if heard.answers.is_empty() {
        return Err(heard.nobody());
    }
    if let Some(error) = heard.conductor.as_ref().filter(|_| whom.are_named) {
        to_stderr(&format!("{error}; this is what the local network has"));
    }
    let conductor = heard.answers.first().filter(|(source, _)| !source.is_near);
    let conductor = conductor.map(|(source, _)| source.client.conductor().clone());
    let said = heard.answers.into_iter().map(|(source, Listing { compositions, member, .. })| Said {
        source,
        is_member: member.is_some(),
        compositions,
    });
    Ok(Listed { compositions: merge(said), conductor })
}

/// An interface or an address that this machine has not got would only look as if nobody were there.
fn can_be_asked(whom: &Whom) -> Result<(), ListenError> {
    match &whom.near {
        Some(via) => Listeners::bind_via(via, 0, 0).map(drop),
        None => Ok(()),
    }
}

/// How alike two names have to be for one to be suggested for the other (Jaro and Winkler's measure, at most 1).
const ALIKE: f64 = 0.8;
/// Names that are listed where none was given, at most.
const NAMED: usize = 10;
/// Names that are suggested, at most.
const SUGGESTIONS: usize = 3;

/// What may be named instead of nothing.
fn some_names(candidates: &[Composition], whom: &Whom) -> String {
    let names: Vec<_> = candidates.iter().take(NAMED).map(|there| shown(&there.name)).collect();
    let more = if candidates.len() > NAMED { format!(" and so on (member list{whom})") } else { String::new() };
    format!("; name one behind the /: {}{more}", names.join(", "))
}

/// What may have been meant instead.
fn near<'a>(key: &Key, whom: &Whom, there: impl Iterator<Item = &'a Composition>) -> String {
    let wanted = match key {
        Key::Name(name) | Key::Owned { name, .. } => name.as_str().to_lowercase(),
        Key::Hash(_) => String::new(),
    };
    let likeness = |composition: &Composition| {
        let name = composition.name.to_lowercase();
        let holds = wanted.len() > 2 && name.contains(&wanted);
        let alike = strsim::jaro_winkler(&wanted, &name);
        if holds { alike.max(ALIKE) } else { alike }
    };
    let mut found: Vec<(f64, &str)> = there.map(|found| (likeness(found), found.name.as_str())).collect();
    found.retain(|(alike, _)| *alike >= ALIKE);
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.dedup_by(|a, b| a.1 == b.1);
    let names: Vec<_> = found.iter().take(SUGGESTIONS).map(|(_, name)| shown(name)).collect();
    match names.is_empty() {
        true => format!("; member list --all{whom} shows what there is"),
        false => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// One line of `member list --json`.
#[derive(Serialize)]
struct Line {
    v: u32,
    #[serde(flatten)]
    composition: Composition,
    /// Whose lists it is in: `HOST:PORT` of conductors and members.
    from: Vec<String>,
}

/// What there is as a table, or as one object a line.
fn list(Listed { compositions, conductor }: Listed, whom: &Whom, all: bool, json: bool) -> String {
    let there = compositions.len();
    let held: Vec<_> = compositions.into_iter().filter(|found| all || found.composition.members > 0).collect();
    if json {
        return lines(held.into_iter().map(|Merged { composition, sources }| {
            let from = sources.iter().map(|(source, _)| source.client.conductor().to_string()).collect();
            Line { v: VERSION, composition, from }
        }));
    }
    match (there - held.len(), &conductor) {
        (_, Some(conductor)) if there == 0 => to_stderr(&format!(
            "the catalogue of {conductor} is empty: composer FILE {conductor} --register puts something in"
        )),
        (_, None) if there == 0 => to_stderr("nothing is shared on the local network now"),
        (0, _) => {}
        (hidden, _) => to_stderr(&format!("{hidden} more that nobody holds now: member list --all{whom}")),
    }
    match held.is_empty() {
        true => String::new(),
        false => {
            let origins: Vec<_> = held.iter().map(origin).collect();
            let held: Vec<_> = held.into_iter().map(|found| found.composition).collect();
            let expected = whom.are_named.then_some(CONDUCTOR);
            table::compositions(&held, &origins, expected, now()).render(width(), Signs::of_locale())
        }
    }
}

/// The conductor spoke of it, and nobody else.
const CONDUCTOR: &str = "conductor";

/// Who spoke of it, for people.
fn origin(found: &Merged<Source>) -> &'static str {
    let near = |is_near: bool| found.sources.iter().any(|(source, _)| source.is_near == is_near);
    match (near(false), near(true)) {
        (true, true) => "both",
        (true, false) => CONDUCTOR,
        (false, _) => "network",
    }
}

fn summary(name: &str, hash: InfoHash, members: u32, complete: u32) -> String {
    let name = shown(name);
    match members {
        0 => format!("{name} ({hash}): nobody has it now"),
        1 => format!("{name} ({hash}): 1 member, {complete} of them complete"),
        _ => format!("{name} ({hash}): {members} members, {complete} of them complete"),
    }
}

/// One JSON object a line. Plain data with text for keys always can be written.
fn lines(objects: impl Iterator<Item = impl Serialize>) -> String {
    objects.filter_map(|object| serde_json::to_string(&object).ok()).map(|line| line + "\n").collect()
}

/// Columns of the terminal on stdout; None where there is none.
fn width() -> Option<usize> {
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    columns.filter(|columns| *columns > 0 && io::stdout().is_terminal())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;

    fn there(names: &[&str]) -> Vec<Composition> {
        let composition = |name: &&str| Composition {
            name: (*name).to_owned(),
            info_hash: InfoHash([1; 20]),
            size: 1,
            part_size: 16_384,
            parts: 1,
            owner: None,
            registered: 0,
            members: 0,
            complete: 0,
        };
        names.iter().map(composition).collect()
    }

    #[test]
    fn near_names_are_suggested_the_nearest_first() {
        let whom =
            Whom { conductors: vec!["head:7".parse().unwrap()], members: Vec::new(), are_named: true, near: None };
        let near = |name: &str, names: &[&str]| near(&Key::Name(Name::new(name).unwrap()), &whom, there(names).iter());
        assert_eq!(near("ubunto.iso", &["debian.iso", "ubuntu.iso", "ubuntu.iso"]), "; did you mean ubuntu.iso?");
        assert_eq!(near("debian", &["a.iso", "my-debian-12.iso"]), "; did you mean my-debian-12.iso?");
        assert_eq!(near("xy", &["xy\u{1b}"]), "; did you mean xy\\u{1b}?");
        assert!(near("music", &["a.iso"]).contains("member list --all --conductor head:7 shows"));
    }
}
