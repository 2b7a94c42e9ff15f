//! From a manifest to its text.

use std::fmt::{self, Write};

use super::Manifest;
use crate::hashing::Digest;

/// Forty zeros: the checksum of the whole is not known.
pub(crate) const NOT_KNOWN: Digest = Digest([0; 20]);

/// The lines in their fixed order, each ended by `\n`.
pub(super) fn render(manifest: &Manifest) -> String {
    let mut text = String::with_capacity(256 + 41 * manifest.parts.len());
    // Writing to a String cannot fail.
    let _ = write(manifest, &mut text);
    text
}

fn write(manifest: &Manifest, out: &mut String) -> fmt::Result {
    let geometry = &manifest.geometry;
    writeln!(out, "{}", manifest.conductor)?;
    writeln!(out, "{}", manifest.name.as_str())?;
    writeln!(out, "{}", manifest.whole.unwrap_or(NOT_KNOWN))?;
    writeln!(out, "{}", geometry.size())?;
    writeln!(out, "{}", geometry.part_size())?;
    writeln!(out, "{}", geometry.parts())?;
    for part in manifest.parts.iter() {
        writeln!(out, "{part}")?;
    }
    for extra in &manifest.extras {
        writeln!(out, "{} {}", extra.key(), extra.value())?;
    }
    Ok(())
}
