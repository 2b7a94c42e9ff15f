//! Where tokens come from: a file that the command line names, else the environment; never a flag, which every user of
//! the machine could read, and never `.env`.

use std::{env, fs, path::Path};

use crate::catalogue::{
    Token,
    token::{self, ADMINISTRATOR, Owned, TokenError},
};

/// The variable that holds one token.
const VARIABLE: &str = "ORCHESTRA_TOKEN";

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
