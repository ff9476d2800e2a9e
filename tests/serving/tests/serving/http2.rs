//! Streams of HTTP/2 that carry bytes both ways.

use crate::support::{Host, serve};
use crate::upgrades::until_noticed;
use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use host::Upgrades;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

async fn plain() -> Host {
    serve(|_| {}).await
}

/// An HTTP/2 connection.
pub(crate) struct Http2(SendRequest<Bytes>);

/// A stream of one that was upgraded.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    send: h2::SendStream<Bytes>,
    receive: h2::RecvStream,
}

impl Http2 {
    pub(crate) async fn connect(host: &Host) -> Self {
        Self::over(host.connect().await.stream).await
    }

    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (client, mut connection) = h2::client::handshake(stream)
            .await
            .expect("the host speaks HTTP/2");
        let mut ping = connection.ping_pong().expect("nobody else pings");
        tokio::spawn(connection);
        // Its settings have come by then.
        ping.ping(h2::Ping::opaque()).await.expect("it answers");
        Self(client)
    }

    async fn ask(&self, request: Request<()>, ends: bool) -> Stream {
        let mut client = self.0.clone().ready().await.expect("it takes a request");
        let (response, send) = client
            .send_request(request, ends)
            .expect("the request may be sent");
        let (head, receive) = response.await.expect("the host answers").into_parts();
        Stream {
            status: head.status,
            send,
            receive,
        }
    }

    pub(crate) async fn connect_to(&self, path: &str) -> Stream {
        self.connect_by("websocket", path).await
    }

    async fn connect_by(&self, protocol: &str, path: &str) -> Stream {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://probe/probe/{path}"))
            .extension(h2::ext::Protocol::from(protocol))
            .header("origin", "http://page.example")
            .body(())
            .expect("a request");
        self.ask(request, false).await
    }
}

impl Stream {
    pub(crate) fn send(&mut self, bytes: &'static str) {
        self.send
            .send_data(Bytes::from_static(bytes.as_bytes()), false)
            .expect("the stream is open");
    }

    /// Reads at least so many bytes, or to the end.
    pub(crate) async fn read(&mut self, least: usize) -> String {
        let mut read = Vec::new();
        while read.len() < least
            && let Some(data) = self.receive.data().await
        {
            let data = data.expect("the stream goes on");
            let flow = self.receive.flow_control();
            flow.release_capacity(data.len()).expect("it was received");
            read.extend_from_slice(&data);
        }
        String::from_utf8(read).expect("the probe writes text")
    }
}

#[tokio::test]
async fn a_stream_of_http_2_is_upgraded_by_extended_connect() {
    let host = plain().await;
    let client = Http2::connect(&host).await;
    assert!(client.0.is_extended_connect_protocol_enabled());
    let mut head = client.connect_to("head?channel=a").await;
    assert_eq!(head.status, StatusCode::OK);
    let head = head.read(usize::MAX).await;
    for line in [
        "probe POST /probe/head?channel=a",
        "origin: http://page.example",
        "witter-upgrade: websocket; extended-connect",
    ] {
        assert!(head.lines().any(|seen| seen == line), "{head}");
    }

    let (mut one, mut other) =
        tokio::join!(client.connect_to("duplex"), client.connect_to("duplex"));
    for round in ["first", "again"] {
        one.send(round);
        assert_eq!(one.read(5).await, round);
        other.send("other");
        assert_eq!(other.read(5).await, "other");
    }
    one.send.send_data(Bytes::new(), true).expect("it is open");
    assert_eq!(one.read(usize::MAX).await, "ended");
    other.send("still");
    assert_eq!(other.read(5).await, "still");
}

#[tokio::test]
async fn a_stream_of_http_2_is_refused_like_any_request() {
    let host = plain().await;
    let client = Http2::connect(&host).await;
    let mut refused = client.connect_to("status?number=403").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.read(usize::MAX).await, "as you like");
    let unknown = client.connect_by("connect-udp", "duplex").await;
    assert_eq!(unknown.status, StatusCode::NOT_IMPLEMENTED);
    let nowhere = client.connect_to("../nowhere").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stream_of_http_2_breaks_off_where_its_component_does() {
    let host = plain().await;
    let client = Http2::connect(&host).await;
    let mut cut = client.connect_to("duplex-then-trap").await;
    assert_eq!(cut.read(5).await, "open\n");
    cut.send("x");
    let error = cut
        .receive
        .data()
        .await
        .expect("no end")
        .expect_err("it is cut");
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    // The connection goes on.
    let mut next = client.connect_to("hello").await;
    assert_eq!(next.read(usize::MAX).await, "hello");
}

#[tokio::test]
async fn a_stream_of_http_2_that_its_client_resets_ends_for_the_component() {
    let host = plain().await;
    let client = Http2::connect(&host).await;
    let mut stream = client.connect_to("stream?key=reset").await;
    assert_eq!(stream.read(5).await, "open\n");
    stream.send.send_reset(Reason::CANCEL);
    until_noticed(&host, "reset", "left").await;
}

#[tokio::test]
async fn a_host_that_does_not_upgrade_does_not_offer_it() {
    let host = serve(|options| options.upgrades = Upgrades::Off).await;
    let client = Http2::connect(&host).await;
    assert!(!client.0.is_extended_connect_protocol_enabled());
}
