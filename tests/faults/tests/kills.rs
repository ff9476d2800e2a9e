//! Hosts that are killed while many publish: what was acknowledged is read once, in one order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::{Client, Session, Transport};
use faults::{Deployment, Follower, Progress, size};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

const CHANNEL: &str = "kills";
const LAST: &str = "last";
const PUBLISHERS: u64 = 16;
/// Publishers keep within so many messages of the slowest reader: who falls behind the window is told a
/// gap, and this is about loss.
const AHEAD: u64 = 500;

/// What the publishers share.
struct Load {
    address: watch::Receiver<std::net::SocketAddr>,
    session: Session,
    progress: Progress,
    acknowledged: AtomicU64,
    moved: Notify,
}

#[test]
fn what_was_acknowledged_before_a_kill_is_read_once_and_in_one_order() -> Result<()> {
    let publishes: u64 = size("WITTER_PUBLISHES", 10_000);
    let kills: u64 = size("WITTER_KILLS", 3);
    faults::run(run(publishes, kills))
}

async fn run(publishes: u64, kills: u64) -> Result<()> {
    let mut deployment = Deployment::start(&[])?;
    let load = Arc::new(Load {
        address: deployment.address(),
        session: deployment.client().session("Ann").await?,
        progress: Progress::default(),
        acknowledged: AtomicU64::new(0),
        moved: Notify::new(),
    });
    let mut readers = JoinSet::new();
    for &transport in Transport::ALL {
        let follower = Follower {
            transport,
            channel: CHANNEL.to_owned(),
            last: LAST.to_owned(),
            address: deployment.address(),
            cut: None,
        };
        let (place, progress) = (follower.begin().await?, load.progress.clone());
        readers.spawn(async move {
            Ok::<_, anyhow::Error>((transport, follower.follow(place, progress).await?))
        });
    }
    let begun = Instant::now();
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let (first, end) = (
            publishes * publisher / PUBLISHERS,
            publishes * (publisher + 1) / PUBLISHERS,
        );
        publishers.spawn(publish(Arc::clone(&load), first..end));
    }
    for kill in 1..=kills {
        load.reach(publishes * kill / (kills + 1)).await;
        deployment.kill()?;
        deployment.restart()?;
    }
    let mut offsets = HashMap::new();
    while let Some(published) = publishers.join_next().await {
        offsets.extend(published??);
    }
    let took = begun.elapsed();
    ensure!(
        offsets.len() as u64 == publishes,
        "an id was acknowledged twice"
    );
    let (id, offset) = load
        .publish(&deployment.client(), LAST)
        .await?
        .context("the host is up")?;
    ensure!(
        offset == publishes + 1,
        "{offset} messages are stored, {publishes} were published"
    );
    offsets.insert(id, offset);
    while let Some(read) = readers.join_next().await {
        let (transport, read) = read??;
        let name = transport.name();
        for (index, read) in (1..).zip(&read) {
            ensure!(
                read.offset == index,
                "{name}: {read:?} is the message number {index}"
            );
            ensure!(
                offsets.get(&read.id) == Some(&index),
                "{name}: {read:?}, acknowledged {:?}",
                offsets.get(&read.id)
            );
        }
        ensure!(
            read.len() == offsets.len(),
            "{name}: {} of {} were read",
            read.len(),
            offsets.len()
        );
    }
    println!(
        "{publishes} publishes by {PUBLISHERS} clients, {kills} times killed, in {:.1} s ({:.0}/s): \
         each read once and in one order by {} transports",
        took.as_secs_f64(),
        publishes as f64 / took.as_secs_f64(),
        Transport::ALL.len()
    );
    Ok(())
}

/// Publishes each number until it is acknowledged; where each one is.
async fn publish(load: Arc<Load>, numbers: std::ops::Range<u64>) -> Result<Vec<(String, u64)>> {
    let mut offsets = Vec::new();
    let mut address = load.address.clone();
    let mut client = Client::new(*address.borrow_and_update());
    for number in numbers {
        let most = load
            .acknowledged
            .load(Ordering::Relaxed)
            .saturating_sub(AHEAD);
        load.progress.reaches(most).await;
        loop {
            if address.has_changed()? {
                client = Client::new(*address.borrow_and_update());
            }
            match load.publish(&client, &number.to_string()).await? {
                Some(acknowledged) => break offsets.push(acknowledged),
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    }
    Ok(offsets)
}

impl Load {
    /// One try. None: the host is away, and nothing is known.
    async fn publish(&self, client: &Client, id: &str) -> Result<Option<(String, u64)>> {
        let Ok(answer) = client.publish(&self.session, CHANNEL, id, "0").await else {
            return Ok(None);
        };
        match answer.status.as_u16() {
            200 | 201 => {
                let receipt: Value = answer.json()?;
                let offset = receipt["offset"]
                    .as_u64()
                    .context("a receipt has an offset")?;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.moved.notify_waiters();
                Ok(Some((id.to_owned(), offset)))
            }
            503 => Ok(None),
            _ => bail!("{answer:?}"),
        }
    }

    /// Waits until so many are acknowledged.
    async fn reach(&self, count: u64) {
        loop {
            let moved = self.moved.notified();
            if self.acknowledged.load(Ordering::Relaxed) >= count {
                return;
            }
            moved.await;
        }
    }
}
