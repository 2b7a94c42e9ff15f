//! What composer shows: a bar or plain lines on stderr while it reads, and the result on stdout.
//!
//! stdout has only what a script may want: the magnet link if it was asked for and, last, the command that shares the
//! composition; with `--json` one object instead. Nobody reading there is no error; a full disk behind it is.

use std::{
    borrow::Cow,
    fmt,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use super::{ComposeError, register::Registered};
use crate::{
    cli::{Exit, ScreenOptions, units},
    geometry::Geometry,
    hashing::Digest,
    manifest::{Name, shown},
    metainfo::InfoHash,
    ui::{
        self, Signs,
        output::{Lost, print_line},
    },
};

/// What was composed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was written, the manifest first.
    pub written: Vec<PathBuf>,
    pub manifest: PathBuf,
    pub name: Name,
    pub geometry: Geometry,
    pub info_hash: InfoHash,
    pub whole: Option<Digest>,
    pub magnet: Option<String>,
    /// Whether people are to see the magnet link; an object has it anyway.
    pub magnet_asked: bool,
    /// None if it was not registered.
    pub registered: Option<Registered>,
    /// The command that shares it.
    pub share: String,
    /// What the person should know about the conductor named in it.
    pub hint: Option<String>,
    /// How long the composition was being read; None if it was not.
    pub read: Option<Duration>,
}

/// Where composer's words go.
#[derive(Debug)]
pub struct Screen {
    options: ScreenOptions,
    started: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
enum Progress {
    None,
    Bar(ProgressBar),
    Lines(Lines),
}

impl Screen {
    pub fn new(options: ScreenOptions) -> Self {
        Self { options, started: Instant::now(), progress: Mutex::new(Progress::None) }
    }

    /// Lines for people.
    pub fn say(&self, text: &str) {
        if self.options.quiet || self.options.json {
            return;
        }
        for line in text.lines() {
            // Where stderr is gone nobody is there to tell.
            let _ = writeln!(io::stderr(), "{}", shown(line));
        }
    }

    /// From now on a composition of this name and size is read.
    pub fn begin(&self, name: &Name, geometry: &Geometry) {
        let bar = self.options.progress && io::stderr().is_terminal();
        self.set(match (self.options.json || self.options.quiet, bar) {
            (true, _) => Progress::None,
            (false, true) => Progress::Bar(bar_of(name, geometry, self.options.colour.on_stderr())),
            (false, false) => Progress::Lines(Lines::new(name, geometry.size())),
        });
    }

    /// So many bytes of it have been read and hashed.
    pub fn progress(&self, bytes: u64) {
        match &mut *self.lock() {
            Progress::None => {}
            Progress::Bar(bar) => bar.set_position(bytes),
            Progress::Lines(lines) => {
                if let Some(line) = lines.next(bytes, self.started.elapsed()) {
                    self.say(&line);
                }
            }
        }
    }

    /// Nothing more is read.
    pub fn end(&self) {
        self.set(Progress::None);
    }

    /// The result.
    ///
    /// # Errors
    /// Some of it is lost.
    pub fn done(&self, report: &Report) -> Result<(), Lost> {
        self.end();
        if self.options.json {
            return print_line(&end(report, self.started.elapsed()));
        }
        self.written(report);
        match (&report.registered, &report.hint) {
            (Some(Registered { command, is_for_others: true }), _) => {
                self.say(&format!("registered; others fetch it with: {command}"));
            }
            (Some(Registered { command, .. }), _) => self.say(&format!(
                "registered at a conductor that only this machine reaches, which fetches it with: {command}"
            )),
            (None, Some(hint)) => self.say(hint),
            (None, None) => {}
        }
        let magnet = report.magnet.as_ref().filter(|_| report.magnet_asked);
        let printed = magnet.map_or(Ok(()), |magnet| print_line(magnet));
        self.say("share it with:");
        printed.and(print_line(&report.share))
    }

    /// What is on the disk now, for people.
    pub fn written(&self, report: &Report) {
        self.end();
        self.say(&summary(report));
    }

    /// Why there is none.
    pub fn failed(&self, error: &ComposeError) {
        self.end();
        let text = format!("error: {error}");
        for line in text.lines() {
            // Where stderr is gone nobody is there to tell.
            let _ = writeln!(io::stderr(), "{}", shown(line));
        }
        if self.options.json {
            ui::json::failed(None, error.exit(), &error.to_string(), self.started.elapsed());
        }
    }

    fn set(&self, progress: Progress) {
        let before = std::mem::replace(&mut *self.lock(), progress);
        if let Progress::Bar(bar) = before {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The last object of `--json`: the end as of a member, and what was composed.
#[derive(Serialize)]
struct Composed<'a> {
    #[serde(flatten)]
    end: ui::Report,
    /// What was really written, the manifest first.
    written: Vec<Cow<'a, str>>,
    part_size: u32,
    parts: u32,
    info_hash: String,
    sha1: Option<String>,
    magnet: Option<&'a str>,
    /// The command that fetches it out of the catalogue.
    registered: Option<&'a str>,
    share: &'a str,
}

fn end(report: &Report, elapsed: Duration) -> String {
    let size = report.geometry.size();
    let end = ui::End {
        path: Some(report.manifest.clone()),
        size,
        have: size,
        whole_after: report.read,
        ..ui::End::early(Some(report.name.as_str().to_owned()), Exit::Done, elapsed)
    };
    let composed = Composed {
        end: ui::Report::End(end),
        written: report.written.iter().map(|path| path.to_string_lossy()).collect(),
        part_size: report.geometry.part_size(),
        parts: report.geometry.parts(),
        info_hash: report.info_hash.to_string(),
        sha1: report.whole.map(|digest| digest.to_string()),
        magnet: report.magnet.as_deref(),
        registered: report.registered.as_ref().map(|registered| registered.command.as_str()),
        share: &report.share,
    };
    // Plain data with text for keys always can be written.
    ui::json::line(SystemTime::now(), &composed).unwrap_or_default()
}

/// What was composed and what was written, in two lines.
fn summary(report: &Report) -> String {
    let (size, parts) = (report.geometry.size(), report.geometry.parts());
    let cut = match parts {
        0 => "no parts".to_owned(),
        1 => "1 part".to_owned(),
        _ => format!("{parts} parts of {}", units::size(u64::from(report.geometry.part_size()))),
    };
    let read = match report.read {
        None => String::new(),
        // A rate says nothing about what is done at once.
        Some(time) if time < Duration::from_millis(100) => format!(", composed in {}", units::duration(time)),
        Some(time) => {
            let rate = units::rate(size as f64 / time.as_secs_f64());
            format!(", composed in {} ({rate})", units::duration(time))
        }
    };
    let written: Vec<_> = report.written.iter().map(|path| path.display().to_string()).collect();
    let written = match written.is_empty() {
        true => format!("{} stays as it is", report.manifest.display()),
        false => format!("wrote {}", written.join(" and ")),
    };
    format!("{}: {} in {cut}{read}\n{written}", report.name.as_str(), units::size(size))
}

fn bar_of(name: &Name, geometry: &Geometry, colour: bool) -> ProgressBar {
    let name = name.shown().into_owned();
    // A terminal that does not know its size says 0.
    let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
    let columns = if columns == 0 { 80 } else { columns };
    let style = ProgressStyle::with_template(&template(columns, name.chars().count(), colour))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(Signs::of_locale().bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A bar that cannot be drawn is none.
            let _ = write!(out, "{}", units::rate(state.per_sec()));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{}", units::duration(whole_seconds(state.eta())));
        });
    ProgressBar::with_draw_target(Some(geometry.size()), ProgressDrawTarget::stderr_with_hz(10))
        .with_style(style)
        .with_prefix(name)
}

/// Columns for the percentage, the rate and the time left.
const FIGURES: usize = 40;
const LONGEST_BAR: usize = 40;

/// What fits in so many columns: the figures before the name, the name before the bar.
fn template(columns: usize, name: usize, colour: bool) -> String {
    let figures = "{percent:>3}%  {rate}  ETA {left}";
    let room = columns.saturating_sub(FIGURES);
    if columns < FIGURES {
        return "{percent:>3}%".to_owned();
    }
    if room < name + 2 {
        return figures.to_owned();
    }
    let bar = match (room - name - 2).min(LONGEST_BAR) {
        0..8 => return format!("{{prefix}}  {figures}"),
        columns => columns,
    };
    let style = if colour { ".cyan/dim" } else { "" };
    format!("{{prefix}}  {{bar:{bar}{style}}} {figures}")
}

/// An estimate is not worth its milliseconds.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}

/// Progress as lines, where no bar can be drawn: one each 10 % and at least one a minute, but never two in a second,
/// so that what is done at once needs none.
#[derive(Debug)]
struct Lines {
    name: String,
    size: u64,
    /// Tenths that have been told.
    tenths: u64,
    last: Duration,
}

impl Lines {
    fn new(name: &Name, size: u64) -> Self {
        Self { name: name.as_str().to_owned(), size, tenths: 0, last: Duration::ZERO }
    }

    /// The line to be written now that so many bytes are done, if any; `elapsed` is the time since the start.
    fn next(&mut self, bytes: u64, elapsed: Duration) -> Option<String> {
        let share = bytes as f64 / self.size.max(1) as f64;
        let tenths = (share * 10.0) as u64;
        let since = elapsed.saturating_sub(self.last);
        let due = tenths > self.tenths || since >= Duration::from_secs(60);
        if !due || since < Duration::from_secs(1) {
            return None;
        }
        (self.tenths, self.last) = (tenths, elapsed);
        let left = elapsed.mul_f64((1.0 - share).max(0.0) / share.max(1e-9));
        Some(format!(
            "{}: {:.0} % of {}, {}, ETA {}",
            self.name,
            share * 100.0,
            units::size(self.size),
            units::rate(bytes as f64 / elapsed.as_secs_f64()),
            units::duration(whole_seconds(left)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            written: vec!["big.orch".into(), "big.torrent".into()],
            manifest: "big.orch".into(),
            name: Name::new("big.iso").unwrap(),
            geometry: Geometry::new(1 << 30, 512 << 10).unwrap(),
            info_hash: InfoHash([1; 20]),
            whole: None,
            magnet: None,
            magnet_asked: false,
            registered: None,
            share: "member big.orch".into(),
            hint: None,
            read: Some(Duration::from_millis(700)),
        }
    }

    #[test]
    fn the_summary_says_what_and_where() {
        assert_eq!(
            summary(&report()),
            "big.iso: 1 GiB in 2048 parts of 512 KiB, composed in 700 ms (1.4 GiB/s)\n\
             wrote big.orch and big.torrent"
        );
        let unchanged = Report { written: Vec::new(), read: None, ..report() };
        assert_eq!(summary(&unchanged), "big.iso: 1 GiB in 2048 parts of 512 KiB\nbig.orch stays as it is");
    }

    #[test]
    fn the_object_has_what_a_script_wants() {
        let object: serde_json::Value = serde_json::from_str(&end(&report(), Duration::from_secs(1))).unwrap();
        assert_eq!(object["event"], "end");
        assert_eq!(object["size"], 1 << 30);
        assert_eq!(object["sha1"], serde_json::Value::Null);
        assert_eq!(object["share"], "member big.orch");
    }

    #[test]
    fn a_narrow_terminal_loses_the_bar_then_the_name() {
        let figures = "{percent:>3}%  {rate}  ETA {left}";
        assert_eq!(template(80, 7, false), format!("{{prefix}}  {{bar:31}} {figures}"));
        assert_eq!(template(200, 7, true), format!("{{prefix}}  {{bar:40.cyan/dim}} {figures}"));
        assert_eq!(template(55, 7, true), format!("{{prefix}}  {figures}"));
        assert_eq!(template(45, 7, true), figures);
        assert_eq!(template(80, 100, true), figures);
        assert_eq!(template(20, 7, true), "{percent:>3}%");
    }

    #[test]
    fn lines_come_each_tenth_and_each_minute() {
        let mut lines = Lines::new(&Name::new("big.iso").unwrap(), 1000);
        let mut at = |bytes, seconds| lines.next(bytes, Duration::from_secs_f64(seconds));
        assert_eq!(at(500, 0.9), None);
        assert_eq!(at(500, 10.0).unwrap(), "big.iso: 50 % of 1000 bytes, 50 B/s, ETA 10 s");
        assert_eq!(at(550, 20.0), None);
        assert!(at(560, 70.0).is_some());
        assert_eq!(at(600, 70.5), None);
        assert!(at(600, 71.0).is_some());
    }
}
