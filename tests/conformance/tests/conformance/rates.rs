//! Who publishes or commands too often is told when to come again, by whichever way.

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Client, Frame, Process, Query, SECRET, Socket, Transport, token};
use http_body_util::Full;
use serde_json::{Value, json};

/// A burst of three, and then nothing for as long as a test takes. An instance counts for itself, so there is one.
fn start(per_address: &str) -> Result<Process> {
    let variables = [
        format!("token_secret={SECRET}"),
        "publish_rate=1/h burst 3".to_owned(),
        format!("publish_rate_per_address={per_address}"),
        "command_rate=1/h burst 3".to_owned(),
    ];
    let flags = ["--store", "memory", "--instances-per-component", "1"];
    let variables = variables
        .iter()
        .flat_map(|variable| ["--variable", variable]);
    Process::start(flags.into_iter().chain(variables))
}

fn of(sender: &str) -> String {
    token(&json!({"sub": sender, "read": ["*"], "publish": ["*"]}).to_string())
}

fn draft(id: usize) -> Value {
    json!({"id": format!("draft-{id}"), "body": id})
}

/// Of three an hour, the next one comes in twenty minutes or an hour.
fn check_told(told: &Value) -> Result<()> {
    let seconds = told["retry_after"].as_u64();
    ensure!(
        told["error"] == "rate-limited" && seconds.is_some_and(|seconds| seconds > 1000),
        "{told}"
    );
    Ok(())
}

fn check(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 429, "{answer:?}");
    let told: Value = answer.json()?;
    check_told(&told)?;
    let header = answer.header("retry-after").context("no Retry-After")?;
    ensure!(told["retry_after"] == header.parse::<u64>()?, "{answer:?}");
    Ok(())
}

async fn post(client: &Client, token: &str, drafts: Value) -> Result<Answer> {
    let target = "/witter/publish?channel=rates";
    client.post(target, Some(token), drafts.to_string()).await
}

/// A query, each byte of its values escaped.
fn query(pairs: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let pair = |(name, value): &(&str, &str)| -> String {
        let value: String = escape(value);
        format!("{name}={value}")
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn what_is_posted_too_often_is_refused_and_told_when_to_come_again() -> Result<()> {
    let host = start("")?;
    let client = Client::new(host.address());
    let ann = of("ann");
    for id in 0..2 {
        let answer = post(&client, &ann, draft(id)).await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    // An array counts for as many as it has, and none of it is stored or has cost anything.
    check(&post(&client, &ann, json!([draft(2), draft(3)])).await?)?;
    // One that was stored before costs as much.
    let again = post(&client, &ann, draft(1)).await?;
    ensure!(again.status == 200, "{again:?}");
    check(&post(&client, &ann, draft(1)).await?)?;
    // Where no status is seen, it is told all the same.
    let target = format!("/witter/publish?channel=rates&errors=inline&token={ann}");
    let answer = client.post(&target, None, draft(2).to_string()).await?;
    ensure!(answer.status == 200, "{answer:?}");
    check_told(&answer.json()?)?;
    let bob = of("bob");
    let answer = post(&client, &bob, json!([draft(2), draft(3)])).await?;
    ensure!(answer.status == 201, "{answer:?}");
    let query = Query::of(["rates"]).history(10).token(&bob);
    let read = client.get(&query.target(Transport::ShortPolling)).await?;
    let read: Value = read.json()?;
    let ids = read["envelopes"].as_array().context("a batch")?.iter();
    let ids: Vec<_> = ids.map(|envelope| envelope["id"].clone()).collect();
    ensure!(
        ids == ["draft-0", "draft-1", "draft-2", "draft-3"],
        "{ids:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_sent_by_a_script_or_a_socket_too_often_is_refused_too() -> Result<()> {
    let host = start("")?;
    let client = Client::new(host.address());
    let ann = of("ann");
    for id in 0..4 {
        let target = query(&[
            ("channel", "rates"),
            ("id", &format!("script-{id}")),
            ("body", "0"),
            ("callback", "told"),
            ("token", &ann),
        ]);
        let answer = client
            .get(&format!("/witter/jsonp-publish?{target}"))
            .await?;
        ensure!(answer.status == 200, "{answer:?}");
        let told: Value = serde_json::from_str(&parsers::jsonp(&answer.body, "told")?)?;
        if id < 3 {
            ensure!(told["offset"] == id + 1, "{told}");
        } else {
            check_told(&told)?;
        }
    }
    let target = Query::of(["rates"])
        .token(&ann)
        .target(Transport::Websocket);
    let request = Transport::Websocket.request(&client, &target);
    let response = client.open(request.body(Full::default())?).await?;
    let mut socket = Socket::accepted(response).await?;
    socket.text().await?;
    for id in 0..4 {
        let draft = json!({"channel": "other", "id": format!("socket-{id}"), "body": 0});
        let question = json!({"ref": id, "publish": draft});
        socket.send(Frame::text(question.to_string())).await?;
        let told: Value = serde_json::from_str(&socket.text().await?)?;
        ensure!(told["ref"] == id, "{told}");
        if id < 3 {
            ensure!(told["published"]["offset"].is_u64(), "{told}");
        } else {
            check_told(&told)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_commands_too_often_is_told_so_by_every_transport() -> Result<()> {
    let host = start("")?;
    let client = Client::new(host.address());
    for &transport in Transport::ALL {
        let ann = of(&format!("ann {}", transport.name()));
        for count in 0..4 {
            let me = json!({"me": {}});
            let told = client.perform(transport, Some(&ann), &me).await?;
            if count < 3 {
                ensure!(told["name"].is_string(), "{told}");
            } else {
                check_told(&told)?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn all_from_one_address_share_what_it_may() -> Result<()> {
    let host = start("1/h burst 4")?;
    let client = Client::new(host.address());
    for sender in ["ann", "bob"] {
        let answer = post(&client, &of(sender), json!([draft(0), draft(1)])).await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    check(&post(&client, &of("cy"), draft(0)).await?)?;
    Ok(())
}

#[tokio::test]
async fn a_rate_that_is_none_is_told_as_a_fault_of_the_server() -> Result<()> {
    let host = start("lots")?;
    let answer = post(&Client::new(host.address()), &of("ann"), draft(0)).await?;
    ensure!(answer.status == 503, "{answer:?}");
    let told: Value = answer.json()?;
    let detail = told["detail"].as_str().context("a detail")?;
    ensure!(detail.contains("publish_rate_per_address"), "{detail}");
    Ok(())
}
