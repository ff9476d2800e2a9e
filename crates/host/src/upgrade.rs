//! Connections that carry bytes both ways.
//!
//! wasi:http knows no upgrade. So a connection that a client asks to upgrade reaches its component as a
//! streaming request: a POST to the same path and query with the client's own headers, marked by
//! [`MARK`], whose body is the client's bytes as they come. A response with status 200 accepts, and its
//! body is the bytes back; with any other it refuses, as an ordinary response. Whoever else has upgraded a
//! connection, a gateway, may send the same request: the mark grants nothing.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt as _;
use futures::channel::mpsc;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, request, response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Limited};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::answer::Refusal;
use crate::body::Answer;
use crate::metrics::Held;
use crate::request::empty;
use crate::socket::Open;

/// Marks a request whose body and response are the two directions of an upgraded connection, by the name
/// of what it was upgraded to.
pub(crate) const MARK: HeaderName = HeaderName::from_static("witter-upgrade");

/// The one protocol that connections are upgraded to.
pub(crate) const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The mark where the client came by extended CONNECT, which has no key to prove that it meant a WebSocket
/// (RFC 8441, section 5).
const CONNECTED: HeaderValue = HeaderValue::from_static("websocket; extended-connect");

/// The most that is read of a client at once, and so held of what it sends. Smaller costs more turns for
/// long messages; larger, more of the stack.
const CHUNK: usize = 4096;

/// How long a client may go on sending after the component's last byte. Closing with bytes unread resets
/// the connection, and takes the last bytes away from who has not read them yet.
const LINGER: Duration = Duration::from_secs(30);

/// The most bytes that a gateway holds of a refusal.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// How a request asks for bytes both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// On the connection that it came on, or the HTTP/2 stream.
    Here,
    /// In its own body and its response's: a connection was upgraded elsewhere.
    Elsewhere,
}

/// How a request asks, if it does. `upgrades`: whether this host upgrades its own connections.
///
/// A request that asks for an upgrade in another way than RFC 6455, section 4.1, wants it, with a body or
/// by another method, is an ordinary one.
///
/// # Errors
/// Extended CONNECT for another protocol (RFC 9220, section 3).
pub(crate) fn asked(
    head: &request::Parts,
    has_body: bool,
    upgrades: bool,
) -> Result<Option<Asked>, Refusal> {
    let is_mark = |mark: &HeaderValue| *mark == WEBSOCKET || *mark == CONNECTED;
    if head.method == Method::POST && head.headers.get(MARK).is_some_and(is_mark) {
        return Ok(Some(Asked::Elsewhere));
    }
    if !upgrades {
        return Ok(None);
    }
    if let Some(protocol) = head.extensions.get::<hyper::ext::Protocol>() {
        return if protocol.as_ref() == WEBSOCKET.as_bytes() {
            Ok(Some(Asked::Here))
        } else {
            Err(Refusal::UnknownProtocol)
        };
    }
    let upgrade = head.version == Version::HTTP_11
        && head.method == Method::GET
        && !has_body
        && lists(&head.headers, CONNECTION, "upgrade")
        && lists(&head.headers, UPGRADE, "websocket");
    Ok(upgrade.then_some(Asked::Here))
}

/// Whether a header that is a list has the item.
fn lists(headers: &HeaderMap, name: HeaderName, item: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(item))
}

/// Makes the request what a component sees of an upgrade.
pub(crate) fn mark(head: &mut request::Parts) {
    let mark = match head.method {
        Method::CONNECT => CONNECTED,
        _ => WEBSOCKET,
    };
    head.method = Method::POST;
    head.headers.insert(MARK, mark);
    head.headers.remove(CONTENT_LENGTH);
}

/// Hands the client's bytes over once the component has accepted; dropped, there are none.
pub(crate) type Handover = oneshot::Sender<WasiBody>;

/// A body that has nothing before it is handed over: what reads a body before it answers must not hold
/// what an endless one sends.
pub(crate) fn awaited() -> (Handover, WasiBody) {
    let (handover, body) = oneshot::channel();
    (handover, Awaited::Handover(body).boxed_unsync())
}

/// Passes on who has refused. Of an application elsewhere the refusal is read while the request is open: it may have closed
/// the connection behind its answer already, and what came then would reset it, and take the answer away. Of one that breaks
/// off, or is too long or too late, comes the status alone.
pub(crate) async fn refused(
    response: Response<Answer>,
    request: Handover,
    patience: Duration,
) -> Response<Answer> {
    let (mut head, answer) = response.into_parts();
    let Answer::Upstream(_) = answer else {
        return Response::from_parts(head, answer);
    };
    let body = Limited::new(answer, LONGEST_REFUSAL).collect();
    let body = match timeout(patience, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => without(&mut head, error.as_ref()),
        Err(late) => without(&mut head, &late),
    };
    drop(request);
    // Where it came beside chunks it need not be the body's (RFC 9112, section 6.3).
    head.headers.remove(CONTENT_LENGTH);
    let body = (!body.is_empty()).then_some(body);
    Response::from_parts(head, Answer::Own(body))
}

fn without(head: &mut response::Parts, error: &dyn StdError) -> Bytes {
    tracing::warn!(status = %head.status, "the body of a refused upgrade is lost: {error}");
    for header in [CONTENT_TYPE, CONTENT_ENCODING] {
        head.headers.remove(header);
    }
    Bytes::new()
}

enum Awaited {
    Handover(oneshot::Receiver<WasiBody>),
    Body(WasiBody),
}

impl Body for Awaited {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match &mut *self {
                Self::Body(body) => return Pin::new(body).poll_frame(cx),
                Self::Handover(body) => {
                    let body = ready!(Pin::new(body).poll(cx));
                    // An end in order where there are none: an error would break off the response too.
                    *self = Self::Body(body.unwrap_or_else(|_| empty()));
                }
            }
        }
    }
}

/// An upgrade that the component has accepted.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) handover: Handover,
    /// The bytes for the client.
    pub(crate) answer: Answer,
    /// Counts as one that was upgraded.
    pub(crate) _upgraded: Held,
    /// Until it is dropped, the connection is not idle.
    pub(crate) _open: Open,
}

impl Tunnel {
    /// Carries bytes both ways until the component's have ended, and waits for the client to close. `begun`
    /// was read of the client already.
    ///
    /// A client that says that it sends no more is still answered.
    ///
    /// # Errors
    /// Where either side broke off. The stream was not closed: it is to be cut, so that the other side sees
    /// no end in order.
    pub(crate) async fn carry<S>(self, stream: &mut S, begun: Bytes) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (sender, chunks) = mpsc::channel(0);
        // Where the component reads nothing, what comes is discarded.
        self.handover
            .send(Received(Some(chunks)).boxed_unsync())
            .ok();
        let mut carrying = Carrying {
            stream,
            begun,
            chunks: Some(sender),
            reading: true,
            answer: self.answer,
            frame: Bytes::new(),
            answering: true,
        };
        poll_fn(|cx| carrying.poll(cx)).await?;
        carrying.chunks = None;
        let closed = poll_fn(|cx| carrying.poll_read(cx));
        // All that was to be sent was: what breaks off now is no loss.
        timeout(LINGER, closed).await.ok();
        Ok(())
    }
}

/// The client's bytes, chunk by chunk; no chunk is their end, and the channel's without it that they broke
/// off.
struct Received(Option<mpsc::Receiver<Option<Bytes>>>);

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(chunks) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let chunk = ready!(chunks.poll_next_unpin(cx));
        if let Some(Some(chunk)) = chunk {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        self.0 = None;
        Poll::Ready(match chunk {
            None => Some(Err(Error::ConnectionTerminated)),
            Some(_) => None,
        })
    }
}

struct Carrying<'a, S> {
    stream: &'a mut S,
    begun: Bytes,
    /// Takes one chunk, and the next when that was read. None: what comes is discarded.
    chunks: Option<mpsc::Sender<Option<Bytes>>>,
    /// The client's bytes have not ended.
    reading: bool,
    answer: Answer,
    /// What is still to be written.
    frame: Bytes,
    /// The component's bytes have not ended.
    answering: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrying<'_, S> {
    /// Ready when the component's bytes have ended and the client was told.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_read(cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_answer(cx)
    }

    /// Ready when the client's bytes have ended.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.reading {
            if let Some(chunks) = &mut self.chunks
                && ready!(chunks.poll_ready(cx)).is_err()
            {
                self.chunks = None;
            }
            let chunk = ready!(self.poll_chunk(cx))?;
            self.reading = chunk.is_some();
            if let Some(chunks) = &mut self.chunks {
                // Who stopped to read since does not miss it.
                chunks.start_send(chunk).ok();
            }
        }
        self.chunks = None;
        Poll::Ready(Ok(()))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        // Copied: they stand in buffers that would be kept for as long as a chunk is.
        if !self.begun.is_empty() {
            let chunk = Bytes::copy_from_slice(&self.begun[..self.begun.len().min(CHUNK)]);
            self.begun.advance(chunk.len());
            if self.begun.is_empty() {
                self.begun = Bytes::new();
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        let mut bytes = [MaybeUninit::uninit(); CHUNK];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        Poll::Ready(Ok((!read.is_empty()).then(|| Bytes::copy_from_slice(read))))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.answering {
            if self.frame.is_empty() {
                match Pin::new(&mut self.answer).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => {
                        self.frame = frame
                            .map_err(io::Error::other)?
                            .into_data()
                            .unwrap_or_default();
                    }
                    Poll::Ready(None) => self.answering = false,
                    Poll::Pending => {
                        ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
                        return Poll::Pending;
                    }
                }
            } else {
                let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, &self.frame))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.frame.advance(written);
                if self.frame.is_empty() {
                    // Gives the memory back.
                    self.frame = Bytes::new();
                }
            }
        }
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_asked_for_as_its_standards_say() {
        const WANTED: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let lists: [(&str, &str); 2] = [
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "h2c , WebSocket"),
        ];
        for (method, version, headers, has_body, expected) in [
            (
                "GET",
                Version::HTTP_11,
                &WANTED[..],
                false,
                Some(Asked::Here),
            ),
            (
                "GET",
                Version::HTTP_11,
                &lists[..],
                false,
                Some(Asked::Here),
            ),
            ("GET", Version::HTTP_11, &WANTED[..], true, None),
            ("GET", Version::HTTP_11, &WANTED[..1], false, None),
            ("GET", Version::HTTP_11, &WANTED[1..], false, None),
            ("POST", Version::HTTP_11, &WANTED[..], false, None),
            ("GET", Version::HTTP_10, &WANTED[..], false, None),
            ("GET", Version::HTTP_2, &WANTED[..], false, None),
            (
                "POST",
                Version::HTTP_11,
                &[("witter-upgrade", "websocket")],
                true,
                Some(Asked::Elsewhere),
            ),
            (
                "POST",
                Version::HTTP_11,
                &[("witter-upgrade", "websocket; extended-connect")],
                false,
                Some(Asked::Elsewhere),
            ),
            (
                "GET",
                Version::HTTP_11,
                &[("witter-upgrade", "websocket")],
                false,
                None,
            ),
            (
                "POST",
                Version::HTTP_11,
                &[("witter-upgrade", "h2c")],
                true,
                None,
            ),
        ] {
            let mut request = http::Request::builder().method(method).version(version);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(asked(&head, has_body, true), Ok(expected), "{head:?}");
            let off = expected.filter(|asked| *asked == Asked::Elsewhere);
            assert_eq!(asked(&head, has_body, false), Ok(off), "{head:?}");
        }
    }

    #[test]
    fn an_extended_connect_is_one_for_a_websocket() {
        for (protocol, expected) in [
            ("websocket", Ok(Some(Asked::Here))),
            ("connect-udp", Err(Refusal::UnknownProtocol)),
        ] {
            let request = http::Request::connect("/chat")
                .version(Version::HTTP_2)
                .extension(hyper::ext::Protocol::from_static(protocol))
                .body(())
                .expect("a request");
            assert_eq!(asked(&request.into_parts().0, false, true), expected);
        }
    }
}
