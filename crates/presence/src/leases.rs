//! Who lives, judged by what their leases do while they are looked at.

use crate::documents::Lease;
use crate::{BEAT_MS, DEAD_MS};
use std::collections::BTreeMap;

/// Whoever was not looked at for so long is forgotten, in milliseconds.
const FORGOTTEN_MS: u64 = 60_000;
/// A lease this old by the clocks of two instances is doubted by who sees it for the first time. Clocks may disagree by
/// as much; shorter: such instances are seen late; longer: who sees a channel for the first time sees the dead.
const DOUBTED_MS: u64 = 60_000;
/// One this old is dead at first sight: an instance that lives shortly is never there to see it twice.
const ANCIENT_MS: u64 = 600_000;

/// What is to be thought of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    /// Not to be counted, and not to be swept.
    Doubted,
    Dead,
}

#[derive(Default)]
pub(crate) struct Leases(BTreeMap<String, Peer>);

struct Peer {
    lease: Option<Lease>,
    /// When it was looked at last, by the observer's clock.
    looked: u64,
    /// How long it was looked at without moving.
    unmoved: u64,
    verdict: Verdict,
}

impl Leases {
    /// Whether it is time to look at an instance's lease.
    pub(crate) fn is_due(&self, instance: &str, now: u64) -> bool {
        let peer = self.0.get(instance);
        peer.is_none_or(|peer| now.saturating_sub(peer.looked) >= BEAT_MS)
    }

    /// When the next of these is to be looked at.
    pub(crate) fn next<'a>(&self, instances: impl Iterator<Item = &'a String>) -> Option<u64> {
        let peers = instances.filter_map(|name| self.0.get(name));
        peers.map(|peer| peer.looked + BEAT_MS).min()
    }

    /// What is thought of an instance by now.
    pub(crate) fn verdict(&self, instance: &str) -> Verdict {
        let peer = self.0.get(instance);
        peer.map_or(Verdict::Alive, |peer| peer.verdict)
    }

    /// Takes what a lease is at `now`, by the observer's own clock; `wall` is its time since 1970. True: what the
    /// instance tells may be another than when it was looked at last.
    pub(crate) fn look(
        &mut self,
        instance: &str,
        lease: Option<Lease>,
        now: u64,
        wall: u64,
    ) -> bool {
        if !self.0.contains_key(instance) {
            self.0
                .retain(|_, peer| now.saturating_sub(peer.looked) < FORGOTTEN_MS);
        }
        let peer = self.0.entry(instance.to_owned()).or_insert(Peer {
            lease: None,
            looked: now,
            unmoved: 0,
            verdict: Verdict::Alive,
        });
        // An observer that slept has not been looking.
        let looked = now.saturating_sub(peer.looked).min(BEAT_MS * 3 / 2);
        peer.looked = now;
        let before = peer.verdict;
        let Some(lease) = lease else {
            peer.verdict = Verdict::Dead;
            return before != Verdict::Dead;
        };
        match peer.lease.replace(lease) {
            None => {
                let age = wall.saturating_sub(lease.at);
                peer.verdict = match age {
                    ANCIENT_MS.. => Verdict::Dead,
                    DOUBTED_MS.. => Verdict::Doubted,
                    _ => Verdict::Alive,
                };
                false
            }
            Some(known) if known.beat == lease.beat => {
                peer.unmoved += looked;
                if peer.unmoved >= DEAD_MS {
                    peer.verdict = Verdict::Dead;
                }
                peer.verdict != before
            }
            Some(known) => {
                peer.unmoved = 0;
                peer.verdict = Verdict::Alive;
                known.told != lease.told || before != Verdict::Alive
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000;

    fn at(beat: u64) -> Option<Lease> {
        Some(Lease {
            beat,
            told: 0,
            at: WALL,
        })
    }

    /// What is thought after looking at these times.
    #[track_caller]
    fn check(looks: &[(u64, Option<Lease>)], wanted: Verdict) {
        let mut leases = Leases::default();
        for (now, lease) in looks {
            leases.look("a", *lease, *now, WALL);
        }
        assert_eq!(leases.verdict("a"), wanted, "{looks:?}");
    }

    #[test]
    fn a_lease_that_does_not_move_is_dead_after_seven_seconds_of_looking() {
        let looks = |beats: &[u64]| {
            let times = (0..).step_by(1_500);
            times
                .zip(beats)
                .map(|(now, &beat)| (now, at(beat)))
                .collect::<Vec<_>>()
        };
        check(&looks(&[1, 1, 1, 1, 1]), Verdict::Alive);
        check(&looks(&[1, 1, 1, 1, 1, 1]), Verdict::Dead);
        check(&looks(&[1, 1, 1, 1, 2, 2]), Verdict::Alive);
        check(&looks(&[1, 1, 1, 1, 1, 1, 2]), Verdict::Alive);
    }

    #[test]
    fn an_observer_that_slept_has_not_been_looking() {
        check(&[(0, at(1)), (60_000, at(1))], Verdict::Alive);
        check(&[(0, at(1)), (60_000, at(2))], Verdict::Alive);
    }

    #[test]
    fn a_lease_that_is_gone_is_dead_at_once() {
        check(&[(0, None)], Verdict::Dead);
        check(&[(0, at(1)), (2_000, None)], Verdict::Dead);
    }

    #[test]
    fn who_told_something_or_died_is_to_be_read_again() {
        let mut leases = Leases::default();
        let mut look = |beat, told, now| {
            let lease = Lease {
                beat,
                told,
                at: WALL,
            };
            leases.look("a", (beat > 0).then_some(lease), now, WALL)
        };
        assert!(!look(1, 0, 0));
        assert!(!look(2, 0, 1_500));
        assert!(look(3, 1, 3_000));
        assert!(!look(4, 1, 4_500));
        assert!(look(0, 0, 6_000));
        assert!(!look(0, 0, 7_500));
    }

    #[test]
    fn an_old_lease_is_doubted_at_first_sight_and_believed_when_it_moves() {
        let old = |beat, age| {
            Some(Lease {
                beat,
                told: 0,
                at: WALL - age,
            })
        };
        check(&[(0, old(1, 59_000))], Verdict::Alive);
        check(&[(0, old(1, 61_000))], Verdict::Doubted);
        check(
            &[(0, old(1, 61_000)), (2_000, old(2, 61_000))],
            Verdict::Alive,
        );
        check(&[(0, old(1, 601_000))], Verdict::Dead);
        let ahead = Some(Lease {
            beat: 1,
            told: 0,
            at: WALL + 900_000,
        });
        check(&[(0, ahead)], Verdict::Alive);
    }
}
