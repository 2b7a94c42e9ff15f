//! The files of a folder that are wanted, where not all are.
//!
//! A part at the border of a wanted file holds bytes of its neighbours too: it is wanted as a whole.

use std::ops::Range;

use crate::{
    geometry::Geometry,
    manifest::{FileEntry, FilePath},
    wire::bitfield::Bitfield,
};

/// Some files of a folder, and the parts that they are in.
#[derive(Clone, Debug)]
pub struct Selection {
    files: Vec<bool>,
    parts: Bitfield,
    /// The bytes of these files.
    size: u64,
}

impl Selection {
    /// Those of these files whose path is wanted. The sizes of all files add up to the geometry's.
    pub fn new(files: &[FileEntry], geometry: &Geometry, wanted: impl Fn(&FilePath) -> bool) -> Self {
        let mut selection = Self { files: Vec::with_capacity(files.len()), parts: Bitfield::none(geometry), size: 0 };
        let mut start = 0;
        for file in files {
            let end = start + file.size;
            let wanted = !file.padding && wanted(&file.path);
            selection.files.push(wanted);
            if wanted && file.size > 0 {
                let part_size = u64::from(geometry.part_size());
                let touched = start / part_size..=(end - 1) / part_size;
                let parts = touched.filter_map(|number| geometry.part(u32::try_from(number).ok()?));
                for part in parts {
                    selection.parts.insert(part);
                }
                selection.size += file.size;
            }
            start = end;
        }
        selection
    }

    /// Whether the file of this number is wanted.
    pub fn has(&self, number: usize) -> bool {
        self.files[number]
    }

    /// Whether a file of these bytes of the composition is wanted, or has bytes in a part that is.
    pub fn touches(&self, geometry: &Geometry, bytes: &Range<u64>) -> bool {
        let part_size = u64::from(geometry.part_size());
        let parts = bytes.start / part_size..=bytes.end.saturating_sub(1).max(bytes.start) / part_size;
        let mut parts = parts.filter_map(|number| geometry.part(u32::try_from(number).ok()?));
        parts.any(|part| self.parts.has(part))
    }

    /// How many files are wanted.
    pub fn count(&self) -> usize {
        self.files.iter().filter(|wanted| **wanted).count()
    }

    /// The bytes of the wanted files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The parts that hold bytes of the wanted files.
    pub fn parts(&self) -> &Bitfield {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_is_wanted_if_a_byte_of_it_is(
            files in prop::collection::vec((0u64..50, any::<bool>()), 1..20), part_size in 1u64..40,
        ) {
            let entry = |(n, (size, _)): (usize, &(u64, bool))| FileEntry::new(*size, n.to_string().parse().unwrap());
            let entries: Vec<_> = files.iter().enumerate().map(entry).collect();
            let geometry = Geometry::new(files.iter().map(|f| f.0).sum(), part_size).unwrap();
            let wanted = |path: &FilePath| files[path.as_str().parse::<usize>().unwrap()].1;
            let selection = Selection::new(&entries, &geometry, wanted);
            let bytes: Vec<bool> = files.iter().flat_map(|(size, wanted)| vec![*wanted; *size as usize]).collect();
            for part in geometry.all_parts() {
                let range = geometry.part_range(part);
                let touched = bytes[range.start as usize..range.end as usize].contains(&true);
                prop_assert_eq!(selection.parts().has(part), touched);
            }
            prop_assert_eq!(selection.size(), bytes.iter().filter(|wanted| **wanted).count() as u64);
        }
    }
}
