//! What the conductors did last, so that people hear of it once, however many compositions ask the same conductor.

use std::{
    collections::HashMap,
    mem::{Discriminant, discriminant},
    sync::{Mutex, PoisonError},
};

use crate::{discovery::Discovered, manifest::Endpoint};

/// What was told last of each conductor.
#[derive(Default)]
pub struct News(Mutex<HashMap<Endpoint, Discriminant<Discovered>>>);

impl News {
    /// Whether this is new of its conductor; addresses are none of it.
    pub fn is_new(&self, found: &Discovered) -> bool {
        let (Discovered::Reached { conductor }
        | Discovered::Unreachable { conductor, .. }
        | Discovered::Refused { conductor, .. }) = found
        else {
            return false;
        };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(conductor.clone(), discriminant(found)) != Some(discriminant(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_of_one_conductor_is_no_news() {
        let silent = |conductor: &str| {
            let conductor = conductor.parse().unwrap();
            Discovered::Unreachable { conductor, why: String::new() }
        };
        let news = News::default();
        assert!(news.is_new(&silent("a:1")) && news.is_new(&silent("b:1")) && !news.is_new(&silent("a:1")));
        assert!(news.is_new(&Discovered::Reached { conductor: "a:1".parse().unwrap() }));
        assert!(news.is_new(&silent("a:1")) && !news.is_new(&Discovered::Found(Vec::new())));
    }
}
