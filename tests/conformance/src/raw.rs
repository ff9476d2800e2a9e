//! Bytes on a socket, for what no HTTP client lets through.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More headers than any answer here has.
const MOST_HEADERS: usize = 64;
/// The media types of what may not end; where it does, it tells its length.
const STREAMS: [&str; 3] = [
    "application/x-ndjson",
    "text/event-stream",
    "text/html; charset=utf-8",
];

/// What came back for bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The whole body; of a stream that does not end, nothing, nor of a connection that was upgraded.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends bytes, reads one answer and closes. None: the host closed without one.
///
/// A host that closes while it is still being written to is no fault: what counts is what it said.
///
/// # Errors
/// Where the host cannot be reached, or answers with what is no HTTP.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Result<Option<RawAnswer>> {
    let mut socket = TcpStream::connect(address).await?;
    let _ = socket.write_all(request).await;
    if request.starts_with(b"HEAD ") {
        return Ok(read_head(&mut socket, &mut Vec::new())
            .await?
            .map(|(answer, _)| answer));
    }
    read_answer(&mut socket).await
}

/// Reads one answer. None: the host closed without one.
///
/// # Errors
/// Where it is no HTTP.
pub async fn read_answer(socket: &mut TcpStream) -> Result<Option<RawAnswer>> {
    let mut bytes = Vec::new();
    let Some((mut answer, length)) = read_head(socket, &mut bytes).await? else {
        return Ok(None);
    };
    let mut rest = bytes.split_off(length);
    let is_stream = STREAMS.contains(&answer.header("content-type").unwrap_or_default());
    if [101, 204, 304].contains(&answer.status)
        || is_stream && answer.header("content-length").is_none()
    {
        return Ok(Some(answer));
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = loop {
                match httparse::parse_chunk_size(&rest) {
                    Ok(httparse::Status::Complete((at, size))) => {
                        rest.drain(..at);
                        break usize::try_from(size)?;
                    }
                    Ok(httparse::Status::Partial) => more(socket, &mut rest).await?,
                    Err(error) => bail!("{error:?}"),
                }
            };
            while rest.len() < size + 2 {
                more(socket, &mut rest).await?;
            }
            answer.body.extend(rest.drain(..size));
            ensure!(
                rest.drain(..2).as_slice() == b"\r\n",
                "a chunk ends with CRLF"
            );
            if size == 0 {
                return Ok(Some(answer));
            }
        }
    }
    match answer.header("content-length") {
        Some(length) => {
            let length = length.parse()?;
            while rest.len() < length {
                more(socket, &mut rest).await?;
            }
        }
        // It ends with the connection (RFC 9112, section 6.3).
        None => while socket.read_buf(&mut rest).await? > 0 {},
    }
    answer.body = rest;
    Ok(Some(answer))
}

/// Reads the head of an answer, and appends all that came to `bytes`: how many of those are the head's
/// stands beside it. None: the host closed without one.
///
/// # Errors
/// Where it is no HTTP.
pub async fn read_head(
    socket: &mut TcpStream,
    bytes: &mut Vec<u8>,
) -> Result<Option<(RawAnswer, usize)>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(length) = response.parse(bytes)? {
            let status = response.code.context("a status line has a status")?;
            let headers = response
                .headers
                .iter()
                .map(|header| {
                    Ok((
                        header.name.to_ascii_lowercase(),
                        str::from_utf8(header.value)?.to_owned(),
                    ))
                })
                .collect::<Result<_>>()?;
            return Ok(Some((
                RawAnswer {
                    status,
                    headers,
                    body: Vec::new(),
                },
                length,
            )));
        }
        // A reset is how a host says that it did not read all it was sent.
        if !matches!(socket.read_buf(bytes).await, Ok(1..)) {
            ensure!(
                bytes.is_empty(),
                "the head breaks off: {:?}",
                String::from_utf8_lossy(bytes)
            );
            return Ok(None);
        }
    }
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    ensure!(socket.read_buf(bytes).await? > 0, "the body breaks off");
    Ok(())
}
