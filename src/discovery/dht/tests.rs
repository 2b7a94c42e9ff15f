use super::*;

const SWARM: InfoHash = InfoHash([5; 20]);

async fn socket(ip: &str) -> UdpSocket {
    UdpSocket::bind((ip, 0)).await.unwrap()
}

/// A part in the DHT at this address that begins at `nodes`; and where it is.
async fn joins(ip: &str, port: u16, nodes: &[SocketAddr], stop: &CancellationToken) -> (Dht, SocketAddr) {
    let sockets = vec![socket(ip).await];
    let address = sockets[0].local_addr().unwrap();
    // Port 9 of this machine: nobody is asked outside of it.
    let nodes = if nodes.is_empty() { &[SocketAddr::from(([127, 0, 0, 1], 9))] } else { nodes };
    let nodes = nodes.iter().map(|at| Endpoint { host: Host::Ip(at.ip()), port: at.port() }).collect();
    (Dht::start(Setup { sockets, port, nodes, state: None }, stop.clone()), address)
}

#[tokio::test]
async fn members_find_each_other_through_a_third() {
    let stop = CancellationToken::new();
    let (_third, third) = joins("127.0.0.1", 1, &[], &stop).await;
    let (one, _) = joins("127.0.0.2", 2, &[third], &stop).await;
    let (found, _unheard) = mpsc::channel(9);
    one.share(SWARM, found, stop.clone());
    let (other, _) = joins("127.0.0.3", 3, &[], &stop).await;
    other.greet(third);
    loop {
        // Who came too early finds nobody, and is looked for again as soon as somebody else asks.
        let (found, mut heard) = mpsc::channel(9);
        other.share(SWARM, found, stop.clone());
        let members = tokio::time::timeout(Duration::from_secs(2), heard.recv()).await;
        if let Ok(Some(Discovered::Hearsay(members))) = members {
            assert_eq!(members, ["127.0.0.2:2".parse().unwrap()]);
            break;
        }
    }
    stop.cancel();
}

#[tokio::test]
async fn a_connection_over_utp_is_refused_at_the_same_port() {
    let stop = CancellationToken::new();
    let (_dht, address) = joins("127.0.0.1", 1, &[], &stop).await;
    let them = socket("127.0.0.1").await;
    let mut syn = [0; 20];
    (syn[0], syn[3], syn[17]) = (0x41, 7, 9);
    them.send_to(&syn, address).await.unwrap();
    let mut answer = [0; 100];
    let (count, _) = them.recv_from(&mut answer).await.unwrap();
    assert_eq!((count, answer[0]), (utp::HEADER, 0x31));
    them.send_to(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", address).await.unwrap();
    let (count, _) = them.recv_from(&mut answer).await.unwrap();
    assert!(matches!(krpc::read(&answer[..count]), Some(krpc::Packet { body: krpc::Body::Answer(_), .. })));
    stop.cancel();
}

#[test]
fn who_answered_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state/dht-nodes");
    let known: Vec<SocketAddr> = ["10.0.0.1:6881", "[fd00::1]:1"].iter().map(|text| text.parse().unwrap()).collect();
    assert!(read_note(&place).is_empty());
    write_note(&place, &known).unwrap();
    assert_eq!(read_note(&place), known);
    std::fs::write(&place, "orchestra dht nodes 1\n10.0.0.1:6881\n").unwrap();
    assert!(read_note(&place).is_empty(), "it is not as it was written");
}
