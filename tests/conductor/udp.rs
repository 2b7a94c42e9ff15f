//! The same conductor over UDP, datagram by datagram.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use orchestra::{
    announce::{
        Announce, Answer, Counts, Event,
        http_request::read_announce,
        udp_answer::{Reply, Said, read},
        udp_request::{Question, Request, write},
    },
    metainfo::InfoHash,
    wire::handshake::PeerId,
};
use rustix::process::Signal;

use super::{Conductor, HASH, HASH_QUERY, LEECHER, Member, SEED, addresses, command};

/// How long an answer may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody with a socket that hears this conductor at this address alone.
struct Client {
    socket: UdpSocket,
    v4: bool,
}

impl Client {
    fn of(conductor: SocketAddr) -> Self {
        let any = if conductor.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(conductor).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, v4: conductor.is_ipv4() }
    }

    fn hear_bytes(&self) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let len = self.socket.recv(&mut buffer).expect("an answer");
        buffer[..len].to_vec()
    }

    fn say(&self, datagram: &[u8]) -> Reply {
        self.socket.send(datagram).unwrap();
        read(&self.hear_bytes(), self.v4).unwrap()
    }

    fn connect(&self) -> u64 {
        match self.say(&write(&Question::Connect { transaction: 7 })) {
            Reply { transaction: 7, said: Said::Connected { connection } } => connection,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, connection: u64, request: Request) -> Said {
        let reply = self.say(&write(&Question::Claim { connection, transaction: 8, request }));
        assert_eq!(reply.transaction, 8);
        reply.said
    }

    fn announce(&self, announce: Announce) -> Answer {
        match self.ask(self.connect(), Request::Announce(announce)) {
            Said::Announced(answer) => answer,
            other => panic!("{other:?}"),
        }
    }
}

fn announce(member: &Member) -> Announce {
    let query = member.query("");
    let (_, query) = query.split_once('?').unwrap();
    read_announce(query.as_bytes()).unwrap()
}

#[test]
fn one_swarm_over_udp_and_http() {
    let mut conductor = Conductor::start();
    let client = Client::of(conductor.v4);
    assert!(client.announce(announce(&SEED)).peers.is_empty());
    assert_eq!(addresses(&conductor.announce(&LEECHER, "")), ["127.0.0.1:1001"]);
    let answer = client.announce(announce(&SEED));
    assert_eq!(addresses(&answer), ["127.0.0.1:1002"]);
    assert_eq!((answer.complete, answer.incomplete, answer.interval), (Some(1), Some(1), 5));
    let scrape = || client.ask(client.connect(), Request::Scrape(vec![InfoHash([0; 20]), InfoHash(HASH)]));
    let one_each = Counts { complete: 1, incomplete: 1, downloaded: 0 };
    assert_eq!(scrape(), Said::Scraped(vec![Counts::default(), one_each]));
    assert_eq!(conductor.scrape(&format!("info_hash={HASH_QUERY}")), [(InfoHash(HASH), one_each)]);
    let done = Announce { left: 0, event: Some(Event::Completed), ..announce(&LEECHER) };
    client.announce(done.clone());
    client.announce(done);
    assert_eq!(scrape(), Said::Scraped(vec![Counts::default(), Counts { complete: 2, incomplete: 0, downloaded: 1 }]));
    client.announce(Announce { event: Some(Event::Stopped), ..announce(&SEED) });
    let told: Vec<_> = (0..3).map(|_| conductor.told()["event"].clone()).collect();
    assert_eq!(told, ["joined", "joined", "left"]);
}

#[test]
fn each_ip_version_hears_of_its_own() {
    let conductor = Conductor::start();
    let Some(v6) = conductor.v6 else {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    };
    Client::of(v6).announce(announce(&SEED));
    Client::of(conductor.v4).announce(announce(&LEECHER));
    let third = || Announce { id: PeerId([b'x'; 20]), port: 1003, ..announce(&LEECHER) };
    assert_eq!(addresses(&Client::of(v6).announce(third())), ["[::1]:1001"]);
    assert_eq!(addresses(&Client::of(conductor.v4).announce(third())), ["127.0.0.1:1002"]);
}

/// A socket that is connected hears only from where it asked.
#[test]
fn every_address_of_the_machine_answers_for_itself() {
    let conductor = Conductor::start();
    for last in 1..=5 {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), conductor.v4.port()));
        Client::of(address).announce(Announce { port: 1000 + u16::from(last), ..announce(&LEECHER) });
    }
}

#[test]
fn whichever_thread_a_question_comes_to_it_is_answered() {
    let conductor = Conductor::start();
    let clients: Vec<Client> = (0..64).map(|_| Client::of(conductor.v4)).collect();
    let connections: Vec<u64> = clients.iter().map(Client::connect).collect();
    assert!(connections.iter().all(|connection| *connection == connections[0]), "one source, one id");
    for (client, port) in clients.iter().zip(2000..) {
        let member = Announce { id: PeerId([port as u8; 20]), port, ..announce(&LEECHER) };
        client.ask(connections[0], Request::Announce(member));
    }
    let counts = Counts { incomplete: 64, ..Counts::default() };
    assert_eq!(conductor.scrape(&format!("info_hash={HASH_QUERY}")), [(InfoHash(HASH), counts)]);
}

#[test]
fn an_id_that_was_not_given_gets_a_short_refusal() {
    let conductor = Conductor::start();
    let client = Client::of(conductor.v4);
    let connection = client.connect();
    for wrong in [0, 1, connection ^ 1, connection.swap_bytes(), 0x0417_2710_1980] {
        for request in [Request::Announce(announce(&SEED)), Request::Scrape(vec![InfoHash(HASH)])] {
            let question = write(&Question::Claim { connection: wrong, transaction: 9, request });
            client.socket.send(&question).unwrap();
            let answer = client.hear_bytes();
            assert!(answer.len() <= question.len(), "{} > {}", answer.len(), question.len());
            let refused = Said::Refused("connection id expired".into());
            assert_eq!(read(&answer, true), Ok(Reply { transaction: 9, said: refused }));
        }
    }
    // An id is for the address that it was given to.
    let elsewhere = UdpSocket::bind("127.0.0.2:0").unwrap();
    elsewhere.connect(conductor.v4).unwrap();
    elsewhere.set_read_timeout(Some(PATIENCE)).unwrap();
    let elsewhere = Client { socket: elsewhere, v4: true };
    assert!(matches!(elsewhere.ask(connection, Request::Announce(announce(&SEED))), Said::Refused(_)));
    assert_eq!(conductor.scrape(&format!("info_hash={HASH_QUERY}")), [(InfoHash(HASH), Counts::default())]);
}

/// What is no question is followed by one: the next that is heard is the answer to that.
#[test]
fn what_is_no_question_is_not_answered() {
    let conductor = Conductor::start();
    let client = Client::of(conductor.v4);
    let connection = client.connect();
    let claim = |connection: u64, action: u32, more: usize| {
        [&connection.to_be_bytes()[..], &action.to_be_bytes(), &[0, 0, 0, 9], &vec![0; more]].concat()
    };
    let connect = write(&Question::Connect { transaction: 7 });
    let nonsense: [&[u8]; 14] = [
        b"",
        b"x",
        &connect[..15],
        &claim(connection, 1, 82)[..15],
        &claim(connection, 0, 0),
        &claim(0, 0, 0),
        &claim(0, 1, 81),
        &claim(0, 2, 0),
        &claim(0, 2, 19),
        &claim(0, 3, 100),
        &claim(u64::MAX, u32::MAX, 1400),
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
        b"GET /announce HTTP/1.1\r\n\r\n",
        &[0xff; 1472],
    ];
    for datagram in nonsense {
        client.socket.send(datagram).unwrap();
        assert_eq!(client.connect(), connection, "{datagram:?}");
    }
    // With an id that was given it is said what is wrong.
    for (question, reason) in [
        (claim(connection, 1, 81), "an announce has 98 bytes at least"),
        (claim(connection, 2, 19), "a scrape names one info-hash at least"),
        (claim(connection, 4, 100), "there is no such action"),
    ] {
        assert_eq!(client.say(&question), Reply { transaction: 9, said: Said::Refused(reason.into()) });
    }
}

#[test]
fn options_behind_an_announce_do_no_harm() {
    let conductor = Conductor::start();
    let client = Client::of(conductor.v4);
    let request = Request::Announce(announce(&SEED));
    let question = write(&Question::Claim { connection: client.connect(), transaction: 9, request });
    for options in
        [&b"\x02\x09/announce"[..], b"\x02\x09/announce\x00", b"\x01\x01\x01", b"\x02\xffshort", &[0xff; 900]]
    {
        let reply = client.say(&[&question, options].concat());
        assert!(matches!(reply.said, Said::Announced(_)), "{reply:?}");
    }
}

#[test]
fn an_id_outlives_a_conductor_that_is_killed() {
    let mut conductor = Conductor::start();
    let client = Client::of(conductor.v4);
    let connection = client.connect();
    conductor.signal(Signal::KILL);
    conductor.child.wait().unwrap();
    let address = conductor.v4.to_string();
    let folder = std::mem::replace(&mut conductor.folder, tempfile::tempdir().unwrap());
    let _again = Conductor::start_in(folder, &address);
    assert!(matches!(client.ask(connection, Request::Announce(announce(&SEED))), Said::Announced(_)));
}

#[test]
fn what_is_not_registered_is_refused_over_udp_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut choosy = command(folder.path());
    choosy.args(["--allow", "registered"]);
    let conductor = Conductor::start_with(choosy, folder, ":0");
    let client = Client::of(conductor.v4);
    let said = client.ask(client.connect(), Request::Announce(announce(&SEED)));
    assert!(matches!(&said, Said::Refused(reason) if reason.contains("composer --register")), "{said:?}");
}

#[test]
fn who_tries_utp_is_told_at_once_that_nobody_speaks_it() {
    let conductor = Conductor::start();
    let client = Client::of(conductor.v4);
    let mut syn = [0; 20];
    (syn[0], syn[2], syn[3], syn[17]) = (0x41, 0xab, 0xcd, 1);
    client.socket.send(&syn).unwrap();
    let reset = client.hear_bytes();
    assert_eq!((reset.len(), &reset[..4], &reset[16..]), (20, &[0x31, 0, 0xab, 0xcd][..], &[0, 0, 0, 1][..]));
}

#[test]
fn a_port_that_is_taken_over_udp_alone_is_refused_too() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let output = command(folder.path()).args(["--listen", &listen]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("{listen} over UDP: another program")), "{said}");
}
