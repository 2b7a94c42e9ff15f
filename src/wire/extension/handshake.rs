//! The extension handshake (BEP 10): what each side can do beyond BEP 3, and what it says of itself.

use core::net::IpAddr;

use crate::{
    metainfo::bencode::{self, Dict, Value, write_bytes, write_int},
    wire::{copy_id::CopyId, machine_id::MachineId},
};

/// A program's name is cut to this many bytes, in both directions.
const MOST_CLIENT: usize = 100;

/// One side's dictionary. It may come again later in a conversation; what is not there then has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// The number under which the sender wants metadata messages (BEP 9). `Some(0)`: not any more.
    pub ut_metadata: Option<u8>,
    /// The number under which the sender wants peer exchange (BEP 11). `Some(0)`: not any more.
    pub ut_pex: Option<u8>,
    /// `oc_offer`: the number under which one of our own members hears that the other has little to send.
    pub offer: Option<u8>,
    /// `oc_search`: the number under which a neighbour wants questions and answers.
    pub search: Option<u8>,
    /// Length of the info dictionary in bytes.
    pub metadata_size: Option<u32>,
    /// The port that the sender listens on.
    pub port: Option<u16>,
    /// How many requests the sender keeps in its queue.
    pub reqq: Option<u32>,
    /// The sender wants nothing.
    pub upload_only: bool,
    /// Name and version of the sender's program; at most 100 bytes are written.
    pub client: Option<String>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// `oc_maxreq`: our own members take requests of up to this many bytes.
    pub max_request: Option<u32>,
    /// `oc_alive`: while either side has requests outstanding, the sender says something at least once in so many seconds.
    pub alive: Option<u32>,
    /// `oc_name`: how people see one of our own members; at most 100 bytes are written.
    pub name: Option<String>,
    /// `oc_copy`: which copy one of our own members holds.
    pub copy: Option<CopyId>,
    /// `oc_machine`: the machine that one of our own members runs on.
    pub machine: Option<MachineId>,
}

/// It is no bencoded dictionary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its extension handshake is no bencoded dictionary")]
pub struct Malformed;

impl ExtensionHandshake {
    /// As the payload of message 20, number 0. Keys are sorted and nothing is negative, as strict readers want it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"d1:md".to_vec();
        integer("oc_offer", self.offer, &mut out);
        integer("oc_search", self.search, &mut out);
        integer("ut_metadata", self.ut_metadata, &mut out);
        integer("ut_pex", self.ut_pex, &mut out);
        out.push(b'e');
        integer("metadata_size", self.metadata_size, &mut out);
        integer("oc_alive", self.alive, &mut out);
        if let Some(copy) = &self.copy {
            string("oc_copy", &copy.0, &mut out);
        }
        if let Some(machine) = &self.machine {
            string("oc_machine", &machine.0, &mut out);
        }
        integer("oc_maxreq", self.max_request, &mut out);
        if let Some(name) = &self.name {
            string("oc_name", cut(name).as_bytes(), &mut out);
        }
        integer("p", self.port, &mut out);
        integer("reqq", self.reqq, &mut out);
        // Never 0: Transmission looks whether the key is there, not at its value.
        integer("upload_only", self.upload_only.then_some(1u8), &mut out);
        if let Some(client) = &self.client {
            string("v", cut(client).as_bytes(), &mut out);
        }
        match self.your_ip {
            Some(IpAddr::V4(ip)) => string("yourip", &ip.octets(), &mut out),
            Some(IpAddr::V6(ip)) => string("yourip", &ip.octets(), &mut out),
            None => {}
        }
        out.push(b'e');
        out
    }

    /// # Errors
    /// Only where the whole is no dictionary; a value of a foreign type counts as not there.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        // Some clients put bytes behind the dictionary; they mean nothing.
        let (value, _) = bencode::parse_prefix(payload).map_err(|_| Malformed)?;
        let dict = value.as_dict().ok_or(Malformed)?;
        let names = dict.get("m").and_then(Value::as_dict);
        let extension = |name| names.as_ref().and_then(|names| number(names, name));
        Ok(Self {
            offer: extension("oc_offer"),
            search: extension("oc_search"),
            ut_metadata: extension("ut_metadata"),
            ut_pex: extension("ut_pex"),
            metadata_size: number(&dict, "metadata_size"),
            port: number(&dict, "p").filter(|&port| port != 0),
            reqq: number(&dict, "reqq"),
            upload_only: number(&dict, "upload_only").is_some_and(|n: u64| n != 0),
            client: dict.get("v").and_then(Value::as_bytes).map(client),
            your_ip: dict.get("yourip").and_then(Value::as_bytes).and_then(ip),
            max_request: number(&dict, "oc_maxreq"),
            alive: number(&dict, "oc_alive"),
            name: dict.get("oc_name").and_then(Value::as_bytes).map(client),
            copy: dict.get("oc_copy").and_then(Value::as_bytes).and_then(CopyId::from_bytes),
            machine: dict.get("oc_machine").and_then(Value::as_bytes).and_then(MachineId::from_bytes),
        })
    }
}

fn integer(key: &str, value: Option<impl Into<i128>>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        write_bytes(out, key.as_bytes());
        write_int(out, value);
    }
}

fn string(key: &str, value: &[u8], out: &mut Vec<u8>) {
    write_bytes(out, key.as_bytes());
    write_bytes(out, value);
}

fn number<T: TryFrom<u64>>(dict: &Dict<'_>, key: &str) -> Option<T> {
    T::try_from(dict.get(key)?.as_u64()?).ok()
}

/// A name from outside, as text of bounded length.
fn client(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(MOST_CLIENT)];
    cut(&String::from_utf8_lossy(bytes)).to_owned()
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= MOST_CLIENT).last();
    &text[..end.unwrap_or(0)]
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_handshake()(
            ids in any::<(Option<u8>, Option<u8>, Option<u8>, Option<u8>)>(),
            numbers in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
            port in proptest::option::of(1u16..),
            upload_only: bool,
            client in proptest::option::of("\\PC{0,20}"),
            your_ip: Option<IpAddr>,
            name in proptest::option::of("\\PC{0,20}"),
            words: (Option<[u8; 8]>, Option<[u8; 8]>),
        ) -> ExtensionHandshake {
            ExtensionHandshake {
                ut_metadata: ids.0,
                ut_pex: ids.1,
                offer: ids.2,
                search: ids.3,
                metadata_size: numbers.0,
                port,
                reqq: numbers.1,
                upload_only,
                client,
                your_ip,
                max_request: numbers.2,
                alive: numbers.3,
                name,
                copy: words.0.map(CopyId),
                machine: words.1.map(MachineId),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(hello in any_handshake()) {
            prop_assert_eq!(ExtensionHandshake::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn broken_bytes_never_panic(hello in any_handshake(), at: prop::sample::Index, byte: u8) {
            let mut bytes = hello.encode();
            for end in 0..bytes.len() {
                prop_assert_eq!(ExtensionHandshake::decode(&bytes[..end]), Err(Malformed));
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = ExtensionHandshake::decode(&bytes);
        }
    }

    #[test]
    fn values_of_foreign_types_count_as_not_there() {
        let odd = b"d1:vi5e7:oc_copy3:abc10:oc_machinei7e1:pi-1e4:reqq3:abc6:yourip3:abc1:md6:ut_pex2:xx11:ut_metadatai300eee";
        let hello = ExtensionHandshake::decode(odd).unwrap();
        assert_eq!(hello, ExtensionHandshake::default());
        assert!(ExtensionHandshake::decode(b"i5e").is_err());
    }

    #[test]
    fn names_are_cut_between_characters() {
        let hello = ExtensionHandshake { client: Some("x".to_owned() + &"ä".repeat(80)), ..Default::default() };
        let client = ExtensionHandshake::decode(&hello.encode()).unwrap().client;
        assert_eq!(client.map(|c| c.len()), Some(99));
    }

    #[test]
    fn keys_are_sorted() {
        let hello = ExtensionHandshake {
            ut_metadata: Some(2),
            ut_pex: Some(1),
            offer: Some(3),
            search: Some(4),
            metadata_size: Some(5),
            port: Some(6),
            reqq: Some(7),
            upload_only: true,
            client: Some("c".into()),
            your_ip: Some([1, 2, 3, 4].into()),
            max_request: Some(8),
            alive: Some(9),
            name: Some("n".into()),
            copy: Some(CopyId(*b"01234567")),
            machine: Some(MachineId(*b"89012345")),
        };
        let expected =
            b"d1:md8:oc_offeri3e9:oc_searchi4e11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei5e8:oc_alivei9e7:oc_copy8:01234567\
            10:oc_machine8:890123459:oc_maxreqi8e7:oc_name1:n1:pi6e4:reqqi7e11:upload_onlyi1e1:v1:c6:yourip4:\x01\x02\x03\x04e";
        assert_eq!(hello.encode(), expected);
    }
}
