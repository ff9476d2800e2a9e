//! What a message carries so that its arrival says who sent it, when, and as its how-manyth.
//!
//! The body is a JSON string, `"^PUBLISHER.NUMBER.SENT^xxxx"`: it looks the same in every framing, and is
//! found by its mark without parsing what is around it. A generator that parsed JSON would be measured
//! instead of the server.

use std::fmt::Write as _;

use memchr::memchr_iter;

/// Stands in no cursor, sender, name or id that a run sees.
const MARK: u8 = b'^';

/// One message's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which publisher: they count from 0.
    pub(crate) publisher: usize,
    /// The publisher's how-manyth message: dense, from 0.
    pub(crate) number: usize,
    /// When it was due, in nanoseconds since the run began.
    pub(crate) sent: u64,
}

impl Stamp {
    /// The body of a message: JSON text of at least `size` bytes.
    pub(crate) fn body(&self, size: usize) -> String {
        let mut body = String::with_capacity(size);
        write!(body, "\"^{}.{}.{}^", self.publisher, self.number, self.sent)
            .expect("a string takes all");
        while body.len() + 1 < size {
            body.push('x');
        }
        body.push('"');
        body
    }

    /// The stamps in a text, in their order. A stamp that is cut in two is not found: hand over whole
    /// messages.
    pub(crate) fn scan(text: &[u8]) -> impl Iterator<Item = Self> {
        let mut marks = memchr_iter(MARK, text);
        std::iter::from_fn(move || {
            let (begin, end) = (marks.next()?, marks.next()?);
            Some(Self::parse(&text[begin + 1..end]))
        })
        .flatten()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut numbers = text.split(|byte| *byte == b'.').map(number);
        let stamp = Self {
            publisher: usize::try_from(numbers.next()??).ok()?,
            number: usize::try_from(numbers.next()??).ok()?,
            sent: numbers.next()??,
        };
        numbers.next().is_none().then_some(stamp)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        publisher: 3,
        number: 14,
        sent: 1_592_653,
    };

    #[track_caller]
    fn check(text: &str, expected: &[Stamp]) {
        let found: Vec<_> = Stamp::scan(text.as_bytes()).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_body_has_its_size_and_is_found_again() {
        for size in [0, 24, 100, 65_536] {
            let body = STAMP.body(size);
            assert!(body.len() >= size, "{size}");
            assert!(size < 24 || body.len() == size, "{size}");
            serde_json::from_str::<String>(&body).expect("a body is JSON");
            check(&format!("{{\"offset\":7,\"body\":{body}}}"), &[STAMP]);
        }
    }

    #[test]
    fn every_message_of_a_batch_is_found_in_order() {
        let later = Stamp {
            number: 15,
            ..STAMP
        };
        let (one, other) = (STAMP.body(60), later.body(60));
        check(&format!("[{one},{other}]"), &[STAMP, later]);
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "^",
            "^^",
            "^1.2^",
            "^1.2.^",
            "^1.2.3",
            "^1.2.x^",
            "^1.2.3.4^",
            "^1.2.99999999999999999999^",
        ] {
            check(text, &[]);
        }
    }
}
