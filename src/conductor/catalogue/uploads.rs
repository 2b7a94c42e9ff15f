//! Bodies of requests that write to the catalogue, as they arrive, and manifests on their way to those who asked.
//!
//! Faces the network. All bodies of one direction take at most so many bytes of memory together ([`MAX_RECEIVED`],
//! [`MAX_SENT`]), and those of one source a part of that, so that one that sends or reads slowly holds up nobody else. A
//! body that finds no room is refused, and its sender asked to come again.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body;
use hyper::body::Body as _;

use crate::conductor::allowance::one_customer;

/// Bytes of bodies that are received at the same time, at most; of one source a quarter: two of the longest.
const MAX_RECEIVED: usize = 64 << 20;
/// Bytes of manifests that are sent at the same time, at most; to one source a half: a class room may be behind it.
const MAX_SENT: usize = 256 << 20;
/// How long a body is received that nobody wants.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("it is more than {0} bytes long")]
    TooLong(usize),
    #[error("too much is being sent at the moment: try again")]
    NoRoom,
    #[error("it did not arrive: {0}")]
    Broken(axum::Error),
}

/// Room for bodies of one direction.
#[derive(Clone, Debug)]
pub struct Bodies {
    held: Arc<Mutex<Held>>,
    most: usize,
    most_of_one: usize,
}

/// Bytes that are held, of all sources and of each that has any.
#[derive(Debug, Default)]
struct Held {
    together: usize,
    of_each: HashMap<IpAddr, usize>,
}

/// A body; its room is free again when this is dropped.
#[derive(Debug)]
pub struct HeldBody {
    bytes: Vec<u8>,
    source: IpAddr,
    held: Bodies,
}

impl Bodies {
    /// Room for what is received.
    pub fn received() -> Self {
        Self { held: Arc::default(), most: MAX_RECEIVED, most_of_one: MAX_RECEIVED / 4 }
    }

    /// Room for what is sent.
    pub fn sent() -> Self {
        Self { held: Arc::default(), most: MAX_SENT, most_of_one: MAX_SENT / 2 }
    }

    /// Holds a body that is sent there.
    ///
    /// # Errors
    /// There is no room for it now.
    pub fn hold(&self, to: IpAddr, bytes: Vec<u8>) -> Result<HeldBody, BodyError> {
        let source = one_customer(to.to_canonical());
        self.take(source, bytes.len())?;
        Ok(HeldBody { bytes, source, held: self.clone() })
    }

    /// Receives a body of at most so many bytes.
    ///
    /// # Errors
    /// It is longer, it breaks off, or there is no room for it now.
    pub async fn receive(&self, source: IpAddr, body: &mut Body, most: usize) -> Result<HeldBody, BodyError> {
        let source = one_customer(source.to_canonical());
        let mut upload = HeldBody { bytes: Vec::new(), source, held: self.clone() };
        let received = receive(body, most, |bytes| upload.extend(bytes)).await;
        if matches!(received, Err(BodyError::NoRoom)) {
            discard(body, most).await;
        }
        received.map(|()| upload)
    }

    fn take(&self, source: IpAddr, length: usize) -> Result<(), BodyError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = held.of_each.get(&source).copied().unwrap_or(0);
        if held.together + length > self.most || of_source + length > self.most_of_one {
            return Err(BodyError::NoRoom);
        }
        held.together += length;
        held.of_each.insert(source, of_source + length);
        Ok(())
    }

    fn give_back(&self, source: IpAddr, length: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.together = held.together.saturating_sub(length);
        if let Some(of_source) = held.of_each.get_mut(&source) {
            *of_source = of_source.saturating_sub(length);
            if *of_source == 0 {
                held.of_each.remove(&source);
            }
        }
    }
}

impl HeldBody {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.held.take(self.source, bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.held.give_back(self.source, self.bytes.len());
    }
}

/// What is sent: its room is free once all of it was written.
impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Receives a body and drops it: a connection that is closed while its body is under way may lose the answer.
pub async fn discard(body: &mut Body, most: usize) {
    // Whatever is wrong with it, its sender hears another answer.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, receive(body, most, |_| Ok(()))).await;
}

async fn receive(
    body: &mut Body,
    most: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), BodyError>,
) -> Result<(), BodyError> {
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame.map_err(BodyError::Broken)?;
        let Some(bytes) = frame.data_ref() else { continue };
        length += bytes.len();
        if length > most {
            return Err(BodyError::TooLong(most));
        }
        take(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_source_leaves_room_to_others() {
        let (uploads, most) = (Bodies::received(), MAX_RECEIVED / 8);
        let receive =
            async |source: [u8; 4]| uploads.receive(source.into(), &mut Body::from(vec![7; most]), most).await;
        let mut held = vec![receive([8, 8, 8, 8]).await.unwrap(), receive([8, 8, 8, 8]).await.unwrap()];
        assert!(matches!(receive([8, 8, 8, 8]).await, Err(BodyError::NoRoom)));
        for n in 0..6 {
            held.push(receive([9, 9, 9, n]).await.unwrap());
        }
        assert!(matches!(receive([7, 7, 7, 7]).await, Err(BodyError::NoRoom)), "all together hold all");
        assert_eq!(held[0].bytes(), vec![7; most]);
        drop(held);
        let state = uploads.held.lock().unwrap();
        assert!(state.together == 0 && state.of_each.is_empty());
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused_and_held_no_longer() {
        let uploads = Bodies::received();
        let received = uploads.receive([8, 8, 8, 8].into(), &mut Body::from("12345"), 4).await;
        assert!(matches!(received, Err(BodyError::TooLong(4))));
        assert_eq!(uploads.held.lock().unwrap().together, 0);
    }

    #[test]
    fn what_is_sent_is_held_until_it_is_dropped() {
        let sent = Bodies::sent();
        let hold = |to: [u8; 4]| sent.hold(to.into(), vec![0; MAX_SENT / 4]);
        let held = [hold([8, 8, 8, 8]), hold([8, 8, 8, 8])];
        assert!(held.iter().all(Result::is_ok) && hold([8, 8, 8, 8]).is_err() && hold([8, 8, 4, 4]).is_ok());
        drop(held);
        assert!(hold([8, 8, 8, 8]).is_ok());
    }
}
