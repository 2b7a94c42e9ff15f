//! The `.orch` file, and what it becomes in BitTorrent's written forms.

use std::path::{Component, Path};

use orchestra::{
    manifest::Manifest,
    metainfo::{
        Torrent,
        convert::{to_magnet, to_manifest, to_torrent},
        magnet::MAX_LINK,
        torrent::MAX_LIST,
    },
};

pub fn run(data: &[u8]) {
    let Ok(manifest) = Manifest::parse(data) else {
        return;
    };
    check(&manifest);
    let again = Manifest::parse(manifest.render().as_bytes()).expect("a manifest that was written");
    assert!(again == manifest, "it changed on its way through its text");
    let (torrent, magnet) = (to_torrent(&manifest), to_magnet(&manifest));
    assert_eq!(torrent.is_ok(), !manifest.is_closed() && manifest.geometry.parts() > 0);
    assert_eq!(magnet.is_ok(), torrent.is_ok());
    if let Ok(torrent) = torrent {
        let read = Torrent::parse(&torrent.render()).expect("a torrent that was written");
        let cut = torrent.trackers.len() > MAX_LIST || torrent.mirrors.len() > MAX_LIST;
        assert!(cut || read == torrent, "it changed on its way through a torrent");
        assert_eq!(torrent.info_hash(), manifest.info_hash());
        let back = to_manifest(&read).expect("a manifest of our own torrent");
        assert_eq!(back.info_hash(), manifest.info_hash());
        assert_eq!(back.whole, manifest.whole);
        check(&back);
    }
    if let Ok(magnet) = magnet {
        let link = magnet.to_string();
        assert!(link.len() > MAX_LINK || link.parse() == Ok(magnet));
    }
}

/// What [`Manifest`] promises.
pub fn check(manifest: &Manifest) {
    let geometry = &manifest.geometry;
    assert_eq!(manifest.parts.len(), geometry.parts() as usize);
    let total: u64 = geometry.all_parts().map(|part| u64::from(geometry.part_len(part))).sum();
    assert_eq!(total, geometry.size());
    let is_inside =
        |path: &str| !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    assert!(is_inside(manifest.name.as_str()) && !manifest.name.as_str().contains('/'));
    let files: Vec<_> = manifest.files().collect();
    assert_eq!(!files.is_empty(), manifest.is_folder());
    assert!(files.iter().all(|file| is_inside(file.path.as_str())));
    assert!(files.is_empty() || files.iter().map(|file| file.size).sum::<u64>() == geometry.size());
    assert!(manifest.conductors().all(|endpoint| !endpoint.is_unknown()));
}
