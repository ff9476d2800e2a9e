//! Hosts that are killed while many publish: what was acknowledged is read once, in one order.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use conformance::Transport;
use faults::{Follower, Load, Offsets, Progress, Sending, Service, Way, check_read, size};
use tokio::task::JoinSet;

const CHANNEL: &str = "kills";
const LAST: &str = "last";
const PUBLISHERS: u64 = 16;
/// Publishers keep within so many messages of the slowest reader: who falls behind the window is told a
/// gap, and this is about loss.
const AHEAD: u64 = 500;

#[test]
fn what_was_acknowledged_before_a_kill_is_read_once_and_in_one_order() -> Result<()> {
    let publishes: u64 = size("WITTER_PUBLISHES", 10_000);
    let kills: u64 = size("WITTER_KILLS", 3);
    faults::run(run(publishes, kills))
}

async fn run(publishes: u64, kills: u64) -> Result<()> {
    let mut deployment = Service::start(&[])?;
    let progress = Progress::default();
    let load = Arc::new(Load::begin(deployment.address(), CHANNEL, progress.clone()).await?);
    let mut readers = JoinSet::new();
    for &transport in Transport::ALL {
        let mut follower = Follower {
            way: Way::One(transport),
            channel: CHANNEL.to_owned(),
            last: LAST.to_owned(),
            address: deployment.address(),
            cut: None,
        };
        let (place, progress) = (follower.begin().await?, progress.clone());
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
        let load = Arc::clone(&load);
        publishers.spawn(async move {
            let ids = (first..end).map(|number| number.to_string());
            let sending = [Sending::Posting, Sending::Conversing][(publisher % 2) as usize];
            load.publish(sending, ids, || AHEAD).await
        });
    }
    for kill in 1..=kills {
        load.reaches(publishes * kill / (kills + 1)).await;
        deployment.kill()?;
        deployment.restart()?;
    }
    let mut offsets = Offsets::new();
    while let Some(published) = publishers.join_next().await {
        offsets.extend(published??);
    }
    let took = begun.elapsed();
    offsets.extend(
        load.publish(Sending::Posting, [LAST.to_owned()], || AHEAD)
            .await?,
    );
    ensure!(
        offsets.get(LAST) == Some(&(publishes + 1)),
        "{:?} messages are stored, {publishes} were published before the last",
        offsets.get(LAST)
    );
    while let Some(read) = readers.join_next().await {
        let (transport, read) = read??;
        check_read(&read, &offsets).context(transport.name())?;
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
