//! What a manifest is read from and written to.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

const ORIGINAL: &str = include_str!("../../tests/data/original-example.orch");

fn line_of(text: &str) -> usize {
    Manifest::parse(text.as_bytes()).unwrap_err().line
}

/// The original example with one line (counted from 1) replaced.
fn with_line(number: usize, text: &str) -> String {
    let mut lines: Vec<&str> = ORIGINAL.lines().collect();
    lines[number - 1] = text;
    lines.join("\n")
}

#[test]
fn a_manifest_of_the_original_system_is_kept_to_the_byte() {
    let manifest = Manifest::parse(ORIGINAL.as_bytes()).unwrap();
    assert_eq!(manifest.conductor.to_string(), "192.168.1.1:9999");
    assert_eq!(manifest.name.as_str(), "maxresdefault.jpg");
    assert_eq!(manifest.geometry, Geometry::new(142_044, 16_384).unwrap());
    let whole = "2953289a34e0cc2bf776decc3f8b86622d66b705";
    assert_eq!(manifest.whole, whole.parse().ok());
    assert_eq!(manifest.parts.len(), 9);
    assert_eq!(manifest.render(), ORIGINAL);
    assert!(!manifest.is_folder() && !manifest.is_closed());
}

#[test]
fn line_ends_of_editors_are_taken() {
    let manifest = Manifest::parse(ORIGINAL.as_bytes()).unwrap();
    let crlf = ORIGINAL.replace('\n', "\r\n");
    for text in [
        crlf.as_str(),
        &crlf[..crlf.len() - 2],
        ORIGINAL.trim_end(),
        &format!("{ORIGINAL}\n\r\n\n"),
        &format!("\u{feff}{ORIGINAL}"),
        &with_line(1, " 192.168.1.1\t"),
    ] {
        assert_eq!(Manifest::parse(text.as_bytes()).as_ref(), Ok(&manifest), "{text:?}");
    }
}

#[test]
fn optional_lines_are_kept_in_order() {
    let text = format!(
        "{ORIGINAL}unknown-key some  value \nconductor [::1]:7\ncomment a b\nmirror http://x/y\nconductor 0.0.0.0:0\n"
    );
    let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.render(), text);
    assert_eq!(manifest.comment(), Some("a b"));
    assert_eq!(manifest.mirrors().collect::<Vec<_>>(), ["http://x/y"]);
    let conductors: Vec<_> = manifest.conductors().map(|c| c.to_string()).collect();
    assert_eq!(conductors, ["192.168.1.1:9999", "[::1]:7"]);

    manifest.conductor = Endpoint::UNKNOWN;
    let other = Extra::new("conductor", "other").unwrap();
    manifest.replace(vec![other]).unwrap();
    let conductors: Vec<_> = manifest.conductors().map(|c| c.to_string()).collect();
    assert_eq!(conductors, ["other:9999"]);
    assert_eq!(manifest.extras().len(), 4);
}

#[test]
fn an_unknown_checksum_is_forty_zeros() {
    let text = with_line(3, &"0".repeat(40)) + "\n";
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.whole, None);
    assert_eq!(manifest.render(), text);
}

#[test]
fn an_empty_file_has_no_parts() {
    let text = "0.0.0.0:0\nempty\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\n";
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.conductors().count(), 0);
    assert_eq!(manifest.render(), text);
    let info = "d6:lengthi0e4:name5:empty12:piece lengthi16384e6:pieces0:e";
    assert_eq!(manifest.info_bytes(), info.as_bytes());
}

#[test]
fn an_error_names_its_line_and_what_was_expected() {
    for (number, text) in [
        (1, "http://192.168.1.1:9999"),
        (1, ""),
        (2, "../maxresdefault.jpg"),
        (2, "\u{1b}[2Jx"),
        (3, "2953289a34e0cc2bf776decc3f8b86622d66b70"),
        (4, "-1"),
        (4, "142045x"),
        (4, "18446744073709551616"),
        (5, "0"),
        (5, "134217729"),
        (6, "8"),
        (6, "10"),
        (7, "d53bff7979a4ac6f56da2f7085e6c2dff49656ebb"),
        (15, "d53bff7979a4ac6f56da2f7085e6c2dff49656eg"),
    ] {
        assert_eq!(line_of(&with_line(number, text)), number, "{text:?}");
    }
    let message = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().to_string();
    let found = "line 4: expected the size in bytes, found \"lots\"";
    assert_eq!(message(&with_line(4, "lots")), found);
    let cut = ORIGINAL.lines().take(9).collect::<Vec<_>>().join("\n");
    assert_eq!(
        message(&cut),
        "line 10: the manifest ends before the SHA-1 of a part, 40 hex digits: it was cut short, get it again"
    );
    assert_eq!(line_of(""), 1);
    assert_eq!(Manifest::parse(b"host\n\xff\xfe\n").unwrap_err().line, 2);
}

#[test]
fn sizes_that_no_composition_has_are_refused() {
    let max = "18446744073709551615";
    let digest = "0".repeat(40);
    for (size, part_size, parts, line) in [
        (max, "134217728", "137438953472", 5),
        (max, max, "1", 5),
        ("1048577", "1", "1048577", 5),
        ("1048576", "1", "1048576", 8),
        ("1", "1", max, 6),
    ] {
        let text = format!("host\nname\n{digest}\n{size}\n{part_size}\n{parts}\n{digest}\n");
        assert_eq!(line_of(&text), line, "{size} {part_size} {parts}");
    }
}

#[test]
fn what_follows_the_parts_is_checked() {
    for extra in [
        "d53bff7979a4ac6f56da2f7085e6c2dff49656eb",
        "Kéy value",
        "key",
        "key ",
        " value",
        "key a\u{1b}[2J",
        "conductor http://x",
        "file 1",
        "file x a",
        "file 142044 a/../b",
        "\nkey value",
    ] {
        let error = Manifest::parse(format!("{ORIGINAL}{extra}\n").as_bytes()).unwrap_err();
        assert_eq!(error.line, 16, "{extra:?}: {error}");
    }
    let long = format!("{ORIGINAL}comment {}\n", "x".repeat(MAX_LINE));
    assert_eq!(line_of(&long), 16);
    let later = format!("{ORIGINAL}Of.a/LATER+version 1\n");
    assert_eq!(Manifest::parse(later.as_bytes()).unwrap().render(), later);
}

#[test]
fn the_files_of_a_folder_add_up_and_keep_apart() {
    let parse = |files: &str| Manifest::parse(format!("{ORIGINAL}{files}").as_bytes());
    let manifest = parse("file 142000 a/b\nexecutable c d\nfile 0 a-b\ncomment x\nfile 44 c d\n").unwrap();
    assert!(manifest.is_folder());
    assert_eq!(manifest.files().map(|file| file.executable).collect::<Vec<_>>(), [false, false, true]);
    assert!(parse("file 142044 a\nexecutable ../a\n").is_err());
    let files: Vec<_> = manifest.files().map(|f| (f.size, f.path.as_str().to_owned())).collect();
    assert_eq!(files[0], (142_000, "a/b".to_owned()));
    assert_eq!(files[2], (44, "c d".to_owned()));
    let info = "d5:filesld6:lengthi142000e4:pathl1:a1:beed6:lengthi0e4:pathl3:a-beed6:lengthi44e4:pathl3:c deee4:name";
    assert!(manifest.info_bytes().starts_with(info.as_bytes()));

    assert_eq!(parse("file 142043 a\n").unwrap_err().fault, Fault::FilesSize { sum: 142_043, size: 142_044 });
    let max = u64::MAX;
    assert!(parse(&format!("file {max} a\nfile {max} b\nfile 142046 c\n")).is_err());
    for files in ["file 142044 a\nfile 0 a\n", "file 142044 a/b\nfile 0 a-b\nfile 0 a\n"] {
        assert!(matches!(parse(files).unwrap_err().fault, Fault::FilesClash(_)));
    }
}

#[test]
fn the_count_of_digests_is_the_count_of_parts() {
    let geometry = Geometry::new(3, 2).unwrap();
    let name = Name::new("x").unwrap();
    let fault = Manifest::new(Endpoint::UNKNOWN, name, None, geometry, [Digest([1; 20])], vec![]);
    assert_eq!(fault, Err(Fault::PartCount { said: 1, needed: 2 }));
}

#[test]
fn a_line_is_one_line() {
    assert!(Extra::new("comment", "a\nsecret b").is_err());
    assert!(Extra::new("comment x", "a").is_err());
    assert!(Extra::new("comment", "").is_err());
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let extras = vec(("[a-z][a-z0-9_-]{0,9}", "\\PC{1,20}"), 0..4);
    let host = "[a-z]{1,9}(:[1-9][0-9]{0,3})?";
    let digests = vec(any::<[u8; 20]>(), 0..20);
    let name = "\\PC{1,40}".prop_filter_map("unsafe", |n| Name::new(&n).ok());
    (host, name, any::<Option<[u8; 20]>>(), digests, 1u64..100_000, any::<Index>(), extras).prop_map(
        |(host, name, whole, digests, part_size, short, extras)| {
            let full = digests.len() as u64 * part_size;
            let size = full - (short.index(part_size as usize) as u64).min(full);
            Manifest::new(
                host.parse().unwrap(),
                name,
                whole.map(Digest),
                Geometry::new(size, part_size).unwrap(),
                digests.into_iter().map(Digest).collect::<Vec<_>>(),
                extras.iter().filter_map(|(k, v)| Extra::new(k, v).ok()).collect(),
            )
            .unwrap()
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(manifest in manifests()) {
        let text = manifest.render();
        let read = Manifest::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(read.render(), text);
        prop_assert_eq!(read, manifest);
    }

    #[test]
    fn broken_bytes_never_panic(manifest in manifests(), at in any::<Index>(), byte: u8) {
        let mut bytes = manifest.render().into_bytes();
        let at = at.index(bytes.len());
        let _ = Manifest::parse(&bytes[..at]);
        bytes[at] = byte;
        if let Ok(read) = Manifest::parse(&bytes) {
            let again = Manifest::parse(read.render().as_bytes());
            prop_assert_eq!(again, Ok(read));
        }
    }
}
