//! An instance serves for as long as its host does, whatever the number of its requests.

use anyhow::{Result, ensure};
use conformance::{Client, Process, Query, Transport};
use futures::future::try_join_all;

/// As many as one reader follows, each of which is one call of the messenger.
const CHANNELS: usize = 64;
/// As many handles and tasks of calls as one instance may have.
const MOST: usize = 1_000_000;
/// Clients that ask at once.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn an_instance_outlives_a_million_calls_between_its_components() -> Result<()> {
    let host = Process::deployed(&[])?;
    let client = Client::new(host.address());
    let channels = (0..CHANNELS).map(|number| format!("channel-{number}"));
    let target = Query::of(channels).target(Transport::ShortPolling);
    try_join_all((0..AT_ONCE).map(async |_| {
        for _ in 0..MOST / CHANNELS / AT_ONCE {
            let answer = client.get(&target).await?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        Ok(())
    }))
    .await?;
    // With the one that each request makes to follow them all, the calls are more than that.
    ensure!(!host.log().contains("instance ended"), "{}", host.log());
    Ok(())
}
