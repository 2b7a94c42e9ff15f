//! The info dictionary (BEP 3): what a composition is, in the bytes that its swarm is named after.
//!
//! Read are version 1 dictionaries and the version 1 half of hybrids (BEP 52), of one file or of several. Our own hold
//! exactly the keys `length` or `files`, `name`, `piece length` and `pieces`. Hostile input: the count of digests is
//! checked against size and part size before anything is allocated, and names are safe ([`crate::manifest::name`]).

use std::{fmt, str::FromStr, sync::Arc};

use super::bencode::{self, BencodeError, Dict, Value, write_bytes, write_int};
use crate::{
    geometry::{Geometry, GeometryError},
    hashing::Digest,
    manifest::{FileEntry, FilePath, MAX_EXTRAS, Name, NameError, files},
};

/// SHA-1 of the raw bytes of an info dictionary (BEP 3): the name of a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// The name of the swarm of this info dictionary.
    pub fn of(raw: &[u8]) -> Self {
        Self(Digest::of(raw).0)
    }
}

/// Forty hex digits.
impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// From forty hex digits.
impl FromStr for InfoHash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// What an info dictionary says of its composition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The file's name, or the folder's.
    pub name: Name,
    /// Its size, and how it is cut into parts.
    pub geometry: Geometry,
    /// SHA-1 of each part, in order; exactly as many as the geometry has parts.
    pub parts: Arc<[Digest]>,
    /// The files of a folder, in order; none for a single file.
    pub files: Vec<FileEntry>,
}

/// Why an info dictionary is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    #[error("the info is no dictionary")]
    NoDict,
    #[error("the info dictionary has no sound `{0}`")]
    Key(&'static str),
    #[error("this is a version 2 torrent without a version 1 half: ask its author for a hybrid one")]
    OnlyV2,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    #[error("{there} bytes of `pieces` do not fit {parts} parts of 20 bytes each")]
    Pieces { there: usize, parts: u32 },
    #[error("the composition is empty: BitTorrent has no empty files")]
    Empty,
    #[error("the info dictionary lists no file, or more than 1,048,576")]
    FileCount,
    #[error("two files have the path {0:?}, or one is a folder of the other")]
    Clash(String),
}

impl Info {
    /// Reads the raw bytes of an info dictionary, as they come from a `.torrent` or from other members (BEP 9).
    pub fn parse(raw: &[u8]) -> Result<Self, InfoError> {
        let dict = bencode::parse(raw)?.as_dict().ok_or(InfoError::NoDict)?;
        let name = dict.get("name").and_then(Value::as_str);
        let name = Name::new(name.ok_or(InfoError::Key("name"))?)?;
        let pieces = dict.get("pieces").and_then(Value::as_bytes);
        let pieces = match pieces {
            None if dict.get("file tree").is_some() => return Err(InfoError::OnlyV2),
            pieces => pieces.ok_or(InfoError::Key("pieces"))?,
        };
        let (size, files) = contents(&dict)?;
        let part_size = dict.get("piece length").and_then(Value::as_u64);
        let geometry = Geometry::new(size, part_size.ok_or(InfoError::Key("piece length"))?)?;
        Ok(Self { name, parts: digests(pieces, geometry.parts())?, geometry, files })
    }
}

/// Whether it says that only its trackers may tell who shares it (BEP 27).
pub fn is_private(raw: &[u8]) -> bool {
    let dict = bencode::parse(raw).ok().and_then(Value::as_dict);
    dict.and_then(|dict| dict.get("private")).and_then(Value::as_u64).is_some_and(|private| private != 0)
}

/// The canonical info dictionary: sorted keys, and none beyond ours.
pub fn encode(name: &Name, geometry: &Geometry, parts: &[Digest], files: &[FileEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + 20 * parts.len());
    out.push(b'd');
    if files.is_empty() {
        write_bytes(&mut out, b"length");
        write_int(&mut out, geometry.size());
    } else {
        write_bytes(&mut out, b"files");
        out.push(b'l');
        for file in files {
            encode_file(&mut out, file);
        }
        out.push(b'e');
    }
    write_bytes(&mut out, b"name");
    write_bytes(&mut out, name.as_str().as_bytes());
    write_bytes(&mut out, b"piece length");
    write_int(&mut out, geometry.part_size());
    write_bytes(&mut out, b"pieces");
    out.extend_from_slice(format!("{}:", 20 * parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(&part.0);
    }
    out.push(b'e');
    out
}

fn encode_file(out: &mut Vec<u8>, file: &FileEntry) {
    out.push(b'd');
    write_bytes(out, b"length");
    write_int(out, file.size);
    write_bytes(out, b"path");
    out.push(b'l');
    for name in file.path.components() {
        write_bytes(out, name.as_bytes());
    }
    out.extend_from_slice(b"ee");
}

/// Size in bytes, and the files of a folder.
fn contents(dict: &Dict<'_>) -> Result<(u64, Vec<FileEntry>), InfoError> {
    let (size, files) = match dict.get("files") {
        None => {
            let length = dict.get("length").and_then(Value::as_u64);
            (length.ok_or(InfoError::Key("length"))?, Vec::new())
        }
        Some(list) => {
            let files = file_list(list)?;
            if let Some(path) = files::clash(&files) {
                return Err(InfoError::Clash(path.as_str().to_owned()));
            }
            (files::total(&files).ok_or(InfoError::Key("files"))?, files)
        }
    };
    if size == 0 {
        return Err(InfoError::Empty);
    }
    Ok((size, files))
}

fn file_list(list: Value<'_>) -> Result<Vec<FileEntry>, InfoError> {
    let list = list.as_list().ok_or(InfoError::Key("files"))?;
    let count = list.clone().take(MAX_EXTRAS + 1).count();
    if count == 0 || count > MAX_EXTRAS {
        return Err(InfoError::FileCount);
    }
    list.map(file).collect()
}

/// With the attributes of BEP 47: `p` for padding, `l` for a link, `x` for a program.
fn file(value: Value<'_>) -> Result<FileEntry, InfoError> {
    let broken = || InfoError::Key("files");
    let dict = value.as_dict().ok_or_else(broken)?;
    let is = |letter| dict.get("attr").and_then(Value::as_bytes).is_some_and(|attr| attr.contains(&letter));
    let link = is(b'l');
    let size = dict.get("length").and_then(Value::as_u64).or(link.then_some(0));
    let names = dict.get("path").and_then(Value::as_list);
    let names: Option<Vec<&str>> = names.ok_or_else(broken)?.map(Value::as_str).collect();
    let path = FilePath::join(names.ok_or_else(broken)?)?;
    Ok(FileEntry { size: size.ok_or_else(broken)?, path, executable: is(b'x'), padding: link || is(b'p') })
}

fn digests(pieces: &[u8], parts: u32) -> Result<Arc<[Digest]>, InfoError> {
    let (chunks, rest) = pieces.as_chunks::<20>();
    if chunks.len() as u64 != u64::from(parts) || !rest.is_empty() {
        return Err(InfoError::Pieces { there: pieces.len(), parts });
    }
    Ok(chunks.iter().map(|&bytes| Digest(bytes)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn infos() -> impl Strategy<Value = Info> {
        let files = vec((1u64..1000, "[a-z]/[a-z]{9}(/[a-z]{3})?"), 0..5);
        (files, 1u64..1000, 1u64..5000, "[^/\\\\\\pC]{1,9}", any::<[u8; 20]>()).prop_filter_map(
            "unsafe name, or files that clash",
            |(files, part_size, size, name, digest)| {
                let files: Vec<_> =
                    files.iter().map(|(size, path)| FileEntry::new(*size, path.parse().unwrap())).collect();
                let size = if files.is_empty() { size } else { files::total(&files)? };
                let geometry = Geometry::new(size, part_size).ok()?;
                let name = Name::new(&name).ok().filter(|_| files::clash(&files).is_none())?;
                let parts = vec![Digest(digest); geometry.parts() as usize].into();
                Some(Info { name, geometry, parts, files })
            },
        )
    }

    fn bytes(info: &Info) -> Vec<u8> {
        encode(&info.name, &info.geometry, &info.parts, &info.files)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(info in infos()) {
            prop_assert_eq!(Info::parse(&bytes(&info)), Ok(info));
        }

        #[test]
        fn broken_bytes_never_panic(info in infos(), at in any::<Index>(), byte: u8) {
            let mut bytes = bytes(&info);
            let at = at.index(bytes.len());
            prop_assert!(Info::parse(&bytes[..at]).is_err());
            bytes[at] = byte;
            let _ = Info::parse(&bytes);
        }
    }

    const DIGEST: &str = "6:pieces20:aaaaaaaaaaaaaaaaaaaae";

    fn parse(start: &str) -> Result<Info, InfoError> {
        Info::parse(format!("{start}{DIGEST}").as_bytes())
    }

    #[test]
    fn the_half_of_a_hybrid_that_is_version_1_is_read() {
        let info = parse("d9:file treedei9e6:lengthi3e12:meta versioni2e4:name1:x12:piece lengthi16384e");
        assert_eq!(info, Err(InfoError::Bencode(bencode::parse(b"d9:file treedei9e").unwrap_err())));
        let info = parse("d9:file treede6:lengthi3e12:meta versioni2e4:name1:x12:piece lengthi16384e").unwrap();
        assert_eq!((info.geometry.size(), info.parts.len()), (3, 1));
        let v2 = Info::parse(b"d9:file treede12:meta versioni2e4:name1:x12:piece lengthi16384ee");
        assert_eq!(v2, Err(InfoError::OnlyV2));
    }

    #[test]
    fn a_dictionary_that_does_not_hold_together_is_refused() {
        for (start, error) in [
            ("d6:lengthi3e12:piece lengthi2e", InfoError::Key("name")),
            ("d6:lengthi3e4:name1:x", InfoError::Key("piece length")),
            ("d4:name1:x12:piece lengthi2e", InfoError::Key("length")),
            ("d6:lengthi-3e4:name1:x12:piece lengthi2e", InfoError::Key("length")),
            ("d6:lengthi0e4:name1:x12:piece lengthi2e", InfoError::Empty),
            ("d6:lengthi3e4:name2:..12:piece lengthi2e", InfoError::Name(NameError::Dots)),
            ("d6:lengthi3e4:name1:x12:piece lengthi2e", InfoError::Pieces { there: 20, parts: 2 }),
            ("d6:lengthi3e4:name1:x12:piece lengthi0e", InfoError::Geometry(GeometryError::PartSize(0))),
            ("d5:filesle4:name1:x12:piece lengthi2e", InfoError::FileCount),
            ("d5:filesld6:lengthi3e4:pathl2:..eee4:name1:x12:piece lengthi2e", InfoError::Name(NameError::Dots)),
            ("d5:filesld6:lengthi3e4:pathleee4:name1:x12:piece lengthi2e", InfoError::Name(NameError::Empty)),
        ] {
            assert_eq!(parse(start), Err(error), "{start}");
        }
        let file = |size: &str, path: &str| format!("d6:length{size}4:pathl{path}ee");
        let clash = [file("i1e", "1:a"), file("i1e", "1:a1:b")].concat();
        let clash = parse(&format!("d5:filesl{clash}e4:name1:x12:piece lengthi2e"));
        assert_eq!(clash, Err(InfoError::Clash("a/b".to_owned())));
        let huge = [file("i18446744073709551615e", "1:a"), file("i1e", "1:b")].concat();
        let huge = parse(&format!("d5:filesl{huge}e4:name1:x12:piece lengthi2e"));
        assert_eq!(huge, Err(InfoError::Key("files")));
    }

    #[test]
    fn padding_links_and_programs_of_other_clients_are_told_apart() {
        let file = |size: &str, attr: &str, path: &str| format!("d4:attr1:{attr}6:length{size}4:pathl{path}ee");
        let pad = file("i1e", "p", "4:.pad1:1");
        let link = "d4:attr1:l4:pathl1:le12:symlink pathl1:aee";
        let files = [&file("i1e", "x", "1:a"), &pad, &file("i1e", "h", "1:b"), &pad, &link.to_owned()]
            .map(String::as_str)
            .concat();
        let info = parse(&format!("d5:filesl{files}e4:name1:x12:piece lengthi4e")).unwrap();
        let told: Vec<_> = info.files.iter().map(|f| (f.size, f.executable, f.padding)).collect();
        let padding = (1, false, true);
        assert_eq!(told, [(1, true, false), padding, (1, false, false), padding, (0, false, true)]);
    }

    #[test]
    fn an_info_hash_is_written_in_hex() {
        let hash = InfoHash::of(b"");
        assert_eq!(hash.to_string(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("da39".parse::<InfoHash>().is_err());
    }
}
