//! One source that wants the whole conductor, and another that wants an answer.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Conductor, LEECHER, SEED, addresses, ask, command};

/// A connection from this address of the machine.
pub fn connect_from(last: u8, conductor: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&conductor.into()).unwrap();
    socket.into()
}

/// A conductor that has room for 136 connections, so 17 from one source.
fn small() -> Conductor {
    let folder = tempfile::tempdir().unwrap();
    Conductor::start_with(with_few_files(folder.path()), folder, ":0")
}

/// A conductor that may open 200 files.
fn with_few_files(folder: &Path) -> Command {
    let plain = command(folder);
    let mut small = Command::new("sh");
    small.args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""]).arg(plain.get_program()).current_dir(folder);
    small.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    small.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    small
}

#[test]
fn silent_connections_for_the_numbers_leave_files_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        with_few_files(folder.path()).args(["--listen", ":0", "--metrics", "127.0.0.1:0", "--json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    let metrics: SocketAddr = listening["metrics"].as_str().unwrap().parse().unwrap();
    let port = listening["addresses"][0].as_str().unwrap().parse::<SocketAddr>().unwrap().port();
    let crowd: Vec<TcpStream> = (0..400u16).map(|n| connect_from(2 + (n % 8) as u8, metrics)).collect();
    let there = ask(connect_from(1, metrics), "GET /metrics HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(there.body).unwrap();
    assert!(text.contains("orchestra_members 0"), "{text}");
    SEED.announce_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "");
    drop(crowd);
    let (killed, _) = (child.kill(), child.wait());
    assert!(killed.is_ok());
}

#[test]
fn idle_and_slow_connections_of_one_source_leave_room_for_others() {
    let conductor = small();
    let mut crowd: Vec<TcpStream> = (0..400).map(|_| connect_from(2, conductor.v4)).collect();
    // Some are slow: they send a header that never ends.
    for slow in crowd.iter_mut().step_by(2) {
        let _ = slow.write_all(b"GET /announce HTTP/1.1\r\nX: ");
    }
    conductor.announce(&SEED, "");
    assert_eq!(addresses(&conductor.announce(&LEECHER, "")), ["127.0.0.1:1001"]);
    let is_let_go = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream = stream;
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let begin = Instant::now();
    while crowd.iter().filter(|stream| is_let_go(stream)).count() < 400 - 17 {
        assert!(begin.elapsed() < Duration::from_secs(30), "most of the crowd is still there");
        thread::sleep(Duration::from_millis(10));
    }
}

/// An announce that comes in two pieces, so that the connection takes a place; false: it was closed unanswered.
fn is_answered(conductor: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(conductor).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: c\r\n\r\n", SEED.query(""));
    let mut answer = Vec::new();
    let (begin, rest) = request.as_bytes().split_at(9);
    let asked = stream.write_all(begin).and_then(|()| stream.write_all(rest));
    asked.and_then(|()| stream.read_to_end(&mut answer)).is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

#[test]
fn silent_connections_of_eight_sources_keep_nobody_out() {
    let conductor = small();
    let crowd: Vec<TcpStream> = (0..136u8).map(|n| connect_from(2 + n % 8, conductor.v4)).collect();
    let answered: usize = thread::scope(|scope| {
        let ask = || (0..32).filter(|_| is_answered(conductor.v4)).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(answered, 256);
    drop(crowd);
}
