//! A gateway, in front of a host that upgrades nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use crate::http2::Http2;
use crate::readers::until_left;
use crate::support::{Connection, Host, Response, ask, connect, handshake, serve};
use crate::upgrades::{check_marked, check_pressure, until_noticed, upgraded_at};
use host::gateway::{self, Options, Running};
use host::{Connections, Upgrades};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Opens a gateway to what is at an address.
pub(crate) async fn open(to: SocketAddr, change: impl FnOnce(&mut Options)) -> Running {
    let mut options = Options {
        to: format!("http://{to}").parse().expect("a URL"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        guests_per_address: 1000,
        connections: Connections::default(),
        handed: None,
        operating: Default::default(),
    };
    change(&mut options);
    gateway::start(options).await.expect("it can be opened")
}

struct Front {
    gateway: Running,
    host: Host,
}

async fn front() -> Front {
    let host = serve(|options| options.upgrades = Upgrades::Off).await;
    Front {
        gateway: open(host.running.address(), |_| {}).await,
        host,
    }
}

impl Front {
    async fn connect(&self) -> Connection {
        connect(self.gateway.address()).await
    }

    async fn upgraded(&self, path: &str) -> Connection {
        upgraded_at(self.gateway.address(), path).await
    }

    async fn ask(&self, request: &str) -> Response {
        ask(self.gateway.address(), request).await
    }
}

#[tokio::test]
async fn an_upgrade_goes_on_as_a_marked_post() {
    let front = front().await;
    let mut connection = front.upgraded("head?channel=a").await;
    check_marked(&mut connection).await;
}

#[tokio::test]
async fn bytes_go_both_ways_until_either_end() {
    let front = front().await;
    let mut connection = front.connect().await;
    let begun = handshake("duplex") + "begun";
    connection.send(begun.as_bytes()).await;
    connection.until("begun").await;
    connection.send(b"more").await;
    connection.until("more").await;
    tokio::io::AsyncWriteExt::shutdown(&mut connection.stream)
        .await
        .expect("a socket can be shut");
    assert_eq!(connection.rest().await, "ended");

    let mut connection = front.upgraded("duplex?key=gone").await;
    connection.until("open\n").await;
    front.host.get("notify?key=gone").await;
    connection.send(b"word").await;
    connection.until("word").await;
    connection.reset();
    until_noticed(&front.host, "gone", "broken").await;
}

#[tokio::test]
async fn streams_of_http_2_are_upgraded_too() {
    let front = front().await;
    let client = Http2::over(front.connect().await.stream).await;
    let mut head = client.connect_to("head").await;
    let seen = head.read(usize::MAX).await;
    assert!(
        seen.contains("\nwitter-upgrade: websocket; extended-connect\n"),
        "{seen}"
    );
    assert!(seen.starts_with("probe POST /probe/head\n"), "{seen}");
    let mut stream = client.connect_to("duplex").await;
    stream.send("word");
    assert_eq!(stream.read(4).await, "word");
}

#[tokio::test]
async fn what_is_no_upgrade_comes_through_as_it_is() {
    let front = front().await;
    for request in [
        "GET /probe/head?channel=%40a HTTP/1.1\r\nhost: chat.example:8080\r\nconnection: x-hop\r\nx-hop: 1\r\n\
         x-forwarded-for: 198.51.100.1\r\n\r\n",
        "HEAD /probe/hello HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nhost: probe\r\n\r\n",
        "GET /.well-known/spin/health HTTP/1.1\r\nhost: probe\r\n\r\n",
        "GET /probe/long-head?bytes=60000 HTTP/1.1\r\nhost: probe\r\n\r\n",
        "GET /probe/status?number=204 HTTP/1.1\r\nhost: probe\r\n\r\n",
        "POST /probe/echo HTTP/1.1\r\nhost: probe\r\ncontent-length: 5\r\n\r\nab\0cd",
        "POST /probe/echo HTTP/1.1\r\nhost: probe\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "GET /probe/duplex HTTP/1.1\r\nhost: probe\r\n\r\n",
    ] {
        let (direct, through) = (front.host.ask(request).await, front.ask(request).await);
        assert_eq!(through.status, direct.status, "{request}");
        assert_eq!(lines(&through.head), lines(&direct.head), "{request}");
        assert_eq!(lines(&through.body), lines(&direct.body), "{request}");
        assert_eq!(through.whole, direct.whole, "{request}");
    }
}

#[tokio::test]
async fn a_refused_upgrade_comes_through_as_it_is_in_one_piece() {
    let front = front().await;
    for status in [426, 403] {
        let request = handshake(&format!("status?number={status}"));
        let (direct, through) = (front.host.ask(&request).await, front.ask(&request).await);
        assert_eq!((direct.status, through.status), (status, status));
        assert_eq!(through.body, direct.body);
        let length = through.body.len().to_string();
        assert_eq!(through.header("content-length"), Some(&*length));
        let length = format!("content-length: {length}");
        let head = through.head.replace(&length, "transfer-encoding: chunked");
        assert_eq!(lines(&head), lines(&direct.head));
    }
}

/// In one order, and without what is new each time.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("date: ") && !line.starts_with("spin-client-addr: "))
        .collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_stream_comes_through_frame_by_frame_and_ends_with_its_reader() {
    let front = front().await;
    let mut connection = front.connect().await;
    connection.get("stream?key=a").await;
    connection.until("\r\n5\r\nopen\n\r\n").await;
    for _ in 0..3 {
        front.host.get("notify?key=a").await;
        connection.until("8\r\nchanged\n\r\n").await;
    }
    drop(connection);
    until_left(&front.host, "a").await;

    let mut connection = front.connect().await;
    connection.get("stream-then-trap?key=b").await;
    connection.until("open\n").await;
    front.host.get("notify?key=b").await;
    assert!(!connection.rest().await.contains("0\r\n\r\n"));
}

#[tokio::test]
async fn a_body_goes_on_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = open(listener.local_addr().expect("its address"), |_| {}).await;
    let mut client = connect(gateway.address()).await;
    let head = "POST /x HTTP/1.1\r\nhost: probe\r\ncontent-length: 10\r\n\r\nfirst";
    client.send(head.as_bytes()).await;
    let (stream, _) = listener.accept().await.expect("the gateway connects");
    let mut application = Connection::over(stream);
    application.until("\r\n\r\nfirst").await;
    client.send(b"again").await;
    application.until("again").await;
    application.send(OK.as_bytes()).await;
    assert_eq!(client.response().await.body, "ok");
}

/// What the tests' applications answer.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_that_were_sent_whole_share_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = open(listener.local_addr().expect("its address"), |_| {}).await;
    let post = "POST /x HTTP/1.1\r\nhost: probe\r\ncontent-length: 3\r\n\r\nall";
    let mut client = connect(gateway.address()).await;
    client.send(post.as_bytes()).await;
    let (stream, _) = listener.accept().await.expect("the gateway connects");
    let mut application = Connection::over(stream);
    for _ in 0..3 {
        application.until("\r\n\r\nall").await;
        application.send(OK.as_bytes()).await;
        assert_eq!(client.response().await.body, "ok");
        // A moment until the gateway has put it back.
        sleep(Duration::from_millis(100)).await;
        client.send(post.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_connection_whose_request_was_answered_before_its_end_serves_no_other() {
    let post = "POST /x HTTP/1.1\r\nhost: probe\r\ncontent-length: 8\r\n\r\nhalf";
    let upgrade = handshake("x");
    let end = "0\r\n\r\n";
    for (request, status, rest, sent) in [
        (post, "413 Content Too Large", "rest", "rest"),
        (&upgrade, "403 Forbidden", "", end),
        (&upgrade, "200 OK", "", end),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let gateway = open(listener.local_addr().expect("its address"), |_| {}).await;
        let mut client = connect(gateway.address()).await;
        client.send(request.as_bytes()).await;
        let (stream, _) = listener.accept().await.expect("the gateway connects");
        let mut application = Connection::over(stream);
        application.until("\r\n\r\n").await;
        let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
        application.send(head.as_bytes()).await;
        if status == "200 OK" {
            client.until("\r\n\r\n").await;
            tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
                .await
                .expect("a socket can be shut");
            application.until(sent).await;
            application.send(end.as_bytes()).await;
        } else {
            application.send(end.as_bytes()).await;
            client.response().await;
            client.send(rest.as_bytes()).await;
            application.until(sent).await;
        }
        // Kept, it would end when it has served nothing for twenty seconds.
        let closed = timeout(Duration::from_secs(10), application.rest()).await;
        assert_eq!(closed.expect("the gateway closes it"), "");
    }
}

#[tokio::test]
async fn who_has_refused_an_upgrade_is_sent_nothing_while_it_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = open(listener.local_addr().expect("its address"), |_| {}).await;
    let mut client = connect(gateway.address()).await;
    client.send(handshake("duplex").as_bytes()).await;
    let (stream, _) = listener.accept().await.expect("the gateway connects");
    let mut application = Connection::over(stream);
    application.until("\r\n\r\n").await;
    let begun = "HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nno";
    application.send(begun.as_bytes()).await;
    // Where it has closed already, a byte more would reset the connection, and the rest of its answer with it.
    let sent = timeout(Duration::from_millis(200), application.stream.read_u8()).await;
    assert!(sent.is_err(), "{sent:?}");
    application.send(b", no").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.body), (403, "no, no"));
    application.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn of_a_refusal_that_is_lost_comes_the_status() {
    let refusal =
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-type: text/plain\r\n";
    let too_long = "x".repeat(64 * 1024 + 1);
    for (begun, breaks_off, body) in [
        ("content-length: 6\r\n\r\nno", true, ""),
        ("content-length: 6\r\n\r\nno", false, ""),
        (
            &format!("content-length: 65537\r\n\r\n{too_long}"),
            false,
            "",
        ),
        ("content-length: 6\r\n\r\nno, no", false, "no, no"),
        // A length that chunks overrule (RFC 9112, section 6.3).
        (
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            false,
            "no",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let gateway = open(listener.local_addr().expect("its address"), |options| {
            options.connections.body_timeout = Duration::from_secs(1);
        })
        .await;
        let mut client = connect(gateway.address()).await;
        client.send(handshake("duplex").as_bytes()).await;
        let (stream, _) = listener.accept().await.expect("the gateway connects");
        let mut application = Connection::over(stream);
        application.until("\r\n\r\n").await;
        application.send(refusal.as_bytes()).await;
        application.send(begun.as_bytes()).await;
        let application = (!breaks_off).then_some(application);
        let response = client.response().await;
        assert_eq!((response.status, &*response.body), (401, body));
        assert_eq!(
            response.header("content-length"),
            Some(&*body.len().to_string())
        );
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert_eq!(response.header("content-type").is_some(), !body.is_empty());
        drop(application);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_the_application_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = open(listener.local_addr().expect("its address"), |_| {}).await;
    let mut client = connect(gateway.address()).await;
    client.get("hang").await;
    let (stream, _) = listener.accept().await.expect("the gateway connects");
    let mut application = Connection::over(stream);
    application.until("\r\n\r\n").await;
    drop(client);
    assert_eq!(application.rest().await, "");
}

#[tokio::test]
async fn an_application_that_is_away_or_no_application_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = open(listener.local_addr().expect("its address"), |_| {}).await;
    let hello = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
    let (failed, ()) = tokio::join!(ask(gateway.address(), hello), async {
        let (stream, _) = listener.accept().await.expect("the gateway connects");
        let mut application = Connection::over(stream);
        application.until("\r\n\r\n").await;
        application.send(b"SSH-2.0-x\r\n\r\n").await;
    });
    drop(listener);
    let upgrade = handshake("duplex");
    let away = [hello, &upgrade].map(|request| ask(gateway.address(), request));
    let [plain, upgrade] = away;
    for (response, status, detail) in [
        (failed, 502, "the application gave no response"),
        (plain.await, 503, "the application cannot be reached"),
        (upgrade.await, 503, "the application cannot be reached"),
    ] {
        assert_eq!(response.status, status);
        assert_eq!(
            response.body,
            format!(r#"{{"error":"unavailable","detail":"{detail}"}}"#)
        );
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn limits_are_kept_before_the_application_is_troubled() {
    let host = serve(|_| {}).await;
    let gateway = open(host.running.address(), |options| {
        options.guests_per_address = 1;
        options.connections.max_body = 5;
        options.connections.body_timeout = Duration::from_millis(300);
    })
    .await;
    let post = "POST /probe/length HTTP/1.1\r\nconnection: close\r\n";
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
    let session =
        "POST //witter/session HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for (request, status) in [
        (format!("{post}content-length: 5\r\n\r\nabcde"), 200),
        (format!("{post}content-length: 6\r\n\r\nabcdef"), 413),
        (format!("{chunked}6\r\nabcdef\r\n0\r\n\r\n"), 413),
        (format!("{post}content-length: 5\r\n\r\nabc"), 408),
        (format!("{chunked}x"), 400),
        (
            "CONNECT /probe/hello HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
            400,
        ),
        (session.to_owned(), 404),
        (session.to_owned(), 429),
    ] {
        let response = ask(gateway.address(), &request).await;
        assert_eq!(response.status, status, "{request}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_by_a_gateway_either() {
    let front = front().await;
    check_pressure(front.gateway.address()).await;
}

#[tokio::test]
async fn a_trap_is_no_end_in_order_through_a_gateway() {
    let front = front().await;
    let mut connection = front.upgraded("duplex-then-trap").await;
    connection.until("open\n").await;
    connection.send(b"x").await;
    let error = connection.stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_gateway_that_stops_waits_for_what_is_open_and_cuts_off_the_rest() {
    let host = serve(|options| options.upgrades = Upgrades::Off).await;
    let gateway = open(host.running.address(), |options| {
        options.connections.stop_timeout = Duration::from_secs(3);
    })
    .await;
    let mut ends = upgraded_at(gateway.address(), "duplex?key=end").await;
    let mut stays = upgraded_at(gateway.address(), "duplex").await;
    ends.until("open\n").await;
    let stopped = tokio::spawn(gateway.shutdown());
    host.get("notify?key=end").await;
    tokio::io::AsyncWriteExt::shutdown(&mut ends.stream)
        .await
        .expect("a socket can be shut");
    assert_eq!(ends.rest().await, "ended");
    let error = stays.stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    stopped.await.expect("it stops");
}

#[tokio::test]
async fn only_an_origin_is_stood_in_front_of() {
    for (url, works) in [
        ("http://app.example", true),
        ("http://app.example:3000/", true),
        ("http://[::1]:3000", true),
        ("https://app.example", false),
        ("http://app.example/path", false),
        ("http://app.example/?query", false),
        ("app.example:3000", false),
        ("/", false),
    ] {
        let options = Options {
            to: url.parse().expect("a URL"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            guests_per_address: 1,
            connections: Connections::default(),
            handed: None,
            operating: Default::default(),
        };
        let started = gateway::start(options).await;
        assert_eq!(started.is_ok(), works, "{url}");
        if let Err(error) = started {
            assert!(error.to_string().contains("http://HOST:PORT"), "{error}");
        }
    }
}
