//! Asks everybody whom a question is for: the first conductor that answers, and at the same time all who are found on the
//! local network.
//!
//! What it costs an attacker there: who says that it can be asked is asked, once. At most [`MOST_ASKED`] are, within
//! [`WHOLE_TIME`], and [`AT_ONCE`] answers of 4 MiB are read at the same time.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};

use super::AskingFailed;
use crate::{
    catalogue::{AskError, Client},
    cli::ask::Whom,
    discovery::dns_sd::Browsing,
    manifest::Endpoint,
    net::via::Via,
};

/// Those who are on the local network are looked for so long; longer, where nobody was found: one who just answered
/// somebody else says nothing for a second (RFC 6762, 6).
const LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_millis(2500);
/// So long after somebody was found the others may say it too.
const LOOK_ON: Duration = Duration::from_millis(300);
/// Everybody has answered by then, or is not waited for.
const WHOLE_TIME: Duration = Duration::from_secs(6);
/// Members and conductors of the local network that are asked, and so many of them at the same time.
const MOST_ASKED: usize = 64;
const AT_ONCE: usize = 16;
/// Addresses of one of them that are tried, and that are known.
const MOST_TRIED: usize = 3;
const MOST_PLACES: usize = 16;

/// Who answered.
#[derive(Clone, Debug)]
pub struct Source {
    pub client: Client,
    /// It was found on the local network.
    pub is_near: bool,
    /// Every address at which it said there that it is.
    pub places: Vec<SocketAddr>,
}

/// What everybody said.
pub struct Heard<T> {
    /// The conductor's answer is the first, if it gave one.
    pub answers: Vec<(Source, T)>,
    /// Why no conductor gave an answer; None also where none was to be asked.
    pub conductor: Option<AskError>,
    /// What those of the local network said who gave no answer, but are there.
    pub near: Vec<AskError>,
    asked_near: bool,
    are_named: bool,
}

impl<T> Heard<T> {
    /// Why there is no answer from anybody.
    pub fn nobody(self) -> AskingFailed {
        match self.conductor {
            Some(AskError::Unreachable { conductor, .. }) if self.asked_near && !self.are_named => {
                AskingFailed::Nobody { conductor: Some(conductor) }
            }
            Some(error @ AskError::Unreachable { .. }) if self.asked_near => {
                let advice = "; nobody on the local network says what it shares either".to_owned();
                AskingFailed::Advised { error, advice }
            }
            Some(error) => error.into(),
            None => AskingFailed::Nobody { conductor: None },
        }
    }
}

/// Asks everybody.
pub async fn everyone<T, F>(whom: &Whom, ask: impl Fn(Client) -> F) -> Heard<T>
where
    F: Future<Output = Result<T, AskError>>,
{
    let near = async {
        match &whom.near {
            Some(via) => everyone_near(via, &ask).await,
            None => Vec::new(),
        }
    };
    let (conductor, near) = tokio::join!(first(&whom.conductors, &ask), near);
    let (asked_near, are_named) = (whom.near.is_some(), whom.are_named);
    let mut heard = Heard { answers: Vec::new(), conductor: None, near: Vec::new(), asked_near, are_named };
    match conductor {
        Some(Ok((client, answer))) => {
            heard.answers.push((Source { client, is_near: false, places: Vec::new() }, answer));
        }
        Some(Err(error)) => heard.conductor = Some(error),
        None => {}
    }
    for (source, answer) in near {
        match answer {
            Ok(answer) => heard.answers.push((source, answer)),
            Err(error @ (AskError::Unreachable { .. } | AskError::Strange { .. } | AskError::Refused { .. })) => {
                log::info!("{error}");
            }
            Err(error) => heard.near.push(error),
        }
    }
    heard
}

/// Asks one conductor after the other; the first that answers counts. None: there are none.
async fn first<T, F>(conductors: &[Endpoint], ask: &impl Fn(Client) -> F) -> Option<Result<(Client, T), AskError>>
where
    F: Future<Output = Result<T, AskError>>,
{
    let mut result = None;
    for conductor in conductors {
        let client = match Client::new(conductor.clone(), None) {
            Ok(client) => client,
            Err(error) => return Some(Err(error)),
        };
        match ask(client.clone()).await {
            Ok(answer) => return Some(Ok((client, answer))),
            Err(error @ AskError::Unreachable { .. }) => {
                log::info!("{error}");
                result = Some(Err(error));
            }
            Err(error) => return Some(Err(error)),
        }
    }
    result
}

/// Asks all who say on the local network that they can be asked.
async fn everyone_near<T, F>(via: &Via, ask: &impl Fn(Client) -> F) -> Vec<(Source, Result<T, AskError>)>
where
    F: Future<Output = Result<T, AskError>>,
{
    let browsing = match Browsing::start(via) {
        Ok(browsing) => browsing,
        Err(error) => {
            log::warn!("nobody is asked on the local network: {error}");
            return Vec::new();
        }
    };
    let start = Instant::now();
    let (end, places) = (start + WHOLE_TIME, Semaphore::new(AT_ONCE));
    let (mut looks_until, mut looks) = (start + LONGEST_LOOK, true);
    let (mut known, mut asking, mut heard) = (HashMap::new(), FuturesUnordered::new(), Vec::new());
    while looks || !asking.is_empty() {
        tokio::select! {
            service = browsing.next(), if looks => match service {
                Some(service) => {
                    looks_until = (start + LOOK).max(Instant::now() + LOOK_ON).min(start + LONGEST_LOOK);
                    let name = (service.kind, service.name.clone());
                    if let Some(places) = known.get_mut(&name) {
                        // Over the other IP version, mostly.
                        note(places, &service.addresses);
                    } else if known.len() < MOST_ASKED {
                        log::debug!("{service:?} says that it can be asked");
                        known.insert(name.clone(), service.addresses.clone());
                        let asked = ask_one(service.addresses, via, ask, &places);
                        asking.push(async move { Some((name, timeout_at(end, asked).await.ok().flatten()?)) });
                    }
                }
                None => looks = false,
            },
            Some(answer) = asking.next() => heard.extend(answer),
            () = sleep_until(looks_until), if looks => looks = false,
        }
    }
    let mut source = |name, client| Source { client, is_near: true, places: known.remove(&name).unwrap_or_default() };
    heard.into_iter().map(|(name, (client, answer))| (source(name, client), answer)).collect()
}

/// Takes in addresses, each once.
fn note(places: &mut Vec<SocketAddr>, more: &[SocketAddr]) {
    for address in more {
        if places.len() < MOST_PLACES && !places.contains(address) {
            places.push(*address);
        }
    }
}

/// Asks at one address after the other, until somebody is there.
async fn ask_one<T, F>(
    addresses: Vec<SocketAddr>,
    via: &Via,
    ask: &impl Fn(Client) -> F,
    places: &Semaphore,
) -> Option<(Client, Result<T, AskError>)>
where
    F: Future<Output = Result<T, AskError>>,
{
    let _place = places.acquire().await.ok()?;
    let mut last = None;
    for address in addresses.into_iter().take(MOST_TRIED) {
        let client = Client::near(address, via).inspect_err(|error| log::warn!("{error}")).ok()?;
        let answer = ask(client.clone()).await;
        let is_there = !matches!(answer, Err(AskError::Unreachable { .. }));
        last = Some((client, answer));
        if is_there {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_noted_once() {
        let address = |n: u16| SocketAddr::from(([10, 0, 0, 1], n));
        let mut places = vec![address(1)];
        note(&mut places, &[address(2), address(1), address(2)]);
        assert_eq!(places, [address(1), address(2)]);
        note(&mut places, &(0..100).map(address).collect::<Vec<_>>());
        assert_eq!(places.len(), MOST_PLACES);
    }

    /// Nobody is found where there is nobody to be found, and that is no error of its own.
    #[tokio::test]
    async fn who_has_no_network_hears_nobody() {
        let via = Via { address: None, interface: Some("no-such-one".to_owned()) };
        let whom = Whom { conductors: Vec::new(), are_named: false, near: Some(via) };
        let asking = async move { everyone(&whom, |client| async move { client.list().await }).await };
        // It can be asked in the background.
        let heard = tokio::spawn(asking).await.unwrap();
        assert!(heard.answers.is_empty() && matches!(heard.nobody(), AskingFailed::Nobody { conductor: None }));
    }
}
