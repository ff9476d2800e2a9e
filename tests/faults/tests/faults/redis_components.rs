//! The application whose components keep everything in Redis themselves, as it would run under Spin, on our host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conformance::{
    Client, Envelope, Process, Query, Reader, Session, Transport, UNLIMITED, manifest, program,
};
use faults::{HANGS, run};
use redis_server::RedisServer;
use tokio::time::{sleep, timeout};

const CHANNEL: &str = "composed";

/// A host of the application that is composed with Redis. Its own store has nothing in it.
fn composed(server: &RedisServer) -> Result<Process> {
    let manifest = manifest().with_file_name("dist/spin-redis.toml");
    let mut command = Command::new(program()?);
    command
        .args(["up", "--from"])
        .arg(manifest)
        .args(["--listen", "127.0.0.1:0", "--store", "memory"])
        .args(["--variable", &format!("redis_host={}", server.address())])
        .args(UNLIMITED);
    Process::spawn(command)
}

/// A host that keeps its store in Redis itself.
fn native(server: &RedisServer) -> Result<Process> {
    let store = server.url();
    Process::start(["--store", &store].into_iter().chain(UNLIMITED))
}

/// Publishes until it is taken, for as long as the answer is 503.
async fn publish(client: &Client, session: &Session, id: &str) -> Result<()> {
    let taken = async {
        loop {
            let answer = client.publish(session, CHANNEL, id, "0").await?;
            if [200, 201].contains(&answer.status.as_u16()) {
                return Ok(());
            }
            ensure!(answer.status == 503, "{answer:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HANGS, taken).await.context("it is never taken")?
}

async fn history(client: &Client, token: &str) -> Result<Vec<Envelope>> {
    let query = Query::of([CHANNEL]).history(1000).token(token);
    let mut reader = Reader::open(client, Transport::ShortPolling, query).await?;
    Ok(reader.next().await?.envelopes)
}

/// Publishes at each of the hosts in turn, and reads at all of them, over every transport.
async fn tell_each_other(hosts: &[Process]) -> Result<()> {
    const ROUNDS: usize = 30;
    let clients: Vec<_> = hosts
        .iter()
        .map(|host| Client::new(host.address()))
        .collect();
    let session = clients[0].session("Ann").await?;
    let mut readers = Vec::new();
    for client in &clients {
        for &transport in Transport::ALL {
            let query = Query::of([CHANNEL]);
            readers.push(Reader::open(client, transport, query).await?);
        }
    }
    // Without wakeups each message would take 15 seconds, and all of them longer than this may take.
    let all = async {
        for number in 0..ROUNDS {
            let id = number.to_string();
            publish(&clients[number % clients.len()], &session, &id).await?;
            for reader in &mut readers {
                let read = reader.messages(1).await?;
                ensure!(read[0].id == id, "{read:?}");
            }
        }
        Ok(())
    };
    timeout(HANGS, all).await.context("wakeups are lost")??;
    let read = history(&clients[1], &session.token).await?;
    let ids: Vec<_> = read.into_iter().map(|envelope| envelope.id).collect();
    let expected: Vec<_> = (0..ROUNDS).map(|number| number.to_string()).collect();
    ensure!(ids == expected, "{ids:?}");
    Ok(())
}

#[test]
fn what_is_published_at_one_host_is_read_at_the_other_over_every_transport() -> Result<()> {
    run(async {
        let server = RedisServer::start(&[])?;
        tell_each_other(&[composed(&server)?, composed(&server)?]).await
    })
}

#[test]
fn hosts_with_either_way_to_one_redis_serve_the_same_messages() -> Result<()> {
    run(async {
        let server = RedisServer::start(&[])?;
        tell_each_other(&[composed(&server)?, native(&server)?]).await
    })
}

#[test]
fn while_redis_is_away_who_publishes_is_told_and_readers_go_on_when_it_is_back() -> Result<()> {
    run(async {
        let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"])?;
        let hosts = [composed(&server)?, composed(&server)?];
        let [one, other] = hosts.each_ref().map(|host| Client::new(host.address()));
        let session = one.session("Ann").await?;
        publish(&one, &session, "before").await?;
        let query = Query::of([CHANNEL]);
        let mut reader = Reader::open(&other, Transport::Sse, query).await?;
        server.kill()?;
        for client in [&one, &other] {
            let answer = client.publish(&session, CHANNEL, "away", "0").await?;
            ensure!(answer.status == 503, "{answer:?}");
            ensure!(
                answer.code().as_deref() == Some("unavailable"),
                "{answer:?}"
            );
            ensure!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        server.restart()?;
        publish(&one, &session, "after").await?;
        let read = timeout(HANGS, reader.messages(1)).await;
        let read = read.context("the reader is not served any more")??;
        ensure!(read[0].id == "after", "{read:?}");
        let ids: Vec<_> = history(&other, &session.token).await?;
        let ids: Vec<_> = ids.into_iter().map(|envelope| envelope.id).collect();
        ensure!(ids == ["before", "after"], "{ids:?}");
        Ok(())
    })
}
