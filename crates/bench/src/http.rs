//! HTTP/1.1 as far as a load generator needs it: one request at a time on a kept connection, and a body
//! that is handed out as it comes, without a copy.
//!
//! A general client costs more than the server's share of a delivery; with it the figures would be its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memchr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// One read. Smaller, and a server that is ahead costs more reads a message; larger is never filled.
const READ: usize = 16 * 1024;

/// The head of an answer is shorter, or it is no answer to us.
const LONGEST_HEAD: usize = 16 * 1024;

/// More header fields than any of the servers sends.
const MOST_FIELDS: usize = 32;

/// A kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer is still to be looked at.
    rest: Range<usize>,
    body: Body,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_from(None, address).await
    }

    /// The same from an address of this machine; none: as the system chooses.
    pub(crate) async fn open_from(source: Option<IpAddr>, address: SocketAddr) -> io::Result<Self> {
        let stream = match source {
            None => TcpStream::connect(address).await?,
            Some(source) => {
                let socket = match source {
                    IpAddr::V4(_) => TcpSocket::new_v4()?,
                    IpAddr::V6(_) => TcpSocket::new_v6()?,
                };
                socket.bind((source, 0).into())?;
                socket.connect(address).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; READ],
            rest: 0..0,
            body: Body::End,
        })
    }

    /// Sends a request, whole, and takes the head of the answer: its status.
    ///
    /// The answer before must have been read to its end.
    pub(crate) async fn request(&mut self, request: &[u8]) -> Result<u16> {
        self.request_fields(request, |_| ()).await
    }

    /// The same, and hands over the header fields of the answer.
    pub(crate) async fn request_fields(
        &mut self,
        request: &[u8],
        mut look: impl FnMut(&[httparse::Header<'_>]),
    ) -> Result<u16> {
        ensure!(self.body == Body::End, "the answer before is not over");
        self.stream.write_all(request).await?;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            if let httparse::Status::Complete(length) =
                response.parse(&self.buffer[self.rest.clone()])?
            {
                let status = response.code.context("an answer without a status")?;
                self.body = Body::of(status, response.headers)?;
                look(response.headers);
                self.rest.start += length;
                return Ok(status);
            }
            ensure!(self.rest.len() < LONGEST_HEAD, "the head is too long");
            self.fill().await?;
        }
    }

    /// Sends bytes of the protocol that the connection was upgraded to.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next piece of the body, as it came; none at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let step = self.body.step(&self.buffer[self.rest.clone()])?;
            let content = self.rest.start + step.content.start..self.rest.start + step.content.end;
            self.rest.start += step.used;
            if !content.is_empty() {
                return Ok(Some(&self.buffer[content]));
            }
            if self.body == Body::End {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    /// Puts the whole rest of the body into `into`.
    pub(crate) async fn rest(&mut self, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        while let Some(piece) = self.piece().await? {
            into.extend_from_slice(piece);
        }
        Ok(())
    }

    /// Reads what there is, behind what is still to be looked at.
    async fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        if self.rest.end == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        let length = self.stream.read(&mut self.buffer[self.rest.end..]).await?;
        if length == 0 {
            bail!("the server closed the connection");
        }
        self.rest.end += length;
        Ok(())
    }
}

/// Where in a body we are (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// A line with the length of a chunk is next.
    ChunkHead,
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// The line that ends a chunk is next.
    ChunkEnd,
    /// Lines behind the last chunk, up to an empty one.
    Trailer,
    /// Nothing more.
    End,
}

/// One step through a body.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// How many bytes of the input are done with.
    used: usize,
    /// Those of them that belong to the content.
    content: Range<usize>,
}

impl Body {
    fn of(status: u16, fields: &[httparse::Header<'_>]) -> Result<Self> {
        match status {
            // From here on the connection speaks another protocol, without end.
            101 => return Ok(Self::Length(u64::MAX)),
            100..=199 | 204 | 304 => return Ok(Self::End),
            _ => {}
        }
        let field = |name: &str| {
            let field = fields
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Ok(Self::ChunkHead);
        }
        let Some(length) = field("content-length") else {
            // It goes on until the server closes the connection.
            return Ok(Self::Length(u64::MAX));
        };
        Ok(
            match length.parse().context("a length that is no number")? {
                0 => Self::End,
                length => Self::Length(length),
            },
        )
    }

    /// Goes through the input up to the end of some content, or as far as it reaches.
    fn step(&mut self, input: &[u8]) -> Result<Step> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match *self {
                Self::End => {
                    return Ok(Step {
                        used,
                        content: used..used,
                    });
                }
                Self::Length(left) | Self::Chunk(left) => {
                    let length = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - length as u64;
                    *self = match (*self, left) {
                        (Self::Chunk(_), 0) => Self::ChunkEnd,
                        (Self::Chunk(_), left) => Self::Chunk(left),
                        (_, 0) => Self::End,
                        (_, left) => Self::Length(left),
                    };
                    let end = used + length;
                    return Ok(Step {
                        used: end,
                        content: used..end,
                    });
                }
                Self::ChunkHead | Self::ChunkEnd | Self::Trailer => {
                    let Some(length) = memchr(b'\n', rest) else {
                        return Ok(Step {
                            used,
                            content: used..used,
                        });
                    };
                    *self = self.behind(&rest[..length])?;
                    used += length + 1;
                }
            }
        }
    }

    /// What follows a line of the chunked coding.
    fn behind(self, line: &[u8]) -> Result<Self> {
        let line = std::str::from_utf8(line).context("a chunk's head that is no text")?;
        let line = line.trim_end_matches('\r');
        Ok(match self {
            Self::ChunkEnd if line.is_empty() => Self::ChunkHead,
            Self::ChunkEnd => bail!("a chunk that is longer than it says"),
            Self::Trailer if line.is_empty() => Self::End,
            Self::Trailer => Self::Trailer,
            _ => {
                let length = line.split(';').next().unwrap_or_default().trim();
                match u64::from_str_radix(length, 16).context("a chunk without a length")? {
                    0 => Self::Trailer,
                    length => Self::Chunk(length),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(name: &'a str, value: &'a str) -> [httparse::Header<'a>; 1] {
        [httparse::Header {
            name,
            value: value.as_bytes(),
        }]
    }

    /// Decodes what arrives in the given pieces as `Connection` does.
    fn decode(mut body: Body, pieces: &[&[u8]]) -> Result<(Vec<u8>, Body)> {
        let mut content = Vec::new();
        let mut waiting = Vec::new();
        for piece in pieces {
            waiting.extend_from_slice(piece);
            loop {
                let step = body.step(&waiting)?;
                content.extend_from_slice(&waiting[step.content.clone()]);
                waiting.drain(..step.used);
                if step.content.is_empty() {
                    break;
                }
            }
        }
        assert!(
            body != Body::End || waiting.is_empty(),
            "nothing is behind the end"
        );
        Ok((content, body))
    }

    #[track_caller]
    fn check(body: Body, bytes: &str, expected: &str) {
        for at in 0..=bytes.len() {
            let (one, other) = bytes.as_bytes().split_at(at);
            let (content, end) = decode(body, &[one, other]).expect("the body is well formed");
            assert_eq!(String::from_utf8_lossy(&content), expected, "cut at {at}");
            assert_eq!(end, Body::End, "cut at {at}");
        }
        let single: Vec<_> = bytes.as_bytes().chunks(1).collect();
        let (content, end) = decode(body, &single).expect("the body is well formed");
        assert_eq!(
            (&*String::from_utf8_lossy(&content), end),
            (expected, Body::End)
        );
    }

    #[test]
    fn a_body_is_decoded_wherever_it_is_cut() {
        check(Body::Length(5), "hello", "hello");
        check(Body::ChunkHead, "5\r\nhello\r\n0\r\n\r\n", "hello");
        check(
            Body::ChunkHead,
            "3;x=y\r\na\r\n\r\n00A\r\n0123456789\r\n0\r\nserver-timing: none\r\n\r\n",
            "a\r\n0123456789",
        );
        check(Body::ChunkHead, "0\r\n\r\n", "");
    }

    #[test]
    fn a_body_that_is_not_over_says_so() {
        let (content, body) =
            decode(Body::ChunkHead, &[b"5\r\nhel"]).expect("the body is well formed");
        assert_eq!((&content[..], body), (&b"hel"[..], Body::Chunk(2)));
    }

    #[test]
    fn a_malformed_chunk_is_an_error() {
        for bytes in [
            "x\r\n",
            "\r\n",
            "2\r\nabc\r\n",
            "-1\r\n",
            "11111111111111111\r\n",
        ] {
            assert!(
                decode(Body::ChunkHead, &[bytes.as_bytes()]).is_err(),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn the_head_says_how_the_body_ends() {
        let of = |status, name, value| Body::of(status, &fields(name, value)).ok();
        assert_eq!(of(200, "Content-Length", "12"), Some(Body::Length(12)));
        assert_eq!(of(200, "content-length", "0"), Some(Body::End));
        assert_eq!(
            of(200, "Transfer-Encoding", "Chunked"),
            Some(Body::ChunkHead)
        );
        assert_eq!(of(204, "server", "x"), Some(Body::End));
        assert_eq!(of(200, "server", "x"), Some(Body::Length(u64::MAX)));
        assert_eq!(of(200, "content-length", "many"), None);
    }
}
