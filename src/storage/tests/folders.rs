//! Folders: their files on the disk, some of them first, and nothing outside.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::{
    manifest::{FileEntry, FilePath},
    storage::{disk::Disk, zeros::Zeros},
};

/// Of a composition without parts of zeros.
fn no_zeros() -> Zeros {
    Zeros::of(&Geometry::new(0, 1).unwrap(), &[], None)
}

/// Files of a folder, so that parts of [`PART`] bytes cross their borders.
const FILES: [(&str, u64); 6] =
    [(".hidden", 0), ("a/b/c", 100), ("a/d", 2 * PART as u64), ("e", 7), ("empty/f", 0), ("g", PART as u64)];

impl Lab {
    pub(super) fn of_folder() -> Self {
        let files = FILES.map(|(path, size)| FileEntry::new(size, path.parse().unwrap()));
        let mut lab = Self::of(files.iter().map(|file| file.size).sum::<u64>() as usize, PART);
        lab.contents.files = files.to_vec();
        lab.contents.files[3].executable = true;
        lab
    }

    fn only(mut self, wanted: &[&str]) -> Self {
        let wanted = |path: &FilePath| wanted.contains(&path.as_str());
        self.contents.only = Some(Selection::new(&self.contents.files, &self.contents.geometry, wanted));
        self
    }

    fn all(mut self) -> Self {
        self.contents.only = None;
        self
    }

    /// What the file of this path should be.
    fn right(&self, path: &str) -> &[u8] {
        let mut start = 0;
        for (name, size) in FILES {
            if name == path {
                return &self.bytes[start..start + size as usize];
            }
            start += size as usize;
        }
        panic!("no such file")
    }

    /// The paths of the files below the folder of this name, each as it should be.
    fn there(&self, suffix: &str) -> Vec<&'static str> {
        let right = |path: &&str| match fs::read(self.path(suffix).join(path)) {
            Ok(bytes) => {
                assert!(bytes == self.right(path), "{path} is different");
                true
            }
            Err(_) => false,
        };
        FILES.map(|(path, _)| path).into_iter().filter(right).collect()
    }

    /// Fetches what is wanted and missing.
    async fn fetch_wanted(&self, opened: &mut Opened) {
        for part in self.contents.geometry.all_parts() {
            let wanted = opened.store.only().is_none_or(|only| only.parts().has(part));
            if wanted && !opened.store.have().has(part) {
                self.fetch(opened, part.get()).await;
            }
        }
        assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
    }

    /// Makes a whole copy under the final name.
    pub(super) fn write_all(&self) {
        for (path, _) in FILES {
            let to = self.path("").join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, self.right(path)).unwrap();
        }
    }
}

const ALL: [&str; 6] = [".hidden", "a/b/c", "a/d", "e", "empty/f", "g"];

#[tokio::test]
async fn a_whole_folder_gets_its_name_and_is_remembered() {
    let lab = Lab::of_folder();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    assert!(!lab.path("").exists());
    assert_eq!(finish(&opened.store).await.unwrap(), lab.path(""));
    assert_eq!(finish(&opened.store).await.unwrap(), lab.path(""));
    assert_eq!(lab.there(""), ALL);
    assert_ne!(fs::metadata(lab.path("/e")).unwrap().mode() & 0o111, 0);
    assert_eq!(fs::metadata(lab.path("/g")).unwrap().mode() & 0o111, 0);
    assert!(!lab.path(".part").exists() && !lab.path(".part.state").exists());
    let mut bytes = vec![0; lab.bytes.len()];
    opened.store.read_at(0, &mut bytes).unwrap();
    assert!(bytes == lab.bytes);
    assert_eq!(lab.open().found, Found::Whole);

    fs::write(lab.path("/a/d"), vec![0; 2 * PART as usize]).unwrap();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unproven);
    let _check = opened.store.check();
    assert!(matches!(proven(&mut opened.events).await.1, DiskEvent::Different(_)));
}

#[tokio::test]
async fn a_folder_that_was_there_is_proven() {
    let lab = Lab::of_folder();
    lab.write_all();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unproven);
    let _check = opened.store.check();
    assert!(matches!(proven(&mut opened.events).await.1, DiskEvent::Checked));
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.open().found, Found::Whole);
}

#[tokio::test]
async fn it_goes_on_where_it_was() {
    let lab = Lab::of_folder();
    let mut opened = lab.open();
    lab.fetch(&mut opened, 1).await;
    save(&opened.store).await.unwrap();
    end(opened).await;
    let mut opened = lab.open();
    assert_eq!((opened.found, opened.have.count()), (Found::Ready, 1));
    lab.fetch(&mut opened, 2).await;
    end(opened).await;
    // Its state is older than its files.
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    let check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [1, 2]);
    drop(check);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.there(""), ALL);
}

#[tokio::test]
async fn the_second_member_is_told_so() {
    let lab = Lab::of_folder();
    let _opened = lab.open();
    assert!(matches!(lab.error(), StorageError::Busy { .. }));
}

#[tokio::test]
async fn wanted_files_get_their_names_and_the_rest_comes_later() {
    let lab = Lab::of_folder().only(&["e", "empty/f"]);
    let mut opened = lab.open();
    lab.fetch_wanted(&mut opened).await;
    assert!(opened.store.have().count() < lab.contents.geometry.parts());
    assert_eq!(finish(&opened.store).await.unwrap(), lab.path(""));
    assert_eq!(opened.store.path(), lab.path(""));
    assert_eq!(lab.there(""), ["e", "empty/f"]);
    assert!(fs::metadata(lab.path("/e")).unwrap().mode() & 0o111 != 0);
    end(opened).await;

    let lab = lab.only(&["e", "g"]);
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Ready, "what is there is known");
    lab.fetch_wanted(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.there(""), ["e", "empty/f", "g"]);
    end(opened).await;

    let lab = lab.all();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Ready);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.there(""), ALL);
    assert!(!lab.path(".part").exists() && !lab.path(".part.state").exists());
    assert_eq!(lab.open().found, Found::Whole);
}

#[tokio::test]
async fn all_files_one_by_one_leave_nothing_behind() {
    let mut lab = Lab::of_folder();
    for path in ALL {
        lab = lab.only(&[path]);
        let mut opened = lab.open();
        if opened.store.only().is_some_and(|only| opened.have.has_all_of(only.parts())) {
            assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
        } else {
            lab.fetch_wanted(&mut opened).await;
        }
        finish(&opened.store).await.unwrap();
        end(opened).await;
    }
    assert_eq!(lab.there(""), ALL);
    assert!(!lab.path(".part").exists() && !lab.path(".part.state").exists());
}

#[tokio::test]
async fn a_named_file_is_never_written() {
    let lab = Lab::of_folder().only(&["e"]);
    let mut opened = lab.open();
    lab.fetch_wanted(&mut opened).await;
    finish(&opened.store).await.unwrap();
    end(opened).await;
    fs::write(lab.path("/e"), "changed").unwrap();
    let lab = lab.all();
    let mut opened = lab.open();
    assert_eq!(opened.found, Found::Unchecked);
    let _check = opened.store.check();
    proven(&mut opened.events).await;
    for number in 0..4 {
        let Some(mut assembly) = opened.store.begin(lab.part(number)) else { continue };
        lab.fill(&opened.store, &mut assembly, PEER).await;
        if let Verdict::Right(verified) = opened.store.verify(assembly).await {
            opened.store.commit(verified).await;
        }
    }
    let failed = loop {
        match opened.events.recv().await.unwrap() {
            DiskEvent::Failed { error, .. } => break error,
            DiskEvent::Written(_) => {}
            event => panic!("{event:?}"),
        }
    };
    assert!(matches!(failed, StorageError::Different { path } if path == lab.path("")));
    assert_eq!(fs::read(lab.path("/e")).unwrap(), b"changed");
    end(opened).await;

    // Of another size it is seen at once.
    fs::write(lab.path("/e"), "other").unwrap();
    assert!(matches!(lab.error(), StorageError::Different { path } if path == lab.path("")));
}

#[tokio::test]
async fn a_named_file_that_was_removed_is_fetched_again() {
    let lab = Lab::of_folder().only(&["a/b/c", "e"]);
    let mut opened = lab.open();
    lab.fetch_wanted(&mut opened).await;
    finish(&opened.store).await.unwrap();
    end(opened).await;
    fs::remove_file(lab.path("/e")).unwrap();
    let mut opened = lab.open();
    let check = opened.store.check();
    assert!(matches!(proven(&mut opened.events).await.1, DiskEvent::Checked));
    drop(check);
    lab.fetch_wanted(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.there(""), ["a/b/c", "e"]);
}

#[tokio::test]
async fn a_file_that_is_taken_away_is_not_made_again_without_its_bytes() {
    let lab = Lab::of_folder();
    let mut opened = lab.open();
    // The first part is in a/b/c and a/d, the second in a/d alone.
    lab.fetch(&mut opened, 0).await;
    fs::remove_file(lab.path(".part/a/b/c")).unwrap();
    for number in 1..4 {
        lab.fetch(&mut opened, number).await;
    }
    assert!(!lab.path(".part/a/b/c").exists());
    assert!(finish(&opened.store).await.is_err());
    assert!(!lab.path("").exists());
}

#[tokio::test]
async fn other_data_is_left_alone() {
    let lab = Lab::of_folder();
    fs::create_dir_all(lab.path("/a")).unwrap();
    fs::write(lab.path("/a/mine"), "mine").unwrap();
    assert!(matches!(lab.error(), StorageError::Different { .. }));
    fs::remove_dir_all(lab.path("")).unwrap();
    fs::write(lab.path(""), "a file").unwrap();
    assert!(matches!(lab.error(), StorageError::NotAFolder { .. }));
    fs::remove_file(lab.path("")).unwrap();
    fs::create_dir(lab.path(".part")).unwrap();
    fs::write(lab.path(".part/mine"), "mine").unwrap();
    assert!(matches!(lab.error(), StorageError::Foreign { .. }));
    assert_eq!(fs::read(lab.path(".part/mine")).unwrap(), b"mine");
}

#[tokio::test]
async fn what_appears_meanwhile_is_left_alone() {
    let lab = Lab::of_folder();
    let mut opened = lab.open();
    lab.fetch_all(&mut opened).await;
    fs::create_dir(lab.path("")).unwrap();
    fs::write(lab.path("/mine"), "mine").unwrap();
    assert!(matches!(finish(&opened.store).await, Err(StorageError::Appeared { .. })));
    assert_eq!(fs::read_dir(lab.path("")).unwrap().count(), 1);
    assert_eq!(lab.there(".part"), ALL);
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    for (link, to) in [("a", ".."), ("a/b", "../.."), ("a/d", "../../outside"), ("e", "../outside")] {
        let lab = Lab::of_folder();
        fs::create_dir_all(lab.path(".part/a")).unwrap();
        let link = lab.path(".part").join(link);
        if link.is_dir() {
            fs::remove_dir(&link).unwrap();
        }
        symlink(to, &link).unwrap();
        let refused = lab.error().to_string();
        assert!(refused.contains("link"), "{refused}");
        assert_eq!(fs::read_dir(lab.folder.path()).unwrap().count(), 1, "{link:?}");
    }
    // One that comes later is met when the file is opened.
    let lab = Lab::of_folder();
    let mut opened = lab.open();
    fs::create_dir(lab.folder.path().join("outside")).unwrap();
    symlink("../outside", lab.path(".part/a")).unwrap();
    let mut assembly = opened.store.begin(lab.part(0)).unwrap();
    lab.fill(&opened.store, &mut assembly, PEER).await;
    let Verdict::Right(verified) = opened.store.verify(assembly).await else { panic!("wrong") };
    opened.store.commit(verified).await;
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Failed { .. })));
    assert_eq!(fs::read_dir(lab.folder.path().join("outside")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_repair_takes_what_is_right_and_leaves_what_is_not_its_own() {
    let lab = Lab::of_folder();
    lab.write_all();
    fs::write(lab.path("/mine"), "mine").unwrap();
    fs::write(lab.path("/g"), "spoilt").unwrap();
    fs::remove_file(lab.path("/e")).unwrap();
    assert!(matches!(lab.error(), StorageError::Different { .. }));
    let mut opened = lab.try_open(Existing::Repair).unwrap();
    let check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [0, 1]);
    drop(check);
    assert_eq!(fs::read(lab.path("/g")).unwrap(), b"spoilt");
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.there(""), ALL);
    assert_eq!(fs::read(lab.path("/mine")).unwrap(), b"mine");
    assert!(!lab.path(".part").exists());
    assert_eq!(lab.open().found, Found::Whole);
}

#[tokio::test]
async fn an_older_folder_gives_what_is_still_the_same() {
    let lab = Lab::of_folder();
    lab.write_all();
    let old = lab.folder.path().join("old");
    fs::rename(lab.path(""), &old).unwrap();
    fs::write(old.join("g"), "was another").unwrap();
    fs::remove_file(old.join("empty/f")).unwrap();
    let wishes = Wishes { old: Some(old.clone()), ..Wishes::default() };
    let mut opened = open(lab.contents.clone(), lab.folder.path(), &wishes, None).unwrap();
    let check = opened.store.check();
    assert_eq!(proven(&mut opened.events).await.0, [0, 1]);
    drop(check);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert_eq!(lab.there(""), ALL);
    assert_eq!(fs::read(old.join("g")).unwrap(), b"was another");
    let nowhere = Wishes { old: Some(lab.path("/g")), ..Wishes::default() };
    fs::rename(lab.path(""), lab.folder.path().join("new")).unwrap();
    assert!(open(lab.contents.clone(), lab.folder.path(), &nowhere, None).is_err());
}

#[tokio::test]
async fn a_thorough_check_finds_all_that_is_wrong() {
    let lab = Lab::of_folder();
    lab.write_all();
    let mut bytes = lab.right("a/d").to_vec();
    bytes[PART as usize] ^= 1;
    fs::write(lab.path("/a/d"), bytes).unwrap();
    fs::write(lab.path("/g"), &lab.right("g")[..PART as usize - 1]).unwrap();
    let mut opened = lab.open_anew();
    let _check = opened.store.check();
    let (right, ended) = proven(&mut opened.events).await;
    assert_eq!(right, [0, 2]);
    assert!(matches!(ended, DiskEvent::Different(ref wrong) if *wrong == [lab.part(1), lab.part(3)]), "{ended:?}");
}

#[test]
fn padding_is_zeroes_and_never_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = |size, path: &str| FileEntry::new(size, path.parse().unwrap());
    let pad = FileEntry { padding: true, ..file(5, ".pad/5") };
    let files = [file(3, "a"), pad.clone(), file(3, "b"), pad];
    let tree = Tree::to_write(Root::open(folder.path()).unwrap(), &files, |_| true, no_zeros());
    tree.write_all_at(b"aaa\0\0\0\0\0bbb\0\0\0\0\0", 0).unwrap();
    let mut back = [1; 16];
    tree.read_exact_at(&mut back, 0).unwrap();
    assert_eq!(&back, b"aaa\0\0\0\0\0bbb\0\0\0\0\0");
    assert!(matches!(tree.slice(4).unwrap(), Slice::Zeroes { len: 4 }));
    assert!(tree.is_all_there(&tree.survey().unwrap()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

mod like_a_file {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_tree_reads_back_what_was_written(
            sizes in prop::collection::vec(0u64..60, 1..60),
            writes in prop::collection::vec((any::<prop::sample::Index>(), 1usize..200), 1..20),
        ) {
            let size = sizes.iter().sum::<u64>();
            prop_assume!(size > 0);
            let folder = tempfile::tempdir().unwrap();
            let entry = |(n, size): (usize, &u64)| FileEntry::new(*size, format!("{}/{n}", n % 3).parse().unwrap());
            let files: Vec<_> = sizes.iter().enumerate().map(entry).collect();
            let tree = Tree::to_write(Root::open(folder.path()).unwrap(), &files, |_| true, no_zeros());
            let mut flat = vec![0; size as usize];
            for (n, (at, len)) in writes.iter().enumerate() {
                let at = at.index(size as usize);
                let end = (at + len).min(size as usize);
                flat[at..end].fill(n as u8 + 1);
                tree.write_all_at(&flat[at..end], at as u64).unwrap();
            }
            (0..files.len()).for_each(|number| tree.make(number).unwrap());
            tree.sync().unwrap();
            let mut back = vec![9; size as usize];
            tree.read_exact_at(&mut back, 0).unwrap();
            prop_assert_eq!(&back, &flat);
            prop_assert!(tree.read_exact_at(&mut [0; 2], size - 1).is_err());
            let mut joined = Vec::new();
            for file in &files {
                joined.extend(fs::read(folder.path().join(file.path.as_str())).unwrap());
            }
            prop_assert_eq!(joined, flat);
        }
    }
}
