//! Where on a mirror the files of a composition are (BEP 19).
//!
//! A single file is at the mirror's own address, or under its name where that address ends in `/`; the files of a folder
//! are under `NAME/PATH`. Names are percent-encoded, so that no name leads away from the mirror's folder, let alone its host.

use core::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::manifest::{FilePath, Name};

/// The longest address that is taken, in bytes.
pub const MAX_URL: usize = 4 << 10;
/// How many mirrors of one composition are used; the rest is left out.
pub const MAX_MIRRORS: usize = 16;
/// RFC 3986: everything but the unreserved characters is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An HTTP server that is said to have the bytes of a composition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(Url);

/// Why an address is no mirror's, to be read after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    #[error("longer than 4 KiB")]
    TooLong,
    #[error("not an address of the form http://HOST/PATH or https://HOST/PATH")]
    Form,
    #[error("its scheme is {0}, and only http and https are used")]
    Scheme(String),
    #[error("it has a user name or a password in it, which everybody could read")]
    Password,
    #[error("it has a query (?), and the files of a folder are at addresses below it")]
    Query,
}

impl Mirror {
    /// Reads the address of a mirror of a single file or, `for_folder`, of a folder.
    ///
    /// # Errors
    /// Nothing can be asked there.
    pub fn parse(text: &str, for_folder: bool) -> Result<Self, MirrorError> {
        if text.len() > MAX_URL {
            return Err(MirrorError::TooLong);
        }
        // The parser would leave out what it does not like, and go on.
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(MirrorError::Form);
        }
        let mut url = Url::parse(text).map_err(|_| MirrorError::Form)?;
        if !is_http(&url) {
            return Err(MirrorError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(MirrorError::Password);
        }
        if for_folder && url.query().is_some() {
            return Err(MirrorError::Query);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// Where the composition is, a single file.
    ///
    /// # Errors
    /// The name makes the address too long for its parser.
    pub fn file(&self, name: &Name) -> Result<Url, MirrorError> {
        match self.0.path().ends_with('/') && self.0.query().is_none() {
            true => self.below([name.as_str()].into_iter()),
            false => Ok(self.0.clone()),
        }
    }

    /// Where this file of a folder is.
    ///
    /// # Errors
    /// The path makes the address too long for its parser.
    pub fn file_in(&self, folder: &Name, path: &FilePath) -> Result<Url, MirrorError> {
        self.below([folder.as_str()].into_iter().chain(path.components()))
    }

    fn below<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Url, MirrorError> {
        let mut text = self.0.as_str().trim_end_matches('/').to_owned();
        for name in names {
            text.push('/');
            text.extend(utf8_percent_encode(name, ESCAPED));
        }
        Url::parse(&text).map_err(|_| MirrorError::TooLong)
    }
}

/// The mirror's host, with its port where that is not the usual one: enough for people.
impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Whether requests can go there.
pub fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(mirror: &str, name: &str) -> String {
        let name: Name = name.parse().unwrap();
        Mirror::parse(mirror, false).unwrap().file(&name).unwrap().to_string()
    }

    fn file_in(mirror: &str, folder: &str, path: &str) -> String {
        let (folder, path): (Name, FilePath) = (folder.parse().unwrap(), path.parse().unwrap());
        Mirror::parse(mirror, true).unwrap().file_in(&folder, &path).unwrap().to_string()
    }

    #[test]
    fn addresses_are_joined_as_bep_19_says() {
        for (mirror, joined) in [
            ("http://h/a/b.iso", "http://h/a/b.iso"),
            ("http://h/a/", "http://h/a/x%20%23%3F.iso"),
            ("http://h", "http://h/x%20%23%3F.iso"),
            ("https://h:8443/get?id=7/", "https://h:8443/get?id=7/"),
            ("http://h/a/#part", "http://h/a/x%20%23%3F.iso"),
        ] {
            assert_eq!(file(mirror, "x #?.iso"), joined);
        }
        for mirror in ["http://h/a", "http://h/a/"] {
            assert_eq!(file_in(mirror, "photos", "1/ä%2e.jpg"), "http://h/a/photos/1/%C3%A4%252e.jpg");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_no_mirror() {
        for text in
            ["", "x", "http://", "ftp://h/x", "file:///etc/passwd", "http://u:p@h/", "http://u@h/", "http://h/a b"]
        {
            assert!(Mirror::parse(text, false).is_err(), "{text}");
        }
        for text in ["http://h/\u{1}", "http://h/\nx", "javascript:1", "http:"] {
            assert!(Mirror::parse(text, false).is_err(), "{text}");
        }
        assert!(Mirror::parse(&format!("http://h/{}", "x".repeat(MAX_URL)), false).is_err());
        assert_eq!(Mirror::parse("http://h/?x", true), Err(MirrorError::Query));
        assert!(Mirror::parse("http://h/?x", false).is_ok());
    }

    #[test]
    fn people_are_told_the_host() {
        let shown = |text| Mirror::parse(text, false).unwrap().to_string();
        assert_eq!(shown("http://h:80/secret"), "h");
        assert_eq!(shown("https://[::1]:81/"), "[::1]:81");
    }

    proptest! {
        #[test]
        fn no_name_leads_away_from_the_mirror(
            host in "[a-z]{1,8}(:[1-9][0-9]{1,3})?", base in "(/[a-z0-9.%@:]{0,6}){0,3}",
            name in "\\PC{1,12}", path in "\\PC{1,6}(/\\PC{1,6}){0,3}", odd in "[.%2eEfF\\\\/?#@:]{1,12}",
        ) {
            let Ok(mirror) = Mirror::parse(&format!("http://{host}{base}"), true) else { return Ok(()) };
            let folder = mirror.0.path().trim_end_matches('/').to_owned();
            for (name, path) in [(&name, &path), (&name, &odd), (&odd, &path)] {
                let (Ok(name), Ok(path)) = (name.parse::<Name>(), path.parse::<FilePath>()) else { continue };
                let joined = mirror.file_in(&name, &path).unwrap();
                prop_assert_eq!(joined.origin(), mirror.0.origin());
                prop_assert!(joined.path().starts_with(&format!("{folder}/")), "{}", joined);
                prop_assert_eq!(joined.path().matches('/').count(), folder.matches('/').count() + 1 + path.components().count());
                prop_assert!(joined.query().is_none() && joined.fragment().is_none() && joined.username().is_empty());
                let single = mirror.file(&name).unwrap();
                prop_assert_eq!(single.origin(), mirror.0.origin());
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", near in "https?://[\\[\\]@:./?%a-z0-9]{0,20}") {
            for text in [text, near] {
                for for_folder in [false, true] {
                    if let Ok(mirror) = Mirror::parse(&text, for_folder) {
                        prop_assert!(is_http(&mirror.0) && !mirror.to_string().contains(char::is_control));
                    }
                }
            }
        }
    }
}
