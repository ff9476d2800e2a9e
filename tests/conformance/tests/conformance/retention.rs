//! How much of a channel is kept is the deployment's to say, for rooms of everybody and for private ones.

use anyhow::{Context, Result, ensure};
use conformance::{Client, Deployed, Query, SECRET, Transport, token};
use serde_json::{Value, json};

/// Two arrays of so many are published to each channel, and one message more: what an array brings, only what comes
/// after it pushes out.
const ARRAY: u64 = 100;
/// Segments are half a tail, and a window that begins in one keeps all of it.
const SEGMENT: u64 = 32;

fn ann() -> String {
    token(&json!({"sub": "ann", "read": ["*"], "publish": ["*"], "create": ["*"]}).to_string())
}

async fn publish(client: &Client, channel: &str) -> Result<()> {
    for (array, count) in [ARRAY, ARRAY, 1].into_iter().enumerate() {
        let drafts: Vec<_> = (0..count)
            .map(|number| json!({"id": format!("{array}-{number}"), "body": number}))
            .collect();
        let target = format!("/witter/publish?channel={channel}");
        let drafts = Value::from(drafts).to_string();
        let answer = client.post(&target, Some(&ann()), drafts).await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    Ok(())
}

/// How many messages there are, and how the last one is counted.
async fn kept(client: &Client, channel: &str) -> Result<(u64, u64)> {
    let query = Query::of([channel]).token(&ann()).history(1000).limit(1000);
    let answer = client.get(&query.target(Transport::LongPolling)).await?;
    let batch: Value = answer.json()?;
    let envelopes = batch["envelopes"].as_array().context("a batch")?;
    let last = envelopes.last().context("a message")?;
    let last = last["offset"].as_u64().context("an offset")?;
    Ok((envelopes.len() as u64, last))
}

#[tokio::test]
async fn as_much_is_kept_as_the_deployment_says() -> Result<()> {
    let host = Deployed::start(&[
        ("token_secret", SECRET),
        ("retention", "10 for 1h"),
        ("private_retention", "120 for 30d"),
        ("publish_rate", ""),
    ])?;
    let client = host.client();
    let create = json!({"create": {"private": true, "title": "ours"}});
    let token = ann();
    let created = client
        .perform(Transport::LongPolling, Some(&token), &create)
        .await?;
    let private = created["channel"].as_str().context("a channel")?;
    for (channel, retained) in [("room", 10), (private, 120)] {
        publish(&client, channel).await?;
        let (count, last) = kept(&client, channel).await?;
        ensure!(last == 2 * ARRAY + 1, "{channel}: {last}");
        let range = retained..=retained + SEGMENT;
        ensure!(range.contains(&count), "{channel}: {count}");
    }
    Ok(())
}

/// A message that is about another is found again when that one is gone; a new one is not taken.
#[tokio::test]
async fn what_is_sent_again_is_found_though_what_it_is_about_is_gone() -> Result<()> {
    let host = Deployed::start(&[("token_secret", SECRET), ("retention", "10 for 1h")])?;
    let client = host.client();
    let target = "/witter/publish?channel=room";
    let post = async |draft: Value| client.post(target, Some(&ann()), draft.to_string()).await;
    let about = |id: &str, kind: &str, body: Value| {
        let refers = json!({"kind": kind, "offset": 1});
        json!({"id": id, "body": body, "refers": refers})
    };
    let abouts = [
        about("reply", "reply", json!("yes")),
        about("reaction", "reaction", json!("+")),
        about("edit", "edit", json!("m")),
        about("delete", "delete", Value::Null),
    ];
    post(json!({"id": "m", "body": 0})).await?;
    for draft in &abouts {
        let answer = post(draft.clone()).await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    for number in 0..9 {
        post(json!({"id": format!("more-{number}"), "body": number})).await?;
    }
    for (offset, draft) in (2..).zip(&abouts) {
        let answer = post(draft.clone()).await?;
        let receipt: Value = answer.json()?;
        ensure!(
            answer.status == 200 && receipt["offset"] == json!(offset),
            "{draft}: {answer:?}"
        );
    }
    let answer = post(about("reply", "reply", json!("no"))).await?;
    assert_eq!(answer.code().as_deref(), Some("id-reused"));
    let answer = post(about("late", "reply", json!("yes"))).await?;
    assert_eq!(answer.code().as_deref(), Some("invalid-request"));
    Ok(())
}

#[tokio::test]
async fn what_is_no_retention_is_told_before_anything_is_stored() -> Result<()> {
    for variable in ["retention", "private_retention"] {
        let host = Deployed::start(&[("token_secret", SECRET), (variable, "for ever")])?;
        let client = host.client();
        let draft = json!({"id": "1", "body": 1}).to_string();
        let target = "/witter/publish?channel=room";
        let answer = client.post(target, Some(&ann()), draft).await?;
        ensure!(answer.status == 503, "{answer:?}");
        let told: Value = answer.json()?;
        let detail = told["detail"].as_str().context("a detail")?;
        ensure!(
            detail.contains(variable) && detail.contains("1000 for 24h"),
            "{told}"
        );
        let query = Query::of(["room"]).token(&ann()).history(10);
        let read = client.get(&query.target(Transport::ShortPolling)).await?;
        let read: Value = read.json()?;
        ensure!(read["envelopes"] == json!([]), "{read}");
    }
    Ok(())
}
