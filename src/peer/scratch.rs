//! Bytes that came and were not understood yet.
//!
//! What it costs an attacker: it grows past [`USUAL`] only for a message that the decoder found to be of a legal length,
//! only as its bytes come, and shrinks again behind it.

/// Room for what comes between blocks, in bytes.
pub const USUAL: usize = 64 * 1024;

/// A buffer that is filled behind and emptied in front.
pub struct Scratch {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { bytes: vec![0; USUAL], from: 0, to: 0 }
    }
}

impl Scratch {
    /// What is there.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// So many bytes in front are done with.
    pub fn consume(&mut self, count: usize) {
        self.from += count;
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
            if self.bytes.len() > USUAL {
                self.bytes = vec![0; USUAL];
            }
        }
    }

    /// Where the next bytes go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.bytes.len() {
            self.bytes.resize(2 * self.bytes.len(), 0);
        }
        &mut self.bytes[self.to..]
    }

    /// So many bytes landed in the space.
    pub fn fill(&mut self, count: usize) {
        self.to += count;
    }
}
