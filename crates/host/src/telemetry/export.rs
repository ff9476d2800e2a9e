//! Sends what there is to tell, again and again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::encode::Resource;
use super::{Dropped, Options, Span};
use crate::operating::Operating;

/// The most spans in one request.
const BATCH: usize = 512;

/// How long spans wait for others, to be sent with them.
const GATHERING: Duration = Duration::from_secs(1);

/// How long a request may take. Spans wait meanwhile, and then are dropped.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of an answer is read. It says nothing that matters, but a connection carries the next request only where all
/// of it was read.
const ANSWER: usize = 64 * 1024;

/// The way to one collector.
pub(super) struct Exporter {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    traces: Uri,
    metrics: Uri,
    headers: HeaderMap,
    resource: Resource,
    /// The last request failed: told once.
    failing: bool,
}

impl Exporter {
    pub(super) fn new(url: &Uri, options: &Options) -> anyhow::Result<Self> {
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        ensure!(
            is_http && url.authority().is_some() && url.query().is_none(),
            "{} is not of the form http://HOST:PORT",
            without_userinfo(url)
        );
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(PATIENCE));
        let builder = if url.scheme_str() == Some("https") {
            HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(ring::default_provider())
                .context("the system's certificates are unusable")?
        } else {
            // Nobody is to be believed, and a machine may have none that are.
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(config)
        };
        let connector = builder
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(connector),
            traces: below(url, "v1/traces")?,
            metrics: below(url, "v1/metrics")?,
            headers: options.otlp_headers.clone().unwrap_or_default(),
            resource: Resource::new(&options.otlp_service),
            failing: false,
        })
    }

    /// Tells until it is told to stop, and what waits then.
    pub(super) async fn run(
        mut self,
        mut spans: mpsc::Receiver<Span>,
        operating: Arc<Operating>,
        dropped: Arc<Dropped>,
        every: Duration,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut ticks = interval(every.max(Duration::from_millis(100)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once, when nothing is counted.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = ticks.tick() => self.send_metrics(&operating, &dropped).await,
                count = spans.recv_many(&mut batch, BATCH) => {
                    // The host is gone.
                    if count == 0 {
                        break;
                    }
                    if batch.len() < BATCH {
                        tokio::select! {
                            _ = &mut stopped => break,
                            () = sleep(GATHERING) => {}
                        }
                        while batch.len() < BATCH
                            && let Ok(span) = spans.try_recv()
                        {
                            batch.push(span);
                        }
                    }
                    self.send_spans(&mut batch, &dropped).await;
                }
            }
        }
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
            if batch.len() == BATCH {
                self.send_spans(&mut batch, &dropped).await;
            }
        }
        self.send_spans(&mut batch, &dropped).await;
        self.send_metrics(&operating, &dropped).await;
    }

    async fn send_spans(&mut self, batch: &mut Vec<Span>, dropped: &Dropped) {
        if batch.is_empty() {
            return;
        }
        let body = self.resource.traces(batch);
        if !self.send(self.traces.clone(), &body).await {
            dropped.spans.add(batch.len() as u64);
        }
        batch.clear();
    }

    async fn send_metrics(&mut self, operating: &Arc<Operating>, dropped: &Dropped) {
        let Some(begun) = operating.begun() else {
            return;
        };
        let asked = operating.clone();
        // It reads files.
        let families = tokio::task::spawn_blocking(move || asked.families()).await;
        let Ok(families) = families else { return };
        let body = self.resource.metrics(&families, begun, SystemTime::now());
        if !self.send(self.metrics.clone(), &body).await {
            dropped.metrics.increment();
        }
    }

    /// Whether it was taken. What is not is not sent again: what comes after is worth more.
    async fn send(&mut self, url: Uri, body: &Value) -> bool {
        let sent = timeout(PATIENCE, self.post(url, body.to_string())).await;
        let sent = sent.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer")));
        match (&sent, std::mem::replace(&mut self.failing, sent.is_err())) {
            (Err(error), false) => {
                tracing::warn!("the collector of OpenTelemetry is not told: {error:#}");
            }
            (Ok(()), true) => tracing::info!("the collector of OpenTelemetry is told again"),
            _ => {}
        }
        sent.is_ok()
    }

    async fn post(&self, url: Uri, body: String) -> anyhow::Result<()> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (head, body) = self.client.request(request).await?.into_parts();
        // One that is longer, or breaks off, takes its connection with it.
        Limited::new(body, ANSWER).collect().await.ok();
        if !head.status.is_success() {
            bail!("it answers {}", head.status);
        }
        Ok(())
    }
}

fn below(url: &Uri, path: &str) -> anyhow::Result<Uri> {
    let mut parts = url.clone().into_parts();
    let whole = format!("{}/{path}", url.path().trim_end_matches('/'));
    parts.path_and_query = Some(PathAndQuery::try_from(whole)?);
    Ok(Uri::from_parts(parts)?)
}

/// A user's name and password are nobody's to read.
fn without_userinfo(url: &Uri) -> String {
    let text = url.to_string();
    match text.split_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text,
    }
}

/// `NAME=VALUE,NAME=VALUE`, as OpenTelemetry has it; what stands in a value for a comma is `%2C`.
pub(super) fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').ok_or("no `=` in a header")?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| "a header has no such name")?;
        let value = unescape(value.trim()).ok_or("a value has a `%` without two digits")?;
        let mut value =
            HeaderValue::from_bytes(&value).map_err(|_| "no header has such a value")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn signals_go_below_the_url() {
        for (url, expected) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("http://a:4318/", "http://a:4318/v1/traces"),
            ("https://a/otlp/", "https://a/otlp/v1/traces"),
        ] {
            let url = url.parse().expect("a URL");
            assert_eq!(below(&url, "v1/traces").expect("a URL"), *expected);
        }
    }

    #[test]
    fn what_is_no_collector_is_refused_without_a_password() {
        for url in ["a:4318", "ftp://u:hidden@a", "http://u:hidden@a/?x=1"] {
            let url: Uri = url.parse().expect("a URL");
            let Err(error) = Exporter::new(&url, &Options::default()) else {
                panic!("{url} is taken");
            };
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_the_next_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let address = listener.local_addr().expect("it listens");
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    // Each request comes in one piece.
                    while let Ok(1..) = stream.read(&mut bytes).await {
                        let head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n";
                        stream.write_all(head).await.ok();
                        sleep(Duration::from_millis(50)).await;
                        stream.write_all(b"{}").await.ok();
                    }
                });
            }
        });
        let url = format!("http://{address}").parse().expect("a URL");
        let exporter = Exporter::new(&url, &Options::default()).expect("it is one");
        for _ in 0..3 {
            let answer = exporter
                .post(exporter.traces.clone(), "{}".to_owned())
                .await;
            assert!(answer.is_err_and(|error| error.to_string().contains("400")));
            // The connection goes back a moment later.
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(taken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn headers_are_read_as_opentelemetry_has_them() {
        let read = headers("api-key=a%2Cb=c, x-tenant = 7,").expect("they are well-formed");
        assert_eq!(read["api-key"], "a,b=c");
        assert_eq!(read["x-tenant"], "7");
        for text in ["a", "a b=c", "a=%2", "a=%zz", "a=%0A"] {
            assert!(headers(text).is_err(), "{text}");
        }
    }
}
