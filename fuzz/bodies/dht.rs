//! A packet of the DHT (BEP 5): what is read is bounded, and a query is read again as written.

use orchestra::discovery::dht::krpc::{Body, MOST_CONTACTS, MOST_MEMBERS, Query, read, write_answer, write_query};

pub fn run(data: &[u8]) {
    let Some(packet) = read(data) else {
        return;
    };
    assert!(!packet.transaction.is_empty() && packet.transaction.len() <= data.len());
    match &packet.body {
        Body::Query { query: Query::Unknown, .. } | Body::Refused => {}
        Body::Query { id, query, read_only } => {
            let again = read(&write_query(&packet.transaction, *id, query, *read_only));
            assert_eq!(again.as_ref(), Some(&packet), "what we write is read");
        }
        Body::Answer(answer) => {
            let nodes = answer.nodes.as_deref().unwrap_or_default();
            assert!(nodes.len() <= MOST_CONTACTS && answer.members.len() <= MOST_MEMBERS);
            let usable = |at: &core::net::SocketAddr| at.port() > 0 && !at.ip().is_unspecified();
            assert!(nodes.iter().map(|node| &node.address).chain(&answer.members).all(usable));
            let to = core::net::SocketAddr::from(([10, 0, 0, 1], 1));
            assert!(read(&write_answer(&packet.transaction, answer, to)).is_some(), "what we write is read");
        }
    }
}
