//! Who delivers, judged by what their lease does while it is looked at.

use crate::{ANCIENT_MS, DEAD_MS, LOOK_MS};
use serde::{Deserialize, Serialize};

/// The document's name.
pub(crate) const NAME: &str = "webhook/lease";

/// Who delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lease {
    /// A number drawn by the holder; 0: nobody.
    pub(crate) holder: u64,
    /// Counted up while the holder lives.
    pub(crate) beat: u64,
    /// When, by the holder's clock, in milliseconds since 1970.
    pub(crate) counted_at: u64,
    /// The endpoint that wants nothing more.
    pub(crate) gone: String,
}

/// What an observer has seen of a lease.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    seen: Option<(u64, u64)>,
    looked: u64,
    unmoved: u64,
}

impl Judge {
    /// Whether a lease may be taken, as it was read at `now` by the observer's own clock; `wall` is its time since 1970.
    pub(crate) fn is_free(&mut self, lease: &Lease, now: u64, wall: u64) -> bool {
        // An observer that slept has not been looking.
        let looked = now.saturating_sub(self.looked).min(LOOK_MS * 2);
        self.looked = now;
        let seen = Some((lease.holder, lease.beat));
        if self.seen == seen {
            self.unmoved += looked;
        } else {
            self.seen = seen;
            self.unmoved = 0;
        }
        lease.holder == 0
            || self.unmoved >= DEAD_MS
            || wall.saturating_sub(lease.counted_at) >= ANCIENT_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000;

    fn held(beat: u64) -> Lease {
        Lease {
            holder: 9,
            beat,
            counted_at: WALL,
            gone: String::new(),
        }
    }

    /// Whether the lease is free after looking at these times.
    #[track_caller]
    fn check(looks: &[(u64, u64)], free: bool) {
        let mut judge = Judge::default();
        let verdicts: Vec<bool> = looks
            .iter()
            .map(|&(now, beat)| judge.is_free(&held(beat), now, WALL))
            .collect();
        assert_eq!(verdicts.last(), Some(&free), "{looks:?}");
    }

    #[test]
    fn a_lease_is_free_when_it_stood_still_for_eight_seconds_of_looking() {
        let times = |end: u64| (0..=end).step_by(1_000);
        let still = |end| times(end).map(|now| (now, 1)).collect::<Vec<_>>();
        check(&still(7_000), false);
        check(&still(8_000), true);
        let moving: Vec<_> = times(60_000).map(|now| (now, now / 4_000)).collect();
        check(&moving, false);
        // Who slept has not been looking.
        check(&[(0, 1), (60_000, 1)], false);
    }

    #[test]
    fn nobodys_lease_and_an_ancient_one_are_free_at_once() {
        let mut judge = Judge::default();
        assert!(judge.is_free(&Lease::default(), 0, WALL));
        assert!(!Judge::default().is_free(&held(1), 0, WALL + ANCIENT_MS - 1));
        assert!(Judge::default().is_free(&held(1), 0, WALL + ANCIENT_MS));
        // A clock that is behind the holder's.
        assert!(!Judge::default().is_free(&held(1), 0, 0));
    }
}
