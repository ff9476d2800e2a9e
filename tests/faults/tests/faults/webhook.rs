//! New messages on their way to an endpoint that is well, that fails, that is away, while the host is killed: what was
//! acknowledged arrives, in order, signed, and without a second time that could not be told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conformance::{
    Client, Frame, Hook, HookSaid, Process, Query, SECRET, Socket, Transport, token,
};
use faults::{Deployment, Service};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn flags(variables: impl IntoIterator<Item = String>) -> Vec<String> {
    let secret = format!("token_secret={SECRET}");
    let variables = variables.into_iter().chain([secret]);
    variables
        .flat_map(|variable| ["--variable".to_owned(), variable])
        .collect()
}

fn deployment(hook: &Hook) -> Result<Service> {
    let flags = flags(hook.variables());
    Service::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

fn of(sender: &str) -> String {
    let claims = json!({"sub": sender, "read": ["*"], "publish": ["*"], "moderate": ["*"]});
    token(&claims.to_string())
}

async fn post(client: &Client, token: &str, channel: &str, id: &str) -> Result<u64> {
    let draft = json!({"id": id, "body": {"text": "</script>\u{2028}", "id": id}});
    let target = format!("/witter/publish?channel={channel}");
    let answer = client.post(&target, Some(token), draft.to_string()).await?;
    ensure!(answer.status == 201, "{answer:?}");
    answer.json::<Value>()?["offset"]
        .as_u64()
        .context("an offset")
}

async fn by_script(client: &Client, token: &str, channel: &str, id: &str) -> Result<()> {
    let target = format!(
        "/witter/jsonp-publish?channel={channel}&id={id}&body=%22{id}%22&callback=f&token={token}"
    );
    let answer = client.get(&target).await?;
    let text = std::str::from_utf8(&answer.body)?;
    ensure!(text.contains("offset"), "{text}");
    Ok(())
}

async fn socket(client: &Client, token: &str, channel: &str) -> Result<Socket> {
    let target = Query::of([channel])
        .token(token)
        .target(Transport::Websocket);
    let request = Transport::Websocket.request(client, &target);
    let response = client
        .open(request.method("GET").body(Full::default())?)
        .await?;
    Ok(Socket::accepted(response).await?)
}

async fn by_socket(socket: &mut Socket, channel: &str, id: &str) -> Result<()> {
    let ask = json!({"ref": id, "publish": {"channel": channel, "id": id, "body": id}});
    socket.send(Frame::text(ask.to_string())).await?;
    loop {
        let told: Value = serde_json::from_str(&socket.text().await?)?;
        if told["ref"] == id {
            ensure!(told.get("error").is_none(), "{told}");
            return Ok(());
        }
    }
}

/// The texts of a channel's messages, as a reader gets them.
async fn read(client: &Client, token: &str, channel: &str) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        envelopes: Vec<&'a serde_json::value::RawValue>,
    }
    let query = Query::of([channel])
        .history(1_000)
        .limit(1_000)
        .token(token);
    let mut target = query.target(Transport::ShortPolling);
    let mut texts = Vec::new();
    loop {
        let answer = client.get(&target).await?;
        let text = std::str::from_utf8(&answer.body)?;
        let batch: Batch = serde_json::from_str(text).context(text.to_owned())?;
        if batch.envelopes.is_empty() {
            return Ok(texts);
        }
        texts.extend(batch.envelopes.iter().map(|text| text.get().to_owned()));
        let cursor: Value = serde_json::from_str(text)?;
        let cursor = cursor["cursor"].as_str().context("a cursor")?;
        let next = Query::of([channel]).after(cursor).limit(1_000).token(token);
        target = next.target(Transport::ShortPolling);
    }
}

#[test]
fn what_many_publish_by_three_ways_arrives_as_readers_get_it() -> Result<()> {
    faults::run(async {
        // One of three attempts fails in some way.
        let hook = Hook::start(|number, _| match number % 15 {
            2 => HookSaid::Status(500),
            5 => HookSaid::Taken,
            8 => HookSaid::Cut,
            11 => HookSaid::Later(1),
            14 => HookSaid::Status(302),
            _ => HookSaid::Status(204),
        })
        .await?;
        let deployment = deployment(&hook)?;
        let (ann, channels) = (of("ann"), ["lobby", "news.a"]);
        let mut publishers = JoinSet::new();
        for publisher in 0..8 {
            let (client, ann) = (deployment.client(), ann.clone());
            publishers.spawn(async move {
                let channel = channels[publisher % 2];
                let mut socket = match publisher % 3 {
                    0 => Some(socket(&client, &ann, channel).await?),
                    _ => None,
                };
                for number in 0..20 {
                    let id = format!("{publisher}-{number}");
                    match (&mut socket, publisher % 3) {
                        (Some(socket), _) => by_socket(socket, channel, &id).await?,
                        (_, 1) => by_script(&client, &ann, channel, &id).await?,
                        _ => {
                            post(&client, &ann, channel, &id).await?;
                        }
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(published) = publishers.join_next().await {
            published??;
        }
        for channel in channels {
            hook.until(|hook| hook.envelopes(channel).len() >= 80)
                .await?;
            let read = read(&deployment.client(), &ann, channel).await?;
            ensure!(hook.envelopes(channel) == read, "{:#?}", hook.attempts());
        }
        // A batch that came again came as it was.
        let attempts = hook.attempts();
        for (number, attempt) in attempts.iter().enumerate() {
            let first = attempts.iter().find(|other| other.id == attempt.id);
            let first = first.context("itself at least")?;
            ensure!(
                first.envelopes == attempt.envelopes,
                "{number}: {attempts:#?}"
            );
        }
        Ok(())
    })
}

#[test]
fn what_was_acknowledged_before_a_kill_is_sent_by_the_next_host_without_being_asked() -> Result<()>
{
    faults::run(async {
        let hook = Hook::start(|_, _| HookSaid::Status(503)).await?;
        let mut deployment = deployment(&hook)?;
        let (client, ann) = (deployment.client(), of("ann"));
        for number in 0..40 {
            post(&client, &ann, "lobby", &number.to_string()).await?;
        }
        // At once: of what was acknowledged last, nothing but the store knows.
        post(&client, &ann, "other", "last").await?;
        deployment.kill()?;
        hook.say(|_, _| HookSaid::Status(200));
        deployment.restart()?;
        hook.until(|hook| {
            hook.envelopes("lobby").len() >= 40 && !hook.envelopes("other").is_empty()
        })
        .await?;
        let read = read(&deployment.client(), &ann, "lobby").await?;
        ensure!(hook.envelopes("lobby") == read, "{:#?}", hook.attempts());
        Ok(())
    })
}

#[test]
fn an_endpoint_that_never_answers_holds_up_nobody_who_publishes() -> Result<()> {
    faults::run(async {
        let hook = Hook::start(|_, _| HookSaid::Nothing).await?;
        let deployment = deployment(&hook)?;
        let (client, ann) = (deployment.client(), of("ann"));
        for number in 0..200 {
            let offset = post(&client, &ann, "lobby", &number.to_string()).await?;
            ensure!(offset == number + 1, "{offset}");
        }
        ensure!(hook.taken().is_empty());
        // It is asked one batch at a time, and gets the rest when it is well.
        hook.say(|_, _| HookSaid::Status(200));
        hook.until(|hook| hook.envelopes("lobby").len() >= 200)
            .await?;
        let most = hook.attempts().iter().map(|one| one.envelopes.len()).max();
        ensure!(most == Some(100), "{most:?}");
        Ok(())
    })
}

#[test]
fn an_endpoint_is_asked_again_when_it_said() -> Result<()> {
    faults::run(async {
        let hook = Hook::start(|number, _| match number {
            0 => HookSaid::Later(4),
            _ => HookSaid::Status(200),
        })
        .await?;
        let deployment = deployment(&hook)?;
        post(&deployment.client(), &of("ann"), "lobby", "1").await?;
        hook.until(|hook| !hook.taken().is_empty()).await?;
        let attempts = hook.attempts();
        let waited = attempts[1].at - attempts[0].at;
        ensure!(waited >= Duration::from_secs(4), "{waited:?}");
        Ok(())
    })
}

#[test]
fn a_channel_whose_batch_is_refused_holds_up_no_other() -> Result<()> {
    faults::run(async {
        let hook = Hook::start(|_, channel| match channel {
            "bad" => HookSaid::Status(422),
            _ => HookSaid::Status(200),
        })
        .await?;
        let deployment = deployment(&hook)?;
        let (client, ann) = (deployment.client(), of("ann"));
        post(&client, &ann, "bad", "1").await?;
        hook.until(|hook| !hook.attempts().is_empty()).await?;
        for number in 0..20 {
            post(&client, &ann, "good", &number.to_string()).await?;
        }
        hook.until(|hook| hook.envelopes("good").len() == 20)
            .await?;
        hook.say(|_, _| HookSaid::Status(200));
        hook.until(|hook| hook.envelopes("bad").len() == 1).await
    })
}

#[test]
fn an_endpoint_that_is_gone_is_asked_no_more() -> Result<()> {
    faults::run(async {
        let hook = Hook::start(|_, _| HookSaid::Status(410)).await?;
        let mut deployment = deployment(&hook)?;
        let ann = of("ann");
        post(&deployment.client(), &ann, "lobby", "1").await?;
        hook.until(|hook| !hook.attempts().is_empty()).await?;
        // It is written down as soon as whoever asks for the delivery is told.
        deployment
            .client()
            .post("/witter/webhook", None, "")
            .await?;
        post(&deployment.client(), &ann, "lobby", "2").await?;
        deployment.terminate()?;
        deployment.restart()?;
        let answer = deployment
            .client()
            .post("/witter/webhook", None, "")
            .await?;
        ensure!(
            answer.json::<Value>()? == json!({"pending": 1}),
            "{answer:?}"
        );
        ensure!(hook.attempts().len() == 1, "{:#?}", hook.attempts());
        Ok(())
    })
}

#[test]
fn private_channels_are_sent_where_a_pattern_names_them() -> Result<()> {
    faults::run(async {
        for (patterns, named) in [("*", false), ("*,@*", true)] {
            let hook = Hook::start(|_, _| HookSaid::Status(200)).await?;
            let channels = format!("webhook_channels={patterns}");
            let flags = flags(hook.variables().into_iter().chain([channels]));
            let host = Process::start(
                ["--store", "memory"]
                    .into_iter()
                    .chain(flags.iter().map(String::as_str)),
            )?;
            let (client, ann, bob) = (Client::new(host.address()), of("ann"), of("bob"));
            let direct = json!({"direct": {"sender": "bob"}}).to_string();
            // Bob is known to the server as soon as he does something.
            client
                .post("/witter/command", Some(&bob), r#"{"me":{}}"#)
                .await?;
            let answer = client.post("/witter/command", Some(&ann), direct).await?;
            let direct = answer.json::<Value>()?["channel"]
                .as_str()
                .map(str::to_owned);
            let direct = direct.with_context(|| format!("{answer:?}"))?;
            ensure!(direct.starts_with("@direct~"), "{direct}");
            post(&client, &ann, &direct, "private").await?;
            post(&client, &ann, "lobby", "public").await?;
            hook.until(|hook| !hook.envelopes("lobby").is_empty())
                .await?;
            if named {
                hook.until(|hook| !hook.envelopes(&direct).is_empty())
                    .await?;
            }
            let answer = client.post("/witter/webhook", None, "").await?;
            ensure!(
                answer.json::<Value>()? == json!({"pending": 0}),
                "{answer:?}"
            );
            let is_private = |attempt: &conformance::Attempt| attempt.channel.starts_with('@');
            ensure!(
                hook.attempts().iter().any(is_private) == named,
                "{:#?}",
                hook.attempts()
            );
        }
        Ok(())
    })
}

#[test]
fn what_moderators_do_is_sent_too() -> Result<()> {
    faults::run(async {
        let hook = Hook::start(|_, _| HookSaid::Status(200)).await?;
        let flags = flags(
            hook.variables()
                .into_iter()
                .chain(["webhook_channels=@audit".into()]),
        );
        let deployment = Deployment::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
        let (client, ann, bob) = (deployment.client(), of("ann"), of("bob"));
        let offset = post(&client, &bob, "lobby", "1").await?;
        let delete =
            json!({"id": "d", "body": null, "refers": {"kind": "delete", "offset": offset}});
        let target = "/witter/publish?channel=lobby";
        let answer = client.post(target, Some(&ann), delete.to_string()).await?;
        ensure!(answer.status == 201, "{answer:?}");
        let mute = json!({"mute": {"channel": "lobby", "sender": "bob"}}).to_string();
        let answer = client.post("/witter/command", Some(&ann), mute).await?;
        ensure!(answer.status == 200, "{answer:?}");
        hook.until(|hook| hook.envelopes("@audit").len() == 2)
            .await?;
        let verbs = hook.envelopes("@audit").concat();
        ensure!(
            verbs.contains("\"delete\"") && verbs.contains("\"mute\""),
            "{verbs}"
        );
        Ok(())
    })
}

#[test]
fn a_host_that_is_not_allowed_is_not_asked() -> Result<()> {
    faults::run(async {
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        let hook = Hook::start(move |_, _| {
            seen.store(true, Ordering::Relaxed);
            HookSaid::Status(200)
        })
        .await?;
        // What is allowed follows from the host alone, which is another port here.
        let variables = [
            "webhook_scheme=http".to_owned(),
            "webhook_host=127.0.0.1".to_owned(),
            format!("webhook_path=:{}/hook?key=secret", hook.address().port()),
            format!("webhook_secret={}", conformance::HOOK_SECRET),
        ];
        let flags = flags(variables);
        let deployment = Deployment::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
        post(&deployment.client(), &of("ann"), "lobby", "1").await?;
        let refused = format!("http://{} is refused", hook.address());
        while !deployment.process().log().contains(&refused) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ensure!(!asked.load(Ordering::Relaxed));
        ensure!(!deployment.process().log().contains("key=secret"));
        Ok(())
    })
}

#[test]
fn a_deployment_that_is_set_up_wrong_says_so_and_stores_nothing() -> Result<()> {
    faults::run(async {
        for (name, value) in [
            ("webhook_secret", "whsec_c2hvcnQ="),
            ("webhook_secret", ""),
            ("webhook_path", "x y"),
            ("webhook_channels", "a*b"),
        ] {
            let hook = Hook::start(|_, _| HookSaid::Status(200)).await?;
            let wrong = format!("{name}={value}");
            let flags = flags(hook.variables().into_iter().chain([wrong]));
            let deployment =
                Deployment::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
            let (client, ann) = (deployment.client(), of("ann"));
            let draft = json!({"id": "1", "body": 1}).to_string();
            let target = "/witter/publish?channel=lobby";
            let answer = client.post(target, Some(&ann), draft).await?;
            ensure!(answer.status == 503, "{name}: {answer:?}");
            let told = answer.json::<Value>()?["detail"].to_string();
            ensure!(told.contains("webhook_"), "{name}: {told}");
            ensure!(deployment.process().log().contains("webhook_"), "{name}");
            ensure!(read(&client, &ann, "lobby").await?.is_empty());
        }
        Ok(())
    })
}

#[test]
fn without_an_endpoint_there_is_nothing_to_deliver() -> Result<()> {
    faults::run(async {
        let deployment = Deployment::start(&[])?;
        let answer = deployment
            .client()
            .post("/witter/webhook", None, "")
            .await?;
        ensure!(answer.status == 404, "{answer:?}");
        let answer = deployment.client().get("/witter/webhook").await?;
        ensure!(answer.status == 405, "{answer:?}");
        Ok(())
    })
}
