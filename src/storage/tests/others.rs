//! Folders that several users share: what another one left there, or may write, is not believed.

use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use super::{state::State, *};
use crate::wire::bitfield::Bitfield;

/// A number that nobody here has.
const ANOTHER: u32 = 54_321;

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A `NAME.part` of nothing but wrong bytes, and a state that proves all of them.
fn plant(lab: &Lab) {
    let part = lab.path(".part");
    fs::write(&part, vec![0xEE; lab.bytes.len()]).unwrap();
    set_mode(part.clone(), 0o644);
    let stamp = Stamp::of(&fs::File::open(&part).unwrap()).unwrap();
    let all = Bitfield::all(&lab.contents.geometry);
    State::new(lab.contents.info_hash, stamp, &all).write(&lab.path(".part.state")).unwrap();
}

#[tokio::test]
async fn what_others_may_write_is_hashed_again() {
    for (suffix, loose) in [(".part.state", 0o666), (".part.state", 0o620), (".part", 0o664), (".part", 0o646)] {
        let mut lab = Lab::new();
        lab.contents.whole = None;
        plant(&lab);
        set_mode(lab.path(suffix), loose);
        let mut opened = lab.open();
        assert_eq!((opened.found, opened.have.count()), (Found::Unchecked, 0), "{suffix} {loose:o}");
        assert_eq!(mode(lab.path(".part")) & 0o022, 0, "nobody writes it while it is fetched");
        let _check = opened.store.check();
        assert!(proven(&mut opened.events).await.0.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_another_planted_is_gone_round_and_never_ours() {
    for theirs in [".part", ".part.state"] {
        let mut lab = Lab::new();
        lab.contents.whole = None;
        plant(&lab);
        // Two good parts in it are taken over.
        let mut planted = fs::read(lab.path(".part")).unwrap();
        planted[..2 * PART as usize].copy_from_slice(&lab.bytes[..2 * PART as usize]);
        fs::write(lab.path(".part"), &planted).unwrap();
        if chown(lab.path(theirs), Some(ANOTHER), None).is_err() {
            eprintln!("SKIPPED: files cannot be given to another user here");
            return;
        }
        set_mode(lab.folder.path().to_owned(), 0o1777);
        let mut opened = lab.open();
        let own = lab.path(&format!(".{}.part", own::user()));
        assert_eq!(opened.store.path(), own, "{theirs}");
        assert_eq!(opened.have.count(), 0);
        if theirs == ".part" {
            let _check = opened.store.check();
            assert_eq!(proven(&mut opened.events).await.0, [0, 1]);
        }
        lab.fetch_all(&mut opened).await;
        finish(&opened.store).await.unwrap();
        assert!(fs::read(lab.path("")).unwrap() == lab.bytes, "{theirs}");
        assert_eq!(fs::metadata(lab.path("")).unwrap().uid(), own::user());
        assert!(fs::read(lab.path(".part")).unwrap() == planted, "it is left as it was");
        assert!(!own.exists());
    }
}

#[tokio::test]
async fn what_was_begun_beside_anothers_file_is_gone_on_with() {
    let lab = Lab::new();
    fs::write(lab.path(".part"), "not it").unwrap();
    if chown(lab.path(".part"), Some(ANOTHER), None).is_err() {
        eprintln!("SKIPPED: files cannot be given to another user here");
        return;
    }
    set_mode(lab.folder.path().to_owned(), 0o1777);
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Ready);
    lab.fetch(&mut opened, 1).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    assert_eq!(believed(&lab).await, (Found::Ready, 1));
    fs::remove_file(lab.path(".part")).unwrap();
    assert_eq!(believed(&lab).await, (Found::Ready, 1), "also when the other's is gone");
}

#[tokio::test]
async fn a_file_with_a_second_name_is_not_written() {
    let lab = Lab::new();
    let precious = lab.folder.path().join("precious");
    fs::write(&precious, vec![1; lab.bytes.len()]).unwrap();
    fs::hard_link(&precious, lab.path(".part")).unwrap();
    let mut opened = lab.open();
    if opened.found == Found::Unchecked {
        let _check = opened.store.check();
        proven(&mut opened.events).await;
    }
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
    assert!(fs::read(&precious).unwrap() == vec![1; lab.bytes.len()]);
}

/// What is believed of what is there.
async fn believed(lab: &Lab) -> (Found, u32) {
    let opened = lab.open();
    let believed = (opened.found, opened.have.count());
    end(opened).await;
    believed
}

#[tokio::test]
async fn a_folder_that_others_may_write_is_hashed_again() {
    let lab = Lab::of_folder();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 0).await;
    lab.fetch(&mut opened, 1).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    for loose in [".part", ".part/a/d"] {
        assert_eq!(believed(&lab).await, (Found::Ready, 2));
        let before = mode(lab.path(loose));
        set_mode(lab.path(loose), before | 0o022);
        let mut opened = lab.open();
        assert_eq!((opened.found, opened.have.count()), (Found::Unchecked, 0), "{loose}");
        assert_eq!(mode(lab.path(loose)), before, "{loose}");
        let check = opened.store.check();
        assert_eq!(proven(&mut opened.events).await.0, [0, 1], "{loose}");
        drop(check);
        save(&opened.store).await.unwrap();
        end(opened).await;
    }
}
