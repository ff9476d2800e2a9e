//! What comes through to a component, and back.

use crate::support::{Host, serve};
use bytes::Bytes;
use host::Options;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncReadExt as _;

async fn plain() -> Host {
    serve(|_| {}).await
}

#[tokio::test]
async fn a_path_leads_to_its_component_and_any_other_nowhere() {
    let host = plain().await;
    let hello = host.get("hello").await;
    assert_eq!((hello.status, &*hello.body), (200, "hello"));
    for path in ["/", "/probes", "/named", "/.well-known/spin/other"] {
        let nowhere = host
            .ask(&format!(
                "GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(nowhere.status, 404, "{path}");
        assert_eq!(
            nowhere.body,
            r#"{"error":"not-found","detail":"nothing answers at this path"}"#
        );
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(nowhere.header(name), Some(value), "{name}");
        }
    }
    let health = host
        .ask("GET /.well-known/spin/health HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!((health.status, &*health.body), (200, "OK"));
}

#[tokio::test]
async fn a_component_sees_the_head_that_spin_would_show_it() {
    let host = plain().await;
    let seen = host
        .ask(
            "GET /named/Ann/head?channel=%40a HTTP/1.1\r\nHost: chat.example:8080\r\nConnection: close, x-hop\r\n\
             X-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nSec-WebSocket-Key: k\r\nspin-path-match-other: forged\r\n\
             X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n\r\n",
        )
        .await
        .body;
    let mut lines: Vec<_> = seen
        .lines()
        .filter(|line| !line.starts_with("spin-client-addr: 127.0.0.1:"))
        .collect();
    let first = lines.remove(0);
    lines.sort_unstable();
    assert_eq!(first, "chat.example:8080 GET /named/Ann/head?channel=%40a");
    assert_eq!(
        lines,
        [
            "sec-websocket-key: k",
            "spin-base-path: /",
            "spin-component-route: /named/:name",
            "spin-full-url: http://chat.example:8080/named/Ann/head?channel=%40a",
            "spin-matched-route: /named/:name/...",
            "spin-path-info: /head",
            "spin-path-match-name: Ann",
            "spin-raw-component-route: /named/:name/...",
            "x-forwarded-for: 127.0.0.1",
        ]
    );
}

#[tokio::test]
async fn a_trusted_proxy_tells_who_the_client_is() {
    let host = serve(|options| {
        options.connections.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")]
    })
    .await;
    let request = "GET /probe/head HTTP/1.1\r\nconnection: close\r\nx-forwarded-for: 10.1.1.1, 198.51.100.1\r\n\r\n";
    let seen = host.ask(request).await.body;
    assert!(seen.contains("\nx-forwarded-for: 198.51.100.1\n"), "{seen}");
    assert!(
        seen.contains("\nspin-client-addr: 198.51.100.1:0\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_body_comes_through_however_it_is_framed() {
    let host = plain().await;
    for body in [
        "Content-Length: 5\r\n\r\nab\0cd",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\n\0cd\r\n0\r\n\r\n",
    ] {
        let echo = host
            .ask(&format!(
                "POST /probe/echo HTTP/1.1\r\nconnection: close\r\n{body}"
            ))
            .await;
        assert_eq!((echo.status, &*echo.body), (200, "ab\0cd"));
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order() {
    let host = plain().await;
    let mut connection = host.connect().await;
    connection
        .send(
            b"GET /probe/hello HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\nPOST /probe/echo HTTP/1.1\r\n\
              content-length: 2\r\n\r\nokGET /probe/hello HTTP/1.1\r\n\r\n",
        )
        .await;
    for expected in [(200, "hello"), (404, ""), (200, "ok"), (200, "hello")] {
        let response = connection.response().await;
        assert_eq!(response.status, expected.0);
        assert!(response.body.starts_with(expected.1), "{response:?}");
    }
}

#[tokio::test]
async fn a_head_takes_the_first_bytes_of_its_body_along_and_does_not_wait_for_late_ones() {
    let host = plain().await;
    // On a busy machine they may be late.
    for tries in 1.. {
        let mut prompt = host.connect().await;
        prompt.get("stream?key=prompt").await;
        let mut read = Vec::with_capacity(4096);
        let first = prompt.stream.read_buf(&mut read).await;
        first.expect("the host answers");
        let read = String::from_utf8_lossy(&read);
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n"), "{read}");
        if read.ends_with("\r\n\r\n5\r\nopen\n\r\n") {
            break;
        }
        assert!(tries < 10, "{read}");
    }

    let mut late = host.connect().await;
    late.get("silent?key=late").await;
    late.until("\r\n\r\n").await;
    host.get("notify?key=late").await;
    late.until("4\r\nlate\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn http_2_is_spoken_by_prior_knowledge() {
    let host = plain().await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let address = host.running.address();
    let ask = |path: &str| {
        let uri = format!("http://{address}/{path}").parse().expect("a URI");
        let response = client.get(uri);
        async move {
            let response = response.await.expect("the host answers");
            let (head, body) = response.into_parts();
            (
                head.version,
                head.status.as_u16(),
                body.collect().await.expect("the body is whole").to_bytes(),
            )
        }
    };
    let (hello, nowhere) = tokio::join!(ask("probe/hello"), ask("nowhere"));
    assert_eq!(
        hello,
        (http::Version::HTTP_2, 200, Bytes::from_static(b"hello"))
    );
    assert_eq!((nowhere.0, nowhere.1), (http::Version::HTTP_2, 404));
    let (_, _, seen) = ask("probe/head").await;
    assert!(
        seen.starts_with(format!("{address} GET /probe/head\n").as_bytes()),
        "{seen:?}"
    );
}

async fn check_laws(change: impl FnOnce(&mut Options)) {
    let host = serve(change).await;
    assert_eq!(host.get("laws").await.body, "kept");
}

#[tokio::test]
async fn a_store_keeps_its_laws_in_memory() {
    check_laws(|_| {}).await;
}

#[tokio::test]
async fn a_store_keeps_its_laws_in_a_file() {
    check_laws(|options| {
        let file = options.manifest.with_file_name("store.db");
        options.store = Some(format!("sqlite:{}", file.display()));
    })
    .await;
}

#[tokio::test]
async fn only_a_store_that_the_manifest_grants_opens() {
    let host = plain().await;
    assert_eq!(host.get("open?label=default").await.body, "open open");
    assert_eq!(
        host.get("open?label=other").await.body,
        "Error::AccessDenied Error::AccessDenied"
    );
}

#[tokio::test]
async fn a_component_reads_its_own_variables() {
    let host = plain().await;
    for (name, expected) in [
        ("greeting", r#"Ok("hello, world") Ok(Some("hello, world"))"#),
        (
            "absent",
            r#"Err(Error::Undefined("no variable for \"absent\"")) Ok(None)"#,
        ),
        (
            "No",
            r#"Err(Error::InvalidName("\"No\" is no variable name: only lower-case letters, digits and underscores may stand in it")) Ok(None)"#,
        ),
    ] {
        assert_eq!(
            host.get(&format!("variable?name={name}")).await.body,
            expected
        );
    }
}

#[tokio::test]
async fn a_variable_of_the_command_line_wins() {
    let host = serve(|options| {
        let variable = |value: &str| ("greeting".to_owned(), value.to_owned());
        options.variables = vec![variable("bye"), variable("hi")];
    })
    .await;
    assert_eq!(
        host.get("variable?name=greeting").await.body,
        r#"Ok("hi, world") Ok(Some("hi, world"))"#
    );
}

#[tokio::test]
async fn an_error_of_a_component_is_told_and_costs_nobody_anything() {
    let host = plain().await;
    let instance = host.get("instance?channel=a").await.body;
    let error = host.get("error?channel=a").await;
    assert_eq!(error.status, 500);
    assert_eq!(
        error.body,
        r#"{"error":"internal","detail":"the component failed"}"#
    );
    // One that promises more than it writes.
    let short = host.get("short-body?channel=a").await;
    assert_eq!((short.status, short.whole), (200, false));
    assert_eq!(host.get("instance?channel=a").await.body, instance);
}
