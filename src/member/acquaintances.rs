//! Whom this member has reached, written down once a minute and at the end, for its next start.

use std::{net::SocketAddr, time::SystemTime};

use super::blocking;
use crate::{
    discovery::remembered::{Reached, Remembered},
    metainfo::InfoHash,
    time::Time,
};

/// How often it is written down, if there is somebody new.
const EVERY: Time = Time::from_secs(60);

pub struct Acquaintances {
    place: Option<Remembered>,
    swarm: InfoHash,
    /// How many there were when it was written down last, and when that is due again.
    written: usize,
    due: Time,
}

impl Acquaintances {
    pub fn of(swarm: InfoHash) -> Self {
        Self { place: Remembered::of_this_user(), swarm, written: 0, due: EVERY }
    }

    /// Those of earlier runs, the last reached first.
    pub async fn recall(&self) -> Vec<SocketAddr> {
        let Some(place) = self.place.clone() else { return Vec::new() };
        let swarm = self.swarm;
        let reached = blocking(move || place.of(swarm, SystemTime::now())).await;
        reached.into_iter().map(|(address, _)| address).collect()
    }

    /// To be called now and then: writes them down when it is time, on a thread of its own.
    pub fn tick(&mut self, reached: impl FnOnce() -> Vec<(SocketAddr, Time)>, now: Time) {
        if now < self.due {
            return;
        }
        self.due = now + EVERY;
        let reached = reached();
        if reached.len() != self.written {
            self.written = reached.len();
            tokio::task::spawn_blocking(self.note(reached, now));
        }
    }

    /// What writes these down. Two members that do so at the same time lose one of their notes, and no more.
    pub fn note(&self, reached: Vec<(SocketAddr, Time)>, now: Time) -> impl FnOnce() + Send + use<> {
        let (place, swarm, today) = (self.place.clone().filter(|_| !reached.is_empty()), self.swarm, SystemTime::now());
        move || {
            let Some(place) = place else { return };
            let when = |at| today.checked_sub(now.saturating_sub(at));
            let reached: Vec<Reached> = reached.into_iter().filter_map(|(a, at)| Some((a, when(at)?))).collect();
            if let Err(error) = place.add(swarm, &reached, today) {
                log::info!("whom we met is not remembered: {error}");
            }
        }
    }
}
