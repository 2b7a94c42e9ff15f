//! `.env` in the current directory, which may have come with a download.

use orchestra::cli::dotenv::DotEnv;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = DotEnv::parse(&text);
    for note in &found.notes {
        assert!(!note.contains(char::is_control), "a note that drives the terminal: {note:?}");
    }
    assert!(found.notes.len() <= text.lines().count());
    assert_eq!(DotEnv::parse(&text), found);
}
