//! `member verify`: what is on the disk of a composition, part by part, with nobody asked and nothing changed.
//!
//! All of it is read, whatever is remembered. A part counts only if every byte of it is there: what a file lacks is read
//! as zeros and never counts, so that a hole cannot pass for a part of zeros.

use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::{ControlFlow, Range},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;

use super::{
    blocking,
    load::{self, Composition, LoadError, Named},
};
use crate::{
    cli::{Exit, verify::Verify},
    hashing::file::{Source, hash_file},
    manifest::FileEntry,
    storage::{Root, Tree},
    swarm::Snapshot,
    ui::{End, Phase, Report, Screen, View, output},
};

/// Time between two looks at how far it is.
const TICK: Duration = Duration::from_millis(100);

/// Why nothing could be verified, or something is wrong.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("a magnet link says nothing of the parts: verify against FILE.orch or FILE.torrent")]
    Magnet,
    #[error("{}: there is nothing of this name: fetch it with member, or name the folder that it is in", .0.display())]
    NotThere(PathBuf),
    #[error("{}: this is not what the manifest describes: {what}", .path.display())]
    OtherKind { path: PathBuf, what: &'static str },
    #[error("cannot read {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {what}; member FILE.orch --repair fetches what is wrong", .path.display())]
    Different { path: PathBuf, what: String },
    #[error("{}: all parts are right, and the whole file's checksum in the manifest is not: ask for the manifest again", .0.display())]
    Checksum(PathBuf),
    #[error("interrupted")]
    Interrupted,
}

impl VerifyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Load(error) => error.exit(),
            Self::Magnet => Exit::Usage,
            Self::NotThere(_) | Self::OtherKind { .. } | Self::Different { .. } => Exit::OtherData,
            Self::Read { .. } => Exit::Other,
            Self::Checksum(_) => Exit::BadManifest,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

/// What was found.
struct Findings {
    path: PathBuf,
    /// Runs of wrong or missing parts, first and last, counted from 1.
    wrong: Vec<(u32, u32)>,
    /// Bytes of the right parts.
    right: u64,
    /// What else is not as the manifest says, for people.
    odd: Vec<String>,
    /// Whether the checksum of the whole is as the manifest says; true where it has none.
    is_whole: bool,
}

/// Verifies what is on the disk, says so, and gives the exit code. To be called inside a tokio runtime.
pub async fn run(told: Verify, stop: CancellationToken) -> Exit {
    let start = Instant::now();
    let screen = Screen::new(told.screen, &told.log_dir, SystemTime::now);
    let named = told.manifest.to_string_lossy().into_owned();
    let manifest = told.manifest.clone();
    let loaded = blocking(move || load::load(manifest)).await;
    let composition = match loaded {
        Ok(Named::Composition(composition)) => Arc::new(composition),
        Ok(Named::Magnet(_)) => {
            return failed(VerifyError::Magnet, End::early(Some(named), Exit::Usage, start.elapsed()), &screen);
        }
        Err(error) => {
            let end = End::early(Some(named), error.exit(), start.elapsed());
            return failed(error.into(), end, &screen);
        }
    };
    let (name, size) = (composition.manifest.name.shown().into_owned(), composition.manifest.geometry.size());
    let done = Arc::new(AtomicU64::new(0));
    let (their_done, their_stop, theirs, place) = (done.clone(), stop.clone(), composition.clone(), told.place.clone());
    let mut work = tokio::task::spawn_blocking(move || verify(&theirs, &place, &their_done, &their_stop));
    let found = loop {
        let swarm = Snapshot { bytes: size, parts: composition.manifest.geometry.parts(), ..Snapshot::default() };
        let phase = Phase::Checking { done_bytes: done.load(Ordering::Relaxed) };
        screen.update(0, &View { name: name.clone(), phase, swarm, eta: None, elapsed: start.elapsed() });
        match tokio::time::timeout(TICK, &mut work).await {
            Ok(Ok(found)) => break found,
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => {}
        }
    };
    screen.leave(0);
    let end = End { size, ..End::early(Some(name.clone()), Exit::Done, start.elapsed()) };
    let found = match found {
        Ok(found) => found,
        Err(error) => return failed(error, end, &screen),
    };
    let (parts, wrong) = (composition.manifest.geometry.parts(), found.wrong.clone());
    screen.event(&Report::Checked { name, path: found.path.clone(), parts, wrong });
    found.odd.iter().for_each(|odd| screen.say(odd));
    let end = End { have: found.right, path: Some(found.path.clone()), ..end };
    match found.error() {
        Some(error) => failed(error, end, &screen),
        None => {
            screen.event(&Report::End(End { whole_after: Some(start.elapsed()), ..end }));
            output::exit_of(screen.printed(), Exit::Done)
        }
    }
}

fn failed(error: VerifyError, end: End, screen: &Screen) -> Exit {
    let (code, text) = (error.exit(), error.to_string());
    log::error!("{text}");
    screen.event(&Report::Error { name: None, code, text: text.clone() });
    screen.event(&Report::End(End { code, text: Some(text), ..end }));
    output::exit_of(screen.printed(), code)
}

impl Findings {
    fn error(&self) -> Option<VerifyError> {
        let path = self.path.clone();
        let what = match (self.wrong.is_empty(), self.odd.first()) {
            (true, None) if self.is_whole => return None,
            (true, None) => return Some(VerifyError::Checksum(path)),
            (true, Some(odd)) => odd.clone(),
            (false, _) => "parts of it are wrong or missing".to_owned(),
        };
        Some(VerifyError::Different { path, what })
    }
}

/// Reads all of it. `place`: the folder that it is in, or a file itself. Blocks.
fn verify(
    composition: &Composition,
    place: &Path,
    done: &AtomicU64,
    stop: &CancellationToken,
) -> Result<Findings, VerifyError> {
    let manifest = &composition.manifest;
    let is_folder = !composition.files.is_empty();
    let path = match fs::metadata(place) {
        Ok(found) if found.is_file() && !is_folder => place.to_owned(),
        _ => place.join(manifest.name.as_str()),
    };
    let (source, odd) = match is_folder {
        true => folder(&path, &composition.files)?,
        false => file(&path, manifest.geometry.size())?,
    };
    let geometry = &manifest.geometry;
    let (mut wrong, mut right) = (Vec::new(), 0);
    let hashed = hash_file(&source, geometry, manifest.whole.is_some(), &mut |part, digest| {
        let bytes = geometry.part_range(part);
        done.store(bytes.end, Ordering::Relaxed);
        match digest == manifest.parts[part.as_usize()] && !source.lacks(&bytes) {
            true => right += bytes.end - bytes.start,
            false => append(&mut wrong, part.get() + 1),
        }
        if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let whole = match hashed {
        _ if stop.is_cancelled() => return Err(VerifyError::Interrupted),
        Ok(whole) => whole,
        Err(error) => return Err(VerifyError::Read { path, error }),
    };
    Ok(Findings { path, wrong, right, odd, is_whole: whole == manifest.whole })
}

/// Adds the next number to runs of numbers.
fn append(runs: &mut Vec<(u32, u32)>, number: u32) {
    match runs.last_mut() {
        Some((_, last)) if *last + 1 == number => *last = number,
        _ => runs.push((number, number)),
    }
}

/// What is there of a composition, zeros in place of what is not.
struct Present {
    body: Body,
    /// The bytes that are there, in order.
    there: Vec<Range<u64>>,
}

enum Body {
    File(File),
    Folder(Tree),
}

impl Present {
    /// Whether any of these bytes is not there.
    fn lacks(&self, bytes: &Range<u64>) -> bool {
        let mut next = bytes.start;
        let first = self.there.partition_point(|there| there.end <= bytes.start);
        for there in &self.there[first..] {
            if there.start > next || next >= bytes.end {
                break;
            }
            next = there.end;
        }
        next < bytes.end
    }
}

impl Source for Present {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        into.fill(0);
        let wanted = offset..offset + into.len() as u64;
        let first = self.there.partition_point(|there| there.end <= wanted.start);
        for there in self.there[first..].iter().take_while(|there| there.start < wanted.end) {
            let (start, end) = (there.start.max(wanted.start), there.end.min(wanted.end));
            let into = &mut into[(start - offset) as usize..(end - offset) as usize];
            match &self.body {
                Body::File(file) => FileExt::read_exact_at(file, into, start)?,
                Body::Folder(tree) => tree.read_exact_at(into, start)?,
            }
        }
        Ok(())
    }

    fn expect_sequential_reads(&self) {
        if let Body::File(file) = &self.body {
            file.expect_sequential_reads();
        }
    }
}

fn file(path: &Path, size: u64) -> Result<(Present, Vec<String>), VerifyError> {
    let failed = |error| VerifyError::Read { path: path.to_owned(), error };
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VerifyError::NotThere(path.to_owned())),
        Err(error) => return Err(failed(error)),
    };
    if !found.is_file() {
        let what = "a regular file is expected";
        return Err(VerifyError::OtherKind { path: path.to_owned(), what });
    }
    // Something else may take its place in between: opening a pipe must not wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let odd = (length > size).then(|| format!("it is {length} bytes long, and {size} are expected"));
    let there = Some(0..length.min(size)).filter(|there| !there.is_empty());
    Ok((Present { body: Body::File(file), there: there.into_iter().collect() }, odd.into_iter().collect()))
}

fn folder(path: &Path, files: &[FileEntry]) -> Result<(Present, Vec<String>), VerifyError> {
    let failed = |error| VerifyError::Read { path: path.to_owned(), error };
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let what = "a folder is expected";
            return Err(VerifyError::OtherKind { path: path.to_owned(), what });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VerifyError::NotThere(path.to_owned())),
        Err(error) => return Err(failed(error)),
    }
    let tree = Tree::to_read(Root::open(path).map_err(failed)?, files);
    let survey = tree.survey().map_err(failed)?;
    let (mut there, mut odd, mut start) = (Vec::new(), Vec::new(), 0);
    for (entry, found) in files.iter().zip(survey) {
        let (name, size) = (crate::manifest::shown(entry.path.as_str()), entry.size);
        let length = match found {
            _ if entry.padding => size,
            Some(found) => {
                let length = found.stamp.size;
                if length != size {
                    odd.push(format!("{name} is {length} bytes long, and {size} are expected"));
                }
                length.min(size)
            }
            None => {
                odd.push(format!("{name} is missing"));
                0
            }
        };
        if length > 0 {
            there.push(start..start + length);
        }
        start += size;
    }
    Ok((Present { body: Body::Folder(tree), there }, odd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::composer::{Rules, describe};

    fn composition(path: &Path) -> Composition {
        let manifest = describe(path, None, &Rules::default(), &mut |_| ControlFlow::Continue(())).unwrap().manifest;
        Composition::of_manifest(manifest, path.to_owned()).unwrap()
    }

    fn found(composition: &Composition, place: &Path) -> Result<Findings, VerifyError> {
        verify(composition, place, &AtomicU64::new(0), &CancellationToken::new())
    }

    #[test]
    fn wrong_and_missing_parts_of_a_file_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        // A part of zeros at the end: a file that is cut short before it does not have that part.
        let mut data = vec![7; 100_000];
        data[98_304..].fill(0);
        fs::write(&path, &data).unwrap();
        let is = composition(&path);
        let at = |place: &Path| found(&is, place).map(|found| (found.wrong.clone(), found.error().map(|e| e.exit())));
        assert_eq!(at(folder.path()).unwrap(), (vec![], None));
        assert_eq!(at(&path).unwrap(), (vec![], None), "the file itself may be named");
        let mut other = data.clone();
        (other[20_000], other[40_000], other[80_000]) = (0, 0, 0);
        fs::write(&path, other).unwrap();
        assert_eq!(at(folder.path()).unwrap(), (vec![(2, 3), (5, 5)], Some(Exit::OtherData)));
        fs::write(&path, &data[..98_304]).unwrap();
        assert_eq!(at(folder.path()).unwrap(), (vec![(7, 7)], Some(Exit::OtherData)));
        fs::write(&path, [&data[..], b"more"].concat()).unwrap();
        assert_eq!(at(folder.path()).unwrap(), (vec![], Some(Exit::OtherData)), "it is longer");
        fs::remove_file(&path).unwrap();
        assert_eq!(at(folder.path()).unwrap_err().exit(), Exit::OtherData);
        fs::create_dir(&path).unwrap();
        assert_eq!(at(folder.path()).unwrap_err().exit(), Exit::OtherData);
    }

    #[test]
    fn a_wrong_checksum_of_right_parts_is_the_manifests() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), vec![7; 20_000]).unwrap();
        let mut is = composition(&folder.path().join("x"));
        is.manifest.whole = Some(crate::hashing::Digest([1; 20]));
        assert_eq!(found(&is, folder.path()).unwrap().error().unwrap().exit(), Exit::BadManifest);
        is.manifest.whole = None;
        assert!(found(&is, folder.path()).unwrap().error().is_none());
    }

    #[test]
    fn of_a_folder_the_files_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::create_dir_all(path.join("deep")).unwrap();
        for (name, byte) in [("a", 1), ("deep/b", 2), ("deep/c", 3)] {
            fs::write(path.join(name), vec![byte; 40_000]).unwrap();
        }
        let is = composition(&path);
        assert!(found(&is, folder.path()).unwrap().error().is_none());
        fs::remove_file(path.join("deep/b")).unwrap();
        fs::write(path.join("more"), "not of it").unwrap();
        let there = found(&is, folder.path()).unwrap();
        assert_eq!((&there.wrong[..], &there.odd[..]), (&[(3, 5)][..], &["deep/b is missing".to_owned()][..]));
        assert_eq!(there.error().unwrap().exit(), Exit::OtherData);
        fs::write(path.join("deep/b"), vec![2; 39_999]).unwrap();
        let there = found(&is, folder.path()).unwrap();
        assert!(there.odd[0].contains("39999 bytes long") && !there.wrong.is_empty(), "{:?}", there.odd);
    }

    #[test]
    fn what_is_lacking_is_known_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("x")).unwrap();
        let present = Present { body: Body::File(file), there: vec![0..10, 10..20, 25..30] };
        for (bytes, lacks) in
            [(0..20, false), (5..15, false), (0..21, true), (20..25, true), (25..30, false), (29..31, true)]
        {
            assert_eq!(present.lacks(&bytes), lacks, "{bytes:?}");
        }
    }
}
