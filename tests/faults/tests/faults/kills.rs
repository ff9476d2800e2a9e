//! Hosts that are killed while many publish: what was acknowledged is read once, in one order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use conformance::{Client, Query, Reader, Transport};
use faults::{Deployment, Meeting, Service, size};
use tokio::time::timeout;

const CHANNEL: &str = "kills";
const PUBLISHERS: u64 = 16;
/// Sooner than what nobody told is found: a channel is read again after 15 s.
const TOLD: Duration = Duration::from_secs(8);

#[test]
fn what_was_acknowledged_before_a_kill_is_read_once_and_in_one_order() -> Result<()> {
    let publishes: u64 = size("WITTER_PUBLISHES", 10_000);
    let kills: u64 = size("WITTER_KILLS", 3);
    faults::run(run(publishes, kills))
}

async fn run(publishes: u64, kills: u64) -> Result<()> {
    let mut deployment = Service::start(&[])?;
    let address = deployment.address();
    let mut meeting = Meeting::begin(address, CHANNEL, publishes, PUBLISHERS).await?;
    let begun = Instant::now();
    for kill in 1..=kills {
        meeting.reaches(kill, kills + 1).await;
        deployment.kill()?;
        deployment.restart()?;
    }
    meeting.published().await?;
    let took = begun.elapsed();
    meeting.end().await?;
    println!(
        "{publishes} publishes by {PUBLISHERS} clients, {kills} times killed, in {:.1} s ({:.0}/s): \
         each read once and in one order by {} transports",
        took.as_secs_f64(),
        publishes as f64 / took.as_secs_f64(),
        Transport::ALL.len()
    );
    Ok(())
}

#[test]
fn what_was_stored_and_not_told_is_told_when_it_is_sent_again() -> Result<()> {
    faults::run(async {
        let deployment = Deployment::start(&[])?;
        // Hosts on one file tell each other nothing: as one does that dies when it has stored a message.
        let dying = deployment.beside()?;
        let (client, silent) = (deployment.client(), Client::new(dying.address()));
        let session = client.session("Ann").await?;
        let query = Query::of([CHANNEL]).token(&session.token);
        let mut reader = Reader::open(&client, Transport::Sse, query).await?;
        client.publish(&session, CHANNEL, "first", "1").await?;
        reader.messages(1).await?;
        let stored = silent.publish(&session, CHANNEL, "second", "2").await?;
        ensure!(stored.status == 201, "{stored:?}");
        let again = client.publish(&session, CHANNEL, "second", "2").await?;
        ensure!(again.status == 200, "{again:?}");
        let told = timeout(TOLD, reader.messages(1)).await;
        let told = told.context("nobody is told")??;
        ensure!(told[0].id == "second", "{told:?}");
        Ok(())
    })
}
