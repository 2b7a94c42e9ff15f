//! The order of the house: which modules are pure, who opens sockets, how long a file may be, and that `lib.rs` is a
//! true map. Each rule is a function over text, shown here to fail on a bad sample.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Files and folders that know nothing but their arguments.
const PURE: &[&str] = &[
    "src/announce/",
    "src/catalogue/batch.rs",
    "src/catalogue/mod.rs",
    "src/catalogue/place.rs",
    "src/catalogue/token.rs",
    "src/choker/",
    "src/cli/only.rs",
    "src/cli/units.rs",
    "src/conductor/allowance.rs",
    "src/conductor/catalogue/coming.rs",
    "src/conductor/catalogue/copies.rs",
    "src/conductor/catalogue/gate.rs",
    "src/conductor/catalogue/index.rs",
    "src/conductor/catalogue/writers.rs",
    "src/conductor/connection_id.rs",
    "src/conductor/history.rs",
    "src/conductor/page/changes.rs",
    "src/conductor/page/html.rs",
    "src/conductor/page/join.rs",
    "src/conductor/page/query.rs",
    "src/conductor/page/view.rs",
    "src/conductor/policy.rs",
    "src/conductor/shared/glimpse.rs",
    "src/conductor/shared/sighting.rs",
    "src/conductor/shared/unsent.rs",
    "src/conductor/table/",
    "src/discovery/dht/announced.rs",
    "src/discovery/dht/krpc.rs",
    "src/discovery/dht/lookup.rs",
    "src/discovery/dht/node.rs",
    "src/discovery/dht/table.rs",
    "src/discovery/lan/manners.rs",
    "src/discovery/lan/packet.rs",
    "src/geometry.rs",
    "src/manifest/",
    "src/member/ask/merged.rs",
    "src/member/ask/summary.rs",
    "src/member/ask/turns.rs",
    "src/member/menu/frame.rs",
    "src/member/menu/list.rs",
    "src/member/menu/state.rs",
    "src/member/narrow.rs",
    "src/member/search/findings.rs",
    "src/member/until.rs",
    "src/metainfo/",
    "src/mirror/address.rs",
    "src/mirror/answer.rs",
    "src/mirror/layout.rs",
    "src/mirror/mod.rs",
    "src/mirror/pace.rs",
    "src/net/limiter.rs",
    "src/net/network.rs",
    "src/net/range.rs",
    "src/peer/gather.rs",
    "src/peer/liveness.rs",
    "src/peer/mod.rs",
    "src/peer/rates.rs",
    "src/peer/requests.rs",
    "src/peer/session.rs",
    "src/peer/uploads.rs",
    "src/picker/",
    "src/search/",
    "src/storage/selection.rs",
    "src/storage/zeros.rs",
    "src/swarm/",
    "src/time.rs",
    "src/ui/frame.rs",
    "src/ui/part_map.rs",
    "src/wire/",
];

/// What a pure module does not name.
const IMPURE: &[&str] =
    &["tokio", "std::net", "std::fs", "std::thread", "Instant::now", "SystemTime::now", "rand", "fastrand::Rng::new"];

/// Files and folders that may open sockets.
const ON_THE_NETWORK: &[&str] = &[
    "src/catalogue/client.rs",
    "src/conductor/",
    "src/discovery/",
    "src/mirror/client.rs",
    "src/net/",
    "src/peer/dial.rs",
    "src/peer/driver.rs",
    "src/peer/receive.rs",
    "src/peer/socket.rs",
    "src/peer/transmit.rs",
];

/// What opens a socket.
const SOCKETS: &[&str] = &[
    "TcpListener",
    "TcpSocket",
    "TcpStream::connect",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "reqwest",
    "socket2",
];

/// Lines of code in a file, comments, blank lines and tests not counted.
const LONGEST: usize = 400;

#[test]
fn pure_modules_are_pure() {
    let pure: Vec<Source> = sources().into_iter().filter(|source| source.is_in(PURE)).collect();
    let missing: Vec<_> = PURE.iter().filter(|place| !pure.iter().any(|source| source.is_in(&[place]))).collect();
    assert!(missing.is_empty(), "the list of pure modules names what is not there: {missing:?}");
    let wrong: Vec<String> = pure.iter().flat_map(|source| source.complaints(IMPURE)).collect();
    assert!(wrong.is_empty(), "pure modules take time, dice and data as arguments:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_edges_open_sockets() {
    let inner = sources().into_iter().filter(|source| !source.is_in(ON_THE_NETWORK));
    let wrong: Vec<String> = inner.flat_map(|source| source.complaints(SOCKETS)).collect();
    assert!(wrong.is_empty(), "sockets are opened in {ON_THE_NETWORK:?} alone:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let wrong: Vec<String> = sources()
        .iter()
        .map(|source| (code(&source.text).len(), &source.path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{path}: {lines} lines of code"))
        .collect();
    assert!(wrong.is_empty(), "what are its two halves called?\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let wrong: Vec<String> = sources().into_iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path).collect();
    assert!(wrong.is_empty(), "these begin without a //! comment:\n{}", wrong.join("\n"));
}

#[test]
fn lib_names_each_module() {
    let modules: BTreeSet<String> = sources().iter().filter_map(|source| module(&source.path)).collect();
    let map = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let wrong = unnamed(&map, &modules);
    assert!(wrong.is_empty(), "src/lib.rs does not declare and describe: {wrong:?}");
}

struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.ends_with('/') {
            true => self.path.starts_with(place),
            false => self.path == *place,
        })
    }

    fn complaints(&self, words: &[&str]) -> Vec<String> {
        words.iter().filter(|word| names(&self.text, word)).map(|word| format!("{}: {word}", self.path)).collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All of `src/`, less files of tests.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.extend((!path.ends_with("tests")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "tests.rs") {
                found.push(source(&path));
            }
        }
    }
    found
}

fn source(path: &Path) -> Source {
    let inside = path.strip_prefix(root()).expect("below the root");
    let names: Vec<_> = inside.iter().map(|name| name.to_string_lossy()).collect();
    Source { path: names.join("/"), text: fs::read_to_string(path).expect("UTF-8") }
}

/// The module of the library that this file belongs to; none for `lib.rs` and the programs.
fn module(path: &str) -> Option<String> {
    let name = path.strip_prefix("src/")?.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (name != "lib" && name != "bin").then(|| name.to_owned())
}

/// The modules that this map does not both declare and describe.
fn unnamed(map: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let described: String = map.lines().filter(|line| line.starts_with("//!")).collect();
    let missing = |module: &&String| !map.contains(&format!("pub mod {module};")) || !has_word(&described, module);
    modules.iter().filter(missing).cloned().collect()
}

/// The lines of code: without comments, blank lines and what stands under `#[cfg(test)]`.
fn code(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare == "#[cfg(test)]" {
            skip_item(&mut lines, &line[..line.len() - bare.len()]);
        } else if !bare.is_empty() && !bare.starts_with("//") {
            kept.push(line.split(" // ").next().unwrap_or(line));
        }
    }
    kept
}

/// Skips the item that begins here, formatted by rustfmt: to a line that ends it, or the brace below its first letter.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>, indent: &str) {
    let mut first = lines.by_ref().skip_while(|line| line.trim_start().starts_with("#["));
    if first.next().is_some_and(|line| !line.ends_with(';') && !line.ends_with('}')) {
        let last = format!("{indent}}}");
        lines.find(|line| *line == last);
    }
}

/// Whether this code names this path, written out or in a tree of `use`.
fn names(text: &str, path: &str) -> bool {
    let code = code(text).join("\n");
    has_word(&code, path) || uses(&code).iter().any(|used| has_word(used, path))
}

/// Whether the word stands in the text, not as a piece of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part_of_word) && !text[at + word.len()..].starts_with(part_of_word))
}

/// Every path that a `use` brings in, trees multiplied out.
fn uses(code: &str) -> Vec<String> {
    let statements = code.split(';').filter_map(|statement| {
        let (before, tree) = statement.rsplit_once("use ")?;
        let is_use = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        is_use.then(|| tree.split_whitespace().collect::<String>())
    });
    statements.flat_map(|tree| multiplied(&tree)).collect()
}

fn multiplied(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    branches(inside).iter().flat_map(|branch| multiplied(branch)).map(|branch| format!("{before}{branch}")).collect()
}

/// What commas separate, those within braces not counted.
fn branches(inside: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inside[start..]);
    found
}

#[test]
fn a_bad_sample_is_found() {
    for (bad, word) in [
        ("use std::fs;", "std::fs"),
        ("use std::{\n    collections::BTreeMap,\n    fs::{self, File},\n};", "std::fs"),
        ("pub use std::{io, net::IpAddr};", "std::net"),
        ("pub(crate) use std::{io, net::IpAddr};", "std::net"),
        ("use core::fmt;\n\nuse std::{net};\n", "std::net"),
        ("fn f() { let t = std::time::Instant::now(); }", "Instant::now"),
        ("fn f() -> u8 { rand::random() }", "rand"),
        ("fn f() { tokio::spawn(g()); }", "tokio"),
        ("#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n\nfn g() { tokio::spawn(g()); }", "tokio"),
        ("#[cfg(test)]\nmod tests;\n\nuse std::fs;", "std::fs"),
    ] {
        assert!(names(bad, word), "{word} was not found in:\n{bad}");
    }
}

#[test]
fn a_good_sample_passes() {
    for (good, word) in [
        ("// use std::fs;", "std::fs"),
        ("/// As tokio does.\nfn f() {}", "tokio"),
        ("use core::net::IpAddr;", "std::net"),
        ("use fastrand::Rng;", "rand"),
        ("use std::{fmt, mem};", "std::fs"),
        ("fn f() {} // not tokio", "tokio"),
        ("fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}", "std::fs"),
        ("#[cfg(test)]\n#[allow(x)]\nuse std::fs;\nfn f() {}", "std::fs"),
    ] {
        assert!(!names(good, word), "{word} was found in:\n{good}");
    }
}

#[test]
fn only_code_is_counted() {
    let text = "//! Module.\n\nfn f() {\n    // why\n    g();\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
    assert_eq!(code(text).len(), 3);
}

#[test]
fn a_module_that_the_map_lacks_is_found() {
    let modules = BTreeSet::from(["one".to_owned(), "two".to_owned(), "three".to_owned()]);
    let map = "//! `one` and `three`\n\npub mod one;\npub mod two;\n";
    assert_eq!(unnamed(map, &modules), ["three", "two"]);
}
