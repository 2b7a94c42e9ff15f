//! Notes that are cut, spoilt, of another file or version, and clocks that jump: what they say is never believed, and
//! what was verified is found again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{state::State, *};

/// A `NAME.part` with the parts 1 and 3, and its note.
async fn half_fetched() -> (Lab, Vec<u8>) {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 1).await;
    lab.fetch(&mut opened, 3).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    let state = fs::read(lab.path(".part.state")).unwrap();
    (lab, state)
}

fn numbers(parts: &crate::wire::bitfield::Bitfield, lab: &Lab) -> Vec<u32> {
    parts.ones(&lab.contents.geometry).map(PartIndex::get).collect()
}

/// What this note leads to is right: it is not believed, or it still says the same. To look at an unbelieved file sets
/// its time, so that only the first look proves anything about stamps; that it is unreadable is seen each time.
async fn is_harmless(lab: &Lab, state: &[u8]) -> Found {
    fs::write(lab.path(".part.state"), state).unwrap();
    let opened = lab.open();
    let (found, have) = (opened.found, numbers(&opened.have, lab));
    match found {
        Found::Unchecked => assert!(have.is_empty()),
        Found::Ready => assert_eq!(have, [1, 3]),
        Found::Whole | Found::Unproven => panic!("{found:?}"),
    }
    end(opened).await;
    found
}

/// All that is there is found by looking at it.
async fn is_found_again(lab: &Lab) {
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [1, 3]);
    end(opened).await;
}

#[tokio::test]
async fn a_state_that_is_cut_anywhere_is_not_believed() {
    let (lab, state) = half_fetched().await;
    for len in 0..state.len() {
        assert_eq!(is_harmless(&lab, &state[..len]).await, Found::Unchecked, "cut at {len}");
        assert_eq!(State::read(&lab.path(".part.state")), None, "cut at {len}");
    }
    is_found_again(&lab).await;
}

#[tokio::test]
async fn a_state_with_a_changed_byte_is_not_believed() {
    let (lab, state) = half_fetched().await;
    let path = lab.path(".part.state");
    let written = State::read(&path);
    for at in 0..state.len() {
        for flip in [0x01, 0x04, 0x20, 0x80] {
            let mut spoilt = state.clone();
            spoilt[at] ^= flip;
            is_harmless(&lab, &spoilt).await;
            let read = State::read(&path);
            // The case of its own checksum's digits changes nothing.
            assert!(read.is_none() || (flip == 0x20 && read == written), "{flip:#x} at {at}");
        }
    }
    is_found_again(&lab).await;
}

#[tokio::test]
async fn a_state_of_another_version_or_size_is_not_believed() {
    let (lab, state) = half_fetched().await;
    let text = String::from_utf8(state).unwrap();
    let body = &text[..text.find("check ").unwrap()];
    for (from, to) in [
        ("orchestra part state 1", "orchestra part state 2"),
        ("parts 50", "parts 5000"),
        ("parts 50", "parts 5f"),
        ("parts 50", "parts "),
        ("parts 50\n", "parts 50\nand more\n"),
        ("stamp ", "stamp -"),
    ] {
        assert!(body.contains(from), "{body}");
        note::write(&lab.path(".part.state"), &body.replace(from, to)).unwrap();
        let opened = lab.open();
        assert_eq!(opened.found, Found::Unchecked, "{to}");
        assert!(opened.have.is_empty());
        end(opened).await;
    }
    is_found_again(&lab).await;
}

#[tokio::test]
async fn the_state_of_another_file_is_not_believed() {
    let (lab, _) = half_fetched().await;
    // The same composition in another folder, with all its parts.
    let other = Lab::new();
    let mut opened = other.open();
    other.fetch_all(&mut opened).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    fs::copy(other.path(".part.state"), lab.path(".part.state")).unwrap();
    is_found_again(&lab).await;
}

#[tokio::test]
async fn a_start_that_came_to_nothing_leaves_the_note_as_good_as_it_was() {
    let (lab, _) = half_fetched().await;
    for _ in 0..3 {
        let opened = lab.open();
        assert_eq!((opened.found, numbers(&opened.have, &lab)), (Found::Ready, vec![1, 3]));
        end(opened).await;
    }
}

/// What stands where a note should be is not a note: neither followed nor waited for.
#[tokio::test]
async fn a_state_that_is_no_plain_file_is_not_believed() {
    let (lab, state) = half_fetched().await;
    let (path, target) = (lab.path(".part.state"), lab.folder.path().join("target"));
    fs::write(&target, &state).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    is_found_again(&lab).await;
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    is_found_again(&lab).await;
    // And the next note takes its place.
    let mut opened = lab.open();
    let _check = opened.store.check();
    proven(&mut opened.events).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    assert_eq!(is_harmless(&lab, &fs::read(&path).unwrap()).await, Found::Ready);
    assert_eq!(fs::read(&target).unwrap(), state, "what the link led to is left alone");
}

#[tokio::test]
async fn a_folder_where_the_state_should_be_is_named() {
    let lab = Lab::new();
    fs::create_dir(lab.path(".part.state")).unwrap();
    let error = lab.error().to_string();
    assert!(error.contains("big.iso.part.state: cannot write the note"), "{error}");
    assert!(!lab.path(".part").exists() && !lab.path(".part.state.new").exists(), "nothing is left behind");
}

#[tokio::test]
async fn a_clock_that_jumps_costs_a_check_at_most() {
    let (lab, state) = half_fetched().await;
    let century = Duration::from_secs(100 * 365 * 86_400);
    for time in [SystemTime::now() + century, UNIX_EPOCH - century] {
        let file = fs::File::options().write(true).open(lab.path(".part")).unwrap();
        file.set_modified(time).unwrap();
        drop(file);
        assert_eq!(is_harmless(&lab, &state).await, Found::Unchecked);
        let mut opened = lab.open();
        let _check = opened.store.check();
        assert_eq!(proven(&mut opened.events).await.0, [1, 3]);
        save(&opened.store).await.unwrap();
        end(opened).await;
        let opened = lab.open();
        assert_eq!((opened.found, numbers(&opened.have, &lab)), (Found::Ready, vec![1, 3]), "noted with its odd time");
        end(opened).await;
    }
}

#[tokio::test]
async fn a_whole_file_whose_time_jumps_is_proven_again() {
    let lab = Lab::new();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    end(opened).await;
    assert_eq!(lab.open().found, Found::Whole);
    let file = fs::File::options().write(true).open(lab.path("")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(1 << 40)).unwrap();
    assert_eq!(lab.open().found, Found::Unproven);
}
