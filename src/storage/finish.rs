//! What stays when a member ends: the state of a file that is not whole, or the final name.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use super::{
    Proofs, Stamp, StorageError, Tree, event, files::Files, folder, note, os, own, state::State, store::Shared,
};

/// Where a composition is on the disk.
pub(super) struct Home {
    pub names: Names,
    pub place: Place,
    pub proofs: Option<Proofs>,
}

pub(super) enum Place {
    /// Under its final name. The stamp is from before anything of it was read.
    Final { stamp: Stamp },
    /// In `NAME.part`, to take the place of the file with this stamp, if there was one.
    Part { replaces: Option<Stamp> },
    /// In the folder `NAME.part`, to take the places of the files with these stamps, if there were any. `named`: those
    /// that were wanted have their final names.
    PartFolder { tree: Arc<Tree>, replaces: Vec<Option<Stamp>>, named: bool },
}

/// The names that belong to a composition.
pub(super) struct Names {
    pub whole: PathBuf,
    pub part: PathBuf,
    pub state: PathBuf,
}

impl Names {
    pub fn new(folder: &Path, name: &str) -> Self {
        let whole = folder.join(name);
        let part = note::beside(&whole, ".part");
        let state = note::beside(&part, ".state");
        Self { whole, part, state }
    }

    /// Goes round what another user left under the names of what is fetched: whoever owns a file may change it whenever he
    /// likes, whatever it held when it was hashed. Then `NAME.USER.part` is fetched into, USER being a number; with it, the
    /// other's `NAME.part`, whose good parts can be copied. What the folder's owner left is no worse than the folder.
    pub fn beside_others(self) -> (Self, Option<PathBuf>) {
        let part = note::beside(&self.whole, &format!(".{}.part", own::user()));
        let names = [&self.part, &self.state, &note::beside(&self.state, ".new")];
        let taken = names.iter().any(|path| self.is_anothers(path));
        let begun = fs::symlink_metadata(&part).is_ok_and(|meta| own::is_ours(&meta));
        let goes_on = begun && stamp_at(&self.part).is_none();
        if !taken && !goes_on {
            return (self, None);
        }
        let theirs = self.is_anothers(&self.part).then_some(self.part);
        let state = note::beside(&part, ".state");
        (Self { whole: self.whole, part, state }, theirs)
    }

    /// Whether what has this name is in somebody else's hands: it is his, or has another name too, under which he may be
    /// meant to lose it.
    fn is_anothers(&self, path: &Path) -> bool {
        let Ok(meta) = fs::symlink_metadata(path) else { return false };
        let linked = meta.is_file() && meta.nlink() > 1;
        let folder = fs::metadata(self.folder());
        let of_folder =
            folder.is_ok_and(|folder| folder.uid() == meta.uid() && folder.mode() & own::WRITE_BY_OTHERS == 0);
        linked || !(own::is_ours(&meta) || of_folder)
    }

    fn folder(&self) -> &Path {
        match self.whole.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

impl Home {
    pub fn path(&self) -> &Path {
        match self.place {
            Place::Final { .. } | Place::PartFolder { named: true, .. } => &self.names.whole,
            Place::Part { .. } | Place::PartFolder { .. } => &self.names.part,
        }
    }

    /// Whether what has its final name was so long when it was verified, all files together.
    pub fn had_size(&self, bytes: u64) -> bool {
        matches!(&self.place, Place::Final { stamp } if stamp.size == bytes)
    }

    /// What has its final name was hashed again, after this stamp was taken.
    pub fn is_proven_anew(&mut self, shared: &Shared, now: Stamp) {
        if let Place::Final { stamp } = &mut self.place {
            *stamp = now;
            self.remember(shared, &now);
        }
    }

    /// Remembers the proof. A member works without: what fails is only logged.
    pub fn remember(&self, shared: &Shared, stamp: &Stamp) {
        let Some(proofs) = &self.proofs else { return };
        let contents = &shared.contents;
        let whole = contents.whole.filter(|_| contents.only.is_none());
        if let Err(error) = proofs.remember(&self.names.whole, contents.info_hash, stamp, whole) {
            log::warn!("the file will be checked again next time: {error}");
        }
    }
}

/// See [`super::Store::save_state`].
pub(super) fn save_state(shared: &Shared, home: &Home) -> Result<(), StorageError> {
    // Parts that were not looked at yet must not be noted as missing.
    if matches!(home.place, Place::Final { .. }) || shared.unchecked.load(Ordering::Acquire) {
        return Ok(());
    }
    // First the parts, then the sync: what is written meanwhile is not in the note.
    let parts = shared.lock().on_disk.clone();
    let stamp = synced_stamp(shared, home)?;
    // Right before the note is written: nothing is put beside what took its place.
    is_in_its_place(shared, home)?;
    State::new(shared.contents.info_hash, stamp, &parts).write(&home.names.state)
}

/// See [`super::Store::look_after`].
pub(super) fn look_after(shared: &Shared, home: &Home) -> Result<(), StorageError> {
    let stamp = match &home.place {
        Place::Final { stamp } => stamp,
        // Nothing of what was wanted is there any more.
        Place::PartFolder { named: true, .. } => return Ok(()),
        Place::Part { .. } | Place::PartFolder { .. } => return is_in_its_place(shared, home),
    };
    let path = &home.names.whole;
    let gone = || StorageError::Gone { path: path.clone() };
    let there = look_at(path)?.ok_or_else(gone)?;
    let now = stamp_under(path, shared)?;
    if !stamp.is_same_data(&now) {
        return Err(StorageError::ChangedSince { path: path.clone() });
    }
    if there.is_same_file(&now) { Ok(()) } else { Err(gone()) }
}

/// Whether what is fetched still is what has its name.
fn is_in_its_place(shared: &Shared, home: &Home) -> Result<(), StorageError> {
    let (path, looked) = (&home.names.part, |error| StorageError::io(&home.names.part, "look at it", error));
    let ours = match (&home.place, &shared.files) {
        (Place::Part { .. }, Files::One(file)) => Stamp::of(file).map_err(looked)?,
        (Place::PartFolder { tree, .. }, _) => Stamp::of(tree.root().file()).map_err(looked)?,
        (Place::Part { .. } | Place::Final { .. }, _) => return Ok(()),
    };
    match look_at(path)? {
        Some(there) if there.is_same_file(&ours) => Ok(()),
        _ => Err(StorageError::Moved { path: path.clone() }),
    }
}

/// The stamp of what has the final name and is open.
pub(super) fn stamp_under(path: &Path, shared: &Shared) -> Result<Stamp, StorageError> {
    let stamp = match &shared.files {
        Files::One(file) => Stamp::of(file),
        // Its files may have got their names one by one, in another folder than they came in.
        Files::Folder(tree) => folder::finish::stamp_of(path, tree),
    };
    stamp.map_err(|e| StorageError::io(path, "look at it", e))
}

/// See [`super::Store::finish`].
pub(super) fn finish(shared: &Shared, home: &mut Home) -> Result<PathBuf, StorageError> {
    if !shared.whole.load(Ordering::Acquire) {
        let path = home.path().to_owned();
        return Err(StorageError::NotWhole { path });
    }
    if let (Place::Part { .. }, Files::One(file), true) = (&home.place, &shared.files, shared.contents.executable) {
        make_executable(file, home.path());
    }
    if let (Place::Part { .. }, Files::One(file)) = (&home.place, &shared.files) {
        is_in_its_place(shared, home)?;
        let rights = own::usual_rights(&note::beside(&home.names.state, ".new"));
        if let Err(error) = own::share(file, rights) {
            log::warn!("{}: its permissions stay narrow: {error}", home.path().display());
        }
    }
    let synced = synced_stamp(shared, home)?;
    is_undisturbed(shared, home, &synced)?;
    match &home.place {
        Place::Final { stamp } if !stamp.is_same_data(&synced) => {
            return Err(StorageError::Changed { path: home.names.whole.clone() });
        }
        Place::Final { stamp } => {
            if *stamp == synced {
                home.remember(shared, stamp);
            }
            // Who was killed just after the rename left it behind.
            if stamp_at(&home.names.part).is_none() {
                remove_state(&home.names);
            }
        }
        Place::PartFolder { .. } => {
            let path = folder::finish::finish(shared, home)?;
            save_state(shared, home)?;
            return Ok(path);
        }
        Place::Part { replaces } => {
            give_final_name(&home.names, &synced, replaces.as_ref())?;
            tidy(&home.names);
            // It is whole and has its name: what fails from here on costs a check at the next start, no more.
            let stamp = stamp_of(shared, &home.names.whole).unwrap_or(synced);
            home.place = Place::Final { stamp };
            if stamp != synced && stamp.is_same_data(&synced) {
                home.remember(shared, &stamp);
            }
        }
    }
    Ok(home.names.whole.clone())
}

/// Whether nobody cut short what was fetched, or took data from it: each part has a byte that is not zero, or is known to
/// be zeros, and so no part is a hole that was not one before.
fn is_undisturbed(shared: &Shared, home: &Home, synced: &Stamp) -> Result<(), StorageError> {
    if matches!(home.place, Place::Final { .. }) {
        return Ok(());
    }
    let (geometry, path) = (&shared.contents.geometry, home.path());
    let on_disk = shared.lock().on_disk.clone();
    let mut filled = on_disk.ones(geometry).filter(|part| !shared.zeros.has(*part));
    let wrong_size = match &shared.files {
        Files::One(_) => synced.size != geometry.size(),
        // Each file's size is looked at before it gets its name.
        Files::Folder(_) => false,
    };
    if wrong_size || filled.any(|part| shared.files.is_hole(&geometry.part_range(part))) {
        shared.distrust();
        return Err(StorageError::Disturbed { path: path.to_owned() });
    }
    Ok(())
}

fn synced_stamp(shared: &Shared, home: &Home) -> Result<Stamp, StorageError> {
    shared.sync().map_err(|e| StorageError::io(home.path(), "bring it to the disk", e))?;
    stamp_of(shared, home.path())
}

fn stamp_of(shared: &Shared, path: &Path) -> Result<Stamp, StorageError> {
    shared.files.stamp().map_err(|e| StorageError::io(path, "look at it", e))
}

/// Renames `NAME.part`, which must still be the file with the stamp `ours`.
fn give_final_name(names: &Names, ours: &Stamp, replaces: Option<&Stamp>) -> Result<(), StorageError> {
    if !stamp_at(&names.part).is_some_and(|there| there.is_same_file(ours)) {
        return Err(StorageError::Moved { path: names.part.clone() });
    }
    let failed = |e| StorageError::io(&names.whole, "give it its final name", e);
    let in_place = stamp_at(&names.whole);
    match (replaces, in_place) {
        (Some(old), Some(there)) if there.is_same_data(old) => {
            keep_mode(names);
            replace(names, old).map_err(failed)?
        }
        (_, Some(_)) => Err(appeared(names)),
        (_, None) => match os::rename_to_new(&names.part, &names.whole) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(appeared(names)),
            done => done.map_err(failed),
        },
    }
}

/// Swaps the new file with the old, and removes the old if it is the one that was to be replaced.
fn replace(names: &Names, old: &Stamp) -> io::Result<Result<(), StorageError>> {
    if !os::exchange(&names.part, &names.whole)? {
        fs::rename(&names.part, &names.whole)?;
        return Ok(Ok(()));
    }
    if stamp_at(&names.part).is_some_and(|there| there.is_same_data(old)) {
        fs::remove_file(&names.part)?;
        Ok(Ok(()))
    } else {
        os::exchange(&names.part, &names.whole)?;
        Ok(Err(appeared(names)))
    }
}

/// Makes it a program, for those who may read it. If that fails the data is right all the same.
fn make_executable(file: &File, path: &Path) {
    let done = file.metadata().and_then(|meta| {
        let mode = meta.permissions().mode();
        file.set_permissions(Permissions::from_mode(mode | (mode & 0o444) >> 2))
    });
    if let Err(error) = done {
        log::warn!("{}: it cannot be made executable: {error}", path.display());
    }
}

/// A repaired program stays executable. If that fails the data is right all the same.
fn keep_mode(names: &Names) {
    let done = fs::metadata(&names.whole).and_then(|old| fs::set_permissions(&names.part, old.permissions()));
    if let Err(error) = done {
        log::warn!("{}: its permissions are not kept: {error}", names.whole.display());
    }
}

pub(super) fn appeared(names: &Names) -> StorageError {
    StorageError::Appeared { path: names.whole.clone(), part: names.part.clone() }
}

/// The stamp of what has this name, links not followed; None if nothing has, or it cannot be seen.
///
/// # Errors
/// Its disk is broken or gone.
fn look_at(path: &Path) -> Result<Option<Stamp>, StorageError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Stamp::from_metadata(&meta))),
        Err(error) if event::is_broken(&error) => Err(StorageError::io(path, "look at it", error)),
        Err(_) => Ok(None),
    }
}

/// The stamp of what has this name, links not followed.
pub(super) fn stamp_at(path: &Path) -> Option<Stamp> {
    Some(Stamp::from_metadata(&fs::symlink_metadata(path).ok()?))
}

/// After the rename: makes it last, and removes the state. What fails here takes nothing from the file.
pub(super) fn tidy(names: &Names) {
    if let Err(error) = File::open(names.folder()).and_then(|folder| folder.sync_all()) {
        log::warn!("{}: its new name may not outlive a power cut: {error}", names.whole.display());
    }
    remove_state(names);
}

fn remove_state(names: &Names) {
    match fs::remove_file(&names.state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("{}: cannot remove it: {error}", names.state.display());
        }
        _ => {}
    }
}
