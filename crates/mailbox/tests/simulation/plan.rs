//! What a seed draws before it begins: the store's character, the window, and how rough it gets.

use crate::random::Random;
use crate::store::{Character, Encoding, Honesty};
use mailbox::{Retention, Window};

/// What a rollback of the store does to those who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rollback {
    Never,
    /// The store lost its newest writes as it went down, and every instance with it.
    Restart,
    /// It was put back while no instance was about to write; they go on with what they remember.
    Quiet,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) store: Character,
    pub(crate) window: Window,
    pub(crate) instances: usize,
    pub(crate) channels: usize,
    pub(crate) senders: u64,
    pub(crate) readers: usize,
    /// How many publish calls clients make, repeats not counted.
    pub(crate) publishes: u64,
    /// Most drafts in one call.
    pub(crate) batch: u64,
    /// The longest body.
    pub(crate) body: u64,
    /// How often something begins rather than goes on, in thousandths of all steps.
    pub(crate) bustle: u64,
    // How often this begins, compared to 100 publishes.
    pub(crate) crashes: u64,
    pub(crate) cancels: u64,
    pub(crate) pauses: u64,
    pub(crate) leaps: u64,
    /// The longest leap of the clock, in milliseconds.
    pub(crate) leap: u64,
    /// Most milliseconds between two steps.
    pub(crate) pace: u64,
    pub(crate) rollback: Rollback,
    /// The store loses a segment, as one that evicts does.
    pub(crate) evictions: u64,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let calm = random.chance(100);
        let rate = |random: &mut Random, most: &[u64]| if calm { 0 } else { random.pick(most) };
        let store = Character {
            encoding: random.pick(&[Encoding::Bytes, Encoding::Digits]),
            honesty: match random.below(4) {
                0 => Honesty::Honest,
                1 => Honesty::AlwaysLost,
                _ => Honesty::Lying(rate(random, &[50, 300, 500])),
            },
            errs_before: rate(random, &[0, 0, 5, 30, 100]),
            errs_after: rate(random, &[0, 0, 5, 30, 100]),
            errs_early: rate(random, &[0, 0, 0, 5, 30]),
            outlives: rate(random, &[0, 300, 1000]),
            skew: random.pick(&[0, 3, 40]),
        };
        let ages = [15, 60, 300, 2_000, 600_000, 86_400_000];
        let age_ms = random.pick(&ages);
        let window = Window {
            retention: Retention {
                messages: random.between(3, 20),
                age_ms,
            },
            id_age_ms: random.pick(&[0, 15, 60, 300, 2_000, 600_000]),
            tail_messages: random.between(2, 8) as usize,
            tail_bytes: random.pick(&[100, 250, 600, 65_536]),
            page_bytes: random.pick(&[1, 30, 200, 262_144]),
            ids: random.pick(&[0, 5, 1_000]),
        };
        let rollback = match random.below(16) {
            0 | 1 => Rollback::Restart,
            2 => Rollback::Quiet,
            _ => Rollback::Never,
        };
        Self {
            store,
            instances: random.between(1, 4) as usize,
            channels: if random.chance(250) { 2 } else { 1 },
            senders: random.between(1, 3),
            readers: random.between(1, 4) as usize,
            publishes: random.between(4, 40),
            batch: random.pick(&[1, 1, 2, 4, 12]),
            body: random.pick(&[0, 4, 40, 120]),
            bustle: random.pick(&[40, 120, 300]),
            crashes: rate(random, &[0, 3, 15]),
            cancels: rate(random, &[0, 3, 15]),
            pauses: rate(random, &[0, 5, 20]),
            leaps: random.pick(&[0, 0, 3, 12]),
            leap: random.pick(&[20, 400, age_ms.saturating_add(window.id_age_ms)]),
            pace: random.pick(&[0, 2, 20]),
            rollback,
            evictions: match rollback {
                Rollback::Never if !calm => random.pick(&[0, 0, 0, 0, 0, 0, 0, 2]),
                _ => 0,
            },
            window,
        }
    }
}
