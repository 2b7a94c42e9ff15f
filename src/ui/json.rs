//! JSON lines for scripts: one object a line, `{"v":1,"time":RFC3339,"event":...}`, in bytes, bytes a second and seconds.
//!
//! Keys are only ever added; `end` comes last. `check` and `waiting` are said when they begin (`waiting` each minute too),
//! `progress` once a second, and a last time before `whole` and `end`. When nobody reads them any more, nothing is written.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    Phase, Report, View,
    output::Lost,
    plain::EVERY,
    report::{counted, write_maybe_seconds},
};
use crate::cli::Exit;

/// `progress` comes so often.
const PACE: Duration = Duration::from_secs(1);

/// Writes the lines.
pub struct Json<W> {
    state: Mutex<State<W>>,
    clock: fn() -> SystemTime,
}

struct State<W> {
    out: W,
    /// Nobody reads: a pipe is broken, a disk full.
    over: bool,
    /// Why lines are lost that somebody would read.
    lost: Option<Lost>,
    slots: Vec<Slot>,
}

/// What was said of one composition.
#[derive(Clone, Default)]
struct Slot {
    latest: Option<View>,
    /// When `progress` was last said of it, and whether `latest` is newer.
    progress_at: Option<Duration>,
    newer: bool,
    /// Since when the phase is what it is, or was last said.
    phase: Option<(Phase, Duration)>,
}

/// Says why a program ends that has no screen of its own, and that it ends: two lines on stdout.
pub fn failed(name: Option<String>, code: Exit, text: &str, elapsed: Duration) {
    let why = Report::Error { name: name.clone(), code, text: text.to_owned() };
    let end = Report::End(super::End::failed(name, code, text.to_owned(), elapsed));
    // It ends without success in any case.
    let _ = tell([why, end]);
}

/// Says this on stdout, for a program that has no screen of its own.
///
/// # Errors
/// Some of it is lost.
pub fn tell(reports: impl IntoIterator<Item = Report>) -> Result<(), Lost> {
    let lines = Json::new(io::stdout(), SystemTime::now);
    reports.into_iter().for_each(|report| lines.event(&report));
    lines.lost().map_or(Ok(()), Err)
}

/// One line, without its line feed; None if it cannot be written as text.
pub fn line(time: SystemTime, report: &impl Serialize) -> Option<String> {
    let time = humantime::format_rfc3339_millis(time).to_string();
    serde_json::to_string(&Line { v: 1, time, body: report }).ok()
}

#[derive(Serialize)]
struct Line<'a, B> {
    v: u8,
    time: String,
    #[serde(flatten)]
    body: &'a B,
}

/// What is derived from a [`View`].
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Derived<'a> {
    Check { name: &'a str, size: u64 },
    Waiting { name: &'a str, what: Cow<'a, str> },
    Progress(Progress<'a>),
}

#[derive(Serialize)]
struct Progress<'a> {
    name: &'a str,
    phase: &'static str,
    /// Bytes hashed so far, in phase `checking`.
    checked: Option<u64>,
    parts: u32,
    parts_done: u32,
    bytes: u64,
    bytes_done: u64,
    fetched: u64,
    mirror: u64,
    uploaded: u64,
    rate_down: u64,
    rate_up: u64,
    members: usize,
    complete_members: usize,
    copies: usize,
    wrong_parts: u64,
    #[serde(serialize_with = "write_maybe_seconds")]
    eta: Option<Duration>,
    #[serde(serialize_with = "write_maybe_seconds")]
    seconds: Option<Duration>,
}

impl<W: Write> Json<W> {
    /// `clock` gives the times of the lines.
    pub fn new(out: W, clock: fn() -> SystemTime) -> Self {
        Self { state: Mutex::new(State { out, over: false, lost: None, slots: Vec::new() }), clock }
    }

    /// Says what is due of this composition.
    pub fn update(&self, slot: usize, view: &View) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.slots.len() <= slot {
            state.slots.resize(slot + 1, Slot::default());
        }
        let known = &mut state.slots[slot];
        let new_phase = known.is_phase_due(view);
        if new_phase {
            known.phase = Some((view.phase.clone(), view.elapsed));
        }
        known.latest = Some(view.clone());
        known.newer = true;
        let due = known.progress_at.is_none_or(|at| view.elapsed.saturating_sub(at) >= PACE);
        if new_phase && let Some(derived) = begun(view) {
            state.write((self.clock)(), &derived);
        }
        if due {
            state.progress((self.clock)(), slot);
        }
    }

    /// Takes the reason why lines are lost.
    pub fn lost(&self) -> Option<Lost> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lost.take()
    }

    /// Says what happened; before the end of a composition, once more how far it was.
    pub fn event(&self, report: &Report) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Report::Whole { name, .. } | Report::End(super::End { name: Some(name), .. }) = report {
            for slot in 0..state.slots.len() {
                if state.slots[slot].latest.as_ref().is_some_and(|view| view.name == *name) {
                    state.progress((self.clock)(), slot);
                }
            }
        }
        state.write((self.clock)(), report);
    }
}

impl<W: Write> State<W> {
    /// Says how far this composition is, unless that was said already.
    fn progress(&mut self, time: SystemTime, slot: usize) {
        let known = &mut self.slots[slot];
        if !known.newer {
            return;
        }
        let Some(view) = known.latest.clone() else { return };
        known.newer = false;
        known.progress_at = Some(view.elapsed);
        self.write(time, &Derived::Progress(progress(&view)));
    }

    fn write(&mut self, time: SystemTime, body: &impl Serialize) {
        if self.over {
            return;
        }
        let time = humantime::format_rfc3339_millis(time).to_string();
        let written = serde_json::to_vec(&Line { v: 1, time, body }).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.out.write_all(&line)?;
            self.out.flush()
        });
        if let Err(error) = written {
            self.over = true;
            log::info!("no more JSON lines: standard output: {error}");
            self.lost = Lost::of(error);
        }
    }
}

impl Slot {
    fn is_phase_due(&self, view: &View) -> bool {
        let Some((phase, at)) = &self.phase else { return true };
        let again = matches!(view.phase, Phase::Waiting(_) | Phase::Seeking { .. })
            && view.elapsed.saturating_sub(*at) >= EVERY;
        again || !phase.is_same(&view.phase)
    }
}

/// The line about what begins, if it has one of its own.
fn begun(view: &View) -> Option<Derived<'_>> {
    match &view.phase {
        Phase::Checking { .. } => Some(Derived::Check { name: &view.name, size: view.swarm.bytes }),
        Phase::Seeking { asked: 0, waiting_for } => {
            Some(Derived::Waiting { name: &view.name, what: Cow::Borrowed(waiting_for) })
        }
        Phase::Seeking { asked, .. } => {
            let members = counted(*asked as u64, "member");
            let what = Cow::Owned(format!("the manifest: asking {members} for it"));
            Some(Derived::Waiting { name: &view.name, what })
        }
        Phase::Waiting(what) => Some(Derived::Waiting { name: &view.name, what: Cow::Borrowed(what) }),
        Phase::Fetching | Phase::Verifying | Phase::Sharing => None,
    }
}

fn progress(view: &View) -> Progress<'_> {
    let swarm = &view.swarm;
    let (phase, checked) = match view.phase {
        Phase::Checking { done_bytes } => ("checking", Some(done_bytes)),
        Phase::Seeking { .. } | Phase::Waiting(_) => ("waiting", None),
        Phase::Fetching => ("fetching", None),
        Phase::Verifying => ("verifying", None),
        Phase::Sharing => ("sharing", None),
    };
    Progress {
        name: &view.name,
        phase,
        checked,
        parts: swarm.parts,
        parts_done: swarm.parts_done,
        bytes: swarm.bytes,
        bytes_done: swarm.bytes_done,
        fetched: swarm.fetched,
        mirror: swarm.mirrored,
        uploaded: swarm.uploaded,
        rate_down: swarm.rate_down as u64,
        rate_up: swarm.rate_up as u64,
        members: swarm.members,
        complete_members: swarm.complete_members,
        copies: swarm.copies,
        wrong_parts: swarm.wrong_parts,
        eta: view.eta,
        seconds: Some(view.elapsed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{report, tests::view};
    use serde_json::Value;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_786_000_000_250)
    }

    fn lines(of: impl FnOnce(&Json<Sink>)) -> Vec<Value> {
        let sink = Sink::default();
        of(&Json::new(sink.clone(), clock));
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn events(lines: &[Value]) -> Vec<&str> {
        lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_line_says_its_version_time_and_event() {
        let sink = Sink::default();
        Json::new(sink.clone(), clock).event(&Report::End(report::tests::end()));
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "{\"v\":1,\"time\":\"2026-08-06T07:06:40.250Z\",\"event\":\"end\",\"name\":\"vm.qcow2\",\"code\":0,\
             \"path\":\"vm.qcow2\",\"size\":20000000000,\"have\":20000000000,\"fetched\":20000000000,\"mirror\":0,\"uploaded\":0,\
             \"seconds\":200.0,\"whole_after\":192.0}\n"
        );
    }

    #[test]
    fn an_end_without_success_says_why_last() {
        let sink = Sink::default();
        let end = super::super::End::failed(None, Exit::Other, "no such file".to_owned(), Duration::ZERO);
        Json::new(sink.clone(), clock).event(&Report::End(end));
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("\"seconds\":0.0,\"whole_after\":null,\"text\":\"no such file\"}\n"), "{text}");
    }

    #[test]
    fn progress_comes_once_a_second_and_at_the_end() {
        let lines = lines(|json| {
            let mut view = view();
            for tenth in 0..25 {
                view.elapsed = Duration::from_millis(tenth * 100);
                json.update(0, &view);
            }
            view.swarm.fetched = 4 << 30;
            json.update(0, &view);
            let end = super::super::End { name: Some(view.name.clone()), ..report::tests::end() };
            json.event(&Report::End(end.clone()));
            json.event(&Report::End(end));
        });
        assert_eq!(events(&lines), ["progress", "progress", "progress", "progress", "end", "end"]);
        assert_eq!(lines[3]["fetched"], 4u64 << 30);
        assert_eq!(lines[0]["rate_down"], 99 * 1_048_576);
        assert_eq!(lines[0]["eta"], 25.2);
    }

    #[test]
    fn waiting_is_said_when_it_begins_and_each_minute() {
        let lines = lines(|json| {
            let mut view = View { phase: Phase::Checking { done_bytes: 7 }, ..view() };
            json.update(0, &view);
            for second in 0..=120 {
                view.phase = Phase::Waiting("a member".to_owned());
                view.elapsed = Duration::from_secs(second);
                json.update(0, &view);
            }
        });
        let names: Vec<&str> = events(&lines).into_iter().filter(|event| *event != "progress").collect();
        assert_eq!(names, ["check", "waiting", "waiting", "waiting"]);
        assert_eq!(lines[1]["checked"], 7);
    }

    #[test]
    fn a_path_that_is_not_utf8_is_still_a_line() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
        let lines = lines(|json| {
            json.event(&Report::End(super::super::End { path: Some(path.into()), ..report::tests::end() }))
        });
        assert_eq!(lines[0]["path"], "x\u{fffd}");
    }

    #[test]
    fn nobody_reading_is_no_error() {
        struct Broken(usize);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                assert_eq!(self.0, 1, "written to after it broke");
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let json = Json::new(Broken(0), clock);
        json.event(&Report::End(report::tests::end()));
        json.event(&Report::End(report::tests::end()));
    }
}
