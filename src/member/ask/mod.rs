//! Questions about compositions: `member list`, `locate` and `show`, and the manifest of a `member get`.
//!
//! What a catalogue says is shown and nothing of it is trusted: its texts are escaped, and a manifest is taken only under
//! the info-hash that was asked for. Answers go to stdout, remarks to stderr.

mod choice;
pub mod locate;
mod show;
pub(super) mod table;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{AskError, Client, Composition, Entry, Key, VERSION},
    cli::{
        Exit,
        ask::{Get, Question, What},
    },
    manifest::{Endpoint, Extra, Fault, Manifest, shown},
    metainfo::InfoHash,
    net::via::Via,
    ui::{Signs, to_stderr},
};
use locate::Located;
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
    #[error("what conductor {conductor} says of {name} cannot be: {why}")]
    Nonsense { conductor: Endpoint, name: String, why: String },
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
        let (Self::Ask(error) | Self::Advised { error, .. }) = self else { return false };
        matches!(error, AskError::Unknown { .. } | AskError::Unreachable { .. })
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Ask(error) | Self::Advised { error, .. } => error.exit(),
            Self::Show(error) => error.exit(),
            Self::NotChosen => Exit::Usage,
            Self::Manifest(_) | Self::History(_) | Self::Nonsense { .. } => Exit::Other,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

/// Answers a question on stdout; gives the exit code.
pub async fn say(question: Question, stop: CancellationToken) -> Exit {
    let answer = stop.run_until_cancelled(answer(&question)).await.unwrap_or(Err(AskingFailed::Interrupted));
    match answer {
        Ok(answer) => {
            // Nobody left to read it is no error.
            let mut out = io::stdout();
            let _ = out.write_all(answer.as_bytes()).and_then(|()| out.flush());
            Exit::Done
        }
        Err(error) => {
            log::error!("{error}");
            to_stderr(&format!("member: {error}"));
            error.exit()
        }
    }
}

async fn answer(question: &Question) -> Result<String, AskingFailed> {
    match &question.what {
        What::List { conductors, all } => {
            let (conductor, compositions) = listing(conductors).await?;
            Ok(list(&conductor, compositions, *all, question.json))
        }
        What::Locate { get } => {
            let located = locate(get, &Via::default()).await?;
            Ok(match question.json {
                true => located.json(),
                false => {
                    let Composition { name, info_hash, members, complete, .. } = &located.composition;
                    to_stderr(&summary(name, *info_hash, *members, *complete));
                    located.text(width(), Signs::of_locale())
                }
            })
        }
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

/// What is in a catalogue, and whose it is.
///
/// # Errors
/// Nobody answers, or not with a catalogue.
pub async fn listing(conductors: &[Endpoint]) -> Result<(Endpoint, Vec<Composition>), AskError> {
    let (client, compositions) = first(conductors, async |client| client.list().await).await?;
    Ok((client.conductor().clone(), compositions))
}

/// Who has it, and which parts of it.
///
/// # Errors
/// Nobody answers, or nothing, or several things have this name.
pub async fn locate(get: &Get, via: &Via) -> Result<Located, AskingFailed> {
    let members = async |client: &Client| {
        let key = match &get.typed.key {
            Some(key) => key.clone(),
            None => Key::Hash(client.only().await?.info_hash),
        };
        client.members(&key).await
    };
    let (client, roster) = named(get, members).await?;
    let (conductor, name) = (client.conductor().clone(), shown(&roster.composition.name).into_owned());
    log::info!("asked {conductor}");
    locate::ask(roster, via).await.map_err(|why| AskingFailed::Nonsense { conductor, name, why })
}

async fn show_file(path: PathBuf, json: bool) -> Result<String, ShowError> {
    super::blocking(move || show::show(&path, json)).await
}

/// The manifest that is meant, with the conductor that was asked among its own. `may_ask`: a person at a terminal is
/// asked which of several is meant.
///
/// # Errors
/// Nobody answers, or nothing, or several things have this name.
pub async fn get(get: &Get, may_ask: bool, stop: &CancellationToken) -> Result<Manifest, AskingFailed> {
    let got = stop.run_until_cancelled(fetch(get, may_ask)).await;
    got.unwrap_or(Err(AskingFailed::Interrupted))
}

async fn fetch(get: &Get, may_ask: bool) -> Result<Manifest, AskingFailed> {
    let find = async |client: &Client| match &get.typed.key {
        Some(key) => client.find(key).await,
        None => client.only().await,
    };
    let found = named(get, async |client| match find(client).await {
        Err(AskError::Several { candidates, .. }) if may_ask && get.typed.key.is_some() && choice::is_possible() => {
            Ok(candidates)
        }
        found => found.map(|composition| vec![composition]),
    });
    let (client, mut candidates) = found.await?;
    let meant = match candidates.len() {
        1 => candidates.remove(0),
        _ => super::blocking(move || choice::choose(candidates, now())).await.ok_or(AskingFailed::NotChosen)?,
    };
    let mut manifest = client.manifest(meant.info_hash).await?;
    also_ask(&mut manifest, client.conductor())?;
    Ok(manifest)
}

/// Names a conductor in a manifest that does not name it yet: it knows the members, whoever else does.
fn also_ask(manifest: &mut Manifest, conductor: &Endpoint) -> Result<(), Fault> {
    if manifest.conductors().any(|known| known == *conductor) {
        return Ok(());
    }
    let further = manifest.conductors().skip(usize::from(!manifest.conductor.is_unknown()));
    let all = further.chain([conductor.clone()]);
    let lines = all.map(|endpoint| Extra::new("conductor", &endpoint.to_string())).collect::<Result<_, _>>()?;
    manifest.replace(lines)
}

/// Asks one conductor after the other; the first that answers counts.
async fn first<T>(
    conductors: &[Endpoint],
    ask: impl AsyncFn(&Client) -> Result<T, AskError>,
) -> Result<(Client, T), AskError> {
    let mut result = Err(AskError::Client("no conductor is named".to_owned()));
    for conductor in conductors {
        let client = Client::new(conductor.clone(), None)?;
        match ask(&client).await {
            Ok(answer) => return Ok((client, answer)),
            Err(error @ AskError::Unreachable { .. }) => {
                log::info!("{error}");
                result = Err(error);
            }
            Err(error) => return Err(error),
        }
    }
    result
}

/// As [`first`], for a name: if there is no such one, or several, the error says what there is.
async fn named<T>(get: &Get, ask: impl AsyncFn(&Client) -> Result<T, AskError>) -> Result<(Client, T), AskingFailed> {
    let error = match first(&get.conductors, ask).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let advice = match &error {
        AskError::Unknown { .. } => {
            let (_, there) = listing(&get.conductors).await?;
            get.typed.key.as_ref().map(|key| near(key, &there)).unwrap_or_default()
        }
        AskError::Several { candidates, .. } if get.typed.key.is_none() => some_names(candidates),
        AskError::Several { candidates, .. } => {
            format!("; take one by its info-hash:\n{}", choice::table(candidates, now(), None).trim_end())
        }
        _ => return Err(error.into()),
    };
    Err(AskingFailed::Advised { error, advice })
}

/// How alike two names have to be for one to be suggested for the other (Jaro and Winkler's measure, at most 1).
const ALIKE: f64 = 0.8;
/// Names that are listed where none was given, at most.
const NAMED: usize = 10;
/// Names that are suggested, at most.
const SUGGESTIONS: usize = 3;

/// What may be named instead of nothing.
fn some_names(candidates: &[Composition]) -> String {
    let names: Vec<_> = candidates.iter().take(NAMED).map(|there| shown(&there.name)).collect();
    let more = if candidates.len() > NAMED { " and so on (member list)" } else { "" };
    format!("; name one behind the /: {}{more}", names.join(", "))
}

/// What may have been meant instead.
fn near(key: &Key, there: &[Composition]) -> String {
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
    let mut found: Vec<(f64, &str)> = there.iter().map(|found| (likeness(found), found.name.as_str())).collect();
    found.retain(|(alike, _)| *alike >= ALIKE);
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.dedup_by(|a, b| a.1 == b.1);
    let names: Vec<_> = found.iter().take(SUGGESTIONS).map(|(_, name)| shown(name)).collect();
    match names.is_empty() {
        true => "; member list --all shows what there is".to_owned(),
        false => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// A catalogue as a table, or as one object a line.
fn list(conductor: &Endpoint, compositions: Vec<Composition>, all: bool, json: bool) -> String {
    let there = compositions.len();
    let held: Vec<Composition> = compositions.into_iter().filter(|found| all || found.members > 0).collect();
    if json {
        return lines(held.into_iter().map(|composition| Entry { v: VERSION, composition }));
    }
    match there - held.len() {
        _ if there == 0 => to_stderr(&format!(
            "the catalogue of {conductor} is empty: composer FILE {conductor} --register puts something in"
        )),
        0 => {}
        hidden => to_stderr(&format!("{hidden} more that nobody holds now: member list --all")),
    }
    match held.is_empty() {
        true => String::new(),
        false => table::compositions(&held, now()).render(width()),
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
        let near = |name: &str, names: &[&str]| near(&Key::Name(Name::new(name).unwrap()), &there(names));
        assert_eq!(near("ubunto.iso", &["debian.iso", "ubuntu.iso", "ubuntu.iso"]), "; did you mean ubuntu.iso?");
        assert_eq!(near("debian", &["a.iso", "my-debian-12.iso"]), "; did you mean my-debian-12.iso?");
        assert_eq!(near("xy", &["xy\u{1b}"]), "; did you mean xy\\u{1b}?");
        assert!(near("music", &["a.iso"]).contains("member list"));
    }

    #[test]
    fn the_conductor_that_was_asked_is_named_once() {
        let text = "head:1\nx\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\nconductor tail:2\n";
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        for asked in ["tail:2", "here:3", "here:3", "head:1"] {
            also_ask(&mut manifest, &asked.parse().unwrap()).unwrap();
        }
        let conductors: Vec<_> = manifest.conductors().map(|endpoint| endpoint.to_string()).collect();
        assert_eq!(conductors, ["head:1", "tail:2", "here:3"]);
    }
}
