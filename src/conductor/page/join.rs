//! How a composition is joined, as HTML: the command, the magnet link, the files, and buttons that copy.

use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;

use super::view::{Composition, Orchestra};
use crate::{
    catalogue::{
        Key,
        place::{ESCAPED, ROOT},
    },
    manifest::Endpoint,
    metainfo::Magnet,
};

pub fn join(view: &Composition, here: Option<&Endpoint>) -> Markup {
    let orchestra = &view.orchestra;
    let line = here.map(|here| match &orchestra.entry {
        Some(_) => format!("member get {here}/{}", typed(&view.key)),
        None => format!("member '{}'", magnet(orchestra, Some(here))),
    });
    html! {
        @if let Some(line) = line {
            p { label for="line" { "Type this to fetch and share it" } }
            p class="copied" { input id="line" class="line" readonly value=(line); " " (copy("line", "Copy the command")) }
        }
        p class="links" {
            a id="magnet" href=(magnet(orchestra, here)) { "Magnet link" } (copy("magnet", "Copy the magnet link"))
            @if let Some(entry) = &orchestra.entry {
                a href={ (ROOT) "/" (orchestra.hash) ".orch" } download { "Manifest (.orch)" }
                @if entry.parts > 0 { a href={ (ROOT) "/" (orchestra.hash) ".torrent" } download { "Torrent (.torrent)" } }
            }
        }
    }
}

/// A button that copies what the element of this id holds; shown where a script can do it.
pub fn copy(id: &str, label: &str) -> Markup {
    html! { button type="button" class="copy" data-copy=(id) aria-label=(label) hidden { "Copy" } }
}

/// The key as it is typed: a name only where no shell makes something else of it.
fn typed(key: &Key) -> String {
    match key {
        Key::Name(name) if name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b)) => {
            name.as_str().to_owned()
        }
        Key::Name(name) => format!("'{}'", name.as_str().replace('\'', r"'\''")),
        Key::Hash(hash) => hash.to_string(),
        Key::Owned { owner, name } => format!("{owner}/{}", utf8_percent_encode(name.as_str(), ESCAPED)),
    }
}

fn magnet(orchestra: &Orchestra, here: Option<&Endpoint>) -> String {
    let magnet = Magnet {
        name: orchestra.entry.as_ref().map(|entry| entry.name.as_str().to_owned()),
        size: orchestra.entry.as_ref().map(|entry| entry.size),
        trackers: here.and_then(Endpoint::tracker_url).into_iter().collect(),
        ..Magnet::new(orchestra.hash)
    };
    magnet.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;

    #[test]
    fn a_line_to_type_means_the_same_to_a_shell() {
        let typed = |name: &str| super::typed(&Key::Name(Name::new(name).unwrap()));
        assert_eq!(typed("vm-1.0.qcow2"), "vm-1.0.qcow2");
        assert_eq!(typed("a $(b) 'c'"), r"'a $(b) '\''c'\'''");
    }
}
