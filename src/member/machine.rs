//! What tells this machine and its folders from others, for [`CopyId`] and [`MachineId`].
//!
//! Not who may do what: nothing here is a secret, and nothing of it leaves the process unhashed. What cannot be read is
//! left out. A machine whose words change (another host name, another network card) holds new copies from then on.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf, absolute},
};

use crate::{
    metainfo::InfoHash,
    wire::{copy_id::CopyId, machine_id::MachineId},
};

/// The machine that a member runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The same at every start of any program here, and others on every other machine.
    words: Vec<String>,
    /// The network that it is on, where it has no network card of its own: containers of one machine are several.
    network: Option<String>,
}

impl Machine {
    /// This machine, or the one that `named` says it is. Blocks for a few small reads.
    pub fn this(named: Option<&str>) -> Self {
        if let Some(named) = named {
            return Self { words: vec![named.to_owned()], network: None };
        }
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut words = vec![name];
        #[cfg(target_os = "linux")]
        words.extend(linux::words(Path::new("/")));
        #[cfg(target_os = "linux")]
        let network = linux::network(Path::new("/"));
        #[cfg(not(target_os = "linux"))]
        let network = None;
        Self { words, network }
    }

    /// The id of this machine in the swarm of this composition.
    pub fn id_in(&self, info_hash: InfoHash) -> MachineId {
        let words: Vec<String> = self.words.iter().chain(&self.network).cloned().collect();
        MachineId::of(info_hash, &words)
    }

    /// The copy of this composition in this folder, which may not be there yet. Blocks.
    pub fn copy_in(&self, folder: &Path, info_hash: InfoHash) -> CopyId {
        let folder = one_path(folder).unwrap_or_else(|_| folder.to_owned());
        CopyId::of(info_hash, &self.words, folder.as_os_str().as_encoded_bytes())
    }
}

/// The same however the folder is named: links are followed as far as there is something.
fn one_path(folder: &Path) -> io::Result<PathBuf> {
    // The parent of a lone file name is empty, which no system takes for this folder.
    let whole = absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut there = whole.as_path();
    loop {
        match (there.canonicalize(), there.parent(), there.file_name()) {
            (Ok(mut path), ..) => {
                path.extend(missing.iter().rev());
                return Ok(path);
            }
            (Err(_), Some(parent), Some(name)) => {
                missing.push(name);
                there = parent;
            }
            (Err(error), ..) => return Err(error),
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    /// Where the id of an installation is. The image of a virtual machine or container may bring the same to many.
    const IDS: [&str; 2] = ["etc/machine-id", "var/lib/dbus/machine-id"];

    /// As the system below this folder says.
    pub fn words(root: &Path) -> Vec<String> {
        let id = IDS.iter().find_map(|file| word(&root.join(file)));
        id.into_iter().chain(cards(root)).collect()
    }

    /// Addresses of the network cards, in order.
    fn cards(root: &Path) -> BTreeSet<String> {
        let cards = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
        cards.filter_map(|card| address(&card.path())).collect()
    }

    /// What tells the network namespace of this process from others, where no network card does. The system gives it
    /// another after a restart, so that it counts only where there is nothing better.
    pub fn network(root: &Path) -> Option<String> {
        let own = fs::read_link(root.join("proc/self/ns/net")).ok()?;
        let is_another = fs::read_link(root.join("proc/1/ns/net")).is_ok_and(|first| first != own);
        let is_needed = is_another || cards(root).is_empty() || !sees_its_cards(root);
        is_needed.then(|| own.to_string_lossy().into_owned())
    }

    /// Whether the cards below `sys` are those of this process's network, and not of the one that `sys` was mounted in.
    fn sees_its_cards(root: &Path) -> bool {
        let Ok(own) = fs::read_to_string(root.join("proc/self/net/dev")) else { return true };
        let own: BTreeSet<&str> = own.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        let shown = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
        let mut shown = shown.filter(|card| card.path().is_dir()).map(|card| card.file_name());
        shown.all(|name| name.to_str().is_some_and(|name| own.contains(name)))
    }

    /// The hardware address of a network card: not that of a bridge, a tunnel or a pair between containers, which come
    /// and go; nor one that is drawn or set anew, as for Wi-Fi networks.
    fn address(card: &Path) -> Option<String> {
        let is_device = card.join("device").exists();
        let is_its_own = word(&card.join("addr_assign_type")).is_none_or(|how| how == "0");
        word(&card.join("address")).filter(|_| is_device && is_its_own)
    }

    fn word(file: &PathBuf) -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        Some(text.trim().to_owned()).filter(|word| !word.is_empty())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn put(root: &Path, file: &str, text: &str) {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn card(root: &Path, name: &str, address: &str, how: &str, is_device: bool) {
            let file = |file: &str| format!("sys/class/net/{name}/{file}");
            put(root, &file("address"), address);
            put(root, &file("addr_assign_type"), how);
            if is_device {
                put(root, &file("device/vendor"), "");
            }
        }

        #[test]
        fn only_cards_with_an_address_of_their_own_count_in_order() {
            let root = tempfile::tempdir().unwrap();
            put(root.path(), "etc/machine-id", "0123\n");
            put(root.path(), "var/lib/dbus/machine-id", "4567\n");
            card(root.path(), "eth0", "02:00:00:00:00:02\n", "0\n", true);
            card(root.path(), "eth1", "02:00:00:00:00:01\n", "0\n", true);
            card(root.path(), "vf", "02:00:00:00:00:02\n", "0\n", true);
            card(root.path(), "wlan0", "02:00:00:00:00:03\n", "3\n", true);
            card(root.path(), "docker0", "02:00:00:00:00:04\n", "0\n", false);
            assert_eq!(words(root.path()), ["0123", "02:00:00:00:00:01", "02:00:00:00:00:02"]);
        }

        #[test]
        fn a_network_without_a_card_is_told_from_others_by_its_namespace() {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("proc/self/ns")).unwrap();
            assert_eq!(network(root.path()), None);
            std::os::unix::fs::symlink("net:[4026532008]", root.path().join("proc/self/ns/net")).unwrap();
            card(root.path(), "eth0", "02:00:00:00:00:04\n", "0\n", false);
            assert_eq!(network(root.path()).as_deref(), Some("net:[4026532008]"));
            card(root.path(), "eth1", "02:00:00:00:00:02\n", "0\n", true);
            assert_eq!(network(root.path()), None);
            // What is shown is the network that `sys` was mounted in.
            put(root.path(), "proc/self/net/dev", "Inter-|   Receive\n face |bytes\n  eth0: 7 0\n");
            assert!(network(root.path()).is_some());
            put(root.path(), "proc/self/net/dev", "Inter-|   Receive\n face |bytes\n  eth0: 7 0\n  eth1: 7 0\n");
            assert_eq!(network(root.path()), None);
            fs::create_dir_all(root.path().join("proc/1/ns")).unwrap();
            std::os::unix::fs::symlink("net:[4026531840]", root.path().join("proc/1/ns/net")).unwrap();
            assert!(network(root.path()).is_some(), "it is not that of the whole machine");
        }

        #[test]
        fn what_cannot_be_read_is_left_out() {
            let root = tempfile::tempdir().unwrap();
            assert!(words(root.path()).is_empty());
            put(root.path(), "etc/machine-id", "");
            put(root.path(), "var/lib/dbus/machine-id", "4567\n");
            assert_eq!(words(root.path()), ["4567"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_in(folder: &Path) -> CopyId {
        Machine::this(None).copy_in(folder, InfoHash([1; 20]))
    }

    #[test]
    fn a_copy_is_the_same_before_and_after_its_folder_is_made() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        let before = copy_in(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(copy_in(&folder), before);
        assert_eq!(copy_in(&place.path().join("a/./b/")), before);
        assert_ne!(copy_in(&place.path().join("a")), before);
    }

    #[test]
    fn a_machine_that_is_named_is_another() {
        let id = |named| Machine::this(named).id_in(InfoHash([1; 20]));
        assert_eq!((id(None), id(Some("a"))), (id(None), id(Some("a"))));
        assert!(id(None) != id(Some("a")) && id(Some("a")) != id(Some("b")));
    }

    #[test]
    fn a_folder_is_the_same_under_all_its_names() {
        let place = tempfile::tempdir().unwrap();
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(copy_in(&link), copy_in(&real));
        assert_eq!(copy_in(&link.join("new")), copy_in(&real.join("new")));
        assert_eq!(copy_in(Path::new("")), copy_in(Path::new(".")));
    }
}
