//! Puts manifests into a conductor's catalogue: one, or many in one request.
//!
//! A conductor that has too much to do, for all of them or for some, answers [`AskError::Busy`]: the caller asks again.

use std::sync::atomic::Ordering;

use super::{
    AskError, Client, Composition, Entry, IfTaken, Key, MAX_MANIFEST, Place, Remedy,
    batch::{BatchAnswer, BatchResult, that_fit},
    client::{Write, status_means},
    place::ROOT,
};
use crate::manifest::{Manifest, shown};

impl Client {
    /// Puts a manifest into the catalogue.
    pub async fn register(&self, manifest: &Manifest, if_taken: IfTaken) -> Result<Composition, AskError> {
        let text = manifest.render();
        if text.len() > MAX_MANIFEST {
            return Err(AskError::TooLong(text.len()));
        }
        let place = Place::Entry(Key::Hash(manifest.info_hash()));
        let path = format!("{place}{}", if_taken.query());
        let entry: Entry = self.understand(&self.write(Write::Put, &path, text.into_bytes()).await?)?;
        Ok(entry.composition)
    }

    /// Puts as many of the first of these manifests into the catalogue as one request takes: one at least, unless there
    /// are none. Gives a result for each of those, in their order.
    ///
    /// # Errors
    /// The request itself was not answered: nothing is known of any of them.
    pub async fn register_some(
        &self,
        manifests: &[Manifest],
        if_taken: IfTaken,
    ) -> Result<Vec<Result<Composition, AskError>>, AskError> {
        let Some(first) = manifests.first() else { return Ok(Vec::new()) };
        let texts: Vec<String> = manifests.iter().take(super::batch::MAX_BATCH).map(Manifest::render).collect();
        let fit = that_fit(texts.iter().map(String::as_str));
        if fit <= 1 || self.is_old.load(Ordering::Relaxed) {
            return Ok(vec![one(self.register(first, if_taken).await)?]);
        }
        // Texts always can be written.
        let body = serde_json::to_vec(&texts[..fit]).unwrap_or_default();
        let answer = match self.write(Write::Post, &format!("{ROOT}{}", if_taken.query()), body).await {
            Err(AskError::Refused { remedy: Remedy::Older, .. }) => {
                self.is_old.store(true, Ordering::Relaxed);
                return Ok(vec![one(self.register(first, if_taken).await)?]);
            }
            answer => answer?,
        };
        let BatchAnswer { results, .. } = self.understand(&answer)?;
        match results.len() == fit {
            true => Ok(results.into_iter().map(|result| self.result(result)).collect()),
            false => Err(self.strange(format!("{} results for {fit} manifests", results.len()))),
        }
    }

    fn result(&self, BatchResult { status, entry, error }: BatchResult) -> Result<Composition, AskError> {
        let why = error.map_or_else(|| format!("HTTP status {status}"), |error| shown(&error).into_owned());
        match entry {
            Some(entry) if (200..300).contains(&status) => Ok(entry),
            _ => Err(status_means(self.conductor().to_string(), status, why)),
        }
    }
}

/// What is wrong with this one alone is its result.
fn one(registered: Result<Composition, AskError>) -> Result<Result<Composition, AskError>, AskError> {
    match registered {
        Err(error @ (AskError::Unreachable { .. } | AskError::Strange { .. } | AskError::Client(_))) => Err(error),
        result => Ok(result),
    }
}
