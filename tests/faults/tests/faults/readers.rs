//! Readers that leave, and readers that do not read.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{Frame, Query, Reader, Socket, Transport};
use faults::{Deployment, HANGS, Usage, hold, hold_all, idle, raise_file_limit};
use futures::future::try_join_all;
use http_body_util::Full;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

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
    let mut last = 0;
    for number in 0..MESSAGES {
        let answer = client
            .publish(&session, "slow", &number.to_string(), &body)
            .await?;
        ensure!(answer.status == 201, "{answer:?}");
        last = 100 + number as u64 + 1;
    }
    let grown = Usage::of(host)?.memory.saturating_sub(before.memory);
    println!(
        "{READERS} readers by {} that do not read, {} MiB published: the host grew by {} MiB",
        transport.name(),
        (MESSAGES * BYTES) >> 20,
        grown >> 20
    );
    ensure!(grown < MOST_MEMORY, "the host grew by {grown} bytes");
    let mut told = 0;
    for mut reader in readers {
        let mut seen = 100;
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
    }
    println!("{READERS} readers that read on: nothing missed but {told} gaps that were told");
    Ok(())
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
