//! Tells when something may have changed where files are shared; what it was is for a look to find out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::watch;

use super::scan::{self, Named};

/// Watches until it is dropped.
pub struct Watch {
    /// None: the system cannot.
    watcher: Option<RecommendedWatcher>,
    changes: watch::Receiver<u64>,
}

impl Watch {
    /// Watches these folders and all in them, and the folders of these files. What links in a folder lead to is not watched.
    pub fn start(named: &Named) -> Self {
        let (tell, changes) = watch::channel(0);
        let (all, paths) = (named.clone(), places(&named.paths));
        let above = paths.clone();
        let on_event = move |event: notify::Result<Event>| {
            let elsewhere = |path: &PathBuf| above.iter().any(|named| scan::passes_over(&all, named, path));
            if event.is_ok_and(|event| matters(&event.kind) && !event.paths.iter().any(elsewhere)) {
                tell.send_modify(|count| *count += 1);
            }
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            for (folder, mode) in folders(&paths) {
                watcher.watch(&folder, mode)?;
            }
            Ok(watcher)
        });
        let watcher = watcher.map_err(|error| log::warn!("folders are looked through, not watched: {error}")).ok();
        Self { watcher, changes }
    }

    /// Whether [`Watch::changed`] ever tells anything.
    pub fn works(&self) -> bool {
        self.watcher.is_some()
    }

    /// Until something may have changed since it was last asked.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// That a file is read changes nothing.
fn matters(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => matches!(kind, AccessKind::Close(AccessMode::Write)),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// Each path, and what it leads to where it is a link.
fn places(named: &[PathBuf]) -> Vec<PathBuf> {
    let lead = named.iter().filter(|path| path.is_symlink()).filter_map(|path| path.canonicalize().ok());
    // A link to a folder is not watched itself: what is in the folder matters.
    let plain = named.iter().filter(|path| !(path.is_symlink() && path.is_dir()));
    plain.cloned().chain(lead).collect()
}

/// The folders to watch, each once.
fn folders(named: &[PathBuf]) -> BTreeMap<PathBuf, RecursiveMode> {
    let (whole, files): (Vec<&PathBuf>, Vec<&PathBuf>) = named.iter().partition(|path| path.is_dir());
    let above = files.iter().map(|path| path.parent().unwrap_or(Path::new("/")).to_owned());
    let mut all: BTreeMap<_, _> = above.map(|folder| (folder, RecursiveMode::NonRecursive)).collect();
    all.extend(whole.into_iter().map(|folder| (folder.clone(), RecursiveMode::Recursive)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &Path) -> Named {
        Named { paths: vec![path.to_owned()], ..Named::default() }
    }

    #[tokio::test]
    async fn a_new_file_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(&named(folder.path()));
        assert!(watch.works());
        std::fs::write(folder.path().join("x"), "data").unwrap();
        watch.changed().await;
    }

    #[tokio::test]
    async fn a_new_file_in_a_folder_in_it_is_told_of_and_a_log_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("sub/deep")).unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let mut watch = Watch::start(&named(folder.path()));
        for n in 0..100 {
            std::fs::write(folder.path().join("logs/member.log"), n.to_string()).unwrap();
        }
        std::fs::write(folder.path().join("sub/deep/x"), "data").unwrap();
        watch.changed().await;
        // What the log did came first.
        assert!(*watch.changes.borrow() < 10, "{}", *watch.changes.borrow());
    }

    #[test]
    fn a_file_is_watched_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "").unwrap();
        let watched = |named: &[PathBuf]| folders(named).into_iter().collect::<Vec<_>>();
        let here = folder.path().to_owned();
        assert_eq!(watched(std::slice::from_ref(&file)), [(here.clone(), RecursiveMode::NonRecursive)]);
        assert_eq!(watched(&[file, here.clone()]), [(here, RecursiveMode::Recursive)]);
    }
}
