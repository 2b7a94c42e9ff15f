//! From what was named to a swarm that runs: one composition of a member, from its first word to its last.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    StartError,
    acquaintances::Acquaintances,
    asking, blocking,
    ledger::Ledger,
    links::{self, Links, Visitors},
    load::{self, Composition, Named, Trackers},
    lookout::Lookout,
    mirrors::{self, Mirrors},
    narrow::Narrow,
    owner::{Owner, Parts},
    repertoire::Performed,
    station::{Pending, Station},
    teller::Teller,
};
use crate::{
    cli::{
        Exit,
        member::{Settings, UntilAll},
    },
    discovery::conductor::{Identity, Stats},
    manifest::{Endpoint, FilePath},
    metainfo::{InfoHash, Magnet, info::is_private},
    mirror::{address::Mirror, layout::Layout},
    storage::{self, Contents, Existing, Found, Infos, Notes, Opened, Proofs, Selection, StorageError, Wishes},
    swarm::{Config, Copies, Swarm},
    ui::{Report, report::Begun},
    wire::{
        copy_id::CopyId,
        handshake::{Handshake, PeerId},
    },
};

/// Connections at most, and up to how many of them more are dialled.
const MAX_PEERS: usize = 60;
const MAX_DIALLED: usize = 30;
/// A member that waits for more machines than that has a connection for each of them, up to this number.
const MAX_WATCHED: usize = 500;

/// One composition that begins.
#[derive(Clone)]
pub struct Beginning {
    pub station: Arc<Station>,
    pub screen: Teller,
}

impl Beginning {
    /// Fetches and shares what is named, until it is to end.
    pub async fn run(self, named: Named, pending: Pending) -> Exit {
        let mut lookout = self.station.lookout(&self.station.stop);
        let name = named.name();
        match self.begin(named, pending, &mut lookout).await {
            Ok(parts) => Owner::new(parts, lookout).run(&self.screen).await,
            Err(error) => {
                self.screen.finish(0);
                let exit = error.told(Some(name), self.station.start, &self.station.screen);
                lookout.leave().await;
                exit
            }
        }
    }

    async fn begin(&self, named: Named, pending: Pending, lookout: &mut Lookout) -> Result<Parts, StartError> {
        match named {
            Named::Composition(composition) => {
                let opened = self.open(&composition).await?;
                let acquaintances = Acquaintances::of(composition.info_hash);
                lookout.known = acquaintances.recall().await;
                lookout.known.extend(&composition.members);
                if !is_private(&composition.info) {
                    self.look_beyond(composition.info_hash, lookout);
                }
                let (trackers, left) = (composition.trackers.clone(), left(&opened));
                let identity = self.identity(composition.info_hash).await;
                let parts = self.share(composition, opened, acquaintances, identity.copy, pending)?;
                self.look_for(&trackers, &[], &identity, left, lookout);
                Ok(parts)
            }
            Named::Magnet(magnet) => {
                let acquaintances = Acquaintances::of(magnet.hash);
                lookout.known = acquaintances.recall().await;
                let identity = self.identity(magnet.hash).await;
                let composition = self.resolve(&magnet, &identity, lookout).await?;
                if is_private(&composition.info) {
                    lookout.keep_to_conductors();
                }
                let opened = self.open(&composition).await?;
                lookout.tell(left(&opened));
                self.share(composition, opened, acquaintances, identity.copy, pending)
            }
        }
    }

    /// Whom others hear of, with the copy that it holds or will hold.
    async fn identity(&self, info_hash: InfoHash) -> Identity {
        let (machine, folder) = (self.station.machine.clone(), self.station.settings.output.clone());
        let copy = blocking(move || machine.copy_in(&folder, info_hash)).await;
        self.station.identity(info_hash, Some(copy))
    }

    /// Starts to look for members: at these trackers and addresses, and where the settings say.
    fn look_for(
        &self,
        trackers: &Trackers,
        peers: &[Endpoint],
        identity: &Identity,
        stats: Stats,
        lookout: &mut Lookout,
    ) {
        let settings = &self.station.settings;
        let peers = [&settings.peers, peers].concat();
        lookout.start(trackers, &settings.conductors, peers, identity, stats, &self.screen);
    }

    /// Looks where no conductor is needed.
    fn look_beyond(&self, info_hash: InfoHash, lookout: &Lookout) {
        if let Some(lan) = &self.station.lan {
            lookout.look_near(lan, info_hash);
        }
        if let Some(dht) = &self.station.dht {
            lookout.look_far(dht, info_hash);
        }
    }

    /// The composition that a magnet link names: remembered, or asked of other members.
    async fn resolve(
        &self,
        magnet: &Magnet,
        identity: &Identity,
        lookout: &mut Lookout,
    ) -> Result<Composition, StartError> {
        let trackers = Trackers::of(&magnet.trackers);
        // What is left is not known; less than all of it would be a lie, and nothing would make this a seed.
        let stats = Stats { left: magnet.size.unwrap_or(1).max(1), ..Stats::default() };
        self.look_for(&trackers, &magnet.peers, identity, stats, lookout);
        let name = load::name_of(magnet);
        let hash = magnet.hash;
        let infos = Infos::of_this_user();
        let remembered = match infos.clone() {
            Some(infos) => blocking(move || infos.get(hash)).await,
            None => None,
        };
        if let Some(info) = remembered {
            log::info!("{name}: its info dictionary is remembered");
            if !is_private(&info) {
                self.look_beyond(hash, lookout);
            }
            return Ok(Composition::of_info(info.into(), trackers, magnet.mirrors.clone(), &name)?);
        }
        // Whether it is private nobody can know before somebody gave it.
        self.look_beyond(hash, lookout);
        let mut dice = fastrand::Rng::new();
        // Not the id of the member: who is slow to see these connections end would take the next one for a second
        // to the same member, and refuse it (aria2 does).
        let ours = Handshake { id: PeerId::fresh(&mut dice), ..self.station.ours(magnet.hash) };
        let setup = asking::Setup { station: &self.station, name: name.clone(), ours, dice };
        let info = asking::ask(setup, lookout, &self.screen).await?;
        let composition = Composition::of_info(info.clone(), trackers, magnet.mirrors.clone(), &name)?;
        if let Some(infos) = infos
            && let Err(error) = blocking(move || infos.remember(&info)).await
        {
            log::warn!("the info dictionary is asked for again next time: {error}");
        }
        Ok(composition)
    }

    async fn open(&self, composition: &Composition) -> Result<Opened, StartError> {
        let Settings { output, repair, check, from, .. } = &self.station.settings;
        let wishes = Wishes {
            existing: if *repair { Existing::Repair } else { Existing::Share },
            notes: if *check { Notes::Ignored } else { Notes::Believed },
            old: from.clone(),
            pool: self.station.pool.clone(),
            follow_links: self.station.settings.follow_links,
        };
        let only = self.select(composition)?;
        let others = &composition.namesakes;
        open(contents(composition, only), output.clone(), wishes).await.map_err(|error| match error {
            StorageError::Busy { path } if !others.is_empty() => StartError::Namesake { path, others: others.clone() },
            error => error.into(),
        })
    }

    /// The files that `--only` means; None: all.
    fn select(&self, composition: &Composition) -> Result<Option<Selection>, StartError> {
        let Composition { manifest, files, .. } = composition;
        let globs = &self.station.settings.only;
        if globs.is_empty() {
            return Ok(None);
        }
        let means = |path: &FilePath| globs.iter().any(|glob| glob.means(path));
        let selection = Selection::new(files, &manifest.geometry, means);
        match selection.count() {
            0 => Err(StartError::NothingSelected { name: manifest.name.shown().into_owned() }),
            _ => Ok(Some(selection)),
        }
    }

    /// Starts to connect, with all that is known now.
    fn share(
        &self,
        composition: Composition,
        opened: Opened,
        acquaintances: Acquaintances,
        copy: Option<CopyId>,
        pending: Pending,
    ) -> Result<Parts, StartError> {
        let station = &self.station;
        let Composition { manifest, info_hash, .. } = &composition;
        let info_hash = *info_hash;
        let (size, name) = (manifest.geometry.size(), manifest.name.shown().into_owned());
        let private = is_private(&composition.info);
        let Some(visitors) = Visitors::of(station, info_hash) else {
            return Err(StartError::Twice { name, info_hash });
        };
        log::info!("{name}: {size} bytes, {info_hash}; port {}", station.port);
        self.screen.event(&Report::Start(Begun {
            name,
            path: opened.store.path(),
            size,
            parts: manifest.geometry.parts(),
            part_size: manifest.geometry.part_size(),
            info_hash: info_hash.to_string(),
            port: station.port,
        }));
        let (usable, warning) = mirrors::of(&composition);
        if let Some(text) = warning {
            log::warn!("{text}");
            self.screen.event(&Report::Warning { name: Some(manifest.name.shown().into_owned()), text });
        }
        if let Some(only) = opened.store.only() {
            let files = composition.files.iter().filter(|file| !file.padding).count();
            let name = manifest.name.shown().into_owned();
            self.screen.event(&Report::Selected { name, wanted: only.count(), files, size: only.size() });
        }
        let left = left(&opened).left;
        let mut parts =
            Parts { acquaintances, ..parts(station, composition, usable, opened, copy, visitors, Some(pending)) };
        let manifest = parts.manifest.clone();
        station.neighbours.may_be_at(manifest.conductors());
        let of = Performed::new(info_hash, &parts.manifest, left, Arc::new(move || Some(manifest.clone())));
        parts.listed = (!private).then(|| station.repertoire.list(of));
        Ok(parts)
    }
}

/// All that an owner works with. `usable`: the mirrors that may be asked.
pub fn parts(
    station: &Arc<Station>,
    composition: Composition,
    usable: Vec<Mirror>,
    opened: Opened,
    copy: Option<CopyId>,
    visitors: Visitors,
    pending: Option<Pending>,
) -> Parts {
    let Opened { store, found, have, events: disk } = opened;
    let private = is_private(&composition.info);
    let Composition { manifest, files, info, info_hash, .. } = composition;
    let acquaintances = Acquaintances::of(info_hash);
    let ledger = Ledger::new(manifest.name.as_str(), info_hash);
    let machine = station.machine.id_in(info_hash);
    let common = links::Common {
        store: store.clone(),
        geometry: manifest.geometry,
        ours: station.ours(info_hash),
        info,
        name: station.settings.name.clone(),
        copy,
        machine: Some(machine),
        port: station.reached.port,
        via: station.via(),
        start: station.start,
        upload: station.upload.another(),
        download: station.download.another(),
    };
    let (mut links, heard) = Links::new(common.clone(), visitors);
    let watched = watched(station.settings.until.all.as_ref());
    let usable: Vec<_> = usable.into_iter().map(|mirror| (links.another_key(), mirror)).collect();
    let mut swarm = Swarm::new(Config {
        geometry: manifest.geometry,
        id: station.id,
        copy,
        have,
        checked: found == Found::Ready,
        max_peers: MAX_PEERS.max(watched),
        max_dialled: MAX_DIALLED.max(watched),
        seed: fastrand::Rng::new().u64(..),
    });
    swarm.go_on_counting(copies(station, info_hash, copy));
    if let Some(only) = store.only() {
        swarm.want_only(only.parts());
    }
    swarm.use_mirrors(usable.iter().map(|(key, _)| *key));
    let layout = Layout::new(manifest.name.clone(), manifest.geometry.size(), files);
    let mirrors = Mirrors::new(usable, layout, common, station.mirrors.clone());
    let unmet = pending.as_ref().map(Pending::all).unwrap_or_default();
    let (station, stop, manifest) = (station.clone(), station.stop.clone(), Arc::new(manifest));
    Parts {
        station,
        stop,
        manifest,
        swarm,
        store,
        found,
        disk,
        links,
        mirrors,
        heard,
        acquaintances,
        ledger,
        narrow: Narrow::default(),
        pending,
        unmet,
        private,
        listed: None,
        uploaded: 0,
        standing: None,
    }
}

/// Nothing counted yet, on this machine.
pub fn copies(station: &Station, info_hash: InfoHash, copy: Option<CopyId>) -> Copies {
    let mut copies = Copies::new(station.id, copy);
    copies.is_on(Some(station.machine.id_in(info_hash)), station.this.addresses.clone());
    copies
}

/// Machines that are to be seen over connections of this member.
fn watched(all: Option<&UntilAll>) -> usize {
    let wanted = match all {
        None => 0,
        Some(UntilAll::Members(count)) => *count as usize,
        Some(UntilAll::Named(hosts)) => hosts.len(),
    };
    wanted.min(MAX_WATCHED)
}

/// What the disk is to have of a composition.
pub fn contents(composition: &Composition, only: Option<Selection>) -> Contents {
    let manifest = &composition.manifest;
    Contents {
        name: manifest.name.as_str().to_owned(),
        geometry: manifest.geometry,
        parts: manifest.parts.clone(),
        whole: manifest.whole,
        info_hash: composition.info_hash,
        files: composition.files.clone(),
        executable: manifest.is_executable(),
        only,
    }
}

/// What is on the disk of it in this folder, or room for it.
pub async fn open(mut contents: Contents, mut folder: PathBuf, wishes: Wishes) -> Result<Opened, StorageError> {
    let proofs = Proofs::of_this_user();
    let work = move || {
        if wishes.existing == Existing::Share && wishes.follow_links {
            follow(&mut contents, &mut folder);
        }
        storage::open(contents, &folder, &wishes, proofs)
    };
    blocking(work).await
}

/// A composition whose name is a link on the disk is where that leads to: it is only read there.
pub fn follow(contents: &mut Contents, folder: &mut PathBuf) {
    let path = folder.join(&contents.name);
    let real = real_path(&path);
    let is_whole = || match contents.files.is_empty() {
        true => real.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == contents.geometry.size()),
        false => real.is_dir(),
    };
    if path != real
        && is_whole()
        && let (Some(above), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str()))
    {
        (contents.name, *folder) = (name.to_owned(), above.to_owned());
    }
}

/// What this path leads to where it is a link, which may be named differently; else the path itself.
pub fn real_path(path: &Path) -> PathBuf {
    match path.is_symlink() {
        true => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
        false => path.to_owned(),
    }
}

/// What the conductors are told first of what is on the disk.
fn left(opened: &Opened) -> Stats {
    let geometry = opened.store.geometry();
    let there: u64 = opened.have.ones(geometry).map(|part| u64::from(geometry.part_len(part))).sum();
    Stats { left: geometry.size() - there, ..Stats::default() }
}
