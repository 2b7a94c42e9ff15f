//! `.torrent` files and bare info dictionaries, by whomever they were made.

use orchestra::{
    manifest::Manifest,
    metainfo::{Info, Torrent, convert::to_manifest},
};

use super::manifest::check;

pub fn run(data: &[u8]) {
    if let Ok(torrent) = Torrent::parse(data) {
        let read = Torrent::parse(&torrent.render()).expect("a torrent that was written");
        assert!(read == torrent, "it changed on its way through its bytes");
        if let Ok(manifest) = to_manifest(&torrent) {
            assert_eq!(manifest.info_hash(), torrent.info_hash());
            through_text(&manifest);
        }
        info(torrent.info_bytes());
    }
    info(data);
}

fn info(raw: &[u8]) {
    let Ok(info) = Info::parse(raw) else {
        return;
    };
    let manifest = Manifest::from(&info);
    through_text(&manifest);
    let again = Info::parse(&manifest.info_bytes()).expect("an info dictionary that was written");
    // A manifest holds no padding: to us these are files like others.
    let padded = info.files.iter().any(|file| file.padding);
    assert!(padded || again == info, "it changed on its way through our own form");
}

fn through_text(manifest: &Manifest) {
    check(manifest);
    let again = Manifest::parse(manifest.render().as_bytes()).expect("a manifest that was written");
    assert!(again == *manifest, "it changed on its way through its text");
}
