//! Whether a transfer moves: one that does may take its time, one that stands still is cut off.
//!
//! Bytes are counted where they are handed to the system, or taken from it. [`limit_buffer`] keeps what the system holds
//! back of a slow transfer so small that this says how far it is.

use std::{
    convert::Infallible,
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transfer of fewer bytes than this in the time that it is given stands still.
pub const MIN_PROGRESS: u64 = 16 << 10;
/// What the system holds of data to be sent, in bytes, about.
const SEND_BUFFER: usize = 128 << 10;
/// Bytes of a body that are handed on at once.
const CHUNK: usize = 16 << 10;

/// Counts the bytes of a transfer, in both directions.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until fewer than [`MIN_PROGRESS`] bytes moved for so long.
    pub async fn stands_still(&self, patience: Duration) {
        let mut before = self.bytes();
        loop {
            tokio::time::sleep(patience).await;
            if !self.moved_since(&mut before) {
                return;
            }
        }
    }

    /// Whether enough bytes moved since there were so many; there are as many as now from then on.
    fn moved_since(&self, before: &mut u64) -> bool {
        let now = self.bytes();
        now.saturating_sub(std::mem::replace(before, now)) >= MIN_PROGRESS
    }
}

/// Sees to it that little of what is written waits in the system, so that a slow reader is seen to read.
pub fn limit_buffer(socket: &impl AsFd) {
    // Where it cannot be changed a slow transfer may be cut off.
    let _ = SockRef::from(socket).set_send_buffer_size(SEND_BUFFER);
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    progress: Progress,
}

impl<S> Counted<S> {
    pub fn new(stream: S, progress: Progress) -> Self {
        Self { stream, progress }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.progress.add(buffer.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.counted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.counted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Counted<S> {
    fn counted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.progress.add(*bytes);
        }
        written
    }
}

/// The body of a request, counted as it is taken.
#[derive(Debug)]
pub struct CountedBody {
    rest: Bytes,
    progress: Progress,
}

impl CountedBody {
    pub fn new(body: Vec<u8>, progress: Progress) -> Self {
        Self { rest: body.into(), progress }
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(CHUNK);
        self.progress.add(length);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn what_moves_may_take_its_time() {
        let (progress, mut before) = (Progress::default(), 0);
        for _ in 0..10 {
            progress.add(MIN_PROGRESS as usize);
            assert!(progress.moved_since(&mut before));
        }
        assert!(!progress.moved_since(&mut before));
        progress.add(MIN_PROGRESS as usize - 1);
        assert!(!progress.moved_since(&mut before), "too little counts for nothing");
    }

    #[tokio::test]
    async fn both_directions_count() {
        let (near, mut far) = tokio::io::duplex(64);
        let progress = Progress::default();
        let mut near = Counted::new(near, progress.clone());
        far.write_all(b"12345").await.unwrap();
        near.read_exact(&mut [0; 5]).await.unwrap();
        near.write_all(b"123").await.unwrap();
        assert_eq!(progress.bytes(), 8);
    }
}
