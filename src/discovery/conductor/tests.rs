use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    conductor::{Desk, Voice, http, report, room::Room, table::Seed},
    manifest::Endpoint,
};

const HASH: InfoHash = InfoHash([7; 20]);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// One member that announces.
struct Member {
    stats: watch::Sender<Stats>,
    link: watch::Sender<Option<SocketAddr>>,
    found: mpsc::Receiver<Discovered>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Member {
    fn start(conductor: &Endpoint, port: u16, left: u64) -> Self {
        let (stats, watched) = watch::channel(Stats { left, ..Stats::default() });
        let (sender, found) = mpsc::channel(16);
        let (link, up) = watch::channel(None);
        let stop = CancellationToken::new();
        let mut id = PeerId(*b"-OC0100-000000000000");
        id.0[18..].copy_from_slice(&port.to_be_bytes());
        let (name, key, via) = ("node".to_owned(), u32::from(port), Via::default());
        let identity = Identity { info_hash: HASH, id, key, name, copy: None, port, ip: None, via };
        let http = Http::new(&Via::default(), false).expect("a client");
        let task = start(conductor.clone().into(), identity, http, watched, up, sender, stop.clone());
        Self { stats, link, found, stop, task }
    }

    async fn hears(&mut self) -> Discovered {
        self.found.recv().await.expect("it goes on")
    }

    async fn leave(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint { host: Host::Ip(HERE.into()), port }
}

/// A conductor on a free port.
async fn conductor(stop: &CancellationToken) -> (Endpoint, Arc<Desk>) {
    let listener = std::net::TcpListener::bind((HERE, 0)).expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let endpoint = endpoint(listener.local_addr().expect("a port").port());
    let (reporter, _) = report::start(Voice::Silent);
    let desk = Arc::new(Desk::new(reporter, Seed(1, 2), None));
    let serve = http::serve(vec![listener], desk.clone(), Room::new(), stop.clone());
    tokio::spawn(serve);
    (endpoint, desk)
}

fn seeds_and_leechers(desk: &Desk) -> (u32, u32) {
    let (_, counts) = desk.counts(&[HASH])[0];
    (counts.complete, counts.incomplete)
}

#[tokio::test]
async fn members_find_each_other_complete_and_leave() {
    let stop = CancellationToken::new();
    let (endpoint, desk) = conductor(&stop).await;
    let reached = Discovered::Reached { conductor: endpoint.clone() };
    let mut seed = Member::start(&endpoint, 1001, 0);
    assert_eq!(seed.hears().await, reached);
    let mut leecher = Member::start(&endpoint, 1002, 5);
    let at = SocketAddr::new(HERE.into(), 1001);
    assert_eq!(leecher.hears().await, Discovered::Found(vec![at]));
    assert_eq!(leecher.hears().await, reached);
    assert_eq!(seeds_and_leechers(&desk), (1, 1));
    // The interval is not waited for.
    leecher.stats.send_modify(|stats| stats.left = 0);
    let mut third = Member::start(&endpoint, 1003, 5);
    third.hears().await;
    while seeds_and_leechers(&desk) != (2, 1) {
        tokio::task::yield_now().await;
    }
    leecher.leave().await;
    third.leave().await;
    assert_eq!(seeds_and_leechers(&desk), (1, 0));
    seed.leave().await;
    assert_eq!(seeds_and_leechers(&desk), (0, 0));
    stop.cancel();
}

#[tokio::test]
async fn a_conductor_that_is_not_there_is_told_of_once_and_tried_again() {
    let listener = TcpListener::bind((HERE, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let mut member = Member::start(&endpoint(port), 1001, 5);
    let Discovered::Unreachable { why, .. } = member.hears().await else {
        panic!("reached");
    };
    assert!(why.contains("refused"), "{why}");
    let listener = TcpListener::bind((HERE, port)).await.expect("still free");
    answer_once(&listener, "HTTP/1.1 200 OK\r\n\r\nd8:intervali60e5:peers0:e").await.expect("it comes again");
    let reached = Discovered::Reached { conductor: endpoint(port) };
    assert_eq!(member.hears().await, reached);
    drop(listener);
    member.leave().await;
}

async fn answer_once(listener: &TcpListener, answer: &str) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = [0; 2048];
    let _ = stream.read(&mut request).await?;
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn told_after(answer: &str) -> Discovered {
    let listener = TcpListener::bind((HERE, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let mut member = Member::start(&endpoint(port), 1001, 5);
    let _ = answer_once(&listener, answer).await;
    let told = member.hears().await;
    drop(listener);
    member.leave().await;
    told
}

/// Its interval is a second: while there is a link nothing comes, and when it breaks an announce comes at once.
#[tokio::test]
async fn beside_a_live_link_it_is_silent() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\n\r\nd8:intervali1e5:peers0:e";
    let listener = TcpListener::bind((HERE, 0)).await.expect("a free port");
    let at = listener.local_addr().expect("bound");
    let member = Member::start(&endpoint(at.port()), 1001, 5);
    answer_once(&listener, ANSWER).await.expect("an announce");
    answer_once(&listener, ANSWER).await.expect("another, a second later");
    member.link.send_replace(Some(at));
    let silence = Duration::from_secs(3);
    // One may have been on its way.
    let _ = tokio::time::timeout(Duration::from_millis(500), answer_once(&listener, ANSWER)).await;
    assert!(tokio::time::timeout(silence, listener.accept()).await.is_err(), "it announces beside the link");
    member.link.send_replace(None);
    answer_once(&listener, ANSWER).await.expect("an announce at once");
    answer_once(&listener, ANSWER).await.expect("and another");
    drop(listener);
    member.leave().await;
}

#[tokio::test]
async fn what_is_no_conductor_is_said_to_be_none() {
    let large = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY + 1));
    for answer in [
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        &large,
    ] {
        let told = told_after(answer).await;
        let Discovered::Unreachable { why, .. } = told else {
            panic!("{told:?}");
        };
        assert!(why.contains("no conductor"), "{why}");
    }
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nd14:failure reason4:fulle";
    let Discovered::Refused { why, .. } = told_after(answer).await else {
        panic!("not refused");
    };
    assert_eq!(why, "full");
}

#[test]
fn completed_is_said_only_by_who_was_heard_to_lack_something() {
    let line = |told| Line { told, ..Line::default() };
    assert_eq!(line(None).event(5), Some(Event::Started));
    assert_eq!(line(None).event(0), Some(Event::Started));
    assert_eq!(line(Some(5)).event(5), None);
    assert_eq!(line(Some(5)).event(0), Some(Event::Completed));
    assert_eq!(line(Some(0)).event(0), None);
}

#[tokio::test]
async fn what_is_refused_because_of_too_many_questions_is_asked_again_before_anybody_hears_of_it() {
    let listener = TcpListener::bind((HERE, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let mut member = Member::start(&endpoint(port), 1001, 5);
    for refusal in [
        "HTTP/1.1 200 OK\r\n\r\nd14:failure reason30:too many questions, ask later!e",
        "HTTP/1.1 429 Too Many Requests\r\n\r\nlater",
    ] {
        answer_once(&listener, refusal).await.expect("it asks");
    }
    answer_once(&listener, "HTTP/1.1 200 OK\r\n\r\nd8:intervali60e5:peers0:e").await.expect("it asks again");
    assert_eq!(member.hears().await, Discovered::Reached { conductor: endpoint(port) });
    drop(listener);
    member.leave().await;
}
