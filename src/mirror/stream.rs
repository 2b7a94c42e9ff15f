//! The bytes of a composition, one after the other, from the files of a mirror.
//!
//! Bytes that follow each other in one file come in one answer, however many parts they are; padding is made here. What
//! came before the last call is not kept.

use std::{sync::Arc, time::Instant};

use hyper::body::Bytes;

use super::{
    Failure,
    address::Mirror,
    client::{Body, Client, SILENCE},
    layout::{Layout, Place, range},
    pace::Pace,
};

static ZEROES: [u8; 16 << 10] = [0; 16 << 10];

/// Reads a composition from one mirror.
pub struct Stream {
    mirror: Mirror,
    layout: Arc<Layout>,
    client: Client,
    /// The answer that is being read.
    open: Option<Open>,
    pace: Pace,
}

struct Open {
    body: Body,
    /// Bytes of the composition that are still to come in it.
    at: u64,
    end: u64,
    /// Came, and was not taken yet.
    rest: Bytes,
}

impl Stream {
    /// Nothing is asked for yet.
    pub fn new(mirror: Mirror, layout: Arc<Layout>, client: Client) -> Self {
        Self { mirror, layout, client, open: None, pace: Pace::default() }
    }

    /// Some bytes of the composition from `at` on, at least one and none from `end` on. What follows before `until` is
    /// likely to be wanted next, and asked for along with them. May be dropped and called again.
    ///
    /// # Errors
    /// They do not come from this mirror.
    pub async fn read(&mut self, at: u64, end: u64, until: u64) -> Result<Bytes, Failure> {
        let Some(place) = self.layout.place(at) else {
            return Err(Failure::Never("it was asked for more than there is".to_owned()));
        };
        let Place::File { number, at: in_file, size } = place else {
            let Place::Zeroes { left } = place else { unreachable!() };
            let len = left.min(end - at).min(ZEROES.len() as u64);
            return Ok(Bytes::from_static(&ZEROES[..len as usize]));
        };
        if !self.open.as_ref().is_some_and(|open| open.at == at && at < open.end) {
            self.open = None;
            let asked = range(in_file, size, until - at);
            let body = self.client.get(self.layout.url(&self.mirror, number)?, &asked, size).await?;
            self.open = Some(Open { at, end: at + body.len, body, rest: Bytes::new() });
        }
        let Some(open) = &mut self.open else { unreachable!("it was opened above") };
        if open.rest.is_empty() {
            let since = Instant::now();
            open.rest = open.body.next().await?;
            if !self.pace.came(open.rest.len(), since.elapsed()) {
                return Err(Failure::Later(format!("it sends hardly anything in {} s", SILENCE.as_secs())));
            }
        }
        let wanted = (open.end.min(end) - at).min(open.rest.len() as u64);
        open.at += wanted;
        Ok(open.rest.split_to(wanted as usize))
    }
}
