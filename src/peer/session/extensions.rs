//! What a conversation says and hears in the envelope of BEP 10: who is who, the metadata (BEP 9), and whom
//! each has met (BEP 11).

use super::{BUSY_KEEP_ALIVE, Fault, MAX_METADATA_QUEUE, MAX_PROMISE, MAX_REQUEST, QUEUE, Session};
use crate::{
    geometry::BLOCK,
    peer::{Event, Hello, talk::CLIENT, uploads},
    time::Time,
    wire::{
        copy_id::CopyId,
        extension::{self, handshake::ExtensionHandshake, metadata, pex::Exchange},
        machine_id::MachineId,
        message::Message,
    },
};

/// The part of our handshake that is said once in a conversation.
pub(super) struct First {
    pub port: u16,
    pub name: String,
    pub copy: Option<CopyId>,
    pub machine: Option<MachineId>,
}

impl Session {
    pub(super) fn say_hello(&mut self, first: Option<First>, complete: bool) {
        let (port, copy, machine) = first.as_ref().map_or((None, None, None), |f| (Some(f.port), f.copy, f.machine));
        let hello = ExtensionHandshake {
            ut_metadata: (!self.info.is_empty()).then_some(extension::OUR_METADATA),
            offer: Some(extension::OUR_OFFER),
            // That is said to neighbours alone, on links of their own.
            search: None,
            ut_pex: Some(extension::OUR_PEX),
            metadata_size: u32::try_from(self.info.len()).ok().filter(|n| *n > 0),
            port,
            reqq: Some(uploads::MAX_QUEUE as u32),
            upload_only: complete,
            client: Some(CLIENT.to_owned()),
            your_ip: Some(self.remote.address.ip()),
            max_request: Some(MAX_REQUEST),
            alive: u32::try_from(BUSY_KEEP_ALIVE.as_secs()).ok(),
            name: first.map(|first| first.name),
            copy,
            machine,
        };
        self.messages.push_back(Message::Extended { id: extension::HANDSHAKE, payload: hello.encode() });
    }

    pub(super) fn on_extended(&mut self, id: u8, payload: &[u8], now: Time) -> Result<(), Fault> {
        match id {
            extension::HANDSHAKE => {
                let hello = ExtensionHandshake::decode(payload).map_err(|e| Fault(e.to_string()))?;
                self.on_hello(hello);
            }
            extension::OUR_METADATA => self.on_metadata(payload)?,
            extension::OUR_OFFER => self.events.push_back(Event::Offer),
            // One who says more than can be news is not listened to.
            extension::OUR_PEX if self.hearsay.bears_another(now) => {
                let exchange = Exchange::decode(payload).map_err(|e| Fault(e.to_string()))?;
                self.events.push_back(Event::Exchange(exchange));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_hello(&mut self, hello: ExtensionHandshake) {
        if let Some(id) = hello.ut_metadata {
            self.their_metadata = Some(id).filter(|id| *id > 0);
        }
        if let Some(id) = hello.offer {
            self.their_offer = Some(id).filter(|id| *id > 0);
        }
        if let Some(id) = hello.ut_pex {
            self.their_pex = Some(id).filter(|id| *id > 0);
        }
        if let Some(queue) = hello.reqq {
            self.their_queue = (queue as usize).clamp(1, QUEUE.1);
        }
        if let Some(seconds) = hello.alive {
            self.prompt = (1..=MAX_PROMISE).contains(&seconds);
        }
        if let Some(longest) = hello.max_request {
            self.max_request = longest.clamp(BLOCK, MAX_REQUEST);
        }
        self.events.push_back(Event::Hello(Hello {
            client: hello.client.unwrap_or_default(),
            name: hello.name,
            copy: hello.copy,
            machine: hello.machine,
            port: hello.port.filter(|p| *p > 0),
            max_request: hello.max_request.map(|_| self.max_request),
            exchange: self.their_pex.is_some(),
        }));
    }

    pub(super) fn say_offer(&mut self) {
        if let Some(id) = self.their_offer {
            self.messages.push_back(Message::Extended { id, payload: Vec::new() });
        }
    }

    pub(super) fn say_exchange(&mut self, exchange: &Exchange) {
        if let Some(id) = self.their_pex {
            self.messages.push_back(Message::Extended { id, payload: exchange.encode() });
        }
    }

    fn on_metadata(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let message = metadata::Metadata::decode(payload).map_err(|e| Fault(e.to_string()))?;
        let (metadata::Metadata::Request { piece }, Some(id)) = (message, self.their_metadata) else {
            return Ok(());
        };
        let start = u64::from(piece) * u64::from(metadata::PIECE);
        let bytes = usize::try_from(start).ok().and_then(|s| self.info.get(s..)).filter(|b| !b.is_empty());
        let answer = match bytes.filter(|_| self.metadata_waiting < MAX_METADATA_QUEUE) {
            Some(rest) => {
                let bytes = rest[..rest.len().min(metadata::PIECE as usize)].to_vec();
                metadata::Metadata::Data { piece, total: self.info.len() as u32, bytes }
            }
            None => metadata::Metadata::Reject { piece },
        };
        self.metadata_waiting += 1;
        self.messages.push_back(Message::Extended { id, payload: answer.encode() });
        Ok(())
    }
}
