//! Readers that leave, readers that do not read, and clients that do not end what they say.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::{Client, Frame, Query, Reader, Session, Socket, Transport, read_head};
use faults::{Deployment, HANGS, Usage, hold, hold_all, idle, raise_file_limit};
use flate2::{Compress, Compression, FlushCompress};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::Full;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// All in one instance, which may have 256 MiB.
const ONE_INSTANCE: [&str; 2] = ["--instances-per-component", "1"];

#[test]
fn readers_whose_connection_ends_or_is_reset_are_noticed() -> Result<()> {
    faults::run(async {
        const READERS: usize = 50;
        let deployment = Deployment::start(&[])?;
        let (client, host) = (deployment.client(), deployment.process().id());
        let place = Reader::open(&client, Transport::LongPolling, Query::of(["leaving"]))
            .await?
            .cursor()
            .to_owned();
        for &transport in Transport::ALL
            .iter()
            .filter(|transport| **transport != Transport::ShortPolling)
        {
            for resets in [false, true] {
                let before = settled(host).await?;
                let query = Query::of(["leaving"]).after(&place).wait(55);
                let mut sockets: Vec<TcpStream> = Vec::new();
                for _ in 0..READERS {
                    sockets.push(hold(client.address(), transport, &query).await?);
                }
                ensure!(
                    Usage::of(host)?.sockets >= before + READERS,
                    "each reader has its socket"
                );
                for socket in &sockets {
                    // With a time of zero to linger, closing sends RST; else FIN.
                    SockRef::from(socket).set_linger(resets.then_some(Duration::ZERO))?;
                }
                drop(sockets);
                let left = Instant::now();
                let noticed = async {
                    while Usage::of(host)?.sockets > before {
                        sleep(Duration::from_millis(20)).await;
                    }
                    Ok::<_, anyhow::Error>(left.elapsed())
                };
                let noticed = timeout(HANGS, noticed)
                    .await
                    .context("the host keeps their sockets")??;
                println!(
                    "{READERS} readers by {} left by {}: all noticed in {:.2} s",
                    transport.name(),
                    if resets { "RST" } else { "FIN" },
                    noticed.as_secs_f64()
                );
            }
        }
        Ok(())
    })
}

/// How many sockets the host has once those of earlier requests are closed or kept.
async fn settled(host: u32) -> Result<usize> {
    let mut sockets = Usage::of(host)?.sockets;
    loop {
        sleep(Duration::from_millis(100)).await;
        let now = Usage::of(host)?.sockets;
        if now == sockets {
            return Ok(now);
        }
        sockets = now;
    }
}

#[test]
fn a_crowd_is_kept_while_some_of_it_speak_as_fast_as_they_can() -> Result<()> {
    faults::run(async {
        const CROWD: usize = 1_000;
        const SPEAKERS: usize = 16;
        const MESSAGES: usize = 100;
        /// Of one speaker, without an answer.
        const AT_ONCE: usize = 8;
        raise_file_limit()?;
        let deployment = Deployment::start(&[])?;
        let client = deployment.client();
        let session = client.session("Ann").await?;
        // Who speaks is served by the instance that the crowd is in.
        let query = Query::of(["loud"]).token(&session.token);
        let queries = vec![query.clone(); CROWD];
        let transport = Transport::Websocket;
        let mut crowd = idle(hold_all(client.address(), transport, &queries).await?);
        let body = format!("\"{}\"", "x".repeat(100));
        let speak = async |speaker| {
            let request = transport.request(&client, &query.target(transport));
            let response = client.open(request.body(Full::default())?).await?;
            let mut socket = Socket::accepted(response).await?;
            let mut told = 0;
            for number in 0..MESSAGES + AT_ONCE {
                if number < MESSAGES {
                    let id = format!("{speaker}-{number}");
                    let draft = format!(r#"{{"channel":"loud","id":"{id}","body":{body}}}"#);
                    let ask = format!(r#"{{"ref":"{id}","publish":{draft}}}"#);
                    socket.send(Frame::text(ask)).await?;
                }
                while number - told >= AT_ONCE {
                    let answer = format!(r#"{{"ref":"{speaker}-{told}","published":"#);
                    told += usize::from(socket.text().await?.starts_with(&answer));
                }
            }
            anyhow::Ok(())
        };
        try_join_all((0..SPEAKERS).map(speak)).await?;
        if let Some(ended) = crowd.try_join_next() {
            ended?.context("a reader was cut")?;
        }
        Ok(())
    })
}

#[test]
fn a_slow_reader_takes_no_memory_and_gets_its_messages_or_a_gap() -> Result<()> {
    faults::run(async {
        for transport in [Transport::Sse, Transport::Websocket] {
            read_slowly(transport).await.context(transport.name())?;
        }
        Ok(())
    })
}

async fn read_slowly(transport: Transport) -> Result<()> {
    const READERS: usize = 20;
    /// All of it for each reader would be 500 MiB.
    const MESSAGES: usize = 1_300;
    /// What takes long in all is cut: the host lets nobody have a full window for 30 seconds.
    const AT_ONCE: usize = 10;
    const BYTES: usize = 20_000;
    const MOST_MEMORY: u64 = 100 << 20;
    let deployment = Deployment::start(&[])?;
    let (client, host) = (deployment.client(), deployment.process().id());
    let session = client.session("Ann").await?;
    let body = format!("\"{}\"", "x".repeat(BYTES));
    // What the channel itself takes, is taken before.
    for number in 0..100 {
        let answer = client
            .publish(&session, "slow", &format!("before-{number}"), &body)
            .await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(Reader::open(&client, transport, Query::of(["slow"])).await?);
    }
    let before = Usage::of(host)?;
    for first in (0..MESSAGES).step_by(AT_ONCE) {
        let drafts = (first..first + AT_ONCE).map(|id| format!(r#"{{"id":"{id}","body":{body}}}"#));
        let drafts = format!("[{}]", drafts.collect::<Vec<_>>().join(","));
        let target = "/witter/publish?channel=slow";
        let answer = client.post(target, Some(&session.token), drafts).await?;
        ensure!(answer.status.is_success(), "{answer:?}");
    }
    let last = 100 + MESSAGES as u64;
    let grown = Usage::of(host)?.memory.saturating_sub(before.memory);
    println!(
        "{READERS} readers by {} that do not read, {} MiB published: the host grew by {} MiB",
        transport.name(),
        (MESSAGES * BYTES) >> 20,
        grown >> 20
    );
    ensure!(grown < MOST_MEMORY, "the host grew by {grown} bytes");
    let read_on = readers.into_iter().map(async |mut reader| {
        let (mut seen, mut told) = (100, 0);
        while seen < last {
            let batch = timeout(HANGS, reader.news())
                .await
                .context("nothing more comes")??;
            for gap in batch.gaps {
                ensure!(
                    gap.after == seen && gap.resumed > seen,
                    "{gap:?} behind {seen}"
                );
                seen = gap.resumed;
                told += 1;
            }
            for envelope in batch.envelopes {
                ensure!(
                    envelope.offset == seen + 1,
                    "{} behind {seen}",
                    envelope.offset
                );
                seen = envelope.offset;
            }
        }
        anyhow::Ok(told)
    });
    let told: u64 = try_join_all(read_on).await?.into_iter().sum();
    println!("{READERS} readers that read on: nothing missed but {told} gaps that were told");
    Ok(())
}

#[test]
fn who_does_not_read_the_history_of_many_channels_takes_no_memory() -> Result<()> {
    faults::run(async {
        const CHANNELS: usize = 64;
        const MESSAGES: usize = 1_000;
        /// With all of it each, they would take more than an instance may have, several times over.
        const READERS: usize = 40;
        const MOST_MEMORY: u64 = 64 << 20;
        let deployment = Deployment::start(&ONE_INSTANCE)?;
        let (client, host) = (deployment.client(), deployment.process().id());
        let session = client.session("Ann").await?;
        let channels: Vec<String> = (0..CHANNELS).map(|number| format!("a{number}")).collect();
        try_join_all(
            channels
                .iter()
                .map(|channel| fill(&client, &session, channel, MESSAGES)),
        )
        .await?;
        let all = Query::of(&channels).history(1_000);
        // What the channels themselves take, is taken before.
        check_history(&client, all.clone().limit(1_000), MESSAGES).await?;
        let before = Usage::of(host)?;
        let mut readers = Vec::new();
        for transport in [Transport::Sse, Transport::Websocket] {
            for limit in [1, 1_000] {
                let queries = vec![all.clone().limit(limit); READERS / 4];
                readers.extend(hold_all(client.address(), transport, &queries).await?);
            }
        }
        // Until the network holds what it can.
        let mut used = Usage::of(host)?;
        loop {
            sleep(Duration::from_secs(1)).await;
            let now = Usage::of(host)?;
            let is_idle = now.percent_since(&used) < 20.0;
            used = now;
            if is_idle {
                break;
            }
        }
        let grown = used.memory.saturating_sub(before.memory);
        println!(
            "{READERS} readers of {CHANNELS} channels that do not read {MESSAGES} messages of each: the host grew by {} MiB",
            grown >> 20
        );
        ensure!(grown < MOST_MEMORY, "the host grew by {grown} bytes");
        // Beside them others read all of it, however little they take at a time.
        let few = Query::of(&channels[..4]).history(1_000);
        check_history(&client, few.limit(1), MESSAGES).await?;
        drop(readers);
        let log = deployment.process().log();
        ensure!(!log.contains("instance ended"), "{log}");
        Ok(())
    })
}

/// Publishes so many messages of one byte each, a hundred at once.
async fn fill(client: &Client, session: &Session, channel: &str, count: usize) -> Result<()> {
    const AT_ONCE: usize = 100;
    let target = format!("/witter/publish?channel={channel}");
    for begin in (0..count).step_by(AT_ONCE) {
        let drafts = (begin..begin + AT_ONCE).map(|id| json!({"id": id.to_string(), "body": 0}));
        let drafts = Value::from_iter(drafts).to_string();
        let answer = client.post(&target, Some(&session.token), drafts).await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    Ok(())
}

/// That a reader is told so many messages of each of its channels, in their order.
async fn check_history(client: &Client, query: Query, count: usize) -> Result<()> {
    let channels = query.channels.clone();
    let mut seen = vec![0; channels.len()];
    let mut reader = Reader::open(client, Transport::Sse, query).await?;
    while seen.iter().any(|seen| *seen < count as u64) {
        let batch = timeout(HANGS, reader.news())
            .await
            .context("nothing more comes")??;
        ensure!(batch.gaps.is_empty() && batch.end.is_none(), "{batch:?}");
        for envelope in batch.envelopes {
            let place = channels
                .iter()
                .position(|channel| *channel == envelope.channel)
                .context("a channel that was asked for")?;
            seen[place] += 1;
            ensure!(envelope.offset == seen[place], "{envelope:?}");
        }
    }
    Ok(())
}

#[test]
fn who_does_not_end_what_they_say_takes_no_memory_and_is_cut() -> Result<()> {
    faults::run(async {
        /// Each of these unfolds to a MiB.
        const FOLDED: usize = 400;
        /// Each of these has one.
        const LONG: usize = 150;
        const MOST_MEMORY: u64 = 128 << 20;
        /// What a message may take to arrive.
        const PATIENCE: Duration = Duration::from_secs(30);
        raise_file_limit()?;
        let deployment = Deployment::start(&ONE_INSTANCE)?;
        let (client, host) = (deployment.client(), deployment.process().id());
        let address = client.address();
        let session = client.session("Ann").await?;
        let mut ann = converse(&client, &session, "hall").await?;
        let before = Usage::of(host)?;

        // A whole message each, of somebody who may not publish: it is read, and refused.
        let body = "x".repeat(65_000);
        let drafts = (0..15).map(|id| json!({"id": id.to_string(), "body": body}));
        let drafts = Value::from_iter(drafts);
        let ask = json!({"ref": 1, "publish": {"channel": "hall", "drafts": drafts}});
        let whole = message(true, true, &folded(ask.to_string().as_bytes()));
        let sockets = speak(address, FOLDED, &whole).await?;
        for socket in sockets {
            let told = timeout(HANGS, told(socket, r#""error":"unauthorized""#)).await?;
            ensure!(matches!(told, Ok(None | Some(1013))), "{told:?}");
        }
        println!(
            "{FOLDED} at once unfold to a MiB each, which took {:?} of processors: the host grew by {}",
            Usage::of(host)?.processor - before.processor,
            grown(host, before)?
        );

        let begun = Instant::now();
        let text = vec![b' '; 1_000_000];
        let unended = FOLDED / 4;
        let mut sockets = speak(address, unended, &message(false, true, &folded(&text))).await?;
        println!(
            "{unended} that do not end: the host grew by {}",
            grown(host, before)?
        );
        sockets.extend(speak(address, LONG, &message(false, false, &text)).await?);
        println!(
            "{LONG} MiB more that do not end: the host grew by {}",
            grown(host, before)?
        );

        // Who reads, and says something long that comes in pieces, does so as if they were not there.
        let body = "x".repeat(60_000);
        let draft = json!({"channel": "hall", "id": "long", "body": body});
        let ask = json!({"ref": 1, "publish": draft});
        ann.send(Frame::text(ask.to_string())).await?;
        let (mut published, mut read) = (false, false);
        while !(published && read) {
            let told: Value = serde_json::from_str(&timeout(HANGS, ann.text()).await??)?;
            published |= told["published"]["offset"] == 1;
            read |= told["envelope"]["body"] == body.as_str();
        }
        ensure!(begun.elapsed() < PATIENCE, "it is too late to tell");

        let grown = Usage::of(host)?.memory.saturating_sub(before.memory);
        ensure!(grown < MOST_MEMORY, "the host grew by {grown} bytes");
        let mut cut = [0, 0, 0];
        for socket in sockets {
            let told = timeout(PATIENCE + HANGS, told(socket, "nothing that is said")).await?;
            match told {
                Ok(Some(1013)) => cut[0] += 1,
                Ok(Some(1008)) => cut[1] += 1,
                // Who is cut in the middle of what is written, a heartbeat say, is told nothing.
                Err(error) if error.to_string() == "it breaks off" => cut[2] += 1,
                other => bail!("{other:?}"),
            }
        }
        let [at_once, later, untold] = cut;
        println!(
            "{at_once} were cut for the room they took, {later} {:?} after they began, {untold} without a word",
            begun.elapsed()
        );
        // On a slow machine some end before the room is full again.
        ensure!((1..LONG).contains(&at_once), "{at_once} of {LONG}");
        ensure!(untold < unended, "{untold} were told nothing");
        ensure!(later + untold >= unended, "{later} of {unended}");
        // It is counted in ticks, the first of which had begun.
        ensure!(
            begun.elapsed() > PATIENCE - Duration::from_secs(1),
            "they were cut before their time"
        );
        client.publish(&session, "hall", "last", "0").await?;
        loop {
            let told: Value = serde_json::from_str(&timeout(HANGS, ann.text()).await??)?;
            if told["envelope"]["id"] == "last" {
                break;
            }
        }
        let log = deployment.process().log();
        ensure!(!log.contains("instance ended"), "{log}");
        Ok(())
    })
}

#[test]
fn who_sends_little_that_unfolds_to_much_is_not_listened_to_all_the_time() -> Result<()> {
    faults::run(async {
        /// Each unfolds to a megabyte, which is no request.
        const JUNK: usize = 6;
        /// For the last of them it has to wait at a MiB a second, with one at once, but for a tick.
        const LEAST: Duration = Duration::from_secs(3);
        let deployment = Deployment::start(&ONE_INSTANCE)?;
        let client = deployment.client();
        let session = client.session("Ann").await?;
        let mut ann = converse(&client, &session, "hall").await?;
        let begun = Instant::now();
        let mut said = message(true, true, &folded(&vec![b'['; 1_000_000])).repeat(JUNK);
        let ask = json!({"ref": "last", "unsubscribe": {"channel": "nowhere"}});
        said.extend(message(true, false, ask.to_string().as_bytes()));
        println!("{} bytes are sent", said.len());
        let socket = speak(client.address(), 1, &said).await?.remove(0);
        let told = tokio::spawn(timeout(HANGS, told(socket, "last")));
        // Others are, at once.
        let draft = json!({"channel": "hall", "id": "a", "body": "a"});
        let ask = json!({"ref": 1, "publish": draft});
        ann.send(Frame::text(ask.to_string())).await?;
        while !timeout(HANGS, ann.text()).await??.contains("published") {}
        ensure!(!told.is_finished(), "it is listened to as they are");
        let told = told.await??;
        ensure!(matches!(told, Ok(None)), "{told:?}");
        ensure!(begun.elapsed() > LEAST, "{:?}", begun.elapsed());
        Ok(())
    })
}

fn grown(host: u32, before: Usage) -> Result<String> {
    let grown = Usage::of(host)?.memory.saturating_sub(before.memory);
    Ok(format!("{} MiB", grown >> 20))
}

/// A connection that follows a channel.
async fn converse(client: &Client, session: &Session, channel: &str) -> Result<Socket> {
    let transport = Transport::Websocket;
    // It is not read for a while, and answers no pings then.
    let query = Query::of([channel]).token(&session.token).heartbeat(55);
    let request = transport.request(client, &query.target(transport));
    let response = client.open(request.body(Full::default())?).await?;
    let mut socket = Socket::accepted(response).await?;
    socket.text().await?;
    Ok(socket)
}

/// As a client compresses a message (RFC 7692, section 7.2.1).
fn folded(text: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(text.len());
    Compress::new(Compression::best(), false)
        .compress_vec(text, &mut folded, FlushCompress::Sync)
        .expect("it is compressed");
    folded.truncate(folded.len() - 4);
    folded
}

/// A text message in one frame, or the beginning of one, masked by zeros (RFC 6455, section 5.2).
fn message(is_whole: bool, is_folded: bool, payload: &[u8]) -> Vec<u8> {
    let first = 0x01 | u8::from(is_whole) << 7 | u8::from(is_folded) << 6;
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A connection, and what was read of it.
type Connection = (TcpStream, Vec<u8>);

/// So many connections of anybody, each of which has said this. Those that are cut meanwhile are among them.
async fn speak(address: SocketAddr, count: usize, said: &[u8]) -> Result<Vec<Connection>> {
    const AT_ONCE: usize = 64;
    let target = Query::of(["hall"]).target(Transport::Websocket);
    let mut head = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in Transport::Websocket.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    head += "sec-websocket-extensions: permessage-deflate\r\n\r\n";
    let connections: Vec<Connection> = stream::iter(0..count)
        .map(async |_| {
            let mut socket = TcpStream::connect(address).await?;
            socket.write_all(head.as_bytes()).await?;
            let mut bytes = Vec::new();
            let answer = read_head(&mut socket, &mut bytes).await?;
            let (answer, length) = answer.context("the host closed")?;
            ensure!(answer.status == 101, "{answer:?}");
            anyhow::Ok((socket, bytes.split_off(length)))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    // All at once.
    try_join_all(connections.into_iter().map(async |(mut socket, bytes)| {
        timeout(HANGS, socket.write_all(said)).await?.ok();
        anyhow::Ok((socket, bytes))
    }))
    .await
}

/// Reads until a text has come, or a close: its code.
async fn told((mut socket, mut bytes): Connection, text: &str) -> Result<Option<u16>> {
    loop {
        let mut rest = &bytes[..];
        // Without a mask, and none so long that its length takes eight bytes.
        while let [first, second, after @ ..] = rest {
            let (length, after) = match (second, after) {
                (0..126, after) => (usize::from(*second), after),
                (126, [high, low, after @ ..]) => {
                    (usize::from(u16::from_be_bytes([*high, *low])), after)
                }
                (126, _) => break,
                _ => bail!("a long frame"),
            };
            let Some((payload, after)) = after.split_at_checked(length) else {
                break;
            };
            match (first & 0x0f, payload) {
                (8, [high, low, ..]) => return Ok(Some(u16::from_be_bytes([*high, *low]))),
                (1, payload) if String::from_utf8_lossy(payload).contains(text) => return Ok(None),
                _ => {}
            }
            rest = after;
        }
        ensure!(socket.read_buf(&mut bytes).await? > 0, "it breaks off");
    }
}

#[test]
fn who_asks_and_does_not_read_the_answers_takes_no_memory() -> Result<()> {
    faults::run(async {
        /// Far more than the system keeps for both directions of a connection.
        const ASKED: usize = 512 << 20;
        const MOST_MEMORY: u64 = 32 << 20;
        const PERIOD: Duration = Duration::from_millis(100);
        /// A peer that takes no more is asked ever more seldom whether it does by now.
        const PATIENCE: Duration = HANGS.saturating_mul(3);
        let deployment = Deployment::start(&[])?;
        let (client, host) = (deployment.client(), deployment.process().id());
        let transport = Transport::Websocket;
        let request = transport.request(&client, &Query::of(["asking"]).target(transport));
        let response = client.open(request.body(Full::default())?).await?;
        let mut socket = Socket::accepted(response).await?;
        let before = Usage::of(host)?;
        let mut most = before.memory;
        let mut asked = 0;
        let ended = {
            let mut asks = pin!(async {
                // It is answered by more than it is asked with.
                let ask = r#"{"ref":"a","unsubscribe":{"channel":"another"}}"#;
                while asked < ASKED {
                    socket.send(Frame::text(ask)).await?;
                    asked += ask.len();
                }
                anyhow::Ok(())
            });
            let watched = async {
                loop {
                    tokio::select! {
                        ended = &mut asks => return Ok(ended),
                        () = sleep(PERIOD) => most = most.max(Usage::of(host)?.memory),
                    }
                }
            };
            let watched: Result<_> = timeout(PATIENCE, watched).await.context("it is kept")?;
            watched?
        };
        ensure!(ended.is_err(), "all of it was taken");
        let grown = most - before.memory;
        println!(
            "a client that read none of its answers was cut after {} KiB: the host grew by {} KiB",
            asked >> 10,
            grown >> 10
        );
        ensure!(grown < MOST_MEMORY, "the host grew by {grown} bytes");
        Ok(())
    })
}
