//! A reader that goes on from its cursor whatever happens to the host or to its connection.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conformance::{Answer, Client, Fault, Query, Reader, Transport};
use fastrand::Rng;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

/// Between two tries at a host that is away.
const PAUSE: Duration = Duration::from_millis(10);
/// The most messages in one batch.
const LIMIT: u32 = 1000;

/// A message as a follower met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its offset.
    pub offset: u64,
    /// Its id.
    pub id: String,
    /// What brought it.
    pub by: Transport,
}

/// How far the slowest of many followers is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    read: std::sync::Mutex<Vec<Arc<AtomicU64>>>,
    moved: Notify,
}

/// By what a follower reads.
#[derive(Clone, Debug)]
pub enum Way {
    /// By one transport.
    One(Transport),
    /// By one after the other, whichever comes, each for so many messages at most.
    Changing(Rng, u32),
}

/// Reads a channel until a message with some id.
#[derive(Clone, Debug)]
pub struct Follower {
    /// By what.
    pub way: Way,
    /// The channel.
    pub channel: String,
    /// The id of the last message.
    pub last: String,
    /// Where the hosts are, one after the other.
    pub address: watch::Receiver<SocketAddr>,
    /// The longest time to keep one connection; it is cut at any moment before. None: never.
    pub cut: Option<Duration>,
}

impl Progress {
    fn add(&self) -> Arc<AtomicU64> {
        let read = Arc::default();
        self.0
            .read
            .lock()
            .expect("nothing panics under the lock")
            .push(Arc::clone(&read));
        read
    }

    fn slowest(&self) -> u64 {
        let read = self.0.read.lock().expect("nothing panics under the lock");
        read.iter()
            .map(|read| read.load(Ordering::Relaxed))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Waits until every follower has read this many messages.
    pub async fn reaches(&self, count: u64) {
        loop {
            let moved = self.0.moved.notified();
            if self.slowest() >= count {
                return;
            }
            moved.await;
        }
    }
}

impl Way {
    /// What comes behind a transport, and the most messages to read by it.
    fn behind(&mut self, last: Option<Transport>) -> (Transport, u32) {
        match self {
            Self::One(transport) => (*transport, u32::MAX),
            Self::Changing(random, most) => {
                let mut others: Vec<Transport> = Transport::ALL.to_vec();
                others.retain(|other| Some(*other) != last);
                let next = random.choice(others).expect("there are several transports");
                (next, random.u32(1..=*most))
            }
        }
    }
}

impl Follower {
    /// Takes a place in the channel, at its present end.
    ///
    /// # Errors
    /// Where the host refuses.
    pub async fn begin(&mut self) -> Result<String> {
        let (transport, _) = self.way.behind(None);
        let query = Query::of([&self.channel]);
        let reader = Reader::open(&self.client(), transport, query).await?;
        Ok(reader.cursor().to_owned())
    }

    /// Reads on from a place to the last message.
    ///
    /// # Errors
    /// Where a gap is told, the host refuses for another reason than to be away, or says nonsense.
    pub async fn follow(mut self, mut cursor: String, progress: Progress) -> Result<Vec<Read>> {
        let counted = progress.add();
        let mut read: Vec<Read> = Vec::new();
        let mut by = None;
        loop {
            let (transport, most) = self.way.behind(by);
            by = Some(transport);
            let query = Query::of([&self.channel])
                .after(&cursor)
                .limit(most.min(LIMIT));
            let client = self.client();
            let reader = tokio::select! {
                reader = Reader::open(&client, transport, query) => reader,
                () = self.is_cut() => continue,
            };
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(fault) => {
                    tolerate(fault).context(transport.name())?;
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let enough = read.len().saturating_add(most as usize);
            let mut cut = std::pin::pin!(self.is_cut());
            while read.len() < enough {
                let batch = tokio::select! {
                    batch = reader.news() => batch,
                    () = &mut cut => break,
                };
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(fault) => {
                        tolerate(fault).context(transport.name())?;
                        sleep(PAUSE).await;
                        break;
                    }
                };
                ensure!(
                    batch.gaps.is_empty(),
                    "{}: {:?} behind {:?}",
                    transport.name(),
                    batch.gaps,
                    read.last()
                );
                cursor = reader.cursor().to_owned();
                read.extend(batch.envelopes.into_iter().map(|envelope| Read {
                    offset: envelope.offset,
                    id: envelope.id,
                    by: transport,
                }));
                counted.store(read.len() as u64, Ordering::Relaxed);
                progress.0.moved.notify_waiters();
                if read.last().is_some_and(|read| read.id == self.last) {
                    return Ok(read);
                }
                match batch.end.as_deref() {
                    None => {}
                    Some("reopen") => break,
                    Some(reason) => bail!("{}: the stream ended: {reason}", transport.name()),
                }
            }
        }
    }

    fn client(&self) -> Client {
        Client::new(*self.address.borrow())
    }

    async fn is_cut(&self) {
        match self.cut {
            Some(most) => sleep(most.mul_f64(fastrand::f64())).await,
            None => pending().await,
        }
    }
}

/// A host that is away comes back.
fn tolerate(fault: Fault) -> Result<()> {
    match fault {
        Fault::Broken(_) => Ok(()),
        Fault::Refused(answer) if answer.code().as_deref() == Some("unavailable") => {
            ensure!(
                retry_after(&answer)? > 0,
                "who is told to come back is told when: {answer:?}"
            );
            Ok(())
        }
        fault => Err(fault.into()),
    }
}

/// The seconds that a refusal tells to wait: in a header, or where a framing shows none, beside the code.
fn retry_after(answer: &Answer) -> Result<u32> {
    #[derive(Deserialize)]
    struct Told {
        retry_after: u32,
    }
    match answer.header("retry-after") {
        Some(seconds) => Ok(seconds.parse()?),
        None => Ok(answer.json::<Told>()?.retry_after),
    }
}
