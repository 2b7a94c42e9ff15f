//! How much went to whom, of one composition: counted while a conversation lasts, written down when it is over.

use std::collections::HashMap;

use tokio::task::JoinHandle;

use super::history::{self, Record, What};
use crate::{
    metainfo::InfoHash,
    peer::{Event, PeerKey},
};

pub struct Ledger {
    name: String,
    info_hash: InfoHash,
    /// Bytes that went there, by conversation.
    sent: HashMap<PeerKey, u64>,
    /// What is to be written down.
    over: Vec<Record>,
    writing: Option<JoinHandle<()>>,
}

impl Ledger {
    pub fn new(name: &str, info_hash: InfoHash) -> Self {
        Self { name: name.to_owned(), info_hash, sent: HashMap::new(), over: Vec::new(), writing: None }
    }

    /// Something happened in a conversation; `who`: its other side, for people.
    pub fn hear(&mut self, key: PeerKey, event: &Event, who: impl FnOnce() -> String) {
        match event {
            Event::Uploaded(bytes) => *self.sent.entry(key).or_default() += u64::from(*bytes),
            Event::Closed(_) => {
                if let Some(bytes) = self.sent.remove(&key) {
                    self.note(bytes, What::Sent { to: who() });
                }
            }
            _ => {}
        }
    }

    /// It is whole; or it came or went otherwise.
    pub fn note(&mut self, bytes: u64, what: What) {
        self.over.push(Record::new(&self.name, Some(self.info_hash), bytes, what));
    }

    /// To be called now and then: writes down what is over, on a thread of its own.
    pub fn tick(&mut self) {
        let is_busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if !self.over.is_empty() && !is_busy {
            let over = std::mem::take(&mut self.over);
            self.writing = Some(tokio::task::spawn_blocking(move || history::note(&over)));
        }
    }

    /// Ends all conversations; gives what is still to be written down.
    pub fn end(&mut self, who: impl Fn(PeerKey) -> String) -> Vec<Record> {
        for (key, bytes) in std::mem::take(&mut self.sent) {
            self.note(bytes, What::Sent { to: who(key) });
        }
        std::mem::take(&mut self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Closed;

    #[test]
    fn each_conversation_is_one_line() {
        let mut ledger = Ledger::new("x", InfoHash([1; 20]));
        let who = |key: PeerKey| format!("ws-{}", key.0);
        for (key, event) in [
            (1, Event::Uploaded(10)),
            (2, Event::Uploaded(5)),
            (1, Event::Uploaded(7)),
            (1, Event::Closed(Closed::ByThem)),
            (3, Event::Closed(Closed::ByThem)),
        ] {
            ledger.hear(PeerKey(key), &event, || who(PeerKey(key)));
        }
        let over = ledger.end(who);
        let lines: Vec<_> = over.iter().map(|record| (record.bytes, record.what.clone())).collect();
        let to = |name: &str| What::Sent { to: name.to_owned() };
        assert_eq!(lines, [(17, to("ws-1")), (5, to("ws-2"))]);
        assert!(ledger.end(who).is_empty());
    }
}
