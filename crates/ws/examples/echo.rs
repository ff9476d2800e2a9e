//! Echoes messages over TCP: what the suites of others run against.
//!
//! `cargo run --release -p websocket --example echo` listens on a free loopback port, or on the address given,
//! and prints where.

use anyhow::{Context, bail};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use ws::handshake::{self, Bootstrap};
use ws::{Connection, Event, Limits};

/// The largest messages of the Autobahn suite have 16 MiB.
const LIMITS: Limits = Limits {
    frame: 16 << 20,
    message: 16 << 20,
    pending: 17 << 20,
};

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let listener = TcpListener::bind(address).await?;
    println!("ws://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{error:#}");
            }
        });
    }
}

/// Serves one client until it leaves.
pub(crate) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    let mut input = Vec::new();
    let mut connection = loop {
        if stream.read_buf(&mut input).await? == 0 || input.len() > LONGEST_HEAD {
            bail!("no request came");
        }
        if let Some((length, answer, connection)) = open(&input)? {
            input.drain(..length);
            stream.write_all(answer.as_bytes()).await?;
            match connection {
                Some(connection) => break connection,
                None => return Ok(()),
            }
        }
    };
    loop {
        let mut rest = input.as_slice();
        while let Some(event) = connection.handle(&mut rest) {
            match event {
                Event::Text(text) => connection.send_text(&text)?,
                Event::Binary(bytes) => connection.send_binary(&bytes)?,
                Event::Ping(_) | Event::Pong(_) | Event::Close { .. } | Event::Failed(_) => {}
            }
            stream.write_all(&connection.take_output()).await?;
        }
        input.clear();
        if connection.is_closed() {
            stream.shutdown().await?;
            // Closing with bytes unread would reset the connection, and the client might not see the last frame.
            while stream.read_buf(&mut input).await? > 0 {
                input.clear();
            }
            return Ok(());
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// The length of the head of the request, the answer, and the connection if it is let in; none while the head is
/// not whole.
fn open(input: &[u8]) -> anyhow::Result<Option<(usize, String, Option<Connection>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(input)? else {
        return Ok(None);
    };
    let header = |name: &str| {
        let named = request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.to_vec()).collect()
    };
    let method = request.method.context("no method")?;
    let (status, headers, connection) =
        match handshake::accept(Bootstrap::Upgrade, method, header, &[]) {
            Ok(accepted) => {
                let mut headers = accepted.headers;
                headers.push(("connection", "upgrade".to_owned()));
                headers.push(("upgrade", "websocket".to_owned()));
                let connection = Connection::new(LIMITS, accepted.deflate);
                (101, headers, Some(connection))
            }
            Err(refused) => {
                let header = refused.header();
                let mut headers: Vec<_> = header
                    .map(|(name, value)| (name, value.to_owned()))
                    .into_iter()
                    .collect();
                headers.push(("connection", "close".to_owned()));
                (refused.status(), headers, None)
            }
        };
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    Ok(Some((
        length,
        format!("HTTP/1.1 {status} \r\n{headers}\r\n"),
        connection,
    )))
}
