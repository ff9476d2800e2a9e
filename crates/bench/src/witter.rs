//! Our own host: how it is started and published to. How it is read from, `subjects` says.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde::Deserialize;
use tokio::process::Command;

use crate::drafts::{Draft, Drafts};
use crate::http::Connection;
use crate::peers;
use crate::publishing;
use crate::redis;
use crate::run::Inbox;
use crate::server::Server;
use crate::socket::UPGRADE;
use crate::subject::{
    CHANNEL, Delivery, Durability, Maker, Setup, Started, Store, Subject, Target,
};

/// More than anybody asks for: the limit is not what is measured.
const MOST_CONNECTIONS: &str = "1000000";

/// How many messages a channel keeps by default.
pub(crate) const KEPT: u64 = 1_000;

/// A row of ours, published to by POST.
pub(crate) const fn subject(
    name: &'static str,
    delivery: Delivery,
    read: fn(Target, Inbox) -> LocalBoxFuture<'static, Result<()>>,
) -> Subject {
    Subject {
        name,
        maker: Maker::Witter,
        store: Store::Own,
        delivery,
        beside: None,
        start,
        publish,
        read,
    }
}

pub(crate) fn start(setup: Setup<'_>) -> Started<'_> {
    let store = match setup.durability {
        Durability::None => "memory".to_owned(),
        Durability::Normal | Durability::Full => {
            format!("sqlite:{}", setup.folder.join("mailbox.db").display())
        }
    };
    serve(setup, store).boxed_local()
}

/// The same, with a Redis beside it that keeps everything.
pub(crate) fn start_on_redis(setup: Setup<'_>) -> Started<'_> {
    async move {
        let program = peers::lacking(&setup.peers.redis)?;
        let (folder, cores) = (setup.folder, setup.cores);
        let (redis, address) = redis::start(program, folder, cores, setup.durability).await?;
        let (server, target) = serve(setup, format!("redis://{address}")).await?;
        Ok((server.with(redis), target))
    }
    .boxed_local()
}

/// Starts the host on a store.
async fn serve(setup: Setup<'_>, store: String) -> Result<(Server, Target)> {
    let mut command = Command::new(setup.host);
    // Where somebody debugs, each error is told where it came from: that is no cost of the host.
    command
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE");
    command.current_dir(workspace());
    command.args(["up", "--from", "spin.toml", "--listen"]);
    let listen = setup.address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    command.arg(listen.to_string());
    command.args(["--store", &store, "--durability"]);
    command.arg(match setup.durability {
        Durability::None | Durability::Normal => "normal",
        Durability::Full => "full",
    });
    // All clients are at one address.
    let (all, of_address) = ("--max-connections", "--max-connections-per-address");
    command.args([all, MOST_CONNECTIONS, of_address, MOST_CONNECTIONS]);
    if let Some(kept) = setup.kept {
        command.env("SPIN_VARIABLE_RETENTION", format!("{kept} for 24h"));
    }
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
    let (server, address) = Server::start(command, setup.cores, setup.folder, listening).await?;
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
    let session: Session = serde_json::from_slice(&answer).context("a session without a token")?;
    let target = Target {
        address,
        source: None,
        channel: CHANNEL.into(),
        token: session.token.into(),
        manners: setup.manners,
        version: concat!("Witter ", env!("CARGO_PKG_VERSION")).into(),
    };
    Ok((server, target))
}

pub(crate) fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let path = format!("/witter/publish?channel={}", target.channel);
        let open = async || Ok(target.connect().await?);
        let store = async |connection: &mut Connection, draft: &Draft| {
            let request = post(&path, Some(&target.token), &draft.message());
            store(connection, &request).await
        };
        publishing::one_by_one(drafts, open, store).await
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

/// A request to read the target's channel by a transport; `query` goes on behind it.
pub(crate) fn get(transport: &str, query: &str, target: &Target) -> Vec<u8> {
    read(transport, query, target, "")
}

/// The same by a WebSocket.
pub(crate) fn upgrade(transport: &str, query: &str, target: &Target) -> Vec<u8> {
    read(transport, query, target, UPGRADE)
}

fn read(transport: &str, query: &str, target: &Target, headers: &str) -> Vec<u8> {
    let Target {
        address,
        token,
        channel,
        ..
    } = target;
    format!(
        "GET /witter/{transport}?channel={channel}{query} HTTP/1.1\r\nhost: {address}\r\n\
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

/// The built host, where it is told or where it is built.
pub(crate) fn host(told: Option<&Path>) -> Result<PathBuf> {
    let built = || workspace().join("target/dist/witter");
    let host = told.map_or_else(built, Path::to_owned);
    host.canonicalize().with_context(|| {
        format!(
            "{} is not there: `cargo xtask build --packed` makes it",
            host.display()
        )
    })
}

/// Where spin.toml is, and what the components' paths in it are relative to.
pub(crate) fn workspace() -> PathBuf {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    PathBuf::from(crates)
}
