//! Between a manifest and BitTorrent's written forms.
//!
//! A `.torrent` becomes a manifest only where its info dictionary has nothing beyond our keys in our form: only then do
//! both name the same swarm. Nothing of a closed composition is ever written in a form that can be published.

use std::time::{Duration, UNIX_EPOCH};

use super::{Magnet, Torrent, Tracker, bencode, info::InfoError};
use crate::manifest::{Endpoint, Extra, ExtraError, Fault, Manifest, NOT_KNOWN};

/// The last second that RFC 3339 can write: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// Why a composition cannot be written in the other form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("the composition is empty, and BitTorrent has no empty files: only its .orch can be written")]
    Empty,
    #[error("the composition is closed: its torrent or magnet link would give it away")]
    Closed,
    #[error(
        "the torrent's info dictionary has {0} in it, which an .orch cannot carry: its members would be in another \
         swarm. Give the torrent itself to member"
    )]
    Foreign(String),
    #[error(transparent)]
    Info(#[from] InfoError),
    #[error(transparent)]
    Extra(#[from] ExtraError),
    #[error(transparent)]
    Manifest(#[from] Fault),
}

/// The manifest of the same swarm.
///
/// HTTP trackers whose path is `/announce` become its conductors; other trackers have no place in it.
///
/// # Errors
/// If the torrent's info dictionary is not exactly what the manifest defines.
pub fn to_manifest(torrent: &Torrent) -> Result<Manifest, ConvertError> {
    let mut manifest = Manifest::from(torrent.info());
    if manifest.info_bytes() != torrent.info_bytes()[..] {
        return Err(ConvertError::Foreign(foreign_part(torrent)));
    }
    manifest.whole = torrent.whole.filter(|whole| *whole != NOT_KNOWN);
    let trackers = torrent.trackers.iter().flatten();
    let mut conductors = trackers.filter_map(|url| conductor(url));
    manifest.conductor = conductors.next().unwrap_or(Endpoint::UNKNOWN);
    let mut extras = Vec::new();
    for further in conductors {
        extras.push(Extra::new("conductor", &further.to_string())?);
    }
    // What a torrent says for people is not worth an error: a source or a comment that fits in no line is left out.
    let line = |key, text: &str| Extra::new(key, text).ok();
    extras.extend(torrent.mirrors.iter().filter_map(|url| line("mirror", url)));
    let comment = torrent.comment.as_deref().map(one_line);
    extras.extend(comment.and_then(|text| line("comment", &text)));
    let created = torrent.created.and_then(written_time);
    extras.extend(created.and_then(|text| line("created", &text)));
    manifest.replace(extras)?;
    Ok(manifest)
}

/// The torrent of the same swarm, with the conductors that are known as its trackers, each in a tier of its own.
///
/// # Errors
/// If the composition is empty or closed.
pub fn to_torrent(manifest: &Manifest) -> Result<Torrent, ConvertError> {
    publishable(manifest)?;
    let mut torrent = Torrent::new(manifest.info_bytes())?;
    torrent.trackers = trackers(manifest).map(|url| vec![url]).collect();
    torrent.mirrors = manifest.mirrors().map(str::to_owned).collect();
    torrent.whole = manifest.whole;
    torrent.comment = manifest.comment().map(str::to_owned);
    torrent.created = manifest.created().and_then(read_time);
    torrent.created_by = Some(concat!("Orchestra ", env!("CARGO_PKG_VERSION")).to_owned());
    Ok(torrent)
}

/// The magnet link of the same swarm.
///
/// # Errors
/// If the composition is empty or closed.
pub fn to_magnet(manifest: &Manifest) -> Result<Magnet, ConvertError> {
    publishable(manifest)?;
    Ok(Magnet {
        name: Some(manifest.name.as_str().to_owned()),
        size: Some(manifest.geometry.size()),
        trackers: trackers(manifest).collect(),
        mirrors: manifest.mirrors().map(str::to_owned).collect(),
        ..Magnet::new(manifest.info_hash())
    })
}

fn publishable(manifest: &Manifest) -> Result<(), ConvertError> {
    if manifest.is_closed() {
        return Err(ConvertError::Closed);
    }
    if manifest.geometry.parts() == 0 {
        return Err(ConvertError::Empty);
    }
    Ok(())
}

fn trackers(manifest: &Manifest) -> impl Iterator<Item = String> + '_ {
    manifest.conductors().filter_map(|c| c.tracker_url())
}

/// The conductor at this tracker address, if it can be one.
fn conductor(url: &str) -> Option<Endpoint> {
    Tracker::from_url(url).filter(Tracker::is_plain_conductor).map(|tracker| tracker.conductor)
}

/// What makes this info dictionary another one than ours.
fn foreign_part(torrent: &Torrent) -> String {
    const OURS: [&[u8]; 5] = [b"files", b"length", b"name", b"piece length", b"pieces"];
    let dict = bencode::parse(torrent.info_bytes()).ok().and_then(|v| v.as_dict());
    let foreign = dict.iter().flat_map(|dict| dict.entries()).map(|(key, _)| key).find(|key| !OURS.contains(key));
    foreign.map_or_else(
        || "something in another form than ours".to_owned(),
        |key| format!("{:?}", String::from_utf8_lossy(&key[..key.len().min(40)])),
    )
}

/// Comments of torrents may have several lines.
fn one_line(text: &str) -> String {
    let words = text.split(char::is_control).map(str::trim);
    words.filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 3339, from seconds since 1970; None beyond the year 9999.
pub(crate) fn written_time(seconds: u64) -> Option<String> {
    (seconds <= LAST_SECOND).then(|| {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        humantime::format_rfc3339_seconds(time).to_string()
    })
}

/// Seconds since 1970, from RFC 3339.
fn read_time(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;
    use crate::hashing::Digest;

    const ORIGINAL: &str = include_str!("../../tests/data/original-example.orch");

    fn manifest(more: &str) -> Manifest {
        Manifest::parse(format!("{ORIGINAL}{more}").as_bytes()).unwrap()
    }

    #[test]
    fn a_manifest_survives_the_way_through_a_torrent() {
        for more in [
            "",
            "conductor [::1]:7\nconductor host:80\nmirror http://m/x\ncomment a b\ncreated 2024-02-29T12:00:00Z\n",
            "file 142000 a/b\nfile 44 c\n",
        ] {
            let manifest = manifest(more);
            let torrent = to_torrent(&manifest).unwrap();
            assert_eq!(torrent.info_hash(), manifest.info_hash());
            let read = Torrent::parse(&torrent.render()).unwrap();
            assert!(read == torrent);
            assert_eq!(to_manifest(&read), Ok(manifest));
        }
    }

    proptest! {
        #[test]
        fn any_manifest_survives_the_way_through_a_torrent(
            digests in vec(any::<[u8; 20]>(), 1..9), part_size in 1..100_000u64, short: Index, whole: Option<[u8; 20]>,
            lines in vec("(conductor [a-z]{1,9}:[1-9][0-9]{3}|mirror [a-z:/]{1,9}|comment [a-z]{1,9})", 0..4),
        ) {
            let size = digests.len() as u64 * part_size - short.index(part_size as usize) as u64;
            let mut text = format!("host\nname\n{}\n{size}\n", whole.map_or(NOT_KNOWN, Digest));
            text += &format!("{part_size}\n{}\n", digests.len());
            text.extend(digests.iter().map(|digest| format!("{}\n", Digest(*digest))));
            text.extend(lines.iter().map(|line| format!("{line}\n")));
            let manifest = Manifest::parse(text.as_bytes()).unwrap();
            let torrent = Torrent::parse(&to_torrent(&manifest).unwrap().render()).unwrap();
            let back = to_manifest(&torrent).unwrap();
            prop_assert_eq!(back.info_hash(), manifest.info_hash());
            prop_assert_eq!(back.whole, manifest.whole);
            prop_assert!(back.conductors().eq(manifest.conductors()));
            prop_assert!(back.mirrors().eq(manifest.mirrors()));
            prop_assert_eq!(back.comment(), manifest.comment());
        }
    }

    #[test]
    fn a_torrent_of_ours_is_what_every_client_reads() {
        let bytes = to_torrent(&manifest("")).unwrap().render();
        let start = b"d8:announce32:http://192.168.1.1:9999/announce10:created by";
        assert!(bytes.starts_with(start));
        let info = b"4:infod6:lengthi142044e4:name17:maxresdefault.jpg12:piece lengthi16384e6:pieces180:";
        assert!(bytes.windows(info.len()).any(|w| w == info));
    }

    #[test]
    fn a_magnet_names_the_same_swarm() {
        let manifest = manifest("conductor :9999\nmirror http://m/x\n");
        let magnet = to_magnet(&manifest).unwrap();
        assert_eq!(
            magnet.to_string(),
            format!(
                "magnet:?xt=urn:btih:{}&dn=maxresdefault.jpg&xl=142044&tr=http%3A%2F%2F192.168.1.1%3A9999%2Fannounce\
                 &ws=http%3A%2F%2Fm%2Fx",
                manifest.info_hash()
            )
        );
    }

    #[test]
    fn a_foreign_info_dictionary_becomes_no_manifest() {
        let info = manifest("").info_bytes();
        for (start, named) in [(&b"d7:privatei1e6:"[..], "\"private\""), (b"d6:lengthi142044e6:", "another form")] {
            let raw = [start, &info[3..]].concat();
            let error = to_manifest(&Torrent::new(raw).unwrap()).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_checksum_that_no_manifest_can_hold_is_not_known() {
        let mut torrent = to_torrent(&manifest("")).unwrap();
        torrent.whole = Some(NOT_KNOWN);
        let manifest = to_manifest(&torrent).unwrap();
        assert_eq!(manifest.whole, None);
        assert_eq!(Manifest::parse(manifest.render().as_bytes()), Ok(manifest));
    }

    #[test]
    fn only_trackers_that_can_be_conductors_become_conductors() {
        let mut torrent = to_torrent(&manifest("")).unwrap();
        let urls =
            ["udp://a:1/announce", "http://b/x", "https://c/announce", "http://d/announce", "http://[::1]/announce"];
        torrent.trackers = vec![urls.iter().map(|u| u.to_string()).collect()];
        torrent.comment = Some("two\r\nlines\u{1b}".to_owned());
        torrent.created = Some(u64::MAX);
        let manifest = to_manifest(&torrent).unwrap();
        let conductors: Vec<_> = manifest.conductors().map(|c| c.to_string()).collect();
        assert_eq!(conductors, ["d:80", "[::1]:80"]);
        assert_eq!(manifest.comment(), Some("two lines"));
        assert_eq!(manifest.created(), None);
    }

    #[test]
    fn the_empty_and_the_closed_are_not_published() {
        let closed = manifest("secret 00\n");
        assert_eq!(to_torrent(&closed).unwrap_err(), ConvertError::Closed);
        assert_eq!(to_magnet(&closed), Err(ConvertError::Closed));
        let empty = "host\nempty\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n";
        let empty = Manifest::parse(empty.as_bytes()).unwrap();
        assert_eq!(to_torrent(&empty).unwrap_err(), ConvertError::Empty);
        assert_eq!(to_magnet(&empty), Err(ConvertError::Empty));
    }
}
