//! Bencode (BEP 3), read in place and written by hand.
//!
//! Reading checks the whole input once and allocates nothing: a [`Value`] is the slice of the input that it was read
//! from, so a hash can be taken over exactly those bytes. Numbers and lengths are taken in their one right form only;
//! the order of a dictionary's keys is not enforced, because trackers and extension handshakes of other programs do not
//! always keep it (the first of two equal keys counts).
//!
//! What it costs an attacker: nothing is reserved on the word of a length, nesting ends at [`MAX_DEPTH`], and a look-up
//! scans its dictionary once. How long an input may be is for the caller to say, before it is read.

use std::str;

/// Lists and dictionaries inside each other, at most. Deep enough for the file trees of hybrid torrents (BEP 52).
pub const MAX_DEPTH: usize = 64;

/// What is wrong with some bytes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken bencode at byte {at}: {fault}")]
pub struct BencodeError {
    /// Offset into the input, in bytes.
    pub at: usize,
    pub fault: BencodeFault,
}

/// What is wrong with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BencodeFault {
    #[error("it ends too early")]
    Short,
    #[error("no value starts with this byte")]
    Start,
    #[error("a number is not written as it must be")]
    Number,
    #[error("a dictionary's key is not a string")]
    Key,
    #[error("it is nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("something follows the value")]
    Trailing,
}

/// A value whose bytes have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

/// Reads an input that is one value and nothing else.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, BencodeError> {
    let (value, rest) = parse_prefix(bytes)?;
    if rest.is_empty() {
        return Ok(value);
    }
    Err(BencodeError { at: bytes.len() - rest.len(), fault: BencodeFault::Trailing })
}

/// Reads the value that an input starts with; gives what follows it too (BEP 9 puts raw data behind a dictionary).
pub fn parse_prefix(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), BencodeError> {
    let mut scanner = Scanner { bytes, at: 0 };
    let value = scanner.value(MAX_DEPTH)?;
    Ok((value, &bytes[scanner.at..]))
}

impl<'a> Value<'a> {
    /// Exactly the bytes that this value was read from.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// The bytes of a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        if !self.0.first()?.is_ascii_digit() {
            return None;
        }
        let colon = self.0.iter().position(|&b| b == b':')?;
        self.0.get(colon + 1..)
    }

    /// A string that is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer from 0 to 2^64 - 1.
    pub fn as_u64(self) -> Option<u64> {
        self.digits()?.parse().ok()
    }

    /// An integer from -2^63 to 2^63 - 1.
    pub fn as_i64(self) -> Option<i64> {
        self.digits()?.parse().ok()
    }

    /// The values of a list, in order.
    pub fn as_list(self) -> Option<List<'a>> {
        self.body(b'l').map(List)
    }

    /// The dictionary, if it is one.
    pub fn as_dict(self) -> Option<Dict<'a>> {
        self.body(b'd').map(|bytes| Dict { bytes })
    }

    fn digits(self) -> Option<&'a str> {
        str::from_utf8(self.body(b'i')?).ok()
    }

    /// What is between the first byte, if it is this one, and the closing `e`.
    fn body(self, kind: u8) -> Option<&'a [u8]> {
        let (&first, rest) = self.0.split_first()?;
        let (_, body) = rest.split_last()?;
        (first == kind).then_some(body)
    }
}

/// The values of a list.
#[derive(Clone, Debug)]
pub struct List<'a>(&'a [u8]);

impl<'a> Iterator for List<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (value, rest) = parse_prefix(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }
}

/// A dictionary.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a> {
    bytes: &'a [u8],
}

impl<'a> Dict<'a> {
    /// The value of this key; of the first, where a sloppy writer put it twice.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries().find_map(|(k, value)| (k == key.as_bytes()).then_some(value))
    }

    /// Keys and values as they are written.
    pub fn entries(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        let mut values = List(self.bytes);
        std::iter::from_fn(move || Some((values.next()?.as_bytes()?, values.next()?)))
    }
}

/// Appends a string.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Appends an integer.
pub fn write_int(out: &mut Vec<u8>, number: impl Into<i128>) {
    out.extend_from_slice(format!("i{}e", number.into()).as_bytes());
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Passes one value that may hold others `depth` deep.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, BencodeError> {
        let start = self.at;
        match self.peek()? {
            b'i' => self.integer()?,
            b'0'..=b'9' => self.string()?,
            kind @ (b'l' | b'd') => {
                let depth = depth.checked_sub(1).ok_or_else(|| self.fault(BencodeFault::Depth))?;
                self.at += 1;
                while self.peek()? != b'e' {
                    if kind == b'd' {
                        self.key()?;
                    }
                    self.value(depth)?;
                }
                self.at += 1;
            }
            _ => return Err(self.fault(BencodeFault::Start)),
        }
        Ok(Value(&self.bytes[start..self.at]))
    }

    fn key(&mut self) -> Result<(), BencodeError> {
        if !self.peek()?.is_ascii_digit() {
            return Err(self.fault(BencodeFault::Key));
        }
        self.string()
    }

    fn integer(&mut self) -> Result<(), BencodeError> {
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        if self.number(b'e')? == 0 && negative {
            return Err(self.fault(BencodeFault::Number));
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), BencodeError> {
        let len = self.number(b':')?;
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        match end {
            Some(end) if end <= self.bytes.len() => self.at = end,
            _ => return Err(self.fault(BencodeFault::Short)),
        }
        Ok(())
    }

    /// Passes digits without needless zeros, up to 2^64 - 1, and the byte that ends them.
    fn number(&mut self, end: u8) -> Result<u64, BencodeError> {
        let start = self.at;
        let mut number = 0u64;
        while self.peek()? != end {
            let digit = self.peek()?.wrapping_sub(b'0');
            number = number
                .checked_mul(10)
                .and_then(|n| n.checked_add(u64::from(digit)))
                .filter(|_| digit < 10)
                .ok_or_else(|| self.fault(BencodeFault::Number))?;
            self.at += 1;
        }
        let digits = self.at - start;
        if digits == 0 || (digits > 1 && self.bytes[start] == b'0') {
            return Err(self.fault(BencodeFault::Number));
        }
        self.at += 1;
        Ok(number)
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        let byte = self.bytes.get(self.at).copied();
        byte.ok_or_else(|| self.fault(BencodeFault::Short))
    }

    fn fault(&self, fault: BencodeFault) -> BencodeError {
        BencodeError { at: self.at, fault }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Tree {
        Int(i64),
        Bytes(Vec<u8>),
        List(Vec<Tree>),
        Dict(Vec<(Vec<u8>, Tree)>),
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![any::<i64>().prop_map(Tree::Int), bytes().prop_map(Tree::Bytes)];
        leaf.prop_recursive(6, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
                proptest::collection::vec((bytes(), inner), 0..6).prop_map(Tree::Dict),
            ]
        })
    }

    fn write(tree: &Tree, out: &mut Vec<u8>) {
        match tree {
            Tree::Int(n) => write_int(out, *n),
            Tree::Bytes(b) => write_bytes(out, b),
            Tree::List(items) => {
                out.push(b'l');
                items.iter().for_each(|t| write(t, out));
                out.push(b'e');
            }
            Tree::Dict(items) => {
                out.push(b'd');
                for (key, t) in items {
                    write_bytes(out, key);
                    write(t, out);
                }
                out.push(b'e');
            }
        }
    }

    fn same(tree: &Tree, value: Value<'_>) -> bool {
        match tree {
            Tree::Int(n) => value.as_i64() == Some(*n),
            Tree::Bytes(b) => value.as_bytes() == Some(b),
            Tree::List(items) => {
                let list: Vec<_> = value.as_list().into_iter().flatten().collect();
                list.len() == items.len() && items.iter().zip(list).all(|(t, v)| same(t, v))
            }
            Tree::Dict(items) => {
                let dict: Vec<_> = value.as_dict().iter().flat_map(Dict::entries).collect();
                dict.len() == items.len() && (items.iter().zip(dict)).all(|((k, t), (key, v))| k == key && same(t, v))
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tree in tree()) {
            let mut bytes = Vec::new();
            write(&tree, &mut bytes);
            let value = parse(&bytes).unwrap();
            prop_assert!(same(&tree, value));
            prop_assert_eq!(value.raw(), &bytes[..]);
            for end in 0..bytes.len() {
                prop_assert!(parse(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn broken_bytes_never_panic(tree in tree(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = Vec::new();
            write(&tree, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(value) = parse(&bytes) {
                let _ = (value.as_i64(), value.as_u64(), value.as_str());
                let _ = value.as_list().map(Iterator::count);
                let _ = value.as_dict().map(|d| (d.get("a"), d.entries().count()));
            }
        }
    }

    #[test]
    fn only_the_one_right_form_of_a_number_is_taken() {
        for good in ["i0e", "i-1e", "i18446744073709551615e", "0:", "1:x"] {
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "ie",
            "i-e",
            "i-0e",
            "i01e",
            "i+1e",
            "i1",
            "i18446744073709551616e",
            "01:x",
            "2:x",
            "-1:x",
            "18446744073709551615:x",
            ":x",
            "x",
            "",
            "e",
            "l",
            "d1:a",
            "d1:ae",
            "di1ei2ee",
            "i1ei2e",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(parse(b"i-1e").unwrap().as_u64(), None);
        assert_eq!(parse(b"i18446744073709551615e").unwrap().as_i64(), None);
    }

    #[test]
    fn unsorted_keys_are_read() {
        let dict = parse(b"d1:bi1e1:ai2e1:bi3ee").unwrap().as_dict().unwrap();
        assert_eq!(dict.get("a").and_then(Value::as_u64), Some(2));
        assert_eq!(dict.get("b").and_then(Value::as_u64), Some(1));
        assert_eq!(dict.get("c"), None);
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |n: usize| ["l".repeat(n), "e".repeat(n)].concat();
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        let fault = parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().fault;
        assert_eq!(fault, BencodeFault::Depth);
        assert!(parse("d1:a".repeat(1 << 20).as_bytes()).is_err());
    }

    #[test]
    fn what_follows_a_value_is_given() {
        let (value, rest) = parse_prefix(b"de\xffraw").unwrap();
        assert_eq!((value.raw(), rest), (&b"de"[..], &b"\xffraw"[..]));
    }
}
