//! What those who run a host ask it, on an address of its own: what it counts, whether it lives, whether it is ready.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::dispatch::Component;
use crate::metrics::{Family, Metrics, Seen, text};
use crate::options::seconds;
use crate::store::Store;
use crate::telemetry::{self, Dropped, Telemetry, Tracer};
use crate::wakeup::Wakeups;

/// The most who ask at once; more wait. Those who run a host are few.
const CONNECTIONS: usize = 64;

/// How long somebody who asks may take to say what, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what the host depends on may take to show that it is there. Shorter than those who ask mostly wait.
const REACHED: Duration = Duration::from_millis(800);

/// How long new connections are still taken after a host is told to stop, where somebody may ask whether it is ready
/// and nothing else is said: enough to be asked once by who asks each second.
const DRAIN: Duration = Duration::from_secs(1);

/// How a host is run.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Where `/metrics`, `/healthz` and `/readyz` are answered, apart from what is served; port 0 takes a free one
    /// [default: nowhere]
    #[arg(long, value_name = "ADDRESS", env = "WITTER_METRICS")]
    pub metrics: Option<SocketAddr>,

    /// How long new connections are still taken after SIGTERM or SIGINT, while `/readyz` tells balancers to send
    /// none [default: 1 with --metrics, else 0]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, env = "WITTER_DRAIN")]
    pub drain: Option<Duration>,

    /// Who else is told
    #[command(flatten)]
    pub telemetry: telemetry::Options,
}

impl Options {
    pub(crate) fn drain(&self) -> Duration {
        let default = self.metrics.map_or(Duration::ZERO, |_| DRAIN);
        self.drain.unwrap_or(default)
    }
}

/// How far a host is, as others have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// It compiles components.
    Starting,
    Serving,
    Stopping,
}

/// What a host depends on.
#[derive(Debug)]
pub(crate) enum Served {
    /// An application that it serves itself.
    Here {
        store: Store,
        wakeups: Wakeups,
        components: Vec<Arc<Component>>,
    },
    /// One that it stands in front of.
    Elsewhere(Authority),
}

/// A host, as those see it who run it.
#[derive(Debug)]
pub(crate) struct Operating {
    phase: AtomicU8,
    metrics: OnceLock<Arc<Metrics>>,
    served: OnceLock<Served>,
    dropped: Arc<Dropped>,
}

/// Why a host is not ready.
#[derive(Debug, thiserror::Error)]
enum Unready {
    #[error("starting")]
    Starting,
    #[error("stopping")]
    Stopping,
    #[error("the store is away")]
    Store,
    #[error("the application is away")]
    Application,
}

impl Operating {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            metrics: OnceLock::new(),
            served: OnceLock::new(),
            dropped: Arc::default(),
        })
    }

    /// It serves from now on.
    pub(crate) fn serve(&self, metrics: Arc<Metrics>, served: Served) {
        // Nobody does so twice.
        self.metrics.set(metrics).ok();
        self.served.set(served).ok();
        self.phase.store(Phase::Serving as u8, Ordering::Release);
    }

    /// It is not ready any more, for good.
    pub(crate) fn stop(&self) {
        self.phase.store(Phase::Stopping as u8, Ordering::Release);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    async fn ready(&self) -> Result<(), Unready> {
        if self.is(Phase::Stopping) {
            return Err(Unready::Stopping);
        }
        match self.served.get() {
            _ if self.is(Phase::Starting) => Err(Unready::Starting),
            None => Err(Unready::Starting),
            Some(Served::Here { store, .. }) => {
                let asked = timeout(REACHED, store.look()).await;
                asked.map_or(Err(Unready::Store), |asked| {
                    asked.map_err(|_| Unready::Store)
                })
            }
            Some(Served::Elsewhere(authority)) => {
                let address = (authority.host(), authority.port_u16().unwrap_or(80));
                let connected = timeout(REACHED, TcpStream::connect(address)).await;
                connected
                    .map_or(Err(Unready::Application), |connected| {
                        connected.map_err(|_| Unready::Application)
                    })
                    .map(drop)
            }
        }
    }

    /// When counting began.
    pub(crate) fn begun(&self) -> Option<SystemTime> {
        self.metrics.get().map(|metrics| metrics.begun())
    }

    /// All that is counted at this moment; nothing while the host begins.
    pub(crate) fn families(&self) -> Vec<Family> {
        let Some(metrics) = self.metrics.get() else {
            return Vec::new();
        };
        let (store, wakeups, components) = match self.served.get() {
            Some(Served::Here {
                store,
                wakeups,
                components,
            }) => (Some(store), Some(wakeups), &**components),
            Some(Served::Elsewhere(_)) | None => (None, None, &[][..]),
        };
        let mut components: Vec<_> = components
            .iter()
            .map(|component| component.seen())
            .collect();
        components.sort_unstable_by_key(|component| component.id);
        metrics.families(Seen {
            store,
            wakeups,
            components: &components,
            ready: self.is(Phase::Serving),
            dropped: &self.dropped,
        })
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return told(StatusCode::NOT_FOUND, "nothing answers at this path\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = told(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match path {
            "/healthz" => told(StatusCode::OK, "alive\n"),
            "/readyz" => match self.ready().await {
                Ok(()) => told(StatusCode::OK, "ready\n"),
                Err(why) => told(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            _ => {
                // It reads files.
                let encoded = tokio::task::spawn_blocking(move || text::encode(self.families()));
                match encoded.await {
                    Ok(Ok(text)) => {
                        let mut response = told(StatusCode::OK, text);
                        let kind = HeaderValue::from_static(text::CONTENT_TYPE);
                        response.headers_mut().insert(CONTENT_TYPE, kind);
                        response
                    }
                    _ => told(StatusCode::INTERNAL_SERVER_ERROR, "no text could be made\n"),
                }
            }
        }
    }
}

fn told(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a running host has for those who run it.
#[derive(Debug)]
pub(crate) struct Operations {
    operating: Arc<Operating>,
    desk: Option<Desk>,
    telemetry: Option<Telemetry>,
    drain: Duration,
}

impl Operations {
    /// It can be asked from now on, where the options say.
    ///
    /// # Errors
    /// Where an address is not usable.
    pub(crate) async fn begin(options: &Options) -> anyhow::Result<Self> {
        let operating = Operating::new();
        let desk = match options.metrics {
            Some(address) => Some(Desk::open(address, operating.clone()).await?),
            None => None,
        };
        let dropped = operating.dropped.clone();
        let telemetry = Telemetry::begin(&options.telemetry, operating.clone(), dropped)?;
        Ok(Self {
            operating,
            desk,
            telemetry,
            drain: options.drain(),
        })
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.desk.as_ref().map(Desk::address)
    }

    /// Who is told of requests, if anybody is.
    pub(crate) fn tracer(&self) -> Option<Tracer> {
        self.telemetry.as_ref().map(Telemetry::tracer)
    }

    /// It serves from now on.
    pub(crate) fn serve(&self, metrics: Arc<Metrics>, served: Served) {
        self.operating.serve(metrics, served);
    }

    /// Says that it is not ready any more, and waits until others may have heard.
    pub(crate) async fn drain(&self) {
        self.operating.stop();
        sleep(self.drain).await;
    }

    /// Nothing is served any more: what is still to be told is.
    pub(crate) async fn finish(&mut self) {
        if let Some(telemetry) = self.telemetry.take() {
            telemetry.finish().await;
        }
    }
}

/// Where a host is asked. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Desk {
    address: SocketAddr,
    task: AbortHandle,
}

impl Desk {
    /// Answers from now on.
    ///
    /// # Errors
    /// Where the address is not usable.
    pub(crate) async fn open(
        address: SocketAddr,
        operating: Arc<Operating>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{address} cannot be listened on for metrics"))?;
        Ok(Self {
            address: listener.local_addr()?,
            task: tokio::spawn(take(listener, operating)).abort_handle(),
        })
    }

    /// With the port that it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(listener: TcpListener, operating: Arc<Operating>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    // Ended with this.
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files: some are given back soon.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let operating = operating.clone();
        open.spawn(async move {
            let service = service_fn(move |request| {
                let operating = operating.clone();
                async move { Ok::<_, std::convert::Infallible>(operating.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever does not take what they asked for is let go.
            timeout(2 * PATIENCE, connection).await.ok();
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_that_begins_is_not_ready_and_has_counted_nothing() {
        let operating = Operating::new();
        let why = async || operating.ready().await.map_err(|why| why.to_string());
        assert_eq!(why().await, Err("starting".to_owned()));
        assert!(operating.families().is_empty());
        // Told to stop before it served, it never is.
        operating.stop();
        assert_eq!(why().await, Err("stopping".to_owned()));
    }

    #[test]
    fn it_drains_where_somebody_may_ask() {
        let metrics = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        for (metrics, drain, expected) in [
            (None, None, Duration::ZERO),
            (metrics, None, DRAIN),
            (metrics, Some(Duration::ZERO), Duration::ZERO),
            (None, Some(DRAIN * 2), DRAIN * 2),
        ] {
            let options = Options {
                metrics,
                drain,
                ..Options::default()
            };
            assert_eq!(options.drain(), expected);
        }
    }
}
