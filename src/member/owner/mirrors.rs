//! What the owner does with what mirrors tell.

use super::Owner;
use crate::{
    member::teller::Teller,
    mirror::{Event, Failure},
    peer::PeerKey,
    swarm::Input,
    ui::Report,
};

impl Owner {
    pub(super) fn on_mirror(&mut self, key: PeerKey, events: Vec<Event>, screen: &Teller) {
        let mirror = self.parts.mirrors.name(key);
        for event in events {
            match &event {
                Event::Received(_) => self.lookout.contact.met(),
                Event::Right(part) => {
                    self.parts.mirrors.works(key);
                    screen.verbose(&format!("part {} from {mirror}", part.get() + 1));
                }
                Event::Wrong { part, .. } => {
                    self.warn(format!("part {} from {mirror} is wrong: asking again", part.get() + 1), screen);
                }
                Event::Released(_) => {}
                Event::Over { first, .. } => self.parts.mirrors.over(key, *first),
            }
            self.hear(Input::Mirror(key, event));
        }
    }

    /// A mirror is not asked any more, or not for a while.
    pub(super) fn on_mirror_failed(&mut self, key: PeerKey, failure: &Failure, screen: &Teller) {
        let mirror = self.parts.mirrors.name(key);
        match failure {
            Failure::Never(why) => self.warn(format!("{mirror} is not asked any more: {why}"), screen),
            Failure::Later(why) if self.parts.mirrors.is_news(key) => {
                self.warn(format!("{mirror} does not help for now: {why}; it is tried again, members go on"), screen);
            }
            Failure::Later(why) => log::info!("{mirror}: {why}"),
        }
    }

    fn warn(&self, text: String, screen: &Teller) {
        log::warn!("{text}");
        screen.event(&Report::Warning { name: Some(self.name()), text });
    }
}
