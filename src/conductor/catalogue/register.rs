//! How manifests are taken in: one, or many in one change of the store.
//!
//! Manifests are read before the store is asked for anything. Of many, those with different names do not depend on each
//! other and make one change; where a name comes again, another change begins.

use std::{collections::HashSet, sync::Arc};

use super::{
    Catalogue, CatalogueError, Entry, Outcome, Store, StoreError, Writer,
    index::{Lack, Load},
    store::Put,
};
use crate::{
    catalogue::{IfTaken, Key, MAX_MANIFEST},
    manifest::Manifest,
    metainfo::InfoHash,
};

/// What became of one manifest.
pub type Registered = Result<(Entry, Outcome), CatalogueError>;

/// A manifest that was read.
struct Candidate {
    entry: Entry,
    text: Vec<u8>,
}

/// What is to be done with a manifest.
enum Step {
    /// Exactly this is there.
    Nothing(Entry),
    Keep {
        entry: Entry,
        instead_of: Option<InfoHash>,
    },
}

impl Catalogue {
    /// Takes a manifest in under the writer's name. `named` is what the request called it. Blocks.
    ///
    /// An owner holds each name once, unless it is said that both are to stand; the same composition with other optional
    /// lines is replaced if that is asked for.
    pub fn register(&self, writer: &Writer, named: &Key, bytes: &[u8], if_taken: IfTaken, now: u64) -> Registered {
        let candidate = Candidate::read(writer, bytes, now)?;
        check_name(&candidate.entry, named)?;
        let result = self.take_in(writer, &[candidate], if_taken).pop();
        result.unwrap_or_else(|| Err(CatalogueError::Unknown(named.to_string())))
    }

    /// As [`Catalogue::register`], of many; gives one result for each, in their order. Blocks.
    pub fn register_all(
        &self,
        writer: &Writer,
        manifests: &[impl AsRef<[u8]>],
        if_taken: IfTaken,
        now: u64,
    ) -> Vec<Registered> {
        let mut sound = Vec::new();
        let read = |bytes| Candidate::read(writer, bytes, now).map(|candidate| sound.push(candidate));
        let read: Vec<Result<(), CatalogueError>> = manifests.iter().map(AsRef::as_ref).map(read).collect();
        let mut taken = Vec::with_capacity(sound.len());
        let mut rest = &sound[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(different_names(rest));
            taken.extend(self.take_in(writer, some, if_taken));
            rest = others;
        }
        let mut taken = taken.into_iter();
        // There is a result for each that could be read.
        read.into_iter().filter_map(|read| read.map_or_else(|error| Some(Err(error)), |()| taken.next())).collect()
    }

    /// Takes in manifests of different names. What can be kept is one change: all of it is, or nothing.
    fn take_in(&self, writer: &Writer, candidates: &[Candidate], if_taken: IfTaken) -> Vec<Registered> {
        // Held until the index is changed too: one change at a time.
        let mut store = self.store();
        match self.again_if_raced(|| self.try_to_take_in(&mut **store, writer, candidates, if_taken)) {
            Ok(results) => results,
            Err(error) => {
                let error = Arc::new(error);
                candidates.iter().map(|_| Err(CatalogueError::Store(error.clone()))).collect()
            }
        }
    }

    fn try_to_take_in(
        &self,
        store: &mut dyn Store,
        writer: &Writer,
        candidates: &[Candidate],
        if_taken: IfTaken,
    ) -> Result<Vec<Registered>, StoreError> {
        self.follow(store)?;
        let mut more = Load::default();
        let mut steps = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let hash = &candidate.entry.info_hash;
            let is_there = self.index().get(hash).is_some();
            let is_same = is_there && store.manifest(hash)?.as_ref() == Some(&candidate.text);
            let step = self.decide(writer, candidate, is_same, if_taken, more);
            if let Ok(Step::Keep { entry, .. }) = &step {
                more = more.with(entry);
            }
            steps.push(step);
        }
        let mut puts = Vec::new();
        for (step, candidate) in steps.iter().zip(candidates) {
            if let Ok(Step::Keep { entry, instead_of }) = step {
                puts.push(Put { entry, manifest: &candidate.text, instead_of: *instead_of });
            }
        }
        if !puts.is_empty() {
            store.put(&puts)?;
        }
        Ok(steps.into_iter().map(|step| step.map(|step| self.done(step))).collect())
    }

    /// What is to be done with a manifest, while `more` than the index knows is to be kept too. `is_same`: exactly this
    /// manifest is there.
    fn decide(
        &self,
        writer: &Writer,
        candidate: &Candidate,
        is_same: bool,
        if_taken: IfTaken,
        more: Load,
    ) -> Result<Step, CatalogueError> {
        let (index, mut entry) = (self.index(), candidate.entry.clone());
        let instead_of = if let Some(old) = index.get(&entry.info_hash) {
            if is_same {
                return Ok(Step::Nothing(old.clone()));
            }
            writer.check(old)?;
            if if_taken != IfTaken::Replace {
                return Err(CatalogueError::There(old.name.shown().into_owned()));
            }
            entry.owner.clone_from(&old.owner);
            None
        } else {
            let taken = index.held(entry.owner.as_deref(), &entry.name).min_by_key(|entry| entry.registered);
            match (taken.map(|taken| taken.info_hash), if_taken) {
                (Some(hash), IfTaken::Refuse) => {
                    return Err(CatalogueError::Taken { name: entry.name.shown().into_owned(), hash });
                }
                (_, IfTaken::Beside) | (None, _) => None,
                (taken, IfTaken::Replace) => taken,
            }
        };
        match index.lacks(&entry, &instead_of.unwrap_or(entry.info_hash), more, writer.share()) {
            None => Ok(Step::Keep { entry, instead_of }),
            Some(Lack::Share) => Err(CatalogueError::Share(entry.owner.unwrap_or_default())),
            Some(Lack::Room) => Err(CatalogueError::Full),
        }
    }

    /// Puts into the index what the store has.
    fn done(&self, step: Step) -> (Entry, Outcome) {
        let (entry, instead_of) = match step {
            Step::Nothing(entry) => return (entry, Outcome::Unchanged),
            Step::Keep { entry, instead_of } => (entry, instead_of),
        };
        let mut index = self.index_mut();
        let outcome = match index.remove(&instead_of.unwrap_or(entry.info_hash)) {
            Some(_) => Outcome::Replaced,
            None => Outcome::New,
        };
        index.insert(entry.clone());
        self.soon().remove(&entry.name);
        self.has_changed();
        (entry, outcome)
    }
}

impl Candidate {
    fn read(writer: &Writer, bytes: &[u8], now: u64) -> Result<Self, CatalogueError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(CatalogueError::TooLong);
        }
        let manifest = Manifest::parse(bytes)?;
        if manifest.is_closed() {
            return Err(CatalogueError::Closed);
        }
        let text = manifest.render().into_bytes();
        let entry = Entry {
            info_hash: manifest.info_hash(),
            name: manifest.name.clone(),
            size: manifest.geometry.size(),
            part_size: manifest.geometry.part_size(),
            parts: manifest.geometry.parts(),
            owner: writer.owner().map(str::to_owned),
            registered: now,
            length: text.len() as u64,
        };
        Ok(Self { entry, text })
    }
}

/// How many of the first of these have different names.
fn different_names(candidates: &[Candidate]) -> usize {
    let mut names = HashSet::new();
    candidates.iter().take_while(|candidate| names.insert(&candidate.entry.name)).count()
}

/// Whether the request named what its body holds.
fn check_name(entry: &Entry, named: &Key) -> Result<(), CatalogueError> {
    let fits = match named {
        Key::Hash(hash) => *hash == entry.info_hash,
        Key::Name(name) => *name == entry.name,
        Key::Owned { owner, name } => Some(owner) == entry.owner.as_ref() && *name == entry.name,
    };
    match fits {
        true => Ok(()),
        false => Err(CatalogueError::Other {
            there: format!("{} ({})", entry.name.shown(), entry.info_hash),
            named: named.to_string(),
        }),
    }
}
