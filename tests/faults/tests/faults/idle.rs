//! What readers cost while nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{Client, Query, Reader, Server, Transport, Wakeup};
use faults::{Deployment, HANGS, Usage, hold_all, idle, raise_file_limit, size};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CHANNELS: usize = 20;
/// How long costs are added up.
const WINDOW: Duration = Duration::from_secs(10);
/// Four times what a connection is to take, so that only a change of kind fails.
const MOST_MEMORY: u64 = 100 * 1024;

/// Queries of so many readers, spread over the channels; polls go on from a place, and are held.
async fn queries(client: &Client, transport: Transport, count: usize) -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    for channel in 0..CHANNELS.min(count) {
        let query = Query::of([format!("idle-{channel}")]).wait(55);
        let reader = Reader::open(client, transport, query.clone()).await?;
        queries.push(query.after(reader.cursor()));
    }
    Ok(queries.into_iter().cycle().take(count).collect())
}

#[test]
fn a_host_that_has_nothing_to_do_sleeps() -> Result<()> {
    faults::run(async {
        const ASLEEP: Duration = Duration::from_secs(3);
        /// In a second. What interrupts components that compute for too long has a hundred, where they compute.
        const MOST: u64 = 20;
        let deployment = Deployment::start(&[])?;
        let host = deployment.process().id();
        // It is started, and what begins with the first session only has begun.
        deployment.client().session("Ann").await?;
        sleep(ASLEEP).await;
        let before = Usage::sleeps(host)?;
        sleep(ASLEEP).await;
        // What threads that ended meanwhile had is not counted any more.
        let woken = Usage::sleeps(host)?.saturating_sub(before);
        println!("woken {woken} times in {} s", ASLEEP.as_secs());
        ensure!(woken <= MOST * ASLEEP.as_secs(), "woken {woken} times");
        Ok(())
    })
}

#[test]
fn idle_readers_cost_next_to_nothing() -> Result<()> {
    faults::run(async {
        let count: usize = size("WITTER_READERS", 500);
        raise_file_limit()?;
        let deployment = Deployment::start(&[])?;
        let (client, host) = (deployment.client(), deployment.process().id());
        let transports = [Transport::Sse, Transport::LongPolling];
        // What comes with the first readers comes only once.
        let mut held = Vec::new();
        for transport in transports {
            let first = queries(&client, transport, CHANNELS).await?;
            held.extend(hold_all(client.address(), transport, &first).await?);
        }
        let before = Usage::of(host)?;
        for transport in transports {
            let queries = queries(&client, transport, count).await?;
            held.extend(hold_all(client.address(), transport, &queries).await?);
        }
        let begun = Usage::of(host)?;
        ensure!(
            begun.sockets >= held.len(),
            "{} sockets for {} readers",
            begun.sockets,
            held.len()
        );
        sleep(WINDOW).await;
        let after = Usage::of(host)?;
        let connections = (2 * count) as u64;
        let each = after.memory.saturating_sub(before.memory) / connections;
        println!(
            "{count} idle SSE readers and {count} held long polls: {:.2}% of a core for each 1,000, {:.1} KiB a connection, {} MiB in all",
            after.percent_since(&begun) * 1000.0 / connections as f64,
            each as f64 / 1024.0,
            after.memory >> 20,
        );
        ensure!(each < MOST_MEMORY, "{each} bytes a connection");
        drop(held);
        Ok(())
    })
}

#[test]
fn an_idle_websocket_costs_about_what_a_stream_does() -> Result<()> {
    faults::run(async {
        /// Twice is meant; what comes of a measurement as small as that of every run is not counted.
        const MOST: u64 = 3;
        /// What comes with the first ones comes only once, and where there was some to spare.
        const FIRST: usize = 500;
        /// Within it, each of them beats once.
        const HEARTBEAT: Duration = Duration::from_secs(15);
        let count: usize = size("WITTER_SOCKETS", 2_000);
        raise_file_limit()?;
        let mut each = Vec::new();
        for transport in [Transport::Sse, Transport::Websocket] {
            let deployment = Deployment::start(&[])?;
            let (client, host) = (deployment.client(), deployment.process().id());
            let hold = async |count| {
                let queries = queries(&client, transport, count).await?;
                let sockets = hold_all(client.address(), transport, &queries).await?;
                anyhow::Ok(idle(sockets))
            };
            let mut held = [hold(FIRST).await?, JoinSet::new()];
            let before = Usage::of(host)?;
            held[1] = hold(count).await?;
            let begun = Usage::of(host)?;
            sleep(HEARTBEAT).await;
            let after = Usage::of(host)?;
            for held in &mut held {
                if let Some(ended) = held.try_join_next() {
                    ended?.with_context(|| transport.name())?;
                }
            }
            let memory = after.memory.saturating_sub(before.memory) / count as u64;
            println!(
                "{count} idle readers by {}: {:.2}% of a core for each 1,000, {:.1} KiB a connection",
                transport.name(),
                after.percent_since(&begun) * 1000.0 / (FIRST + count) as f64,
                memory as f64 / 1024.0,
            );
            each.push(memory);
        }
        ensure!(each[1] < MOST * each[0], "{each:?} bytes a connection");
        Ok(())
    })
}

#[test]
fn idle_readers_leave_the_store_alone() -> Result<()> {
    faults::run(async {
        const COUNT: usize = 200;
        /// A channel is read again once in this time at most, in each component that follows it.
        const BACKUP: Duration = Duration::from_secs(15);
        raise_file_limit()?;
        let server = Server::in_process(Wakeup::Native).await?;
        let Server::InProcess(host) = &server else {
            panic!("it is in this process")
        };
        let client = Client::new(server.address());
        let transports = [Transport::Sse, Transport::LongPolling];
        let mut held = Vec::new();
        for transport in transports {
            let queries = queries(&client, transport, COUNT).await?;
            held.extend(hold_all(client.address(), transport, &queries).await?);
        }
        let before = host.store().reads();
        sleep(BACKUP).await;
        let reads = host.store().reads() - before;
        println!(
            "{} idle readers of {CHANNELS} channels: {reads} store reads in {} s",
            held.len(),
            BACKUP.as_secs()
        );
        let most = CHANNELS * transports.len() * 2;
        ensure!(reads <= most as u64, "{reads} reads, {most} were allowed");
        Ok(())
    })
}

#[test]
fn polls_that_come_back_leave_the_store_alone() -> Result<()> {
    faults::run(async {
        const POLLS: u64 = 8;
        /// The channel is read again in this time, and so is who has changed: fewer than two for a poll.
        const MOST: u64 = 4;
        let server = Server::in_process(Wakeup::Native).await?;
        let Server::InProcess(host) = &server else {
            panic!("it is in this process")
        };
        let client = Client::new(server.address());
        let session = client.session("Ann").await?;
        let query = Query::of(["back"]).wait(1).token(&session.token);
        let mut reader = Reader::open(&client, Transport::LongPolling, query).await?;
        // What begins with the first one begins only once.
        reader.next().await?;
        reader.next().await?;
        let before = host.store().reads();
        for _ in 0..POLLS {
            let batch = reader.next().await?;
            ensure!(batch.envelopes.is_empty(), "nobody speaks: {batch:?}");
        }
        let reads = host.store().reads() - before;
        println!("{POLLS} polls of one reader, one after the other: {reads} store reads");
        ensure!(reads <= MOST, "{reads} reads, {MOST} were allowed");
        Ok(())
    })
}

#[test]
fn readers_that_left_cost_nothing_after() -> Result<()> {
    faults::run(async {
        const COUNT: usize = 100;
        /// Longer than the longest pause between two reads by the timer.
        const PAUSE: Duration = Duration::from_secs(2);
        let server = Server::in_process(Wakeup::Timer).await?;
        let Server::InProcess(host) = &server else {
            panic!("it is in this process")
        };
        let client = Client::new(server.address());
        for transport in [Transport::Sse, Transport::LongPolling] {
            let queries = queries(&client, transport, COUNT).await?;
            let held = hold_all(client.address(), transport, &queries).await?;
            let before = host.store().reads();
            sleep(PAUSE).await;
            ensure!(
                host.store().reads() > before,
                "readers are served by reading the store"
            );
            drop(held);
            let left = Instant::now();
            // Who is still served goes on reading.
            let silence = async {
                loop {
                    let before = host.store().reads();
                    sleep(PAUSE).await;
                    if host.store().reads() == before {
                        return;
                    }
                }
            };
            timeout(HANGS, silence)
                .await
                .with_context(|| format!("{} goes on reading", transport.name()))?;
            println!(
                "{COUNT} readers by {} left: no read of the store later than {:.1} s after",
                transport.name(),
                left.elapsed().saturating_sub(PAUSE).as_secs_f64()
            );
        }
        Ok(())
    })
}
