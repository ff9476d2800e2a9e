//! The bytes of one connection, and what is going on in it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;

use crate::answer::Refusal;

/// How an HTTP/2 connection begins where its client knows that it may (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most that is read at once. Larger costs every read more; smaller, long bodies more reads.
const CHUNK: usize = 4096;

/// How long, and how many bytes, the other side may go on sending after the last word was said. Closing
/// with bytes unread resets the connection, and takes the last word away from who was still sending.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 1 << 20);

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A connection's bytes, behind TLS where there is some.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    /// In a box: it is some hundred bytes, which the other would have too.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection's bytes, for hyper.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// Read already, to learn the protocol.
    begun: Bytes,
    protocol: Protocol,
    activity: Activity,
}

/// What is going on in a connection. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Mutex<Progress>>);

#[derive(Debug)]
struct Progress {
    /// Requests that have no whole response yet.
    open: usize,
    /// Bytes of a next head have come.
    head: bool,
    /// Bytes of its first line so far.
    line: usize,
    /// All of that line has come.
    line_ended: bool,
    /// The longest head that is taken.
    longest: usize,
    /// All that was answered has been handed to the network.
    flushed: bool,
    /// Hyper has refused a head.
    refused: Option<Refusal>,
    /// Since when it is so.
    since: Instant,
}

/// What a connection is waiting for, and since when.
#[derive(Debug, PartialEq)]
pub(crate) enum Waiting {
    /// A request; none has begun.
    Request(Instant),
    /// The rest of a head.
    Head(Instant),
    /// The host.
    Answer,
}

/// A request that is being answered; dropped when all of its response was written.
#[derive(Debug)]
pub(crate) struct Open(Activity);

impl Activity {
    fn new(longest: usize) -> Self {
        Self(Arc::new(Mutex::new(Progress {
            open: 0,
            head: false,
            line: 0,
            line_ended: false,
            longest,
            flushed: true,
            refused: None,
            since: Instant::now(),
        })))
    }

    /// A request has come.
    pub(crate) fn open(&self) -> Open {
        let mut progress = self.lock();
        progress.open += 1;
        progress.head = false;
        progress.line = 0;
        progress.line_ended = false;
        Open(self.clone())
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let progress = self.lock();
        match *progress {
            Progress { open: 1.., .. } => Waiting::Answer,
            Progress {
                head: true, since, ..
            } => Waiting::Head(since),
            Progress { since, .. } => Waiting::Request(since),
        }
    }

    /// Why hyper refused a head, if it did.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.lock().refused
    }

    fn read(&self, bytes: &[u8]) {
        let mut progress = self.lock();
        if progress.open == 0 && !bytes.is_empty() {
            if !progress.head {
                progress.head = true;
                progress.since = Instant::now();
            }
            if !progress.line_ended {
                let end = bytes.iter().position(|&byte| byte == b'\n');
                progress.line += end.unwrap_or(bytes.len());
                progress.line_ended = end.is_some();
            }
        }
    }

    /// Whether hyper writes what no request asked for: its own refusal of a head, which has neither the
    /// body nor the headers that others expect. It is kept back, and told by [`Self::refused`].
    fn is_refusal(&self, bytes: &[u8]) -> bool {
        let mut progress = self.lock();
        if progress.open > 0 || !progress.flushed {
            return false;
        }
        if progress.refused.is_none() {
            progress.refused = Some(match bytes.get(9..12) {
                Some(b"414") => Refusal::TargetTooLong,
                Some(b"431") if progress.line >= progress.longest => Refusal::TargetTooLong,
                Some(b"431") => Refusal::HeadTooLarge,
                _ => Refusal::BadRequest,
            });
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Every change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        progress.open -= 1;
        progress.flushed = false;
        progress.since = Instant::now();
    }
}

impl Stream {
    /// The connection below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Reads up to `most` bytes and passes them on; none: the other side has closed.
    ///
    /// They are read onto the stack, so that nothing is held while nothing comes, and where they go to need
    /// not be initialized.
    fn poll_chunk<T>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut bytes = [MaybeUninit::uninit(); CHUNK];
        let mut buffer = ReadBuf::uninit(&mut bytes[..most.min(CHUNK)]);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Socket {
    /// Reads as far as it takes to tell the protocol. None: the other side has closed.
    ///
    /// `longest` is the longest head of a request that is taken.
    pub(crate) async fn accept(
        mut stream: Stream,
        longest: usize,
    ) -> io::Result<Option<(Self, Activity)>> {
        let mut begun = Vec::new();
        while begun.len() < PREFACE.len() && PREFACE.starts_with(&begun) {
            // All that is there, so that hyper finds a whole head: it would double its buffer for the rest
            // of one, and keep it for as long as the connection is open.
            let read = poll_fn(|cx| {
                stream.poll_chunk(cx, CHUNK, |bytes| {
                    begun.extend_from_slice(bytes);
                    bytes.len()
                })
            });
            if read.await? == 0 {
                return Ok(None);
            }
        }
        let protocol = if begun.starts_with(PREFACE) {
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        let activity = Activity::new(longest);
        if protocol == Protocol::Http1 {
            activity.read(&begun);
        }
        let socket = Self {
            stream,
            begun: begun.into(),
            protocol,
            activity: activity.clone(),
        };
        Ok(Some((socket, activity)))
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The connection, and what hyper has not read of what was read to learn the protocol.
    pub(crate) fn into_inner(self) -> (Stream, Bytes) {
        (self.stream, self.begun)
    }

    /// Says a last word.
    pub(crate) async fn refuse(self, refusal: Refusal) {
        refuse(self.stream, refusal).await;
    }
}

/// Says a last word on a connection from which no request can be read.
pub(crate) async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: Refusal) {
    let (time, most) = LINGER;
    let told = async {
        stream.write_all(&refusal.bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink()).await
    };
    // Whoever does not take the word in time has gone, or does not read.
    timeout(time, told).await.ok();
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.begun.is_empty() {
            let length = this.begun.len().min(cursor.remaining());
            cursor.put_slice(&this.begun[..length]);
            this.begun.advance(length);
            if this.begun.is_empty() {
                // Gives the memory back.
                this.begun = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let most = cursor.remaining();
        let (stream, activity) = (&mut this.stream, &this.activity);
        let is_http1 = this.protocol == Protocol::Http1;
        stream.poll_chunk(cx, most, |bytes| {
            // HTTP/2 mixes what belongs to requests with what does not, and has its own limits.
            if is_http1 {
                activity.read(bytes);
            }
            cursor.put_slice(bytes);
        })
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.protocol == Protocol::Http1 && this.activity.is_refusal(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.activity.lock().flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A last word is still to come.
        if this.activity.refused().is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
