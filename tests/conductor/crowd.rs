//! One source that wants the whole conductor, and another that wants an answer.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Conductor, LEECHER, SEED, addresses, command};

/// A connection from this address of the machine.
fn connect_from(last: u8, conductor: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&conductor.into()).unwrap();
    socket.into()
}

/// A conductor that has room for 136 connections, so 17 from one source.
fn small() -> Conductor {
    let folder = tempfile::tempdir().unwrap();
    let plain = command(folder.path());
    let mut small = Command::new("sh");
    small.args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""]).arg(plain.get_program()).current_dir(folder.path());
    small.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    small.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Conductor::start_with(small, folder, ":0")
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
