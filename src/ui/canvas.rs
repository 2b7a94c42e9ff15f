//! The whole terminal as one page: lines are put on it, and it is given back as it was found, also when a thread panics.
//!
//! It is drawn on stdout, on the terminal's second screen, so that what people had before them comes back at the end. Only
//! lines that changed are written. In the background of the terminal on standard input nothing is drawn. A terminal that goes away is no error.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    QueueableCommand,
    cursor::{Hide, MoveTo, Show},
    execute,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen},
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
};

use super::keys::is_foreground;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    #[default]
    Plain,
    Strong,
    Dim,
    /// The one that is chosen.
    Chosen,
    /// Something that people should see.
    Warning,
}

/// A line of the page, safe for a terminal and no wider than it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub look: Look,
}

/// The page. Dropped, it leaves the terminal as it found it.
pub struct Canvas {
    colours: bool,
    /// A thread panicked: the terminal is given back for good.
    over: Arc<AtomicBool>,
    is_open: bool,
    /// What is on it, and how large it was then.
    drawn: Vec<Line>,
    size: (usize, usize),
}

impl Canvas {
    /// Nothing is drawn yet.
    pub fn new(colours: bool) -> Self {
        let (before, over) = (panic::take_hook(), Arc::new(AtomicBool::new(false)));
        let panicked = over.clone();
        panic::set_hook(Box::new(move |info| {
            panicked.store(true, Ordering::Relaxed);
            give_back();
            before(info);
        }));
        Self { colours, over, is_open: false, drawn: Vec::new(), size: (0, 0) }
    }

    /// Columns and rows.
    pub fn size() -> (usize, usize) {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        (usize::from(columns), usize::from(rows))
    }

    /// Puts these lines on the page, from the top, and nothing below them. They were made for this [`Canvas::size`].
    pub fn draw(&mut self, lines: Vec<Line>, size: (usize, usize)) {
        if !is_foreground() || self.over.load(Ordering::Relaxed) {
            return;
        }
        let mut out = Vec::new();
        let is_new = !self.is_open || self.size != size;
        if !is_new && self.drawn == lines {
            return;
        }
        // Writing to memory cannot fail, nor is a terminal that went away an error.
        let _ = self.write(&lines, is_new, &mut out);
        let mut stdout = io::stdout();
        let _ = stdout.write_all(&out).and_then(|()| stdout.flush());
        (self.is_open, self.drawn, self.size) = (true, lines, size);
    }

    fn write(&self, lines: &[Line], is_new: bool, out: &mut Vec<u8>) -> io::Result<()> {
        out.queue(BeginSynchronizedUpdate)?;
        if !self.is_open {
            out.queue(EnterAlternateScreen)?.queue(Hide)?;
        }
        if is_new {
            out.queue(Clear(ClearType::All))?;
        }
        for (row, line) in (0u16..).zip(lines) {
            if is_new || self.drawn.get(usize::from(row)) != Some(line) {
                out.queue(MoveTo(0, row))?;
                self.put(line, out)?;
            }
        }
        if !is_new && self.drawn.len() > lines.len() {
            out.queue(MoveTo(0, u16::try_from(lines.len()).unwrap_or(u16::MAX)))?;
            out.queue(Clear(ClearType::FromCursorDown))?;
        }
        out.queue(EndSynchronizedUpdate)?;
        Ok(())
    }

    fn put(&self, line: &Line, out: &mut Vec<u8>) -> io::Result<()> {
        match line.look {
            Look::Plain => {}
            Look::Strong => drop(out.queue(SetAttribute(Attribute::Bold))?),
            Look::Dim => drop(out.queue(SetAttribute(Attribute::Dim))?),
            Look::Chosen => drop(out.queue(SetAttribute(Attribute::Reverse))?),
            Look::Warning if self.colours => drop(out.queue(SetForegroundColor(Color::Yellow))?),
            Look::Warning => drop(out.queue(SetAttribute(Attribute::Bold))?),
        }
        out.queue(Print(&line.text))?;
        if line.look != Look::Plain {
            out.queue(SetAttribute(Attribute::Reset))?;
        }
        if self.colours {
            out.queue(ResetColor)?;
        }
        out.queue(Clear(ClearType::UntilNewLine))?;
        Ok(())
    }

    /// Gives the terminal back; the next drawing takes it again.
    pub fn close(&mut self) {
        if std::mem::take(&mut self.is_open) && !self.over.load(Ordering::Relaxed) {
            give_back();
        }
        self.drawn.clear();
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        self.close();
    }
}

fn give_back() {
    // Nobody left to give it to is no error.
    let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, look: Look) -> Line {
        Line { text: text.to_owned(), look }
    }

    #[test]
    fn only_what_changed_is_written() {
        let drawn = vec![line("one", Look::Plain), line("two", Look::Strong), line("three", Look::Plain)];
        let canvas = Canvas { colours: false, over: Arc::default(), is_open: true, drawn, size: (80, 24) };
        let mut out = Vec::new();
        canvas.write(&[line("one", Look::Plain), line("2", Look::Chosen)], false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains('2') && !text.contains("one") && !text.contains("three"), "{text:?}");
        assert!(text.contains("\u{1b}[7m") && text.contains("\u{1b}[J"), "{text:?}");
        std::mem::forget(canvas);
    }

    #[test]
    fn without_colours_there_are_none() {
        for (colours, expected) in [(false, false), (true, true)] {
            let canvas = Canvas { colours, over: Arc::default(), is_open: true, drawn: Vec::new(), size: (80, 24) };
            let mut out = Vec::new();
            canvas.write(&[line("x", Look::Warning)], false, &mut out).unwrap();
            let yellow = String::from_utf8(out).unwrap().contains("38;5;11m");
            assert_eq!(yellow, expected);
            std::mem::forget(canvas);
        }
    }
}
