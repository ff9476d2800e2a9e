//! What the host has at some moments, and whether it becomes more.

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use crate::server::Server;

/// What is before this part of the time counts for nothing: what is made once is made by then, and caches are as full as
/// they get. In half an hour each reader has come back ten times by then, and whatever is kept for one was written whole.
/// Less, and that counts as growth; more, and few looks are left to tell growth from what comes and goes.
const SETTLED: f64 = 0.6;

/// Memory is flat where it becomes less than this part of it more in an hour: less would take the coming and going
/// of a few connections for a leak, and more would let one pass that fills a machine within days.
const FLAT: f64 = 0.02;

/// The host at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Since publishing began.
    pub(super) seconds: f64,
    /// Resident memory in bytes.
    pub(super) resident: u64,
    /// Processor time in seconds, since the host was started.
    pub(super) processor: f64,
}

/// How memory went.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(super) samples: Vec<Sample>,
    /// By how much it grows, of the time when all had settled; none where there are fewer than two samples of it.
    pub(super) trend: Option<Trend>,
}

/// The line that is nearest to the samples, by the squares of the distances.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Trend {
    /// Where the line begins, in seconds since publishing began.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) to: f64,
    /// Bytes at its beginning.
    pub(super) begin: f64,
    /// Bytes at its end.
    pub(super) end: f64,
    pub(super) kib_per_minute: f64,
    /// By how much of what there is it grows in an hour, in percent.
    pub(super) percent_per_hour: f64,
    pub(super) is_flat: bool,
}

impl Sample {
    pub(super) fn of(server: &Server, begin: Instant) -> Result<Self> {
        let usage = server.usage()?;
        Ok(Self {
            seconds: begin.elapsed().as_secs_f64(),
            resident: usage.memory,
            processor: usage.time.as_secs_f64(),
        })
    }
}

impl Memory {
    pub(super) fn of(samples: Vec<Sample>) -> Self {
        let last = samples.last().map_or(0.0, |sample| sample.seconds);
        let settled: Vec<_> = samples
            .iter()
            .filter(|sample| sample.seconds >= SETTLED * last)
            .collect();
        let trend = Trend::of(&settled);
        Self { samples, trend }
    }
}

impl Trend {
    fn of(samples: &[&Sample]) -> Option<Self> {
        let (first, last) = (samples.first()?, samples.last()?);
        let count = samples.len() as f64;
        let mean = |of: &dyn Fn(&Sample) -> f64| {
            samples.iter().map(|sample| of(sample)).sum::<f64>() / count
        };
        let time = mean(&|sample| sample.seconds);
        let memory = mean(&|sample| sample.resident as f64);
        let spread = mean(&|sample| (sample.seconds - time).powi(2));
        let together = mean(&|sample| (sample.seconds - time) * (sample.resident as f64 - memory));
        let slope = together / spread;
        if !slope.is_finite() {
            return None;
        }
        let at = |seconds: f64| memory + slope * (seconds - time);
        let hourly = 3600.0 * slope / memory;
        Some(Self {
            from: first.seconds,
            to: last.seconds,
            begin: at(first.seconds),
            end: at(last.seconds),
            kib_per_minute: 60.0 * slope / 1024.0,
            percent_per_hour: 100.0 * hourly,
            is_flat: hourly < FLAT,
        })
    }
}

pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of each ten seconds.
    fn memory(of: impl Fn(f64) -> f64) -> Memory {
        let samples = (0..300).map(|nth| {
            let seconds = 10.0 * f64::from(nth);
            Sample {
                seconds,
                resident: of(seconds) as u64,
                processor: 0.0,
            }
        });
        Memory::of(samples.collect())
    }

    const MIB: f64 = 1_048_576.0;

    #[test]
    fn growth_of_the_beginning_does_not_count() {
        let memory = memory(|seconds| 100.0 * MIB + MIB * seconds.min(1000.0));
        let trend = memory.trend.expect("there are samples");
        assert_eq!((trend.kib_per_minute, trend.is_flat), (0.0, true));
        assert_eq!((trend.from, trend.to), (1800.0, 2990.0));
    }

    #[test]
    fn growth_is_told_by_the_minute_whatever_comes_and_goes_beside_it() {
        let memory = memory(|seconds| {
            let noise = if (seconds / 10.0) % 2.0 == 0.0 {
                3.0
            } else {
                0.0
            };
            MIB * (400.0 + noise + seconds / 60.0 / 4.0)
        });
        let trend = memory.trend.expect("there are samples");
        assert!((trend.kib_per_minute - 256.0).abs() < 4.0, "{trend:?}");
        // 15 MiB in an hour are more than two percent of 400.
        assert!(!trend.is_flat, "{trend:?}");
    }

    #[test]
    fn less_memory_is_no_growth() {
        let memory = memory(|seconds| MIB * (400.0 - seconds / 60.0));
        assert!(memory.trend.expect("there are samples").is_flat);
    }

    #[test]
    fn one_look_tells_of_no_growth() {
        let sample = Sample {
            seconds: 1.0,
            resident: 5,
            processor: 0.0,
        };
        assert_eq!(Memory::of(vec![sample]).trend, None);
        assert_eq!(Memory::of(Vec::new()).trend, None);
    }
}
