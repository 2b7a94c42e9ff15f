//! Questions among neighbours, and answers.

use orchestra::wire::extension::search::{Asks, MOST_BYTES, MOST_FINDS, MOST_HOPS, MOST_TEXT, Says, Talk};

pub fn run(data: &[u8]) {
    let Ok(talk) = Talk::decode(data) else {
        return;
    };
    match &talk {
        Talk::Question(question) => {
            assert!(question.hops <= MOST_HOPS);
            if let Asks::For(text) = &question.asks {
                assert!(text.len() <= MOST_TEXT);
            }
        }
        Talk::Answer(answer) => {
            assert!(answer.port != 0 && answer.hops <= MOST_HOPS);
            if let Says::Finds(finds) = &answer.says {
                assert!(finds.len() <= MOST_FINDS && finds.iter().all(|find| find.left <= find.size));
            }
        }
    }
    let bytes = talk.encode();
    assert!(bytes.len() <= MOST_BYTES);
    assert_eq!(Talk::decode(&bytes), Ok(talk));
}
