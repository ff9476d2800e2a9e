//! The measurements: a broadcast under some load, readers that wait for nothing, and what is lost where something
//! goes wrong.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures::future::LocalBoxFuture;
use serde::Serialize;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::drafts::{Drafts, Pace};
use crate::peers::Peers;
use crate::run::{Delays, Faults, Inbox, Run};
use crate::server::{Cores, Server, Usage};
use crate::subject::{Durability, Manners, Setup, Subject, Target};

/// Connections opened at once. More overflow the server's queue of unaccepted ones, and a second is lost
/// to a repeated SYN; fewer take long.
pub(crate) const OPENING: usize = 64;

/// How long a batch of readers may take to be ready.
const OPEN: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long what was published may still be on its way before it counts as lost.
const DRAIN: Duration = Duration::from_secs(15);

/// Where nothing at all comes for so long, nothing will: twice the time between two short polls.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a publisher may be behind its time at the end before the measurement is given up.
const BEHIND: Duration = Duration::from_secs(60);

/// Between the end of one reader's connection and the next.
pub(crate) const REOPEN: Duration = Duration::from_millis(50);

/// Readers before the first figure of memory: they make the server load what all of them share.
const WARM: usize = 16;

/// How long before the first message its publishers open their connections.
const HEAD_START: Duration = Duration::from_millis(300);

/// How long memory is left to settle after the last reader came.
const SETTLE: Duration = Duration::from_secs(1);

/// Deliveries a second, at most this many messages, that a server works for before it is measured: what compiles
/// while it runs has compiled the most of it.
const WARM_DELIVERIES: f64 = 20_000.0;
const WARM_RATE: f64 = 1_000.0;

/// Readers in trouble have so long to be opened.
const OPENED: Duration = Duration::from_secs(1);

/// A reader is cut so often, for so long; for the first time no earlier than after a part of it, so that each has got
/// something by then.
const CUT_EVERY: Duration = Duration::from_secs(2);
const CUT_FOR: Duration = Duration::from_millis(300);

/// So long before the server is killed every other reader is cut, until so long after.
const AWAY: Duration = Duration::from_millis(300);

/// What all measurements have in common.
pub(crate) struct Bench<'a> {
    pub(crate) host: &'a Path,
    pub(crate) peers: &'a Peers,
    pub(crate) cores: &'a Cores,
    pub(crate) manners: Manners,
    /// Bytes of a message's body.
    pub(crate) size: usize,
    pub(crate) seen: RefCell<Seen>,
}

/// What was seen of servers on the way.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How long each row's took from the start of the process to the first answer.
    starts: BTreeMap<&'static str, Vec<Duration>>,
    /// What they say they are.
    pub(crate) versions: BTreeSet<String>,
}

/// Who reads and publishes how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) readers: usize,
    pub(crate) publishers: usize,
    pub(crate) rate: Rate,
    /// How long the server is warmed up.
    pub(crate) warm: Duration,
    pub(crate) time: Duration,
}

/// How much is published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate {
    /// Messages a second, over all publishers.
    Steady(f64),
    /// As much as is acknowledged, while each publisher waits for so many answers at most.
    Acknowledged { at_once: usize },
    /// As much as is acknowledged, and delivered to every reader.
    Delivered,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Readers lose their connections now and then.
    Cuts,
    /// The server is killed, and started again; some readers are away just then.
    Kill,
}

/// What came of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Broadcast {
    pub(crate) readers: usize,
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
    pub(crate) processor_total_us: f64,
    /// How much of its cores the server used.
    pub(crate) server_busy: f64,
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
    /// All that the server has.
    pub(crate) bytes: u64,
    /// What each has added that came since the level before. Of the first level's some are in what was left free by the
    /// start.
    pub(crate) bytes_per_reader: f64,
}

/// Readers that wait.
pub(crate) struct Waiting<'a> {
    stage: Stage<'a>,
    memory: Vec<Memory>,
    readers: usize,
}

/// What came of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Trial {
    pub(crate) readers: usize,
    pub(crate) published: u64,
    pub(crate) faults: Faults,
}

impl Bench<'_> {
    /// Publishes to readers who are all there before the first message.
    pub(crate) async fn broadcast(
        &self,
        subject: &'static Subject,
        durability: Durability,
        load: Load,
    ) -> Result<Broadcast> {
        let mut stage = self
            .stage(subject, durability, load.readers, load.publishers)
            .await?;
        self.note(&stage);
        stage.open(load.readers, Cuts::None).await?;
        stage.warm_up(load, self.size).await?;

        let begin = Instant::now() + HEAD_START;
        let mut publishers = stage.publish(load, begin, self.size);
        sleep_until(begin).await;
        let (server_before, own_before) = (stage.server.usage()?, Usage::own()?);
        let published = stage.published(&mut publishers, load.time).await?;
        let end = Instant::now();
        let run = stage.run.clone();
        run.drained().await;

        stage.server.check()?;
        let elapsed = begin.elapsed().as_secs_f64();
        let (server, own) = (stage.server.usage()?, Usage::own()?);
        let delivering = run
            .last_delivery()
            .saturating_duration_since(begin.into_std());
        let processor = (server.time - server_before.time).as_secs_f64();
        // Nobody has anything to do while the last of it is waited for in vain.
        let working = delivering.max(end - begin).as_secs_f64();
        let broadcast = Broadcast {
            readers: load.readers,
            delay: run.delays(),
            acknowledgement: run.acknowledgements(),
            published: run.published(),
            published_per_second: per_second(run.published(), published - begin),
            deliveries: run.deliveries(),
            deliveries_per_second: per_second(run.deliveries(), delivering),
            processor_total_us: processor * 1e6,
            server_busy: processor / working / self.cores.of_server() as f64,
            generator_busy: (own.time - own_before.time).as_secs_f64() / working.min(elapsed),
            faults: run.faults(),
        };
        stage.server.stop().await?;
        Ok(broadcast)
    }

    /// Opens more and more readers, and lets them wait.
    pub(crate) async fn idle(
        &self,
        subject: &'static Subject,
        levels: &[usize],
    ) -> Result<Waiting<'static>> {
        let most = levels
            .iter()
            .copied()
            .max()
            .context("no number of idle readers is given")?;
        let mut stage = self
            .stage(subject, Durability::Normal, WARM + most, 1)
            .await?;
        self.note(&stage);
        // The channel exists and everything that is made once is made.
        let pace = Pace::Steady {
            begin: Instant::now(),
            period: Duration::ZERO,
            count: 1,
        };
        stage.open(WARM, Cuts::None).await?;
        let drafts = Drafts::new(stage.run.clone(), 0, self.size, pace);
        (subject.publish)(stage.target.clone(), drafts).await?;
        sleep(SETTLE).await;
        let mut before = (0, stage.server.usage()?.memory);
        let mut memory = Vec::new();
        for &readers in levels {
            stage.open(WARM + readers, Cuts::None).await?;
            sleep(SETTLE).await;
            let bytes = stage.server.usage()?.memory;
            let added = bytes as f64 - before.1 as f64;
            memory.push(Memory {
                readers,
                bytes,
                bytes_per_reader: added / (readers - before.0) as f64,
            });
            before = (readers, bytes);
        }
        Ok(Waiting {
            stage,
            memory,
            readers: WARM + most,
        })
    }

    /// Publishes at a steady rate while something goes wrong, and counts.
    pub(crate) async fn trial(
        &self,
        subject: &'static Subject,
        trouble: Trouble,
        load: Load,
    ) -> Result<Trial> {
        let mut stage = self
            .stage(subject, Durability::Normal, load.readers, load.publishers)
            .await?;
        // Readers are opened a moment before the first message.
        let begin = Instant::now() + OPENED;
        let cuts = match trouble {
            Trouble::Cuts => Cuts::Every {
                until: begin + load.time,
            },
            Trouble::Kill => Cuts::Once {
                at: begin + load.time / 2 - AWAY,
            },
        };
        stage.open(load.readers, cuts).await?;
        sleep_until(begin).await;
        let mut publishers = stage.publish(load, begin, self.size);
        if trouble == Trouble::Kill {
            sleep_until(begin + load.time / 2).await;
            stage = self.restart(stage).await?;
        }
        stage.published(&mut publishers, load.time).await?;
        let run = stage.run.clone();
        run.drained().await;
        stage.server.check()?;
        let trial = Trial {
            readers: load.readers,
            published: run.published(),
            faults: run.faults(),
        };
        stage.server.stop().await?;
        Ok(trial)
    }

    /// How long a row's server takes to its first answer, in milliseconds: the median.
    pub(crate) fn start_ms(&self, subject: &Subject) -> Option<f64> {
        let seen = self.seen.borrow();
        let mut starts = seen.starts.get(subject.name)?.clone();
        starts.sort_unstable();
        let median = starts.get(starts.len() / 2)?;
        Some(median.as_secs_f64() * 1e3)
    }

    async fn stage(
        &self,
        subject: &'static Subject,
        durability: Durability,
        readers: usize,
        publishers: usize,
    ) -> Result<Stage<'static>> {
        let folder = TempDir::with_prefix("witter-bench-")?;
        let begun = Instant::now();
        let setup = self.setup(folder.path(), durability, None);
        let (server, target) = (subject.start)(setup).await?;
        Ok(Stage {
            subject,
            started: begun.elapsed(),
            server,
            target,
            run: Run::new(readers, publishers),
            readers: JoinSet::new(),
            folder,
        })
    }

    /// Kills the server, and starts it again where it was, with what it left.
    async fn restart<'b>(&self, stage: Stage<'b>) -> Result<Stage<'b>> {
        let Stage {
            subject,
            server,
            target,
            folder,
            ..
        } = stage;
        server.stop().await?;
        let setup = self.setup(folder.path(), Durability::Normal, Some(target.address));
        let (server, _) = (subject.start)(setup).await?;
        Ok(Stage {
            subject,
            started: stage.started,
            server,
            target,
            run: stage.run,
            readers: stage.readers,
            folder,
        })
    }

    fn setup<'b>(
        &'b self,
        folder: &'b Path,
        durability: Durability,
        address: Option<std::net::SocketAddr>,
    ) -> Setup<'b> {
        Setup {
            host: self.host,
            peers: self.peers,
            folder,
            cores: self.cores,
            durability,
            manners: self.manners,
            kept: None,
            address,
        }
    }

    /// Remembers what was seen of a server that had its core for itself.
    fn note(&self, stage: &Stage<'_>) {
        let mut seen = self.seen.borrow_mut();
        seen.versions.insert(stage.target.version.to_string());
        let starts = seen.starts.entry(stage.subject.name).or_default();
        starts.push(stage.started);
    }
}

impl Waiting<'_> {
    /// How many wait.
    pub(crate) fn readers(&self) -> usize {
        self.readers
    }

    /// Watches what waiting costs the server.
    pub(crate) async fn watch(mut self, time: Duration) -> Result<Idle> {
        let (before, begin) = (self.stage.server.usage()?, Instant::now());
        sleep(time).await;
        self.stage.server.check()?;
        let used = (self.stage.server.usage()?.time - before.time).as_secs_f64()
            / begin.elapsed().as_secs_f64();
        let faults = self.stage.run.faults();
        self.stage.server.stop().await?;
        Ok(Idle {
            memory: self.memory,
            processor_percent_per_1000: 100.0 * used / (self.readers as f64 / 1000.0),
            // The one message came to those who were there.
            faults: Faults { lost: 0, ..faults },
        })
    }
}

/// A fresh server, and who reads from it.
struct Stage<'a> {
    subject: &'a Subject,
    /// From the start of its process to its first answer.
    started: Duration,
    readers: JoinSet<()>,
    server: Server,
    target: Target,
    run: Run,
    /// The server's data: it goes when the server is gone.
    folder: TempDir,
}

impl Stage<'_> {
    /// Sees to it that so many readers are there, each with a place to read from.
    async fn open(&mut self, readers: usize, cuts: Cuts) -> Result<()> {
        while self.readers.len() < readers {
            for reader in self.readers.len()..readers.min(self.readers.len() + OPENING) {
                let inbox = self.run.inbox(reader);
                let cuts = match cuts {
                    Cuts::Once { .. } if reader % 2 == 0 => Cuts::None,
                    cuts => cuts,
                };
                self.readers
                    .spawn_local(read(self.subject.read, self.target.clone(), inbox, cuts));
            }
            let (run, expected) = (self.run.clone(), self.readers.len());
            if timeout(OPEN, until(LOOK, || run.ready() >= expected))
                .await
                .is_err()
            {
                let error = anyhow!("only {} of {expected} readers could be opened", run.ready());
                return Err(self.blame(error));
            }
        }
        Ok(())
    }

    /// Publishes what nobody counts, so that what is measured is not the first of its kind.
    async fn warm_up(&mut self, load: Load, size: usize) -> Result<()> {
        if load.warm.is_zero() {
            return Ok(());
        }
        let most = (WARM_DELIVERIES / load.readers as f64).min(WARM_RATE);
        let rate = match load.rate {
            Rate::Steady(rate) => rate.min(most),
            Rate::Acknowledged { .. } | Rate::Delivered => most,
        };
        let load = Load {
            rate: Rate::Steady(rate),
            time: load.warm,
            ..load
        };
        // Readers of this run do not count the messages of that.
        let others = Run::new(0, load.publishers);
        let begin = Instant::now();
        let mut publishers = JoinSet::new();
        for publisher in 0..load.publishers {
            let pace = load.pace(publisher, begin);
            let drafts = Drafts::new(others.clone(), publisher, size, pace).uncounted();
            publishers.spawn_local((self.subject.publish)(self.target.clone(), drafts));
        }
        self.published(&mut publishers, load.time).await?;
        let run = self.run.clone();
        drop(timeout(DRAIN, until(LOOK, || run.is_silent(WARM_SILENCE))).await);
        Ok(())
    }

    fn publish(&self, load: Load, begin: Instant, size: usize) -> JoinSet<Result<()>> {
        let mut publishers = JoinSet::new();
        for publisher in 0..load.publishers {
            let pace = load.pace(publisher, begin);
            let drafts = Drafts::new(self.run.clone(), publisher, size, pace);
            publishers.spawn_local((self.subject.publish)(self.target.clone(), drafts));
        }
        publishers
    }

    /// Waits until everything is published, and tells when it was.
    async fn published(
        &mut self,
        publishers: &mut JoinSet<Result<()>>,
        time: Duration,
    ) -> Result<Instant> {
        let published = async {
            while let Some(end) = publishers.join_next().await {
                end??;
            }
            Ok(Instant::now())
        };
        match timeout(time + BEHIND, published).await {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(error)) => Err(self.blame(error)),
            Err(_) => bail!("{}: publishing was not over in time", self.subject.name),
        }
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

/// How long no message comes before a server that was warmed up has sent them all.
const WARM_SILENCE: Duration = Duration::from_millis(150);

/// When a reader loses its connection.
#[derive(Clone, Copy, Debug)]
enum Cuts {
    None,
    /// Again and again, up to a moment.
    Every {
        until: Instant,
    },
    /// At this moment, every other reader.
    Once {
        at: Instant,
    },
}

/// Reads for ever, by one connection after the other.
async fn read(
    read: fn(Target, Inbox) -> LocalBoxFuture<'static, Result<()>>,
    target: Target,
    inbox: Inbox,
    cuts: Cuts,
) {
    let reading = async || {
        loop {
            if let Err(error) = read(target.clone(), inbox.clone()).await {
                inbox.cut(format!("{error:#}"));
            }
            sleep(REOPEN).await;
        }
    };
    match cuts {
        Cuts::None => {}
        Cuts::Every { until } => {
            // Not all at the same moment.
            let mut next =
                Instant::now() + OPENED + CUT_EVERY.mul_f64(0.25 + 0.75 * fastrand::f64());
            while next < until {
                let _: Result<(), _> = timeout_at(next, reading()).await;
                sleep(CUT_FOR).await;
                next = Instant::now() + CUT_EVERY;
            }
        }
        Cuts::Once { at } => {
            let _: Result<(), _> = timeout_at(at, reading()).await;
            sleep(2 * AWAY).await;
        }
    }
    reading().await;
}

impl Run {
    /// Waits until every reader has everything, or nothing comes any more. Who is late is told by what is lost.
    async fn drained(&self) {
        let begun = Instant::now();
        let over = || self.is_complete() || (begun.elapsed() > SILENCE && self.is_silent(SILENCE));
        drop(timeout(DRAIN, until(LOOK, over)).await);
    }

    fn is_silent(&self, time: Duration) -> bool {
        self.last_delivery().elapsed() > time
    }
}

impl Load {
    /// The publishers take turns.
    fn pace(&self, publisher: usize, begin: Instant) -> Pace {
        let until = begin + self.time;
        let rate = match self.rate {
            Rate::Steady(rate) => rate,
            Rate::Acknowledged { at_once } => {
                return Pace::Eager {
                    begin,
                    until,
                    at_once,
                };
            }
            Rate::Delivered => return Pace::Sustained { begin, until },
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

/// Looks at a condition every so often, until it holds.
pub(crate) async fn until(look: Duration, done: impl Fn() -> bool) {
    while !done() {
        sleep(look).await;
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
                rate: Rate::Steady(rate),
                warm: Duration::ZERO,
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
