//! Readers whose connections are cut at any moment, their first one before its first message too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conformance::{Session, Transport};
use faults::{Follower, Progress, Service, Way, size};
use protocol::Cursor;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

const CHANNEL: &str = "cuts";
const LAST: &str = "last";
const READERS: usize = 100;
/// Between two messages.
const PERIOD: Duration = Duration::from_millis(20);
/// The longest that a connection is kept.
const KEPT: Duration = Duration::from_secs(1);

#[test]
fn readers_cut_at_any_moment_miss_nothing() -> Result<()> {
    let seconds: u64 = size("WITTER_SECONDS", 5);
    faults::run(async {
        for &transport in Transport::ALL {
            run(transport, Duration::from_secs(seconds))
                .await
                .context(transport.name())?;
        }
        Ok(())
    })
}

async fn run(transport: Transport, time: Duration) -> Result<()> {
    let deployment = Service::start(&[])?;
    let session = deployment.client().session("Ann").await?;
    let end = Instant::now() + time;
    let mut readers = JoinSet::new();
    let (beginning, mut all_begun) = mpsc::channel::<()>(1);
    let mut ticks = interval(PERIOD);
    let mut published = 0;
    while Instant::now() < end {
        ticks.tick().await;
        publish(&deployment, &session, &published.to_string()).await?;
        published += 1;
        // They come one by one while messages are published.
        if readers.len() < READERS {
            let mut follower = Follower {
                way: Way::One(transport),
                channel: CHANNEL.to_owned(),
                last: LAST.to_owned(),
                address: deployment.address(),
                cut: Some(KEPT),
            };
            let beginning = beginning.clone();
            readers.spawn(async move {
                // This connection is cut when it has told a place, and nothing else.
                let place = follower.begin().await?;
                drop(beginning);
                let first = Cursor::decode(&place)?
                    .get(&CHANNEL.parse()?)
                    .context("it names the channel")?;
                Ok::<_, anyhow::Error>((
                    first.offset,
                    follower.follow(place, Progress::default()).await?,
                ))
            });
        }
    }
    // Who begins behind the last message waits for it in vain.
    drop(beginning);
    all_begun.recv().await;
    publish(&deployment, &session, LAST).await?;
    let count = readers.len();
    while let Some(read) = readers.join_next().await {
        let (begun, read) = read??;
        for (expected, read) in (begun + 1..).zip(&read) {
            ensure!(
                read.offset == expected,
                "{read:?} where {expected} was to come"
            );
        }
        ensure!(
            begun + read.len() as u64 == published + 1,
            "{} read from {begun}",
            read.len()
        );
    }
    println!(
        "{}: {count} readers cut at random for {} s, {published} messages: none missed",
        transport.name(),
        time.as_secs()
    );
    Ok(())
}

async fn publish(deployment: &Service, session: &Session, id: &str) -> Result<()> {
    let answer = deployment
        .client()
        .publish(session, CHANNEL, id, "0")
        .await?;
    ensure!(answer.status == 201, "{answer:?}");
    Ok(())
}
