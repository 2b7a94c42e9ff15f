//! Who may change what in a catalogue.
//!
//! Where no token is set, anyone may register, and change what has no owner. Where tokens are set, each of them owns
//! what it registered; the first is the administrator's and may change everything. Every token is compared with every
//! one that is known, in constant time. A conductor that is part of another program takes changes from that program alone,
//! by a secret that never leaves its process.

use super::{CatalogueError, Entry};
use crate::catalogue::{Token, token::Owned};

/// The tokens that a conductor knows; the administrator's first. None: anyone may register.
#[derive(Clone, Debug, Default)]
pub struct Writers {
    tokens: Vec<Owned>,
    /// The secret of the only program that may write; tokens do not count then.
    own: Option<Token>,
}

/// Who wants to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// No token is set.
    Anyone,
    Owner {
        name: String,
        is_administrator: bool,
    },
}

/// How much of a catalogue a writer may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    /// What one owner of several may.
    OfOne,
}

/// Why a writer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    #[error("this conductor asks for a token: give it in ORCHESTRA_TOKEN or with --token-file")]
    Missing,
    #[error("this conductor does not know this token: ask its administrator for one")]
    Unknown,
    #[error(
        "this conductor is part of a member that shares, and takes changes from that member alone: \
         share yours with member share, or start a conductor for all"
    )]
    Own,
}

impl Writers {
    pub fn new(tokens: Vec<Owned>) -> Self {
        Self { tokens, own: None }
    }

    /// Only the program that knows this secret may write.
    pub fn own(secret: Token) -> Self {
        Self { tokens: Vec::new(), own: Some(secret) }
    }

    /// Whether no token is needed.
    pub fn is_anyone(&self) -> bool {
        self.tokens.is_empty() && self.own.is_none()
    }

    /// Whose token this is, given what came as `Authorization: Bearer`.
    pub fn admit(&self, token: Option<&[u8]>) -> Result<Writer, TokenRefused> {
        if let Some(own) = &self.own {
            // Its entries are nobody's by name: there is one writer.
            return match token.is_some_and(|token| own.is(token)) {
                true => Ok(Writer::Anyone),
                false => Err(TokenRefused::Own),
            };
        }
        if self.is_anyone() {
            return Ok(Writer::Anyone);
        }
        let token = token.ok_or(TokenRefused::Missing)?;
        let mut found = None;
        for (place, known) in self.tokens.iter().enumerate() {
            if known.token.is(token) {
                found = Some(Writer::Owner { name: known.owner.clone(), is_administrator: place == 0 });
            }
        }
        found.ok_or(TokenRefused::Unknown)
    }
}

impl Writer {
    /// The name under which it registers.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Owner { name, .. } => Some(name),
        }
    }

    /// How much it may fill.
    pub(super) fn share(&self) -> Share {
        match self {
            Self::Anyone | Self::Owner { is_administrator: true, .. } => Share::All,
            Self::Owner { is_administrator: false, .. } => Share::OfOne,
        }
    }

    /// Whether it may change or remove this entry.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), CatalogueError> {
        let may = match self {
            Self::Anyone => entry.owner.is_none(),
            Self::Owner { is_administrator: true, .. } => true,
            Self::Owner { name, .. } => entry.owner.as_ref() == Some(name),
        };
        match may {
            true => Ok(()),
            false => Err(CatalogueError::NotYours {
                name: entry.name.shown().into_owned(),
                owner: entry.owner.clone().unwrap_or_else(|| "somebody without a token".to_owned()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::token;

    #[test]
    fn the_first_token_is_the_administrators() {
        let tokens = token::read("root 0123456789abcdef\nalice aaaaaaaaaaaaaaaa").unwrap();
        let writers = Writers::new(tokens);
        let admit = |token: &str| writers.admit(Some(token.as_bytes()));
        assert!(matches!(admit("0123456789abcdef"), Ok(Writer::Owner { is_administrator: true, .. })));
        assert!(matches!(admit("aaaaaaaaaaaaaaaa"), Ok(Writer::Owner { is_administrator: false, .. })));
        assert_eq!(admit("aaaaaaaaaaaaaaa"), Err(TokenRefused::Unknown));
        assert_eq!(admit(""), Err(TokenRefused::Unknown));
        assert_eq!(writers.admit(None), Err(TokenRefused::Missing));
        assert_eq!(Writers::default().admit(None), Ok(Writer::Anyone));
    }

    #[test]
    fn a_conductor_inside_another_program_takes_changes_from_that_alone() {
        let writers = Writers::own(Token::new("0123456789abcdef").unwrap());
        assert!(!writers.is_anyone());
        assert_eq!(writers.admit(Some(b"0123456789abcdef")), Ok(Writer::Anyone));
        for token in [None, Some(&b""[..]), Some(b"0123456789abcdeg"), Some(b"0123456789abcde")] {
            assert_eq!(writers.admit(token), Err(TokenRefused::Own), "{token:?}");
        }
        assert!(!format!("{writers:?}").contains("0123456789"));
    }
}
