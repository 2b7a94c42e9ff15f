//! Many manifests in one request: the body of `POST /compositions`, and its answer.
//!
//! Pure. The body is a JSON list of manifests as text. The answer has one result for each of them, in the same order,
//! with the status that a `PUT` of that manifest alone would have had; so one bad manifest costs the others nothing.

use serde::{Deserialize, Serialize};

use super::{Composition, MAX_MANIFEST};

/// Manifests in one request, at most.
pub const MAX_BATCH: usize = 256;
/// Length of the body of one request, in bytes, at most: that of the longest manifest.
pub const MAX_BATCH_LENGTH: usize = MAX_MANIFEST;

/// What `POST /compositions` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    pub v: u32,
    /// One for each manifest, in the order of the request.
    pub results: Vec<BatchResult>,
}

/// What became of one manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResult {
    /// The status that a `PUT` would have had: 201 for a new entry, 200 for one that was there or was replaced.
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Composition>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How many of the first of these texts fit into one request.
pub fn that_fit<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    // Brackets around all, quotes and a comma around each.
    let mut length = 2;
    let fits = |text: &&str| {
        length += escaped_length(text) + 3;
        length <= MAX_BATCH_LENGTH
    };
    texts.into_iter().take(MAX_BATCH).take_while(fits).count()
}

/// Length of this text inside a JSON string, in bytes, at most.
fn escaped_length(text: &str) -> usize {
    let length = |byte| match byte {
        b'\n' | b'\r' | b'\t' | b'"' | b'\\' => 2,
        0..=31 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_has_a_length_and_a_number_of_manifests() {
        let long = "x".repeat(MAX_BATCH_LENGTH / 2 - 10);
        assert_eq!(that_fit([&long[..], &long, &long]), 2);
        assert_eq!(that_fit(std::iter::repeat_n("x", MAX_BATCH + 1)), MAX_BATCH);
        assert_eq!(that_fit([&"\n".repeat(MAX_BATCH_LENGTH / 2)[..]]), 0);
        assert_eq!(that_fit([]), 0);
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_was_thought(texts in prop::collection::vec(any::<String>(), 0..9)) {
            let thought: usize = 2 + texts.iter().map(|text| escaped_length(text) + 3).sum::<usize>();
            prop_assert!(serde_json::to_vec(&texts).unwrap().len() <= thought);
        }
    }
}
