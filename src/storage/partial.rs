//! `NAME.part`: found or made, locked, and of the right length.

use std::{fs::File, io, os::unix::fs::MetadataExt, path::Path};

use super::{
    Contents, Existing, Notes, Stamp, StorageError,
    finish::Names,
    open::{Ask, plain_file, stamp},
    os, own,
    state::State,
};
use crate::wire::bitfield::Bitfield;

/// How often to look again when the file comes or goes while it is being opened.
pub(super) const ATTEMPTS: usize = 5;

/// A `NAME.part` that is ours alone.
pub(super) struct Partial {
    pub file: File,
    /// The parts in it that are right; None if that must be found out.
    pub have: Option<Bitfield>,
}

/// Opens `NAME.part`, or makes it.
pub(super) fn open(ask: &Ask<'_>) -> Result<Partial, StorageError> {
    let Ask { contents, names, folder, wishes, .. } = *ask;
    for _ in 0..ATTEMPTS {
        let opened = if plain_file(&names.part)?.is_some() {
            go_on(contents, names, folder, wishes.existing, wishes.notes)?
        } else {
            begin(contents, names, folder)?
        };
        if let Some(partial) = opened {
            return Ok(partial);
        }
    }
    Err(StorageError::Busy { path: names.part.clone() })
}

/// Makes a new one; None if somebody else was faster.
fn begin(contents: &Contents, names: &Names, folder: &Path) -> Result<Option<Partial>, StorageError> {
    let size = contents.geometry.size();
    check_room(names, folder, size)?;
    let file = match os::create_new(&names.part) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(e) => return Err(StorageError::io(&names.part, "make it", e)),
    };
    if !take_lock(&file, names)? {
        return Ok(None);
    }
    match make_ready(contents, names, &file) {
        Ok(none) => Ok(Some(Partial { file, have: Some(none) })),
        Err(error) => {
            // It holds nothing, and it is ours.
            let _ = std::fs::remove_file(&names.part);
            Err(error)
        }
    }
}

/// Whatever happens after this, the note tells whose file this is.
fn make_ready(contents: &Contents, names: &Names, file: &File) -> Result<Bitfield, StorageError> {
    set_aside(file, names, contents.geometry.size())?;
    let none = Bitfield::none(&contents.geometry);
    State::new(contents.info_hash, stamp(file, &names.part)?, &none).write(&names.state)?;
    Ok(none)
}

/// Goes on with one that is there; None if it was taken away meanwhile.
fn go_on(
    contents: &Contents,
    names: &Names,
    folder: &Path,
    existing: Existing,
    notes: Notes,
) -> Result<Option<Partial>, StorageError> {
    let file = match os::open_existing(&names.part, true) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StorageError::io(&names.part, "open it to write", e)),
    };
    if !take_lock(&file, names)? {
        return Ok(None);
    }
    let alone = keep_to_ourselves(&file, &names.part)?;
    let now = stamp(&file, &names.part)?;
    let state = State::read(&names.state);
    let size = contents.geometry.size();
    let foreign =
        state.as_ref().is_some_and(|s| s.info_hash != contents.info_hash) || (now.size != size && now.size != 0);
    if foreign && existing == Existing::Share {
        return Err(StorageError::Foreign { path: names.part.clone() });
    }
    let have = state
        .filter(|_| alone && notes == Notes::Believed)
        .and_then(|s| s.proves(contents.info_hash, &now, &contents.geometry));
    check_room(names, folder, still_needed(contents, &file, names, have.as_ref())?)?;
    if have.is_none() {
        // Of one whose note is believed this was done; again it would give the file another time, and spoil the note.
        set_aside(&file, names, size)?;
    }
    Ok(Some(Partial { file, have }))
}

/// Whether nobody else could write this file, which was opened to be written; from now on nobody else may.
pub(super) fn keep_to_ourselves(file: &File, path: &Path) -> Result<bool, StorageError> {
    let meta = file.metadata().map_err(|e| StorageError::io(path, "look at it", e))?;
    let alone = own::is_ours_alone(&meta);
    if !alone && let Err(error) = own::keep(file) {
        log::warn!("{}: others may write it meanwhile: {error}", path.display());
    }
    Ok(alone)
}

/// Locks the file; false if `NAME.part` is another one by now.
fn take_lock(file: &File, names: &Names) -> Result<bool, StorageError> {
    lock(file, &names.part)?;
    let ours = stamp(file, &names.part)?;
    Ok(plain_file(&names.part)?.is_some_and(|meta| Stamp::from_metadata(&meta).is_same_file(&ours)))
}

/// Takes the lock of the file or folder at this path.
pub(super) fn lock(file: &File, path: &Path) -> Result<(), StorageError> {
    match os::lock(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StorageError::Busy { path: path.to_owned() }),
        Err(error) => {
            let path = path.display();
            log::warn!("{path}: no locks on this file system ({error}): see to it that no other member writes this");
            Ok(())
        }
    }
}

/// Bytes of the disk that the rest will take. Unknown counts as nothing: a file system that compresses sets less
/// aside than it holds, and nobody must be turned away for that.
fn still_needed(contents: &Contents, file: &File, names: &Names, have: Option<&Bitfield>) -> Result<u64, StorageError> {
    let size = contents.geometry.size();
    let meta = file.metadata().map_err(|e| StorageError::io(&names.part, "look at it", e))?;
    let not_set_aside = size.saturating_sub(meta.blocks() * 512);
    Ok(match have {
        Some(have) => {
            let there = u64::from(have.count()) * u64::from(contents.geometry.part_size());
            not_set_aside.min(size.saturating_sub(there))
        }
        None if meta.len() == 0 => size,
        None => 0,
    })
}

pub(super) fn check_room(names: &Names, folder: &Path, needed: u64) -> Result<(), StorageError> {
    match os::free_space(folder) {
        Some(free) if free < needed => Err(StorageError::Full { path: names.part.clone(), missing: needed - free }),
        _ => Ok(()),
    }
}

fn set_aside(file: &File, names: &Names, size: u64) -> Result<(), StorageError> {
    os::make_room(file, size).map_err(|e| StorageError::io(&names.part, "set room aside for it", e))
}
