//! What becomes of open readers whose credentials end, by themselves or because somebody revokes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use conformance::{
    Client, Deployed, Fault, Frame, Query, Reader, SECRET, Socket, Transport, token,
};
use futures::future::try_join_all;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// A held poll is answered before this, which is before its wait is over.
const HANGS: Duration = Duration::from_secs(40);
const WAIT: u32 = 55;

/// A deployment that knows everybody; what is open is read by anybody.
fn start() -> Result<Deployed> {
    Deployed::start(&[
        ("token_secret", SECRET),
        ("guests", "false"),
        ("anonymous_read", "open-*"),
    ])
}

/// Seconds since 1970.
fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Of somebody who may read and publish everywhere, with more claims.
fn of(sender: &str, more: Value) -> String {
    let mut claims = json!({"sub": sender, "read": ["*"], "publish": ["*"]});
    for (name, value) in more.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    token(&claims.to_string())
}

async fn say(client: &Client, token: &str, channel: &str, number: u64) -> Result<()> {
    let target = format!("/witter/publish?channel={channel}");
    let draft = json!({"id": format!("{channel}-{number}"), "body": number});
    let answer = client.post(&target, Some(token), draft.to_string()).await?;
    ensure!(answer.status == 201, "not stored: {answer:?}");
    Ok(())
}

/// That the next messages are these, and nothing else comes before or between them.
async fn hear(reader: &mut Reader, numbers: &[u64]) -> Result<()> {
    let heard = timeout(HANGS, reader.messages(numbers.len())).await??;
    let bodies: Result<Vec<u64>, _> = heard.iter().map(|told| told.body.get().parse()).collect();
    ensure!(bodies? == numbers, "{heard:?}");
    Ok(())
}

/// The code that a reader is told when it may not go on: at its end, or by the answer to its next poll.
async fn cut(reader: &mut Reader) -> Result<String> {
    match timeout(HANGS, reader.news()).await? {
        Ok(batch) => batch.end.context("something else than an end"),
        Err(Fault::Refused(answer)) => answer.code().context("an answer that is no error"),
        Err(other) => Err(other.into()),
    }
}

#[tokio::test]
async fn a_reader_ends_with_its_credential_and_goes_on_with_the_next_one() -> Result<()> {
    let host = start()?;
    let client = host.client();
    try_join_all(Transport::ALL.iter().map(async |&transport| {
        let channel = format!("room-{}", transport.name());
        let writer = of("writer", json!({}));
        let query = Query::of([&channel]).wait(WAIT);
        let lasting = query.clone().token(of("bob", json!({})));
        let mut bob = Reader::open(&client, transport, lasting).await?;
        let passing = of("ann", json!({"exp": now()? + 15}));
        let mut ann = Reader::open(&client, transport, query.clone().token(passing)).await?;
        say(&client, &writer, &channel, 1).await?;
        hear(&mut ann, &[1]).await?;
        let code = cut(&mut ann).await?;
        ensure!(code == "unauthorized", "{code}");
        // Whoever's does not end has heard nothing of it, and who comes again has missed nothing.
        say(&client, &writer, &channel, 2).await?;
        let next = of("ann", json!({"exp": now()? + 600}));
        let query = query.after(ann.cursor()).token(next);
        let mut ann = Reader::open(&client, transport, query).await?;
        hear(&mut ann, &[2]).await?;
        say(&client, &writer, &channel, 3).await?;
        hear(&mut ann, &[3]).await?;
        hear(&mut bob, &[1, 2, 3]).await?;
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

#[tokio::test]
async fn who_is_revoked_is_cut_and_nobody_else() -> Result<()> {
    let host = start()?;
    let client = host.client();
    let admin = of("admin", json!({"administer": true}));
    let issued = now()? - 10;
    let perform = async |transport, token: &str, command| {
        client.perform(transport, Some(token), &command).await
    };
    try_join_all(Transport::ALL.iter().map(async |&transport| {
        let channel = format!("open-{}", transport.name());
        let [ann, bob] = ["ann", "bob"].map(|name| format!("{name} {}", transport.name()));
        let query = Query::of([&channel]).wait(WAIT);
        let of_ann = of(&ann, json!({"iat": issued, "exp": issued + 6000}));
        let mut others = Vec::new();
        for token in [Some(of(&bob, json!({"iat": issued}))), None] {
            let query = match token {
                Some(token) => query.clone().token(token),
                None => query.clone(),
            };
            others.push(Reader::open(&client, transport, query).await?);
        }
        let as_ann = query.clone().token(&of_ann);
        let mut reader = Reader::open(&client, transport, as_ann.clone()).await?;
        say(&client, &of_ann, &channel, 1).await?;
        hear(&mut reader, &[1]).await?;

        let revoke = json!({"revoke": {"sender": ann}});
        for token in [&of_ann, &of(&bob, json!({}))] {
            let answer = perform(transport, token, revoke.clone()).await?;
            ensure!(answer["error"] == "forbidden", "{answer}");
        }
        let answer = perform(transport, &admin, revoke).await?;
        ensure!(answer["sender"] == ann.as_str(), "{answer}");
        let code = cut(&mut reader).await?;
        ensure!(code == "unauthorized", "{code}");

        // From now on, whatever is asked, and whoever does not tell when theirs was issued.
        for token in [&of_ann, &of(&ann, json!({}))] {
            let target = format!("/witter/publish?channel={channel}");
            let draft = json!({"id": "a", "body": 0}).to_string();
            let answer = client.post(&target, Some(token), draft).await?;
            ensure!(answer.status == 401, "{answer:?}");
            let answer = perform(transport, token, json!({"me": {}})).await?;
            ensure!(answer["error"] == "unauthorized", "{answer}");
            let query = query.clone().token(token);
            match Reader::open(&client, transport, query).await {
                Err(Fault::Refused(answer)) if answer.code().as_deref() == Some("unauthorized") => {
                }
                other => bail!("{other:?}"),
            }
        }
        let renewed = of(&ann, json!({"iat": now()? + 1}));
        say(&client, &renewed, &channel, 2).await?;
        for reader in &mut others {
            hear(reader, &[1, 2]).await?;
        }
        // Until it is lifted.
        let lift = json!({"revoke": {"sender": ann, "before": 0}});
        let answer = perform(transport, &admin, lift).await?;
        ensure!(answer["before"] == 0, "{answer}");
        let query = as_ann.after(reader.cursor());
        hear(&mut Reader::open(&client, transport, query).await?, &[2]).await?;
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

#[tokio::test]
async fn who_is_banned_while_they_subscribe_is_refused_or_told() -> Result<()> {
    const ROUNDS: u64 = 40;
    /// Each round the ban comes so much later.
    const STEP: Duration = Duration::from_micros(50);
    let host = start()?;
    let client = host.client();
    let owner = of("owner", json!({"create": ["*"]}));
    let target = Query::of(["hall"]).token(of("bob", json!({})));
    let target = target.target(Transport::Websocket);
    let request = Transport::Websocket.request(&client, &target);
    let response = client.open(request.body(Full::default())?).await?;
    let mut bob = Socket::accepted(response).await?;
    bob.text().await?;
    let perform = async |command: Value| {
        let done = client
            .perform(Transport::Sse, Some(&owner), &command)
            .await?;
        ensure!(done.get("error").is_none(), "{command}: {done}");
        Ok(())
    };
    for round in 0..ROUNDS {
        let channel = format!("room-{round}");
        let create = json!({"create": {"channel": channel, "title": "a room"}});
        perform(create).await?;
        let ask = json!({"ref": round, "subscribe": {"channel": channel}});
        bob.send(Frame::text(ask.to_string())).await?;
        sleep(STEP * u32::try_from(round)?).await;
        perform(json!({"ban": {"channel": channel, "sender": "bob"}})).await?;
        let told = async {
            loop {
                let told: Value = serde_json::from_str(&bob.text().await?)?;
                let refused = told["ref"] == round && told["error"] == "forbidden";
                if refused || told["denied"]["channel"] == channel.as_str() {
                    return anyhow::Ok(());
                }
            }
        };
        timeout(HANGS, told)
            .await
            .with_context(|| format!("bob follows {channel}"))??;
    }
    Ok(())
}

#[tokio::test]
async fn a_poll_that_comes_back_is_refused_where_its_credential_is_no_longer_good() -> Result<()> {
    let host = start()?;
    let client = host.client();
    let admin = of("admin", json!({"administer": true}));
    let polls = Transport::ALL.iter().filter(|transport| transport.polls());
    try_join_all(polls.map(async |&transport| {
        let channel = format!("back-{}", transport.name());
        let [ann, bob, cas] =
            ["ann", "bob", "cas"].map(|name| format!("{name} {}", transport.name()));
        let query = Query::of([&channel]).wait(WAIT);
        let end = now()? + 15;
        let tokens = [
            of(&ann, json!({"iat": now()? - 10})),
            of(&bob, json!({"exp": end})),
            of(&cas, json!({"iat": now()? - 10})),
        ];
        let [mut revoked, mut expired, mut other] =
            try_join_all(tokens.map(async |token| {
                Reader::open(&client, transport, query.clone().token(token)).await
            }))
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("as many as tokens"))?;
        // Several times, as who is known already.
        let writer = of("writer", json!({}));
        for number in 1..=3 {
            say(&client, &writer, &channel, number).await?;
            for reader in [&mut revoked, &mut expired, &mut other] {
                hear(reader, &[number]).await?;
            }
        }
        let revoke = json!({"revoke": {"sender": ann}});
        client.perform(transport, Some(&admin), &revoke).await?;
        let code = cut(&mut revoked).await?;
        ensure!(code == "unauthorized", "revoked: {code}");
        let left = Duration::from_secs(end.saturating_sub(now()?));
        sleep(left + Duration::from_millis(50)).await;
        let code = cut(&mut expired).await?;
        ensure!(code == "unauthorized", "expired: {code}");
        say(&client, &writer, &channel, 4).await?;
        hear(&mut other, &[4]).await?;
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}
