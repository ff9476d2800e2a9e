//! A store that moves to another one and back, and the programs that do it, killed.

use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Client, Query, Reader, Session, Transport, program};
use faults::{Cluster, Deployment, HANGS, Wire, Wiring};
use redis_server::RedisServer;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How many channels there are, and how many messages in each: more than its newest document holds.
const CHANNELS: usize = 40;
const MESSAGES: usize = 150;

fn migrate(from: &str, to: &str) -> Result<Child> {
    let mut command = Command::new(program()?);
    command
        .args(["migrate", "--from", from, "--to", to])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().with_context(|| format!("{command:?}"))
}

fn finish(from: &str, to: &str) -> Result<String> {
    let output = migrate(from, to)?.wait_with_output()?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(said(&output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

async fn do_command(client: &Client, session: &Session, command: Value) -> Result<Value> {
    let answer = client
        .perform(Transport::Sse, Some(&session.token), &command)
        .await?;
    ensure!(answer.get("error").is_none(), "{command}: {answer}");
    Ok(answer)
}

fn channel(number: usize) -> String {
    format!("channel-{number}")
}

/// Publishes a batch of messages to each channel.
async fn publish(client: &Client, session: &Session, batch: &str) -> Result<()> {
    for number in 0..CHANNELS {
        let drafts: Vec<Value> = (0..MESSAGES)
            .map(|message| json!({"id": format!("{batch}-{message}"), "body": message}))
            .collect();
        for drafts in drafts.chunks(50) {
            let target = format!("/witter/publish?channel={}", channel(number));
            let body = serde_json::to_string(drafts)?;
            let answer = client.post(&target, Some(&session.token), body).await?;
            check_stored(&answer)?;
        }
    }
    Ok(())
}

fn check_stored(answer: &Answer) -> Result<()> {
    let receipts: Vec<Value> = answer.json()?;
    let stored = receipts.iter().all(|receipt| receipt["offset"].is_u64());
    ensure!(stored, "{answer:?}");
    Ok(())
}

/// Fills a store with a bit of everything.
async fn fill(client: &Client, ann: &Session, bob: &Session) -> Result<String> {
    publish(client, ann, "first").await?;
    let room = do_command(
        client,
        ann,
        json!({"create": {"private": true, "title": "Ours"}}),
    )
    .await?;
    let room = room["channel"].as_str().context("a room has a channel")?;
    let invite = json!({"invite": {"channel": room, "sender": bob.sender}});
    do_command(client, ann, invite).await?;
    do_command(client, bob, json!({"join": {"channel": room}})).await?;
    do_command(client, bob, json!({"direct": {"sender": ann.sender}})).await?;
    let lively = channel(0);
    let query = Query::of([&lively]).present().token(&bob.token);
    let mut present = Reader::open(client, Transport::Sse, query).await?;
    let seen = present.sees(&lively, |live| live.here.contains_key(&bob.sender));
    timeout(HANGS, seen).await.context("Bob is seen")??;
    Ok(room.to_owned())
}

/// All that people can know, in the words of the server.
async fn tell(client: &Client, ann: &Session, bob: &Session, room: &str) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for session in [ann, bob] {
        for number in 0..CHANNELS {
            let query = Query::of([channel(number)])
                .history(1000)
                .limit(1000)
                .token(&session.token);
            let answer = client.get(&query.target(Transport::ShortPolling)).await?;
            ensure!(answer.status == 200, "{answer:?}");
            // With the cursor, which tells the channel's epoch.
            told.push(String::from_utf8(answer.body.to_vec())?);
        }
        for command in [json!({"rooms": {}}), json!({"room": {"channel": room}})] {
            told.push(do_command(client, session, command).await?.to_string());
        }
    }
    Ok(told)
}

/// Stops a process where it is, with all that it holds.
fn pause(process: &Child) -> Result<()> {
    let sent = Command::new("kill")
        .args(["-STOP", &process.id().to_string()])
        .status()?;
    ensure!(sent.success(), "SIGSTOP was not sent");
    Ok(())
}

#[test]
fn no_host_begins_on_a_file_that_moves_and_one_does_where_that_was_given_up() -> Result<()> {
    faults::run(async {
        let mut deployment = Deployment::start(&[])?;
        let client = deployment.client();
        let ann = client.session("Ann").await?;
        publish(&client, &ann, "first").await?;
        deployment.terminate()?;
        let file = format!("sqlite:{}", deployment.file().display());
        let server = RedisServer::start(&[])?;
        let mut wire = Wire::to(vec![server.address()])?;
        // The record is in the first, values are in the second.
        wire.set(Wiring::Deaf {
            to: "MSET",
            count: 2,
        });
        let mut child = migrate(&file, &format!("redis://{}", wire.address()))?;
        let met = timeout(HANGS, wire.deafened()).await;
        pause(&child)?;
        let begun = deployment.restart();
        child.kill()?;
        let output = child.wait_with_output()?;
        met.with_context(|| format!("it does not come so far: {}", said(&output)))?;
        let error = format!("{:#}", begun.expect_err("the file is not all in one place"));
        ensure!(error.contains("is locked"), "{error}");

        deployment.restart()?;
        publish(&deployment.client(), &ann, "second").await?;
        let log = deployment.process().log();
        ensure!(log.contains("`witter migrate` is run again"), "{log}");
        deployment.terminate()?;
        // What was published last is moved too.
        println!("{}", finish(&file, &server.url())?);
        let cluster = Cluster::start(vec![server.url()])?;
        let query = Query::of([channel(0)]).history(1000).limit(1000);
        let client = cluster.client(0);
        let mut reader = Reader::open(&client, Transport::ShortPolling, query).await?;
        reader.messages(2 * MESSAGES).await?;
        Ok(())
    })
}

#[test]
fn a_store_moves_to_redis_and_back_whole_though_the_migration_is_killed() -> Result<()> {
    faults::run(async {
        let mut deployment = Deployment::start(&[])?;
        let client = deployment.client();
        let (ann, bob) = (client.session("Ann").await?, client.session("Bob").await?);
        let room = fill(&client, &ann, &bob).await?;
        let before = tell(&client, &ann, &bob, &room).await?;
        let file = format!("sqlite:{}", deployment.file().display());
        let server = RedisServer::start(&["--appendonly", "yes"])?;

        let refused = migrate(&file, &server.url())?.wait_with_output()?;
        ensure!(
            !refused.status.success() && said(&refused).contains("is in use"),
            "{}",
            said(&refused)
        );
        deployment.terminate()?;

        // Killed after one batch of values, and after another.
        for batches in [2, 3] {
            let mut wire = Wire::to(vec![server.address()])?;
            wire.set(Wiring::Deaf {
                to: "MSET",
                count: batches,
            });
            let mut child = migrate(&file, &format!("redis://{}", wire.address()))?;
            let met = timeout(HANGS, wire.deafened()).await;
            child.kill()?;
            let output = child.wait_with_output()?;
            met.with_context(|| format!("it does not come so far: {}", said(&output)))?;
            let half = Cluster::start(vec![server.url()]);
            let error = format!("{:#}", half.expect_err("half of it is there"));
            ensure!(error.contains("on the way"), "{error}");
        }
        println!("{}", finish(&file, &server.url())?);
        let error = format!("{:#}", deployment.restart().expect_err("it was moved"));
        ensure!(error.contains("were moved to"), "{error}");

        let mut cluster = Cluster::start(vec![server.url(); 2])?;
        ensure!(before == tell(&cluster.client(0), &ann, &bob, &room).await?);
        publish(&cluster.client(1), &bob, "second").await?;
        let then = tell(&cluster.client(0), &ann, &bob, &room).await?;

        let refused = migrate(&server.url(), &file)?.wait_with_output()?;
        ensure!(
            !refused.status.success() && said(&refused).contains("is in use"),
            "{}",
            said(&refused)
        );
        cluster.kill(0)?;
        cluster.kill(1)?;
        drop(cluster);
        println!("{}", finish(&server.url(), &file)?);
        deployment.restart()?;
        let client = deployment.client();
        ensure!(then == tell(&client, &ann, &bob, &room).await?);
        publish(&client, &ann, "third").await?;
        // One log, through both stores.
        let query = Query::of([channel(0)]).history(1000).limit(1000);
        let mut reader = Reader::open(&client, Transport::ShortPolling, query).await?;
        let read = reader.messages(3 * MESSAGES).await?;
        for (number, envelope) in read.iter().enumerate() {
            ensure!(envelope.offset == number as u64 + 1, "{envelope:?}");
        }
        Ok(())
    })
}
