//! What the conductor tells: stdout for who started it, the log for later.
//!
//! One thread writes both, fed by a bounded queue, so that a full disk or a reader that does not read never holds up an
//! announce. What does not fit into the queue is counted, and the log says how many. The thread rests in proportion to
//! what it wrote: a flood of joins costs it a hundredth of a core or two, and a flood of announces does not wake it each time.

use std::{
    io::{self, Write},
    iter,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    Voice,
    catalogue::Catalogue,
    history::History,
    table::{Change, What},
};
use crate::{
    catalogue::Key,
    cli::Exit,
    manifest::shown,
    ui::{self, Report, json, report::counted},
};

/// Happenings that may wait to be written.
const QUEUE: usize = 4096;
/// The rest after all that waited was written, and more for each of these; some 2,000 a second are written at most.
const REST: Duration = Duration::from_millis(5);
const REST_FOR_EACH: Duration = Duration::from_micros(500);

/// Something to tell.
#[derive(Clone, Debug)]
pub enum Happening {
    Listening {
        addresses: Vec<SocketAddr>,
        /// Where others most likely reach it.
        reach: Option<SocketAddr>,
        /// Where `/metrics` is served besides.
        metrics: Option<SocketAddr>,
    },
    Change(Change),
    /// Something that who started it should know.
    Warning(String),
    /// The last.
    End,
}

/// Takes happenings and never waits.
#[derive(Clone)]
pub struct Reporter {
    queue: SyncSender<Happening>,
    lost: Arc<AtomicU64>,
}

impl Reporter {
    pub fn tell(&self, happening: Happening) {
        if self.queue.try_send(happening).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is known of a change beside what it says itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Name of the member.
    pub member: Option<String>,
    /// Name of the composition in the catalogue.
    pub composition: Option<String>,
    /// Seconds that the member took to get all of it.
    pub seconds: Option<f64>,
    /// It was reported before.
    pub is_old: bool,
}

impl Known {
    /// What history and catalogue know of it.
    pub fn of(change: &Change, history: &History, catalogue: &Catalogue) -> Self {
        let composition = catalogue.find(&Key::Hash(change.info_hash)).ok();
        let composition = composition.map(|entry| entry.name.as_str().to_owned());
        let Some(origin) = change.word_of else { return Self { composition, ..Self::default() } };
        history.read(|book| {
            let completed = change.what == What::Completed;
            let is_old = completed && !book.is_to_be_told(&change.info_hash, &origin.id);
            let record = book.record(&change.info_hash, &origin.id);
            let took = record.and_then(|record| record.took()).filter(|_| completed);
            let seconds = took.map(|took| took.as_millis() as f64 / 1000.0);
            Self { member: record.and_then(|record| record.name.clone()), composition, seconds, is_old }
        })
    }
}

/// As [`start_with`], for a conductor that knows no names.
pub fn start(voice: Voice) -> (Reporter, oneshot::Receiver<()>) {
    start_with(voice, |_| Known::default())
}

/// Starts the thread that writes; `known` says what else is known of a change. The receiver hears when
/// [`Happening::End`] has been written.
pub fn start_with(
    voice: Voice,
    known: impl Fn(&Change) -> Known + Send + 'static,
) -> (Reporter, oneshot::Receiver<()>) {
    let (queue, happenings) = sync_channel(QUEUE);
    let (done, written) = oneshot::channel();
    let lost = Arc::new(AtomicU64::new(0));
    let reporter = Reporter { queue, lost: lost.clone() };
    thread::spawn(move || {
        write_all(&happenings, &lost, voice, known);
        let _ = done.send(());
    });
    (reporter, written)
}

fn write_all(happenings: &Receiver<Happening>, lost: &AtomicU64, voice: Voice, known: impl Fn(&Change) -> Known) {
    let (start, mut telling) = (Instant::now(), Telling::default());
    while let Ok(first) = happenings.recv() {
        let mut rest = REST;
        for happening in iter::once(first).chain(happenings.try_iter().take(QUEUE)) {
            write(&happening, voice, start, &known, &mut telling);
            if matches!(happening, Happening::End) {
                return;
            }
            rest += REST_FOR_EACH;
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            n => log::warn!("{n} joins and leaves came too fast to be logged"),
        }
        thread::sleep(rest);
    }
}

fn write(happening: &Happening, voice: Voice, start: Instant, known: impl Fn(&Change) -> Known, telling: &mut Telling) {
    let known = match happening {
        Happening::Change(change) => known(change),
        _ => Known::default(),
    };
    if known.is_old {
        return;
    }
    log(happening, &known);
    let text = match voice {
        Voice::Json if matches!(happening, Happening::End) => {
            // The same as that of composer and member.
            json::line(SystemTime::now(), &Report::End(ui::End::early(None, Exit::Done, start.elapsed())))
        }
        Voice::Json => serde_json::to_string(&line(happening, &known, now())).ok(),
        Voice::People => people(happening),
        Voice::Silent => None,
    };
    if let Some(text) = text {
        let mut out = io::stdout().lock();
        telling.heard(writeln!(out, "{text}").and_then(|()| out.flush()));
    }
}

/// How many lines are lost on stdout, which ends the telling and never the conductor: the log says so once, and once
/// more when lines arrive again.
#[derive(Default)]
struct Telling {
    lost: u64,
}

impl Telling {
    /// What came of writing a line.
    fn heard(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) if self.lost == 0 => {}
            Ok(()) => {
                let lost = std::mem::take(&mut self.lost);
                log::warn!("standard output takes lines again; {} lost", counted(lost, "line"));
            }
            Err(error) => {
                if self.lost == 0 {
                    log::warn!("what is told on standard output is lost: {error}; the conductor goes on");
                }
                self.lost += 1;
            }
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn log(happening: &Happening, known: &Known) {
    match happening {
        Happening::Listening { addresses, .. } => log::info!("listening on {}, TCP and UDP", list(addresses)),
        Happening::Change(change) => log::info!(
            "{}: {}{} {} ({} there)",
            &change.info_hash.to_string()[..8],
            known.member.as_deref().map(|name| format!("{} ", shown(name))).unwrap_or_default(),
            change.address,
            said(change.what),
            change.members
        ),
        Happening::Warning(text) => log::warn!("{text}"),
        Happening::End => log::info!("ended"),
    }
}

fn said(what: What) -> &'static str {
    match what {
        What::Joined => "joined",
        What::Moved => "is reached here now",
        What::Completed => "has it whole",
        What::Left => "left",
        What::Gone => "was cut off",
        What::Silent => "fell silent",
        What::Crowded => "gave way, since its address has the most",
        What::Replaced => "was started again",
    }
}

fn people(happening: &Happening) -> Option<String> {
    let (addresses, reach) = match happening {
        Happening::Listening { addresses, reach, .. } => (addresses, reach),
        Happening::Warning(text) => return Some(format!("note: {text}")),
        Happening::Change(_) | Happening::End => return None,
    };
    let mut text = format!("conductor listens on {}, TCP and UDP", list(addresses));
    if let Some(reach) = reach {
        text += &format!("\ncompose for it with: composer FILE {reach}");
    }
    Some(text)
}

fn list(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(" and ")
}

/// One line of `--json`; keys are only ever added.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<&'a [SocketAddr]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    composition: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

fn line<'a>(happening: &'a Happening, known: &'a Known, time: String) -> Line<'a> {
    let empty = |event| Line {
        v: 1,
        time,
        event,
        addresses: None,
        reach: None,
        metrics: None,
        hash: None,
        address: None,
        members: None,
        why: None,
        member: known.member.as_deref(),
        composition: known.composition.as_deref(),
        seconds: known.seconds,
        text: None,
    };
    match happening {
        Happening::Listening { addresses, reach, metrics } => {
            Line { addresses: Some(addresses), reach: *reach, metrics: *metrics, ..empty("listening") }
        }
        Happening::Change(change) => {
            let (event, why) = match change.what {
                What::Joined => ("joined", None),
                What::Moved => ("moved", None),
                What::Completed => ("completed", None),
                What::Left => ("left", Some("stopped")),
                What::Gone => ("left", Some("gone")),
                What::Silent => ("left", Some("silent")),
                What::Crowded => ("left", Some("crowded")),
                What::Replaced => ("left", Some("replaced")),
            };
            Line {
                hash: Some(change.info_hash.to_string()),
                address: Some(change.address),
                members: Some(change.members),
                why,
                ..empty(event)
            }
        }
        Happening::Warning(text) => Line { text: Some(text), ..empty("warning") },
        Happening::End => empty("end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::InfoHash;

    #[test]
    fn people_hear_where_it_listens_and_what_to_type() {
        let listening = Happening::Listening {
            addresses: vec![SocketAddr::from(([0, 0, 0, 0], 9999)), SocketAddr::from(([0; 8], 9999))],
            reach: Some(SocketAddr::from(([10, 0, 0, 1], 9999))),
            metrics: None,
        };
        assert_eq!(
            people(&listening).as_deref(),
            Some(
                "conductor listens on 0.0.0.0:9999 and [::]:9999, TCP and UDP\n\
                 compose for it with: composer FILE 10.0.0.1:9999"
            )
        );
    }

    #[test]
    fn programs_hear_who_left_and_why() {
        let change = Happening::Change(Change {
            info_hash: InfoHash([0xab; 20]),
            address: SocketAddr::from(([10, 0, 0, 1], 9998)),
            claimed: false,
            dial: false,
            stays: false,
            what: What::Silent,
            members: 2,
            word_of: None,
        });
        let known = Known { member: Some("pc-1".into()), composition: Some("x.iso".into()), ..Known::default() };
        assert_eq!(
            serde_json::to_string(&line(&change, &known, "now".into())).unwrap(),
            format!(
                r#"{{"v":1,"time":"now","event":"left","hash":"{}","address":"10.0.0.1:9998","members":2,"why":"silent","member":"pc-1","composition":"x.iso"}}"#,
                "ab".repeat(20)
            )
        );
    }
}
