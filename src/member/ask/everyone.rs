//! Asks everybody whom a question is for: the first conductor that answers, and at the same time all who are found on the
//! local network.
//!
//! What it costs an attacker there: who says that it can be asked is asked, each host in its turn ([`Turns`]), within
//! [`WHOLE_TIME`]. [`AT_ONCE`] answers of 4 MiB are read at the same time.

use std::{net::SocketAddr, pin::pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    AskingFailed,
    turns::{Name, Turns},
};
use crate::{
    catalogue::{AskError, Client},
    cli::ask::Whom,
    discovery::dns_sd::Browsing,
    manifest::Endpoint,
    net::via::Via,
    ui::to_stderr,
};

/// Those who are on the local network are looked for so long. Who just answered somebody else says nothing for a second
/// (RFC 6762, 6), and is asked again one second after the first time: this has to be a little more. Longer, where nobody
/// was found.
const LOOK: Duration = Duration::from_millis(1400);
const LONGEST_LOOK: Duration = Duration::from_millis(2500);
/// So long after somebody was found the others may say it too.
const LOOK_ON: Duration = Duration::from_millis(300);
/// Everybody has answered by then, or is not waited for.
const WHOLE_TIME: Duration = Duration::from_secs(6);
/// Time that a conductor has to answer after a member at its host did.
const FOR_CONDUCTOR: Duration = Duration::from_secs(1);
/// Members and conductors of the local network that are asked at the same time.
const AT_ONCE: usize = 16;

/// Who answered.
#[derive(Clone, Debug)]
pub struct Source {
    pub client: Client,
    /// It was found on the local network.
    pub is_near: bool,
    /// Every address at which it said there that it is.
    pub places: Vec<SocketAddr>,
}

impl Source {
    /// Whether this is the conductor at that address.
    fn is_at(&self, conductor: &Endpoint) -> bool {
        self.client.conductor() == conductor
            || self.places.iter().any(|place| place.to_string() == conductor.to_string())
    }
}

/// What everybody said.
pub struct Heard<T> {
    /// The conductor's answer is the first, if it gave one.
    pub answers: Vec<(Source, T)>,
    /// Why no conductor gave an answer; None also where none was to be asked.
    pub conductor: Option<AskError>,
    /// What those of the local network said who gave no answer, but are there.
    pub near: Vec<AskError>,
    /// Who there was not asked, and why, for people.
    pub left_out: Vec<String>,
    asked_near: bool,
    are_named: bool,
}

impl<T> Heard<T> {
    /// Tells people who was not asked.
    pub fn tell_left_out(&self) {
        self.left_out.iter().for_each(|text| to_stderr(text));
    }

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
            None => (Vec::new(), Vec::new()),
        }
    };
    let (conductor, (near, left_out)) = tokio::join!(named(whom, &ask), near);
    let (asked_near, are_named) = (whom.near.is_some(), whom.are_named);
    let mut heard = Heard { answers: Vec::new(), conductor: None, near: Vec::new(), left_out, asked_near, are_named };
    match conductor {
        Some(Ok((client, answer))) => {
            heard.answers.push((Source { client, is_near: false, places: Vec::new() }, answer));
        }
        Some(Err(error)) => heard.conductor = Some(error),
        None => {}
    }
    for (source, answer) in near {
        // A conductor that was asked by its address is found on the network too.
        let answered = heard.answers.first().filter(|(first, _)| !first.is_near);
        if answered.is_some_and(|(first, _)| source.is_at(first.client.conductor())) {
            continue;
        }
        match answer {
            Ok(answer) => heard.answers.push((source, answer)),
            Err(error @ (AskError::Strange { .. } | AskError::Refused { .. } | AskError::Busy { .. })) => {
                log::info!("{error}");
            }
            Err(error) => heard.near.push(error),
        }
    }
    heard
}

/// Asks the conductors, and at the same time the members at their hosts: those count where no conductor answers.
async fn named<T, F>(whom: &Whom, ask: &impl Fn(Client) -> F) -> Option<Result<(Client, T), AskError>>
where
    F: Future<Output = Result<T, AskError>>,
{
    if whom.members.is_empty() {
        return first(&whom.conductors, ask).await;
    }
    let (mut conductor, mut member) = (pin!(first(&whom.conductors, ask)), pin!(first(&whom.members, ask)));
    let (mut of_conductor, mut of_member) = (None, None);
    // Once a member answered, a conductor behind a firewall is not waited for as long as one that may be slow.
    let mut waits_until = Instant::now() + WHOLE_TIME;
    while of_conductor.is_none() {
        tokio::select! {
            biased;
            answer = &mut conductor => of_conductor = Some(answer),
            answer = &mut member, if of_member.is_none() => {
                if !is_unreachable(&answer) {
                    waits_until = waits_until.min(Instant::now() + FOR_CONDUCTOR);
                }
                of_member = Some(answer);
            }
            () = sleep_until(waits_until), if of_member.as_ref().is_some_and(|answer| !is_unreachable(answer)) => break,
        }
    }
    match of_conductor {
        Some(answer) if !is_unreachable(&answer) => return answer,
        _ => {}
    }
    let of_member = match of_member {
        Some(answer) => answer,
        None => member.await,
    };
    match of_conductor {
        // Neither answers: people are told of the conductor.
        Some(answer) if is_unreachable(&of_member) => answer,
        _ => of_member,
    }
}

/// Whether nobody answered, or nobody was asked.
fn is_unreachable<T>(answer: &Option<Result<T, AskError>>) -> bool {
    matches!(answer, None | Some(Err(AskError::Unreachable { .. })))
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

/// Asks all who say on the local network that they can be asked; and says who was left out.
async fn everyone_near<T, F>(via: &Via, ask: &impl Fn(Client) -> F) -> (Vec<(Source, Result<T, AskError>)>, Vec<String>)
where
    F: Future<Output = Result<T, AskError>>,
{
    let browsing = match Browsing::start(via) {
        Ok(browsing) => browsing,
        Err(error) => {
            log::warn!("nobody is asked on the local network: {error}");
            return (Vec::new(), Vec::new());
        }
    };
    let start = Instant::now();
    let end = start + WHOLE_TIME;
    let (mut looks_until, mut looks) = (start + LONGEST_LOOK, true);
    let mut turns = Turns::default();
    let (mut asking, mut heard) = (FuturesUnordered::new(), Vec::new());
    let ask_at = |name: Name, address| async move {
        let answer = timeout_at(end, ask_one(address, via, ask)).await;
        (name, answer.ok().flatten())
    };
    while looks || !asking.is_empty() {
        tokio::select! {
            service = browsing.next(), if looks => match service {
                Some(service) => {
                    looks_until = (start + LOOK).max(Instant::now() + LOOK_ON).min(start + LONGEST_LOOK);
                    log::debug!("{service:?} says that it can be asked");
                    turns.note((service.kind, service.name), &service.addresses);
                }
                None => looks = false,
            },
            Some(ended) = asking.next() => {
                let (name, answer): (Name, Answered<T>) = ended;
                turns.ended(name.clone(), answer.is_some());
                heard.extend(answer.map(|answer| (name, answer)));
            }
            () = sleep_until(looks_until), if looks => looks = false,
        }
        while asking.len() < AT_ONCE
            && Instant::now() < end
            && let Some((name, address)) = turns.next()
        {
            asking.push(ask_at(name, address));
        }
    }
    let left_out = turns.left_out();
    let mut source = |name, client| Source { client, is_near: true, places: turns.places(&name) };
    (heard.into_iter().map(|(name, (client, answer))| (source(name, client), answer)).collect(), left_out)
}

/// What one said, and how to ask it again; `None`: nobody is there.
type Answered<T> = Option<(Client, Result<T, AskError>)>;

/// Asks at one address; None: nobody is there.
async fn ask_one<T, F>(
    address: SocketAddr,
    via: &Via,
    ask: &impl Fn(Client) -> F,
) -> Option<(Client, Result<T, AskError>)>
where
    F: Future<Output = Result<T, AskError>>,
{
    let client = Client::near(address, via).inspect_err(|error| log::warn!("{error}")).ok()?;
    match ask(client.clone()).await {
        Err(error @ AskError::Unreachable { .. }) => {
            log::info!("{error}");
            None
        }
        answer => Some((client, answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conductor_is_known_by_any_of_its_addresses() {
        let via = Via { address: None, interface: None };
        let client = Client::near("10.0.0.5:9999".parse().unwrap(), &via).unwrap();
        let places = vec!["10.0.0.5:9999".parse().unwrap(), "192.168.1.5:9999".parse().unwrap()];
        let source = Source { client, is_near: true, places };
        let is_at = |text: &str| source.is_at(&text.parse().unwrap());
        assert!(is_at("10.0.0.5:9999") && is_at("192.168.1.5"));
        assert!(!is_at("192.168.1.5:9998") && !is_at("10.0.0.6:9999"));
    }

    /// Nobody is found where there is nobody to be found, and that is no error of its own.
    #[tokio::test]
    async fn who_has_no_network_hears_nobody() {
        let via = Via { address: None, interface: Some("no-such-one".to_owned()) };
        let whom = Whom { conductors: Vec::new(), members: Vec::new(), are_named: false, near: Some(via) };
        let asking = async move { everyone(&whom, |client| async move { client.list().await }).await };
        // It can be asked in the background.
        let heard = tokio::spawn(asking).await.unwrap();
        assert!(heard.answers.is_empty() && matches!(heard.nobody(), AskingFailed::Nobody { conductor: None }));
    }
}
