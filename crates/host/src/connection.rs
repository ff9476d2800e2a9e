//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderValue, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::answer::Refusal;
use crate::body::{Answer, Broken};
use crate::metrics::Held;
use crate::peers::Slot;
use crate::server::{Reply, Server};
use crate::socket::{Activity, Open, Protocol, Socket, Stream, Waiting};
use crate::streams::{self, Streams};
use crate::upgrade::{Tunnel, WEBSOCKET};

/// How long a peer may leave what was sent unconfirmed, or its window shut, before the connection counts
/// as dead. Shorter cuts those who pass through a tunnel; longer keeps what vanished peers hold.
pub(crate) const UNCONFIRMED: Duration = Duration::from_secs(30);

/// When nothing is sent either way, how soon a peer is asked whether it is there.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// The most streams of one HTTP/2 connection. Browsers open about 100; each is a request that counts only
/// once among the connections of its address.
const STREAMS: u32 = 128;

/// How many bytes a client may send on an HTTP/2 stream before they are read. Less slows down bodies from
/// far away; more is held for each stream that its component does not read.
const WINDOW: u32 = 64 << 10;

/// How long a host that stops waits for the first bytes of a connection that it has taken. Shorter, and requests break
/// off that were on their way; longer, and connections that are opened ahead and never used hold it up.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

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
    let _open = Held::of(&server.metrics, |metrics| &metrics.connections);
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "a connection cannot be tuned");
    }
    let accepted = tokio::select! {
        accepted = timeout(server.limits.head_timeout, accept(&server, stream)) => accepted,
        () = too_late(&mut stage) => return,
    };
    // Who said nothing in time, left, or failed is owed no answer.
    let Ok(Ok(Some((socket, activity)))) = accepted else {
        return;
    };
    match socket.protocol() {
        Protocol::Http1 => {
            let upgraded = http1(&server, socket, peer, &activity, &mut stage).await;
            // All that HTTP takes is given back by now.
            if let Some((tunnel, socket, begun)) = upgraded {
                carry(tunnel, socket, begun, &mut stage).await;
            }
        }
        // In a box of its own: the other, of which there are thousands, would be as large.
        Protocol::Http2 => Box::pin(http2(&server, socket, peer, &activity, &mut stage)).await,
    }
}

/// Ends when nobody waits any more for a connection's first bytes.
async fn too_late(stage: &mut watch::Receiver<Stage>) {
    // The sender is gone with the host.
    if stage
        .wait_for(|stage| *stage > Stage::Serving)
        .await
        .is_ok()
    {
        let cut = stage.wait_for(|stage| *stage == Stage::Cut);
        timeout(ON_ITS_WAY, cut).await.ok();
    }
}

/// Reads as far as it takes to know what is spoken.
async fn accept(server: &Server, stream: TcpStream) -> std::io::Result<Option<(Socket, Activity)>> {
    let stream = match &server.tls {
        None => Stream::Plain(stream),
        // In a box of its own: every connection's task would be as large.
        Some(tls) => Stream::Tls(Box::new(Box::pin(tls.accept(stream)).await?)),
    };
    Socket::accept(stream, server.limits.head).await
}

/// Serves HTTP/1. Where the connection was upgraded, returns what goes on on it, and what was read of that.
async fn http1(
    server: &Arc<Server>,
    socket: Socket,
    peer: SocketAddr,
    activity: &Activity,
    stage: &mut watch::Receiver<Stage>,
) -> Option<(Tunnel, Socket, Bytes)> {
    let upgraded = Mutex::new(None);
    let service = service_fn(async |request| {
        let (response, tunnel) = answer(server, request, peer, activity).await;
        if tunnel.is_some() {
            *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = tunnel;
        }
        Ok::<_, Infallible>(response)
    });
    let mut connection = http1::Builder::new()
        // Ours is in `Waiting::Head`: it answers.
        .header_read_timeout(None)
        .max_buf_size(server.limits.head.max(8192))
        .max_header_size(server.limits.head)
        // One buffer for small frames, which are copied into it, in place of a list.
        .writev(false)
        .serve_connection(socket, service);
    let end = drive(
        &mut connection,
        |connection| connection.graceful_shutdown(),
        &server.limits,
        activity,
        stage,
    )
    .await;
    let (socket, begun) = {
        let parts = connection.into_parts();
        (parts.io, parts.read_buf)
    };
    match end {
        End::InOrder => {
            let tunnel = upgraded
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)?;
            Some((tunnel, socket, begun))
        }
        End::Refused(refusal) => {
            server.metrics.refused(refusal);
            socket.refuse(refusal).await;
            None
        }
        End::Broken => None,
    }
}

/// Carries an upgraded connection's bytes to its end.
async fn carry(tunnel: Tunnel, socket: Socket, begun: Bytes, stage: &mut watch::Receiver<Stage>) {
    let (mut stream, rest) = socket.into_inner();
    let begun = if rest.is_empty() {
        begun
    } else {
        [begun, rest].concat().into()
    };
    let carried = tokio::select! {
        carried = tunnel.carry(&mut stream, begun) => carried.is_ok(),
        _ = stage.wait_for(|stage| *stage == Stage::Cut) => false,
    };
    if !carried {
        // A reset. Nothing else tells this from an end in order: the bytes have no framing that is the host's.
        SockRef::from(stream.tcp())
            .set_linger(Some(Duration::ZERO))
            .ok();
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
    let service = service_fn(move |mut request| {
        let (server, activity) = (service_server.clone(), service_activity.clone());
        async move {
            let upgraded = hyper::upgrade::on(&mut request);
            let (response, tunnel) = answer(&server, request, peer, &activity).await;
            if let Some(tunnel) = tunnel {
                streams::go_on(async move {
                    if let Ok(upgraded) = upgraded.await {
                        let mut stream = TokioIo::new(upgraded);
                        // Dropped where that fails, which resets it.
                        tunnel.carry(&mut stream, Bytes::new()).await.ok();
                    }
                });
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http2::Builder::new(Streams);
    if server.upgrades {
        builder.enable_connect_protocol();
    }
    let mut connection = builder
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(UNCONFIRMED)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
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

/// How a connection ended.
enum End {
    /// As HTTP has it.
    InOrder,
    /// Its last word is still to be said.
    Refused(Refusal),
    /// Without a word: one side failed, or nobody waits any more.
    Broken,
}

/// Polls a connection to its end.
async fn drive<C>(
    connection: &mut C,
    close: impl Fn(Pin<&mut C>),
    limits: &crate::server::Limits,
    activity: &Activity,
    stage: &mut watch::Receiver<Stage>,
) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut closing = *stage.borrow() > Stage::Serving;
    if closing {
        // A host that stops answers what was on its way, and no more. Told to close before it has read that, hyper
        // would answer nothing.
        let begun = poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll(cx)));
        if let Poll::Ready(result) = begun.await {
            return ended(result, activity);
        }
        close(Pin::new(connection));
    }
    let mut look = Box::pin(sleep_until(Instant::now() + limits.head_timeout));
    loop {
        tokio::select! {
            result = &mut *connection => return ended(result, activity),
            () = &mut look => {
                let now = Instant::now();
                let next = match activity.waiting() {
                    Waiting::Head(since) if now >= since + limits.head_timeout => return End::Refused(Refusal::Timeout),
                    Waiting::Request(since) if now >= since + limits.idle_timeout => {
                        // It was told before, and does not end.
                        if std::mem::replace(&mut closing, true) {
                            return End::Broken;
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
                    return End::Broken;
                }
                if !std::mem::replace(&mut closing, true) {
                    close(Pin::new(connection));
                }
            }
        }
    }
}

fn ended(result: hyper::Result<()>, activity: &Activity) -> End {
    if let Some(refusal) = activity.refused() {
        return End::Refused(refusal);
    }
    let Err(error) = result else {
        return End::InOrder;
    };
    tracing::debug!("a connection ended: {:#}", anyhow::Error::from(error));
    End::Broken
}

/// The response to a request, and what goes on when its head is out, where that is an upgrade.
async fn answer(
    server: &Arc<Server>,
    request: http::Request<Incoming>,
    peer: SocketAddr,
    activity: &Activity,
) -> (http::Response<Counted>, Option<Tunnel>) {
    let open = activity.open();
    let is_http_1_1 = request.version() == Version::HTTP_11;
    // A request's path through the host is long, and the future of it large: it is kept only until the
    // head of the response is there, while what the connection itself holds stays for as long as it is.
    let Reply {
        mut response,
        handover,
        ..
    } = Box::pin(server.answer(request, peer)).await;
    let upgrades = handover.is_some();
    if is_http_1_1 && (upgrades || response.status() == StatusCode::UPGRADE_REQUIRED) {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
    }
    if is_http_1_1 && upgrades {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    let (mut head, answer) = response.into_parts();
    let (body, tunnel) = match handover {
        None => (answer, None),
        Some(handover) => {
            head.headers.remove(CONTENT_LENGTH);
            server.metrics.upgrades.increment();
            let tunnel = Tunnel {
                handover,
                answer,
                _upgraded: Held::of(&server.metrics, |metrics| &metrics.upgraded),
                _open: activity.open(),
            };
            (Answer::Own(None), Some(tunnel))
        }
    };
    let body = Counted { body, _open: open };
    (http::Response::from_parts(head, body), tunnel)
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
