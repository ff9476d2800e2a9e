//! What a request may be, and how long it may take.

use std::time::Duration;

use crate::support::{Response, serve};

/// No time in which a test's own request could not arrive, and soon over.
const SOON: Duration = Duration::from_millis(300);

#[track_caller]
fn check(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(
        response
            .body
            .starts_with(&format!("{{\"error\":\"{code}\"")),
        "{response:?}"
    );
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(response.whole);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let host = serve(|options| options.connections.max_body = 10).await;
    let post = |body: &str| format!("POST /probe/length HTTP/1.1\r\nconnection: close\r\n{body}");
    let fits = host
        .ask(&post("content-length: 10\r\n\r\n0123456789"))
        .await;
    assert_eq!((fits.status, &*fits.body), (200, "10"));
    check(
        &host
            .ask(&post("content-length: 11\r\n\r\n0123456789a"))
            .await,
        413,
        "too-large",
    );
    // Not waited for.
    check(
        &host.ask(&post("content-length: 9999999999\r\n\r\n0")).await,
        413,
        "too-large",
    );
    check(
        &host
            .ask(&post(
                "transfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
            ))
            .await,
        413,
        "too-large",
    );
    let endless = format!(
        "transfer-encoding: chunked\r\n\r\n{}",
        "9\r\n123456789\r\n".repeat(9)
    );
    check(&host.ask(&post(&endless)).await, 413, "too-large");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let host = serve(|options| options.connections.max_head = 10_000).await;
    let fits = format!(
        "GET /probe/hello HTTP/1.1\r\nconnection: close\r\nx: {}\r\n\r\n",
        "x".repeat(9_000)
    );
    assert_eq!(host.ask(&fits).await.status, 200);
    let long = format!(
        "GET /probe/hello HTTP/1.1\r\nx: {}\r\n\r\n",
        "x".repeat(10_000)
    );
    check(&host.ask(&long).await, 431, "head-too-large");
    let many = format!(
        "GET /probe/hello HTTP/1.1\r\n{}\r\n",
        "x: y\r\n".repeat(200)
    );
    check(&host.ask(&many).await, 431, "head-too-large");
    let target = format!("GET /probe/hello?x={} HTTP/1.1\r\n\r\n", "x".repeat(10_000));
    check(&host.ask(&target).await, 414, "uri-too-long");
}

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    let host = serve(|_| {}).await;
    for garbage in [
        "\r\n\r\n\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /probe/hello\r\n\r\n",
        "GET /probe/hello HTTP/3.0\r\n\r\n",
        "G\u{0}T /probe/hello HTTP/1.1\r\n\r\n",
        "GET /probe/he\u{7f}llo HTTP/1.1\r\n\r\n",
        "GET /probe/hello HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /probe/hello HTTP/1.1\r\nx: \u{0}\r\n\r\n",
        "POST /probe/echo HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        "POST /probe/echo HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nconnection: close\r\n\r\n",
        "CONNECT probe:80 HTTP/1.1\r\nconnection: close\r\n\r\n",
        "CONNECT /probe/hello HTTP/1.1\r\nconnection: close\r\n\r\n",
    ] {
        check(&host.ask(garbage).await, 400, "invalid-request");
    }
}

/// Its answer and the refusal of the next share a buffer.
#[tokio::test]
async fn garbage_behind_a_request_does_not_spoil_its_answer() {
    let host = serve(|_| {}).await;
    let mut connection = host.connect().await;
    connection
        .send(b"GET /probe/hello HTTP/1.1\r\n\r\ngarbage\r\n\r\n")
        .await;
    let hello = connection.response().await;
    assert_eq!((hello.status, &*hello.body), (200, "hello"));
    assert_eq!(connection.response().await.status, 400);
}

#[tokio::test]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let host = serve(|options| {
        options.connections.head_timeout = SOON;
        options.connections.body_timeout = SOON;
    })
    .await;
    check(
        &host.ask("GET /probe/hello HTTP/1.1\r\nx: ").await,
        408,
        "timeout",
    );
    check(
        &host
            .ask("POST /probe/echo HTTP/1.1\r\ncontent-length: 2\r\n\r\nx")
            .await,
        408,
        "timeout",
    );
    // Not even on a connection that has served.
    let mut connection = host.connect().await;
    connection.get("hello").await;
    assert_eq!(connection.response().await.status, 200);
    connection.send(b"GET ").await;
    check(&connection.response().await, 408, "timeout");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_ends() {
    let host = serve(|options| {
        options.connections.head_timeout = SOON;
        options.connections.idle_timeout = SOON;
    })
    .await;
    assert_eq!(host.connect().await.rest().await, "");
    let mut connection = host.connect().await;
    connection.get("hello").await;
    assert_eq!(connection.response().await.status, 200);
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_stream_is_no_silence() {
    let host = serve(|options| {
        options.connections.head_timeout = SOON;
        options.connections.idle_timeout = SOON;
    })
    .await;
    let mut connection = host.connect().await;
    connection.get("stream?key=long").await;
    connection.until("open\n").await;
    // Two other connections fall silent and are ended meanwhile.
    host.connect().await.rest().await;
    host.connect().await.rest().await;
    host.get("notify?key=long").await;
    connection.until("changed\n").await;
}

#[tokio::test]
async fn connections_over_the_limit_are_told_why() {
    let host = serve(|options| options.connections.max_connections = 1).await;
    let mut first = host.connect().await;
    first.get("hello").await;
    first.response().await;
    let full = host.get("hello").await;
    check(&full, 503, "unavailable");
    assert_eq!(full.header("retry-after"), Some("1"));

    let host = serve(|options| options.connections.max_connections_per_address = 1).await;
    let mut first = host.connect().await;
    first.get("hello").await;
    first.response().await;
    check(&host.get("hello").await, 429, "rate-limited");
    drop(first);
    // Until the host has seen that it ended.
    while host.get("hello").await.status != 200 {}
}

#[tokio::test]
async fn behind_a_proxy_requests_count_for_who_sent_them() {
    let host = serve(|options| {
        options.connections.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        options.connections.max_connections_per_address = 1;
    })
    .await;
    let request = |path: &str, client: &str| {
        format!(
            "GET /probe/{path} HTTP/1.1\r\nconnection: close\r\nx-forwarded-for: {client}\r\n\r\n"
        )
    };
    let mut stream = host.connect().await;
    stream
        .send(request("stream?key=a", "198.51.100.1").as_bytes())
        .await;
    stream.until("open\n").await;
    check(
        &host.ask(&request("hello", "198.51.100.1")).await,
        429,
        "rate-limited",
    );
    assert_eq!(
        host.ask(&request("hello", "198.51.100.2")).await.status,
        200
    );
    drop(stream);
    while host.ask(&request("hello", "198.51.100.1")).await.status != 200 {}
}

#[tokio::test]
async fn an_address_makes_only_so_many_guests() {
    let host = serve(|options| options.guests_per_address = 2).await;
    let request = "POST /witter/session HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(
            host.ask(request).await.status,
            404,
            "the probe makes no guests"
        );
    }
    let refused = host.ask(request).await;
    check(&refused, 429, "rate-limited");
    assert_eq!(refused.header("retry-after"), Some("1800"));
    // However the path is spelled that leads there.
    for path in ["/witter/session/", "//witter/session", "/witter/session?x"] {
        let refused = host.ask(&request.replace("/witter/session", path)).await;
        check(&refused, 429, "rate-limited");
    }
    // Asking what is allowed makes none.
    let options = host.ask(&request.replace("POST", "OPTIONS")).await;
    assert_eq!(options.status, 404);
}
