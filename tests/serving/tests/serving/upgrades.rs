//! Connections that carry bytes both ways.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::http2::Http2;
use crate::support::{Connection, Host, ask, connect, handshake, serve};
use host::Upgrades;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn plain() -> Host {
    serve(|_| {}).await
}

async fn upgraded(host: &Host, path: &str) -> Connection {
    upgraded_at(host.running.address(), path).await
}

pub(crate) async fn upgraded_at(address: SocketAddr, path: &str) -> Connection {
    let mut connection = connect(address).await;
    let head = connection.upgrade(path).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    connection
}

/// Waits until the probe has written how the client's bytes of a key ended.
pub(crate) async fn until_noticed(host: &Host, key: &str, how: &str) {
    while host.get(&format!("get?key={key}")).await.body != how {}
}

/// Checks that what was asked for by a handshake for `head?channel=a` reached the probe as a `POST` that says so.
pub(crate) async fn check_marked(connection: &mut Connection) {
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
async fn an_upgrade_reaches_its_component_as_a_marked_post() {
    let host = plain().await;
    let mut connection = upgraded(&host, "head?channel=a").await;
    check_marked(&mut connection).await;
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
    for (breaks, how) in [(false, "ended"), (true, "broken")] {
        let mut connection = upgraded(&host, &format!("duplex?key={how}")).await;
        connection.until("open\n").await;
        host.get(&format!("notify?key={how}")).await;
        connection.send(b"word").await;
        connection.until("word").await;
        if breaks {
            connection.reset();
        } else {
            drop(connection);
        }
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
    let host = serve(|options| options.connections.body_timeout = Duration::from_millis(300)).await;
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
        options.connections.max_body = 1;
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
    let host = plain().await;
    check_pressure(host.running.address()).await;
}

/// What a client sends that does not read what comes back stays with the client, and nobody else is held up.
pub(crate) async fn check_pressure(address: SocketAddr) {
    /// More than sockets hold.
    const MUCH: usize = 64 << 20;
    let (mut from, mut to) = upgraded_at(address, "duplex").await.stream.into_split();
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
    let mut other = upgraded_at(address, "duplex").await;
    let hello = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        for _ in 0..100 {
            assert_eq!(ask(address, hello).await.body, "hello");
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
    let host = serve(|options| options.connections.stop_timeout = Duration::from_secs(60)).await;
    let mut connection = upgraded(&host, "stream?key=a").await;
    connection.until("open\n").await;
    let stopped = tokio::spawn(host.running.shutdown());
    assert_eq!(connection.rest().await, "closing\n");
    drop(connection);
    stopped.await.expect("it stops");
}

#[tokio::test]
async fn an_upgraded_connection_that_does_not_end_is_cut() {
    let host = serve(|options| options.connections.stop_timeout = Duration::from_millis(100)).await;
    let mut connection = upgraded(&host, "duplex").await;
    connection.send(b"word").await;
    connection.until("word").await;
    host.running.shutdown().await;
    let error = connection.stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_upgraded_connection_may_be_silent() {
    const SOON: Duration = Duration::from_secs(2);
    let host = serve(|options| {
        options.connections.head_timeout = SOON;
        options.connections.body_timeout = SOON;
        options.connections.idle_timeout = SOON;
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
