//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::answer::Refusal;
use crate::body::{Answer, Broken};
use crate::peers::Slot;
use crate::server::Server;
use crate::socket::{Activity, Open, Protocol, Socket, Waiting};

/// How long a peer may leave what was sent unconfirmed, or its window shut, before the connection counts
/// as dead. Shorter cuts those who pass through a tunnel; longer keeps what vanished peers hold.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// When nothing is sent either way, how soon a peer is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(30);

/// The most streams of one HTTP/2 connection. Browsers open about 100; each is a request that counts only
/// once among the connections of its address.
const STREAMS: u32 = 128;

/// How far the host is in stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It serves.
    Serving,
    /// What is open may end; nothing new begins.
    Closing,
    /// Everything ends now.
    Cut,
}

/// A response's body, which tells the connection when all of it was taken.
#[derive(Debug)]
struct Counted {
    body: Answer,
    _open: Open,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    mut stage: watch::Receiver<Stage>,
) {
    let _slot = slot;
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "a connection cannot be tuned");
    }
    let accepted = tokio::select! {
        accepted = timeout(server.limits.head_timeout, Socket::accept(stream, server.limits.head)) => accepted,
        _ = stage.wait_for(|stage| *stage > Stage::Serving) => return,
    };
    // Who said nothing in time, left, or failed is owed no answer.
    let Ok(Ok(Some((socket, activity)))) = accepted else {
        return;
    };
    match socket.protocol() {
        Protocol::Http1 => http1(&server, socket, peer, &activity, &mut stage).await,
        // In a box of its own: the other, of which there are thousands, would be as large.
        Protocol::Http2 => Box::pin(http2(&server, socket, peer, &activity, &mut stage)).await,
    }
}

async fn http1(
    server: &Arc<Server>,
    socket: Socket,
    peer: SocketAddr,
    activity: &Activity,
    stage: &mut watch::Receiver<Stage>,
) {
    let service = service_fn(|request| answer(server, request, peer, activity));
    let mut connection = http1::Builder::new()
        // Ours is in `Waiting::Head`: it answers.
        .header_read_timeout(None)
        .max_buf_size(server.limits.head.max(8192))
        .max_header_size(server.limits.head)
        // One buffer for small frames, which are copied into it, in place of a list.
        .writev(false)
        .serve_connection(socket, service);
    let refusal = drive(
        &mut connection,
        |connection| connection.graceful_shutdown(),
        &server.limits,
        activity,
        stage,
    )
    .await;
    if let Some(refusal) = refusal {
        connection.into_parts().io.refuse(refusal).await;
    }
}

async fn http2(
    server: &Arc<Server>,
    socket: Socket,
    peer: SocketAddr,
    activity: &Activity,
    stage: &mut watch::Receiver<Stage>,
) {
    let (service_server, service_activity) = (server.clone(), activity.clone());
    let service = service_fn(move |request| {
        let (server, activity) = (service_server.clone(), service_activity.clone());
        async move { answer(&server, request, peer, &activity).await }
    });
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(UNCONFIRMED)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(server.limits.head)
        .max_header_list_size(u32::try_from(server.limits.head).unwrap_or(u32::MAX))
        .serve_connection(socket, service);
    // HTTP/2 refuses in frames of its own.
    drive(
        &mut connection,
        |connection| connection.graceful_shutdown(),
        &server.limits,
        activity,
        stage,
    )
    .await;
}

/// Polls a connection to its end. Returns the last word that is still to be said on it.
async fn drive<C>(
    connection: &mut C,
    close: impl Fn(Pin<&mut C>),
    limits: &crate::server::Limits,
    activity: &Activity,
    stage: &mut watch::Receiver<Stage>,
) -> Option<Refusal>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut closing = false;
    let mut look = Box::pin(sleep_until(Instant::now() + limits.head_timeout));
    loop {
        tokio::select! {
            ended = &mut *connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return activity.refused();
            }
            () = &mut look => {
                let now = Instant::now();
                let next = match activity.waiting() {
                    Waiting::Head(since) if now >= since + limits.head_timeout => return Some(Refusal::Timeout),
                    Waiting::Request(since) if now >= since + limits.idle_timeout => {
                        // It was told before, and does not end.
                        if std::mem::replace(&mut closing, true) {
                            return None;
                        }
                        close(Pin::new(connection));
                        now + limits.head_timeout
                    }
                    Waiting::Head(since) => since + limits.head_timeout,
                    Waiting::Request(since) => (since + limits.idle_timeout).min(now + limits.head_timeout),
                    Waiting::Answer => now + limits.head_timeout,
                };
                look.as_mut().reset(next);
            }
            changed = stage.changed() => {
                // The sender is gone with the host.
                if changed.is_err() || *stage.borrow() == Stage::Cut {
                    return None;
                }
                if !std::mem::replace(&mut closing, true) {
                    close(Pin::new(connection));
                }
            }
        }
    }
}

async fn answer(
    server: &Arc<Server>,
    request: http::Request<Incoming>,
    peer: SocketAddr,
    activity: &Activity,
) -> Result<http::Response<Counted>, Infallible> {
    let open = activity.open();
    // A request's path through the host is long, and the future of it large: it is kept only until the
    // head of the response is there, while what the connection itself holds stays for as long as it is.
    let response = Box::pin(server.answer(request, peer)).await;
    Ok(response.map(|body| Counted { body, _open: open }))
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    // Small frames must not wait for the confirmation of those before.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(SILENCE)
            .with_interval(SILENCE / 3),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
    Ok(())
}
