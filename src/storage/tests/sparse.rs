//! Compositions that are zeros for the most part, as disk images are: those take no room, and are never fetched.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::{
    hashing::holes::is_hole,
    manifest::FileEntry,
    storage::disk::{Disk, HOLE},
};

const LONG: usize = 4 * HOLE;
/// Parts of zeros, then one of data, one of both, and a short last one of zeros.
const ZEROS: [u32; 4] = [0, 1, 3, 5];

fn lab() -> Lab {
    let mut bytes = vec![0; 5 * LONG + 1000];
    let mut dice = fastrand::Rng::with_seed(29);
    dice.fill(&mut bytes[2 * LONG..3 * LONG]);
    // Half a hole, and two of them behind.
    dice.fill(&mut bytes[4 * LONG..4 * LONG + HOLE + HOLE / 2]);
    Lab::of_bytes(bytes, LONG as u32)
}

/// Bytes of the disk that it takes; None where the file system has no holes that we know of.
fn room(path: PathBuf) -> Option<u64> {
    let file = fs::File::open(path).unwrap();
    let probe = tempfile::tempfile().unwrap();
    probe.set_len(HOLE as u64).unwrap();
    is_hole(&probe, &(0..HOLE as u64)).then(|| file.metadata().unwrap().blocks() * 512)
}

fn numbers(opened: &Opened, lab: &Lab) -> Vec<u32> {
    opened.have.ones(&lab.contents.geometry).map(PartIndex::get).collect()
}

#[tokio::test]
async fn zeros_are_there_from_the_start_and_take_no_room() {
    let lab = lab();
    let mut opened = lab.open();
    assert_eq!((opened.found, numbers(&opened, &lab)), (Found::Ready, ZEROS.to_vec()));
    assert!(opened.store.begin(lab.part(0)).is_none());
    let mut there = [1; 100];
    opened.store.read_at(50, &mut there).unwrap();
    assert_eq!(there, [0; 100], "others may have them");
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
    if let Some(room) = room(lab.path("")) {
        assert!(room <= (LONG + 2 * HOLE + 65_536) as u64, "it takes {room}");
    }
    end(opened).await;
    let mut again = lab.open_anew();
    let _check = again.store.check();
    let (parts, last) = proven(&mut again.events).await;
    assert!(parts.len() == 6 && matches!(last, DiskEvent::Checked), "{last:?}");
}

#[tokio::test]
async fn what_is_zeros_alone_is_whole_at_once() {
    let lab = Lab::of_bytes(vec![0; 3 * LONG], LONG as u32);
    let mut opened = lab.open();
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
    finish(&opened.store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
    let mut wrong = Lab::of_bytes(vec![0; 3 * LONG], LONG as u32);
    wrong.contents.whole = Some(Digest([3; 20]));
    let mut opened = wrong.open();
    let told = opened.events.recv().await;
    assert!(matches!(told, Some(DiskEvent::WholeWrong(digest)) if digest == Digest::of(&wrong.bytes)), "{told:?}");
}

#[tokio::test]
async fn zeros_are_put_where_something_else_was() {
    let lab = lab();
    fs::write(lab.path(".part"), vec![7; lab.bytes.len()]).unwrap();
    let mut opened = lab.open();
    assert_eq!((opened.found, numbers(&opened, &lab)), (Found::Unchecked, ZEROS.to_vec()));
    let _check = opened.store.check();
    assert!(proven(&mut opened.events).await.0.is_empty());
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
    if let Some(room) = room(lab.path("")) {
        assert!(room <= (LONG + 2 * HOLE + 65_536) as u64, "it takes {room}");
    }
}

#[tokio::test]
async fn a_state_of_before_is_gone_on_with() {
    let lab = lab();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 2).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    let opened = lab.open();
    assert_eq!((opened.found, numbers(&opened, &lab)), (Found::Ready, vec![0, 1, 2, 3, 5]));
    end(opened).await;
    // As one was written that knew nothing of zeros: they are set aside, and missing.
    let file = fs::File::options().write(true).open(lab.path(".part")).unwrap();
    Disk::write_all_at(&file, &[9; 100], 10).unwrap();
    let mut none = crate::wire::bitfield::Bitfield::none(&lab.contents.geometry);
    none.insert(lab.part(2));
    let stamp = Stamp::of(&file).unwrap();
    state::State::new(lab.contents.info_hash, stamp, &none).write(&lab.path(".part.state")).unwrap();
    let mut opened = lab.open();
    assert_eq!((opened.found, numbers(&opened, &lab)), (Found::Ready, vec![0, 1, 2, 3, 5]));
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
}

#[tokio::test]
async fn files_of_zeros_in_a_folder_are_made_and_take_no_room() {
    let mut lab = lab();
    let sizes = [("a/zeros", LONG as u64 + 10), ("b", 2 * LONG as u64), ("c", 2 * LONG as u64 + 990)];
    lab.contents.files = sizes.map(|(path, size)| FileEntry::new(size, path.parse().unwrap())).to_vec();
    let mut opened = lab.open();
    assert_eq!(numbers(&opened, &lab), ZEROS);
    let mut there = [1; 100];
    opened.store.read_at(LONG as u64 - 50, &mut there).unwrap();
    assert_eq!(there, [0; 100]);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    let mut start = 0;
    for (path, size) in sizes {
        let there = fs::read(lab.path("").join(path)).unwrap();
        assert!(there == lab.bytes[start..start + size as usize], "{path}");
        start += size as usize;
    }
    if let Some(room) = room(lab.path("").join("a/zeros")) {
        assert_eq!(room, 0);
    }
    let tree = Tree::to_read(Root::open(&lab.path("")).unwrap(), &lab.contents.files);
    let mut whole = vec![1; lab.bytes.len()];
    Disk::read_exact_at(&tree, &mut whole, 0).unwrap();
    assert!(whole == lab.bytes);
    fs::remove_file(lab.path("").join("a/zeros")).unwrap();
    let tree = Tree::to_read(Root::open(&lab.path("")).unwrap(), &lab.contents.files);
    let missing = crate::hashing::file::Source::is_hole(&tree, &(0..100));
    assert!(!missing, "what is missing is no hole");
}

#[tokio::test]
async fn room_is_asked_for_what_is_not_zeros() {
    // As a rule no disk that tests run on has room for all of it.
    let mut lab = Lab::of_bytes(vec![0; LONG], LONG as u32);
    lab.contents.geometry = Geometry::new(4 << 40, 4 << 20).unwrap();
    lab.contents.parts = vec![crate::hashing::zeros(4 << 20); 1 << 20].into();
    lab.contents.whole = None;
    if crate::storage::os::has_holes(lab.folder.path()) {
        assert!(lab.open().have.is_full());
    }
}
