//! What is on the disk at the start, case by case.

use super::*;

#[tokio::test]
async fn where_nothing_is_room_is_made() {
    let lab = Lab::new();
    let folder = lab.folder.path().join("made/when missing");
    let opened = open(lab.contents.clone(), &folder, &Wishes::default(), None).unwrap();
    assert_eq!(opened.found, Found::Ready);
    assert!(opened.have.is_empty());
    let part = folder.join("big.iso.part");
    assert_eq!(fs::metadata(&part).unwrap().len(), lab.bytes.len() as u64);
    assert_eq!(opened.store.path(), part);
}

#[tokio::test]
async fn a_remembered_file_is_whole_at_once() {
    let lab = Lab::new();
    fs::write(lab.path(""), &lab.bytes).unwrap();
    let file = fs::File::open(lab.path("")).unwrap();
    let stamp = Stamp::of(&file).unwrap();
    lab.proofs().remember(&lab.path(""), lab.contents.info_hash, &stamp, lab.contents.whole).unwrap();
    let opened = lab.open();
    assert_eq!(opened.found, Found::Whole);
    assert!(opened.have.is_full());
    assert_eq!(finish(&opened.store).await.unwrap(), lab.path(""));
}

#[tokio::test]
async fn a_file_without_a_proof_is_checked_and_then_remembered() {
    let lab = Lab::new();
    fs::write(lab.path(""), &lab.bytes).unwrap();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unproven);
    assert!(opened.have.is_empty());
    assert!(opened.store.begin(lab.part(0)).is_none());
    let check = opened.store.check();
    let (parts, end) = proven(&mut opened.events).await;
    assert_eq!(parts, [0, 1, 2, 3]);
    assert!(matches!(end, DiskEvent::Checked), "{end:?}");
    assert_eq!(check.progress(), (lab.bytes.len() as u64, lab.bytes.len() as u64));
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.open().found, Found::Whole);
}

#[tokio::test]
async fn a_different_file_is_told_and_left_alone() {
    let lab = Lab::new();
    let mut other = lab.bytes.clone();
    other[PART as usize + 1] ^= 1;
    fs::write(lab.path(""), &other).unwrap();
    let mut opened = lab.open();
    let _check = opened.store.check();
    let (parts, end) = proven(&mut opened.events).await;
    assert_eq!(parts, [0]);
    assert!(matches!(end, DiskEvent::Different(ref wrong) if *wrong == [lab.part(1)]), "{end:?}");
    assert!(matches!(finish(&opened.store).await, Err(StorageError::NotWhole { .. })));
    assert_eq!(fs::read(lab.path("")).unwrap(), other);
}

#[tokio::test]
async fn a_file_of_another_size_is_different() {
    let lab = Lab::new();
    fs::write(lab.path(""), "something else").unwrap();
    assert!(matches!(lab.error(), StorageError::Different { .. }));
    assert!(!lab.path(".part").exists());
}

#[tokio::test]
async fn only_plain_files_are_taken() {
    for suffix in ["", ".part"] {
        let lab = Lab::new();
        fs::create_dir(lab.path(suffix)).unwrap();
        assert!(matches!(lab.error(), StorageError::NotAFile { what: "this is a folder", .. }));
        fs::remove_dir(lab.path(suffix)).unwrap();
        let target = lab.folder.path().join("target");
        fs::write(&target, &lab.bytes).unwrap();
        std::os::unix::fs::symlink(&target, lab.path(suffix)).unwrap();
        assert!(matches!(lab.error(), StorageError::NotAFile { what: "this is a symbolic link", .. }));
        assert_eq!(fs::read(&target).unwrap(), lab.bytes);
    }
}

#[tokio::test]
async fn two_members_never_write_one_file() {
    let lab = Lab::new();
    let first = lab.open();
    assert!(matches!(lab.error(), StorageError::Busy { .. }));
    end(first).await;
    assert_eq!(lab.open().found, Found::Ready);
}

#[tokio::test]
async fn a_saved_state_counts_without_a_check() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 1).await;
    lab.fetch(&mut opened, 3).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Ready);
    assert_eq!(opened.have.ones(&lab.contents.geometry).map(PartIndex::get).collect::<Vec<_>>(), [1, 3]);
    assert!(opened.store.begin(lab.part(1)).is_none());
    lab.fetch_all(&mut opened).await;
}

#[tokio::test]
async fn notes_that_are_not_believed_are_written_anew() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 1).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    let mut opened = lab.open_anew();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [1]);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    end(opened).await;
    assert_eq!(lab.open().found, Found::Whole);
    fs::remove_dir_all(lab.folder.path().join("proofs")).unwrap();
    let mut opened = lab.open_anew();
    assert_eq!(opened.found, Found::Unproven);
    let _check = opened.store.check();
    proven(&mut opened.events).await;
    finish(&opened.store).await.unwrap();
    end(opened).await;
    assert_eq!(lab.open().found, Found::Whole);
    assert_eq!(lab.open_anew().found, Found::Unproven, "though it is remembered");
}

#[tokio::test]
async fn after_a_kill_every_part_is_proven_again() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 0).await;
    save(&opened.store).await.unwrap();
    lab.fetch(&mut opened, 2).await;
    end(opened).await;
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    assert!(opened.store.begin(lab.part(1)).is_none(), "nothing is written while it is checked");
    let _check = opened.store.check();
    let (parts, end) = proven(&mut opened.events).await;
    assert_eq!(parts, [0, 2]);
    assert!(matches!(end, DiskEvent::Checked), "{end:?}");
    lab.fetch_all(&mut opened).await;
}

#[tokio::test]
async fn a_state_does_not_cover_what_was_changed_after_it() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 0).await;
    lab.fetch(&mut opened, 1).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    let mut data = fs::read(lab.path(".part")).unwrap();
    data[7] ^= 1;
    fs::write(lab.path(".part"), data).unwrap();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [1]);
}

#[tokio::test]
async fn a_check_that_was_stopped_forgets_nothing() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 0).await;
    end(opened).await;
    let opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    save(&opened.store).await.unwrap();
    end(opened).await;
    assert_eq!(lab.open().found, Found::Unchecked);
}

#[tokio::test]
async fn a_part_file_of_something_else_is_left_alone() {
    let lab = Lab::new();
    fs::write(lab.path(".part"), "a download of a browser").unwrap();
    assert!(matches!(lab.error(), StorageError::Foreign { .. }));
    assert_eq!(fs::read(lab.path(".part")).unwrap(), b"a download of a browser");
    assert_eq!(lab.try_open(Existing::Repair).unwrap().found, Found::Unchecked);
}

#[tokio::test]
async fn the_part_file_of_another_composition_is_left_alone() {
    let mut lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 0).await;
    end(opened).await;
    lab.contents.info_hash = InfoHash([8; 20]);
    assert!(matches!(lab.error(), StorageError::Foreign { .. }));
    let mut opened = lab.try_open(Existing::Repair).unwrap();
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [0]);
}

#[tokio::test]
async fn a_part_file_without_a_state_is_checked() {
    let lab = Lab::new();
    fs::write(lab.path(".part"), &lab.bytes).unwrap();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_the_first_byte() {
    let mut lab = Lab::new();
    lab.contents.geometry = Geometry::new(1 << 46, 128 << 20).unwrap();
    lab.contents.parts = vec![Digest([0; 20]); 1 << 19].into();
    let error = lab.error();
    assert!(error.is_of_the_disk());
    assert!(matches!(error, StorageError::Full { missing, .. } if missing > 1 << 40));
    assert!(!lab.path(".part").exists());
}
