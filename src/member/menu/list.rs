//! The list of the menu: what the conductor lists, and what this member does with it.
//!
//! Pure.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use crate::{
    catalogue::Composition,
    cli::{Exit, units},
    manifest::shown,
    metainfo::InfoHash,
    ui::{Phase, View},
};

/// What this member does with a composition.
#[derive(Clone, Debug, PartialEq)]
pub enum Here {
    /// Its manifest is being asked for.
    Coming {
        name: String,
    },
    Running(Box<View>),
    /// Shared from a file or folder that was named here.
    Shared {
        name: String,
        size: u64,
        path: PathBuf,
    },
    /// It was fetched or shared before; or only some of it, which goes on when it is fetched.
    OnDisk {
        whole: bool,
    },
    /// `percent`: so much of it is on the disk.
    Ended {
        exit: Exit,
        percent: u32,
    },
}

impl Here {
    /// Whether it goes on, and can be stopped.
    pub fn is_under_way(&self) -> bool {
        match self {
            Self::Coming { .. } | Self::Running(_) | Self::Shared { .. } => true,
            Self::OnDisk { .. } | Self::Ended { .. } => false,
        }
    }

    /// In so many columns, if it can be said in so few.
    pub fn text(&self, columns: usize) -> String {
        let said = match self {
            Self::Coming { .. } => vec!["asking for its manifest".to_owned(), "asking".to_owned()],
            Self::Running(view) => running(view),
            Self::Shared { .. } => vec!["shared from here".to_owned(), "shared".to_owned()],
            Self::Ended { exit: Exit::Done, .. } | Self::OnDisk { whole: true } => vec!["whole".to_owned()],
            Self::OnDisk { whole: false } => vec!["begun".to_owned()],
            Self::Ended { exit: Exit::Interrupted, percent } => {
                vec![format!("stopped at {percent} %"), format!("{percent} %")]
            }
            Self::Ended { exit: Exit::OtherData, .. } => {
                vec!["another file: R repairs, o elsewhere".to_owned(), "another file".to_owned()]
            }
            Self::Ended { .. } => vec!["failed".to_owned()],
        };
        said.into_iter().find(|text| text.chars().count() <= columns).unwrap_or_default()
    }
}

/// What is going on, the longest form first.
fn running(view: &View) -> Vec<String> {
    let (percent, down, up) = (view.percent(), units::rate(view.swarm.rate_down), units::rate(view.swarm.rate_up));
    match &view.phase {
        Phase::Seeking { .. } => vec!["asking for its manifest".to_owned(), "asking".to_owned()],
        Phase::Checking { .. } => vec![format!("checking {percent} %"), format!("{percent} %")],
        Phase::Waiting(what) if !view.is_known() => vec![format!("waiting for {what}"), "waiting".to_owned()],
        Phase::Waiting(what) => {
            vec![format!("{percent} %  waiting for {what}"), format!("{percent} %  waiting"), format!("{percent} %")]
        }
        Phase::Fetching => {
            let short = format!("{percent} %  {down}");
            let left = view.eta.map(|eta| format!("{short}  {} left", units::time_left(eta)));
            left.into_iter().chain([short, format!("{percent} %")]).collect()
        }
        Phase::Verifying => vec!["verifying".to_owned()],
        Phase::Sharing => {
            let sends = (view.swarm.rate_up >= 1.0).then(|| format!("whole, sharing  {up}"));
            sends.into_iter().chain(["whole, sharing".to_owned(), "whole".to_owned()]).collect()
        }
    }
}

/// A composition of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    pub info_hash: InfoHash,
    /// Safe for a terminal.
    pub name: String,
    /// In bytes; None: not known yet.
    pub size: Option<u64>,
    /// Members that have all of it, and all of them; None: the conductor does not list it.
    pub members: Option<(u32, u32)>,
    pub here: Option<&'a Here>,
}

/// Whether it can be had, or something was done with it here: else to fetch it is to wait for nobody.
pub fn is_of_use(composition: &Composition, here: &BTreeMap<InfoHash, Here>) -> bool {
    composition.members > 0 || here.contains_key(&composition.info_hash)
}

/// What is listed, and below it what is here and not listed; those whose names hold the filter, in any case.
pub fn rows<'a>(
    there: impl Iterator<Item = &'a Composition>,
    here: &'a BTreeMap<InfoHash, Here>,
    filter: &str,
) -> Vec<Row<'a>> {
    let there: Vec<&Composition> = there.collect();
    let listed = there.iter().map(|one| Row {
        info_hash: one.info_hash,
        name: shown(&one.name).into_owned(),
        size: Some(one.size),
        members: Some((one.complete, one.members)),
        here: here.get(&one.info_hash),
    });
    let hashes: HashSet<InfoHash> = there.iter().map(|one| one.info_hash).collect();
    let unlisted = here.iter().filter(|(hash, _)| !hashes.contains(hash));
    let unlisted = unlisted.filter_map(|(hash, here)| {
        let (name, size) = match here {
            Here::Coming { name } => (name.clone(), None),
            Here::Running(view) => (view.name.clone(), Some(view.swarm.bytes)),
            Here::Shared { name, size, .. } => (name.clone(), Some(*size)),
            Here::OnDisk { .. } | Here::Ended { .. } => return None,
        };
        Some(Row { info_hash: *hash, name, size, members: None, here: Some(here) })
    });
    let wanted = filter.to_lowercase();
    listed.chain(unlisted).filter(|row| row.name.to_lowercase().contains(&wanted)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::swarm::Snapshot;

    pub fn composition(name: &str, n: u8) -> Composition {
        Composition {
            name: name.to_owned(),
            info_hash: InfoHash([n; 20]),
            size: (u64::from(n) * 300) << 20,
            part_size: 1 << 20,
            parts: 300 * u32::from(n),
            owner: None,
            registered: 0,
            members: 5,
            complete: 2,
        }
    }

    pub fn view(phase: Phase) -> View {
        let swarm = Snapshot {
            bytes: 1000,
            bytes_done: 473,
            rate_down: 12.0 * 1048576.0,
            rate_up: 3.0 * 1048576.0,
            ..Snapshot::default()
        };
        let eta = Some(core::time::Duration::from_millis(25_300));
        View { name: "b.iso".to_owned(), phase, swarm, eta, elapsed: core::time::Duration::ZERO }
    }

    #[test]
    fn what_is_here_is_said_in_the_room_there_is() {
        let running = |phase| Here::Running(Box::new(view(phase)));
        for (here, columns, text) in [
            (running(Phase::Fetching), 30, "47 %  12 MiB/s  26 s left"),
            (running(Phase::Fetching), 20, "47 %  12 MiB/s"),
            (running(Phase::Fetching), 4, "47 %"),
            (running(Phase::Waiting("a member that has it".to_owned())), 40, "47 %  waiting for a member that has it"),
            (running(Phase::Waiting("a member that has it".to_owned())), 30, "47 %  waiting"),
            (running(Phase::Sharing), 30, "whole, sharing  3 MiB/s"),
            (running(Phase::Sharing), 8, "whole"),
            (Here::Ended { exit: Exit::Interrupted, percent: 47 }, 30, "stopped at 47 %"),
            (Here::Ended { exit: Exit::Done, percent: 100 }, 30, "whole"),
            (Here::Ended { exit: Exit::Disk, percent: 3 }, 30, "failed"),
            (Here::Ended { exit: Exit::OtherData, percent: 0 }, 36, "another file: R repairs, o elsewhere"),
            (Here::Ended { exit: Exit::OtherData, percent: 0 }, 28, "another file"),
        ] {
            assert_eq!(here.text(columns), text);
        }
    }

    #[test]
    fn what_is_here_and_not_listed_is_below() {
        let there = [composition("b.iso", 2)];
        let gone = Here::Shared { name: "a.iso".to_owned(), size: 7, path: "/a.iso".into() };
        let ended = Here::Ended { exit: Exit::Done, percent: 100 };
        let coming = Here::Coming { name: "b.iso".to_owned() };
        let all = [(1, gone), (2, coming), (3, ended)];
        let here: BTreeMap<_, _> = all.into_iter().map(|(n, here)| (InfoHash([n; 20]), here)).collect();
        let rows = rows(there.iter(), &here, "");
        let shown: Vec<_> = rows.iter().map(|row| (&row.name[..], row.size, row.members)).collect();
        assert_eq!(shown, [("b.iso", Some(600 << 20), Some((2, 5))), ("a.iso", Some(7), None)]);
        assert_eq!(rows[0].here, here.get(&InfoHash([2; 20])));
    }
}
