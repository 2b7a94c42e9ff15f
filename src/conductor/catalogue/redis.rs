//! A catalogue in Redis, which several conductors share.
//!
//! Entries and manifests are two hashes by info-hash. A number counts the changes: each is one script, which Redis runs
//! as a whole, and which changes nothing unless the number is still the one at which this conductor last read the
//! entries. So two conductors never both give away one name. How much survives a crash is up to Redis (`appendonly yes`).
//!
//! A log names, for each info-hash that changed, the number of its last change: a conductor reads only what changed
//! since the number that it knows. Older conductors keep no log: a hash says from which number to which
//! one the log is complete; where that is not enough all entries are read, and the manifests that are not copied yet.
//!
//! Manifests are copied into memory as far as they fit ([`Copies`]), so that they are given out while Redis is away.
//! Where Redis comes back knowing fewer changes than a conductor does, it lost some, and is given the copies. An entry
//! that some other hand made unsound is left out.

use std::time::{Duration, Instant};

use redis::{Connection, ConnectionLike, FromRedisValue, RedisError};
use serde::{Deserialize, Serialize};

use super::{
    Entry, Store, StoreError,
    copies::Copies,
    store::{Changes, Put},
};
use crate::{
    catalogue::MAX_MANIFEST,
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
/// The number of the last change of each info-hash, as a sorted set.
const LOG: &str = "orchestra:1:log";
/// The log has all changes after the number in the field `from`, up to the one in the field `to`.
const LOGGED: &str = "orchestra:1:logged";
/// Written to see whether Redis takes changes; it goes by itself after so many seconds.
const PROBE: &str = "orchestra:1:probe";
const PROBE_LIFETIME: u64 = 60;
/// Info-hashes that the log names, at most; the oldest go first.
const MAX_LOG: u64 = 20_000;

/// Total length of manifests that are read, or given back, in one question, in bytes, unless one alone is longer.
const MAX_AT_ONCE: u64 = 4 << 20;
/// After Redis did not answer, it is not asked again for so long: others need not wait for it too.
const REST: Duration = Duration::from_secs(1);

/// Keys: entries, manifests, number, log, logged. Arguments: the number that it should be, the channel, the most that the
/// log may name, how many hashes are taken out, these; then a hash that is put in, its entry and its manifest, again and
/// again. Returns the new number, or nothing where it was another.
const CHANGE: &str = "
    local number = redis.call('GET', KEYS[3]) or '0'
    if number ~= ARGV[1] then return false end
    if redis.call('HGET', KEYS[5], 'to') ~= number then
        redis.call('DEL', KEYS[4])
        redis.call('HSET', KEYS[5], 'from', number)
    end
    number = redis.call('INCR', KEYS[3])
    redis.call('HSET', KEYS[5], 'to', number)
    local outs = 4 + tonumber(ARGV[4])
    for i = 5, outs do
        redis.call('HDEL', KEYS[1], ARGV[i])
        redis.call('HDEL', KEYS[2], ARGV[i])
        redis.call('ZADD', KEYS[4], number, ARGV[i])
    end
    for i = outs + 1, #ARGV, 3 do
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
        redis.call('ZADD', KEYS[4], number, ARGV[i])
    end
    local extra = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[3])
    if extra > 0 then
        local last = redis.call('ZRANGE', KEYS[4], extra - 1, extra - 1, 'WITHSCORES')[2]
        redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', last)
        redis.call('HSET', KEYS[5], 'from', last)
    end
    redis.call('PUBLISH', ARGV[2], number)
    return number";

/// Keys: entries, number, log, logged. Argument: a number. Returns the current number and whether the log has all
/// changes since the argument; if so, each hash that changed and its entry, which is empty where it was removed.
const SINCE: &str = "
    local number = redis.call('GET', KEYS[2]) or '0'
    local from = tonumber(redis.call('HGET', KEYS[4], 'from'))
    if redis.call('HGET', KEYS[4], 'to') ~= number or not from or from > tonumber(ARGV[1]) then
        return {number, '0'}
    end
    local found = {number, '1'}
    for _, hash in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf')) do
        found[#found + 1] = hash
        found[#found + 1] = redis.call('HGET', KEYS[1], hash) or ''
    end
    return found";

/// Keys: entries, manifests, number. Arguments: the number that there was at least, then a hash, an entry and a manifest,
/// again and again. Puts them in, unless there are as many changes as that again.
const RESTORE: &str = "
    if tonumber(redis.call('GET', KEYS[3]) or '0') >= tonumber(ARGV[1]) then return end
    for i = 2, #ARGV, 3 do
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
    end";

/// Keys: number, log, logged. Arguments: the number that there was at least, the channel. Ends what [`RESTORE`] began.
const RESTORED: &str = "
    if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return end
    redis.call('SET', KEYS[1], ARGV[1])
    local number = redis.call('INCR', KEYS[1])
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[3], 'from', number, 'to', number)
    redis.call('PUBLISH', ARGV[2], number)";

/// A catalogue in common.
pub struct RedisStore {
    place: RedisPlace,
    connection: Option<Connection>,
    failed: Option<Instant>,
    /// The number of changes when the entries were last read.
    number: u64,
    copies: Copies,
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
        Self { place, connection: None, failed: None, number: 0, copies: Copies::default() }
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
    fn change(&mut self, removed: &[InfoHash], puts: &[Put<'_>]) -> Result<(), StoreError> {
        let mut script = redis::cmd("EVAL");
        script.arg(CHANGE).arg(5).arg(ENTRIES).arg(MANIFESTS).arg(NUMBER).arg(LOG).arg(LOGGED);
        script.arg(self.number).arg(self.place.channel(CHANGES)).arg(MAX_LOG).arg(removed.len());
        for hash in removed {
            script.arg(hash.to_string());
        }
        for Put { entry, manifest, .. } in puts {
            script.arg(entry.info_hash.to_string()).arg(written(entry)).arg(*manifest);
        }
        let number: Option<u64> = self.ask(&script)?;
        self.number = number.ok_or_else(|| StoreError::Raced { place: self.place.clone() })?;
        Ok(())
    }

    /// Gives Redis, which lost changes, what was copied here.
    fn restore(&mut self) -> Result<(), StoreError> {
        log::warn!("{} lost changes of the catalogue: it is given {} entries again", self.place, self.copies.len());
        let all: Vec<&Entry> = self.copies.iter().map(|(entry, _)| entry).collect();
        let scripts: Vec<redis::Cmd> = at_once(&all).map(|some| self.restore_script(some)).collect();
        for script in &scripts {
            let () = self.ask(script)?;
        }
        let mut end = redis::cmd("EVAL");
        end.arg(RESTORED).arg(3).arg(NUMBER).arg(LOG).arg(LOGGED).arg(self.number).arg(self.place.channel(CHANGES));
        self.ask(&end)
    }

    fn restore_script(&self, entries: &[&Entry]) -> redis::Cmd {
        let mut script = redis::cmd("EVAL");
        script.arg(RESTORE).arg(3).arg(ENTRIES).arg(MANIFESTS).arg(NUMBER).arg(self.number);
        for entry in entries {
            if let Some(text) = self.copies.get(&entry.info_hash) {
                script.arg(entry.info_hash.to_string()).arg(written(entry)).arg(text);
            }
        }
        script
    }

    /// Copies the manifests of those of these entries that are not copied yet, as far as they fit.
    fn copy(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut room = self.copies.room();
        let lacks = |entry: &&Entry| {
            !self.copies.has(entry)
                && room.checked_sub(entry.length).is_some_and(|left| {
                    room = left;
                    true
                })
        };
        let wanted: Vec<&Entry> = entries.iter().filter(lacks).collect();
        for some in at_once(&wanted) {
            let mut question = redis::cmd("HMGET");
            question.arg(MANIFESTS);
            for entry in some {
                question.arg(entry.info_hash.to_string());
            }
            let texts: Vec<Option<Vec<u8>>> = self.ask(&question)?;
            for (entry, text) in some.iter().zip(texts) {
                if let Some(text) = text {
                    self.copies.insert((*entry).clone(), text);
                }
            }
        }
        Ok(())
    }

    /// All that changed since the entries were last read; None where the log does not say.
    fn logged(&mut self) -> Result<Option<Changes>, StoreError> {
        let mut script = redis::cmd("EVAL");
        script.arg(SINCE).arg(4).arg(ENTRIES).arg(NUMBER).arg(LOG).arg(LOGGED).arg(self.number);
        let found: Vec<Vec<u8>> = self.ask(&script)?;
        let number = found.first().and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let (Some(number), Some(b"1")) = (number, found.get(1).map(Vec::as_slice)) else { return Ok(None) };
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for pair in found[2..].chunks_exact(2) {
            let hash = String::from_utf8_lossy(&pair[0]);
            match (entry(&hash, &pair[1]), hash.parse()) {
                (Some(entry), _) => kept.push(entry),
                (None, Ok(hash)) => removed.push(hash),
                (None, Err(_)) => {}
            }
        }
        // What is copied of these is old.
        kept.iter().map(|entry| &entry.info_hash).chain(&removed).for_each(|hash| self.copies.remove(hash));
        self.copy(&kept)?;
        self.number = number;
        Ok(Some(Changes::Some { kept, removed }))
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
    // Lengths are added up.
    usize::try_from(length).ok().filter(|length| *length <= MAX_MANIFEST)?;
    Some(Entry { info_hash, name, size, part_size, parts, owner, registered, length })
}

/// These, in order, as many at a time as are read or given back in one question.
fn at_once<'a, 'b>(entries: &'a [&'b Entry]) -> impl Iterator<Item = &'a [&'b Entry]> {
    let mut length = 0u64;
    entries.chunk_by(move |before, next| {
        length += before.length;
        let together = length + next.length <= MAX_AT_ONCE;
        if !together {
            length = 0;
        }
        together
    })
}

impl Store for RedisStore {
    fn load(&mut self) -> Result<Vec<Entry>, StoreError> {
        // Read first: a change in between makes the entries newer than the number, and is read once more.
        let number = self.current_number()?;
        let all: Vec<(String, Vec<u8>)> = self.ask(redis::cmd("HGETALL").arg(ENTRIES))?;
        let entries: Vec<Entry> = all.iter().filter_map(|(hash, text)| entry(hash, text)).collect();
        self.copies.keep_only(&entries);
        self.copy(&entries)?;
        self.number = number;
        Ok(entries)
    }

    fn changes(&mut self) -> Result<Changes, StoreError> {
        let number = self.current_number()?;
        if number == self.number {
            return Ok(Changes::None);
        }
        if number < self.number {
            self.restore()?;
        }
        match self.logged()? {
            Some(changes) => Ok(changes),
            None => self.load().map(Changes::All),
        }
    }

    fn manifest(&mut self, info_hash: &InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        match self.copies.get(info_hash) {
            Some(text) => Ok(Some(text.to_owned())),
            None => self.read(info_hash),
        }
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.ask(redis::cmd("SET").arg(PROBE).arg(1).arg("EX").arg(PROBE_LIFETIME))
    }

    fn put(&mut self, puts: &[Put<'_>]) -> Result<(), StoreError> {
        let removed: Vec<InfoHash> = puts.iter().filter_map(|put| put.instead_of).collect();
        self.change(&removed, puts)?;
        removed.iter().for_each(|hash| self.copies.remove(hash));
        for Put { entry, manifest, .. } in puts {
            self.copies.insert((*entry).clone(), manifest.to_vec());
        }
        Ok(())
    }

    fn remove(&mut self, info_hash: &InfoHash) -> Result<(), StoreError> {
        self.change(&[*info_hash], &[])?;
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
        let long = br#"{"name":"x","size":1,"part_size":1,"parts":1,"registered":1,"length":18446744073709551615}"#;
        assert_eq!(entry(&hash, long), None, "no manifest is so long");
    }
}
