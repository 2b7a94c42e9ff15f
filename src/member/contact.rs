//! Whom this member has reached so far, which says what it waits for and how it ends when it gives up.

use crate::{discovery::Discovered, manifest::Endpoint, member::report::Reach};

pub struct Contact {
    conductors: usize,
    /// A conductor took us at some time.
    taken: bool,
    /// A member was admitted at some time.
    met: bool,
    /// The conductors whose last answer was a refusal.
    refusing: Vec<Endpoint>,
}

impl Contact {
    pub fn new(conductors: usize) -> Self {
        Self { conductors, taken: false, met: false, refusing: Vec::new() }
    }

    pub fn met(&mut self) {
        self.met = true;
    }

    pub fn hear(&mut self, found: &Discovered) {
        let (Discovered::Reached { conductor }
        | Discovered::Unreachable { conductor, .. }
        | Discovered::Refused { conductor, .. }) = found
        else {
            return;
        };
        self.refusing.retain(|other| other != conductor);
        match found {
            Discovered::Refused { .. } => self.refusing.push(conductor.clone()),
            Discovered::Reached { .. } => self.taken = true,
            _ => {}
        }
    }

    pub fn reach(&self) -> Reach {
        match self.conductors {
            _ if self.met => Reach::Somebody,
            0 => Reach::NoConductor,
            all if self.refusing.len() == all => Reach::Refused,
            _ if self.taken => Reach::Somebody,
            _ => Reach::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_follows_what_is_heard() {
        let conductor: Endpoint = "one:1".parse().unwrap();
        let other: Endpoint = "two:1".parse().unwrap();
        let refused = |conductor: &Endpoint| Discovered::Refused { conductor: conductor.clone(), why: "full".into() };
        let silent = |conductor: &Endpoint| Discovered::Unreachable { conductor: conductor.clone(), why: "".into() };
        let mut contact = Contact::new(2);
        assert_eq!(contact.reach(), Reach::Nobody);
        contact.hear(&refused(&conductor));
        contact.hear(&refused(&conductor));
        assert_eq!(contact.reach(), Reach::Nobody);
        contact.hear(&refused(&other));
        assert_eq!(contact.reach(), Reach::Refused);
        contact.hear(&silent(&other));
        assert_eq!(contact.reach(), Reach::Nobody);
        contact.hear(&Discovered::Reached { conductor: other.clone() });
        assert_eq!(contact.reach(), Reach::Somebody);
        contact.hear(&refused(&other));
        assert_eq!(contact.reach(), Reach::Refused);
        contact.met();
        assert_eq!(contact.reach(), Reach::Somebody);
        assert_eq!(Contact::new(0).reach(), Reach::NoConductor);
    }
}
