//! From text to a manifest. Nothing is believed before it is checked, and nothing is allocated before it is believed.

use super::{
    Endpoint, Extra, Fault, MAX_BYTES, MAX_EXTRAS, MAX_LINE, Manifest, ManifestError, Name, render::NOT_KNOWN,
};
use crate::{geometry::Geometry, hashing::Digest};

/// Length of a part line without its line break.
const HEX: usize = 40;

pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let mut lines = Lines::new(bytes)?;
    let head = head(&mut lines).map_err(|fault| lines.error(fault))?;
    let parts = parts(&mut lines, &head.geometry).map_err(|fault| lines.error(fault))?;
    let extras = extras(&mut lines).map_err(|fault| lines.error(fault))?;
    let manifest = Manifest {
        conductor: head.conductor,
        name: head.name,
        whole: head.whole,
        geometry: head.geometry,
        parts: parts.into(),
        extras,
    };
    // What is wrong among the files shows at the last line.
    manifest.check_files().map_err(|fault| lines.error(fault))?;
    Ok(manifest)
}

/// A number in digits only.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

struct Head {
    conductor: Endpoint,
    name: Name,
    whole: Option<Digest>,
    geometry: Geometry,
}

/// The six fixed lines.
fn head(lines: &mut Lines<'_>) -> Result<Head, Fault> {
    let conductor = lines.expect("the conductor, HOST:PORT")?.trim().parse()?;
    let name = lines.expect("the name of the file")?.parse()?;
    let whole = digest(lines, "the SHA-1 of the whole file, 40 hex digits")?;
    let size = count(lines, "the size in bytes")?;
    let part_size = count(lines, "the part size in bytes")?;
    let geometry = Geometry::new(size, part_size)?;
    let said = count(lines, "the number of parts")?;
    let needed = geometry.parts();
    if said != u64::from(needed) {
        return Err(Fault::PartCount { said, needed });
    }
    Ok(Head { conductor, name, whole: Some(whole).filter(|&digest| digest != NOT_KNOWN), geometry })
}

fn parts(lines: &mut Lines<'_>, geometry: &Geometry) -> Result<Vec<Digest>, Fault> {
    let expected = "the SHA-1 of a part, 40 hex digits";
    let parts = geometry.parts() as usize;
    // No more than the lines that are really there can fill.
    let there = lines.rest.map_or(0, str::len) / HEX;
    let mut digests = Vec::with_capacity(parts.min(there));
    for _ in 0..parts {
        digests.push(digest(lines, expected)?);
    }
    Ok(digests)
}

/// The optional lines. Editors like to leave blank ones at the end.
fn extras(lines: &mut Lines<'_>) -> Result<Vec<Extra>, Fault> {
    let mut extras = Vec::new();
    while let Some(line) = lines.next()? {
        if line.is_empty() && lines.rest.is_none_or(|r| r.trim().is_empty()) {
            break;
        }
        if extras.len() == MAX_EXTRAS {
            return Err(Fault::TooManyExtras);
        }
        extras.push(line.parse()?);
    }
    Ok(extras)
}

fn digest(lines: &mut Lines<'_>, expected: &'static str) -> Result<Digest, Fault> {
    let line = lines.expect(expected)?;
    line.parse().map_err(|_| unexpected(expected, line))
}

fn count(lines: &mut Lines<'_>, expected: &'static str) -> Result<u64, Fault> {
    let line = lines.expect(expected)?;
    number(line).ok_or_else(|| unexpected(expected, line))
}

fn unexpected(expected: &'static str, line: &str) -> Fault {
    Fault::Unexpected { expected, found: line.chars().take(60).collect() }
}

/// The lines of a text, counted.
struct Lines<'a> {
    /// None behind the last line.
    rest: Option<&'a str>,
    /// The line that was given last, counted from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, ManifestError> {
        let error = |line, fault| ManifestError { line, fault };
        if bytes.len() > MAX_BYTES {
            return Err(error(1, Fault::TooLong));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let good = &bytes[..e.valid_up_to()];
            error(1 + good.iter().filter(|&&b| b == b'\n').count(), Fault::NotText)
        })?;
        // Some editors put a byte order mark before line 1.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ok(Self { rest: Some(text).filter(|t| !t.is_empty()), number: 0 })
    }

    fn next(&mut self) -> Result<Option<&'a str>, Fault> {
        let Some(rest) = self.rest else {
            return Ok(None);
        };
        let (line, rest) = match rest.split_once('\n') {
            Some((line, rest)) => (line, Some(rest).filter(|r| !r.is_empty())),
            None => (rest, None),
        };
        self.rest = rest;
        self.number += 1;
        if line.len() > MAX_LINE {
            return Err(Fault::LongLine);
        }
        Ok(Some(line.strip_suffix('\r').unwrap_or(line)))
    }

    fn expect(&mut self, expected: &'static str) -> Result<&'a str, Fault> {
        match self.next()? {
            Some(line) => Ok(line),
            None => {
                self.number += 1;
                Err(Fault::Missing { expected })
            }
        }
    }

    fn error(&self, fault: Fault) -> ManifestError {
        ManifestError { line: self.number.max(1), fault }
    }
}
