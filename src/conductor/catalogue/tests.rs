use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    index::{Lack, Load},
    store::Memory,
    writers::Share,
    *,
};
use crate::{
    catalogue::{IfTaken, Place, token},
    geometry::Geometry,
    hashing::Digest,
    manifest::{Endpoint, Extra, Manifest},
};

/// A manifest of this name; another `salt` makes it another composition.
fn manifest(name: &str, salt: u8) -> Manifest {
    let geometry = Geometry::new(20_000, 16_384).unwrap();
    let parts = vec![Digest([salt; 20]); 2];
    Manifest::new(Endpoint::UNKNOWN, Name::new(name).unwrap(), None, geometry, parts, Vec::new()).unwrap()
}

fn text(name: &str, salt: u8) -> Vec<u8> {
    manifest(name, salt).render().into_bytes()
}

fn key(text: &str) -> Key {
    match Place::parse(&format!("/compositions/{text}")) {
        Ok(Place::Entry(key)) => key,
        other => panic!("{other:?}"),
    }
}

fn owner(name: &str, is_administrator: bool) -> Writer {
    Writer::Owner { name: name.to_owned(), is_administrator }
}

/// The same for every store.
fn on_each_store(test: impl Fn(&Catalogue)) {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 2] =
        [Box::<Memory>::default(), Box::new(Sqlite::open(&folder.path().join("deep/down/x.sqlite")).unwrap())];
    for store in stores {
        test(&Catalogue::open(store, Writers::default(), false).unwrap());
    }
    if let Some(redis) = Redis::start() {
        let store = Box::new(RedisStore::new(redis.place.clone()));
        test(&Catalogue::open(store, Writers::default(), false).unwrap());
    }
}

/// Whether this Redis answers there: it may be that of another test, that took the port.
fn is_served_by(child: &Child, port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut said = Vec::new();
    // It closes when it is told to; somebody else may say nothing at all.
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let asked = stream.write_all(b"INFO server\r\nQUIT\r\n").and_then(|()| stream.read_to_end(&mut said));
    asked.is_ok() && String::from_utf8_lossy(&said).contains(&format!("process_id:{}\r\n", child.id()))
}

/// A Redis of the test's own.
struct Redis {
    child: Child,
    place: RedisPlace,
}

impl Redis {
    /// None where there is none on this machine.
    fn start() -> Option<Self> {
        let quiet = |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok();
        if !quiet(Command::new("redis-server").arg("--version")) {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "redis-server is missing");
            let _ = writeln!(std::io::stderr(), "SKIPPED: redis-server is not installed");
            return None;
        }
        // Between the look for a free port and Redis' own bind somebody else may take it.
        (0..10).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let arguments = ["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir", "/tmp"];
            let mut child = Command::new("redis-server").args(arguments).stdout(Stdio::null()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if is_served_by(&child, port) {
                    let place = RedisPlace::parse(&format!("redis://127.0.0.1:{port}/1")).unwrap();
                    return Some(Self { child, place });
                }
                std::thread::yield_now();
            }
            None
        })
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::open(Box::new(RedisStore::new(self.place.clone())), Writers::default(), false).unwrap()
    }
}

impl Redis {
    /// Bytes that it sent to all its clients since it started.
    fn bytes_sent(&self) -> u64 {
        let mut connection = self.place.client().get_connection().unwrap();
        let info: String = ::redis::cmd("INFO").arg("stats").query(&mut connection).unwrap();
        let sent = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        sent.unwrap().trim().parse().unwrap()
    }

    fn forget_everything(&self) {
        let mut connection = self.place.client().get_connection().unwrap();
        let gone: String = ::redis::cmd("FLUSHALL").query(&mut connection).unwrap();
        assert_eq!(gone, "OK");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_two_conductors_one_alone_gives_a_name_away() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.catalogue(), redis.catalogue());
    let registered: Vec<_> = std::thread::scope(|scope| {
        let threads = [(&one, 1), (&other, 2)].map(|(catalogue, salt)| {
            scope.spawn(move || {
                let put = |n| register(catalogue, &Writer::Anyone, &format!("{n}"), salt).map(|_| ()).map_err(drop);
                (0..50).map(put).collect::<Vec<_>>()
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(registered[0].iter().zip(&registered[1]).all(|(a, b)| !(a.is_ok() && b.is_ok())));
    one.refresh().unwrap();
    other.refresh().unwrap();
    assert!(!one.list().is_empty());
    assert_eq!(one.list(), other.list());
    let names: std::collections::BTreeSet<String> = names(&one).into_iter().collect();
    assert_eq!(names.len(), one.list().len());
}

/// Whoever comes second makes its change anew: nothing is refused that was only late.
#[test]
fn conductors_that_change_the_catalogue_at_once_all_succeed() {
    const CONDUCTORS: usize = 4;
    let Some(redis) = Redis::start() else { return };
    let catalogues: Vec<Catalogue> = (0..CONDUCTORS).map(|_| redis.catalogue()).collect();
    std::thread::scope(|scope| {
        for (nth, catalogue) in catalogues.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..40 {
                    register(catalogue, &Writer::Anyone, &format!("{nth}-{n}"), 1).unwrap();
                }
                catalogue.remove(&Writer::Anyone, &key(&format!("{nth}-0"))).unwrap();
            });
        }
    });
    for catalogue in &catalogues {
        catalogue.refresh().unwrap();
        assert_eq!(catalogue.list(), redis.catalogue().list());
        assert_eq!(catalogue.count(), CONDUCTORS * 39);
    }
}

/// What another conductor changed is known without everything being read again, manifests included.
#[test]
fn only_what_changed_crosses() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.catalogue(), redis.catalogue());
    let texts: Vec<_> = (0..200).map(|n| text(&format!("old {n}"), 1)).collect();
    assert!(one.register_all(&Writer::Anyone, &texts, IfTaken::Refuse, 7).iter().all(Result::is_ok));
    other.refresh().unwrap();
    let before = redis.bytes_sent();
    register(&one, &Writer::Anyone, "new", 1).unwrap();
    replace(&one, &Writer::Anyone, "old 3", 2).unwrap();
    one.remove(&Writer::Anyone, &key("old 4")).unwrap();
    other.refresh().unwrap();
    let crossed = redis.bytes_sent() - before;
    assert_eq!(one.list(), other.list());
    assert!(crossed < 10_000, "{crossed} bytes");
    let hash = manifest("old 3", 2).info_hash();
    redis.forget_everything();
    assert_eq!(other.manifest(&hash).unwrap(), Some(text("old 3", 2)), "it was copied too");
}

/// A conductor of an older version counts its changes and keeps no log of them.
#[test]
fn what_an_older_conductor_changed_is_read_too() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.catalogue(), redis.catalogue());
    register(&one, &Writer::Anyone, "a", 1).unwrap();
    register(&one, &Writer::Anyone, "b", 1).unwrap();
    other.refresh().unwrap();
    let mut connection = redis.place.client().get_connection().unwrap();
    let hash = manifest("a", 1).info_hash().to_string();
    let _: u64 = ::redis::cmd("HDEL").arg("orchestra:1:entries").arg(&hash).query(&mut connection).unwrap();
    let _: u64 = ::redis::cmd("INCR").arg("orchestra:1:changed").query(&mut connection).unwrap();
    register(&one, &Writer::Anyone, "c", 1).unwrap();
    other.refresh().unwrap();
    assert_eq!((names(&one), names(&other)), (vec!["b".to_owned(), "c".to_owned()], names(&redis.catalogue())));
    assert_eq!(names(&one), names(&other));
}

#[test]
fn a_redis_that_lost_the_catalogue_is_given_it_again() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.catalogue(), redis.catalogue());
    register(&one, &Writer::Anyone, "a", 1).unwrap();
    register(&one, &Writer::Anyone, "b", 1).unwrap();
    one.remove(&Writer::Anyone, &key("a")).unwrap();
    redis.forget_everything();
    one.refresh().unwrap();
    other.refresh().unwrap();
    assert_eq!((names(&one), names(&other)), (vec!["b".to_owned()], vec!["b".to_owned()]));
    assert_eq!(other.manifest(&manifest("b", 1).info_hash()).unwrap(), Some(text("b", 1)));
}

fn register(catalogue: &Catalogue, writer: &Writer, name: &str, salt: u8) -> Result<Outcome, CatalogueError> {
    let registered = catalogue.register(writer, &key(name), &text(name, salt), IfTaken::Refuse, 7);
    registered.map(|(_, outcome)| outcome)
}

fn replace(catalogue: &Catalogue, writer: &Writer, name: &str, salt: u8) -> Result<Outcome, CatalogueError> {
    let registered = catalogue.register(writer, &key(name), &text(name, salt), IfTaken::Replace, 8);
    registered.map(|(_, outcome)| outcome)
}

fn names(catalogue: &Catalogue) -> Vec<String> {
    catalogue.list().iter().map(|entry| entry.name.as_str().to_owned()).collect()
}

#[test]
fn what_is_registered_is_found_by_name_and_hash() {
    on_each_store(|catalogue| {
        assert_eq!(register(catalogue, &Writer::Anyone, "b.iso", 1).unwrap(), Outcome::New);
        assert_eq!(register(catalogue, &Writer::Anyone, "a.iso", 1).unwrap(), Outcome::New);
        assert_eq!(register(catalogue, &Writer::Anyone, "a.iso", 1).unwrap(), Outcome::Unchanged);
        assert_eq!(names(catalogue), ["a.iso", "b.iso"]);
        let hash = manifest("a.iso", 1).info_hash();
        let entry = catalogue.find(&Key::Hash(hash)).unwrap();
        assert_eq!((entry.size, entry.parts, entry.part_size, entry.registered), (20_000, 2, 16_384, 7));
        assert_eq!(catalogue.find(&key("a.iso")).unwrap(), entry);
        assert_eq!(catalogue.manifest(&hash).unwrap(), Some(text("a.iso", 1)));
        assert!(matches!(catalogue.find(&key("c.iso")), Err(CatalogueError::Unknown(_))));
        catalogue.remove(&Writer::Anyone, &key("a.iso")).unwrap();
        assert!(matches!(catalogue.remove(&Writer::Anyone, &key("a.iso")), Err(CatalogueError::Unknown(_))));
        assert_eq!(catalogue.manifest(&hash).unwrap(), None);
        assert_eq!(names(catalogue), ["b.iso"]);
    });
}

#[test]
fn a_name_is_held_once_an_owner_and_replaced_when_asked() {
    on_each_store(|catalogue| {
        let (root, alice, bob) = (owner("root", true), owner("alice", false), owner("bob", false));
        register(catalogue, &alice, "x", 1).unwrap();
        assert!(matches!(register(catalogue, &alice, "x", 2), Err(CatalogueError::Taken { .. })));
        assert_eq!(replace(catalogue, &alice, "x", 2).unwrap(), Outcome::Replaced);
        assert_eq!(catalogue.list().len(), 1);
        register(catalogue, &bob, "x", 3).unwrap();
        let Err(CatalogueError::Several { candidates, .. }) = catalogue.find(&key("x")) else { panic!("not several") };
        assert_eq!(candidates.len(), 2);
        assert_eq!(catalogue.find(&key("bob/x")).unwrap().info_hash, manifest("x", 3).info_hash());
        assert!(matches!(catalogue.remove(&bob, &key("alice/x")), Err(CatalogueError::NotYours { .. })));
        assert!(matches!(catalogue.remove(&Writer::Anyone, &key("alice/x")), Err(CatalogueError::NotYours { .. })));
        catalogue.remove(&root, &key("alice/x")).unwrap();
        assert_eq!(catalogue.find(&key("x")).unwrap().owner.as_deref(), Some("bob"));
    });
}

#[test]
fn two_of_one_name_stand_where_that_is_said() {
    on_each_store(|catalogue| {
        let alice = owner("alice", false);
        register(catalogue, &alice, "x", 1).unwrap();
        let both = catalogue.register(&alice, &key("x"), &text("x", 2), IfTaken::Beside, 9);
        assert_eq!(both.unwrap().1, Outcome::New);
        for name in ["x", "alice/x"] {
            let found = catalogue.find(&key(name));
            assert!(matches!(found, Err(CatalogueError::Several { candidates, .. }) if candidates.len() == 2));
        }
        assert_eq!(replace(catalogue, &alice, "x", 3).unwrap(), Outcome::Replaced);
        assert_eq!(catalogue.manifest(&manifest("x", 1).info_hash()).unwrap(), None, "the oldest");
        assert_eq!(names(catalogue), ["x", "x"]);
    });
}

#[test]
fn the_same_composition_with_other_lines_keeps_its_owner() {
    on_each_store(|catalogue| {
        let (root, alice, bob) = (owner("root", true), owner("alice", false), owner("bob", false));
        register(catalogue, &alice, "x", 1).unwrap();
        let mut other = manifest("x", 1);
        other.replace(vec![Extra::new("comment", "new").unwrap()]).unwrap();
        let other = other.render().into_bytes();
        let put = |writer, if_taken| catalogue.register(writer, &key("x"), &other, if_taken, 9);
        assert!(matches!(put(&alice, IfTaken::Refuse), Err(CatalogueError::There(_))));
        assert!(matches!(put(&bob, IfTaken::Replace), Err(CatalogueError::NotYours { .. })));
        let (entry, outcome) = put(&root, IfTaken::Replace).unwrap();
        assert_eq!((entry.owner.as_deref(), outcome), (Some("alice"), Outcome::Replaced));
        assert_eq!(catalogue.manifest(&entry.info_hash).unwrap(), Some(other.clone()));
    });
}

#[test]
fn what_does_not_belong_there_is_refused() {
    on_each_store(|catalogue| {
        let put = |named: &str, text: &[u8]| catalogue.register(&Writer::Anyone, &key(named), text, IfTaken::Refuse, 7);
        assert!(matches!(put("x", b"hello"), Err(CatalogueError::Manifest(_))));
        assert!(matches!(put("y", &text("x", 1)), Err(CatalogueError::Other { .. })));
        assert!(matches!(put("a/x", &text("x", 1)), Err(CatalogueError::Other { .. })));
        let closed = [text("x", 1), b"secret 00\n".to_vec()].concat();
        assert!(matches!(put("x", &closed), Err(CatalogueError::Closed)));
        assert!(matches!(put("x", &vec![b'x'; MAX_MANIFEST + 1]), Err(CatalogueError::TooLong)));
        assert!(catalogue.list().is_empty());
    });
}

/// Each manifest of many is taken or refused for itself, and a name that comes twice as if it had come later.
#[test]
fn of_many_each_is_taken_or_refused_for_itself() {
    on_each_store(|catalogue| {
        register(catalogue, &Writer::Anyone, "taken", 1).unwrap();
        let texts = [text("a", 1), b"hello".to_vec(), text("taken", 2), text("a", 1), text("a", 2), text("b", 1)];
        let results = catalogue.register_all(&Writer::Anyone, &texts, IfTaken::Refuse, 7);
        let outcomes: Vec<_> = results.iter().map(|result| result.as_ref().ok().map(|(_, outcome)| *outcome)).collect();
        let (new, same) = (Some(Outcome::New), Some(Outcome::Unchanged));
        assert_eq!(outcomes, [new, None, None, same, None, new]);
        assert!(matches!(results[1], Err(CatalogueError::Manifest(_))));
        assert!(matches!(results[2], Err(CatalogueError::Taken { .. })));
        assert!(matches!(results[4], Err(CatalogueError::Taken { .. })));
        assert_eq!(names(catalogue), ["a", "b", "taken"]);
        for name in ["a", "b"] {
            assert_eq!(catalogue.manifest(&manifest(name, 1).info_hash()).unwrap(), Some(text(name, 1)));
        }
        let both = catalogue.register_all(&Writer::Anyone, &[text("a", 3), text("a", 4)], IfTaken::Replace, 8);
        assert!(both.iter().all(|one| matches!(one, Ok((_, Outcome::Replaced)))));
        assert_eq!(catalogue.find(&key("a")).unwrap().info_hash, manifest("a", 4).info_hash());
    });
}

#[test]
fn many_are_taken_while_there_is_room() {
    let catalogue = Catalogue::in_memory();
    let all: Vec<_> = (0..=MAX_ENTRIES).map(|n| text(&n.to_string(), 1)).collect();
    let results = catalogue.register_all(&Writer::Anyone, &all, IfTaken::Refuse, 7);
    assert!(results[..MAX_ENTRIES].iter().all(Result::is_ok));
    assert!(matches!(results[MAX_ENTRIES], Err(CatalogueError::Full)));
}

#[test]
fn a_full_catalogue_still_replaces() {
    let full = |index: &Index, n: u64, length, replaced: u64| {
        index.lacks(&of(n, None, length), &of(replaced, None, 0).info_hash, Load::default(), Share::All)
    };
    let mut index = Index::default();
    index.insert(of(1, None, MAX_KEPT - 10));
    assert_eq!((full(&index, 2, 10, 2), full(&index, 2, 11, 2)), (None, Some(Lack::Room)));
    assert_eq!(full(&index, 2, MAX_KEPT, 1), None);
    let mut index = Index::default();
    (0..MAX_ENTRIES as u64).for_each(|n| index.insert(of(n, None, 1)));
    assert_eq!(full(&index, u64::MAX, 1, u64::MAX), Some(Lack::Room));
    assert_eq!(full(&index, u64::MAX, 1, 0), None);
}

/// An entry with this number in its info-hash.
fn of(n: u64, owner: Option<&str>, length: u64) -> Entry {
    let mut info_hash = InfoHash([0; 20]);
    info_hash.0[..8].copy_from_slice(&n.to_be_bytes());
    Entry {
        info_hash,
        name: Name::new(&format!("{n}")).unwrap(),
        size: 1,
        part_size: 1,
        parts: 1,
        owner: owner.map(str::to_owned),
        registered: 0,
        length,
    }
}

/// However much the others register, the administrator still can, and each of them leaves room to the next.
#[test]
fn no_token_fills_the_catalogue_for_the_others() {
    let lacks = |index: &Index, owner: &str, replaced: u64, share| {
        let (entry, replaced) = (of(u64::MAX, Some(owner), 1), of(replaced, None, 0).info_hash);
        index.lacks(&entry, &replaced, Load::default(), share)
    };
    let (half, new) = (MAX_ENTRIES as u64 / 2, u64::MAX);
    let mut index = Index::default();
    (0..half).for_each(|n| index.insert(of(n, Some("alice"), 1)));
    assert_eq!(lacks(&index, "alice", new, Share::OfOne), Some(Lack::Share));
    assert_eq!(lacks(&index, "alice", 0, Share::OfOne), None, "in place of one of hers");
    assert_eq!(lacks(&index, "bob", new, Share::OfOne), None);
    (half..half / 5 * 9).for_each(|n| index.insert(of(n, Some("bob"), 1)));
    assert_eq!(lacks(&index, "carol", new, Share::OfOne), Some(Lack::Room));
    assert_eq!(lacks(&index, "root", new, Share::All), None);

    // One that held more before there was such a bound keeps it, and replaces what it has.
    (0..half / 5 * 9).for_each(|n| index.insert(of(n, Some("alice"), 1)));
    assert_eq!(lacks(&index, "alice", new, Share::OfOne), Some(Lack::Share));
    assert_eq!(lacks(&index, "alice", 0, Share::OfOne), None);
}

#[test]
fn a_file_is_kept_and_belongs_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sqlite");
    let open = |path: &Path| Catalogue::open(Box::new(Sqlite::open(path)?), Writers::default(), true);
    let first = open(&path).unwrap();
    let hash = manifest("x", 1).info_hash();
    assert!(!first.admits(&hash));
    register(&first, &owner("alice", false), "x", 1).unwrap();
    let entry = first.find(&key("x")).unwrap();
    assert!(matches!(open(&path), Err(StoreError::InUse { .. })));
    drop(first);
    let second = open(&path).unwrap();
    assert_eq!(second.find(&key("alice/x")).unwrap(), entry);
    assert_eq!(second.manifest(&hash).unwrap(), Some(text("x", 1)));
    assert!(second.admits(&hash));
}

#[test]
fn what_is_no_catalogue_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), "no database, but long enough to have had a header of one".repeat(20)).unwrap();
    assert!(matches!(Sqlite::open(&path("text")), Err(StoreError::Strange { .. })));
    let made = |name: &str, batch: &str| {
        rusqlite::Connection::open(path(name)).unwrap().execute_batch(batch).unwrap();
        Sqlite::open(&path(name)).map(drop)
    };
    assert!(matches!(made("foreign", "CREATE TABLE mine (x)"), Err(StoreError::Strange { .. })));
    drop(Sqlite::open(&path("later")).unwrap());
    assert!(matches!(made("later", "PRAGMA user_version = 2"), Err(StoreError::Later { .. })));
    assert!(matches!(Sqlite::open(&path("text/below/x")), Err(StoreError::Folder { .. })));
}

#[test]
fn a_start_says_who_may_write() {
    let everywhere = ["0.0.0.0:9999".parse().unwrap()];
    let here = ["127.0.0.1:9999".parse().unwrap()];
    let warned = |config: Config, addresses: &[SocketAddr]| open(&config, addresses).unwrap().1.len();
    let config = || Config { store: Keep::Memory, ..Config::default() };
    assert_eq!((warned(config(), &everywhere), warned(config(), &here)), (1, 0));
    let tokens = token::read("0123456789abcdef").unwrap();
    assert_eq!(warned(Config { tokens, ..config() }, &everywhere), 0);
}
