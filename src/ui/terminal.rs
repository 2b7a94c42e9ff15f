//! The bars on a terminal: indicatif draws what [`frame`](super::frame) lays out, on stderr, at most ten times a second.
//!
//! A line for people goes above the bars, never through them. A terminal that goes away is no error: what cannot be
//! drawn is not drawn.

use std::{
    fmt,
    io::{self, IsTerminal},
    sync::{Mutex, PoisonError},
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{
    View,
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
}

#[derive(Default)]
struct Drawn {
    bars: Vec<ProgressBar>,
    /// Columns of the terminal when it was drawn last.
    width: usize,
}

/// Whether stderr is a terminal on which a line can be drawn again.
pub fn is_capable() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl Terminal {
    pub fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        Self {
            bars: MultiProgress::with_draw_target(target),
            drawn: Mutex::default(),
            term: Term::stderr(),
            keys: io::stdin().is_terminal(),
        }
    }

    /// Draws the line of this composition.
    pub fn update(&self, slot: usize, view: &View) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        while drawn.bars.len() <= slot {
            drawn.bars.push(self.bars.add(ProgressBar::new(STEPS)));
        }
        let width = usize::from(self.term.size().1);
        drawn.width = width;
        // The last column stays free: a cursor behind it wraps on some terminals.
        let frame = frame(view, width.saturating_sub(1), self.keys);
        let position = (frame.fraction * STEPS as f64) as u64;
        let bar = &drawn.bars[slot];
        bar.set_style(style(frame));
        bar.update(|state| state.set_pos(position));
    }

    /// Prints a line for people above the bars.
    pub fn above(&self, line: &str) {
        // What cannot be drawn is not drawn.
        let _ = self.bars.println(line);
    }

    /// Takes the bars away; the next update draws them again.
    pub fn clear(&self) {
        let _ = self.bars.clear();
    }
}

/// A style that shows this frame. One call sets it whole: of values that are set one by one, some would be drawn with
/// those of the frame before.
fn style(frame: Frame) -> ProgressStyle {
    let Frame { name, bar, text, .. } = frame;
    let template = match bar {
        0 => "{name:.bold}{text}".to_owned(),
        cells => format!("{{name:.bold}}{GAP}{{bar:{cells}.cyan/dim}}{{text}}"),
    };
    let write =
        |text: String| move |_: &ProgressState, out: &mut dyn fmt::Write| out.write_str(&text).unwrap_or_default();
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█░")
        .with_key("name", write(name))
        .with_key("text", write(text))
}
