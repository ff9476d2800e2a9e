//! Hosts that share a Redis, and all that may go wrong between them and it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Client, Envelope, Fault, Live, Query, Reader, Session, Transport};
use fastrand::Rng;
use faults::{
    Cluster, Follower, HANGS, Load, Offsets, Progress, Read, Sending, Way, Wire, Wiring,
    check_read, check_writers, id_of, size,
};
use redis_server::RedisServer;
use tokio::sync::{oneshot, watch};
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

/// How long a node waits for an answer of Redis.
const PATIENCE: Duration = Duration::from_secs(3);
/// After so long a node has found out that a subscription on which nothing comes is dead: five seconds of silence, and
/// an answer that does not come.
const NOTICED: Duration = Duration::from_secs(5).saturating_add(PATIENCE);
/// A busy machine has so much more.
const SLACK: Duration = Duration::from_secs(5);

#[derive(serde::Deserialize)]
struct Receipt {
    offset: u64,
}

fn cluster(server: &RedisServer, nodes: usize) -> Result<Cluster> {
    Cluster::start(vec![server.url(); nodes])
}

/// Publishes until it is taken, for as long as the answer is a clear 503.
async fn publish(client: &Client, session: &Session, id: &str) -> Result<u64> {
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
            ensure!(begun.elapsed() < HANGS, "{:?}", begun.elapsed());
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
        // Behind one message of its own a node reads the tail before it writes; behind a few it goes on from the one that
        // it knows.
        let read = lose_a_swap(1).await.context("behind one message")?;
        let known = lose_a_swap(3).await.context("behind three")?;
        ensure!(
            known < read,
            "{known} reads behind three, {read} behind one"
        );
        Ok(())
    })
}

/// Loses the answer to the swap of a node that published so many messages before, and tells how often it read until then.
async fn lose_a_swap(before: usize) -> Result<u64> {
    let server = RedisServer::start(SAFE)?;
    let mut wire = Wire::to(vec![server.address()])?;
    let cut_off = format!("redis://{}", wire.address());
    let cluster = Cluster::start(vec![cut_off, server.url()])?;
    let (one, other) = (cluster.client(0), cluster.client(1));
    let session = one.session("Ann").await?;
    let mut expected = Vec::from_iter((0..before).map(|number| number.to_string()));
    for id in &expected {
        publish(&one, &session, id).await?;
    }
    // The question that names the tail: the swap, or the read before it, where it is not held.
    wire.set(Wiring::Deaf {
        to: "w1/t/",
        count: if before == 1 { 2 } else { 1 },
    });
    server.ask::<String>(&["CONFIG", "RESETSTAT"])?;
    let lost = tokio::spawn({
        let (client, session) = (one.clone(), session.clone());
        async move { client.publish(&session, CHANNEL, "lost", "0").await }
    });
    timeout(HANGS, wire.deafened()).await.context("no swap")?;
    // The network is cut, and the answer nowhere. Others go on.
    wire.set(Wiring::Cut);
    check_away(&lost.await??)?;
    let reads = calls(&server, "get")? + calls(&server, "mget")?;
    publish(&other, &session, "between").await?;
    wire.set(Wiring::Whole);
    let offset = publish(&one, &session, "lost").await?;
    ensure!(offset == publish(&other, &session, "lost").await?);
    publish(&one, &session, "after").await?;
    let read = history(&other, &session.token).await?;
    let ids: Vec<_> = read.iter().map(|envelope| envelope.id.as_str()).collect();
    // Redis got the swap before the network was cut.
    expected.extend(["lost", "between", "after"].map(str::to_owned));
    ensure!(ids == expected, "{ids:?}");
    ensure!(read[before].offset == offset, "{read:?}");
    Ok(reads)
}

/// How often a command was called since that was reset.
fn calls(server: &RedisServer, command: &str) -> Result<u64> {
    let told = server.ask::<String>(&["INFO", "commandstats"])?;
    let beginning = format!("cmdstat_{command}:calls=");
    let mut found = told
        .lines()
        .filter_map(|line| line.strip_prefix(&beginning));
    let Some(count) = found.next().and_then(|rest| rest.split(',').next()) else {
        return Ok(0);
    };
    Ok(count.parse()?)
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

/// Readers of the channel by every transport, who stay whatever happens, at one place.
struct Readers {
    _address: watch::Sender<SocketAddr>,
    reading: JoinSet<Result<Vec<Read>>>,
}

impl Readers {
    /// They read what comes from now on, up to the last.
    async fn begin(place: SocketAddr) -> Result<Self> {
        let address = watch::Sender::new(place);
        let mut reading = JoinSet::new();
        for &transport in Transport::ALL {
            let mut follower = Follower {
                way: Way::One(transport),
                channel: CHANNEL.to_owned(),
                last: LAST.to_owned(),
                address: address.subscribe(),
                cut: None,
            };
            let place = follower.begin().await?;
            let read = follower.follow(place, Progress::default());
            reading.spawn(async move { read.await.context(transport.name()) });
        }
        Ok(Self {
            _address: address,
            reading,
        })
    }

    /// They have read all of it, each once and in order.
    async fn end(mut self, offsets: &Offsets) -> Result<()> {
        let all = async {
            while let Some(read) = self.reading.join_next().await {
                check_read(&read??, offsets)?;
            }
            Ok(())
        };
        timeout(HANGS, all).await.context("a reader hangs")?
    }
}

/// Somebody who is there for as long as anybody lets them in.
async fn stay(client: Client, transport: Transport, query: Query) {
    loop {
        if let Ok(mut reader) = Reader::open(&client, transport, query.clone()).await {
            while reader.next().await.is_ok() {
                if transport == Transport::ShortPolling {
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_minute_without_redis_loses_nothing_and_nobody() -> Result<()> {
    let seconds = size("WITTER_AWAY", 60);
    faults::run(outlast(Duration::from_secs(seconds)))
}

async fn outlast(away: Duration) -> Result<()> {
    let mut server = RedisServer::start(SAFE)?;
    let cluster = cluster(&server, 2)?;
    let clients = [cluster.client(0), cluster.client(1)];
    let session = clients[0].session("Ann").await?;
    let mut readers = Vec::new();
    for client in &clients {
        readers.push(Readers::begin(client.address()).await?);
    }
    let (mut staying, mut senders, mut streaming) = (JoinSet::new(), Vec::new(), Vec::new());
    for (client, &transport) in clients.iter().cycle().zip(Transport::ALL) {
        let one = client.session(transport.name()).await?;
        let query = Query::of([CHANNEL]).present().token(&one.token);
        staying.spawn(stay(client.clone(), transport, query));
        if !transport.polls() {
            streaming.push(one.sender.clone());
        }
        senders.push(one.sender);
    }
    let look = async |client: &Client| {
        let query = Query::of([CHANNEL]).present().token(&session.token);
        let mut watching = Reader::open(client, Transport::Sse, query).await?;
        let all = |live: &Live| senders.iter().all(|one| live.here.contains_key(one));
        let seen = timeout(HANGS, watching.sees(CHANNEL, all)).await;
        seen.context("not all are seen")??;
        anyhow::Ok(watching)
    };
    let mut watching = look(&clients[0]).await?;
    // It is read all the while, and in the end sees all again.
    let (over, is_over) = oneshot::channel::<()>();
    let awaited = senders.clone();
    let watched = tokio::spawn(async move {
        tokio::select! {
            ended = watching.sees(CHANNEL, |_| false) => return Ok(ended?),
            _ = is_over => {}
        }
        let all = |live: &Live| awaited.iter().all(|one| live.here.contains_key(one));
        let seen = timeout(HANGS, watching.sees(CHANNEL, all)).await;
        anyhow::Ok(seen.context("not all are seen by who stayed")??)
    });
    let mut offsets = Offsets::new();
    for number in 0..10 {
        let id = format!("before-{number}");
        let offset = publish(&clients[number % 2], &session, &id).await?;
        offsets.insert(id, offset);
    }
    server.kill()?;
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    let mut refused = Vec::new();
    while begun.elapsed() < away {
        let (id, asked) = (format!("during-{}", refused.len()), Instant::now());
        let client = &clients[refused.len() % 2];
        check_away(&client.publish(&session, CHANNEL, &id, "0").await?)?;
        longest = longest.max(asked.elapsed());
        refused.push(id);
        sleep(Duration::from_millis(200)).await;
    }
    ensure!(longest < SLACK, "{longest:?}");
    server.restart()?;
    let back = Instant::now();
    println!(
        "Redis was away for {:.0} s: {} publishes were refused, the slowest in {:.2} s",
        begun.elapsed().as_secs_f64(),
        refused.len(),
        longest.as_secs_f64()
    );
    for (number, id) in refused.into_iter().enumerate() {
        let offset = publish(&clients[number % 2], &session, &id).await?;
        offsets.insert(id, offset);
    }
    for client in &clients {
        look(client).await.context("Redis is back")?;
    }
    println!(
        "all were seen again after {:.1} s",
        back.elapsed().as_secs_f64()
    );
    let last = publish(&clients[1], &session, LAST).await?;
    offsets.insert(LAST.to_owned(), last);
    for readers in readers {
        readers.end(&offsets).await?;
    }
    over.send(()).ok();
    let live = watched.await??;
    let gone = streaming.iter().filter(|one| live.left.contains(one));
    println!(
        "{} of {} who kept their connections were told as gone for a moment",
        gone.count(),
        streaming.len()
    );
    Ok(())
}

#[test]
fn a_node_whose_network_goes_silent_goes_on_on_the_same_connections() -> Result<()> {
    faults::run(silence(false))
}

#[test]
fn a_node_whose_network_goes_silent_goes_on_though_they_are_cut() -> Result<()> {
    faults::run(silence(true))
}

/// Drops every packet between one of two nodes and Redis for a while, after which its connections live on, or are cut.
async fn silence(is_cut: bool) -> Result<()> {
    let server = RedisServer::start(SAFE)?;
    let wire = Wire::to(vec![server.address()])?;
    let silenced = format!("redis://{}", wire.address());
    let cluster = Cluster::start(vec![silenced, server.url()])?;
    let (one, other) = (cluster.client(0), cluster.client(1));
    let session = other.session("Ann").await?;
    let readers = Readers::begin(one.address()).await?;
    let mut offsets = Offsets::new();
    let mut publish_at = async |client: &Client, id: &str| {
        let offset = publish(client, &session, id).await?;
        offsets.insert(id.to_owned(), offset);
        anyhow::Ok(())
    };
    publish_at(&one, "before").await?;
    let subscribed = subscribed(&server, |numbers| numbers.len() == 2).await?;
    wire.set(Wiring::Silent);
    let begun = Instant::now();
    check_away(&one.publish(&session, CHANNEL, "away", "0").await?)?;
    let first = begun.elapsed();
    ensure!(first < PATIENCE + SLACK, "{first:?}");
    // From then on nobody waits.
    for _ in 0..20 {
        check_away(&one.publish(&session, CHANNEL, "away", "0").await?)?;
    }
    let others = begun.elapsed() - first;
    ensure!(others < PATIENCE + SLACK, "{others:?}");
    println!(
        "the network is silent: the first was refused after {:.1} s, 20 others within {:.2} s",
        first.as_secs_f64(),
        others.as_secs_f64()
    );
    publish_at(&other, "meanwhile").await?;
    sleep((NOTICED + SLACK).saturating_sub(begun.elapsed())).await;
    if is_cut {
        wire.set(Wiring::Cut);
        self::subscribed(&server, |numbers| numbers.len() == 1).await?;
    }
    wire.set(Wiring::Whole);
    // It had given up the silent subscription, and has another, which alone wakes its readers soon.
    self::subscribed(&server, |numbers| numbers.last() > subscribed.last()).await?;
    publish_at(&other, "whole").await?;
    // What was refused may be stored, now or then, and is it once.
    publish_at(&one, "away").await?;
    publish_at(&other, LAST).await?;
    readers.end(&offsets).await
}

/// The connections that are subscribed, by the numbers that Redis gives them, in order; as soon as they are such.
async fn subscribed(server: &RedisServer, such: impl Fn(&[u64]) -> bool) -> Result<Vec<u64>> {
    let number = |line: &str| {
        let number = line.strip_prefix("id=")?.split(' ').next()?;
        number.parse().ok()
    };
    let asked = Instant::now();
    loop {
        let told = server.ask::<String>(&["CLIENT", "LIST", "TYPE", "pubsub"])?;
        let mut numbers: Vec<u64> = told.lines().filter_map(number).collect();
        numbers.sort_unstable();
        if such(&numbers) {
            return Ok(numbers);
        }
        ensure!(asked.elapsed() < HANGS, "{numbers:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn on_a_slow_network_everything_works_later() -> Result<()> {
    const LATE: Duration = Duration::from_millis(60);
    const MESSAGES: usize = 12;
    faults::run(async {
        let server = RedisServer::start(&[])?;
        let wires = [
            Wire::to(vec![server.address()])?,
            Wire::to(vec![server.address()])?,
        ];
        let stores = wires
            .iter()
            .map(|wire| format!("redis://{}", wire.address()));
        let cluster = Cluster::start(stores.collect())?;
        for wire in &wires {
            wire.set(Wiring::Slow(LATE));
        }
        let clients = [cluster.client(0), cluster.client(1)];
        let session = clients[0].session("Ann").await?;
        let mut readers = Vec::new();
        for client in &clients {
            readers.push(Readers::begin(client.address()).await?);
        }
        let begun = Instant::now();
        let mut offsets = Offsets::new();
        for number in 0..MESSAGES {
            let id = match number {
                last if last + 1 == MESSAGES => LAST.to_owned(),
                number => number.to_string(),
            };
            let asked = Instant::now();
            // Three in a row at each: it need not read the tail any more.
            let client = &clients[number / 3 % 2];
            let answer = client.publish(&session, CHANNEL, &id, "0").await?;
            ensure!(answer.status == 201, "{answer:?}");
            // There and back at least once, to say nothing of what it reads.
            ensure!(asked.elapsed() >= 2 * LATE, "{:?}", asked.elapsed());
            offsets.insert(id, answer.json::<Receipt>()?.offset);
        }
        println!(
            "Redis is {} ms away each way: {MESSAGES} publishes in {:.1} s",
            LATE.as_millis(),
            begun.elapsed().as_secs_f64()
        );
        for readers in readers {
            readers.end(&offsets).await?;
        }
        Ok(())
    })
}

#[test]
fn what_is_published_just_before_a_node_stops_is_heard_at_the_others() -> Result<()> {
    const CHANNELS: [&str; 4] = ["stop-a", "stop-b", "stop-c", "stop-d"];
    faults::run(async {
        let server = RedisServer::start(&[])?;
        let wire = Wire::to(vec![server.address()])?;
        let far = format!("redis://{}", wire.address());
        let mut cluster = Cluster::start(vec![far, server.url()])?;
        let (one, other) = (cluster.client(0), cluster.client(1));
        let session = one.session("Ann").await?;
        let mut readers = Vec::new();
        for channel in CHANNELS {
            let query = Query::of([channel]);
            readers.push(Reader::open(&other, Transport::Sse, query).await?);
        }
        // What is told takes its way there and back: the rest waits for it when the node is told to stop.
        wire.set(Wiring::Slow(Duration::from_millis(100)));
        let publishing = CHANNELS.map(|channel| one.publish(&session, channel, "last", "0"));
        for answer in futures::future::join_all(publishing).await {
            let answer = answer?;
            ensure!(answer.status == 201, "{answer:?}");
        }
        let told = Instant::now();
        let status = cluster.terminate(0)?;
        ensure!(status.success(), "{status}");
        for (reader, channel) in readers.iter_mut().zip(CHANNELS) {
            let read = timeout(HANGS, reader.messages(1)).await;
            read.context("it is never read")??;
            // Who is not woken looks after 15 seconds.
            ensure!(told.elapsed() < SLACK, "{channel}: {:?}", told.elapsed());
        }
        Ok(())
    })
}

#[test]
fn a_redis_whose_disk_is_slow_delays_and_refuses_nothing() -> Result<()> {
    /// A node waits for three seconds, and the machine may be busy.
    const STOPPED: Duration = Duration::from_millis(900);
    const RUNNING: Duration = Duration::from_millis(400);
    const TIMES: usize = 6;
    faults::run(async {
        // To a node it is the same whether Redis waits for its disk, before each answer, or is stopped.
        let server = RedisServer::start(&[])?;
        let cluster = cluster(&server, 2)?;
        let clients = [cluster.client(0), cluster.client(1)];
        let session = clients[0].session("Ann").await?;
        let readers = Readers::begin(clients[1].address()).await?;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let client = clients[writer as usize % 2].clone();
            let (session, is_over) = (session.clone(), Arc::clone(&is_over));
            writers.spawn(async move {
                let (mut offsets, mut longest) = (Offsets::new(), Duration::ZERO);
                while !is_over.load(Ordering::Relaxed) {
                    let (id, asked) = (id_of(writer, offsets.len() as u64), Instant::now());
                    let answer = client.publish(&session, CHANNEL, &id, "0").await?;
                    longest = longest.max(asked.elapsed());
                    ensure!(answer.status == 201, "{longest:?}: {answer:?}");
                    offsets.insert(id, answer.json::<Receipt>()?.offset);
                    sleep(Duration::from_millis(50)).await;
                }
                Ok((offsets, longest))
            });
        }
        for _ in 0..TIMES {
            server.pause()?;
            sleep(STOPPED).await;
            server.resume()?;
            sleep(RUNNING).await;
        }
        is_over.store(true, Ordering::Relaxed);
        let (mut offsets, mut longest) = (Offsets::new(), Duration::ZERO);
        while let Some(published) = writers.join_next().await {
            let (published, took) = published??;
            offsets.extend(published);
            longest = longest.max(took);
        }
        println!(
            "Redis' disk is slow: {} publishes, the slowest in {:.1} s",
            offsets.len(),
            longest.as_secs_f64()
        );
        ensure!(longest >= STOPPED / 2, "nobody waited: {longest:?}");
        let last = publish(&clients[0], &session, LAST).await?;
        offsets.insert(LAST.to_owned(), last);
        readers.end(&offsets).await
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
