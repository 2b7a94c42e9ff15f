//! The keys that people press: any, or only the one that ends a member: q (or Q), and Ctrl-C where it comes as a key.
//!
//! Keys are read only while standard input is a terminal and this process is in its foreground; in the background, and
//! from any other standard input, not a byte is taken. Of the terminal's modes only line editing and echo are switched
//! off, not signals (as crossterm's raw mode would): Ctrl-C and Ctrl-Z stay what they are elsewhere, a line that is
//! printed keeps its line ends, and a member that hangs can still be interrupted. crossterm reads the keys, and so tells
//! a q from one inside an escape sequence.
//!
//! The modes are put back when [`Keys`] is dropped and when any thread panics; after a SIGKILL that is left to the shell.

use std::{
    io::{self, IsTerminal},
    panic,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::{
    process::getpgrp,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};
use tokio::sync::mpsc;

/// Somebody wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quit;

/// Keys that wait to be heard; who types faster than that is not heard.
const WAITING: usize = 256;

/// How long a look for a key lasts; so late it is seen that the process came to the foreground or is over.
const LOOK: Duration = Duration::from_millis(100);

/// Reads keys until it is dropped; then the terminal is as it was.
pub struct Keys {
    modes: Arc<Modes>,
}

impl Keys {
    /// Listens for whoever wants to leave; None where standard input is no terminal.
    pub fn quit() -> Option<(Self, mpsc::Receiver<Quit>)> {
        Self::start(|event| matches!(event, Event::Key(key) if is_quit(key)).then_some(Quit))
    }

    /// Listens for every key.
    pub fn all() -> Option<(Self, mpsc::Receiver<KeyEvent>)> {
        Self::start(|event| match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => Some(key),
            _ => None,
        })
    }

    /// Starts to read what is `wanted` on a thread of its own.
    fn start<T: Send + 'static>(wanted: fn(Event) -> Option<T>) -> Option<(Self, mpsc::Receiver<T>)> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let modes = Arc::new(Modes::default());
        let (send, receive) = mpsc::channel(WAITING);
        let ours = Arc::clone(&modes);
        let started = thread::Builder::new().name("keys".to_owned()).spawn(move || read(&ours, wanted, &send));
        if let Err(error) = started {
            log::warn!("no keys are read: {error}");
            return None;
        }
        restore_on_panic(Arc::clone(&modes));
        Some((Self { modes }, receive))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.modes.restore();
    }
}

fn read<T>(modes: &Modes, wanted: fn(Event) -> Option<T>, heard: &mpsc::Sender<T>) {
    loop {
        match modes.hold() {
            Held::Over => return,
            Held::Background => thread::sleep(LOOK),
            Held::Foreground => match next() {
                Ok(event) => {
                    let Some(key) = event.and_then(wanted) else { continue };
                    if let Err(mpsc::error::TrySendError::Closed(_)) = heard.try_send(key) {
                        return;
                    }
                }
                Err(error) => {
                    log::warn!("no more keys are read: {error}");
                    return;
                }
            },
        }
    }
}

/// What the terminal tells, if it does within [`LOOK`].
fn next() -> io::Result<Option<Event>> {
    match event::poll(LOOK)? {
        true => event::read().map(Some),
        false => Ok(None),
    }
}

fn is_quit(key: KeyEvent) -> bool {
    let plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match key.code {
        KeyCode::Char('q' | 'Q') => plain && key.kind != KeyEventKind::Release,
        KeyCode::Char('c') => key.modifiers == KeyModifiers::CONTROL,
        _ => false,
    }
}

/// The terminal's modes: what they were, and whether they are ours.
#[derive(Default)]
struct Modes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<Termios>,
    over: bool,
}

enum Held {
    Foreground,
    Background,
    Over,
}

impl Modes {
    /// Makes the terminal give single keys, if it is ours to ask. Called again and again: after Ctrl-Z and `fg` the
    /// shell has put its own modes back.
    fn hold(&self) -> Held {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return Held::Over;
        }
        if !is_foreground() {
            return Held::Background;
        }
        let Ok(now) = tcgetattr(io::stdin()) else { return Held::Background };
        if now.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO) {
            let mut keys = now.clone();
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            keys.special_codes[SpecialCodeIndex::VMIN] = 1;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            state.found.get_or_insert(now);
            if tcsetattr(io::stdin(), OptionalActions::Now, &keys).is_err() {
                return Held::Background;
            }
        }
        Held::Foreground
    }

    /// Puts the modes back for good. In the background they are the shell's already.
    fn restore(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.over = true;
        if let Some(found) = state.found.take()
            && is_foreground()
            && let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &found)
        {
            log::warn!("the terminal's modes cannot be put back: {error}");
        }
    }
}

/// Whether the terminal on standard input is this process's to read and change: from the background, both would stop it.
pub fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Whichever thread panics, people get their terminal back, and the message on a line of its own.
fn restore_on_panic(modes: Arc<Modes>) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        modes.restore();
        super::to_stderr("");
        before(info);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(c: char, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), modifiers)
    }

    #[test]
    fn q_leaves_and_so_does_ctrl_c() {
        assert!(is_quit(key('q', KeyModifiers::NONE)));
        assert!(is_quit(key('Q', KeyModifiers::SHIFT)));
        assert!(is_quit(key('c', KeyModifiers::CONTROL)));
        assert!(!is_quit(key('q', KeyModifiers::ALT)));
        assert!(!is_quit(key('c', KeyModifiers::NONE)));
        assert!(!is_quit(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    }
}
