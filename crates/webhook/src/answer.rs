//! What an endpoint's answer means.

use std::time::{Duration, UNIX_EPOCH};

/// What the endpoint made of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Accepted,
    /// It wants nothing more, ever: nothing is sent until it has another name.
    Gone,
    /// It does not take this batch now: this channel waits.
    Refused,
    /// It cannot be reached, or has too much to do: all channels wait, at least so many milliseconds.
    Away {
        /// What it asked for, if it did.
        after_ms: Option<u64>,
    },
}

impl Answer {
    /// By the status of a response, and its header `Retry-After` (RFC 9110, section 10.2.3); `now` is in milliseconds
    /// since 1970. What any status but these says concerns the endpoint, and not this batch: a redirect, which is not
    /// followed, a path that is not there, a gateway without what is behind it.
    #[must_use]
    pub fn of(status: u16, retry_after: Option<&str>, now: u64) -> Self {
        match status {
            200..=299 => Self::Accepted,
            410 => Self::Gone,
            // Of what is in the batch, or of what its receiver does with it.
            400 | 409 | 413 | 422 | 500 => Self::Refused,
            _ => Self::Away {
                after_ms: retry_after.and_then(|value| wait(value.trim(), now)),
            },
        }
    }
}

/// Seconds, or a date.
fn wait(value: &str, now: u64) -> Option<u64> {
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = UNIX_EPOCH.checked_add(Duration::from_millis(now))?;
    let wait = date.duration_since(now).unwrap_or_default();
    u64::try_from(wait.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_who_waits_and_for_how_long() {
        let away = |after_ms| Answer::Away { after_ms };
        // Sun, 06 Nov 1994 08:49:37 GMT
        let date = 784_111_777_000;
        for (status, retry_after, expected) in [
            (200, None, Answer::Accepted),
            (204, Some("9"), Answer::Accepted),
            (299, None, Answer::Accepted),
            (410, None, Answer::Gone),
            (400, None, Answer::Refused),
            (413, None, Answer::Refused),
            (500, None, Answer::Refused),
            (302, None, away(None)),
            (401, None, away(None)),
            (404, None, away(None)),
            (429, Some("120"), away(Some(120_000))),
            (503, Some(" 7 "), away(Some(7_000))),
            (503, Some("99999999999999999999"), away(None)),
            (503, Some("18446744073709551615"), away(Some(u64::MAX))),
            (503, Some("soon"), away(None)),
            (503, Some("-1"), away(None)),
            (
                503,
                Some("Sun, 06 Nov 1994 08:49:47 GMT"),
                away(Some(10_000)),
            ),
            (503, Some("Sun, 06 Nov 1994 08:49:07 GMT"), away(Some(0))),
            (502, None, away(None)),
        ] {
            let answer = Answer::of(status, retry_after, date);
            assert_eq!(answer, expected, "{status} {retry_after:?}");
        }
    }
}
