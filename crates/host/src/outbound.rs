//! Requests that components send: only to where their manifest lets them, so many at once, and for so long.
//!
//! Connections are kept for a while, for the next request to the same host. No redirect is followed, and nothing is
//! sent a second time but what found a kept connection closed before any of it was written.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::rustls::crypto::ring;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::allowed::AllowedHost;

/// The most requests that are under way at once, of all components; more wait. A component that sends for each
/// request that it gets takes no more files and memory than this.
const MOST: usize = 128;

/// How long each part may take where the component does not say, or says a longer time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection is kept that nothing is sent on. Longer than many servers keep theirs, and requests find
/// them closed.
const IDLE: Duration = Duration::from_secs(15);

/// How many refused destinations are remembered, so that each is logged once.
const MOST_REFUSED: usize = 64;

/// Sends the requests of all components.
#[derive(Clone)]
pub(crate) struct Outbound(Arc<Inner>);

struct Inner {
    /// Made for the first request, since the system's certificates are read for it; or why it cannot be.
    client: OnceLock<Result<Client<HttpsConnector<HttpConnector>, WasiBody>, String>>,
    permits: Arc<Semaphore>,
    refused: Mutex<BTreeSet<String>>,
}

/// What becomes of a request, as wasmtime takes it.
pub(crate) type Sent = Result<(Response<WasiBody>, Sending), Error>;
/// A part of a request that goes on by itself.
pub(crate) type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Outbound {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            client: OnceLock::new(),
            permits: Arc::new(Semaphore::new(MOST)),
            refused: Mutex::default(),
        }))
    }

    /// Sends a request of a component that may send to these hosts.
    pub(crate) async fn send(
        self,
        component: &str,
        allowed: &[AllowedHost],
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Sent {
        if !allowed.iter().any(|host| host.allows(request.uri())) {
            self.refuse(component, request.uri());
            return Err(Error::HttpRequestDenied);
        }
        let client = self.0.client.get_or_init(client).as_ref().map_err(|why| {
            tracing::error!(component, "no request can be sent: {why}");
            Error::ConfigurationError
        })?;
        let options = options.unwrap_or_default();
        let most = |asked: Option<Duration>| asked.unwrap_or(TIMEOUT).min(TIMEOUT);
        let permit = timeout(TIMEOUT, self.0.permits.clone().acquire_owned());
        let permit = permit
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(Error::ConnectionLimitReached)?;
        // Of a connection that is kept, nothing tells when it was made: the two times are one.
        let head = most(options.connect_timeout) + most(options.first_byte_timeout);
        let response = timeout(head, client.request(request))
            .await
            .map_err(|_| Error::HttpResponseTimeout)?
            .map_err(failed)?;
        let between = most(options.between_bytes_timeout);
        let response =
            response.map(|incoming| Received::new(incoming, between, permit).boxed_unsync());
        Ok((response, Box::new(async { Ok(()) })))
    }

    /// Tells once for each destination: whoever sends at all sends often. What is behind the host is nobody's to read.
    fn refuse(&self, component: &str, uri: &Uri) {
        let scheme = uri.scheme_str().unwrap_or("?");
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // A user's name and password stand before it.
        let host = authority.rsplit('@').next().unwrap_or_default();
        let destination = format!("{component} {scheme}://{host}");
        let mut refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MOST_REFUSED && refused.insert(destination) {
            tracing::warn!(
                component,
                "a request to {scheme}://{host} is refused: it is not among the component's allowed_outbound_hosts"
            );
        }
    }
}

fn client() -> Result<Client<HttpsConnector<HttpConnector>, WasiBody>, String> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(TIMEOUT));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(ring::default_provider())
        .map_err(|error| format!("the system's certificates are unusable: {error}"))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(https))
}

/// As far as a component can do something about it.
fn failed(error: legacy::Error) -> Error {
    if error.is_connect() {
        return Error::ConnectionRefused;
    }
    let mut cause = std::error::Error::source(&error);
    while let Some(one) = cause {
        if let Some(hyper) = one.downcast_ref::<hyper::Error>() {
            return if hyper.is_timeout() {
                Error::HttpResponseTimeout
            } else if hyper.is_parse() {
                Error::HttpProtocolError
            } else {
                Error::ConnectionTerminated
            };
        }
        cause = one.source();
    }
    Error::ConnectionTerminated
}

/// A response's body, whose parts come soon enough one after the other.
struct Received {
    incoming: Incoming,
    between: Duration,
    late: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Received {
    fn new(incoming: Incoming, between: Duration, permit: OwnedSemaphorePermit) -> Self {
        Self {
            incoming,
            between,
            late: Box::pin(sleep(between)),
            _permit: permit,
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                let next = Instant::now() + self.between;
                self.late.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => self
                .late
                .as_mut()
                .poll(cx)
                .map(|()| Some(Err(Error::ConnectionReadTimeout))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
