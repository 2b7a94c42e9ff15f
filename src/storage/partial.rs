//! `NAME.part`: found or made, locked, and of the right length.

use std::{fs::File, io, os::unix::fs::MetadataExt, path::Path};

use super::{
    Existing, Notes, Stamp, StorageError,
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
    let names = ask.names;
    for _ in 0..ATTEMPTS {
        let opened = if plain_file(&names.part)?.is_some() { go_on(ask)? } else { begin(ask)? };
        if let Some(partial) = opened {
            return Ok(partial);
        }
    }
    Err(StorageError::Busy { path: names.part.clone() })
}

/// Makes a new one; None if somebody else was faster.
fn begin(ask: &Ask<'_>) -> Result<Option<Partial>, StorageError> {
    let names = ask.names;
    check_room(names, ask.folder, ask.room_for(&(0..ask.contents.geometry.size())))?;
    let file = match os::create_new(&names.part) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(e) => return Err(StorageError::io(&names.part, "make it", e)),
    };
    if !take_lock(&file, names)? {
        return Ok(None);
    }
    match make_ready(ask, &file) {
        Ok(zeros) => Ok(Some(Partial { file, have: Some(zeros) })),
        Err(error) => {
            // It holds nothing, and it is ours.
            let _ = std::fs::remove_file(&names.part);
            Err(error)
        }
    }
}

/// Whatever happens after this, the note tells whose file this is. Gives the parts that are there: a new file is zeros.
fn make_ready(ask: &Ask<'_>, file: &File) -> Result<Bitfield, StorageError> {
    let names = ask.names;
    set_aside(ask, file)?;
    let zeros = ask.zeros().parts().clone();
    State::new(ask.contents.info_hash, stamp(file, &names.part)?, &zeros).write(&names.state)?;
    Ok(zeros)
}

/// Goes on with one that is there; None if it was taken away meanwhile.
fn go_on(ask: &Ask<'_>) -> Result<Option<Partial>, StorageError> {
    let Ask { contents, names, folder, wishes, .. } = *ask;
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
    if foreign && wishes.existing == Existing::Share {
        return Err(StorageError::Foreign { path: names.part.clone() });
    }
    let have = state
        .filter(|_| alone && wishes.notes == Notes::Believed)
        .and_then(|s| s.proves(contents.info_hash, &now, &contents.geometry));
    check_room(names, folder, still_needed(ask, &file, have.as_ref())?)?;
    if have.is_none() {
        // Of one whose note is believed this was done; again it would give the file another time, and spoil the note.
        set_aside(ask, &file)?;
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
fn still_needed(ask: &Ask<'_>, file: &File, have: Option<&Bitfield>) -> Result<u64, StorageError> {
    let all = ask.room_for(&(0..ask.contents.geometry.size()));
    let meta = file.metadata().map_err(|e| StorageError::io(&ask.names.part, "look at it", e))?;
    let not_set_aside = all.saturating_sub(meta.blocks() * 512);
    Ok(match have {
        Some(have) => not_set_aside.min(ask.missing(have)),
        None if meta.len() == 0 => all,
        None => 0,
    })
}

pub(super) fn check_room(names: &Names, folder: &Path, needed: u64) -> Result<(), StorageError> {
    match os::free_space(folder) {
        Some(free) if free < needed => Err(StorageError::Full { path: names.part.clone(), missing: needed - free }),
        _ => Ok(()),
    }
}

fn set_aside(ask: &Ask<'_>, file: &File) -> Result<(), StorageError> {
    let size = ask.contents.geometry.size();
    let data = ask.zeros().others_in(&(0..size));
    os::make_room(file, size, &data).map_err(|e| StorageError::io(&ask.names.part, "set room aside for it", e))
}
