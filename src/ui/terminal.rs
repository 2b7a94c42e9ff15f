//! The bars on a terminal: indicatif draws what [`frame`](super::frame) lays out, on stderr, at most ten times a second.
//!
//! A line for people goes above the bars, never through them. In the background (`member x.orch &`) no bar is drawn into
//! what people type there. A terminal that goes away is no error: what cannot be drawn is not drawn.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal},
    sync::{Mutex, MutexGuard, PoisonError},
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::{process::getpgrp, termios::tcgetpgrp};

use super::{
    Signs, View,
    frame::{Frame, GAP, frame},
};

/// Redraws a second, at most.
const HERTZ: u8 = 10;
/// Steps of a bar: finer than any screen.
const STEPS: u64 = 10_000;

/// The bars, one a composition.
pub struct Terminal {
    bars: MultiProgress,
    drawn: Mutex<Drawn>,
    term: Term,
    /// Standard input is a terminal, so that q may be pressed.
    keys: bool,
    signs: Signs,
}

#[derive(Default)]
struct Drawn {
    /// By slot, from top to bottom.
    bars: BTreeMap<usize, ProgressBar>,
    /// Columns of the terminal when the bars were drawn; None while they are not on the screen.
    width: Option<usize>,
}

/// Whether stderr is a terminal on which a line can be drawn again.
pub fn is_capable() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether the terminal on stderr is somebody else's for now.
fn is_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group != getpgrp())
}

impl Terminal {
    /// The bars on stderr, none yet.
    pub fn on_stderr() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        Self {
            bars: MultiProgress::with_draw_target(target),
            drawn: Mutex::default(),
            term: Term::stderr(),
            keys: io::stdin().is_terminal(),
            signs: Signs::of_locale(),
        }
    }

    /// Draws the line of this composition.
    pub fn update(&self, slot: usize, view: &View) {
        let mut drawn = self.lock();
        if is_background() {
            drawn.width = None;
            return;
        }
        if !drawn.bars.contains_key(&slot) {
            self.take_away(&mut drawn);
            let above = drawn.bars.range(..slot).count();
            drawn.bars.insert(slot, self.bars.insert(above, ProgressBar::new(STEPS)));
        }
        let width = self.width();
        if drawn.width.is_some_and(|then| then != width) {
            self.take_away(&mut drawn);
        }
        // The last column stays free: a cursor behind it wraps on some terminals.
        let frame = frame(view, width.saturating_sub(1), self.keys, self.signs);
        let position = (frame.fraction * STEPS as f64) as u64;
        let bar = &drawn.bars[&slot];
        bar.set_style(style(frame, self.signs));
        bar.update(|state| state.set_pos(position));
        drawn.width = Some(width);
    }

    /// Prints a line for people above the bars.
    pub fn above(&self, line: &str) {
        let mut drawn = self.lock();
        let were_there = drawn.width.is_some();
        self.take_away(&mut drawn);
        super::to_stderr(line);
        if were_there && let Some(bar) = drawn.bars.values().next() {
            bar.force_draw();
            drawn.width = Some(self.width());
        }
    }

    /// Takes this composition's bar away for good; the others are drawn again by their next update.
    pub fn leave(&self, slot: usize) {
        let mut drawn = self.lock();
        if drawn.bars.contains_key(&slot) {
            self.take_away(&mut drawn);
        }
        if let Some(bar) = drawn.bars.remove(&slot) {
            self.bars.remove(&bar);
        }
    }

    /// Takes the bars away; the next update draws them again.
    pub fn clear(&self) {
        self.take_away(&mut self.lock());
    }

    /// Leaves the cursor where the bars began.
    ///
    /// indicatif fills each line to its end with spaces, so that to the terminal all bars are one long line. A terminal
    /// whose width has changed since has broken that anew, into more or fewer rows than indicatif will go back.
    fn take_away(&self, drawn: &mut Drawn) {
        let Some(width_then) = drawn.width.take() else { return };
        let lines = drawn.bars.len();
        let rows = (lines * width_then).div_ceil(self.width().max(1));
        // What cannot be drawn is not drawn.
        let _ = self.term.write_str(&"\n".repeat(lines.saturating_sub(rows)));
        let _ = self.bars.clear();
        if rows > lines {
            let _ = self.term.move_cursor_up(rows - lines);
            let _ = self.term.clear_to_end_of_screen();
        }
    }

    fn width(&self) -> usize {
        usize::from(self.term.size().1)
    }

    fn lock(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A style that shows this frame. One call sets it whole: of values that are set one by one, some would be drawn with
/// those of the frame before.
fn style(frame: Frame, signs: Signs) -> ProgressStyle {
    let Frame { name, bar, text, .. } = frame;
    let template = match bar {
        0 => "{name:.bold}{text}".to_owned(),
        cells => format!("{{name:.bold}}{GAP}{{bar:{cells}.cyan/dim}}{{text}}"),
    };
    let write =
        |text: String| move |_: &ProgressState, out: &mut dyn fmt::Write| out.write_str(&text).unwrap_or_default();
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(signs.bar())
        .with_key("name", write(name))
        .with_key("text", write(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{Phase, View, tests::view};
    use indicatif::TermLike;
    use std::sync::Arc;

    const UNICODE: Signs = Signs { unicode: true };

    /// A terminal that keeps what is written to it.
    #[derive(Clone, Debug, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn(view: &View, signs: Signs) -> String {
        let paper = Paper::default();
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::term_like(Box::new(paper.clone())));
        let frame = frame(view, 99, false, signs);
        let position = (frame.fraction * STEPS as f64) as u64;
        bar.set_style(style(frame, signs));
        bar.update(|state| state.set_pos(position));
        let text = paper.0.lock().unwrap().clone();
        console::strip_ansi_codes(&text).trim_end().to_owned()
    }

    #[test]
    fn indicatif_draws_what_was_laid_out() {
        let line = drawn(&view(), UNICODE);
        assert!(line.starts_with("big.iso  ████"), "{line}");
        assert!(line.ends_with("░   812/2048 parts 39%  ↓ 99 MiB/s ↑ 12 MiB/s  8 members  ETA 26 s"), "{line}");
        assert_eq!(line.chars().count(), 99);
        let line = drawn(&View { phase: Phase::Sharing, ..view() }, UNICODE);
        assert_eq!(line, "big.iso  whole, sharing  ↑ 12 MiB/s  8 members  ratio 0.25");
    }

    #[test]
    fn without_unicode_the_bar_is_ascii() {
        let line = drawn(&view(), Signs { unicode: false });
        assert!(line.is_ascii() && line.contains("####") && line.contains("..."), "{line}");
    }
}
