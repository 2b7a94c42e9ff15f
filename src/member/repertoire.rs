//! The repertoire: what this process shares now, for whoever asks the member itself and not a conductor.
//!
//! One for all compositions of the process. It holds what a line of a list says, and where the manifest is; the manifest
//! of a composition that sleeps stays on the disk until it is asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{catalogue::Coming, geometry::Geometry, manifest::Manifest, metainfo::InfoHash};

/// Gives a manifest, and reads it first where it must: to be called where blocking is allowed. None: it is gone.
pub type Manifests = Arc<dyn Fn() -> Option<Arc<Manifest>> + Send + Sync>;

/// Clones are the same one.
#[derive(Clone, Default)]
pub struct Repertoire(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    shared: HashMap<InfoHash, Performed>,
    coming: Vec<Coming>,
}

/// One composition that is shared.
#[derive(Clone)]
pub struct Performed {
    pub info_hash: InfoHash,
    /// As in the manifest: a stranger's text, not yet safe for a terminal.
    pub name: String,
    pub geometry: Geometry,
    /// Bytes that it lacks here.
    pub left: u64,
    /// When it was taken up, in seconds since 1970.
    pub since: u64,
    pub manifest: Manifests,
}

impl Performed {
    /// `left` as in [`Performed::left`].
    pub fn new(info_hash: InfoHash, of: &Manifest, left: u64, manifest: Manifests) -> Self {
        let (name, geometry) = (of.name.as_str().to_owned(), of.geometry);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { info_hash, name, geometry, left, since, manifest }
    }
}

/// A composition is in the repertoire until this is dropped.
pub struct Listed {
    repertoire: Repertoire,
    info_hash: InfoHash,
}

impl Repertoire {
    /// Takes it up; in the place of what has the same info-hash.
    pub fn list(&self, performed: Performed) -> Listed {
        let info_hash = performed.info_hash;
        self.lock().shared.insert(info_hash, performed);
        Listed { repertoire: self.clone(), info_hash }
    }

    pub fn get(&self, info_hash: &InfoHash) -> Option<Performed> {
        self.lock().shared.get(info_hash).cloned()
    }

    /// Those that `wanted` means, in no order.
    pub fn find(&self, mut wanted: impl FnMut(&Performed) -> bool) -> Vec<Performed> {
        self.lock().shared.values().filter(|performed| wanted(performed)).cloned().collect()
    }

    /// What is being hashed, and will be shared soon, in the place of what was said before.
    pub fn expect(&self, coming: Vec<Coming>) {
        self.lock().coming = coming;
    }

    /// What will be shared soon.
    pub fn expected(&self) -> Vec<Coming> {
        let kept = self.lock();
        let is_there = |coming: &Coming| kept.shared.values().any(|shared| shared.name == coming.name);
        kept.coming.iter().filter(|coming| !is_there(coming)).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.lock().shared.len()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Bytes that it lacks here now.
    pub fn lacks(&self, left: u64) {
        if let Some(performed) = self.repertoire.lock().shared.get_mut(&self.info_hash) {
            performed.left = left;
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.repertoire.lock().shared.remove(&self.info_hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = "127.0.0.1:9999\na.iso\n86f7e437faa5a7fce15d1ddcb9eaeaea377667b8\n1\n16384\n1\n\
                        86f7e437faa5a7fce15d1ddcb9eaeaea377667b8\n";

    #[test]
    fn a_composition_is_listed_for_as_long_as_it_is_shared() {
        let (manifest, hash) = (Arc::new(Manifest::parse(TINY.as_bytes()).unwrap()), InfoHash([7; 20]));
        let kept = manifest.clone();
        let repertoire = Repertoire::default();
        let listed = repertoire.list(Performed::new(hash, &manifest, 5, Arc::new(move || Some(kept.clone()))));
        listed.lacks(3);
        let found = repertoire.find(|performed| performed.name == manifest.name.as_str());
        assert_eq!(found.iter().map(|one| (one.info_hash, one.left)).collect::<Vec<_>>(), [(hash, 3)]);
        assert_eq!((found[0].manifest)(), Some(manifest));
        let coming = |name: &str| Coming { name: name.to_owned(), size: 1, done: 0 };
        repertoire.expect(vec![coming("a.iso"), coming("b.iso")]);
        assert_eq!(repertoire.expected(), [coming("b.iso")], "not what is there already");
        drop(listed);
        assert!(repertoire.len() == 0 && repertoire.get(&hash).is_none());
    }
}
