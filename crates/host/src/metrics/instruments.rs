//! What counts: numbers that any thread adds to without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of what there is now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// At most what was added before.
    pub(crate) fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of all histograms, in microseconds. The first are what a store in memory takes; with the last
/// somebody has long been waiting.
pub(crate) const BOUNDS: [u64; 17] = [
    25, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// As many as there are bounds, and one for what lasted longer.
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// Nanoseconds: enough for 584 years.
    sum: AtomicU64,
}

/// What a histogram has seen by some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    pub(crate) sum: Duration,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| bound * 1_000 < nanoseconds);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Observes the time from now until what this returns is dropped.
    pub(crate) fn time(&self) -> Timing<'_> {
        Timing {
            histogram: self,
            begun: Instant::now(),
        }
    }

    pub(crate) fn get(&self) -> Distribution {
        Distribution {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl Distribution {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What is being timed.
#[derive(Debug)]
pub(crate) struct Timing<'a> {
    histogram: &'a Histogram,
    begun: Instant,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.histogram.observe(self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_exactly_a_bound_is_counted_below_it() {
        for (microseconds, at) in [
            (0, 0),
            (25, 0),
            (26, 1),
            (100, 1),
            (10_000_000, BOUNDS.len() - 1),
            (10_000_001, BOUNDS.len()),
        ] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(microseconds));
            let seen = histogram.get();
            assert_eq!(seen.counts[at], 1, "{microseconds}");
            assert_eq!(seen.count(), 1);
            assert_eq!(seen.sum, Duration::from_micros(microseconds));
        }
    }

    #[test]
    fn what_is_timed_is_observed_when_it_is_over() {
        let histogram = Histogram::default();
        let timing = histogram.time();
        assert_eq!(histogram.get().count(), 0);
        drop(timing);
        assert_eq!(histogram.get().count(), 1);
    }
}
