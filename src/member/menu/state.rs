//! What the menu knows, and what a key does to it.
//!
//! Pure: keys and news in, wishes out; who grants them tells it what came of them.

use std::collections::{BTreeMap, HashSet};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::list::{Here, Row, is_of_use, rows};
use crate::{
    catalogue::Composition,
    cli::Exit,
    member::{ask::locate::Located, search::findings::Findings},
    metainfo::InfoHash,
    ui::View,
    wire::extension::search::{Asks, MOST_TEXT},
};

/// Lines of news that are kept.
const MOST_NEWS: usize = 200;

/// Something that is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    Quit,
    Fetch(InfoHash),
    /// Fetch it in place of the other file under its name, with that file's good parts.
    Repair(InfoHash),
    /// Fetch it into the folder that was typed.
    FetchInto(InfoHash, String),
    Stop(InfoHash),
    Locate(InfoHash),
    Refresh,
    History,
    /// What was typed is to be shared.
    Share(String),
    /// What was typed is to be completed.
    Complete(String),
    /// The neighbours are to be asked.
    Ask(Asks),
    /// Something that they found.
    FetchFound(InfoHash),
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq)]
pub enum Page {
    List,
    /// Text to read; `top`: the first line that is shown.
    Text {
        title: &'static str,
        lines: Vec<String>,
        top: usize,
    },
    /// What the neighbours answer: see [`State::asking`].
    Asked,
    /// Who has a composition; None: they are being asked.
    Map {
        name: String,
        located: Option<Result<Box<Located>, String>>,
        top: usize,
    },
}

/// What is being typed, under the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typing {
    Filter,
    Share(String),
    Search(String),
    /// A folder to fetch this composition into.
    Folder(InfoHash, String),
}

/// A question to the neighbours.
pub struct Asking {
    pub asks: Asks,
    pub findings: Findings,
    /// Members that were asked directly.
    pub members: usize,
    /// Nothing more is waited for.
    pub is_over: bool,
    /// What of it the cursor is on.
    pub cursor: usize,
}

impl Asking {
    pub fn new(asks: Asks) -> Self {
        Self { asks, findings: Findings::default(), members: 0, is_over: false, cursor: 0 }
    }

    /// What was found so far that can be fetched.
    pub fn found(&self) -> usize {
        self.findings.found.len()
    }
}

/// All that is on the screen.
pub struct State {
    /// The conductor that is asked, for people.
    pub conductor: String,
    /// The user named that conductor; else it is this machine's, if one runs here.
    pub is_named: bool,
    /// None: not asked yet. An error is why there is no list now.
    pub listed: Option<Result<(), String>>,
    /// What the conductor lists.
    pub there: Vec<Composition>,
    /// What the local network has.
    pub near: Vec<Composition>,
    /// What this member does, by composition.
    pub here: BTreeMap<InfoHash, Here>,
    /// How what is shared from here stands, one a path.
    pub shares: Vec<View>,
    /// What nobody holds is listed too.
    pub all: bool,
    pub filter: String,
    pub typing: Option<Typing>,
    /// Where the cursor is, and on what.
    pub(super) cursor: usize,
    pub(super) chosen: Option<InfoHash>,
    pub page: Page,
    /// What was asked last.
    pub asking: Asking,
    /// What happened, the last at the end.
    pub news: Vec<String>,
    /// Rows of the list, or of the text, that are on the screen, so that a page is so many.
    pub room: usize,
}

impl State {
    pub fn new(conductor: String, is_named: bool) -> Self {
        Self {
            conductor,
            is_named,
            listed: None,
            there: Vec::new(),
            near: Vec::new(),
            here: BTreeMap::new(),
            shares: Vec::new(),
            all: false,
            filter: String::new(),
            typing: None,
            cursor: 0,
            chosen: None,
            page: Page::List,
            asking: Asking::new(Asks::Who),
            news: Vec::new(),
            room: 1,
        }
    }

    /// What is to be listed: not what nobody holds, unless that is wanted.
    pub fn to_list(&self) -> impl Iterator<Item = &Composition> {
        self.there().filter(|one| self.all || is_of_use(one, &self.here))
    }

    /// What is there: what the conductor says of it counts first.
    pub fn there(&self) -> impl Iterator<Item = &Composition> {
        let listed: HashSet<InfoHash> = self.there.iter().map(|one| one.info_hash).collect();
        self.there.iter().chain(self.near.iter().filter(move |one| !listed.contains(&one.info_hash)))
    }

    /// Whether the conductor lists it.
    pub fn is_listed(&self, info_hash: InfoHash) -> bool {
        self.there.iter().any(|one| one.info_hash == info_hash)
    }

    /// The compositions that the filter leaves.
    pub fn rows(&self) -> Vec<Row<'_>> {
        rows(self.to_list(), &self.here, &self.filter)
    }

    /// Which of these the cursor is on: where it was put, wherever that is now.
    pub fn cursor(&self, rows: &[Row<'_>]) -> usize {
        let place = self.chosen.and_then(|chosen| rows.iter().position(|row| row.info_hash == chosen));
        place.unwrap_or(self.cursor).min(rows.len().saturating_sub(1))
    }

    /// Something that people should know, in one line.
    pub fn say(&mut self, line: String) {
        self.news.push(line);
        let over = self.news.len().saturating_sub(MOST_NEWS);
        self.news.drain(..over);
    }

    /// What a key does.
    pub fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if self.typing.is_some() {
            return self.press_typing(key);
        }
        match self.page {
            Page::List => self.press_list(key),
            Page::Asked => self.press_asked(key),
            Page::Text { .. } | Page::Map { .. } => self.press_page(key),
        }
    }

    fn press_list(&mut self, key: KeyEvent) -> Option<Wish> {
        if let Some(by) = step(key.code, self.room) {
            self.go(by);
            return None;
        }
        let chosen = self.chosen_row();
        let info_hash = chosen.as_ref().map(|(info_hash, _)| *info_hash);
        match key.code {
            KeyCode::Char('q' | 'Q') => return Some(Wish::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Wish::Quit),
            KeyCode::Enter | KeyCode::Char('g') => return self.fetch(info_hash?),
            KeyCode::Char('R') => return self.repair(info_hash?),
            KeyCode::Char('o') => {
                let info_hash = info_hash?;
                self.fetch(info_hash)?;
                self.typing = Some(Typing::Folder(info_hash, String::new()));
            }
            KeyCode::Char('l') => {
                let (info_hash, name) = chosen?;
                self.page = Page::Map { name, located: None, top: 0 };
                return Some(Wish::Locate(info_hash));
            }
            KeyCode::Char('/') => self.typing = Some(Typing::Filter),
            KeyCode::Char('a') => self.typing = Some(Typing::Share(String::new())),
            KeyCode::Char('s') => self.typing = Some(Typing::Search(String::new())),
            KeyCode::Char('n') => return Some(self.ask(Asks::Who)),
            KeyCode::Char('h') => return Some(Wish::History),
            KeyCode::Char('r') => return Some(Wish::Refresh),
            KeyCode::Char('.') => self.all = !self.all,
            KeyCode::Char('?') => self.page = Page::Text { title: "Keys", lines: super::frame::help(), top: 0 },
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc => return info_hash.filter(|hash| self.is_under_way(hash)).map(Wish::Stop),
            _ => {}
        }
        None
    }

    fn is_under_way(&self, info_hash: &InfoHash) -> bool {
        self.here.get(info_hash).is_some_and(Here::is_under_way)
    }

    /// What the cursor is on, and its name.
    fn chosen_row(&self) -> Option<(InfoHash, String)> {
        let rows = self.rows();
        rows.get(self.cursor(&rows)).map(|row| (row.info_hash, row.name.clone()))
    }

    fn fetch(&mut self, info_hash: InfoHash) -> Option<Wish> {
        if self.is_under_way(&info_hash) {
            self.say("it is here, or on its way, already: Esc stops it".to_owned());
            return None;
        }
        Some(Wish::Fetch(info_hash))
    }

    /// Repairs only what a fetch found to be another file: nothing else is in the way.
    fn repair(&mut self, info_hash: InfoHash) -> Option<Wish> {
        if !matches!(self.here.get(&info_hash), Some(Here::Ended { exit: Exit::OtherData, .. })) {
            self.say("no other file is in its place: Enter fetches it".to_owned());
            return None;
        }
        Some(Wish::Repair(info_hash))
    }

    fn go(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let cursor = self.cursor(&rows).saturating_add_signed(by).min(last);
        (self.chosen, self.cursor) = (rows.get(cursor).map(|row| row.info_hash), cursor);
    }

    fn ask(&mut self, asks: Asks) -> Wish {
        self.asking = Asking::new(asks.clone());
        self.page = Page::Asked;
        Wish::Ask(asks)
    }

    fn press_asked(&mut self, key: KeyEvent) -> Option<Wish> {
        let last = match self.asking.asks {
            Asks::For(_) => self.asking.found(),
            Asks::Who => self.asking.findings.neighbours.len(),
        };
        let cursor = self.asking.cursor;
        match key.code {
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('q' | 'Q') => {
                self.page = Page::List;
            }
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Wish::Quit),
            KeyCode::Enter | KeyCode::Char('g') => {
                let found = self.asking.findings.found.get(cursor).map(|found| found.info_hash)?;
                self.page = Page::List;
                (self.chosen, self.filter) = (Some(found), String::new());
                return self.fetch(found).map(|_| Wish::FetchFound(found));
            }
            code => {
                let by = step(code, self.room).unwrap_or(0);
                self.asking.cursor = cursor.saturating_add_signed(by).min(last.saturating_sub(1));
            }
        }
        None
    }

    fn press_page(&mut self, key: KeyEvent) -> Option<Wish> {
        let (Page::Text { top, .. } | Page::Map { top, .. }) = &mut self.page else { return None };
        match key.code {
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Enter | KeyCode::Char('q' | 'Q') => {
                self.page = Page::List;
            }
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Wish::Quit),
            KeyCode::Char(' ') => *top = top.saturating_add_signed(page(self.room)),
            code => *top = top.saturating_add_signed(step(code, self.room).unwrap_or(0)),
        }
        None
    }

    fn press_typing(&mut self, key: KeyEvent) -> Option<Wish> {
        let typing = self.typing.clone()?;
        let text = match &mut self.typing {
            Some(Typing::Share(text) | Typing::Search(text) | Typing::Folder(_, text)) => text,
            Some(Typing::Filter) => &mut self.filter,
            None => return None,
        };
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Char('c'), true) => return Some(Wish::Quit),
            (KeyCode::Char('u'), true) => text.clear(),
            (KeyCode::Char(c), false) if !c.is_control() => text.push(c),
            (KeyCode::Backspace, _) => drop(text.pop()),
            (KeyCode::Tab, _) => {
                return match typing {
                    Typing::Share(path) | Typing::Folder(_, path) => Some(Wish::Complete(path)),
                    Typing::Filter | Typing::Search(_) => None,
                };
            }
            (KeyCode::Esc, _) => {
                if typing == Typing::Filter {
                    text.clear();
                }
                self.typing = None;
            }
            (KeyCode::Enter, _) => {
                self.typing = None;
                return match typing {
                    Typing::Share(path) if !path.trim().is_empty() => Some(Wish::Share(path)),
                    Typing::Search(text) if is_question(&text) => Some(self.ask(Asks::For(text.trim().to_owned()))),
                    Typing::Folder(hash, folder) if !folder.trim().is_empty() => Some(Wish::FetchInto(hash, folder)),
                    Typing::Share(_) | Typing::Search(_) | Typing::Folder(..) | Typing::Filter => None,
                };
            }
            _ => {}
        }
        None
    }

    /// What was found for [`Wish::Locate`], if it is still looked at.
    pub fn located(&mut self, found: Result<Located, String>) {
        if let Page::Map { located, .. } = &mut self.page {
            *located = Some(found.map(Box::new));
        }
    }

    /// What came of [`Wish::Complete`], if it was not typed on meanwhile.
    pub fn completed(&mut self, typed: &str, completed: String) {
        if let Some(Typing::Share(path) | Typing::Folder(_, path)) = &mut self.typing
            && path == typed
        {
            *path = completed;
        }
    }
}

/// Whether neighbours can be asked this.
fn is_question(text: &str) -> bool {
    (1..=MOST_TEXT).contains(&text.trim().len())
}

/// How far this key goes, if it moves, where so many rows are seen.
fn step(code: KeyCode, room: usize) -> Option<isize> {
    match code {
        KeyCode::Up | KeyCode::Char('k') => Some(-1),
        KeyCode::Down | KeyCode::Char('j') => Some(1),
        KeyCode::PageUp => Some(-page(room)),
        KeyCode::PageDown => Some(page(room)),
        KeyCode::Home => Some(isize::MIN),
        KeyCode::End => Some(isize::MAX),
        _ => None,
    }
}

/// How far a page goes in a list of which so many rows are seen.
fn page(room: usize) -> isize {
    isize::try_from(room.saturating_sub(1).max(1)).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::list::tests::{composition, view},
        *,
    };
    use crate::{
        ui::Phase,
        wire::extension::search::{Answer, Find, QuestionId, Says},
    };

    fn press(state: &mut State, keys: &str) -> Vec<Wish> {
        let code = |c| match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        keys.chars().filter_map(|c| state.press(KeyEvent::new(code(c), KeyModifiers::NONE))).collect()
    }

    fn state() -> State {
        let there = ["a.iso", "b.iso", "vm.qcow2"].into_iter().zip(1..).map(|(name, n)| composition(name, n));
        State { there: there.collect(), listed: Some(Ok(())), ..State::new("head:9999".to_owned(), true) }
    }

    fn hash(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    #[test]
    fn keys_move_fetch_and_quit() {
        let mut state = state();
        assert_eq!(press(&mut state, "jj\nkgl"), [Wish::Fetch(hash(3)), Wish::Fetch(hash(2)), Wish::Locate(hash(2))]);
        assert!(matches!(state.page, Page::Map { .. }));
        assert_eq!(press(&mut state, "qkkkkgq"), [Wish::Fetch(hash(1)), Wish::Quit], "the first q leads back");
    }

    #[test]
    fn another_file_in_its_place_is_repaired_or_the_fetch_goes_elsewhere() {
        let mut state = state();
        assert_eq!(press(&mut state, "R"), [], "nothing is in its place yet");
        assert!(state.news[0].contains("Enter fetches it"), "{:?}", state.news);
        state.here.insert(hash(1), Here::Ended { exit: Exit::OtherData, percent: 0 });
        assert_eq!(press(&mut state, "R"), [Wish::Repair(hash(1))]);
        let typed = [Wish::Complete("/d".to_owned()), Wish::FetchInto(hash(1), "/data".to_owned())];
        assert_eq!(press(&mut state, "o/d\tata\n"), typed);
        assert_eq!(press(&mut state, "o \n"), [], "no folder was typed");
        state.here.insert(hash(1), Here::Coming { name: "a.iso".to_owned() });
        assert_eq!(press(&mut state, "o"), []);
        assert_eq!(state.typing, None, "it is on its way already");
    }

    #[test]
    fn the_cursor_stays_on_what_was_chosen() {
        let mut state = state();
        press(&mut state, "j");
        state.there.insert(0, composition("0.iso", 9));
        assert_eq!(press(&mut state, "g"), [Wish::Fetch(hash(2))]);
        state.there.retain(|there| there.info_hash != hash(2));
        assert_eq!(press(&mut state, "g"), [Wish::Fetch(hash(1))], "what is there now");
        state.there.clear();
        assert_eq!(press(&mut state, "gljk\u{1b}"), []);
    }

    #[test]
    fn what_nobody_holds_is_hidden_until_it_is_wanted() {
        let mut state = state();
        (state.there[0].members, state.there[1].members) = (0, 0);
        state.here.insert(hash(2), Here::Ended { exit: Exit::Interrupted, percent: 40 });
        let names = |state: &State| state.rows().iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&state), ["b.iso", "vm.qcow2"], "what was begun here stays");
        assert_eq!(press(&mut state, "\n"), [Wish::Fetch(hash(2))]);
        press(&mut state, ".");
        assert_eq!(names(&state), ["a.iso", "b.iso", "vm.qcow2"]);
        press(&mut state, ".");
        assert_eq!(state.rows().len(), 2);
    }

    #[test]
    fn a_filter_is_typed_and_taken_away() {
        let mut state = state();
        assert_eq!(press(&mut state, "/QCow\u{8}\ng"), [Wish::Fetch(hash(3))]);
        assert_eq!((state.rows().len(), &state.filter[..]), (1, "QCo"));
        press(&mut state, "\u{1b}");
        assert_eq!(state.rows().len(), 3);
        press(&mut state, "/x\u{1b}");
        assert_eq!((state.rows().len(), state.typing), (3, None));
    }

    #[test]
    fn what_is_under_way_is_stopped_with_escape() {
        let mut state = state();
        state.here.insert(hash(1), Here::Running(Box::new(view(Phase::Fetching))));
        assert_eq!(press(&mut state, "g\u{1b}"), [Wish::Stop(hash(1))]);
        state.here.insert(hash(1), Here::Ended { exit: Exit::Interrupted, percent: 40 });
        assert_eq!(press(&mut state, "\u{1b}g"), [Wish::Fetch(hash(1))]);
    }

    #[test]
    fn a_path_is_typed_and_completed() {
        let mut state = state();
        assert_eq!(press(&mut state, "a~/q\t"), [Wish::Complete("~/q".to_owned())]);
        state.completed("~/", "~/elsewhere".to_owned());
        state.completed("~/q", "~/quarter/".to_owned());
        assert_eq!(press(&mut state, "x\n"), [Wish::Share("~/quarter/x".to_owned())]);
        assert_eq!(press(&mut state, "a  \nq"), [Wish::Quit]);
    }

    #[test]
    fn neighbours_are_asked_and_what_they_found_is_fetched() {
        let mut state = state();
        assert_eq!(press(&mut state, "s \nnsbig\n"), [Wish::Ask(Asks::Who)], "that s was none there");
        assert_eq!(press(&mut state, "qsbig q\n"), [Wish::Ask(Asks::For("big q".to_owned()))]);
        let find = |n: u8| Find { info_hash: hash(n), name: "big".to_owned(), size: 7, left: 0 };
        let says = Says::Finds(vec![find(8), find(9)]);
        let address = Some(([10, 0, 0, 1], 9998).into());
        state.asking.findings.add(Answer { id: QuestionId([0; 16]), hops: 1, port: 9998, address, says });
        state.press(KeyCode::End.into());
        assert_eq!(state.asking.cursor, 1);
        state.press(KeyCode::Home.into());
        assert_eq!(state.asking.cursor, 0);
        assert_eq!(press(&mut state, "jjjg"), [Wish::FetchFound(hash(9))]);
        assert_eq!(state.page, Page::List);
    }

    #[test]
    fn what_was_asked_for_and_left_is_not_shown() {
        let mut state = state();
        press(&mut state, "lq");
        state.located(Err("no".to_owned()));
        assert_eq!(state.page, Page::List);
    }
}
