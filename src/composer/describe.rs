//! What a file is, as a manifest, without writing one: for a member that shares it.

use std::{io, ops::ControlFlow, path::Path};

use super::{ComposeError, plan, read::Reading};
use crate::{
    geometry::Geometry,
    manifest::{Endpoint, Manifest},
    storage::Stamp,
};

/// The manifest of this file, cut as `geometry` says or by default, with no conductor named; and the stamp of the file of
/// which it is true. Its data is on the disk by then, so that it may be remembered. Blocks.
///
/// `on_progress` is told the number of bytes after each part, and ends it by breaking off.
///
/// # Errors
/// It is no ordinary file, cannot be read, changed meanwhile, or has a name that no manifest can hold.
pub fn describe(
    path: &Path,
    geometry: Option<Geometry>,
    on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(Manifest, Stamp), ComposeError> {
    let reading = Reading::open(path)?;
    let stamp = *reading.stamp();
    let name = plan::name(path)?;
    let geometry = match geometry {
        Some(geometry) if geometry.size() == stamp.size => geometry,
        _ => plan::geometry(None, stamp.size)?,
    };
    let failed = |error| ComposeError::Read { path: path.to_owned(), error };
    let synced = reading.sync().map_err(failed)?;
    let digests = reading.hash(&geometry, on_progress)?;
    let panicked = |_| io::Error::other("a thread of this program panicked");
    synced.join().map_err(panicked).flatten().map_err(failed)?;
    let manifest = Manifest::new(Endpoint::UNKNOWN, name, Some(digests.whole), geometry, digests.parts, Vec::new())?;
    Ok((manifest, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_described_as_it_is_or_as_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let mut heard = 0;
        let (manifest, stamp) = describe(&path, None, &mut |bytes| {
            heard = bytes;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((manifest.geometry.parts(), stamp.size, heard), (7, 100_000, 100_000));
        let geometry = Geometry::new(100_000, 32 << 10).unwrap();
        let (other, _) = describe(&path, Some(geometry), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((other.geometry.parts(), other.whole), (4, manifest.whole));
        let stopped = describe(&path, None, &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(ComposeError::Interrupted)));
    }
}
