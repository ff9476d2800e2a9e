//! Hosts that share a Redis, and all that may go wrong between them and it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Client, Envelope, Fault, Query, Reader, Session, Transport};
use fastrand::Rng;
use faults::{
    Cluster, Follower, HANGS, Load, Offsets, Progress, Sending, Way, Wire, Wiring, check_read,
    check_writers, id_of, size,
};
use redis_server::RedisServer;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CHANNEL: &str = "redis";
const LAST: &str = "last";
const NODES: usize = 3;
const WRITERS: u64 = 8;

/// With these an acknowledged message survives whatever becomes of Redis.
const SAFE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// The most messages that one transport brings before the reader changes to another.
const FEW: u64 = 3;
/// The longest that a connection is kept.
const KEPT: Duration = Duration::from_secs(1);
/// The longest that a node, or Redis, is away.
const AWAY: Duration = Duration::from_millis(300);

fn cluster(server: &RedisServer, nodes: usize) -> Result<Cluster> {
    Cluster::start(vec![server.url(); nodes])
}

/// Publishes until it is taken, for as long as the answer is a clear 503.
async fn publish(client: &Client, session: &Session, id: &str) -> Result<u64> {
    #[derive(serde::Deserialize)]
    struct Receipt {
        offset: u64,
    }
    let taken = async {
        loop {
            let answer = client.publish(session, CHANNEL, id, "0").await?;
            if [200, 201].contains(&answer.status.as_u16()) {
                return Ok(answer.json::<Receipt>()?.offset);
            }
            check_away(&answer)?;
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HANGS, taken).await.context("it is never taken")?
}

fn check_away(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(
        answer.code().as_deref() == Some("unavailable"),
        "{answer:?}"
    );
    let seconds = answer.header("retry-after");
    let seconds: u32 = seconds.context("a 503 tells when to come back")?.parse()?;
    ensure!(seconds > 0, "{answer:?}");
    Ok(())
}

/// What a channel holds, as soon as a node serves it.
async fn history(client: &Client, token: &str) -> Result<Vec<Envelope>> {
    let query = Query::of([CHANNEL]).history(1000).limit(1000).token(token);
    let opened = async {
        loop {
            match Reader::open(client, Transport::ShortPolling, query.clone()).await {
                Err(Fault::Refused(answer)) => check_away(&answer)?,
                opened => return anyhow::Ok(opened?),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut reader = timeout(HANGS, opened).await.context("it stays away")??;
    let mut read = Vec::new();
    loop {
        let batch = reader.next().await?;
        if batch.envelopes.is_empty() {
            return Ok(read);
        }
        read.extend(batch.envelopes);
    }
}

#[test]
fn what_is_published_at_one_node_is_read_at_the_others_without_polling() -> Result<()> {
    faults::run(async {
        let server = RedisServer::start(&[])?;
        let cluster = cluster(&server, NODES)?;
        let session = cluster.client(0).session("Ann").await?;
        let mut readers = Vec::new();
        for node in 0..NODES {
            for &transport in Transport::ALL {
                let client = cluster.client(node);
                readers.push(Reader::open(&client, transport, Query::of([CHANNEL])).await?);
            }
        }
        // Without wakeups each message would take 15 seconds, and all of them longer than this may take.
        let all = async {
            for number in 0..30 {
                let node = number % NODES;
                let id = number.to_string();
                publish(&cluster.client(node), &session, &id).await?;
                for reader in &mut readers {
                    let read = reader.messages(1).await?;
                    ensure!(read[0].id == id, "{read:?}");
                }
            }
            Ok(())
        };
        timeout(HANGS, all).await.context("wakeups are lost")?
    })
}

#[test]
fn changing_node_and_transport_while_nodes_and_redis_are_killed_loses_and_doubles_nothing()
-> Result<()> {
    let changes: u64 = size("WITTER_CHANGES", 300);
    let seed: u64 = size("WITTER_SEED", fastrand::u64(..));
    faults::run(async {
        change(changes, Rng::with_seed(seed))
            .await
            .with_context(|| format!("WITTER_SEED={seed} WITTER_CHANGES={changes}"))
    })
}

async fn change(changes: u64, mut random: Rng) -> Result<()> {
    let publishes = changes * FEW;
    let mut server = RedisServer::start(SAFE)?;
    let mut cluster = cluster(&server, NODES)?;
    let progress = Progress::default();
    let load = Arc::new(Load::begin(cluster.address(), CHANNEL, progress.clone()).await?);
    let mut readers = JoinSet::new();
    // One that stays with each transport, and one that changes it, each opening at another node.
    let staying = Transport::ALL.iter().map(|&transport| Way::One(transport));
    for way in staying.chain([Way::Changing(random.fork(), FEW as u32)]) {
        let mut follower = Follower {
            way,
            channel: CHANNEL.to_owned(),
            last: LAST.to_owned(),
            address: cluster.address(),
            cut: Some(KEPT),
        };
        let place = follower.begin().await?;
        readers.spawn(follower.follow(place, progress.clone()));
    }
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let load = Arc::clone(&load);
        writers.spawn(async move {
            let ids = (0..(publishes + writer) / WRITERS).map(|number| id_of(writer, number));
            let sending = [Sending::Posting, Sending::Conversing][(writer % 2) as usize];
            load.publish(sending, ids, || 200).await
        });
    }
    // Each node once, and Redis as often.
    for fault in 0..2 * NODES as u64 {
        load.reaches(publishes * (fault + 1) / (2 * NODES as u64 + 1))
            .await;
        let node = (fault / 2) as usize;
        let is_redis = fault % 2 == 1;
        if is_redis {
            server.kill()?;
        } else {
            cluster.kill(node)?;
        }
        sleep(AWAY.mul_f64(random.f64())).await;
        if is_redis {
            server.restart()?;
        } else {
            cluster.restart(node)?;
        }
    }
    let mut offsets = Offsets::new();
    while let Some(published) = writers.join_next().await {
        offsets.extend(published??);
    }
    offsets.extend(
        load.publish(Sending::Posting, [LAST.to_owned()], || 200)
            .await?,
    );
    let mut made = 0;
    while let Some(read) = readers.join_next().await {
        let read = read??;
        check_read(&read, &offsets)?;
        check_writers(&read, WRITERS)?;
        let changed = read.windows(2).filter(|pair| pair[0].by != pair[1].by);
        made = made.max(changed.count() as u64);
    }
    println!(
        "{} messages of {WRITERS} writers, {made} changes of the transport, {NODES} nodes and {NODES} times Redis killed, in {:.1} s: each read once and in order by {} readers",
        offsets.len(),
        begun.elapsed().as_secs_f64(),
        Transport::ALL.len() + 1
    );
    ensure!(made >= changes, "{made} changes");
    Ok(())
}

#[test]
fn while_redis_is_away_who_publishes_is_told_and_nothing_is_lost() -> Result<()> {
    faults::run(async {
        let mut server = RedisServer::start(SAFE)?;
        let cluster = cluster(&server, 2)?;
        let session = cluster.client(0).session("Ann").await?;
        let mut expected = vec!["before".to_owned()];
        publish(&cluster.client(0), &session, "before").await?;
        let query = Query::of([CHANNEL]);
        let mut reader = Reader::open(&cluster.client(1), Transport::Sse, query).await?;
        for hangs in [true, false] {
            if hangs {
                server.pause()?;
            } else {
                server.kill()?;
            }
            // Those who ask first wait until it is found to be away, and the others not at all: many would otherwise
            // take longer than this test may.
            let begun = Instant::now();
            let mut longest = Duration::ZERO;
            for number in 0..200 {
                let asked = Instant::now();
                let node = cluster.client(number % 2);
                let answer = node.publish(&session, CHANNEL, "away", "0").await?;
                check_away(&answer)?;
                longest = longest.max(asked.elapsed());
            }
            println!(
                "Redis {}: 200 publishes refused in {:.1} s, the slowest in {:.1} s",
                if hangs { "hangs" } else { "is gone" },
                begun.elapsed().as_secs_f64(),
                longest.as_secs_f64()
            );
            if hangs {
                server.resume()?;
            } else {
                server.restart()?;
            }
            // The same id as what was refused, the first time; and that may have been stored when it was told.
            let id = if hangs { "away" } else { "gone" };
            publish(&cluster.client(0), &session, id).await?;
            expected.push(id.to_owned());
            let read = timeout(HANGS, reader.messages(1)).await;
            let read = read.context("the reader is not served any more")??;
            ensure!(read[0].id == id, "{read:?}");
        }
        let ids = |read: Vec<Envelope>| Vec::from_iter(read.into_iter().map(|read| read.id));
        let read = history(&cluster.client(1), &session.token).await?;
        ensure!(ids(read) == expected);
        Ok(())
    })
}

#[test]
fn a_swap_whose_answer_is_lost_stores_a_message_once() -> Result<()> {
    faults::run(async {
        let server = RedisServer::start(SAFE)?;
        let mut wire = Wire::to(vec![server.address()])?;
        let cut_off = format!("redis://{}", wire.address());
        let cluster = Cluster::start(vec![cut_off, server.url()])?;
        let (one, other) = (cluster.client(0), cluster.client(1));
        let session = one.session("Ann").await?;
        publish(&one, &session, "first").await?;
        wire.set(Wiring::Deaf {
            to: "EVALSHA",
            count: 1,
        });
        let lost = tokio::spawn({
            let (client, session) = (one.clone(), session.clone());
            async move { client.publish(&session, CHANNEL, "lost", "0").await }
        });
        timeout(HANGS, wire.deafened()).await.context("no swap")?;
        // The network is cut, and the answer nowhere. Others go on.
        wire.set(Wiring::Cut);
        check_away(&lost.await??)?;
        publish(&other, &session, "between").await?;
        wire.set(Wiring::Whole);
        let offset = publish(&one, &session, "lost").await?;
        ensure!(offset == publish(&other, &session, "lost").await?);
        publish(&one, &session, "after").await?;
        let read = history(&other, &session.token).await?;
        let ids: Vec<_> = read.iter().map(|envelope| envelope.id.as_str()).collect();
        // Redis got the swap before the network was cut.
        ensure!(ids == ["first", "lost", "between", "after"], "{ids:?}");
        ensure!(read[1].offset == offset, "{read:?}");
        Ok(())
    })
}

#[test]
fn a_node_that_is_cut_off_reads_on_when_the_network_is_back() -> Result<()> {
    faults::run(async {
        let server = RedisServer::start(&[])?;
        let wire = Wire::to(vec![server.address()])?;
        let cut_off = format!("redis://{}", wire.address());
        let cluster = Cluster::start(vec![cut_off, server.url()])?;
        let (one, other) = (cluster.client(0), cluster.client(1));
        let session = other.session("Ann").await?;
        publish(&other, &session, "first").await?;
        let mut readers = Vec::new();
        for &transport in Transport::ALL {
            readers.push(Reader::open(&one, transport, Query::of([CHANNEL])).await?);
        }
        wire.set(Wiring::Cut);
        publish(&other, &session, "meanwhile").await?;
        wire.set(Wiring::Whole);
        publish(&other, &session, "afterwards").await?;
        for (reader, transport) in readers.iter_mut().zip(Transport::ALL) {
            let mut ids = Vec::new();
            let read = async {
                while ids.len() < 2 {
                    match reader.messages(1).await {
                        Ok(read) => ids.extend(read.into_iter().map(|read| read.id)),
                        // A poll while the store was away.
                        Err(_) => {
                            let query = Query::of([CHANNEL]).after(reader.cursor());
                            match Reader::open(&one, *transport, query).await {
                                Ok(opened) => *reader = opened,
                                Err(_) => sleep(Duration::from_millis(50)).await,
                            }
                        }
                    }
                }
            };
            timeout(HANGS, read).await.context(transport.name())?;
            ensure!(
                ids == ["meanwhile", "afterwards"],
                "{}: {ids:?}",
                transport.name()
            );
        }
        Ok(())
    })
}

/// Publishes until Redis takes no more, makes room, and publishes what was refused.
async fn fill(server: &RedisServer, room: impl FnOnce() -> Result<()>) -> Result<()> {
    let cluster = cluster(server, 2)?;
    let (one, other) = (cluster.client(0), cluster.client(1));
    let session = one.session("Ann").await?;
    let body = format!("\"{}\"", "x".repeat(10_000));
    let mut taken = Vec::new();
    let refused = loop {
        let id = taken.len().to_string();
        let answer = one.publish(&session, CHANNEL, &id, &body).await?;
        if answer.status != 201 {
            check_away(&answer)?;
            break id;
        }
        taken.push(id);
        ensure!(taken.len() < 2_000, "it is never full");
    };
    check_away(&other.publish(&session, CHANNEL, &refused, &body).await?)?;
    // Reading goes on.
    let read = history(&other, &session.token).await?;
    ensure!(read.last().map(|last| &last.id) == taken.last(), "{read:?}");
    room()?;
    let again = async {
        loop {
            let answer = other.publish(&session, CHANNEL, &refused, &body).await?;
            if [200, 201].contains(&answer.status.as_u16()) {
                return anyhow::Ok(());
            }
            check_away(&answer)?;
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(HANGS, again).await.context("it stays full")??;
    taken.push(refused);
    let read = history(&one, &session.token).await?;
    let ids: Vec<&String> = read.iter().map(|envelope| &envelope.id).collect();
    ensure!(taken.iter().collect::<Vec<_>>().ends_with(&ids), "{ids:?}");
    ensure!(HashSet::<&&String>::from_iter(&ids).len() == ids.len());
    Ok(())
}

#[test]
fn a_redis_whose_memory_is_full_refuses_and_takes_again() -> Result<()> {
    faults::run(async {
        let server = RedisServer::start(&["--maxmemory", "3mb"])?;
        fill(&server, || {
            server.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"])?;
            Ok(())
        })
        .await
    })
}

#[test]
fn a_redis_whose_disk_is_full_refuses_and_takes_again() -> Result<()> {
    faults::run(async {
        let server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "everysec"])?;
        server.limit_files("2000000")?;
        fill(&server, || server.limit_files("unlimited")).await
    })
}

#[test]
fn a_redis_that_ends_because_its_disk_is_full_has_all_that_was_acknowledged() -> Result<()> {
    faults::run(async {
        let mut server = RedisServer::start(SAFE)?;
        let cluster = cluster(&server, 2)?;
        let session = cluster.client(0).session("Ann").await?;
        publish(&cluster.client(0), &session, "first").await?;
        server.limit_files("1000000")?;
        // With `always` it writes no further rather than to acknowledge what the disk has not.
        let mut taken = vec!["first".to_owned()];
        let body = format!("\"{}\"", "x".repeat(10_000));
        while !server.has_ended()? {
            let id = taken.len().to_string();
            let client = cluster.client(taken.len() % 2);
            let answer = client.publish(&session, CHANNEL, &id, &body).await?;
            if answer.status == 201 {
                taken.push(id);
            } else {
                check_away(&answer)?;
            }
            ensure!(taken.len() < 2_000, "it is never full");
        }
        server.restart()?;
        let refused = taken.len().to_string();
        let answered = publish(&cluster.client(0), &session, "last").await?;
        let read = history(&cluster.client(1), &session.token).await?;
        let mut ids: Vec<&String> = read.iter().map(|envelope| &envelope.id).collect();
        ensure!(ids.pop().is_some_and(|last| last == "last"), "{ids:?}");
        // What was refused at last may have been stored.
        ids.retain(|id| **id != refused);
        ensure!(taken.iter().collect::<Vec<_>>().ends_with(&ids), "{ids:?}");
        ensure!(answered + 1 >= taken.len() as u64, "{answered}");
        Ok(())
    })
}

#[test]
fn a_host_without_its_redis_does_not_begin_to_serve() -> Result<()> {
    faults::run(async {
        let server = RedisServer::start(&[])?;
        let wire = Wire::to(vec![server.address()])?;
        wire.set(Wiring::Cut);
        let store = format!("redis://ann:secret@{}", wire.address());
        let started = Cluster::start(vec![store]);
        let error = format!("{:#}", started.expect_err("Redis is away"));
        ensure!(error.contains("cannot be opened"), "{error}");
        ensure!(!error.contains("secret"), "{error}");
        Ok(())
    })
}
