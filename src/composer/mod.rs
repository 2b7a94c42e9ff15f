//! The composer: reads a composition and writes its manifest.
//!
//! `plan` decides what will be written and where before the first byte is read, `walk` finds the files of a folder,
//! `read` hashes the composition and sees to it that it did not change, `write` puts whole files under their names, `register` puts the manifest into a catalogue,
//! `share` and `screen` tell the result. `describe` only reads, for a member that shares what has no manifest. Not here: what a manifest is ([`crate::manifest`]) and the arguments ([`crate::cli::composer`]).
//!
//! Invariants: the composition is only read; no output is seen before it is whole; an interruption ends it at once
//! and leaves nothing behind, unless the outputs are just being written: then they are finished first.

mod describe;
mod error;
mod hint;
mod plan;
mod read;
mod register;
mod screen;
mod share;
mod walk;
mod write;

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

pub use describe::{Description, Looked, describe, look_through};
pub use error::ComposeError;
pub use share::word;
pub use walk::Rules;
pub use write::WriteError;

use crate::{
    cli::{
        Exit, LogDir,
        composer::{Settings, Source},
    },
    hashing::{self, Digest},
    manifest::{Endpoint, Manifest},
    metainfo::{InfoHash, convert},
    net::own_address::likeliest_address,
    storage::{Proofs, Stamp},
    ui::output,
};
use plan::{Places, Plan};
use read::Reading;
use screen::{Report, Screen};
use write::Output;

/// How long the data of a composition may take to reach the disk before it is said that this is being waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Does what composer was told, says so, and gives the exit code. `stop` interrupts it.
pub async fn run(mut settings: Settings, stop: CancellationToken) -> Exit {
    let screen = Arc::new(Screen::new(settings.screen));
    for note in &settings.notes {
        screen.say(note);
    }
    if let Some(text) = hint::name_this_machine(&mut settings.conductor, likeliest_address()) {
        screen.say(&text);
    }
    let register = settings.register.clone();
    let mut composed = match compose(settings, screen.clone(), &stop).await {
        Ok(composed) => composed,
        Err(error) => return failed(&screen, &error),
    };
    log::info!("{} is written", composed.report.manifest.display());
    if let Some(told) = register {
        let orch = &composed.report.manifest;
        match register::register(&composed.manifest, orch, &told, likeliest_address(), &stop).await {
            Ok(get) => composed.report.registered = Some(get),
            Err(error) => {
                screen.written(&composed.report);
                return failed(&screen, &error);
            }
        }
    }
    let printed = screen.done(&composed.report);
    if let Some(proof) = composed.proof {
        leave(proof, &screen, &stop).await;
    }
    output::exit_of(printed, Exit::Done)
}

fn failed(screen: &Screen, error: &ComposeError) -> Exit {
    log::error!("{error}");
    screen.failed(error);
    error.exit()
}

/// Whether the outputs are written or the work is stopped: whoever comes first says it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Write,
    Stop,
}

type Decided = Arc<OnceLock<Decision>>;

/// The digests of a whole composition and of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Digests {
    whole: Digest,
    parts: Vec<Digest>,
}

struct Composed {
    report: Report,
    manifest: Manifest,
    proof: Option<Proof>,
}

/// What is to be remembered of a composition that was read, once its data is on the disk.
struct Proof {
    path: PathBuf,
    info_hash: InfoHash,
    whole: Option<Digest>,
    stamp: Stamp,
    synced: JoinHandle<io::Result<()>>,
}

/// Composes on a thread of its own, and leaves it alone with what it does when it is interrupted: reading can take as
/// long as a disk likes.
async fn compose(settings: Settings, screen: Arc<Screen>, stop: &CancellationToken) -> Result<Composed, ComposeError> {
    let decided = Decided::default();
    let theirs = decided.clone();
    let mut work = tokio::task::spawn_blocking(move || match settings.source.clone() {
        Source::Composition(path) => from_file(&settings, &path, &screen, &theirs),
        Source::From(path) => from_manifest(&settings, &path, &theirs),
    });
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = stop.cancelled() => match decided.get_or_init(|| Decision::Stop) {
            Decision::Stop => return Err(ComposeError::Interrupted),
            Decision::Write => work.await,
        },
    };
    match ended {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn from_file(settings: &Settings, path: &Path, screen: &Screen, decided: &Decided) -> Result<Composed, ComposeError> {
    let started = Instant::now();
    let path = &named(path);
    let rules = Rules { follow_links: settings.follow_links, logs: None };
    let reading = Reading::open(path, &rules)?;
    for line in reading.left_out() {
        log::warn!("{line}");
        screen.say(&line);
    }
    if let Some(written) = reading.written() {
        let line =
            format!("{}: a program has it open for writing: what is composed may be a part of it", written.display());
        log::warn!("{line}");
        screen.say(&line);
    }
    let executable = reading.is_executable().map_err(|error| ComposeError::Read { path: path.to_owned(), error })?;
    let plan = Plan::new(settings, path, reading.stamp().size, reading.files(), executable)?;
    let places = Places::new(settings, path, reading.is_folder())?;
    if let LogDir::Folder(logs) = &settings.log_dir
        && reading.holds(logs)
    {
        return Err(ComposeError::Inside(logs.clone()));
    }
    for output in places.all() {
        if reading.holds(output) {
            return Err(ComposeError::Inside(output.to_owned()));
        }
        if reading.is_at(output) {
            return Err(ComposeError::OutputIsInput(output.to_owned()));
        }
        write::check(output, settings.force).map_err(|error| composed_before(settings, path, &places.orch, error))?;
    }
    let (size, parts) = (plan.geometry.size(), plan.geometry.parts());
    let backend = hashing::backend();
    log::info!("composing {path:?}: {size} bytes, {parts} parts; SHA-1 by {backend}");
    let synced = reading.sync();
    screen.begin(&plan.name, &plan.geometry);
    let digests = reading.hash(&plan.geometry, &mut |bytes| {
        screen.progress(bytes);
        match decided.get() {
            Some(Decision::Stop) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    screen.end();
    let read = started.elapsed();
    let manifest = plan.manifest(digests)?;
    let mut report = finish(settings, &manifest, places, decided)?;
    report.read = Some(read);
    report.share = share::command(
        &report.manifest,
        elsewhere(path),
        path.is_symlink() || settings.follow_links && reading.is_folder(),
    );
    let proof = synced.ok().map(|synced| Proof {
        path: path.to_owned(),
        info_hash: report.info_hash,
        whole: report.whole,
        stamp: *reading.stamp(),
        synced,
    });
    Ok(Composed { report, manifest, proof })
}

/// What stands in the way, with how to register it where it is a manifest, and that was wanted.
fn composed_before(settings: &Settings, path: &Path, orch: &Path, error: WriteError) -> ComposeError {
    let is_orch = matches!(&error, WriteError::Exists(there) if there == orch);
    let (Some(told), true) = (&settings.register, is_orch) else { return error.into() };
    match read::manifest(orch) {
        Ok(there) if !there.is_closed() => {
            let is_to_name = |conductor: &&Endpoint| there.conductor != **conductor || told.token.is_some();
            let name = settings.conductor.as_ref().filter(is_to_name);
            let command = hint::register(orch, &there.conductor, name, told.replace);
            ComposeError::Composed { path: path.to_owned(), orch: orch.to_owned(), command }
        }
        Ok(_) | Err(_) => error.into(),
    }
}

/// A path that ends in the composition's name: `.` and `..` do not, and `x/` does not look so.
fn named(path: &Path) -> PathBuf {
    match path.file_name() {
        Some(_) => path.components().collect(),
        None => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    }
}

fn from_manifest(settings: &Settings, path: &Path, decided: &Decided) -> Result<Composed, ComposeError> {
    let places = Places::new(settings, path, false)?;
    let manifest = plan::revise(settings, read::manifest(path)?)?;
    if settings.register.is_some() && manifest.is_closed() {
        return Err(ComposeError::Secret);
    }
    let report = finish(settings, &manifest, places, decided)?;
    Ok(Composed { report, manifest, proof: None })
}

/// Writes what there is to write of this manifest, and reports it.
fn finish(settings: &Settings, manifest: &Manifest, places: Places, decided: &Decided) -> Result<Report, ComposeError> {
    let mut outputs = vec![Output { path: places.orch.clone(), bytes: manifest.render().into_bytes() }];
    if let Some(path) = places.torrent {
        outputs.push(Output { path, bytes: convert::to_torrent(manifest)?.render() });
    }
    let magnet = convert::to_magnet(manifest).map(|magnet| magnet.to_string());
    let magnet = match settings.magnet {
        true => Some(magnet?),
        false => magnet.ok(),
    };
    outputs.retain(|output| !output.is_there());
    for output in &outputs {
        write::check(&output.path, settings.force)?;
    }
    if *decided.get_or_init(|| Decision::Write) == Decision::Stop {
        return Err(ComposeError::Interrupted);
    }
    write::write(&outputs, settings.force)?;
    Ok(Report {
        written: outputs.into_iter().map(|output| output.path).collect(),
        share: share::command(&places.orch, None, false),
        hint: hint::hint(&manifest.conductor, &places.orch),
        manifest: places.orch,
        name: manifest.name.clone(),
        geometry: manifest.geometry,
        info_hash: manifest.info_hash(),
        whole: manifest.whole,
        magnet,
        magnet_asked: settings.magnet,
        registered: None,
        read: None,
    })
}

/// The folder of this file as it was named, unless it is the current one.
fn elsewhere(path: &Path) -> Option<&Path> {
    let folder = write::folder_of(path);
    let is_here = fs::canonicalize(folder).ok() == fs::canonicalize(".").ok();
    (!is_here).then_some(folder)
}

/// Leaves the remembered proof, so that a member on this machine need not hash the composition again. What is in the
/// way of it is no failure; nor is an interruption, since all that was asked for is there already.
async fn leave(proof: Proof, screen: &Screen, stop: &CancellationToken) {
    let name = proof.path.display().to_string();
    let mut work = tokio::task::spawn_blocking(move || remember(proof));
    if tokio::time::timeout(PATIENCE, &mut work).await.is_ok() {
        return;
    }
    screen.say(&format!(
        "waiting until {name} is on the disk, so that a member here need not check it again (Ctrl-C: do not wait)"
    ));
    tokio::select! {
        _ = work => {}
        () = stop.cancelled() => log::info!("{name} is not remembered: interrupted"),
    }
}

fn remember(proof: Proof) {
    let path = proof.path.display();
    match proof.synced.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return log::warn!("{path} is not remembered: cannot sync it: {error}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    let Some(proofs) = Proofs::of_this_user() else {
        return log::warn!("{path} is not remembered: neither HOME nor XDG_STATE_HOME is set");
    };
    match proofs.remember(&proof.path, proof.info_hash, &proof.stamp, proof.whole) {
        Ok(()) => log::info!("{path} is remembered as whole"),
        Err(error) => log::warn!("{path} is not remembered: {error}"),
    }
}
