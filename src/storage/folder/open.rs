//! What is on the disk of a folder at the start, and what to make of it.

use std::{
    fs::{self, DirBuilder},
    io,
    ops::Range,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::Arc,
};

use super::{Root, There, Tree};
use crate::{
    manifest::FileEntry,
    storage::{
        Contents, Existing, Notes, Stamp, StorageError,
        check::Source,
        disk::Disk,
        file_names,
        files::Files,
        finish::{Names, Place},
        open::{Ask, Start, make_folder},
        own,
        partial::{ATTEMPTS, check_room, lock},
        state::State,
    },
    wire::bitfield::Bitfield,
};

/// What has the final name, if it is to be repaired.
struct Old {
    tree: Tree,
    survey: Vec<Option<There>>,
}

/// A `NAME.part` that is ours alone.
struct Partial {
    tree: Tree,
    have: Option<Bitfield>,
}

pub fn look_around(ask: &Ask<'_>) -> Result<Start, StorageError> {
    let names = ask.names;
    if !is_folder(&names.whole)? {
        return fetch(ask, None);
    }
    let root = match ask.wishes.follow_links && ask.wishes.existing == Existing::Share {
        true => Root::open_with_links(&names.whole).map_err(|e| StorageError::io(&names.whole, "open it", e))?,
        false => open_root(&names.whole)?,
    };
    let tree = Tree::to_read(root, &ask.contents.files);
    let looked = |error| StorageError::io(&names.whole, "look through it", error);
    let survey = tree.survey().map_err(looked)?;
    let complete = tree.is_all_there(&survey);
    let stamp = tree.stamp_of(&survey).map_err(looked)?;
    let parts_are_proven = complete && ask.are_parts_proven(&stamp);
    match ask.wishes.existing {
        Existing::Repair if !parts_are_proven => fetch(ask, Some(Old { tree, survey })),
        _ if complete => Ok(ask.share(Files::Folder(Arc::new(tree)), stamp, true, parts_are_proven)),
        _ if is_kept_apart(ask)? => fetch(ask, None),
        _ if ask.is_thorough() => Ok(ask.share(Files::Folder(Arc::new(tree)), stamp, false, false)),
        _ => Err(StorageError::Different { path: names.whole.clone() }),
    }
}

/// An older folder, to read: files of it may be missing, or of another size. None if it is not there.
pub fn old(path: &Path, contents: &Contents) -> Result<Option<Arc<dyn Disk>>, StorageError> {
    if !is_folder(path)? {
        return Ok(None);
    }
    Ok(Some(Arc::new(Tree::to_read(open_root(path)?, &contents.files))))
}

/// Whether a folder has this name, links not followed; false if nothing has.
fn is_folder(path: &Path) -> Result<bool, StorageError> {
    let what = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Ok(true),
        Ok(meta) if meta.is_symlink() => "this is a symbolic link",
        Ok(_) => "this is a file",
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(StorageError::io(path, "look at it", e)),
    };
    Err(StorageError::NotAFolder { path: path.to_owned(), what })
}

fn open_root(path: &Path) -> Result<Root, StorageError> {
    Root::open(path).map_err(|e| StorageError::io(path, "open it", e))
}

/// Whether `NAME` has some of the files only because others are still in `NAME.part`.
fn is_kept_apart(ask: &Ask<'_>) -> Result<bool, StorageError> {
    Ok(is_folder(&ask.names.part)? && State::whose(&ask.names.state) == Some(ask.contents.info_hash))
}

/// `old` is the folder under the final name, to be repaired.
fn fetch(ask: &Ask<'_>, old: Option<Old>) -> Result<Start, StorageError> {
    make_folder(ask.folder)?;
    check_names(ask)?;
    let Partial { tree, have } = open(ask, old.is_some())?;
    let replaces = old.as_ref().map(|old| old.survey.iter().map(|there| there.map(|there| there.stamp)).collect());
    if old.is_some() {
        tree.name_in(open_root(&ask.names.whole)?);
    }
    let place = Place::PartFolder { tree: Arc::new(tree), replaces: replaces.unwrap_or_default(), named: false };
    let Place::PartFolder { tree, .. } = &place else { unreachable!("just made") };
    let files = Files::Folder(tree.clone());
    ask.go_on(files, have, place, old.map(|old| Source::Other(Arc::new(old.tree))))
}

/// Whether the file system has room for the names of all files that may be written, each as a file of its own.
fn check_names(ask: &Ask<'_>) -> Result<(), StorageError> {
    let Contents { name, files, only, geometry, .. } = ask.contents;
    file_names::check(ask.folder, [name.as_str()].into_iter())?;
    let mut start = 0;
    let written = files.iter().filter(|file| {
        let range = start..start + file.size;
        start = range.end;
        // At the border of a wanted file its neighbours are written too.
        let touched = || only.as_ref().is_none_or(|only| only.touches(geometry, &range));
        !file.padding && touched()
    });
    file_names::check(ask.folder, written.map(|file| file.path.as_str()))
}

/// Opens `NAME.part`, or makes it.
fn open(ask: &Ask<'_>, repair: bool) -> Result<Partial, StorageError> {
    for _ in 0..ATTEMPTS {
        let opened = match is_folder(&ask.names.part)? {
            true => go_on(ask, repair)?,
            false => begin(ask)?,
        };
        if let Some(partial) = opened {
            return Ok(partial);
        }
    }
    Err(StorageError::Busy { path: ask.names.part.clone() })
}

/// Makes a new one; None if somebody else was faster.
fn begin(ask: &Ask<'_>) -> Result<Option<Partial>, StorageError> {
    let Ask { contents, names, .. } = ask;
    check_room(names, ask.folder, wanted(ask).map(|(_, _, range)| ask.room_for(&range)).sum())?;
    match DirBuilder::new().mode(0o755).create(&names.part) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(e) => return Err(StorageError::io(&names.part, "make it", e)),
    }
    let Some(root) = locked(names)? else { return Ok(None) };
    let tree = tree_of(ask, root);
    let none = Bitfield::none(&contents.geometry);
    let noted = (tree.stamp().map_err(|e| StorageError::io(&names.part, "look at it", e)))
        .and_then(|stamp| State::new(contents.info_hash, stamp, &none).write(&names.state));
    if let Err(error) = noted {
        // It holds nothing, and it is ours.
        let _ = fs::remove_dir(&names.part);
        return Err(error);
    }
    // Files of zeros are made: those that have none of their bytes to come would never be.
    let zeros = ask.zeros().parts();
    for part in contents.geometry.all_parts().filter(|part| zeros.has(*part)) {
        tree.make_in(&contents.geometry.part_range(part)).map_err(|e| StorageError::io(&names.part, "make it", e))?;
    }
    Ok(Some(Partial { tree, have: Some(zeros.clone()) }))
}

/// Goes on with one that is there; None if it was taken away meanwhile.
fn go_on(ask: &Ask<'_>, repair: bool) -> Result<Option<Partial>, StorageError> {
    let Ask { contents, names, wishes, .. } = ask;
    let Some(root) = locked(names)? else { return Ok(None) };
    let tree = tree_of(ask, root);
    if !repair && is_folder(&names.whole)? {
        let looked = tree.some_are_named(open_root(&names.whole)?);
        if !looked.map_err(|e| StorageError::io(&names.whole, "look through it", e))? {
            return Err(StorageError::Different { path: names.whole.clone() });
        }
    }
    let looked = |error| StorageError::io(&names.part, "look through it", error);
    let alone = keep_to_ourselves(&tree, &names.part)?;
    let survey = tree.survey().map_err(looked)?;
    let stamp = tree.stamp_of(&survey).map_err(looked)?;
    let state = State::read(&names.state);
    let foreign = match &state {
        Some(state) => state.info_hash != contents.info_hash,
        None => is_something_else(&names.part, &tree, &survey)?,
    };
    if foreign && wishes.existing == Existing::Share {
        return Err(StorageError::Foreign { path: names.part.clone() });
    }
    let believed = state.filter(|_| alone && wishes.notes == Notes::Believed);
    let have = believed.and_then(|state| state.proves(contents.info_hash, &stamp, &contents.geometry));
    check_room(names, ask.folder, still_needed(ask, &survey, have.as_ref()))?;
    Ok(Some(Partial { tree, have }))
}

/// Whether nobody else could write this folder or a file in it; from now on nobody else may.
fn keep_to_ourselves(tree: &Tree, path: &Path) -> Result<bool, StorageError> {
    let failed = |error| StorageError::io(path, "look through it", error);
    let survey = tree.survey().map_err(failed)?;
    let folder = own::is_ours_alone(&tree.root().file().metadata().map_err(failed)?);
    let loose = tree.files().zip(&survey).enumerate().filter(|(_, (_, there))| there.is_some_and(|there| !there.alone));
    // Those that have their final names are only read, and others may write them as any other file.
    let loose = loose.filter(|(number, _)| !tree.is_named(*number)).map(|(_, (file, _))| &file.path);
    let loose: Vec<_> = loose.collect();
    let alone = folder && loose.is_empty();
    if !alone && let Err(error) = tree.root().keep(loose.into_iter()) {
        log::warn!("{}: others may write there meanwhile: {error}", path.display());
    }
    Ok(alone)
}

fn tree_of(ask: &Ask<'_>, root: Root) -> Tree {
    let wanted = |number| ask.contents.only.as_ref().is_none_or(|only| only.has(number));
    Tree::to_write(root, &ask.contents.files, wanted, ask.zeros().clone())
}

/// Opens `NAME.part` and locks it; None if it is another one by now.
fn locked(names: &Names) -> Result<Option<Root>, StorageError> {
    let root = match Root::open(&names.part) {
        Ok(root) => root,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StorageError::io(&names.part, "open it", e)),
    };
    lock(root.file(), &names.part)?;
    let ours = Stamp::of(root.file()).map_err(|e| StorageError::io(&names.part, "look at it", e))?;
    let there = fs::symlink_metadata(&names.part).map(|meta| Stamp::from_metadata(&meta));
    Ok(there.is_ok_and(|there| there.is_same_file(&ours)).then_some(root))
}

/// Whether a `NAME.part` without a note is none of ours: not empty, and without any file of ours, or with one of another
/// size.
fn is_something_else(path: &Path, tree: &Tree, survey: &[Option<There>]) -> Result<bool, StorageError> {
    let ours = tree.files().zip(survey).filter_map(|(file, there)| Some((file.size, (*there)?.stamp.size)));
    let ours: Vec<_> = ours.collect();
    let mut entries = fs::read_dir(path).map_err(|e| StorageError::io(path, "look at it", e))?;
    Ok(ours.iter().any(|(wanted, there)| wanted != there) || (ours.is_empty() && entries.next().is_some()))
}

/// Bytes of the disk that the rest will take. Unknown counts as nothing, as for a single file.
fn still_needed(ask: &Ask<'_>, survey: &[Option<There>], have: Option<&Bitfield>) -> u64 {
    let not_set_aside = wanted(ask).map(|(number, _, range)| match (survey[number], have) {
        (Some(there), Some(_)) => ask.room_for(&range).saturating_sub(there.room),
        (Some(_), None) => 0,
        (None, _) => ask.room_for(&range),
    });
    let not_set_aside = not_set_aside.sum::<u64>();
    have.map_or(not_set_aside, |have| not_set_aside.min(ask.missing(have)))
}

/// The files that are wanted, with their numbers and their bytes of the composition; padding is on no disk.
fn wanted<'a>(ask: &'a Ask<'_>) -> impl Iterator<Item = (usize, &'a FileEntry, Range<u64>)> + use<'a> {
    let Contents { only, files, .. } = ask.contents;
    let mut start = 0;
    let ranges = files.iter().enumerate().map(move |(number, file)| {
        let range = start..start + file.size;
        start = range.end;
        (number, file, range)
    });
    ranges.filter(|(number, file, _)| !file.padding && only.as_ref().is_none_or(|only| only.has(*number)))
}
