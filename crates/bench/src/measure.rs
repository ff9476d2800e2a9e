//! The measurements: a broadcast under some load, and readers that wait for nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::drafts::{Drafts, Pace};
use crate::run::{Delays, Faults, Run};
use crate::server::{Cores, Server, Usage};
use crate::subject::{Durability, Manners, Setup, Subject, Target};

/// Connections opened at once. More overflow the server's queue of unaccepted ones, and a second is lost
/// to a repeated SYN; fewer take long.
const OPENING: usize = 64;

/// How long a batch of readers may take to be ready.
const OPEN: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long what was published may still be on its way before it counts as lost.
const DRAIN: Duration = Duration::from_secs(15);

/// How long a publisher may be behind its time at the end before the measurement is given up.
const BEHIND: Duration = Duration::from_secs(60);

/// Between the end of one reader's connection and the next.
const REOPEN: Duration = Duration::from_millis(50);

/// Readers before the first figure of memory: they make the server load what all of them share.
const WARM: usize = 16;

/// How long memory is left to settle after the last reader came.
const SETTLE: Duration = Duration::from_secs(2);

/// What all measurements have in common.
pub(crate) struct Bench<'a> {
    pub(crate) host: &'a Path,
    pub(crate) cores: &'a Cores,
    pub(crate) manners: Manners,
    /// Bytes of a message's body.
    pub(crate) size: usize,
}

/// Who reads and publishes how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) readers: usize,
    pub(crate) publishers: usize,
    /// Messages a second, over all publishers; none: each publishes as soon as it may.
    pub(crate) rate: Option<f64>,
    pub(crate) time: Duration,
}

/// What came of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Broadcast {
    /// From publish to delivery, in milliseconds.
    pub(crate) delay: Option<Delays>,
    /// From publish to acknowledgement, in milliseconds.
    pub(crate) acknowledgement: Option<Delays>,
    /// Acknowledged messages.
    pub(crate) published: u64,
    pub(crate) published_per_second: f64,
    /// Messages times readers.
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    /// The server's processor time over the whole of it, in microseconds.
    pub(crate) processor_us: f64,
    /// How much of its core the generator used. Near 1 it measures itself.
    pub(crate) generator_busy: f64,
    pub(crate) faults: Faults,
}

/// What readers cost that wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Idle {
    /// In the order in which the numbers were asked for.
    pub(crate) memory: Vec<Memory>,
    /// At the largest number: percent of one core for every 1,000 readers.
    pub(crate) processor_percent_per_1000: f64,
    pub(crate) faults: Faults,
}

/// What a connection keeps in the server's memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Memory {
    pub(crate) readers: usize,
    pub(crate) bytes_per_reader: f64,
}

impl Bench<'_> {
    /// Publishes to readers who are all there before the first message.
    pub(crate) async fn broadcast(
        &self,
        subject: &Subject,
        durability: Durability,
        load: Load,
    ) -> Result<Broadcast> {
        let mut stage = self
            .stage(subject, durability, load.readers, load.publishers)
            .await?;
        stage.open(load.readers).await?;

        let (server_before, own_before) = (stage.server.usage()?, Usage::own()?);
        let begin = Instant::now();
        let mut publishers = JoinSet::new();
        for publisher in 0..load.publishers {
            let pace = load.pace(publisher, begin);
            let drafts = Drafts::new(stage.run.clone(), publisher, self.size, pace);
            publishers.spawn_local((subject.publish)(stage.target.clone(), drafts));
        }
        let published = async {
            while let Some(end) = publishers.join_next().await {
                end??;
            }
            Ok(Instant::now())
        };
        let published = match timeout(load.time + BEHIND, published).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => return Err(stage.blame(error)),
            Err(_) => bail!("{}: publishing was not over in time", subject.name),
        };
        // Who is late is told by what is lost.
        let run = stage.run.clone();
        drop(timeout(DRAIN, until(|| run.is_complete())).await);

        stage.server.check()?;
        let elapsed = begin.elapsed().as_secs_f64();
        let (server, own) = (stage.server.usage()?, Usage::own()?);
        let delivering = run
            .last_delivery()
            .saturating_duration_since(begin.into_std());
        let broadcast = Broadcast {
            delay: run.delays(),
            acknowledgement: run.acknowledgements(),
            published: run.published(),
            published_per_second: per_second(run.published(), published - begin),
            deliveries: run.deliveries(),
            deliveries_per_second: per_second(run.deliveries(), delivering),
            processor_us: (server.time - server_before.time).as_secs_f64() * 1e6,
            generator_busy: (own.time - own_before.time).as_secs_f64() / elapsed,
            faults: run.faults(),
        };
        stage.server.stop().await?;
        Ok(broadcast)
    }

    /// Opens more and more readers, and lets them wait.
    pub(crate) async fn idle(
        &self,
        subject: &Subject,
        levels: &[usize],
        time: Duration,
    ) -> Result<Idle> {
        let most = levels
            .iter()
            .copied()
            .max()
            .context("no number of idle readers is given")?;
        let mut stage = self
            .stage(subject, Durability::Normal, WARM + most, 1)
            .await?;
        // The channel exists and everything that is made once is made.
        let pace = Pace::Steady {
            begin: Instant::now(),
            period: Duration::ZERO,
            count: 1,
        };
        stage.open(WARM).await?;
        let drafts = Drafts::new(stage.run.clone(), 0, self.size, pace);
        (subject.publish)(stage.target.clone(), drafts).await?;
        sleep(SETTLE).await;
        let empty = stage.server.usage()?.memory;

        let mut memory = Vec::new();
        for level in levels {
            stage.open(WARM + level).await?;
            sleep(SETTLE).await;
            let used = stage.server.usage()?.memory.saturating_sub(empty);
            memory.push(Memory {
                readers: *level,
                bytes_per_reader: used as f64 / *level as f64,
            });
        }
        let (before, begin) = (stage.server.usage()?, Instant::now());
        sleep(time).await;
        stage.server.check()?;
        let used = (stage.server.usage()?.time - before.time).as_secs_f64()
            / begin.elapsed().as_secs_f64();
        let faults = stage.run.faults();
        stage.server.stop().await?;
        Ok(Idle {
            memory,
            processor_percent_per_1000: 100.0 * used / ((WARM + most) as f64 / 1000.0),
            faults: Faults { lost: 0, ..faults },
        })
    }

    async fn stage<'b>(
        &self,
        subject: &'b Subject,
        durability: Durability,
        readers: usize,
        publishers: usize,
    ) -> Result<Stage<'b>> {
        let folder = TempDir::with_prefix("witter-bench-")?;
        let setup = Setup {
            host: self.host,
            folder: folder.path(),
            cores: self.cores,
            durability,
            manners: self.manners,
        };
        let (server, target) = (subject.start)(setup).await?;
        Ok(Stage {
            subject,
            server,
            target,
            run: Run::new(readers, publishers),
            readers: JoinSet::new(),
            _folder: folder,
        })
    }
}

/// A fresh server, and who reads from it.
struct Stage<'a> {
    subject: &'a Subject,
    readers: JoinSet<()>,
    server: Server,
    target: Target,
    run: Run,
    /// The server's data: it goes when the server is gone.
    _folder: TempDir,
}

impl Stage<'_> {
    /// Sees to it that so many readers are there, each with a place to read from.
    async fn open(&mut self, readers: usize) -> Result<()> {
        while self.readers.len() < readers {
            for reader in self.readers.len()..readers.min(self.readers.len() + OPENING) {
                let (read, target, inbox) = (
                    self.subject.read,
                    self.target.clone(),
                    self.run.inbox(reader),
                );
                self.readers.spawn_local(async move {
                    loop {
                        if let Err(error) = read(target.clone(), inbox.clone()).await {
                            inbox.cut(format!("{error:#}"));
                        }
                        sleep(REOPEN).await;
                    }
                });
            }
            let (run, expected) = (self.run.clone(), self.readers.len());
            if timeout(OPEN, until(|| run.ready() >= expected))
                .await
                .is_err()
            {
                let error = anyhow!("only {} of {expected} readers could be opened", run.ready());
                return Err(self.blame(error));
            }
        }
        Ok(())
    }

    /// An error, with what is known of its cause.
    fn blame(&mut self, error: anyhow::Error) -> anyhow::Error {
        let cause = self.server.check().err().map(|error| format!("{error:#}"));
        match cause.or_else(|| self.run.last_cut()) {
            Some(cause) => anyhow!(cause).context(error).context(self.subject.name),
            None => error.context(self.subject.name),
        }
    }
}

impl Load {
    /// The publishers take turns.
    fn pace(&self, publisher: usize, begin: Instant) -> Pace {
        let Some(rate) = self.rate else {
            return Pace::Eager {
                until: begin + self.time,
            };
        };
        let period = Duration::from_secs_f64(self.publishers as f64 / rate);
        let all = (rate * self.time.as_secs_f64()).round() as usize;
        Pace::Steady {
            begin: begin + period.mul_f64(publisher as f64 / self.publishers as f64),
            period,
            count: all / self.publishers + usize::from(publisher < all % self.publishers),
        }
    }
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        sleep(LOOK).await;
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_share_the_rate_evenly() {
        let begin = Instant::now();
        for (publishers, rate, seconds, expected) in
            [(4, 100.0, 10, 1000), (3, 10.0, 1, 10), (8, 4.0, 1, 4)]
        {
            let load = Load {
                readers: 1,
                publishers,
                rate: Some(rate),
                time: Duration::from_secs(seconds),
            };
            let mut due = Vec::new();
            for publisher in 0..publishers {
                let Pace::Steady {
                    begin: first,
                    period,
                    count,
                } = load.pace(publisher, begin)
                else {
                    panic!("a rate is given");
                };
                due.extend((0..count).map(|number| first + period * number as u32));
            }
            due.sort();
            assert_eq!(due.len(), expected);
            for (number, due) in due.iter().enumerate() {
                let ideal = begin + Duration::from_secs_f64(number as f64 / rate);
                let off =
                    due.saturating_duration_since(ideal) + ideal.saturating_duration_since(*due);
                assert!(off < Duration::from_millis(1), "{number}: {off:?}");
            }
        }
    }
}
