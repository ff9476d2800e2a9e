//! Many connections at once, each no more than a socket.

use std::net::SocketAddr;
use std::process::{Command, id};

use anyhow::{Context, Result, ensure};
use conformance::{Query, Transport, read_head};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// More would wait in the host's queue of connections, and some kernels then drop them.
const AT_ONCE: usize = 64;

/// Opens a reader's connection and reads the head of the answer. The body stays where it is.
///
/// # Errors
/// Where the host does not answer with 200.
pub async fn hold(address: SocketAddr, transport: Transport, query: &Query) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {address}\r\n\r\n",
        query.target(transport)
    );
    socket.write_all(request.as_bytes()).await?;
    let (answer, _) = read_head(&mut socket, &mut Vec::new())
        .await?
        .context("the host closed")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(socket)
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
