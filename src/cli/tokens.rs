//! Where tokens come from: a file that the command line names, else the environment; never a flag, which every user of
//! the machine could read, and never `.env`. A conductor reads its file again when it is asked to and when the file has
//! changed ([`follow`]).

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    catalogue::{
        Token,
        token::{self, ADMINISTRATOR, Owned, TokenError},
    },
    conductor::Reload,
    storage::Stamp,
};

/// The variable that holds one token.
const VARIABLE: &str = "ORCHESTRA_TOKEN";

/// Interval at which a token file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why there are no tokens where there should be some.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("cannot read the tokens from {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("{place}: {error}")]
    Bad { place: String, error: TokenError },
}

/// All tokens that are told, the administrator's first.
pub(super) fn all(file: Option<&Path>) -> Result<Vec<Owned>, TokensError> {
    let Some(path) = file else {
        let token = alone()?;
        return Ok(token.map(|token| Owned { owner: ADMINISTRATOR.to_owned(), token }).into_iter().collect());
    };
    let place = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => token::read(&text).map_err(|error| TokensError::Bad { place, error }),
        Err(error) => Err(TokensError::Read { path: place, error }),
    }
}

/// The first token that is told.
pub(super) fn first(file: Option<&Path>) -> Result<Option<Token>, TokensError> {
    Ok(all(file)?.into_iter().next().map(|owned| owned.token))
}

/// The tokens as they stand in their file now, or why they cannot be had, for people.
fn again(file: Option<&Path>) -> Reload {
    match file {
        Some(file) => all(Some(file)).map_err(|error| error.to_string()),
        None => Err("they are in no file (--token-file), and the environment cannot change".to_owned()),
    }
}

/// Sends the tokens of this file each time that somebody asks for it (SIGHUP) and each time that the file has changed, until
/// nobody wants them any more.
pub async fn follow(file: Option<PathBuf>, mut asked: mpsc::Receiver<()>, tokens: mpsc::Sender<Reload>) {
    let mut watch = Watch::new(file.as_deref().and_then(stamp));
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let reads = tokio::select! {
            Some(()) = asked.recv() => true,
            _ = look.tick(), if file.is_some() => file.as_deref().is_some_and(|file| watch.is_due(stamp(file))),
            () = tokens.closed() => return,
        };
        if reads && tokens.send(again(file.as_deref())).await.is_err() {
            return;
        }
    }
}

/// Stamp of the file, which another one follows after a change; `None` while there is no file.
fn stamp(file: &Path) -> Option<Stamp> {
    fs::metadata(file).ok().map(|meta| Stamp::from_metadata(&meta))
}

/// A file that is looked at again and again. A change counts once the file has stayed the same from one look to the next:
/// one that is being written may be half there.
struct Watch {
    read: Option<Stamp>,
    last: Option<Stamp>,
}

impl Watch {
    fn new(now: Option<Stamp>) -> Self {
        Self { read: now, last: now }
    }

    /// Whether it has to be read, as it stands `now`. A file that is gone is as good as unchanged.
    fn is_due(&mut self, now: Option<Stamp>) -> bool {
        let rests = now.is_some() && now == self.last;
        self.last = now;
        let is_due = rests && now != self.read;
        if is_due {
            self.read = now;
        }
        is_due
    }
}

fn alone() -> Result<Option<Token>, TokensError> {
    let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let token = value.to_str().ok_or(TokenError::Form).and_then(Token::new);
    token.map(Some).map_err(|error| TokensError::Bad { place: VARIABLE.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_once_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let at = |size: usize| {
            let path = folder.path().join(size.to_string());
            fs::write(&path, "x".repeat(size)).unwrap();
            stamp(&path)
        };
        let (old, half, new) = (at(1), at(2), at(3));
        let mut watch = Watch::new(old);
        let looks = [old, None, half, new, new, new, None, new, old, old];
        let due = looks.map(|now| watch.is_due(now));
        assert_eq!(due, [false, false, false, false, true, false, false, false, false, true]);
        let mut later = Watch::new(None);
        assert_eq!([None, new, new, new].map(|now| later.is_due(now)), [false, false, true, false]);
    }

    #[test]
    fn a_file_of_tokens_is_named_in_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        assert!(all(Some(&path)).unwrap_err().to_string().contains("tokens"));
        fs::write(&path, "short").unwrap();
        let error = all(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("tokens: line 1") && !error.contains("short"), "{error}");
        fs::write(&path, "0123456789abcdef\nalice aaaaaaaaaaaaaaaa\n").unwrap();
        assert_eq!(all(Some(&path)).unwrap().len(), 2);
        assert!(first(Some(&path)).unwrap().unwrap().is(b"0123456789abcdef"));
    }
}
