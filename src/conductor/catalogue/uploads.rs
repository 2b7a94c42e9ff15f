//! Bodies of requests that write to the catalogue, as they arrive.
//!
//! Faces the network. All bodies together take at most [`MAX_TOGETHER`] bytes of memory, and those of one source a
//! quarter of that, so that one that sends slowly holds up nobody else. A body that finds no room is refused, and its
//! sender asked to come again.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Body;
use hyper::body::Body as _;

use crate::conductor::allowance::one_customer;

/// Bytes of bodies that are held at the same time, at most.
const MAX_TOGETHER: usize = 64 << 20;
/// Those of one source, at most: two of the longest.
const MAX_OF_ONE: usize = MAX_TOGETHER / 4;

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("it is more than {0} bytes long")]
    TooLong(usize),
    #[error("too much is being sent here at the moment: try again")]
    NoRoom,
    #[error("it did not arrive: {0}")]
    Broken(axum::Error),
}

/// What is being received.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<Held>>);

/// Bytes that are held, of all sources and of each that has any.
#[derive(Debug, Default)]
struct Held {
    together: usize,
    of_each: HashMap<IpAddr, usize>,
}

/// A body; its room is free again when this is dropped.
#[derive(Debug)]
pub struct Upload {
    bytes: Vec<u8>,
    source: IpAddr,
    held: Uploads,
}

impl Uploads {
    /// Receives a body of at most so many bytes.
    ///
    /// # Errors
    /// It is longer, it breaks off, or there is no room for it now.
    pub async fn receive(&self, source: IpAddr, body: &mut Body, most: usize) -> Result<Upload, BodyError> {
        let source = one_customer(source.to_canonical());
        let mut upload = Upload { bytes: Vec::new(), source, held: self.clone() };
        let received = receive(body, most, |bytes| upload.extend(bytes)).await;
        if matches!(received, Err(BodyError::NoRoom)) {
            discard(body, most).await;
        }
        received.map(|()| upload)
    }

    fn take(&self, source: IpAddr, length: usize) -> Result<(), BodyError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = held.of_each.get(&source).copied().unwrap_or(0);
        if held.together + length > MAX_TOGETHER || of_source + length > MAX_OF_ONE {
            return Err(BodyError::NoRoom);
        }
        held.together += length;
        held.of_each.insert(source, of_source + length);
        Ok(())
    }

    fn give_back(&self, source: IpAddr, length: usize) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.together = held.together.saturating_sub(length);
        if let Some(of_source) = held.of_each.get_mut(&source) {
            *of_source = of_source.saturating_sub(length);
            if *of_source == 0 {
                held.of_each.remove(&source);
            }
        }
    }
}

impl Upload {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.held.take(self.source, bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.held.give_back(self.source, self.bytes.len());
    }
}

/// Receives a body and drops it: a connection that is closed while its body is under way may lose the answer.
pub async fn discard(body: &mut Body, most: usize) {
    // Whatever is wrong with it, its sender hears another answer.
    let _ = receive(body, most, |_| Ok(())).await;
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
        let (uploads, most) = (Uploads::default(), MAX_OF_ONE / 2);
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
        let state = uploads.0.lock().unwrap();
        assert!(state.together == 0 && state.of_each.is_empty());
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused_and_held_no_longer() {
        let uploads = Uploads::default();
        let received = uploads.receive([8, 8, 8, 8].into(), &mut Body::from("12345"), 4).await;
        assert!(matches!(received, Err(BodyError::TooLong(4))));
        assert_eq!(uploads.0.lock().unwrap().together, 0);
    }
}
