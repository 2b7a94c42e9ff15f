//! Which Redis, as it is typed: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`.

use std::{fmt, sync::Arc, time::Duration};

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisError};

/// How long Redis may take to be reached, and for one answer.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A Redis that can be asked; shown without its password.
#[derive(Clone)]
pub struct RedisPlace {
    client: Arc<Client>,
    shown: String,
}

/// Why such a text names no Redis.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("expected redis://HOST:PORT/DB, such as redis://10.0.0.1:6379/0: {0}")]
    Unread(#[from] RedisError),
    #[error("only redis://HOST:PORT/DB is spoken here, without TLS or a local socket")]
    Other,
}

impl RedisPlace {
    /// Reads an address; connects nowhere.
    ///
    /// # Errors
    /// It is none, or one of a kind that is not spoken.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let info = text.into_connection_info()?;
        let shown = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{}", info.redis_settings().db()),
            _ => return Err(PlaceError::Other),
        };
        Ok(Self { client: Arc::new(Client::open(info)?), shown })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The channel of this name that belongs to this database alone: Redis itself has one set of channels for all.
    pub fn channel(&self, name: &str) -> String {
        format!("{name}:{}", self.client.get_connection_info().redis_settings().db())
    }

    /// Host and port.
    pub fn host(&self) -> (&str, u16) {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => (host, *port),
            _ => ("", 0),
        }
    }
}

impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for RedisPlace {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl Eq for RedisPlace {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_without_its_password() {
        let place = RedisPlace::parse("redis://me:secret@head:7/3").unwrap();
        assert_eq!((place.to_string().as_str(), place.host()), ("redis://head:7/3", ("head", 7)));
        assert_eq!(format!("{place:?}"), "redis://head:7/3");
        assert_eq!(place.channel("x"), "x:3");
        assert_eq!(RedisPlace::parse("redis://head").unwrap().to_string(), "redis://head:6379/0");
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        for text in ["redis:", "redis://", "redis://h:x", "redis+unix:///run/redis", "http://h", ""] {
            assert!(RedisPlace::parse(text).is_err(), "{text}");
        }
    }
}
