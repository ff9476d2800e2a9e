//! Deployments with rules of their own: the shipped policy, and one that wraps it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conformance::{
    Batch, Client, Frame, Process, Query, Reader, Session, Socket, Transport, manifest, program,
};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "a secret that is long enough for HS256";
/// More brackets than an engine of JavaScript has room for calls.
const DEEP: usize = 20_000;

/// How a page publishes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Post,
    Script,
    Socket,
}

const WAYS: [Way; 3] = [Way::Post, Way::Script, Way::Socket];

/// A running deployment of the shipped app, changed.
struct Deployment {
    host: Process,
    client: Client,
    ann: Session,
    _folder: TempDir,
}

impl Deployment {
    /// Starts the app with the words that the manifest has replaced by others, with variables for all of its
    /// components, and with those components alone that are named, if any are.
    fn start(
        replaced: &[(&str, &str)],
        variables: &[(&str, &str)],
        only: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        let shipped = manifest().canonicalize()?;
        let root = shipped.parent().context("the manifest is in a folder")?;
        let mut text = fs::read_to_string(&shipped)?;
        for (word, other) in replaced {
            ensure!(text.contains(word), "{word} is not in the manifest");
            text = text.replace(word, other);
        }
        text = text.replace("\"dist/", &format!("\"{}/dist/", root.display()));
        text = text.replace("\"target/", &format!("\"{}/target/", root.display()));
        let mut manifest: toml::Table = text.parse()?;
        let components = manifest["component"]
            .as_table_mut()
            .context("the components are a table")?;
        components.retain(|name, _| only.is_empty() || only.contains(&name));
        for (_, component) in components.iter_mut() {
            if let Some(own) = component
                .get_mut("variables")
                .and_then(|own| own.as_table_mut())
            {
                own.extend(
                    variables
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), toml::Value::from(*value))),
                );
            }
        }
        let triggers = manifest["trigger"]["http"]
            .as_array_mut()
            .context("the triggers are an array")?;
        triggers.retain(|trigger| {
            let name = trigger["component"].as_str().unwrap_or_default();
            only.is_empty() || only.contains(&name)
        });

        let folder = TempDir::new()?;
        let path = folder.path().join("spin.toml");
        // The host would visit a route that is not there.
        let witter = manifest["application"]["tool"]["witter"].as_table_mut();
        witter
            .context("there is a table of the host's")?
            .remove("visit");
        fs::write(&path, manifest.to_string())?;
        let mut command = Command::new(program()?);
        command
            .arg("up")
            .arg("--from")
            .arg(&path)
            .arg("--cache")
            // What was compiled for other tests is what most of the parts are.
            .arg(root.join(".witter/cache"))
            .args(["--listen", "127.0.0.1:0", "--store", "memory"])
            .args(arguments)
            .env("SPIN_VARIABLE_TOKEN_SECRET", SECRET);
        let host = Process::spawn(command)?;
        let client = Client::new(host.address());
        Ok(Self {
            host,
            client,
            ann: member("ann"),
            _folder: folder,
        })
    }

    /// The receipt of a message, or the error.
    async fn publish(&self, way: Way, channel: &str, id: &str, body: &str) -> Result<Value> {
        let told = self.ask(way, channel, id, body).await?;
        let told = serde_json::from_str(&told).with_context(|| told.clone())?;
        Ok(told)
    }

    async fn ask(&self, way: Way, channel: &str, id: &str, body: &str) -> Result<String> {
        let token = &self.ann.token;
        match way {
            Way::Post => {
                let answer = self.client.publish(&self.ann, channel, id, body).await?;
                let text = String::from_utf8(answer.body.to_vec())?;
                let is_stored = matches!(answer.status.as_u16(), 200 | 201);
                ensure!(is_stored == text.contains("\"offset\""), "{answer:?}");
                Ok(text)
            }
            Way::Script => {
                let escaped: String = body.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let query = format!("channel={channel}&id={id}&body={escaped}&token={token}");
                let target = format!("/witter/jsonp-publish?callback=told&{query}");
                let answer = self.client.get(&target).await?;
                if answer.status != 200 {
                    return Ok(String::from_utf8(answer.body.to_vec())?);
                }
                Ok(parsers::jsonp(&answer.body, "told")?)
            }
            Way::Socket => {
                let target = Query::of(["of-no-matter"])
                    .token(token)
                    .target(Transport::Websocket);
                let request = Transport::Websocket.request(&self.client, &target);
                let request = request.method(Method::GET).body(Full::default())?;
                let mut socket = Socket::accepted(self.client.open(request).await?).await?;
                let draft = format!(r#"{{"channel":"{channel}","id":"{id}","body":{body}}}"#);
                let question = format!(r#"{{"ref":1,"publish":{draft}}}"#);
                socket.send(Frame::text(question)).await?;
                loop {
                    let mut told: Value = serde_json::from_str(&socket.text().await?)?;
                    if told["ref"] == 1 {
                        let published = told["published"].take();
                        return Ok(match published {
                            Value::Null => told,
                            receipt => receipt,
                        }
                        .to_string());
                    }
                }
            }
        }
    }

    /// The bodies that a channel has, oldest first.
    async fn stored(&self, channel: &str) -> Result<Vec<String>> {
        let query = format!(
            "channel={channel}&history=100&wait=0&token={}",
            self.ann.token
        );
        let target = format!("/witter/jsonp-polling?callback=told&{query}");
        let answer = self.client.get(&target).await?;
        let batch: Batch = serde_json::from_str(&parsers::jsonp(&answer.body, "told")?)?;
        let bodies = batch.envelopes.iter().map(|envelope| envelope.body.get());
        Ok(bodies.map(str::to_owned).collect())
    }

    /// What is sent by each way ends as it should: each body with what is stored of it, or with why it is not.
    async fn check(
        &self,
        channel: &str,
        cases: &[(&str, Result<&str, (&str, &str)>)],
    ) -> Result<()> {
        for way in WAYS {
            let channel = format!("{channel}-{way:?}");
            let mut expected = Vec::new();
            for (number, (body, outcome)) in cases.iter().enumerate() {
                // An address has at most 64 KiB, a third of which it is once all is escaped.
                if way == Way::Script && body.len() > 20_000 {
                    continue;
                }
                let id = format!("id-{number}");
                let told = self.publish(way, &channel, &id, body).await?;
                match outcome {
                    Ok(stored) => {
                        expected.push((*stored).to_owned());
                        ensure!(
                            told["offset"] == expected.len(),
                            "{way:?} {body:.99}: {told}"
                        );
                        // The same again is found, by every way; another is not.
                        for again in WAYS {
                            if again == Way::Script && body.len() > 20_000 {
                                continue;
                            }
                            let found = self.publish(again, &channel, &id, body).await?;
                            ensure!(found == told, "{again:?} {body:.99}: {found}");
                            let other = self.publish(again, &channel, &id, "\"other\"").await?;
                            ensure!(
                                other["error"] == "id-reused",
                                "{again:?} {body:.99}: {other}"
                            );
                        }
                    }
                    Err((code, detail)) => {
                        ensure!(
                            told["error"] == *code && told["detail"] == *detail,
                            "{way:?} {body:.99}: {told}"
                        );
                    }
                }
            }
            let stored = self.stored(&channel).await?;
            ensure!(stored == expected, "{way:?}: {stored:.2000?}");
        }
        Ok(())
    }
}

/// A member who may read and publish everywhere.
fn member(name: &str) -> Session {
    let claims = json!({"sub": name, "read": ["*"], "publish": ["*"]}).to_string();
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mac = hmac_sha256::HMAC::mac(&signed, SECRET);
    Session {
        token: format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac)),
        sender: name.to_owned(),
        name: name.to_owned(),
        expires_at: 0,
    }
}

#[tokio::test]
async fn a_policy_that_filters_masks_refuses_and_lets_pass() -> Result<()> {
    let variables = [
        ("filtered_words", "bad, two words"),
        ("allowed_links", "good.example"),
    ];
    let deep = format!("{}\"bad\"{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let deep_masked = format!("{}\"***\"{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let refused = Err(("forbidden", "links to evil.example are not allowed here"));
    let cases = [
        (r#"{"text":"hello"}"#, Ok(r#"{"text":"hello"}"#)),
        (
            r#"{"text":"a BAD day","bad":1.0}"#,
            Ok(r#"{"text":"a *** day","bad":1.0}"#),
        ),
        (r#"["\u0062ad","\ud83d"]"#, Ok(r#"["***","\ud83d"]"#)),
        (r#""https://evil.example""#, refused),
        (r#"{"a":["\u0068ttps:\/\/evil.example/bad"]}"#, refused),
        (r#""https://good.example""#, Ok(r#""https://good.example""#)),
        (deep.as_str(), Ok(deep_masked.as_str())),
    ];
    for (wakeup, plugs) in [
        // As the app is closed at build time, for Spin.
        ("timer", None),
        ("native", None),
        // By the manifest alone, one plugged into the other by the host.
        (
            "native",
            Some(r#"plugs = ["dist/policy-filter.wasm", "dist/policy-token.wasm"]"#),
        ),
    ] {
        let replaced = match plugs {
            None => ("dist/messenger", "dist/messenger-filter"),
            Some(plugs) => (r#"plugs = ["dist/policy-token.wasm"]"#, plugs),
        };
        let only = ["publish", "jsonp-polling", "websocket"];
        let deployment = Deployment::start(&[replaced], &variables, &only, &["--wakeup", wakeup])?;
        deployment.check("filter", &cases).await?;

        // A draft that is refused fails alone, and another that is masked to the same is the same.
        let drafts =
            r#"[{"id":"a","body":"bad"},{"id":"b","body":"//evil.example"},{"id":"c","body":1}]"#;
        let token = Some(deployment.ann.token.as_str());
        let answer = deployment
            .client
            .post("/witter/publish?channel=array", token, drafts)
            .await?;
        let told: Value = answer.json()?;
        ensure!(
            told[0]["offset"] == 1 && told[1]["error"] == "forbidden" && told[2]["offset"] == 2,
            "{told}"
        );
        let same = deployment
            .publish(Way::Post, "array", "a", "\"BAD\"")
            .await?;
        ensure!(same["offset"] == 1, "{same}");
        ensure!(deployment.stored("array").await? == ["\"***\"", "1"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_is_not_configured_well_lets_nothing_pass() -> Result<()> {
    let deployment = Deployment::start(
        &[("dist/messenger", "dist/messenger-filter")],
        &[("allowed_links", "https://good.example")],
        &["publish", "jsonp-polling", "websocket"],
        &[],
    )?;
    let why =
        "allowed_links: \"https://good.example\" is neither the name of a host nor one behind *.";
    deployment
        .check("any", &[("1", Err(("unavailable", why)))])
        .await
}

#[tokio::test]
async fn a_policy_in_javascript_refuses_changes_and_lets_pass() -> Result<()> {
    let deployment = Deployment::start(
        &[("dist/messenger", "dist/messenger-javascript")],
        &[],
        &["publish", "jsonp-polling", "websocket"],
        &[],
    )?;
    let nested = |text: &str| {
        let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
        format!(r#"{{"text":"{text}","x":{open}{close}}}"#)
    };
    let (passed, too_deep) = (nested("fine"), nested("ann@host.example"));
    deployment
        .check(
            "javascript",
            &[
                (r#"{"text":"hello"}"#, Ok(r#"{"text":"hello"}"#)),
                (
                    r#"{"text":"THIS IS SHOUTED"}"#,
                    Err(("forbidden", "please do not shout")),
                ),
                (
                    r#"{"n":1.00e2,"text":"to \u0061nn@host.example","s":"\ud83d"}"#,
                    Ok(r#"{"n":1.00e2,"text":"to (address hidden)","s":"\ud83d"}"#),
                ),
                ("null", Ok("null")),
                (passed.as_str(), Ok(passed.as_str())),
                (
                    too_deep.as_str(),
                    Err((
                        "forbidden",
                        "what has an address in it may not be nested so deeply",
                    )),
                ),
            ],
        )
        .await?;
    ensure!(
        !deployment.host.log().contains("instance ended"),
        "{}",
        deployment.host.log()
    );
    Ok(())
}

#[tokio::test]
async fn a_policy_that_breaks_its_contract_breaks_nothing_else() -> Result<()> {
    let faulty = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/test-components/policy-faulty.wasm")
        .canonicalize()
        .context("cargo xtask build builds it")?;
    let plugs = format!(
        r#"plugs = ["{}", "dist/policy-token.wasm"]"#,
        faulty.display()
    );
    let deployment = Deployment::start(
        &[(r#"plugs = ["dist/policy-token.wasm"]"#, plugs.as_str())],
        &[],
        &["publish", "jsonp-polling", "websocket", "sse"],
        &["--guest-timeout", "2"],
    )?;
    let query = Query::of(["fine"]).token(&deployment.ann.token);
    let mut reader = Reader::open(&deployment.client, Transport::Sse, query).await?;

    let no_message = "the policy made no message of this one";
    let unanswered = "the policy does not answer for each channel";
    let mut fine = 0;
    for way in WAYS {
        for (channel, code, detail) in [
            ("permits-too-few", "unavailable", unanswered),
            ("permits-too-many", "unavailable", unanswered),
            ("reviews-to-nothing", "unavailable", no_message),
            ("reviews-to-text", "unavailable", no_message),
            ("reviews-to-two", "unavailable", no_message),
            ("reviews-to-much", "unavailable", no_message),
            ("review-is-busy", "rate-limited", ""),
        ] {
            let told = deployment.publish(way, channel, "id", "1").await?;
            ensure!(told["error"] == code, "{way:?} {channel}: {told}");
            ensure!(
                detail.is_empty() || told["detail"] == detail,
                "{way:?} {channel}: {told}"
            );
        }
        // The instance ends, and with it the requests in it; the next one is as good as new.
        for channel in ["permit-traps", "review-traps", "review-never-ends"] {
            match deployment.publish(way, channel, "id", "1").await {
                Ok(told) => ensure!(told["error"] == "unavailable", "{way:?} {channel}: {told}"),
                Err(fault) => ensure!(way == Way::Socket, "{way:?} {channel}: {fault:#}"),
            }
            let told = deployment
                .publish(way, "fine", &format!("id-{fine}"), "1")
                .await?;
            fine += 1;
            ensure!(told["offset"] == fine, "{way:?} after {channel}: {told}");
        }
        let told = deployment
            .publish(way, "reviews-to-most", "id", "1")
            .await?;
        ensure!(told["offset"] == 1, "{way:?}: {told}");
    }

    // Those who read fine channels never knew.
    for offset in 1..=fine {
        let read = reader.messages(1).await?;
        ensure!(
            read.iter().any(|envelope| envelope.offset <= offset),
            "{read:?}"
        );
        if read.last().is_some_and(|envelope| envelope.offset == fine) {
            break;
        }
    }
    for channel in [
        "reviews-to-nothing",
        "reviews-to-text",
        "reviews-to-two",
        "reviews-to-much",
        "review-is-busy",
        "review-traps",
        "review-never-ends",
    ] {
        let stored = deployment.stored(channel).await?;
        ensure!(stored.is_empty(), "{channel}: {stored:?}");
    }
    let most = deployment.stored("reviews-to-most").await?;
    ensure!(most.len() == 1 && most[0].len() == 65_536, "{}", most.len());

    // A channel that no answer was given for can be read by nobody.
    for channel in ["permits-too-few", "permits-too-many"] {
        let query = Query::of([channel, "fine"]).token(&deployment.ann.token);
        let answer = deployment.client.get(&query.target(Transport::Sse)).await?;
        ensure!(
            answer.status == 503 && answer.code().as_deref() == Some("unavailable"),
            "{answer:?}"
        );
    }
    Ok(())
}
