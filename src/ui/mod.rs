//! What people and scripts see of a member, and the keys that they press.
//!
//! One [`Screen`] a process, in one of five forms: a bar on a terminal ([`terminal`], drawn from [`frame`]), plain lines
//! where there is none ([`plain`]), JSON lines ([`json`]), errors only, or [`kept`] for the menu, which has the whole terminal
//! as its [`canvas`]. Everybody tells it the same: a [`View`] ten times
//! a second, a [`Report`] when something happened. It takes no decision, and what it is told is already safe to print.
//! Progress and remarks go to stderr, results to stdout; nobody reading them is no error. A command whose work is what it
//! prints asks [`output`] whether it arrived.

pub mod canvas;
pub mod frame;
pub mod json;
pub mod kept;
pub mod keys;
pub mod output;
pub mod part_map;
pub mod plain;
pub mod report;
pub mod terminal;

pub use report::{End, Report};

use kept::News;
use output::Lost;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    cli::{LogDir, ScreenOptions},
    swarm::Snapshot,
};

/// The signs that a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Any of Unicode; else those of ASCII alone.
    pub unicode: bool,
}

impl Signs {
    /// As the locale says: the first of LC_ALL, LC_CTYPE and LANG that is set.
    pub fn of_locale() -> Self {
        let set = |key| std::env::var(key).ok().filter(|value| !value.is_empty());
        Self::of(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).as_deref())
    }

    fn of(locale: Option<&str>) -> Self {
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self { unicode: locale.contains("utf-8") || locale.contains("utf8") }
    }

    /// Cells of a bar, the full one first, as indicatif takes them.
    pub fn bar(self) -> &'static str {
        if self.unicode { "█░" } else { "#." }
    }

    /// The mark at the end of a text that was cut short, one column wide.
    pub fn ellipsis(self) -> char {
        if self.unicode { '…' } else { '~' }
    }

    /// The marks of download and upload rates.
    pub fn arrows(self) -> (&'static str, &'static str) {
        if self.unicode { ("↓", "↑") } else { ("down", "up") }
    }
}

/// One composition as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its name, safe for a terminal.
    pub name: String,
    pub phase: Phase,
    pub swarm: Snapshot,
    /// Time left until it is whole, where that can be told.
    pub eta: Option<Duration>,
    /// Time since the member started.
    pub elapsed: Duration,
}

/// What a member is doing about a composition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What the composition is is not known yet: so many members are asked, or there are none and this is waited for.
    Seeking {
        asked: usize,
        waiting_for: &'static str,
    },
    /// Hashing what is on disk; `done_bytes` of the composition's bytes are.
    Checking {
        done_bytes: u64,
    },
    /// Nothing comes; for what it waits, to be read after "waiting for".
    Waiting(String),
    Fetching,
    /// Every part is there; the whole file's checksum and the last writes are not.
    Verifying,
    /// Whole, and shared.
    Sharing,
}

impl Phase {
    /// Whether both do the same; how far they are does not count.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Checking { .. }, Self::Checking { .. }) => true,
            (Self::Seeking { asked: one, .. }, Self::Seeking { asked: two, .. }) if *one > 0 && *two > 0 => true,
            _ => self == other,
        }
    }
}

impl View {
    /// How much is done of what it is doing now, from 0 to 1.
    pub fn fraction(&self) -> f64 {
        let done = match &self.phase {
            Phase::Seeking { .. } => return 0.0,
            Phase::Waiting(_) if !self.is_known() => return 0.0,
            Phase::Checking { done_bytes } => *done_bytes,
            Phase::Fetching | Phase::Waiting(_) => self.swarm.bytes_done,
            Phase::Verifying | Phase::Sharing => self.swarm.bytes,
        };
        match self.swarm.bytes {
            0 => 1.0,
            bytes => (done as f64 / bytes as f64).min(1.0),
        }
    }

    /// The same in whole percent, rounded down.
    pub fn percent(&self) -> u32 {
        (self.fraction() * 100.0) as u32
    }

    /// Whether it is known what the composition is: a `member get NAME` may wait for somebody who has it.
    pub fn is_known(&self) -> bool {
        self.swarm.parts > 0 || self.swarm.bytes > 0
    }

    /// How many times the composition's size was sent.
    pub fn ratio(&self) -> f64 {
        self.swarm.uploaded as f64 / self.swarm.bytes.max(1) as f64
    }
}

/// Where a member shows what it does. Dropped, it leaves the terminal as it found it.
pub struct Screen {
    form: Form,
    verbose: bool,
    /// Why the last line for people is lost.
    lost: Mutex<Option<Lost>>,
}

enum Form {
    Terminal(terminal::Terminal),
    Plain(plain::Plain),
    Json { lines: json::Json<io::Stdout>, quiet: bool },
    Quiet,
    Kept(Arc<kept::Kept>),
}

impl Screen {
    /// The form that fits these options and standard streams. `clock` gives the times of JSON lines.
    ///
    /// A log on stderr and a bar would tear each other: with such a log there are plain lines.
    pub fn new(options: ScreenOptions, log_dir: &LogDir, clock: fn() -> SystemTime) -> Self {
        let for_bar = options.progress && *log_dir != LogDir::Stderr && terminal::is_capable();
        let form = if options.json {
            Form::Json { lines: json::Json::new(io::stdout(), clock), quiet: options.quiet }
        } else if options.quiet {
            Form::Quiet
        } else if for_bar {
            Form::Terminal(terminal::Terminal::on_stderr())
        } else {
            Form::Plain(plain::Plain::default())
        };
        console::set_colors_enabled_stderr(options.colour.on_stderr());
        Self { form, verbose: options.verbose, lost: Mutex::default() }
    }

    /// Nothing is shown: whoever draws asks `kept`.
    pub fn kept(kept: Arc<kept::Kept>) -> Self {
        Self { form: Form::Kept(kept), verbose: false, lost: Mutex::default() }
    }

    /// How a composition stands now. `slot`: which one, counted from 0 in the order of the command line.
    /// To be called about ten times a second; what is shown how often is seen to here.
    pub fn update(&self, slot: usize, view: &View) {
        match &self.form {
            Form::Terminal(terminal) => terminal.update(slot, view),
            Form::Plain(plain) => plain.update(slot, view).iter().for_each(|line| to_stderr(line)),
            Form::Json { lines, .. } => lines.update(slot, view),
            Form::Kept(kept) => kept.update(slot, view),
            Form::Quiet => {}
        }
    }

    /// Something happened.
    pub fn event(&self, report: &Report) {
        match &self.form {
            Form::Json { lines, .. } => lines.event(report),
            Form::Kept(kept) => return kept.tell(News::Report(report.clone())),
            Form::Terminal(_) | Form::Plain(_) | Form::Quiet => {}
        }
        let Some(line) = report.line() else { return };
        match (report, &self.form) {
            (Report::Error { .. }, _) => self.above(&line),
            (_, Form::Quiet | Form::Json { quiet: true, .. }) => {}
            (Report::Warning { .. }, _) => self.above(&line),
            (_, Form::Json { .. }) => {}
            // The bar says so already.
            (Report::Whole { .. }, Form::Terminal(_)) => {}
            (Report::End(_), _) => {
                self.finish();
                if let Err(lost) = output::print_line(&line) {
                    log::warn!("{lost}");
                    *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost);
                }
            }
            _ => self.above(&line),
        }
    }

    /// A line for people.
    pub fn say(&self, line: &str) {
        match &self.form {
            Form::Terminal(_) | Form::Plain(_) => self.above(line),
            Form::Kept(kept) => kept.tell(News::Said(line.to_owned())),
            Form::Json { .. } | Form::Quiet => {}
        }
    }

    /// Whether `-v` was given: what [`Screen::verbose`] is told would be shown.
    pub fn is_verbose(&self) -> bool {
        self.verbose && matches!(self.form, Form::Terminal(_) | Form::Plain(_))
    }

    /// A line for people who asked for more, such as `part 17 from 10.0.0.5:9998`.
    pub fn verbose(&self, line: &str) {
        if self.is_verbose() {
            self.above(line);
        }
    }

    /// Whether all that was to stand on stdout arrived there; a loss is told once.
    ///
    /// # Errors
    /// Some of it is lost.
    pub fn printed(&self) -> Result<(), Lost> {
        let lost = match &self.form {
            Form::Json { lines, .. } => lines.lost(),
            _ => self.lost.lock().unwrap_or_else(PoisonError::into_inner).take(),
        };
        lost.map_or(Ok(()), Err)
    }

    /// Takes this composition's bar away for good.
    pub fn leave(&self, slot: usize) {
        match &self.form {
            Form::Terminal(terminal) => terminal.leave(slot),
            Form::Kept(kept) => kept.leave(slot),
            Form::Plain(_) | Form::Json { .. } | Form::Quiet => {}
        }
    }

    /// Takes the bars away; the next update draws them again.
    pub fn finish(&self) {
        if let Form::Terminal(terminal) = &self.form {
            terminal.clear();
        }
    }

    fn above(&self, line: &str) {
        match &self.form {
            Form::Terminal(terminal) => terminal.above(line),
            _ => to_stderr(line),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A line on stderr. Nobody left to read it, or a full disk behind it, is no error and no reason to end.
pub fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line on stdout; likewise. For a command whose work is another than what it prints.
pub fn to_stdout(line: &str) {
    if let Err(lost) = output::print_line(line) {
        log::warn!("{lost}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn view() -> View {
        View {
            name: "big.iso".to_owned(),
            phase: Phase::Fetching,
            swarm: Snapshot {
                parts: 2048,
                parts_done: 812,
                bytes: 4 << 30,
                bytes_done: 812 * (2 << 20),
                left: 0,
                fetched: 812 * (2 << 20),
                mirrored: 0,
                uploaded: 1 << 30,
                rate_down: 99.0 * 1048576.0,
                rate_up: 12.0 * 1048576.0,
                members: 8,
                complete_members: 1,
                mirrors: 0,
                copies: 1,
                wrong_parts: 0,
            },
            eta: Some(Duration::from_millis(25_200)),
            elapsed: Duration::from_secs(17),
        }
    }

    #[test]
    fn the_locale_says_which_signs_there_are() {
        for locale in ["C.UTF-8", "de_DE.utf8", "en_GB.UTF-8@euro"] {
            assert!(Signs::of(Some(locale)).unicode, "{locale}");
        }
        for locale in [None, Some("C"), Some("POSIX"), Some("de_DE.ISO-8859-1")] {
            assert!(!Signs::of(locale).unicode, "{locale:?}");
        }
    }

    #[test]
    fn percent_are_rounded_down() {
        let mut view = view();
        assert_eq!(view.percent(), 39);
        view.swarm.bytes_done = view.swarm.bytes - 1;
        assert_eq!(view.percent(), 99);
        view.swarm.bytes_done = view.swarm.bytes;
        assert_eq!(view.percent(), 100);
        view.swarm = Snapshot::default();
        assert_eq!(view.percent(), 100);
    }
}
