//! What a collector of OpenTelemetry is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use host::Options;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::support::serve;

/// Beyond this something hangs.
const HANGS: Duration = Duration::from_secs(60);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that takes everything.
struct Collector {
    address: SocketAddr,
    told: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    loop {
                        let (mut head, mut length) = (String::new(), 0);
                        while stream.read_line(&mut head).await.is_ok_and(|read| read > 2) {
                            let line = head.lines().last().unwrap_or_default();
                            if let Some(told) = line.to_lowercase().strip_prefix("content-length:")
                            {
                                length = told.trim().parse().expect("a number");
                            }
                        }
                        let mut body = vec![0; length];
                        if head.is_empty() || stream.read_exact(&mut body).await.is_err() {
                            return;
                        }
                        let body = serde_json::from_slice(&body).expect("it is JSON");
                        // The test may have ended.
                        tell.send((head, body)).ok();
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                        stream.write_all(answer).await.ok();
                    }
                });
            }
        });
        Self { address, told }
    }

    /// What is told next by a request to this path.
    async fn next(&mut self, path: &str) -> (String, Value) {
        let beginning = format!("POST {path} ");
        loop {
            let told = timeout(HANGS, self.told.recv()).await.expect("it is told");
            let (head, body) = told.expect("the collector lives");
            if head.starts_with(&beginning) {
                return (head, body);
            }
        }
    }
}

fn telling(collector: SocketAddr) -> impl FnOnce(&mut Options) {
    move |options| {
        let telemetry = &mut options.operating.telemetry;
        telemetry.otlp = Some(format!("http://{collector}").parse().expect("a URL"));
        telemetry.otlp_ratio = 0.0;
        telemetry.otlp_interval = Duration::from_millis(200);
    }
}

fn traced(target: &str, flags: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nhost: hidden.example\r\nauthorization: Bearer hidden\r\n\
         traceparent: 00-{TRACE}-{PARENT}-{flags}\r\nconnection: close\r\n\r\n"
    )
}

#[tokio::test]
async fn a_traced_request_is_told_below_its_parent_without_what_it_asked_for() {
    let mut collector = Collector::start().await;
    let host = serve(telling(collector.address)).await;
    // Of these two nobody is told.
    host.ask(&traced("/probe/head?token=hidden", "00")).await;
    host.get("hello").await;
    let seen = host.ask(&traced("/probe/head?token=hidden", "01")).await;
    let (_, told) = collector.next("/v1/traces").await;
    let spans = told["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array();
    let spans = spans.expect("there are spans");
    assert_eq!(spans.len(), 1, "{told:#}");
    let span = &spans[0];
    assert_eq!(span["traceId"], TRACE);
    assert_eq!(span["parentSpanId"], PARENT);
    assert_eq!(span["name"], "GET /probe/...");
    // What the component is told to be below.
    let own = span["spanId"].as_str().expect("it has an id");
    let line = format!("traceparent: 00-{TRACE}-{own}-01");
    assert!(
        seen.body.lines().any(|seen| seen == line),
        "{line}\n{}",
        seen.body
    );
    assert!(!told.to_string().contains("hidden"), "{told:#}");
}

#[tokio::test]
async fn metrics_are_told_again_and_again_under_the_services_name() {
    let mut collector = Collector::start().await;
    let address = collector.address;
    let host = serve(|options| {
        telling(address)(options);
        options.operating.telemetry.otlp_service = "chat".to_owned();
        let headers = [("x-key", "secret")].map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        options.operating.telemetry.otlp_headers = Some(headers.into_iter().collect());
    })
    .await;
    host.get("hello?token=hidden").await;
    // What is told first may be of before.
    let of_before = |told: &Value| !told.to_string().contains("http.server.request.duration");
    let mut first = collector.next("/v1/metrics").await;
    while of_before(&first.1) {
        first = collector.next("/v1/metrics").await;
    }
    for (head, told) in [first, collector.next("/v1/metrics").await] {
        assert!(head.contains("x-key: secret"), "{head}");
        let resource = &told["resourceMetrics"][0];
        let named = resource["resource"]["attributes"].to_string();
        assert!(named.contains(r#"{"stringValue":"chat"}"#), "{named}");
        let metrics = resource["scopeMetrics"][0]["metrics"].as_array();
        let names: Vec<_> = metrics
            .expect("there are metrics")
            .iter()
            .filter_map(|metric| metric["name"].as_str())
            .collect();
        for name in [
            "http.server.request.duration",
            "db.client.operation.duration",
            "witter.responses.open",
            "process.cpu",
        ] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        assert!(!told.to_string().contains("hidden"), "{told:#}");
    }
}

#[tokio::test]
async fn what_is_still_to_be_told_is_when_a_host_stops() {
    let mut collector = Collector::start().await;
    let host = serve(telling(collector.address)).await;
    host.ask(&traced("/probe/hello", "01")).await;
    host.running.shutdown().await;
    let (_, told) = collector.next("/v1/traces").await;
    assert!(told.to_string().contains(TRACE), "{told:#}");
}

#[tokio::test]
async fn a_collector_that_is_away_or_silent_harms_nobody() {
    let away = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let away = away
        .expect("a port is free")
        .local_addr()
        .expect("it has one");
    // It takes connections, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let silent = silent.expect("a port is free");
    for collector in [away, silent.local_addr().expect("it has one")] {
        let host = serve(|options| {
            telling(collector)(options);
            options.operating.telemetry.otlp_ratio = 1.0;
            options.operating.metrics = Some((Ipv4Addr::LOCALHOST, 0).into());
        })
        .await;
        let mut connection = host.connect().await;
        for _ in 0..100 {
            connection.get("hello").await;
            assert_eq!(connection.response().await.body, "hello");
        }
        drop(connection);
        if collector == away {
            // It is counted.
            let desk = host.running.metrics().expect("it can be asked");
            let deadline = Instant::now() + HANGS;
            loop {
                let ask = "GET /metrics HTTP/1.1\r\nhost: desk\r\nconnection: close\r\n\r\n";
                let told = crate::support::ask(desk, ask).await.body;
                let line = r#"witter_telemetry_dropped_total{signal="traces"} 100"#;
                if told.lines().any(|told| told == line) {
                    break;
                }
                assert!(Instant::now() < deadline, "{told}");
                sleep(Duration::from_millis(10)).await;
            }
        }
        let stopped = timeout(HANGS, host.running.shutdown()).await;
        assert!(stopped.is_ok(), "it waits for {collector}");
    }
}
