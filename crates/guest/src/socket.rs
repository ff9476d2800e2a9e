//! A WebSocket whose bytes come as a request's body and go back as its response's: whoever holds the
//! connection, this project's host or a gateway, marks the request and does the rest of the upgrade.

use crate::http::{Method, Request, Response};
use crate::said::{AT_ONCE, Said};
use crate::undisturbed::Undisturbed;
use futures::future::{self, Either};
use futures::stream::{self, LocalBoxStream, Stream as _, StreamExt as _};
use protocol::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use wasip3::clocks::monotonic_clock;
use wit_bindgen::StreamWriter;
use ws::handshake::{self, Accepted, Bootstrap, Refused};
use ws::{CloseCode, Connection, Event, Limits};

/// Marks a request that carries an upgraded connection; grants nothing.
const MARK: &str = "witter-upgrade";

/// How long the other side has to answer a close, in nanoseconds. Longer keeps what vanished clients hold.
const CLOSING: u64 = 2_000_000_000;

/// How long nothing has come of a client that failed when all that it had under way has, in nanoseconds. Longer keeps a
/// page from hearing that it is closed.
const QUIET: u64 = 200_000_000;

/// A handshake that can be answered.
pub struct Handshake {
    headers: Vec<(&'static str, String)>,
    connection: Connection,
}

/// The server's end of a WebSocket.
pub struct Socket {
    connection: Connection,
    inbound: Undisturbed<LocalBoxStream<'static, Vec<u8>>>,
    /// What came last, and how much of it was taken.
    input: Vec<u8>,
    taken: usize,
    heard: bool,
    failed: bool,
    body: StreamWriter<u8>,
}

impl Handshake {
    /// Reads what the client asks for.
    ///
    /// # Errors
    /// The response that refuses it: 426 where nobody upgraded the connection or the version is not 13, 405
    /// for another method than `GET`, 400 for what is not in the grammar of RFC 6455, section 4.
    pub fn read(request: &Request, protocols: &[&str], limits: Limits) -> Result<Self, Response> {
        const ALLOW: &str = "GET, OPTIONS";
        let (bootstrap, method) = match (request.header(MARK).as_deref(), request.method()) {
            (Some("websocket"), _) => (Bootstrap::Upgrade, "GET"),
            (Some("websocket; extended-connect"), _) => (Bootstrap::Connect, "CONNECT"),
            (_, Method::Get) => return Err(Error::UpgradeRequired.into()),
            (_, Method::Options) => return Err(Response::preflight(ALLOW)),
            _ => return Err(Error::MethodNotAllowed { allow: ALLOW }.into()),
        };
        let Accepted {
            headers, deflate, ..
        } = handshake::accept(bootstrap, method, |name| request.headers(name), protocols).map_err(
            |refused| match refused {
                Refused::Version => Response::from(Error::UpgradeRequired),
                other => Error::Invalid(other.to_string()).into(),
            },
        )?;
        Ok(Self {
            headers,
            connection: Connection::new(limits, deflate),
        })
    }

    /// Lets the client in.
    #[must_use]
    pub fn accept(self, request: Request) -> (Response, Socket) {
        let Self {
            headers,
            connection,
        } = self;
        let (response, body) = Response::bytes();
        let response = headers
            .into_iter()
            .fold(response, |response, (name, value)| {
                response.with(name, value)
            });
        let socket = Socket {
            connection,
            inbound: Undisturbed::new(Box::pin(
                stream::unfold(request.bytes(), async |mut bytes| {
                    Some((bytes.read().await?, bytes))
                })
                // Whoever closes what has ended asks again.
                .fuse(),
            )),
            input: Vec::new(),
            taken: 0,
            heard: false,
            failed: false,
            body,
        };
        (response, socket)
    }
}

impl Socket {
    /// What is sent, to be flushed.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What comes next; none: the connection is over, in order or not. Flush after each event.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if self.connection.is_closed() {
                return Poll::Ready(None);
            }
            let mut rest = &self.input[self.taken..];
            let event = self.connection.handle(&mut rest);
            self.taken = self.input.len() - rest.len();
            if event.is_some() {
                self.failed |= matches!(event, Some(Event::Failed(_)));
                return Poll::Ready(event);
            }
            // An idle connection keeps none of it.
            self.input = Vec::new();
            self.taken = 0;
            match ready!(Pin::new(&mut self.inbound).poll_next(cx)) {
                Some(bytes) => {
                    self.heard = true;
                    self.input = bytes;
                }
                None => return Poll::Ready(None),
            }
        }
    }

    /// As [`Self::poll_receive`].
    pub async fn receive(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Whether anything came since this was asked last, a part of a message too: inside a frame a client cannot
    /// answer a ping.
    pub fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Writes all that is to be sent; false: nobody reads it any more. A client that does not read is waited
    /// for: nothing is made for it meanwhile.
    pub async fn flush(&mut self) -> bool {
        let output = self.connection.take_output();
        output.is_empty() || self.body.write_all(output).await.is_empty()
    }

    /// Says why, takes nothing more, and closes.
    pub async fn fail(mut self, code: CloseCode, reason: &str) {
        self.failed = true;
        self.connection.fail(code, reason);
        self.close(code, reason).await;
    }

    /// Says goodbye, waits until the client has said it too, and closes. Does nothing more where it was said.
    pub async fn close(mut self, code: CloseCode, reason: &str) {
        self.connection.close(code, reason);
        let (mut said, mut unfolded) = (Said::nothing(), 0);
        let parting = async {
            while self.flush().await && self.part(&mut said).await.is_some() {
                unfolded += self.connection.take_unfolded() as u64;
                if unfolded > AT_ONCE {
                    break;
                }
            }
            if self.failed {
                self.hear_out().await;
            }
        };
        let patience = monotonic_clock::wait_for(CLOSING);
        match future::select(pin!(parting), pin!(patience)).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    /// Throws away what a client that failed has under way. A host that closes a connection on which bytes are unread
    /// resets it (RFC 9112, section 9.6), and the client might not hear why it was closed.
    async fn hear_out(&mut self) {
        let quiet = || monotonic_clock::wait_for(QUIET);
        while let Either::Left((Some(_), _)) =
            future::select(self.inbound.next(), pin!(quiet())).await
        {}
    }

    /// As [`Self::receive`], of a client that is not listened to any more: what it says takes room all the same.
    async fn part(&mut self, said: &mut Said) -> Option<Event> {
        poll_fn(|cx| {
            let received = self.poll_receive(cx);
            let unfinished = self.connection.unfinished().unwrap_or_default();
            if said.hold(unfinished) && !said.poll_cut(cx.waker()) {
                received
            } else {
                Poll::Ready(None)
            }
        })
        .await
    }
}
