//! A catalogue in Redis, which several conductors share.
//!
//! Entries and manifests are two hashes by info-hash. A number counts the changes: each is one script, which Redis runs
//! as a whole, and which changes nothing unless the number is still the one at which this conductor last read the
//! entries. So two conductors never both give away one name. How much survives a crash is up to Redis (`appendonly yes`).
//!
//! Manifests are copied into memory as far as they fit, up to [`MAX_COPIED`], so that they are given out while Redis is
//! away. Where Redis comes back knowing fewer changes than a conductor does, it lost some, and is given the copies. An
//! entry that some other hand made unsound is left out.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{Connection, ConnectionLike, FromRedisValue, RedisError};
use serde::{Deserialize, Serialize};

use super::{Entry, Store, StoreError};
use crate::{
    conductor::shared::place::{PATIENCE, RedisPlace},
    manifest::Name,
    metainfo::InfoHash,
};

/// The channel on which a change is told to all conductors.
pub const CHANGES: &str = "orchestra:1:changes";
const ENTRIES: &str = "orchestra:1:entries";
const MANIFESTS: &str = "orchestra:1:manifests";
/// How many changes there were.
const NUMBER: &str = "orchestra:1:changed";

/// Bytes of manifests that are copied, at most.
const MAX_COPIED: u64 = 64 << 20;
/// After Redis did not answer, it is not asked again for so long: others need not wait for it too.
const REST: Duration = Duration::from_secs(1);

/// Keys: entries, manifests, number. Arguments: the number that it should be, the channel, a hash to take out or nothing,
/// a hash to put in or nothing, its entry, its manifest. Returns the new number, or nothing where it was another.
const CHANGE: &str = "
    if (redis.call('GET', KEYS[3]) or '0') ~= ARGV[1] then return false end
    if ARGV[3] ~= '' then
        redis.call('HDEL', KEYS[1], ARGV[3])
        redis.call('HDEL', KEYS[2], ARGV[3])
    end
    if ARGV[4] ~= '' then
        redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
        redis.call('HSET', KEYS[2], ARGV[4], ARGV[6])
    end
    local number = redis.call('INCR', KEYS[3])
    redis.call('PUBLISH', ARGV[2], number)
    return number";

/// Keys: entries, manifests, number. Arguments: the number that it was at least, the channel, then a hash, an entry and
/// a manifest, again and again.
const RESTORE: &str = "
    for i = 3, #ARGV, 3 do
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
    end
    if tonumber(redis.call('GET', KEYS[3]) or '0') < tonumber(ARGV[1]) then redis.call('SET', KEYS[3], ARGV[1]) end
    local number = redis.call('INCR', KEYS[3])
    redis.call('PUBLISH', ARGV[2], number)";

/// A catalogue in common.
pub struct RedisStore {
    place: RedisPlace,
    connection: Option<Connection>,
    failed: Option<Instant>,
    /// The number of changes when the entries were last read.
    number: u64,
    copies: HashMap<InfoHash, (Entry, Vec<u8>)>,
}

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    size: u64,
    part_size: u32,
    parts: u32,
    owner: Option<String>,
    registered: u64,
    length: u64,
}

impl RedisStore {
    /// Asks nothing yet.
    pub fn new(place: RedisPlace) -> Self {
        Self { place, connection: None, failed: None, number: 0, copies: HashMap::new() }
    }

    /// Asks Redis, over a new connection where there is none.
    fn ask<T: FromRedisValue>(&mut self, question: &redis::Cmd) -> Result<T, StoreError> {
        if self.failed.is_some_and(|failed| failed.elapsed() < REST) {
            return Err(self.failed(std::io::Error::from(std::io::ErrorKind::NotConnected).into()));
        }
        let asked = self.connected().and_then(|connection| question.query(connection));
        asked.map_err(|error: RedisError| {
            self.connection = None;
            self.failed = Some(Instant::now());
            self.failed(error)
        })
    }

    fn connected(&mut self) -> Result<&mut Connection, RedisError> {
        let connection = match self.connection.take() {
            Some(connection) if connection.is_open() => connection,
            _ => {
                let connection = self.place.client().get_connection_with_timeout(PATIENCE)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                connection.set_write_timeout(Some(PATIENCE))?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    fn failed(&self, error: RedisError) -> StoreError {
        StoreError::Redis { place: self.place.clone(), error }
    }

    fn current_number(&mut self) -> Result<u64, StoreError> {
        let number: Option<u64> = self.ask(redis::cmd("GET").arg(NUMBER))?;
        Ok(number.unwrap_or(0))
    }

    /// Makes one change to the entries as they were last read.
    fn change(&mut self, out: Option<InfoHash>, entry: Option<(&Entry, &[u8])>) -> Result<(), StoreError> {
        let mut script = redis::cmd("EVAL");
        script.arg(CHANGE).arg(3).arg(ENTRIES).arg(MANIFESTS).arg(NUMBER);
        script
            .arg(self.number)
            .arg(self.place.channel(CHANGES))
            .arg(out.map_or(String::new(), |hash| hash.to_string()));
        match entry {
            Some((entry, manifest)) => {
                script.arg(entry.info_hash.to_string()).arg(written(entry)).arg(manifest);
            }
            None => _ = script.arg("").arg("").arg(""),
        }
        let number: Option<u64> = self.ask(&script)?;
        self.number = number.ok_or_else(|| StoreError::Raced { place: self.place.clone() })?;
        Ok(())
    }

    /// Gives Redis, which lost changes, what was copied here.
    fn restore(&mut self) -> Result<(), StoreError> {
        let mut script = redis::cmd("EVAL");
        script
            .arg(RESTORE)
            .arg(3)
            .arg(ENTRIES)
            .arg(MANIFESTS)
            .arg(NUMBER)
            .arg(self.number)
            .arg(self.place.channel(CHANGES));
        for (hash, (entry, manifest)) in &self.copies {
            script.arg(hash.to_string()).arg(written(entry)).arg(manifest);
        }
        log::warn!("{} lost changes of the catalogue: it is given {} entries again", self.place, self.copies.len());
        self.ask(&script)
    }

    /// Copies the manifests of these entries, as far as they fit.
    fn copy(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut copies = HashMap::new();
        let mut room = MAX_COPIED;
        for entry in entries {
            if let Some(left) = room.checked_sub(entry.length)
                && let Some(text) = self.read(&entry.info_hash)?
            {
                room = left;
                copies.insert(entry.info_hash, (entry.clone(), text));
            }
        }
        self.copies = copies;
        Ok(())
    }

    fn read(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(redis::cmd("HGET").arg(MANIFESTS).arg(info_hash.to_string()))
    }
}

fn written(entry: &Entry) -> Vec<u8> {
    let Entry { name, size, part_size, parts, owner, registered, length, .. } = entry.clone();
    let name = name.as_str().to_owned();
    // Plain data with text for keys always can be written.
    serde_json::to_vec(&Written { name, size, part_size, parts, owner, registered, length }).unwrap_or_default()
}

fn entry(info_hash: &str, text: &[u8]) -> Option<Entry> {
    let Written { name, size, part_size, parts, owner, registered, length } = serde_json::from_slice(text).ok()?;
    let (info_hash, name) = (info_hash.parse().ok()?, Name::new(&name).ok()?);
    Some(Entry { info_hash, name, size, part_size, parts, owner, registered, length })
}

impl Store for RedisStore {
    fn load(&mut self) -> Result<Vec<Entry>, StoreError> {
        // Read first: a change in between makes the entries newer than the number, and they are read once more.
        let number = self.current_number()?;
        let all: HashMap<String, Vec<u8>> = self.ask(redis::cmd("HGETALL").arg(ENTRIES))?;
        let entries: Vec<Entry> = all.iter().filter_map(|(hash, text)| entry(hash, text)).collect();
        self.copy(&entries)?;
        self.number = number;
        Ok(entries)
    }

    fn reload(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        let number = self.current_number()?;
        if number == self.number {
            return Ok(None);
        }
        if number < self.number {
            self.restore()?;
        }
        self.load().map(Some)
    }

    fn manifest(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        match self.copies.get(info_hash) {
            Some((_, text)) => Ok(Some(text.clone())),
            None => self.read(info_hash),
        }
    }

    fn put(&mut self, entry: &Entry, manifest: &[u8], instead_of: Option<InfoHash>) -> Result<(), StoreError> {
        self.change(instead_of, Some((entry, manifest)))?;
        if let Some(old) = instead_of {
            self.copies.remove(&old);
        }
        self.copies.remove(&entry.info_hash);
        let copied: u64 = self.copies.values().map(|(entry, _)| entry.length).sum();
        if copied + entry.length <= MAX_COPIED {
            self.copies.insert(entry.info_hash, (entry.clone(), manifest.to_owned()));
        }
        Ok(())
    }

    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError> {
        self.change(Some(*info_hash), None)?;
        self.copies.remove(info_hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_an_unsound_one_not() {
        let kept = Entry {
            info_hash: InfoHash([7; 20]),
            name: Name::new("a \u{1f3bb}.iso").unwrap(),
            size: u64::MAX,
            part_size: 16_384,
            parts: 9,
            owner: Some("alice".to_owned()),
            registered: 1,
            length: 2,
        };
        let (hash, text) = (kept.info_hash.to_string(), written(&kept));
        assert_eq!(entry(&hash, &text), Some(kept));
        assert_eq!(entry("07", &text), None);
        assert_eq!(
            entry(&hash, br#"{"name":"../x","size":1,"part_size":1,"parts":1,"registered":1,"length":1}"#),
            None
        );
        assert_eq!(entry(&hash, b"{"), None);
    }
}
