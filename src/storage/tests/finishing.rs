//! The whole file's checksum, and the final name.

use super::*;

#[tokio::test]
async fn a_whole_file_gets_its_name_and_is_remembered() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    let Ok(Slice::File { file, .. }) = opened.store.slice(0) else { panic!("no file") };
    assert_eq!(finish(&opened.store).await.unwrap(), lab.path(""));
    assert_eq!(finish(&opened.store).await.unwrap(), lab.path(""));
    assert_eq!(opened.store.path(), lab.path(""));
    assert_eq!(fs::read(lab.path("")).unwrap(), lab.bytes);
    assert!(!lab.path(".part").exists() && !lab.path(".part.state").exists());
    let again = lab.open();
    assert_eq!(again.found, Found::Whole);
    assert!(Stamp::of(&file).unwrap().is_same_file(&Stamp::from_metadata(&fs::metadata(again.store.path()).unwrap())));
    let mut bytes = [0; 100];
    opened.store.read_at(PART.into(), &mut bytes).unwrap();
    assert_eq!(bytes, lab.bytes[PART as usize..][..100]);
}

#[tokio::test]
async fn what_a_member_left_behind_that_was_killed_at_the_rename_is_removed() {
    let lab = Lab::new();
    for (part_is_there, state_stays) in [(false, false), (true, true)] {
        fs::write(lab.path(""), &lab.bytes).unwrap();
        fs::write(lab.path(".part.state"), "anything").unwrap();
        if part_is_there {
            fs::write(lab.path(".part"), "of somebody").unwrap();
        }
        let mut opened = lab.open();
        let _check = opened.store.check();
        proven(&mut opened.events).await;
        finish(&opened.store).await.unwrap();
        assert_eq!(lab.path(".part.state").exists(), state_stays);
        fs::remove_dir_all(lab.folder.path().join("proofs")).unwrap();
    }
}

#[tokio::test]
async fn an_empty_file_is_whole_at_once() {
    let lab = Lab::of(0, BLOCK);
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Ready);
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
    finish(&opened.store).await.unwrap();
    assert_eq!(fs::metadata(lab.path("")).unwrap().len(), 0);
}

#[tokio::test]
async fn an_empty_file_that_is_there_is_checked_like_any_other() {
    let mut lab = Lab::of(0, BLOCK);
    fs::write(lab.path(""), "").unwrap();
    for whole in [lab.contents.whole, None] {
        lab.contents.whole = whole;
        let mut opened = lab.open();
        assert_eq!(opened.found, Found::Unproven);
        let _check = opened.store.check();
        let (_, end) = proven(&mut opened.events).await;
        assert!(matches!(end, DiskEvent::Checked), "{end:?}");
        finish(&opened.store).await.unwrap();
        fs::remove_dir_all(lab.folder.path().join("proofs")).unwrap();
    }
}

#[tokio::test]
async fn a_wrong_whole_is_told() {
    let mut lab = Lab::new();
    let right = lab.contents.whole.replace(Digest([1; 20])).unwrap();
    let mut opened = lab.open();
    for number in 0..4 {
        lab.fetch(&mut opened, number).await;
    }
    let told = opened.events.recv().await;
    assert!(matches!(told, Some(DiskEvent::WholeWrong(digest)) if digest == right), "{told:?}");
    assert!(matches!(finish(&opened.store).await, Err(StorageError::NotWhole { .. })));
}

#[tokio::test]
async fn a_wrong_whole_is_told_of_a_file_that_is_there() {
    let mut lab = Lab::new();
    lab.contents.whole = Some(Digest([1; 20]));
    fs::write(lab.path(""), &lab.bytes).unwrap();
    let mut opened = lab.open();
    let _check = opened.store.check();
    let (parts, end) = proven(&mut opened.events).await;
    assert_eq!(parts.len(), 4);
    assert!(matches!(end, DiskEvent::WholeWrong(_)), "{end:?}");
}

#[tokio::test]
async fn of_a_composition_once_whole_the_parts_do() {
    for lab in [Lab::new(), Lab::of(0, BLOCK), Lab::of_folder()] {
        of_this_once_whole_the_parts_do(lab).await;
    }
}

async fn of_this_once_whole_the_parts_do(mut lab: Lab) {
    // Only who believes the note does not find out.
    lab.contents.whole = Some(Digest([1; 20]));
    match lab.contents.files.is_empty() {
        true => fs::write(lab.path(""), &lab.bytes).unwrap(),
        false => lab.write_all(),
    }
    let old = Stamp { changed: 0, ..Stamp::from_metadata(&fs::metadata(lab.path("")).unwrap()) };
    lab.proofs().remember(&lab.path(""), lab.contents.info_hash, &old, lab.contents.whole).unwrap();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unproven);
    let check = opened.store.check();
    let (parts, end) = proven(&mut opened.events).await;
    assert_eq!(parts.len(), lab.contents.parts.len());
    assert!(matches!(end, DiskEvent::Checked), "{end:?}");
    drop(check);
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.open().found, Found::Whole);
    let mut opened = lab.open_anew();
    let _check = opened.store.check();
    let (_, end) = proven(&mut opened.events).await;
    assert!(matches!(end, DiskEvent::WholeWrong(_)), "{end:?}");
}

#[tokio::test]
async fn a_remembered_file_has_one_whole() {
    let mut lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    end(opened).await;
    lab.contents.whole = Some(Digest([1; 20]));
    for existing in [Existing::Share, Existing::Repair] {
        let mut opened = lab.try_open(existing).unwrap();
        assert_eq!(opened.found, Found::Unproven, "there is nothing to repair either");
        let _check = opened.store.check();
        let (_, end) = proven(&mut opened.events).await;
        assert!(matches!(end, DiskEvent::WholeWrong(_)), "{end:?}");
    }
}

#[tokio::test]
async fn what_was_changed_or_taken_away_while_it_was_shared_is_told() {
    for lab in [Lab::new(), Lab::of_folder()] {
        let mut opened = lab.open();
        lab.fetch_all(&mut opened).await;
        let store = &opened.store;
        store.look_after().unwrap();
        finish(store).await.unwrap();
        store.look_after().unwrap();
        fs::rename(lab.path(""), lab.path(".elsewhere")).unwrap();
        assert!(matches!(store.look_after(), Err(StorageError::Gone { .. })));
        fs::rename(lab.path(".elsewhere"), lab.path("")).unwrap();
        store.look_after().unwrap();
        let suffix = if lab.contents.files.is_empty() { "" } else { "/e" };
        let file = fs::OpenOptions::new().write(true).open(lab.path(suffix)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(matches!(store.look_after(), Err(StorageError::ChangedSince { .. })));
        store.look_closely().unwrap();
        store.look_after().unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len + 1).unwrap();
        assert!(matches!(store.look_closely(), Err(StorageError::ChangedSince { .. })));
        file.set_len(len).unwrap();
        store.look_closely().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"other", 0).unwrap();
        assert!(matches!(store.look_closely(), Err(StorageError::ChangedSince { .. })));
        file.set_len(3).unwrap();
        assert!(matches!(store.look_closely(), Err(StorageError::ChangedSince { .. })));
    }
}

#[tokio::test]
async fn what_is_too_long_is_never_whole() {
    for mut lab in [Lab::new(), Lab::of(0, BLOCK)] {
        lab.contents.whole = None;
        fs::write(lab.path(""), [&lab.bytes[..], b"and more"].concat()).unwrap();
        let mut opened = lab.open_anew();
        let _check = opened.store.check();
        let (parts, end) = proven(&mut opened.events).await;
        assert_eq!(parts.len(), lab.contents.parts.len());
        assert!(matches!(end, DiskEvent::Different(ref wrong) if wrong.is_empty()), "{end:?}");
        assert!(matches!(finish(&opened.store).await, Err(StorageError::NotWhole { .. })));
    }
}

#[tokio::test]
async fn without_a_whole_checksum_the_parts_do() {
    let mut lab = Lab::new();
    lab.contents.whole = None;
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(fs::read(lab.path("")).unwrap(), lab.bytes);
}

#[tokio::test]
async fn a_file_that_appeared_meanwhile_is_kept() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    fs::write(lab.path(""), "mine").unwrap();
    assert!(matches!(finish(&opened.store).await, Err(StorageError::Appeared { .. })));
    assert_eq!(fs::read(lab.path("")).unwrap(), b"mine");
    assert_eq!(fs::read(lab.path(".part")).unwrap(), lab.bytes);
}

#[tokio::test]
async fn a_part_file_that_was_swapped_is_not_renamed() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    fs::remove_file(lab.path(".part")).unwrap();
    assert!(matches!(finish(&opened.store).await, Err(StorageError::Moved { .. })));
    fs::write(lab.path(".part"), "not it").unwrap();
    assert!(matches!(finish(&opened.store).await, Err(StorageError::Moved { .. })));
    assert!(!lab.path("").exists());
}

#[tokio::test]
async fn what_is_taken_away_while_it_is_fetched_is_noticed_and_nothing_is_noted_there() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 0).await;
    save(&opened.store).await.unwrap();
    opened.store.look_after().unwrap();
    for suffix in [".part", ".part.state"] {
        fs::remove_file(lab.path(suffix)).unwrap();
    }
    for there in [None, Some("another disk's")] {
        there.iter().for_each(|text| fs::write(lab.path(".part"), text).unwrap());
        for error in [opened.store.look_after().unwrap_err(), save(&opened.store).await.unwrap_err()] {
            assert!(matches!(error, StorageError::Moved { .. }) && error.is_of_the_disk(), "{error}");
        }
        assert!(!lab.path(".part.state").exists());
    }
}

#[tokio::test]
async fn what_was_cut_short_while_it_was_fetched_is_not_called_whole() {
    for restored in [false, true] {
        let lab = Lab::of(6 * 65_536 + 5000, 65_536);
        let mut opened = lab.open();
        for number in 0..6 {
            lab.fetch(&mut opened, number).await;
        }
        let file = fs::File::options().write(true).open(lab.path(".part")).unwrap();
        file.set_len(65_536 * 3).unwrap();
        if restored {
            // The last part makes it as long again as it was, on whatever file system tells of holes.
            file.set_len(lab.bytes.len() as u64).unwrap();
            if !crate::hashing::holes::is_hole(&file, &(65_536 * 4..65_536 * 5)) {
                return;
            }
        }
        lab.fetch(&mut opened, 6).await;
        assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
        if !restored {
            file.set_len(65_536 * 3).unwrap();
        }
        let error = finish(&opened.store).await.unwrap_err();
        assert!(matches!(error, StorageError::Disturbed { .. }), "{error}");
        assert!(save(&opened.store).await.is_err() && !lab.path("").exists());
        end(opened).await;
        file.set_len(lab.bytes.len() as u64).unwrap();
        let mut opened = lab.open();
        assert_eq!(opened.found, Found::Unchecked);
        let _check = opened.store.check();
        assert!(proven(&mut opened.events).await.0.starts_with(&[0, 1, 2]));
        lab.fetch_all(&mut opened).await;
        finish(&opened.store).await.unwrap();
        assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_checked_is_not_remembered() {
    let lab = Lab::new();
    fs::write(lab.path(""), &lab.bytes).unwrap();
    let mut opened = lab.open();
    let _check = opened.store.check();
    proven(&mut opened.events).await;
    let mut other = lab.bytes.clone();
    other[0] ^= 1;
    other.push(0);
    fs::write(lab.path(""), other).unwrap();
    assert!(matches!(finish(&opened.store).await, Err(StorageError::Changed { .. })));
}

#[tokio::test]
async fn a_repair_keeps_good_parts_and_swaps() {
    let lab = Lab::new();
    let mut spoilt = lab.bytes.clone();
    spoilt[0] ^= 1;
    spoilt.extend_from_slice(b"too long");
    fs::write(lab.path(""), &spoilt).unwrap();
    let mut opened = lab.try_open(Existing::Repair).unwrap();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [1, 2, 3]);
    assert_eq!(fs::read(lab.path("")).unwrap(), spoilt);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(fs::read(lab.path("")).unwrap(), lab.bytes);
    assert!(!lab.path(".part").exists());
}

#[tokio::test]
async fn a_repair_goes_on_where_it_was_broken_off() {
    let lab = Lab::new();
    fs::write(lab.path(""), &lab.bytes[..PART as usize + 1]).unwrap();
    let mut opened = lab.try_open(Existing::Repair).unwrap();
    let check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [0]);
    drop(check);
    lab.fetch(&mut opened, 2).await;
    end(opened).await;
    let mut opened = lab.try_open(Existing::Repair).unwrap();
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [0, 2]);
}

#[tokio::test]
async fn a_repair_does_not_replace_a_file_that_changed_meanwhile() {
    let lab = Lab::new();
    fs::write(lab.path(""), "old").unwrap();
    let mut opened = lab.try_open(Existing::Repair).unwrap();
    let _check = opened.store.check();
    proven(&mut opened.events).await;
    lab.fetch_all(&mut opened).await;
    fs::write(lab.path(""), "changed").unwrap();
    assert!(matches!(finish(&opened.store).await, Err(StorageError::Appeared { .. })));
    assert_eq!(fs::read(lab.path("")).unwrap(), b"changed");
}
