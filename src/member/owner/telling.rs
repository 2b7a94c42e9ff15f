//! What the owner tells people, and notes for them.

use std::{path, sync::atomic::Ordering};

use super::{Owner, Stage, ending::Ending};
use crate::{
    cli::Exit,
    geometry::PartIndex,
    member::{history::What, narrow, report, teller::Teller, until::Copies},
    peer::PeerKey,
    swarm::Snapshot,
    time::Time,
    ui::{End, Phase, Report, View},
};

/// Time between two words about what is claimed, at least: a stranger may claim more ten times a second.
const CLAIMS_INTERVAL: Time = Time::from_secs(10);

impl Owner {
    /// What people should know before the first part comes.
    pub(super) fn tell_first(&mut self, screen: &Teller) {
        let have = self.parts.swarm.snapshot(self.now());
        match self.stage {
            Stage::Fetching if have.bytes_done < have.bytes => screen.event(&Report::Fetch {
                name: self.name(),
                path: self.parts.store.path(),
                size: have.bytes,
                missing: have.bytes - have.bytes_done,
            }),
            Stage::Whole { .. } => self.tell_whole(screen),
            // A small file is checked before the first tick.
            Stage::Checking(_) => self.show(&have, self.now(), screen),
            _ => {}
        }
    }

    pub(super) fn missing(&self) -> Vec<PartIndex> {
        let have = self.parts.swarm.have();
        self.parts.manifest.geometry.all_parts().filter(|part| !have.has(*part)).collect()
    }

    /// Which parts of what was on the disk are right, where that was asked for.
    pub(super) fn tell_checked(&self, wrong: &[PartIndex], screen: &Teller) {
        if self.parts.station.settings.check {
            let (parts, path) = (self.parts.manifest.geometry.parts(), self.parts.store.path());
            let wrong = report::ranges(wrong);
            screen.event(&Report::Checked { name: self.name(), path, parts, wrong });
        }
    }

    pub(super) fn tell_whole(&mut self, screen: &Teller) {
        let snapshot = self.parts.swarm.snapshot(self.now());
        screen.event(&Report::Whole {
            name: self.name(),
            path: self.parts.store.path(),
            size: snapshot.bytes,
            fetched: snapshot.fetched,
            mirror: snapshot.mirrored,
            seconds: self.now().saturating_sub(self.parts.station.began),
            sharing: !self.parts.station.settings.until.done,
        });
        self.tell_copies(screen);
        self.note_whole(&snapshot);
    }

    /// It is whole: it was fetched, or was there and is shared.
    fn note_whole(&mut self, snapshot: &Snapshot) {
        let path = path::absolute(self.parts.store.path()).unwrap_or_else(|_| self.parts.store.path());
        let path = path.to_string_lossy().into_owned();
        let seconds = self.now().saturating_sub(self.parts.station.began).as_secs_f64();
        match snapshot.fetched {
            0 => self.parts.ledger.note(snapshot.bytes, What::Shared { path }),
            bytes => self.parts.ledger.note(bytes, What::Fetched { path, seconds }),
        }
    }

    /// How far it is, for the screen.
    pub(super) fn show(&self, snapshot: &Snapshot, now: Time, screen: &Teller) {
        let phase = match &self.stage {
            Stage::Checking(check) => Phase::Checking { done_bytes: check.progress().0 },
            Stage::Fetching if snapshot.bytes_done == snapshot.bytes => Phase::Verifying,
            Stage::Fetching => {
                report::waiting(snapshot, self.lookout.contact.reach(), self.progress, now).unwrap_or(Phase::Fetching)
            }
            Stage::Naming(_) => Phase::Verifying,
            Stage::Whole { .. } | Stage::Spoilt => Phase::Sharing,
        };
        let eta = report::eta(snapshot);
        screen.update(&View { name: self.name(), phase, swarm: *snapshot, eta, elapsed: now });
    }

    /// Who of those that are waited for has it whole by now, and who has not.
    pub(super) fn tell_copies(&self, screen: &Teller) {
        if let Some(all) = &self.parts.station.settings.until.all {
            let Copies { copies, wanted, whole, lacking, claimed } = self.copies(all);
            screen.event(&Report::Copies { name: self.name(), copies, wanted, whole, lacking, claimed });
        }
    }

    /// Says when conductors claim more than they did. A claim is no progress: it costs its author nothing.
    pub(super) fn tell_claims(&mut self, now: Time, screen: &Teller) {
        let claims = self.parts.swarm.copies().claimed().count();
        if claims != self.claims_told.0 && now >= self.claims_told.1 + CLAIMS_INTERVAL {
            self.claims_told = (claims, now);
            self.tell_copies(screen);
        }
    }

    /// Says once in a process that blocks do not get through from there, though the member answers.
    pub(super) fn tell_narrow(&self, key: PeerKey, screen: &Teller) {
        if !self.parts.station.told_narrow.swap(true, Ordering::Relaxed) {
            let text = narrow::hint(&self.name_of(key));
            log::warn!("{text}");
            screen.event(&Report::Warning { name: Some(self.name()), text });
        }
    }

    pub(super) fn tell_end(&self, ending: &Ending, screen: &Teller) {
        let (snapshot, began) = (self.parts.swarm.snapshot(self.now()), self.parts.station.began);
        screen.finish(snapshot.uploaded);
        if ending.exit == Exit::CopiesMissing {
            self.tell_copies(screen);
        }
        if let Some(text) = &ending.error {
            log::error!("{text}");
            screen.event(&Report::Error { name: Some(self.name()), code: ending.exit, text: text.clone() });
        }
        screen.event(&Report::End(End {
            name: Some(self.name()),
            code: ending.exit,
            path: Some(self.parts.store.path()),
            size: snapshot.bytes,
            have: snapshot.bytes_done,
            fetched: snapshot.fetched,
            mirror: snapshot.mirrored,
            uploaded: snapshot.uploaded,
            seconds: self.now().saturating_sub(began),
            whole_after: match self.stage {
                Stage::Whole { since } => Some(since.saturating_sub(began)),
                _ => None,
            },
            text: ending.error.clone(),
        }));
    }
}
