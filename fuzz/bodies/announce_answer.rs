//! The bodies that answer `/announce` and `/scrape`, as a member reads them from a conductor that it need not trust.

use orchestra::announce::{
    Reply,
    http_answer::{ListForm, MAX_LISTED, read_reply, read_scrape, write_reply, write_scrape},
};

pub fn run(data: &[u8]) {
    if let Ok(reply) = read_reply(data) {
        match &reply {
            Reply::Failure(reason) => assert!(is_for_people(reason), "{reason:?}"),
            Reply::Answer(answer) => {
                assert!(answer.peers.len() <= MAX_LISTED);
                let usable = |peer: &orchestra::announce::Listed| {
                    peer.address.port() != 0 && !peer.address.ip().is_unspecified()
                };
                assert!(answer.peers.iter().all(usable));
                assert!(answer.warning.iter().all(|text| is_for_people(text)));
            }
        }
        // A text is cut at a number of bytes, and may have grown where it was no UTF-8.
        let is_short = match &reply {
            Reply::Failure(reason) => reason.len() <= 300,
            Reply::Answer(answer) => answer.warning.as_ref().is_none_or(|text| text.len() <= 300),
        };
        if is_short {
            assert_eq!(read_reply(&write_reply(&reply, ListForm::Long)), Ok(reply));
        }
    }
    if let Ok(mut swarms) = read_scrape(data) {
        let mut again = read_scrape(&write_scrape(&swarms)).expect("a scrape that was written");
        swarms.sort_by_key(|(hash, _)| *hash);
        swarms.dedup_by_key(|(hash, _)| *hash);
        again.sort_by_key(|(hash, _)| *hash);
        assert!(again == swarms);
    }
}

fn is_for_people(text: &str) -> bool {
    text.chars().count() <= 300 && !text.contains(char::is_control)
}
