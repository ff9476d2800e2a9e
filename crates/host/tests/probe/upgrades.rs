//! Connections that carry bytes both ways.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Connection, Host, handshake, serve};
use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use host::Upgrades;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn plain() -> Host {
    serve(|_| {}).await
}

async fn upgraded(host: &Host, path: &str) -> Connection {
    let mut connection = host.connect().await;
    let head = connection.upgrade(path).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    connection
}

/// Waits until the probe has written how the client's bytes of a key ended.
async fn until_noticed(host: &Host, key: &str, how: &str) {
    while host.get(&format!("get?key={key}")).await.body != how {}
}

#[tokio::test]
async fn an_upgrade_reaches_its_component_as_a_marked_post() {
    let host = plain().await;
    let mut connection = upgraded(&host, "head?channel=a").await;
    let seen = connection.rest().await;
    let mut lines: Vec<_> = seen
        .lines()
        .filter(|line| !line.starts_with("spin-"))
        .collect();
    assert_eq!(lines.remove(0), "probe POST /probe/head?channel=a");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "authorization: Bearer token",
            "origin: http://page.example",
            "sec-websocket-key: key",
            "witter-upgrade: websocket",
            "x-forwarded-for: 127.0.0.1",
        ]
    );
}

#[tokio::test]
async fn what_is_accepted_switches_protocols_with_the_headers_of_the_component() {
    let host = plain().await;
    let mut connection = host.connect().await;
    let head = connection.upgrade("long-head?bytes=3").await;
    let mut lines: Vec<_> = head
        .trim_end()
        .lines()
        .filter(|line| !line.starts_with("date: "))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "HTTP/1.1 101 Switching Protocols",
            "connection: Upgrade",
            "upgrade: websocket",
            "x-long: xxx",
        ]
    );
    // No frame of HTTP's any more.
    assert_eq!(upgraded(&host, "hello").await.rest().await, "hello");
}

#[tokio::test]
async fn bytes_come_back_wherever_they_are_torn() {
    let host = plain().await;
    let sent = handshake("duplex") + "ab\0cd\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    for at in 1..sent.len() {
        let mut connection = host.connect().await;
        connection
            .stream
            .set_nodelay(true)
            .expect("a socket can be told so");
        let (first, second) = sent.as_bytes().split_at(at);
        connection.send(first).await;
        tokio::task::yield_now().await;
        connection.send(second).await;
        connection.until("\r\n\r\n").await;
        connection
            .until("ab\0cd\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            .await;
    }
}

#[tokio::test]
async fn a_client_that_says_no_more_is_still_answered() {
    let host = plain().await;
    let mut connection = upgraded(&host, "duplex").await;
    connection.send(b"last").await;
    connection
        .stream
        .shutdown()
        .await
        .expect("a socket can be shut");
    assert_eq!(connection.rest().await, "lastended");
}

#[tokio::test]
async fn a_client_that_breaks_off_is_told_from_one_that_ends() {
    let host = plain().await;
    for (linger, how) in [(None, "ended"), (Some(Duration::ZERO), "broken")] {
        let mut connection = upgraded(&host, &format!("duplex?key={how}")).await;
        connection.until("open\n").await;
        host.get(&format!("notify?key={how}")).await;
        connection.send(b"word").await;
        connection.until("word").await;
        socket2::SockRef::from(&connection.stream)
            .set_linger(linger)
            .expect("a socket can be told to reset");
        drop(connection);
        until_noticed(&host, how, how).await;
    }
}

#[tokio::test]
async fn a_refusal_is_a_response_like_any_other() {
    let host = plain().await;
    let mut connection = host.connect().await;
    for status in [204, 403, 503] {
        connection
            .send(handshake(&format!("status?number={status}")).as_bytes())
            .await;
        let response = connection.response().await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("upgrade"), None);
    }
    connection.get("hello").await;
    assert_eq!(connection.response().await.body, "hello");
}

#[tokio::test]
async fn whoever_is_told_to_upgrade_is_told_to_what() {
    let host = serve(|options| options.upgrades = Upgrades::Off).await;
    let plain = "GET /probe/duplex HTTP/1.1\r\n\r\n".to_owned();
    for request in [handshake("duplex"), plain] {
        let response = host.ask(&request).await;
        assert_eq!(response.status, 426);
        assert_eq!(response.header("connection"), Some("Upgrade"));
        assert_eq!(response.header("upgrade"), Some("websocket"));
    }
}

#[tokio::test]
async fn nothing_is_read_of_a_client_that_is_not_accepted() {
    let host = serve(|options| options.body_timeout = Duration::from_millis(300)).await;
    // This one reads all of a request before it answers.
    let refused = host.ask(&(handshake("echo") + "bytes")).await;
    assert_eq!(refused.status, 408);
    assert!(refused.body.starts_with(r#"{"error":"timeout""#));
}

#[tokio::test]
async fn an_upgrade_makes_no_guest_that_is_not_counted() {
    let host = serve(|options| options.guests_per_address = 1).await;
    let session = handshake("x").replace("/probe/x", "/witter/session");
    assert_eq!(
        host.ask(&session).await.status,
        404,
        "the probe makes no guests"
    );
    assert_eq!(host.ask(&session).await.status, 429);
}

#[tokio::test]
async fn who_upgraded_elsewhere_streams_both_ways() {
    let host = serve(|options| {
        options.upgrades = Upgrades::Off;
        options.max_body = 1;
    })
    .await;
    let mut connection = host.connect().await;
    connection
        .send(
            b"POST /probe/duplex HTTP/1.1\r\nwitter-upgrade: websocket\r\ntransfer-encoding: chunked\r\n\r\n\
              4\r\nfour\r\n",
        )
        .await;
    let head = connection.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    connection.until("4\r\nfour\r\n").await;
    connection.send(b"3\r\nsix\r\n0\r\n\r\n").await;
    connection.until("3\r\nsix\r\n").await;
    connection.until("5\r\nended\r\n0\r\n\r\n").await;
    connection.get("hello").await;
    assert_eq!(connection.response().await.body, "hello");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_either() {
    /// More than sockets hold.
    const MUCH: usize = 64 << 20;
    let host = plain().await;
    let (mut from, mut to) = upgraded(&host, "duplex").await.stream.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = tokio::spawn({
        let sent = sent.clone();
        async move {
            while sent.load(Ordering::Relaxed) < MUCH {
                to.write_all(&[7; 1 << 16]).await.expect("the host reads");
                sent.fetch_add(1 << 16, Ordering::Relaxed);
            }
            to.shutdown().await.expect("the host reads");
        }
    });
    // Others are served meanwhile, until it is stuck.
    let mut other = upgraded(&host, "duplex").await;
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        for _ in 0..100 {
            assert_eq!(host.get("hello").await.body, "hello");
            other.send(b"ping").await;
            other.until("ping").await;
        }
    }
    assert!(before < MUCH / 2, "{before} bytes are somewhere");

    let (mut read, mut bytes) = (0, vec![0; 1 << 16]);
    loop {
        let length = from.read(&mut bytes).await.expect("the host writes");
        if length == 0 {
            break;
        }
        read += length;
    }
    assert_eq!(read, MUCH + "ended".len());
    sender.await.expect("all was sent");
}

#[tokio::test]
async fn a_trap_is_no_end_in_order() {
    let host = plain().await;
    let mut connection = upgraded(&host, "duplex-then-trap").await;
    connection.until("open\n").await;
    connection.send(b"x").await;
    let error = connection.stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_host_that_stops_lets_components_end_upgraded_connections() {
    let host = serve(|options| options.stop_timeout = Duration::from_secs(60)).await;
    let mut connection = upgraded(&host, "stream?key=a").await;
    connection.until("open\n").await;
    let stopped = tokio::spawn(host.running.shutdown());
    assert_eq!(connection.rest().await, "closing\n");
    drop(connection);
    stopped.await.expect("it stops");
}

#[tokio::test]
async fn an_upgraded_connection_that_does_not_end_is_cut() {
    let host = serve(|options| options.stop_timeout = Duration::from_millis(100)).await;
    let mut connection = upgraded(&host, "duplex").await;
    connection.send(b"word").await;
    connection.until("word").await;
    host.running.shutdown().await;
    let error = connection.stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_upgraded_connection_may_be_silent() {
    const SOON: Duration = Duration::from_millis(300);
    let host = serve(|options| {
        options.head_timeout = SOON;
        options.body_timeout = SOON;
        options.idle_timeout = SOON;
    })
    .await;
    let mut connection = upgraded(&host, "duplex").await;
    let client = Http2::connect(&host).await;
    let mut stream = client.connect_to("duplex").await;
    // Others fall silent and are ended meanwhile.
    host.connect().await.rest().await;
    host.connect().await.rest().await;
    connection.send(b"word").await;
    connection.until("word").await;
    stream.send("word");
    assert_eq!(stream.read(4).await, "word");
}

/// An HTTP/2 connection.
struct Http2(SendRequest<Bytes>);

/// A stream of one that was upgraded.
struct Stream {
    status: StatusCode,
    send: h2::SendStream<Bytes>,
    receive: h2::RecvStream,
}

impl Http2 {
    async fn connect(host: &Host) -> Self {
        let stream = TcpStream::connect(host.running.address())
            .await
            .expect("the host accepts");
        Self::over(stream).await
    }

    async fn over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
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

    async fn connect_to(&self, path: &str) -> Stream {
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
    fn send(&mut self, bytes: &'static str) {
        self.send
            .send_data(Bytes::from_static(bytes.as_bytes()), false)
            .expect("the stream is open");
    }

    /// Reads at least so many bytes, or to the end.
    async fn read(&mut self, least: usize) -> String {
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
        "witter-upgrade: websocket",
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
