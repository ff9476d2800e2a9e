//! Our own host: how it is started and published to. How it is read from, `subjects` says.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde::Deserialize;
use tokio::process::Command;

use crate::drafts::Drafts;
use crate::http::Connection;
use crate::server::Server;
use crate::subject::{CHANNEL, Durability, Setup, Started, Target};

/// A publish that is refused or cut so often, a tenth of a second apart, is not going to be stored.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn start(setup: Setup<'_>) -> Started<'_> {
    async move {
        let mut command = Command::new(setup.host);
        command.current_dir(workspace());
        command.args(["up", "--listen", "127.0.0.1:0", "--from", "spin.toml"]);
        let store = setup.folder.join("mailbox.db");
        command
            .arg("--store")
            .arg(format!("sqlite:{}", store.display()));
        command.args([
            "--durability",
            match setup.durability {
                Durability::Normal => "normal",
                Durability::Full => "full",
            },
        ]);
        // One identity publishes what a thousand people would.
        for rate in ["PUBLISH_RATE", "PUBLISH_RATE_PER_ADDRESS"] {
            command.env(format!("SPIN_VARIABLE_{rate}"), "");
        }
        let listening = |line: &str| {
            line.strip_prefix("listening on http://")?
                .trim()
                .parse()
                .ok()
        };
        let (server, address) =
            Server::start(command, setup.cores, setup.folder, listening).await?;
        let mut connection = Connection::open(address).await?;
        let body = r#"{"name":"bench"}"#;
        let status = connection
            .request(&post("/witter/session", None, body))
            .await?;
        let mut answer = Vec::new();
        connection.rest(&mut answer).await?;
        ensure!(
            status == 201,
            "no session: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        let session: Session =
            serde_json::from_slice(&answer).context("a session without a token")?;
        let target = Target {
            address,
            token: session.token.into(),
            manners: setup.manners,
        };
        Ok((server, target))
    }
    .boxed_local()
}

pub(crate) fn publish(target: Target, mut drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let path = format!("/witter/publish?channel={CHANNEL}");
        let mut connection = Connection::open(target.address).await?;
        while let Some(draft) = drafts.next().await {
            let body = format!(r#"{{"id":"{}","body":{}}}"#, draft.id, draft.body);
            let request = post(&path, Some(&target.token), &body);
            let mut attempts = 0;
            while let Err(error) = store(&mut connection, &request).await? {
                attempts += 1;
                if attempts >= ATTEMPTS {
                    return Err(error.context("a publish failed again and again"));
                }
                drafts.retry();
                tokio::time::sleep(PAUSE).await;
                connection = Connection::open(target.address).await?;
            }
            drafts.acknowledge(&draft);
        }
        Ok(())
    }
    .boxed_local()
}

/// The inner error may pass: the outcome is unknown, or the server asks to come again.
async fn store(connection: &mut Connection, request: &[u8]) -> Result<Result<()>> {
    let mut answer = Vec::new();
    let exchange = async {
        let status = connection.request(request).await?;
        connection.rest(&mut answer).await?;
        Ok(status)
    };
    let status = match exchange.await {
        Ok(status) => status,
        Err(error) => return Ok(Err(error)),
    };
    let answer = String::from_utf8_lossy(&answer);
    match status {
        200 | 201 => Ok(Ok(())),
        429 | 503 => Ok(Err(anyhow::anyhow!("{status} {answer}"))),
        _ => bail!("a publish was refused: {status} {answer}"),
    }
}

/// A request to read [`CHANNEL`] by a transport; `query` goes on behind the channel.
pub(crate) fn get(transport: &str, query: &str, target: &Target) -> Vec<u8> {
    read(transport, query, target, "")
}

/// The same by a WebSocket, with the key that RFC 6455 takes as its example.
pub(crate) fn upgrade(transport: &str, query: &str, target: &Target) -> Vec<u8> {
    const HEADERS: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    read(transport, query, target, HEADERS)
}

fn read(transport: &str, query: &str, target: &Target, headers: &str) -> Vec<u8> {
    let (address, token) = (target.address, &target.token);
    format!(
        "GET /witter/{transport}?channel={CHANNEL}{query} HTTP/1.1\r\nhost: {address}\r\n\
         authorization: Bearer {token}\r\n{headers}\r\n"
    )
    .into_bytes()
}

fn post(path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let credential = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{credential}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

/// Where spin.toml is, and what the components' paths in it are relative to.
pub(crate) fn workspace() -> PathBuf {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    PathBuf::from(crates)
}
