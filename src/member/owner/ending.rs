//! When the owner's work is over, and how it leaves.

use tokio::time::Duration;

use super::{Owner, Stage, named, save};
use crate::{
    cli::{Exit, member::UntilAll, units},
    member::{
        blocking, history,
        links::{Heard, Links},
        report,
        teller::Teller,
        until::{self, Copies, Facts},
    },
    peer::{Event, PeerKey},
    swarm::Input,
    time::Time,
};

/// How long the neighbours have to put away what they hold.
const FAREWELL: Duration = Duration::from_millis(300);

/// Nobody being there for so long, a composition that may sleep does: longer than an attempt to dial takes.
const WATCH: Time = Time::from_secs(6);

/// What ends the loop.
pub(super) struct Ending {
    pub exit: Exit,
    pub error: Option<String>,
}

impl Owner {
    /// `q`, Ctrl-C, or a signal. Verified and about to get its name, the file gets it first: the exit code has to be
    /// true of what is on the disk.
    pub(super) async fn interrupted(&mut self, screen: &Teller) -> Ending {
        if let Stage::Naming(_) = self.stage {
            let named = named(&mut self.stage).await;
            if let Some(ending) = self.on_named(named, screen) {
                return ending;
            }
        }
        self.leave()
    }

    fn leave(&self) -> Ending {
        let whole = matches!(self.stage, Stage::Whole { .. });
        let exit = match whole {
            true if self.copies_missing() => Exit::CopiesMissing,
            true => Exit::Done,
            false => Exit::Interrupted,
        };
        Ending { exit, error: None }
    }

    pub(super) fn copies_missing(&self) -> bool {
        let all = self.parts.station.settings.until.all.as_ref();
        all.is_some_and(|all| !self.copies(all).is_enough())
    }

    /// Machines that have it whole and machines that have not, of those that are waited for; this one counts like the
    /// others.
    pub(super) fn copies(&self, all: &UntilAll) -> Copies {
        let own = Some(&self.parts.station.this).filter(|_| matches!(self.stage, Stage::Whole { .. }));
        let (swarm, seen) = (&self.parts.swarm, self.parts.swarm.copies());
        until::count(all, &self.parts.station.hosts.known(), own, seen.seen(), swarm.names_of_lacking())
            .with_claims(seen.claimed())
    }

    /// Tells the one who decides when to end how this composition stands, where that is not the owner itself.
    pub(super) fn tell_standing(&self, uploaded: u64) {
        if let Some(standing) = &self.parts.standing {
            let all = self.parts.station.settings.until.all.as_ref();
            standing.note(uploaded, all.map(|all| self.copies(all)));
        }
    }

    /// One of the conditions that were given is met, by every composition of the process.
    pub(super) fn is_over(&mut self) -> Option<Ending> {
        if self.parts.standing.is_some() {
            return None;
        }
        let Stage::Whole { since } = self.stage else { return None };
        let snapshot = self.parts.swarm.snapshot(self.now());
        let facts = Facts {
            since,
            uploaded: snapshot.uploaded,
            size: snapshot.bytes,
            copies_missing: self.parts.station.settings.until.all.as_ref().map(|_| self.copies_missing()),
        };
        let met = until::met(&self.parts.station.settings.until, &facts, self.now())?;
        if self.parts.pending.take().is_some() {
            log::info!("{}: over: {}", self.name(), met.reason());
        }
        self.parts.unmet.is_empty().then(|| self.leave())
    }

    /// No part came, and no copy was made, for as long as was allowed.
    pub(super) fn gives_up(&self, now: Time) -> Option<Ending> {
        let timeout = self.parts.station.settings.timeout?;
        if self.parts.pending.is_none()
            || now < self.progress + timeout
            || matches!(self.stage, Stage::Checking(_) | Stage::Naming(_))
        {
            return None;
        }
        let (exit, error) = match &self.stage {
            Stage::Whole { .. } if self.copies_missing() => {
                let after = units::duration(timeout);
                let all = self.parts.station.settings.until.all.as_ref();
                let missing = all.map(|all| self.copies(all).missing()).unwrap_or_default();
                let text = format!("no further copy was made within {after}: {missing}; go on with the same command");
                (Exit::CopiesMissing, text)
            }
            Stage::Whole { .. } => return None,
            _ => {
                let advice = "start a member beside a whole copy, and try again";
                let (reach, mirrors) = (self.lookout.contact.reach(), !self.parts.mirrors.is_empty());
                report::gave_up(reach, mirrors, timeout, "nobody had the missing parts", advice)
            }
        };
        Some(Ending { exit, error: Some(error) })
    }

    /// It may sleep, and nobody has been there for a while.
    pub(super) fn rests(&mut self, now: Time) -> Option<Ending> {
        let last = self.wanted?;
        if !self.parts.links.are_all_closed() || !matches!(self.stage, Stage::Whole { .. }) {
            self.wanted = Some(now);
            return None;
        }
        (now >= last + WATCH).then(|| self.leave())
    }

    /// Leaves: conversations end and put away what they hold, conductors are told, the disk's state is noted.
    pub(super) async fn end(mut self, ending: Ending, screen: &Teller) -> Exit {
        let ending = self.look_a_last_time(ending).await;
        // Members that complete and leave at once are heard to complete.
        self.tell_conductors();
        self.lookout.ended().cancel();
        self.parts.links.close_all();
        let now = self.now();
        let (links, heard) = (&mut self.parts.links, &mut self.parts.heard);
        let (swarm, ledger) = (&mut self.parts.swarm, &mut self.parts.ledger);
        let whole = matches!(self.stage, Stage::Whole { .. });
        let store = self.parts.store.clone();
        let acquaintances = &mut self.parts.acquaintances;
        let noted = async {
            let farewell = hear_out(links, heard, |key, event| {
                ledger.hear(key, event, String::new);
                swarm.handle(Input::Peer(key, event.clone()), now);
            });
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
            let met = acquaintances.note(swarm.reached(), now);
            let went = ledger.end(|key| swarm.name_of(key).unwrap_or_default());
            let note = move || {
                if !whole {
                    save(&store);
                }
                met();
                history::note(&went);
            };
            blocking(note).await;
        };
        tokio::join!(noted, self.lookout.leave());
        self.tell_end(&ending, screen);
        ending.exit
    }
}

/// Waits until the connections, which were told to close, are closed. What they sent last is told.
async fn hear_out(links: &mut Links, heard: &mut Heard, mut sent: impl FnMut(PeerKey, &Event)) {
    while !links.are_all_closed() {
        let Some((key, events)) = heard.events.recv().await else { return };
        let sends = events.iter().filter(|event| matches!(event, Event::Uploaded(_)));
        sends.for_each(|event| sent(key, event));
        if let Some(Event::Closed(_)) = events.last() {
            links.closed(key);
        }
    }
}
