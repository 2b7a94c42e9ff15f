//! Final names: of a folder that is whole, or of the files in it that were wanted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Root, Tree};
use crate::storage::{
    Stamp, StorageError,
    finish::{Home, Names, Place, appeared, stamp_at, tidy},
    note, os, own,
    store::Shared,
};

/// See [`crate::storage::Store::finish`]. `replaces`: what was under the final names when it was opened to be repaired.
pub fn finish(shared: &Shared, home: &mut Home) -> Result<PathBuf, StorageError> {
    let Place::PartFolder { tree, replaces, .. } = &home.place else { return Ok(home.names.whole.clone()) };
    let (tree, replaces) = (tree.clone(), replaces.clone());
    let naming = Naming { shared, names: &home.names, tree: &tree, replaces: &replaces };
    naming.make_ready()?;
    let before = tree.survey().map_err(|e| naming.failed("look through it", e))?;
    if naming.wanted().any(|number| !tree.is_there(number, &before)) {
        return Err(StorageError::Moved { path: home.names.part.clone() });
    }
    let at_once = tree.named().is_none() && naming.wants_all();
    match at_once {
        true => os::rename_to_new(&home.names.part, &home.names.whole).map_err(|e| naming.not_named(e))?,
        false => naming.name_each()?,
    }
    if !at_once && !naming.all_are_named() {
        tree.sync_names().map_err(|e| naming.failed("bring it to the disk", e))?;
        home.place = Place::PartFolder { tree, replaces, named: true };
        return Ok(home.names.whole.clone());
    }
    if !at_once {
        naming.remove_part();
    }
    tidy(&home.names);
    let whole = naming.wants_all();
    // It is whole and has its name: what fails from here on costs a check at the next start, no more.
    let after = tree.survey();
    let same = after.is_ok_and(|after| {
        before.iter().zip(&after).all(|pair| match pair {
            (Some(before), Some(after)) => before.stamp.is_same_data(&after.stamp),
            (before, after) => before.is_none() && after.is_none(),
        })
    });
    let stamp = stamp_of(&home.names.whole, &tree).map_err(|e| naming.failed("look at it", e))?;
    home.place = Place::Final { stamp };
    if same && whole {
        home.remember(shared, &stamp);
    }
    Ok(home.names.whole.clone())
}

/// Of what has the final name now.
pub fn stamp_of(whole: &Path, tree: &Tree) -> io::Result<Stamp> {
    let files: Vec<_> = tree.files().cloned().collect();
    Tree::to_read(tree.root().open_alike(whole)?, &files).stamp()
}

struct Naming<'a> {
    shared: &'a Shared,
    names: &'a Names,
    tree: &'a Arc<Tree>,
    replaces: &'a [Option<Stamp>],
}

impl Naming<'_> {
    fn failed(&self, doing: &'static str, error: io::Error) -> StorageError {
        StorageError::io(&self.names.part, doing, error)
    }

    fn not_named(&self, error: io::Error) -> StorageError {
        match error.kind() {
            io::ErrorKind::AlreadyExists => appeared(self.names),
            io::ErrorKind::NotFound => StorageError::Moved { path: self.names.part.clone() },
            _ => StorageError::io(&self.names.whole, "give it its final name", error),
        }
    }

    fn wants_all(&self) -> bool {
        self.shared.contents.only.is_none()
    }

    /// The numbers of the files that are to have their final names.
    fn wanted(&self) -> impl Iterator<Item = usize> {
        let files = self.shared.contents.files.iter().enumerate().filter(|(_, file)| !file.padding);
        let only = self.shared.contents.only.as_ref();
        files.map(|(number, _)| number).filter(move |number| only.is_none_or(|only| only.has(*number)))
    }

    fn all_are_named(&self) -> bool {
        self.tree.files().enumerate().all(|(number, file)| file.padding || self.tree.is_named(number))
    }

    /// Everything of the wanted files is on the disk, empty ones and the rights of others too.
    fn make_ready(&self) -> Result<(), StorageError> {
        let ours = Stamp::of(self.tree.root().file()).map_err(|e| self.failed("look at it", e))?;
        if !stamp_at(&self.names.part).is_some_and(|there| there.is_same_file(&ours)) {
            return Err(StorageError::Moved { path: self.names.part.clone() });
        }
        let rights = own::usual_rights(&note::beside(&self.names.state, ".new"));
        for number in self.wanted().filter(|number| !self.tree.is_named(*number)) {
            self.tree.make(number).map_err(|e| self.failed("make it", e))?;
            let file = &self.shared.contents.files[number];
            if file.executable
                && let Err(error) = self.tree.root().make_executable(&file.path)
            {
                log::warn!("{}: it cannot be made a program: {error}", file.path.shown());
            }
            if rights != 0
                && let Err(error) = self.tree.root().share(&file.path, rights)
            {
                log::warn!("{}: its permissions stay narrow: {error}", file.path.shown());
            }
        }
        let synced = self.shared.sync().and_then(|()| self.tree.sync_names());
        synced.map_err(|e| self.failed("bring it to the disk", e))
    }

    /// Moves each file that was wanted into the folder `NAME`, which is made when it was not there at the start.
    fn name_each(&self) -> Result<(), StorageError> {
        if self.tree.named().is_none() {
            let made = fs::create_dir(&self.names.whole).and_then(|()| Root::open(&self.names.whole));
            self.tree.name_in(made.map_err(|e| self.not_named(e))?);
        }
        let Some(folder) = self.tree.named() else { return Ok(()) };
        for number in self.wanted().filter(|number| !self.tree.is_named(*number)) {
            self.name(number, folder)?;
            self.tree.has_name(number);
            self.tree.root().remove_empty_folders(&self.shared.contents.files[number].path);
        }
        Ok(())
    }

    fn name(&self, number: usize, folder: &Root) -> Result<(), StorageError> {
        let path = &self.shared.contents.files[number].path;
        match self.tree.root().move_to_new(path, folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map_err(|e| self.not_named(e)),
        }
        let old = self.replaces.get(number).copied().flatten();
        let there = folder.look(path).map_err(|e| self.not_named(e))?;
        match (old, there) {
            (Some(old), Some(there)) if there.stamp.is_same_data(&old) => {
                self.tree.root().move_over(path, folder).map_err(|e| self.not_named(e))
            }
            _ => Err(appeared(self.names)),
        }
    }

    /// Removes `NAME.part`, which has no file of ours any more; if anything else is in it, that stays.
    fn remove_part(&self) {
        for file in self.tree.files().filter(|file| !file.padding) {
            self.tree.root().remove_empty_folders(&file.path);
        }
        if let Err(error) = fs::remove_dir(&self.names.part) {
            log::warn!("{}: cannot remove it: {error}", self.names.part.display());
        }
    }
}
