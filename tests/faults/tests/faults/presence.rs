//! Who is told as here when hosts and clients die, and what it costs that many are.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{Client, Query, Reader, Server, Transport, Wakeup};
use faults::{Deployment, HANGS, Service, hold_all, raise_file_limit, size};
use http::Method;
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CHANNEL: &str = "presence";
/// In this time everybody is told the truth again. A busy machine has a little more.
const CONVERGED: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(8);

/// Somebody who stays for as long as the host does.
async fn stay(client: Client, transport: Transport, query: Query) {
    while let Ok(mut reader) = Reader::open(&client, transport, query.clone()).await {
        while reader.next().await.is_ok() {
            if transport == Transport::ShortPolling {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Ann, who is there herself and sees who else is.
async fn ann(client: &Client) -> Result<Reader> {
    let ann = client.session("Ann").await?;
    let query = Query::of([CHANNEL]).present().token(&ann.token);
    Ok(Reader::open(client, Transport::Sse, query).await?)
}

#[test]
fn who_dies_with_a_host_is_told_as_gone_by_another() -> Result<()> {
    faults::run(async {
        let mut deployment = Deployment::start(&[])?;
        let other = deployment.beside()?;
        let (doomed, client) = (deployment.client(), Client::new(other.address()));
        let mut watching = ann(&client).await?;
        let mut people = JoinSet::new();
        for &transport in Transport::ALL {
            let one = doomed.session(transport.name()).await?;
            let query = Query::of([CHANNEL]).present().token(&one.token);
            people.spawn(stay(doomed.clone(), transport, query));
        }
        let all = Transport::ALL.len() as u64 + 1;
        let seen = watching.sees(CHANNEL, |live| live.count == all);
        timeout(HANGS, seen).await.context("all are seen")??;
        deployment.kill()?;
        let killed = Instant::now();
        let seen = watching.sees(CHANNEL, |live| live.count == 1);
        let live = timeout(HANGS, seen).await.context("they are gone")??;
        let took = killed.elapsed();
        println!(
            "a host with {} people is killed: told as gone by another after {:.1} s",
            all - 1,
            took.as_secs_f64()
        );
        ensure!(live.left.len() as u64 == all - 1, "{live:?}");
        ensure!(took < CONVERGED + SLACK, "{took:?}");
        Ok(())
    })
}

#[test]
fn a_client_that_vanishes_is_told_as_gone_and_one_that_comes_back_is_not() -> Result<()> {
    faults::run(async {
        let deployment = Service::start(&[])?;
        let client = deployment.client();
        let mut watching = ann(&client).await?;
        for &transport in Transport::ALL {
            let bob = client.session("Bob").await?;
            let query = Query::of([CHANNEL])
                .present()
                .token(&bob.token)
                .heartbeat(1);
            let staying = tokio::spawn(stay(client.clone(), transport, query.clone()));
            let here = watching.sees(CHANNEL, |live| live.here.contains_key(&bob.sender));
            timeout(HANGS, here).await.context("Bob is seen")??;
            // Reset in the middle of whatever it is, and back at once.
            staying.abort();
            let staying = tokio::spawn(stay(client.clone(), transport, query));
            sleep(Duration::from_secs(1)).await;
            staying.abort();
            let died = Instant::now();
            let gone = watching.sees(CHANNEL, |live| !live.here.contains_key(&bob.sender));
            let live = timeout(HANGS, gone).await.context("Bob is gone")??;
            let took = died.elapsed();
            println!(
                "a client by {} dies: told as gone after {:.1} s",
                transport.name(),
                took.as_secs_f64()
            );
            let left = live.left.iter().filter(|who| **who == bob.sender).count();
            let joined = live.joined.iter().filter(|who| **who == bob.sender).count();
            ensure!((joined, left) == (1, 1), "{live:?}");
            ensure!(took < CONVERGED + SLACK, "{took:?}");
        }
        Ok(())
    })
}

#[test]
fn a_websocket_that_falls_silent_is_told_as_gone() -> Result<()> {
    faults::run(async {
        let deployment = Service::start(&[])?;
        let client = deployment.client();
        let mut watching = ann(&client).await?;
        let bob = client.session("Bob").await?;
        let query = Query::of([CHANNEL])
            .present()
            .token(&bob.token)
            .heartbeat(1);
        let target = query.target(Transport::Websocket);
        let request = Transport::Websocket.request(&client, &target);
        let request = request.method(Method::GET).body(Full::default())?;
        // Nobody reads it, so nobody answers its pings: to the host it is as one whose network is gone.
        let silent = client.open(request).await?;
        let here = watching.sees(CHANNEL, |live| live.here.contains_key(&bob.sender));
        timeout(HANGS, here).await.context("Bob is seen")??;
        let gone = watching.sees(CHANNEL, |live| !live.here.contains_key(&bob.sender));
        timeout(HANGS, gone).await.context("Bob is gone")??;
        drop(silent);
        Ok(())
    })
}

#[test]
fn people_who_stay_cost_the_store_next_to_nothing() -> Result<()> {
    faults::run(async {
        const TIME: Duration = Duration::from_secs(15);
        /// Of one instance, alone in one channel: its lease is counted up every 1.5 seconds, after a look at it; its
        /// directory and marks are read every 8 seconds, and the log every 15. Twice as much is let pass.
        const MOST: u64 = 2 * (2 * 10 + 2 * 2 + 1);
        let count: usize = size("WITTER_PRESENT", 1_000);
        raise_file_limit()?;
        let server = Server::in_process(Wakeup::Native).await?;
        let Server::InProcess(host) = &server else {
            panic!("it is in this process")
        };
        let client = Client::new(server.address());
        let mut queries = Vec::new();
        for number in 0..count {
            let one = client.session(&format!("Person {number}")).await?;
            queries.push(Query::of([CHANNEL]).present().token(&one.token));
        }
        let begun = Instant::now();
        let held = hold_all(client.address(), Transport::Sse, &queries).await?;
        let opened = begun.elapsed();
        let mut watching = Reader::open(&client, Transport::Sse, queries[0].clone()).await?;
        let all = watching.sees(CHANNEL, |live| live.count == count as u64);
        timeout(HANGS, all).await.context("all are seen")??;
        let operations = || host.store().reads() + host.store().writes();
        sleep(Duration::from_secs(2)).await;
        let (reads, writes) = (host.store().reads(), host.store().writes());
        let before = operations();
        sleep(TIME).await;
        let after = operations() - before;
        println!(
            "{count} people in one channel, opened in {:.1} s: {} reads and {} writes of the store in {} s of idleness",
            opened.as_secs_f64(),
            host.store().reads() - reads,
            host.store().writes() - writes,
            TIME.as_secs()
        );
        drop(held);
        ensure!(after <= MOST, "{after} operations, {MOST} were allowed");
        Ok(())
    })
}
