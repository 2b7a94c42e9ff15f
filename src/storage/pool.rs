//! Buffers for what is on its way from the network to the disk: bounded in bytes, and used again.
//!
//! Invariant: parts take at most [`PARTS_LIMIT`], and parts and chunks together [`LIMIT`]; beyond that a chunk is only
//! [`SMALL_CHUNK`] long (one connection holds one chunk, and few more wait for the writer). What was given back is kept
//! for the next, as far as the same limit allows.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All the memory for unverified and unwritten bytes, in bytes.
pub const LIMIT: usize = 48 << 20;
/// What whole parts may take of it; the rest is for chunks of larger parts.
pub const PARTS_LIMIT: usize = 40 << 20;
/// A chunk of a part that is too large for memory.
pub const CHUNK: usize = 256 << 10;
/// The same when memory is short.
pub const SMALL_CHUNK: usize = 16 << 10;

#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Bytes in buffers that somebody holds.
    lent: usize,
    /// Bytes in `free`.
    kept: usize,
    /// The last one given back is the first one lent again: its pages are in the cache.
    free: Vec<Box<[u8]>>,
}

impl Pool {
    /// Room for a whole part of this many bytes, if there is any.
    pub fn part(&self, len: usize) -> Option<Buffer> {
        self.lend(len, PARTS_LIMIT)
    }

    /// Room for a chunk: [`CHUNK`] bytes, or [`SMALL_CHUNK`] when memory is short.
    pub fn chunk(&self) -> Buffer {
        self.lend(CHUNK, LIMIT)
            .or_else(|| self.lend(SMALL_CHUNK, usize::MAX))
            .unwrap_or_else(|| unreachable!("no limit"))
    }

    /// Bytes lent and kept.
    pub fn held(&self) -> usize {
        let inner = self.lock();
        inner.lent + inner.kept
    }

    fn lend(&self, len: usize, limit: usize) -> Option<Buffer> {
        let mut inner = self.lock();
        if inner.lent + len > limit {
            return None;
        }
        let found = inner.free.iter().rposition(|b| b.len() == len);
        let bytes = match found {
            Some(at) => {
                inner.kept -= len;
                inner.free.swap_remove(at)
            }
            None => {
                while inner.lent + inner.kept + len > LIMIT && !inner.free.is_empty() {
                    inner.kept -= inner.free.swap_remove(0).len();
                }
                vec![0; len].into_boxed_slice()
            }
        };
        inner.lent += len;
        Some(Buffer { bytes, pool: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes lent by a [`Pool`]; what is in them at first is anything.
pub struct Buffer {
    bytes: Box<[u8]>,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut inner = self.pool.lock();
        inner.lent -= bytes.len();
        if inner.lent + inner.kept + bytes.len() <= LIMIT {
            inner.kept += bytes.len();
            inner.free.push(bytes);
        }
    }
}
