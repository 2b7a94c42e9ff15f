//! Every file of the fuzzing corpora goes through its decoder, whole, cut and with a changed byte: what libFuzzer
//! found once stays found, without libFuzzer.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

/// All corpora together, in bytes.
const MOST_BYTES: u64 = 300 << 10;
/// Each file is cut at, and changed in, about so many places.
const PLACES: usize = 64;

#[test]
fn every_file_goes_through_its_decoder() {
    let mut wrong = Vec::new();
    for (name, body) in bodies::ALL {
        let files = files(&fuzz().join("corpus").join(name));
        assert!(files.len() > 5, "{name} has a corpus of {} files", files.len());
        for file in files {
            let bytes = fs::read(&file).expect("a file of the corpus");
            wrong.extend(failing(*body, &bytes).map(|how| format!("{}: {how}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "these panic:\n{}", wrong.join("\n"));
}

#[test]
fn a_body_that_panics_is_found() {
    let body: fn(&[u8]) = |bytes| assert_ne!(bytes, b"ba");
    assert_eq!(failing(body, b"ba").as_deref(), Some("whole"));
    assert_eq!(failing(body, b"bay").as_deref(), Some("cut at 2"));
    assert_eq!(failing(body, b"b`").as_deref(), Some("with byte 1 = 61"));
    assert_eq!(failing(body, b""), None);
}

#[test]
fn each_decoder_has_a_target_and_a_corpus() {
    let bodies: BTreeSet<String> = bodies::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let targets = names(&fuzz().join("fuzz_targets"));
    assert_eq!(targets, bodies.iter().map(|name| format!("{name}.rs")).collect());
    assert_eq!(names(&fuzz().join("corpus")), bodies);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("fuzz/Cargo.toml");
    let missing: Vec<_> =
        targets.iter().filter(|target| !manifest.contains(&format!("fuzz_targets/{target}"))).collect();
    assert!(missing.is_empty(), "fuzz/Cargo.toml has no [[bin]] for {missing:?}");
}

#[test]
fn the_corpora_are_small() {
    let files = bodies::ALL.iter().flat_map(|(name, _)| files(&fuzz().join("corpus").join(name)));
    let bytes: u64 = files.map(|file| fs::metadata(file).expect("a file of the corpus").len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}

/// How this input, or one made of it, makes this body panic.
fn failing(body: fn(&[u8]), bytes: &[u8]) -> Option<String> {
    let panics = |bytes: &[u8]| catch_unwind(|| body(bytes)).is_err();
    if panics(bytes) {
        return Some("whole".to_owned());
    }
    let places = || (0..bytes.len()).step_by(bytes.len().div_ceil(PLACES).max(1));
    let cut = places().find(|end| panics(&bytes[..*end])).map(|end| format!("cut at {end}"));
    cut.or_else(|| {
        places().find_map(|at| {
            let mut changed = bytes.to_vec();
            // A bit of a digit or a letter, a bit that makes text none, another length.
            [0x01, 0x40, 0x80].into_iter().find_map(|bit| {
                changed[at] = bytes[at] ^ bit;
                panics(&changed).then(|| format!("with byte {at} = {:02x}", changed[at]))
            })
        })
    })
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    names(folder).into_iter().map(|name| folder.join(name)).collect()
}
