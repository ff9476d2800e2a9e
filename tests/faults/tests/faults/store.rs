//! Stores that go away under a running host, and come back.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Client, Query, Reader, Session, Transport};
use faults::Deployment;
use rusqlite::Connection;

const CHANNEL: &str = "store";

/// Publishes until the store takes no more, brings the store back, and publishes the refused one again. Tells how many it
/// took before.
async fn check(
    deployment: &Deployment,
    body: &str,
    back: impl FnOnce() -> Result<()>,
) -> Result<usize> {
    let client = deployment.client();
    let session = client.session("Ann").await?;
    let query = Query::of([CHANNEL]);
    let before = Reader::open(&client, Transport::ALL[0], query)
        .await?
        .cursor()
        .to_owned();
    let mut acknowledged = Vec::new();
    // A checkpoint between two tries may make room for the second.
    let mut refusals = 0;
    let refused = loop {
        let id = format!("{}-{}", session.sender, acknowledged.len());
        let answer = client.publish(&session, CHANNEL, &id, body).await?;
        if answer.status == 201 {
            acknowledged.push(id);
            refusals = 0;
        } else {
            check_away(&answer)?;
            refusals += 1;
            if refusals == 2 {
                break id;
            }
        }
        ensure!(acknowledged.len() < 10_000, "the store never refuses");
    };
    back()?;
    let answer = client.publish(&session, CHANNEL, &refused, body).await?;
    ensure!(
        [200, 201].contains(&answer.status.as_u16()),
        "the store is back: {answer:?}"
    );
    let taken = acknowledged.len();
    acknowledged.push(refused);
    // What was acknowledged is there, on every transport and after a restart.
    read_all(&client, &before, &acknowledged).await?;
    Ok(taken)
}

fn check_away(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(
        answer.code().as_deref() == Some("unavailable"),
        "{answer:?}"
    );
    let seconds = answer
        .header("retry-after")
        .context("a 503 tells when to try again")?;
    ensure!(seconds.parse::<u32>()? > 0, "{seconds}");
    Ok(())
}

async fn read_all(client: &Client, after: &str, expected: &[String]) -> Result<()> {
    for &transport in Transport::ALL {
        let query = Query::of([CHANNEL]).after(after);
        let mut reader = Reader::open(client, transport, query).await?;
        let read = reader.messages(expected.len()).await?;
        let ids: Vec<&str> = read.iter().map(|envelope| envelope.id.as_str()).collect();
        ensure!(ids == expected, "{}: {ids:?}", transport.name());
    }
    Ok(())
}

/// One message that is there before anything breaks.
async fn begin(deployment: &Deployment) -> Result<Session> {
    let client = deployment.client();
    let session = client.session("Bob").await?;
    let answer = client.publish(&session, CHANNEL, "first", "0").await?;
    ensure!(answer.status == 201, "{answer:?}");
    Ok(session)
}

#[test]
fn a_locked_store_refuses_and_takes_the_same_message_later() -> Result<()> {
    faults::run(async {
        let deployment = Deployment::start(&[])?;
        begin(&deployment).await?;
        let other = Connection::open(deployment.file())?;
        other.execute_batch("BEGIN IMMEDIATE")?;
        let back = || Ok(other.execute_batch("ROLLBACK")?);
        let taken = check(&deployment, "0", back).await?;
        ensure!(taken == 0, "{taken} messages were taken meanwhile");
        Ok(())
    })
}

#[test]
fn a_full_disk_refuses_and_takes_the_same_message_later() -> Result<()> {
    faults::run(async {
        let mut deployment = Deployment::start(&[])?;
        begin(&deployment).await?;
        let id = deployment.process().id();
        limit_files(id, "400000")?;
        let body = format!("\"{}\"", "x".repeat(20_000));
        check(&deployment, &body, || limit_files(id, "unlimited")).await?;
        // And nothing of it was left half written.
        deployment.kill()?;
        deployment.restart()?;
        let answer = deployment
            .client()
            .publish(&begin_again(&deployment).await?, CHANNEL, "later", "0")
            .await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(())
    })
}

async fn begin_again(deployment: &Deployment) -> Result<Session> {
    deployment.client().session("Cyd").await
}

/// The length beyond which a process may write into no file: what it meets then is what a full disk is.
fn limit_files(process: u32, bytes: &str) -> Result<()> {
    let limit = format!("--fsize={bytes}:");
    let set = Command::new("prlimit")
        .args([&limit, "--pid", &process.to_string()])
        .status()?;
    ensure!(set.success(), "prlimit(1) did not set {limit}");
    Ok(())
}
