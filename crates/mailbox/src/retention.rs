//! How long a channel's messages are kept, in words.

use std::str::FromStr;

/// How much of a channel is kept. A message goes when it is too old, and when too many came after it.
///
/// In words `1000 for 24h`: a number of messages, 1 to 1,000,000, and a time in `min`, `h` or `d`, at most 3,650 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At least so many of the newest messages stay readable; up to half a tail more.
    pub messages: u64,
    /// Older ones go as messages come, in milliseconds: those of a segment when the next one is written.
    pub age_ms: u64,
}

/// It is no retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is kept is like 1000 for 24h: up to 1000000 messages, for minutes (min), hours (h) or days (d), up to 3650d"
)]
pub struct BadRetention;

const MINUTE_MS: u64 = 60 * 1_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const LONGEST_MS: u64 = 3_650 * DAY_MS;

impl FromStr for Retention {
    type Err = BadRetention;

    fn from_str(text: &str) -> Result<Self, BadRetention> {
        let words: Vec<_> = text.split_whitespace().collect();
        let &[messages, "for", time] = words.as_slice() else {
            return Err(BadRetention);
        };
        let messages = match messages.parse() {
            Ok(messages @ 1..=1_000_000) => messages,
            _ => return Err(BadRetention),
        };
        let digits = time.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &time[digits.len()..] {
            "min" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            _ => return Err(BadRetention),
        };
        let time: u64 = digits.parse().map_err(|_| BadRetention)?;
        match time.checked_mul(unit) {
            Some(age_ms @ 1..=LONGEST_MS) => Ok(Self { messages, age_ms }),
            _ => Err(BadRetention),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_read_from_words() {
        #[track_caller]
        fn check(text: &str, expected: Option<(u64, u64)>) {
            let expected = expected.map(|(messages, age_ms)| Retention { messages, age_ms });
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        check("1000 for 24h", Some((1_000, 86_400_000)));
        check(" 1  for 1min ", Some((1, 60_000)));
        check("1000000 for 3650d", Some((1_000_000, 315_360_000_000)));
        for text in [
            "",
            "1000",
            "for 24h",
            "1000 for",
            "0 for 1h",
            "1000001 for 1h",
            "1000 for 0h",
            "1000 for 3651d",
            "1000 for 18446744073709551615d",
            "1000 for 24",
            "1000 for h",
            "1000 for 1.5h",
            "1000 for -1h",
            "1000 for 1 h",
            "1000 for 24hours",
            "1000 for 24h 1",
            "-5 for 24h",
            "ä for ähd",
        ] {
            check(text, None);
        }
    }
}
