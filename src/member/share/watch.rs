//! Tells when something may have changed where files are shared; what it was is for a look to find out.

use std::path::{Path, PathBuf};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::watch;

/// Watches until it is dropped.
pub struct Watch {
    /// None: the system cannot.
    watcher: Option<RecommendedWatcher>,
    changes: watch::Receiver<u64>,
}

impl Watch {
    /// Watches these folders, and the folders of these files.
    pub fn start(named: &[PathBuf]) -> Self {
        let (tell, changes) = watch::channel(0);
        let on_event = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| matters(&event.kind)) {
                tell.send_modify(|count| *count += 1);
            }
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            for folder in folders(named) {
                watcher.watch(&folder, RecursiveMode::NonRecursive)?;
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

fn folders(named: &[PathBuf]) -> Vec<PathBuf> {
    let folder = |path: &PathBuf| match path.is_dir() {
        true => path.clone(),
        false => path.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let mut all: Vec<PathBuf> = named.iter().map(folder).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_file_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(&[folder.path().to_owned()]);
        assert!(watch.works());
        std::fs::write(folder.path().join("x"), "data").unwrap();
        watch.changed().await;
    }

    #[test]
    fn a_file_is_watched_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "").unwrap();
        assert_eq!(folders(&[file, folder.path().to_owned()]), [folder.path()]);
    }
}
