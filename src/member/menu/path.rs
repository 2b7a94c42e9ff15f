//! A path as people type it: `~` is their home, and Tab completes it as a shell does. Blocks.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Names that are shown where several are meant.
const MOST: usize = 8;

/// The path that was typed.
pub fn typed(text: &str) -> PathBuf {
    let text = text.trim();
    let home = || env::var_os("HOME").map(PathBuf::from);
    match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match home() {
            Some(home) => home.join(rest.trim_start_matches('/')),
            None => text.into(),
        },
        _ => text.into(),
    }
}

/// What was typed with as much more as is certain, and the names that it may mean where there are several.
pub fn completed(text: &str) -> (String, Vec<String>) {
    let (folder, start) = match text.rfind('/') {
        Some(at) => (&text[..=at], &text[at + 1..]),
        None => ("", text),
    };
    let mut names = match folder {
        "" => named(Path::new("."), start),
        folder => named(&typed(folder), start),
    };
    names.sort();
    let common = names.iter().skip(1).fold(names.first().cloned().unwrap_or_default(), |so_far, name| {
        let same = so_far.chars().zip(name.chars()).take_while(|(one, other)| one == other);
        same.map(|(one, _)| one).collect()
    });
    let completed = format!("{folder}{}", if names.is_empty() { start } else { &common });
    if names.len() < 2 {
        names.clear();
    }
    names.truncate(MOST);
    (completed, names)
}

/// What in this folder begins so, a folder with a `/` behind it; hidden ones only where a dot was typed.
fn named(folder: &Path, start: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let is_meant = name.starts_with(start) && (start.starts_with('.') || !name.starts_with('.'));
        // A link to a folder is one as well.
        let slash = if entry.path().is_dir() { "/" } else { "" };
        is_meant.then(|| name + slash)
    };
    entries.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_what_is_certain() {
        let place = tempfile::tempdir().unwrap();
        let root = format!("{}/", place.path().display());
        fs::create_dir(place.path().join("isos")).unwrap();
        for name in ["iso-list", "vm.qcow2", ".hidden"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        let complete = |text: &str| {
            let (completed, names) = completed(&format!("{root}{text}"));
            (completed.strip_prefix(&root).unwrap().to_owned(), names.len())
        };
        for (text, completed, several) in [
            ("v", "vm.qcow2", 0),
            ("i", "iso", 2),
            ("isos", "isos/", 0),
            ("x", "x", 0),
            ("", "", 3),
            (".", ".hidden", 0),
        ] {
            assert_eq!(complete(text), (completed.to_owned(), several), "{text:?}");
        }
    }

    #[test]
    fn home_is_a_tilde() {
        if let Some(home) = env::var_os("HOME") {
            assert_eq!(typed("~/x"), Path::new(&home).join("x"));
            assert_eq!(typed("~"), Path::new(&home));
        }
        assert_eq!(typed(" ~x "), Path::new("~x"));
    }
}
