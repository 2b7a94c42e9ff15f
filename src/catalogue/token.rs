//! Tokens: who knows one may write to a catalogue.
//!
//! Pure. A token is never shown: not in a message, a log or what `Debug` prints. Two are compared in constant time, so
//! that the time of an answer does not tell how much of a guess was right.

use std::fmt;

use subtle::ConstantTimeEq;

use super::place::is_owner;

/// The shortest token, in bytes: what is shorter could be guessed over the network.
const SHORTEST: usize = 16;
/// The longest, in bytes.
const LONGEST: usize = 256;

/// A secret that a person was given to write to a catalogue with.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why some text is no token, or no file of tokens. It never holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("a token is {SHORTEST} to {LONGEST} letters, digits and signs without spaces: uuidgen makes a good one")]
    Form,
    #[error("it holds no token: write one a line, OWNER TOKEN")]
    None,
    #[error("line {0}: expected OWNER TOKEN, the owner of letters, digits, - and _")]
    Line(usize),
    #[error("line {line}: {error}")]
    Token { line: usize, error: Box<TokenError> },
    #[error("line {0}: this token or its owner is there twice")]
    Twice(usize),
}

impl Token {
    /// Takes a token as it was typed.
    ///
    /// # Errors
    /// It is too short, too long, or has a space in it.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let sound = text.bytes().all(|b| b.is_ascii_graphic());
        match sound && (SHORTEST..=LONGEST).contains(&text.len()) {
            true => Ok(Self(text.to_owned())),
            false => Err(TokenError::Form),
        }
    }

    /// Whether this text is the token, in a time that depends on the lengths alone.
    pub fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }

    /// The token itself, to be sent to the conductor and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

/// A token and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub owner: String,
    pub token: Token,
}

/// Whose the first token is, where its line does not say.
pub const ADMINISTRATOR: &str = "admin";

/// Reads a file of tokens: a line each, `OWNER TOKEN`; empty lines and those that begin with `#` do not count. The
/// first is the administrator's, and may be the token alone.
pub fn read(text: &str) -> Result<Vec<Owned>, TokenError> {
    let mut all: Vec<Owned> = Vec::new();
    let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines().map(str::trim));
    for (line, content) in lines.filter(|(_, content)| !content.is_empty() && !content.starts_with('#')) {
        let words: Vec<&str> = content.split_whitespace().collect();
        let (owner, token) = match words[..] {
            [token] if all.is_empty() => (ADMINISTRATOR, token),
            [owner, token] if is_owner(owner) => (owner, token),
            _ => return Err(TokenError::Line(line)),
        };
        let token = Token::new(token).map_err(|error| TokenError::Token { line, error: Box::new(error) })?;
        if all.iter().any(|known| known.owner == owner || known.token == token) {
            return Err(TokenError::Twice(line));
        }
        all.push(Owned { owner: owner.to_owned(), token });
    }
    match all.is_empty() {
        true => Err(TokenError::None),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_line_is_the_administrators() {
        let text = "# who may write\n\n0123456789abcdef\r\nalice  aaaaaaaaaaaaaaaa\n\tbob bbbbbbbbbbbbbbbb # no";
        assert_eq!(read(text), Err(TokenError::Line(5)));
        let read = read(text.strip_suffix(" # no").unwrap()).unwrap();
        let owners: Vec<&str> = read.iter().map(|owned| owned.owner.as_str()).collect();
        assert_eq!(owners, ["admin", "alice", "bob"]);
        assert!(read[1].token.is(b"aaaaaaaaaaaaaaaa") && !read[1].token.is(b"aaaaaaaaaaaaaaab"));
    }

    #[test]
    fn what_is_wrong_is_said_and_the_token_is_not() {
        let long = "s3cret".repeat(50);
        for (text, words) in [
            ("", "no token"),
            ("short", "line 1"),
            ("root s3crets3crets3cret\nalice s3crets3crets3cret", "twice"),
            ("s3crets3crets3cret\ns3crets3crets3cret2", "line 2"),
            ("a.b s3crets3crets3cret", "line 1"),
            (&long, "line 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
        }
        let debug = format!("{:?}", read("s3crets3crets3cret").unwrap());
        assert!(!debug.contains("s3cret"), "{debug}");
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "\\PC{0,80}", lines in "([a-z#]{0,9} {0,2}[0-9a-f]{14,18}\\n){0,4}") {
            let _ = read(&text);
            let _ = read(&lines);
        }
    }
}
