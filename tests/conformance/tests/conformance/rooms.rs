//! Rooms that are more than one answer tells of.

use anyhow::{Context, Result, ensure};
use conformance::{Client, Deployed, Session, Transport};
use serde_json::{Value, json};

const PAGE: usize = 100;
/// Their number is no multiple of how many are looked at at once.
const ROOMS: usize = PAGE + 13;

async fn does(client: &Client, who: &Session, command: Value) -> Result<Value> {
    let answer = client
        .perform(Transport::LongPolling, Some(&who.token), &command)
        .await?;
    ensure!(answer.get("error").is_none(), "{command}: {answer}");
    Ok(answer)
}

#[tokio::test]
async fn somebodys_rooms_come_a_hundred_at_a_time() -> Result<()> {
    let host = Deployed::start(&[("command_rate", ""), ("command_rate_per_address", "")])?;
    let client = host.client();
    let (ann, bob) = (client.session("Ann").await?, client.session("Bob").await?);
    let mut made = Vec::new();
    for number in 0..ROOMS {
        // An invitation is among them now and then, and is no room.
        if number % 40 == 3 {
            let private = does(&client, &bob, json!({"create": {"private": true}})).await?;
            let whom = json!({"channel": private["channel"], "sender": ann.sender});
            does(&client, &bob, json!({"invite": whom})).await?;
        }
        let channel = format!("room-{number}");
        does(&client, &ann, json!({"create": {"channel": channel}})).await?;
        made.push(channel);
    }
    let mut listed = Vec::new();
    let mut after = None;
    for (page, count) in [PAGE, ROOMS - PAGE].into_iter().enumerate() {
        let asked = match &after {
            Some(after) => json!({"rooms": {"after": after}}),
            None => json!({"rooms": {}}),
        };
        let told = does(&client, &ann, asked).await?;
        let rooms = told["rooms"].as_array().context("an array")?;
        ensure!(rooms.len() == count, "{} rooms: {told}", rooms.len());
        for room in rooms {
            let channel = room["channel"].as_str().context("it has a channel")?;
            listed.push(channel.to_owned());
        }
        let invited = told.get("invited").and_then(Value::as_array).map(Vec::len);
        assert_eq!(invited, (page == 0).then_some(3));
        after = told.get("next").cloned();
        assert_eq!(after.is_some(), page == 0);
    }
    assert_eq!(listed, made);
    Ok(())
}
