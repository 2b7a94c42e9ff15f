//! The connection to Redis: what this conductor heard goes out, what the others heard comes in.
//!
//! A batch of sightings is published on one channel, at most [`PAUSE`] after they were noted, and kept in a hash of the
//! quarter of an hour's current [`WINDOW`], one field a member. A conductor that starts, or comes back, reads the last
//! windows; each ends by itself, so that nothing is left of conductors that died. A window takes [`MOST_IN_WINDOW`]
//! members; of who comes beyond only the conductors hear that are there.
//!
//! When Redis goes away that is said once, and once more when it is back; meanwhile all notes wait.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use redis::{AsyncConnectionConfig, Msg, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Desk, catalogue::redis::CHANGES, report::Happening},
    Outbox, glimpse, outside,
    place::{PATIENCE, RedisPlace},
    sighting::{self, Sender, Sighting},
    since_1970,
};
use crate::net::own_address::{likeliest_address, own_address_towards};

/// The channel on which sightings are published. The number is that of their form.
const SIGHTINGS: &str = "orchestra:1:sightings";
/// The channel on which glimpses are published.
const GLIMPSES: &str = "orchestra:1:glimpses";
/// How often what is new of the members with a live link is told, and how often all of it.
const TELL: Duration = Duration::from_secs(1);
const TELLS_TO_ALL: u32 = 15;
/// Glimpses in one batch, at most: 100 KiB.
const GLIMPSES_AT_ONCE: usize = 200;
/// What the keys of the windows start with.
const WINDOWS: &str = "orchestra:1:window:";
/// Seconds of a window: together with the ones before, longer than any member lives without a word.
const WINDOW: u64 = 240;
const WINDOWS_READ: u64 = 4;
/// Members that a window takes, at most: 600 MiB in Redis, for each of the windows that it keeps.
const MOST_IN_WINDOW: u64 = 2_000_000;
/// How long a sighting waits for others, at most.
const PAUSE: Duration = Duration::from_millis(50);
/// Sightings in one batch, at most: 100 KiB.
const BATCH: usize = 1000;
/// How often it is looked whether Redis is still there, and what time it is.
const CHECK: Duration = Duration::from_secs(1);
/// The pause before Redis is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What one conductor needs to share its table.
pub struct Link {
    pub desk: Arc<Desk>,
    pub outbox: Arc<Outbox>,
    pub place: RedisPlace,
    pub sender: Sender,
    /// Where this conductor listens.
    pub listening: Vec<std::net::SocketAddr>,
}

impl Link {
    /// Shares until it is told to stop, however often Redis goes away. What was noted last is sent before the end.
    pub async fn keep(self, stop: CancellationToken) {
        let changed = Arc::new(Notify::new());
        tokio::spawn(follow_catalogue(self.desk.clone(), changed.clone(), stop.clone()));
        let mut said = false;
        while !stop.is_cancelled() {
            let error = match self.share(&mut said, &changed, &stop).await {
                Ok(()) => return,
                Err(error) => error,
            };
            log::debug!("{}: {error}", self.place);
            self.desk.counted().redis(false);
            if !said {
                self.say(format!(
                    "{} is gone ({error}): this conductor goes on with the members it knows, and shares them again once \
                     it is back",
                    self.place
                ));
                said = true;
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
        }
    }

    fn say(&self, text: String) {
        self.desk.reporter().tell(Happening::Warning(text));
    }

    /// Shares until Redis goes away, or until it is told to stop.
    async fn share(&self, said: &mut bool, changed: &Notify, stop: &CancellationToken) -> Result<(), RedisError> {
        let (mut session, mut messages) = Session::open(self).await?;
        session.send().await?;
        session.read_windows().await?;
        session.tell(true).await?;
        changed.notify_one();
        self.desk.counted().redis(true);
        if std::mem::take(said) {
            self.say(format!("{} is back: members and catalogue are shared again", self.place));
        }
        let over = session.exchange(&mut messages, changed);
        match stop.run_until_cancelled(over).await {
            Some(Err(error)) => Err(error),
            Some(Ok(never)) => match never {},
            None => session.send().await,
        }
    }
}

/// Reads the catalogue again when another conductor changed it, and from time to time in case nobody said so.
async fn follow_catalogue(desk: Arc<Desk>, changed: Arc<Notify>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let _ = timeout(CHECK, changed.notified()).await;
        let catalogue = desk.catalogue().clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || catalogue.refresh()).await {
            log::debug!("the catalogue is not read again: {error}");
        }
    }
}

/// One time with Redis.
struct Session<'a> {
    link: &'a Link,
    connection: MultiplexedConnection,
    /// The channel that tells of changes of the catalogue.
    changes: String,
    /// The one that tells what members say.
    glimpses: String,
    /// By how many seconds the clock of Redis, which all conductors go by, is ahead of ours.
    ahead: i64,
    outside: Option<IpAddr>,
    /// Whether the current window takes more members.
    has_room: bool,
}

impl<'a> Session<'a> {
    /// Hears messages from here on.
    async fn open(link: &'a Link) -> Result<(Self, impl Stream<Item = Msg> + Unpin + use<>), RedisError> {
        let client = link.place.client();
        let [changes, glimpses, sightings] = [CHANGES, GLIMPSES, SIGHTINGS].map(|name| link.place.channel(name));
        let mut messages = timeout(PATIENCE, client.get_async_pubsub()).await.map_err(late)??;
        timeout(PATIENCE, messages.subscribe(&[sightings, changes.clone(), glimpses.clone()]))
            .await
            .map_err(late)??;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let ahead = ahead(&mut connection).await?;
        let outside = outside(&link.listening, own_address_to(&link.place).await);
        Ok((Self { link, connection, changes, glimpses, ahead, outside, has_room: true }, messages.into_on_message()))
    }

    /// Sends and hears until that fails.
    async fn exchange(
        &mut self,
        messages: &mut (impl Stream<Item = Msg> + Unpin),
        changed: &Notify,
    ) -> Result<Infallible, RedisError> {
        let mut pause = interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tell = interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = 0u32;
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) if message.get_channel_name() == self.changes => changed.notify_one(),
                    Some(message) if message.get_channel_name() == self.glimpses => self.see(message.get_payload_bytes()),
                    Some(message) => self.hear(message.get_payload_bytes()),
                    None => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                },
                _ = pause.tick() => self.send().await?,
                _ = tell.tick() => {
                    told = told.wrapping_add(1);
                    self.tell(told.is_multiple_of(TELLS_TO_ALL)).await?;
                }
                _ = check.tick() => self.ahead = ahead(&mut self.connection).await?,
            }
        }
    }

    /// Tells what members say over their live links, if it is new or `all` is told; and whose ended.
    async fn tell(&mut self, all: bool) -> Result<(), RedisError> {
        let parted = std::mem::take(&mut *self.link.outbox.parted());
        let glimpses = self.link.desk.hub().glimpses(all).into_iter().chain(parted);
        let whole = |glimpse| self.link.desk.with_history_of(glimpse).seen_from_outside(self.outside);
        let glimpses: Vec<_> = glimpses.map(whole).collect();
        for batch in glimpses.chunks(GLIMPSES_AT_ONCE) {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&self.glimpses).arg(glimpse::write(self.link.sender, batch));
            let _heard: u64 = publish.query_async(&mut self.connection).await?;
        }
        Ok(())
    }

    fn see(&self, batch: &[u8]) {
        match glimpse::read(batch) {
            Some((sender, glimpses)) if sender != self.link.sender => {
                glimpses.into_iter().for_each(|glimpse| self.link.desk.see(glimpse));
            }
            Some(_) => {}
            None => log::warn!("{}: another program or version speaks on {GLIMPSES}", self.link.place),
        }
    }

    /// Sends all that waits; what cannot be sent waits on.
    async fn send(&mut self) -> Result<(), RedisError> {
        let waiting = self.link.outbox.unsent().take();
        for (nth, batch) in waiting.chunks(BATCH).enumerate() {
            if let Err(error) = self.send_batch(batch).await {
                self.link.outbox.unsent().put_back(&waiting[nth * BATCH..]);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn send_batch(&mut self, batch: &[Sighting]) -> Result<(), RedisError> {
        let sender = self.link.sender;
        let batch: Vec<Sighting> = batch.iter().map(|sighting| self.for_others(sighting.clone())).collect();
        let window = format!("{WINDOWS}{}", self.now() / WINDOW);
        let mut pipe = redis::pipe();
        pipe.cmd("PUBLISH").arg(self.link.place.channel(SIGHTINGS)).arg(sighting::write(sender, &batch)).ignore();
        if self.has_room {
            let kept = pipe.cmd("HSET").arg(&window);
            for sighting in &batch {
                kept.arg(sighting.identity().name()).arg(sighting::write(sender, std::slice::from_ref(sighting)));
            }
            kept.ignore();
            pipe.cmd("EXPIRE").arg(&window).arg(WINDOW * WINDOWS_READ).ignore();
        }
        let (members,): (u64,) = pipe.cmd("HLEN").arg(&window).query_async(&mut self.connection).await?;
        self.has_room = members < MOST_IN_WINDOW;
        Ok(())
    }

    /// As other conductors, by the clock of Redis, should take it.
    fn for_others(&self, sighting: Sighting) -> Sighting {
        let at = sighting.at.saturating_add_signed(self.ahead);
        Sighting { at, ..sighting }.seen_from_outside(self.outside)
    }

    /// Takes in who was heard lately, the oldest word first.
    async fn read_windows(&mut self) -> Result<(), RedisError> {
        let last = self.now() / WINDOW;
        for window in last.saturating_sub(WINDOWS_READ - 1)..=last {
            let mut cursor = 0u64;
            loop {
                let mut scan = redis::cmd("HSCAN");
                scan.arg(format!("{WINDOWS}{window}")).arg(cursor).arg("COUNT").arg(BATCH);
                let (next, fields): (u64, Vec<Vec<u8>>) = scan.query_async(&mut self.connection).await?;
                fields.chunks(2).filter_map(|pair| pair.get(1)).for_each(|batch| self.hear(batch));
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// Puts what another conductor heard into our table.
    fn hear(&self, batch: &[u8]) {
        let Some((sender, sightings)) = sighting::read(batch) else {
            return log::warn!("{}: another program or version speaks on {SIGHTINGS}", self.link.place);
        };
        if sender != self.link.sender {
            let now = self.now();
            for sighting in sightings {
                self.link.desk.hear_of(&sighting, Duration::from_secs(now.saturating_sub(sighting.at)));
            }
        }
    }

    fn now(&self) -> u64 {
        since_1970().saturating_add_signed(self.ahead)
    }
}

/// By how many seconds the clock of Redis is ahead of ours. Clocks are put right at times: it is to be asked again.
async fn ahead(connection: &mut MultiplexedConnection) -> Result<i64, RedisError> {
    let (seconds, _micros): (i64, i64) = redis::cmd("TIME").query_async(connection).await?;
    Ok(seconds.saturating_sub(since_1970().cast_signed()))
}

fn late(_: tokio::time::error::Elapsed) -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// This machine's address towards Redis, where the other conductors are too, or towards the world where Redis is here.
async fn own_address_to(place: &RedisPlace) -> Option<IpAddr> {
    let redis = tokio::net::lookup_host(place.host()).await.ok().and_then(|mut found| found.next());
    redis.and_then(own_address_towards).or_else(likeliest_address)
}
