//! SHA-1: the only place that names the crate. Every other module speaks of [`Digest`] and [`Hasher`].

pub mod file;
pub mod holes;

use std::{fmt, str::FromStr};

/// How this processor computes a SHA-1: for the log, since without its own instructions everything is three to
/// five times slower, and many virtual machines hide them. The crate chooses at run time by the same features.
pub fn backend() -> &'static str {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1") {
        return "x86 SHA extensions";
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("sha2") {
        return "ARMv8 SHA extensions";
    }
    "software"
}

/// A SHA-1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    /// The SHA-1 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// The SHA-1 of so many zeros.
pub fn zeros(len: u64) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update_zeros(len);
    hasher.finish()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// A SHA-1 in the making.
#[derive(Clone, Default)]
pub struct Hasher(sha1::Sha1);

impl Hasher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        sha1::Digest::update(&mut self.0, bytes);
    }

    /// As many zeros, which nobody has to read.
    pub fn update_zeros(&mut self, len: u64) {
        const ZEROS: &[u8] = &[0; 64 << 10];
        let mut left = len;
        while left > 0 {
            let now = left.min(ZEROS.len() as u64) as usize;
            self.update(&ZEROS[..now]);
            left -= now as u64;
        }
    }

    pub fn finish(self) -> Digest {
        Digest(sha1::Digest::finalize(self.0).into())
    }
}
