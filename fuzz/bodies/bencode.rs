//! Bencode: what was read is written back to the byte, since each value has one right form.

use orchestra::metainfo::bencode::{MAX_DEPTH, Value, parse, parse_prefix, write_bytes, write_int};

pub fn run(data: &[u8]) {
    let Ok((value, rest)) = parse_prefix(data) else {
        assert!(parse(data).is_err());
        return;
    };
    assert_eq!([value.raw(), rest].concat(), data);
    assert_eq!(parse(data).is_ok(), rest.is_empty());
    let mut written = Vec::new();
    write(value, MAX_DEPTH, &mut written);
    assert_eq!(written, value.raw());
    if let Some(dict) = value.as_dict() {
        for (key, found) in dict.entries() {
            let first = std::str::from_utf8(key).ok().and_then(|key| dict.get(key));
            assert!(std::str::from_utf8(key).is_err() || first.is_some(), "a key without a value: {found:?}");
        }
    }
}

/// Appends a value that is nested no more than `depth` deep.
fn write(value: Value<'_>, depth: usize, out: &mut Vec<u8>) {
    let inside = || depth.checked_sub(1).expect("nested deeper than is read");
    if let Some(bytes) = value.as_bytes() {
        assert_eq!(value.as_str(), std::str::from_utf8(bytes).ok());
        write_bytes(out, bytes);
    } else if let Some(list) = value.as_list() {
        out.push(b'l');
        list.for_each(|value| write(value, inside(), out));
        out.push(b'e');
    } else if let Some(dict) = value.as_dict() {
        out.push(b'd');
        for (key, value) in dict.entries() {
            write_bytes(out, key);
            write(value, inside(), out);
        }
        out.push(b'e');
    } else {
        match (value.as_u64(), value.as_i64()) {
            (Some(number), _) => write_int(out, number),
            (None, Some(number)) => write_int(out, number),
            // Below -2^63: sound, and of no use to anybody.
            (None, None) => out.extend_from_slice(value.raw()),
        }
    }
}
