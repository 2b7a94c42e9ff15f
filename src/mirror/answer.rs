//! What an HTTP answer to a range request is worth (RFC 9110), from its head alone.
//!
//! It only sorts out what cannot be right; that the bytes are right, the parts' SHA-1 shows.

use std::ops::Range;

use super::Failure;

/// The head of an answer, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    pub status: u16,
    pub content_range: Option<&'a str>,
    /// Length of the body in bytes, where it is known.
    pub length: Option<u64>,
    pub encoding: Option<&'a str>,
}

/// How many bytes of the body are those that were asked for, from its first byte on: `asked` of a file of `size` bytes, or
/// fewer where the server gives fewer at a time.
///
/// # Errors
/// The body is not to be read.
pub fn usable(head: &Head<'_>, asked: &Range<u64>, size: u64) -> Result<u64, Failure> {
    let never = |text: String| Err(Failure::Never(text));
    match head.status {
        200 | 206 if head.encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) => {
            never("it sends the file in another encoding than it has".to_owned())
        }
        206 => partial(head, asked, size),
        // The whole file, from its start: the server knows no ranges.
        200 if asked.start > 0 => never("it sends whole files alone, no ranges of them".to_owned()),
        200 => match head.length {
            Some(length) if length != size => never(format!("its file has {length} bytes, not {size}")),
            _ => Ok(asked.end),
        },
        416 => never(format!("its file has not the {size} bytes that it should have")),
        status @ (408 | 425 | 429 | 500..) => Err(Failure::Later(format!("it answers with HTTP status {status}"))),
        404 | 410 => never(format!("it has no such file (HTTP status {})", head.status)),
        status => never(format!("it answers with HTTP status {status}")),
    }
}

fn partial(head: &Head<'_>, asked: &Range<u64>, size: u64) -> Result<u64, Failure> {
    let Some((sent, total)) = head.content_range.and_then(content_range) else {
        return Err(Failure::Never("it does not say which bytes it sends".to_owned()));
    };
    if let Some(total) = total.filter(|total| *total != size) {
        return Err(Failure::Never(format!("its file has {total} bytes, not {size}")));
    }
    if sent.start != asked.start {
        return Err(Failure::Never("it sends other bytes than it was asked for".to_owned()));
    }
    Ok(sent.end.min(asked.end) - asked.start)
}

/// `bytes FIRST-LAST/SIZE`, the size perhaps `*`.
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    (unit.eq_ignore_ascii_case("bytes") && first <= last).then_some((first..last.checked_add(1)?, total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partial(content_range: &str) -> Result<u64, Failure> {
        usable(&Head { status: 206, content_range: Some(content_range), ..Head::default() }, &(10..20), 100)
    }

    #[test]
    fn a_range_is_taken_as_far_as_it_is_the_one_asked_for() {
        for (said, used) in
            [("bytes 10-19/100", 10), ("Bytes 10-19/*", 10), ("bytes 10-14/100", 5), ("bytes 10-99/100", 10)]
        {
            assert_eq!(partial(said), Ok(used), "{said}");
        }
        for said in [
            "bytes 10-19/99",
            "bytes 11-19/100",
            "bytes 0-99/100",
            "bytes */100",
            "lines 10-19/100",
            "",
            "bytes 19-10/100",
        ] {
            assert!(matches!(partial(said), Err(Failure::Never(_))), "{said}");
        }
        assert!(partial(&format!("bytes 10-{}/*", u64::MAX)).is_err());
    }

    #[test]
    fn a_whole_file_is_taken_from_its_start_alone() {
        let whole = |asked: Range<u64>, length| usable(&Head { status: 200, length, ..Head::default() }, &asked, 100);
        assert_eq!(whole(0..20, Some(100)), Ok(20));
        assert_eq!(whole(0..100, None), Ok(100));
        assert!(matches!(whole(10..20, Some(100)), Err(Failure::Never(_))));
        assert!(matches!(whole(0..20, Some(99)), Err(Failure::Never(_))));
        let squeezed = Head { status: 200, encoding: Some("gzip"), ..Head::default() };
        assert!(matches!(usable(&squeezed, &(0..20), 100), Err(Failure::Never(_))));
    }

    #[test]
    fn what_may_be_better_later_is_told_from_what_will_not() {
        let status = |status| usable(&Head { status, ..Head::default() }, &(0..20), 100);
        for later in [408, 429, 500, 503] {
            assert!(matches!(status(later), Err(Failure::Later(_))), "{later}");
        }
        for never in [204, 304, 401, 403, 404, 410, 416] {
            assert!(matches!(status(never), Err(Failure::Never(_))), "{never}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_was_asked_for(
            text in "bytes [0-9]{1,2}-[0-9]{1,2}/(100|\\*)", status in prop::sample::select(vec![200u16, 206]),
            length in prop::option::of(Just(100u64)), start in 0u64..5, len in 1u64..50,
        ) {
            let head = Head { status, content_range: Some(&text), length, encoding: None };
            if let Ok(used) = usable(&head, &(start..start + len), 100) {
                prop_assert!(used > 0 && used <= len);
            }
        }
    }
}
