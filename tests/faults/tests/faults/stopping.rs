//! A host that is told to stop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{Batch, Query, Reader, Transport};
use faults::{Deployment, HANGS, Usage};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const READERS: usize = 20;

#[test]
fn readers_are_told_in_order_and_go_on_with_the_next_host() -> Result<()> {
    faults::run(async {
        let mut deployment = Deployment::start(&["--stop-timeout", "30"])?;
        let idle = sockets(&deployment)?;
        let client = deployment.client();
        let session = client.session("Ann").await?;
        client.publish(&session, "stopping", "before", "0").await?;
        let mut readers = JoinSet::new();
        for &transport in Transport::ALL
            .iter()
            .filter(|transport| **transport != Transport::ShortPolling)
        {
            for _ in 0..READERS {
                let mut reader =
                    Reader::open(&client, transport, Query::of(["stopping"]).wait(55)).await?;
                if transport.polls() {
                    reader.next().await?;
                }
                readers.spawn(async move {
                    let batch = reader.next().await;
                    (transport, batch, reader.cursor().to_owned())
                });
            }
        }
        // Each of them waits: what is published now, all have to be told.
        let answer = client.publish(&session, "stopping", "told", "0").await?;
        ensure!(answer.status == 201, "{answer:?}");
        let mut cursors = Vec::new();
        while let Some(read) = readers.join_next().await {
            let (transport, batch, cursor) = read?;
            ensure!(
                batch?.envelopes.len() == 1,
                "the message was published to all"
            );
            cursors.push((transport, cursor));
        }
        // Each asks on a connection of its own: on one that was kept, a host that stops hears nothing more.
        drop(client);
        until(|| Ok(sockets(&deployment)? <= idle)).await?;
        let client = deployment.client();
        let mut waiting = JoinSet::new();
        for (transport, cursor) in cursors {
            let query = Query::of(["stopping"]).after(&cursor).wait(55);
            let mut reader = Reader::open(&client, transport, query).await?;
            waiting.spawn(async move {
                let batch = reader.next().await;
                (transport, batch, reader.cursor().to_owned())
            });
        }
        let count = waiting.len();
        until(|| Ok(sockets(&deployment)? >= idle + count)).await?;
        let told = Instant::now();
        let status = deployment.terminate()?;
        let took = told.elapsed();
        ensure!(status.success(), "{status}");
        let mut places = Vec::new();
        while let Some(ended) = timeout(HANGS, waiting.join_next())
            .await
            .context("a reader is not told")?
        {
            let (transport, batch, cursor) = ended?;
            let Batch {
                envelopes,
                gaps,
                end,
                ..
            } = batch.with_context(|| transport.name())?;
            ensure!(
                envelopes.is_empty() && gaps.is_empty(),
                "nothing was published"
            );
            let expected = (!transport.polls()).then_some("reopen");
            ensure!(end.as_deref() == expected, "{}: {end:?}", transport.name());
            places.push((transport, cursor));
        }
        deployment.restart()?;
        let client = deployment.client();
        // Guests are who they were: their secret is in the store.
        let answer = client.publish(&session, "stopping", "after", "0").await?;
        ensure!(answer.status == 201, "{answer:?}");
        for (transport, cursor) in places {
            let mut reader =
                Reader::open(&client, transport, Query::of(["stopping"]).after(cursor)).await?;
            let read = reader.messages(1).await?;
            ensure!(read[0].id == "after" && read.len() == 1, "{read:?}");
        }
        println!(
            "SIGTERM: {count} readers were told in order within {:.2} s, and went on with the next host",
            took.as_secs_f64()
        );
        Ok(())
    })
}

/// How many the host holds.
fn sockets(deployment: &Deployment) -> Result<usize> {
    Ok(Usage::of(deployment.process().id())?.sockets)
}

async fn until(reached: impl Fn() -> Result<bool>) -> Result<()> {
    let reached = async {
        while !reached()? {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    timeout(HANGS, reached)
        .await
        .context("the host holds more or fewer connections")?
}
