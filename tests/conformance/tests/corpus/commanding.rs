//! Commands: each is the same over every transport.

use anyhow::{Result, ensure};
use conformance::Transport;
use serde_json::{Value, json};

use crate::Corpus;
use crate::world::World;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, who_asks_is_told_who_they_are);
    corpus.reads(transport, who_is_nobody_commands_nothing);
    corpus.reads(transport, what_is_no_command_is_refused);
}

async fn who_asks_is_told_who_they_are(world: &World, transport: Transport) -> Result<()> {
    for session in [&world.ann, &world.bob] {
        let answer = world
            .client
            .perform(transport, Some(&session.token), &json!({"me": {}}))
            .await?;
        ensure!(
            answer["sender"] == json!(session.sender)
                && answer["name"] == json!(session.name)
                && answer["expires_at"] == json!(session.expires_at),
            "{answer}"
        );
    }
    Ok(())
}

async fn who_is_nobody_commands_nothing(world: &World, transport: Transport) -> Result<()> {
    for token in [None, Some("forged")] {
        let answer = world
            .client
            .perform(transport, token, &json!({"me": {}}))
            .await?;
        ensure!(answer["error"] == "unauthorized", "{answer}");
    }
    Ok(())
}

async fn what_is_no_command_is_refused(world: &World, transport: Transport) -> Result<()> {
    let long = "x".repeat(5_000);
    for (command, code) in [
        (json!({}), "unprocessable"),
        (json!([]), "unprocessable"),
        (Value::Null, "unprocessable"),
        (json!({"fly": {}}), "unprocessable"),
        (json!({"me": 1}), "unprocessable"),
        (json!({"me": {"x": long}}), "too-large"),
    ] {
        let token = Some(world.ann.token.as_str());
        let answer = world.client.perform(transport, token, &command).await?;
        ensure!(
            answer["error"] == code && answer["detail"].is_string(),
            "{code} was expected: {answer}"
        );
    }
    Ok(())
}
