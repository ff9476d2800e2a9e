//! A reader that goes on from its cursor whatever happens to the host or to its connection.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conformance::{Client, Fault, Query, Reader, Transport};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

/// Between two tries at a host that is away.
const PAUSE: Duration = Duration::from_millis(10);

/// A message as a follower met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its offset.
    pub offset: u64,
    /// Its id.
    pub id: String,
}

/// How far the slowest of many followers is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    read: std::sync::Mutex<Vec<Arc<AtomicU64>>>,
    moved: Notify,
}

/// Reads a channel until a message with some id.
#[derive(Clone, Debug)]
pub struct Follower {
    /// By what.
    pub transport: Transport,
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

impl Follower {
    /// Takes a place in the channel, at its present end.
    ///
    /// # Errors
    /// Where the host refuses.
    pub async fn begin(&self) -> Result<String> {
        let query = Query::of([&self.channel]);
        let reader = Reader::open(&self.client(), self.transport, query).await?;
        Ok(reader.cursor().to_owned())
    }

    /// Reads on from a place to the last message.
    ///
    /// # Errors
    /// Where a gap is told, the host refuses for another reason than to be away, or says nonsense.
    pub async fn follow(self, mut cursor: String, progress: Progress) -> Result<Vec<Read>> {
        let counted = progress.add();
        let mut read: Vec<Read> = Vec::new();
        loop {
            let query = Query::of([&self.channel]).after(&cursor).limit(1000);
            let client = self.client();
            let reader = tokio::select! {
                reader = Reader::open(&client, self.transport, query) => reader,
                () = self.is_cut() => continue,
            };
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(fault) => {
                    tolerate(fault)?;
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let mut cut = std::pin::pin!(self.is_cut());
            loop {
                let batch = tokio::select! {
                    batch = reader.news() => batch,
                    () = &mut cut => break,
                };
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(fault) => {
                        tolerate(fault)?;
                        sleep(PAUSE).await;
                        break;
                    }
                };
                ensure!(
                    batch.gaps.is_empty(),
                    "{}: {:?} behind {:?}",
                    self.transport.name(),
                    batch.gaps,
                    read.last()
                );
                cursor = reader.cursor().to_owned();
                read.extend(batch.envelopes.into_iter().map(|envelope| Read {
                    offset: envelope.offset,
                    id: envelope.id,
                }));
                counted.store(read.len() as u64, Ordering::Relaxed);
                progress.0.moved.notify_waiters();
                if read.last().is_some_and(|read| read.id == self.last) {
                    return Ok(read);
                }
                match batch.end.as_deref() {
                    None => {}
                    Some("reopen") => break,
                    Some(reason) => bail!("the stream ended: {reason}"),
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
        Fault::Refused(answer) if answer.status.as_u16() == 503 => {
            let seconds = answer
                .header("retry-after")
                .context("a 503 tells when to try again")?;
            let _: u32 = seconds.parse()?;
            Ok(())
        }
        fault => Err(fault.into()),
    }
}
