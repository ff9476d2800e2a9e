//! A reader that changes its transport again and again, of a host that is killed meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::Transport;
use fastrand::Rng;
use faults::{
    Follower, Load, Offsets, Progress, Sending, Service, Way, check_read, check_writers, id_of,
    size,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

const CHANNEL: &str = "changes";
const LAST: &str = "last";
const WRITERS: u64 = 4;
/// The most messages that one transport brings before the reader changes to another.
const FEW: u64 = 3;
/// The longest that a connection is kept: longer than one takes to open, shorter than a silent one would live.
const KEPT: Duration = Duration::from_secs(1);
/// One kill for so many changes.
const CHANGES_BEFORE_A_KILL: u64 = 400;
/// The longest that no host serves.
const AWAY: Duration = Duration::from_millis(100);

/// How far writers are ahead of the reader, and for how many messages of each: it waits at the end for the
/// next message, is a few behind, or reads what only segments hold any more.
const AHEAD: [u64; 3] = [0, 10, 200];
const PHASE: u64 = 100;

#[test]
fn changing_the_transport_at_any_moment_loses_and_doubles_nothing() -> Result<()> {
    let changes: u64 = size("WITTER_CHANGES", 2_000);
    // The choices are the seed's; when a message comes is the machine's.
    let seed: u64 = size("WITTER_SEED", fastrand::u64(..));
    faults::run(async {
        run(changes, Rng::with_seed(seed))
            .await
            .with_context(|| format!("WITTER_SEED={seed} WITTER_CHANGES={changes}"))
    })
}

async fn run(changes: u64, mut random: Rng) -> Result<()> {
    // The reader changes once in so many messages or sooner.
    let publishes = changes * FEW;
    let mut deployment = Service::start(&[])?;
    let progress = Progress::default();
    let load = Arc::new(Load::begin(deployment.address(), CHANNEL, progress.clone()).await?);
    let mut follower = Follower {
        way: Way::Changing(random.fork(), FEW as u32),
        channel: CHANNEL.to_owned(),
        last: LAST.to_owned(),
        address: deployment.address(),
        cut: Some(KEPT),
    };
    let place = follower.begin().await?;
    let reader = tokio::spawn(follower.follow(place, progress));
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let load = Arc::clone(&load);
        writers.spawn(async move {
            let count = (publishes + writer) / WRITERS;
            let ids = (0..count).map(|number| id_of(writer, number));
            let mut phases = AHEAD
                .iter()
                .flat_map(|ahead| (0..PHASE).map(|_| *ahead))
                .cycle();
            let sending = [Sending::Posting, Sending::Conversing][(writer % 2) as usize];
            load.publish(sending, ids, || phases.next().unwrap_or_default())
                .await
        });
    }
    let mut kills: Vec<u64> = (0..changes / CHANGES_BEFORE_A_KILL)
        .map(|_| random.u64(..publishes))
        .collect();
    kills.sort_unstable();
    for &kill in &kills {
        load.reaches(kill).await;
        deployment.kill()?;
        sleep(AWAY.mul_f64(random.f64())).await;
        deployment.restart()?;
    }
    let mut offsets = Offsets::new();
    while let Some(published) = writers.join_next().await {
        offsets.extend(published??);
    }
    offsets.extend(
        load.publish(Sending::Posting, [LAST.to_owned()], || 0)
            .await?,
    );
    let read = reader.await??;
    let took = begun.elapsed();
    check_read(&read, &offsets)?;
    check_writers(&read, WRITERS)?;
    let made: Vec<(Transport, Transport)> = read
        .windows(2)
        .filter(|pair| pair[0].by != pair[1].by)
        .map(|pair| (pair[0].by, pair[1].by))
        .collect();
    let kinds: HashSet<_> = made.iter().collect();
    println!(
        "{} messages of {WRITERS} writers, {} changes of {} kinds, {} times killed, in {:.1} s: each read once and in order",
        read.len(),
        made.len(),
        kinds.len(),
        kills.len(),
        took.as_secs_f64()
    );
    ensure!(made.len() as u64 >= changes, "{} changes", made.len());
    let all = Transport::ALL.len() * (Transport::ALL.len() - 1);
    ensure!(
        kinds.len() == all,
        "{} kinds of changes were met in {}, there are {all}",
        kinds.len(),
        made.len()
    );
    Ok(())
}
