//! What a host tells those who run it.

use std::net::SocketAddr;
use std::time::Duration;

use host::Upgrades;
use redis_server::RedisServer;
use tokio::time::{Instant, sleep};

use crate::gateway;
use crate::support::{Host, Response, ask, serve};

/// Beyond this something hangs.
const HANGS: Duration = Duration::from_secs(60);

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A host that can be asked.
async fn asked() -> Host {
    serve(|options| options.operating.metrics = Some(ANYWHERE)).await
}

impl Host {
    fn desk(&self) -> SocketAddr {
        self.running.metrics().expect("it can be asked")
    }

    /// Waits until the metrics have all of these lines.
    async fn until_told(&self, lines: &[&str]) -> String {
        let deadline = Instant::now() + HANGS;
        loop {
            let told = desk(self.desk(), "GET", "/metrics").await;
            assert_eq!(told.status, 200);
            let missing = |line: &&&str| !told.body.lines().any(|told| told == **line);
            let Some(line) = lines.iter().find(missing) else {
                return told.body;
            };
            assert!(Instant::now() < deadline, "{line}\n{}", told.body);
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn desk(address: SocketAddr, method: &str, path: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: desk\r\nconnection: close\r\n\r\n");
    ask(address, &request).await
}

/// Waits until somebody is, or is not, ready, for this reason.
async fn until_ready(address: SocketAddr, status: u16, why: &str) {
    let deadline = Instant::now() + HANGS;
    loop {
        let told = desk(address, "GET", "/readyz").await;
        if (told.status, told.body.trim()) == (status, why) {
            return;
        }
        assert!(Instant::now() < deadline, "{told:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_asked_of_a_host_and_what_its_components_do_is_counted() {
    let host = serve(|options| {
        options.operating.metrics = Some(ANYWHERE);
        options.instances_per_component = Some(1);
    })
    .await;
    assert_eq!(host.get("hello").await.status, 200);
    assert_eq!(host.get("status?as=503").await.status, 503);
    // The host has asked for a value itself when it began.
    assert_eq!(host.get("get?key=a").await.status, 200);
    let elsewhere = "GET /made-up HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
    assert_eq!(host.ask(elsewhere).await.status, 404);
    let mut reader = host.connect().await;
    reader.get("stream?key=lobby").await;
    reader.until("open\n").await;
    for key in ["lobby", "lobby", "state/lobby"] {
        host.get(&format!("notify?key={key}")).await;
    }
    let mut upgraded = host.connect().await;
    upgraded.upgrade("duplex").await;
    host.until_told(&[
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/probe/...",http_response_status_code="503",url_scheme="http"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/probe/...",http_response_status_code="101",url_scheme="http"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404",url_scheme="http"} 1"#,
        r#"witter_refusals_total{reason="not-found"} 1"#,
        r#"witter_refusals_total{reason="timeout"} 0"#,
        r#"witter_responses_open{component="probe"} 2"#,
        r#"witter_wakeup_notifications_total{component="probe",key="channel"} 2"#,
        r#"witter_wakeup_notifications_total{component="probe",key="other"} 1"#,
        r#"witter_wakeup_keys 1"#,
        r#"witter_upgrades_total 1"#,
        r#"witter_upgraded 1"#,
        r#"witter_connections 2"#,
        r#"witter_instances_traps_total{component="probe"} 0"#,
        r#"db_client_operation_duration_seconds_count{db_system_name="memory",db_operation_name="get"} 2"#,
        r#"witter_store_failures_total{db_system_name="memory",db_operation_name="get"} 0"#,
        r#"witter_ready 1"#,
    ])
    .await;
    // One of them may have been told with the other.
    let text = host.until_told(&[]).await;
    let number = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.rsplit(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name}\n{text}"))
    };
    let woken =
        number(r#"witter_wakeup_waits_total{component="probe",key="channel",outcome="changed"}"#);
    assert!((1.0..=2.0).contains(&woken));
    assert_eq!(number("witter_wakeup_delay_seconds_count"), woken);
    assert!(number("witter_instances_memory_bytes") > 0.0);
    assert!(number("witter_instance_turn_seconds_count") > 0.0);
    assert!(number("process_resident_memory_bytes") > 0.0);

    drop((reader, upgraded));
    host.get("trap").await;
    host.until_told(&[
        r#"witter_responses_open{component="probe"} 0"#,
        r#"witter_instances{component="probe"} 0"#,
        r#"witter_instances_memory_bytes{component="probe"} 0"#,
        r#"witter_instances_traps_total{component="probe"} 1"#,
        r#"witter_refusals_total{reason="instance-ended"} 1"#,
        r#"witter_upgraded 0"#,
        r#"witter_connections 0"#,
    ])
    .await;
}

#[tokio::test]
async fn each_write_into_a_body_is_counted() {
    let host = asked().await;
    assert_eq!(host.get("flood?frames=100").await.status, 200);
    host.until_told(&[
        r#"witter_response_writes_total{component="probe"} 100"#,
        r#"witter_response_written_bytes_total{component="probe"} 4800"#,
    ])
    .await;
    // A stream looks now and then whether its reader is there, which is no write.
    let mut reader = host.connect().await;
    reader.get("stream?key=lobby").await;
    reader.until("open\n").await;
    sleep(Duration::from_secs(1)).await;
    host.until_told(&[
        r#"witter_response_writes_total{component="probe"} 101"#,
        r#"witter_response_written_bytes_total{component="probe"} 4805"#,
    ])
    .await;
}

#[tokio::test]
async fn nothing_that_is_asked_for_is_told_but_its_route() {
    let host = asked().await;
    host.get("hello?token=hidden").await;
    for path in ["/probe/hidden", "/hidden", "/named/hidden/x"] {
        host.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: hidden\r\nauthorization: Bearer hidden\r\nconnection: close\r\n\r\n"
        ))
        .await;
    }
    let text = host
        .until_told(&[r#"http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404",url_scheme="http"} 1"#])
        .await;
    assert!(!text.contains("hidden"), "{text}");
}

#[tokio::test]
async fn a_host_is_asked_only_where_its_options_say() {
    let host = serve(|_| {}).await;
    assert_eq!(host.running.metrics(), None);
    for path in ["/metrics", "/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
        assert_eq!(host.ask(&request).await.status, 404, "{path}");
    }
    let host = asked().await;
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/readyz", 200),
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("GET", "/probe/hello", 404),
    ] {
        let told = desk(host.desk(), method, path).await;
        assert_eq!(told.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_host_that_stops_is_not_ready_first_and_serves_who_comes_meanwhile() {
    let host = serve(|options| {
        options.operating.metrics = Some(ANYWHERE);
        options.operating.drain = Some(Duration::from_secs(2));
    })
    .await;
    let (address, desk) = (host.running.address(), host.desk());
    until_ready(desk, 200, "ready").await;
    let Host { running, .. } = host;
    let stopping = tokio::spawn(running.shutdown());
    until_ready(desk, 503, "stopping").await;
    let hello = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(address, hello).await.body, "hello");
    stopping.await.expect("it stops");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(tokio::net::TcpStream::connect(desk).await.is_err());
}

#[tokio::test]
async fn a_host_whose_store_is_away_lives_and_is_not_ready() {
    let mut server = RedisServer::start(&[]).expect("Redis starts");
    let host = serve(|options| {
        options.operating.metrics = Some(ANYWHERE);
        options.store = Some(server.url());
    })
    .await;
    until_ready(host.desk(), 200, "ready").await;
    server.kill().expect("it runs");
    until_ready(host.desk(), 503, "the store is away").await;
    assert_eq!(desk(host.desk(), "GET", "/healthz").await.status, 200);
    server.restart().expect("Redis starts");
    until_ready(host.desk(), 200, "ready").await;
}

#[tokio::test]
async fn a_gateway_is_ready_while_its_application_is_there() {
    let host = serve(|options| options.upgrades = Upgrades::Off).await;
    let gateway = gateway::open(host.running.address(), |options| {
        options.operating.metrics = Some(ANYWHERE);
    })
    .await;
    let address = gateway.metrics().expect("it can be asked");
    until_ready(address, 200, "ready").await;
    let told = desk(address, "GET", "/metrics").await;
    assert!(told.body.contains("witter_ready 1"), "{}", told.body);
    drop(host);
    until_ready(address, 503, "the application is away").await;
}
