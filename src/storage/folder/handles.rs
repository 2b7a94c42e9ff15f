//! Files of a folder that are open: few at a time, whatever their number, those used last.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

/// Open at a time. Whoever holds one longer holds it beyond that.
const MOST: usize = 32;

/// The files used last, by their number; the last one last.
#[derive(Default)]
pub struct Handles(Mutex<Vec<(usize, Arc<File>)>>);

impl Handles {
    /// The open file of this number, if it is still open.
    pub fn get(&self, number: usize) -> Option<Arc<File>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().rposition(|(n, _)| *n == number)?;
        let found = open.remove(at);
        let file = found.1.clone();
        open.push(found);
        Some(file)
    }

    /// Keeps this one open, in place of the one that was not used for longest.
    pub fn keep(&self, number: usize, file: Arc<File>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(n, _)| *n != number);
        let oldest = (open.len() >= MOST).then(|| open.remove(0));
        open.push((number, file));
        drop(open);
        // Closing may take long on a network's file system: not while others wait.
        drop(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_used_last_stay_open() {
        let handles = Handles::default();
        for number in 0..MOST {
            handles.keep(number, Arc::new(tempfile::tempfile().unwrap()));
        }
        assert!(handles.get(0).is_some());
        handles.keep(MOST, Arc::new(tempfile::tempfile().unwrap()));
        assert!(handles.get(0).is_some() && handles.get(MOST).is_some());
        assert!(handles.get(1).is_none());
    }
}
