//! Many connections at once, each no more than a socket.

use std::net::SocketAddr;
use std::process::{Command, id};

use anyhow::{Context, Result, ensure};
use conformance::{Query, Transport, read_head};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// More would wait in the host's queue of connections, and some kernels then drop them.
const AT_ONCE: usize = 64;

/// What a WebSocket's client is asked, and what it answers, masked with zeros (RFC 6455, sections 5.3 and 5.5).
const PING: &[u8] = &[0x89, 0];
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];

/// Opens a reader's connection and reads the head of the answer. What is behind it stays where it is.
///
/// # Errors
/// Where the host does not let it in.
pub async fn hold(address: SocketAddr, transport: Transport, query: &Query) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nhost: {address}\r\n",
        query.target(transport)
    );
    for (name, value) in transport.headers() {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    socket.write_all(request.as_bytes()).await?;
    let (answer, _) = read_head(&mut socket, &mut Vec::new())
        .await?
        .context("the host closed")?;
    ensure!(transport.accepted() == answer.status, "{answer:?}");
    Ok(socket)
}

/// Reads whatever comes, and answers pings. A connection is kept until the set is dropped; one that ends
/// before is an error.
#[must_use]
pub fn idle(sockets: Vec<TcpStream>) -> JoinSet<Result<()>> {
    let idle = sockets.into_iter().map(async |mut socket| {
        let mut bytes = [0; 512];
        loop {
            let read = socket.read(&mut bytes).await?;
            ensure!(read > 0, "the host closed");
            // Nothing else here has these bytes; a ping that is cut in two is one of several.
            let pings = bytes[..read].windows(2).filter(|bytes| *bytes == PING);
            for _ in 0..pings.count() {
                socket.write_all(PONG).await?;
            }
        }
    });
    idle.collect()
}

/// Opens as many connections as there are queries.
///
/// # Errors
/// As [`hold`].
pub async fn hold_all(
    address: SocketAddr,
    transport: Transport,
    queries: &[Query],
) -> Result<Vec<TcpStream>> {
    stream::iter(queries)
        .map(|query| hold(address, transport, query))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Lets this process and those it starts have as many files as the system allows.
///
/// # Errors
/// Where `prlimit` is not there.
pub fn raise_file_limit() -> Result<()> {
    let hard = Command::new("sh")
        .args(["-c", "ulimit -Hn"])
        .output()?
        .stdout;
    let hard = String::from_utf8(hard)?;
    let limit = format!("--nofile={}", hard.trim());
    let set = Command::new("prlimit")
        .args([&limit, "--pid", &id().to_string()])
        .status()?;
    ensure!(set.success(), "prlimit(1) did not set {limit}");
    Ok(())
}
