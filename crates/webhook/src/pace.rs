//! How soon something that failed is tried again.

use crate::{FIRST_WAIT_MS, LONGEST_ASKED_MS, LONGEST_WAIT_MS};

/// The failures in a row of an endpoint, or of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    failures: u32,
    due: u64,
}

impl Pace {
    /// One more failure at `now`, of an attempt begun at `begun`: some time between at once and the double of last time
    /// (full jitter, so that many do not come back together), and not before what was asked for.
    pub(crate) fn fail(&mut self, begun: u64, now: u64, after_ms: Option<u64>, random: u64) {
        // Of those under way at once, one counts.
        if begun >= self.due {
            let doubled = FIRST_WAIT_MS.saturating_mul(1 << self.failures.min(32));
            self.failures = self.failures.saturating_add(1);
            self.due = now + random % (doubled.min(LONGEST_WAIT_MS) + 1);
        }
        let asked = after_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
        self.due = self.due.max(now + asked);
    }

    /// It is well.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Whether it failed the last time.
    pub(crate) fn is_failing(self) -> bool {
        self.failures > 0
    }

    /// When to try, by the clock that `fail` was told.
    pub(crate) fn due(self) -> u64 {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waits of so many failures in a row, each with the longest that chance gives.
    fn longest(failures: usize) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut now = 0;
        (0..failures)
            .map(|_| {
                // The largest remainder is the whole range.
                let range = FIRST_WAIT_MS.saturating_mul(1 << pace.failures.min(32));
                pace.fail(now, now, None, range.min(LONGEST_WAIT_MS));
                let wait = pace.due() - now;
                now = pace.due();
                wait
            })
            .collect()
    }

    #[test]
    fn waits_double_up_to_five_minutes() {
        let seconds: Vec<_> = longest(12).iter().map(|ms| ms / 1_000).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(longest(200).last(), Some(&300_000));
    }

    #[test]
    fn failures_at_once_count_once_and_what_is_asked_for_is_kept_within_an_hour() {
        let mut pace = Pace::default();
        pace.fail(0, 100, None, 500);
        pace.fail(0, 200, None, 900);
        assert_eq!((pace.failures, pace.due()), (1, 600));
        pace.fail(0, 300, Some(7_000), 0);
        assert_eq!((pace.failures, pace.due()), (1, 7_300));
        pace.fail(7_300, 8_000, Some(u64::MAX), 0);
        assert_eq!((pace.failures, pace.due()), (2, 3_608_000));
        pace.succeed();
        assert_eq!((pace.is_failing(), pace.due()), (false, 0));
    }
}
