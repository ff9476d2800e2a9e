//! A gateway: upgrades connections in front of an application that is served elsewhere, by a host that
//! upgrades none, and passes on everything else as it comes.

use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Sleep, sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::answer::Refusal;
use crate::body::{Answer, Passing};
use crate::connection::{SILENCE, UNCONFIRMED};
use crate::handed::Handed;
use crate::listening::{self, Listening};
use crate::metrics::Metrics;
use crate::operating::{self, Operations, Served};
use crate::options::Connections;
use crate::peers::Slot;
use crate::request;
use crate::routes::Routes;
use crate::server::{Backend, GUESTS, Limits, Server, scheme};

/// How long a connection to the application is kept on which nothing is asked. Longer than its host keeps
/// it, and a request may go to one that is just being closed.
const IDLE: Duration = Duration::from_secs(20);

/// In front of what a gateway stands, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the application is: `http://HOST:PORT`
    #[arg(long, value_name = "URL")]
    pub to: Uri,

    /// The address to listen on; port 0 takes a free one. A socket that is handed over, as by systemd, comes first
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "WITTER_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,

    /// A socket that listens already, in place of that address: the one that systemd hands over
    #[arg(skip)]
    pub handed: Option<Handed>,

    /// The most guests that one address may make in an hour
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    pub guests_per_address: u32,

    /// What connections may be
    #[command(flatten)]
    pub connections: Connections,

    /// How the gateway is run
    #[command(flatten)]
    pub operating: operating::Options,
}

/// A gateway that is open. Dropping it cuts everything off; [`Running::shutdown`] ends it in order.
#[derive(Debug)]
pub struct Running {
    listening: Listening,
    operations: Operations,
}

/// Opens a gateway, in the runtime that this is called in. Once it returns, connections are answered. Whether
/// the application is there is seen by each request.
///
/// # Errors
/// Where the URL, the certificate or the address is not usable.
pub fn start(options: Options) -> BoxFuture<'static, anyhow::Result<Running>> {
    begin(options).boxed()
}

async fn begin(options: Options) -> anyhow::Result<Running> {
    let operations = Operations::begin(&options.operating).await?;
    let limits = options.connections.limits();
    let upstream = Upstream::new(&options.to, &limits)?;
    let served = Served::Elsewhere(upstream.authority.clone());
    let tls = options.connections.tls()?;
    // Which routes there are only the application knows.
    let metrics = Arc::new(Metrics::new([], scheme(tls.is_some())));
    let server = Server {
        backend: Backend::Upstream(Box::new(upstream)),
        upgrades: true,
        tls,
        peers: options.connections.peers(options.guests_per_address),
        limits,
        metrics: metrics.clone(),
        tracer: operations.tracer(),
    };
    let stop_timeout = options.connections.stop_timeout;
    let listener = listening::listen(options.listen, options.handed.as_ref()).await?;
    let listening = Listening::start(listener, server, stop_timeout)?;
    operations.serve(metrics, served);
    Ok(Running {
        listening,
        operations,
    })
}

impl Running {
    /// The address that it listens on, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Where it is found, by that address: `http://` or, with a certificate, `https://`.
    #[must_use]
    pub fn url(&self) -> String {
        self.listening.url()
    }

    /// Where it is asked for what it counts, if anywhere.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.operations.address()
    }

    /// Tells balancers that it stops, and takes what comes meanwhile for as long as the options say; then accepts
    /// nothing more, waits until what is open has ended, for as long as the options allow, and cuts off the rest.
    pub fn shutdown(mut self) -> BoxFuture<'static, ()> {
        async move {
            self.operations.drain().await;
            self.listening.shutdown(|| {}).await;
            self.operations.finish().await;
        }
        .boxed()
    }
}

/// An application that is served elsewhere.
pub(crate) struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Sending>,
    guests: Routes,
}

impl Upstream {
    fn new(url: &Uri, limits: &Limits) -> anyhow::Result<Self> {
        let is_origin = url.scheme() == Some(&Scheme::HTTP) && url.path() == "/";
        ensure!(
            is_origin && url.query().is_none(),
            "{url} is not of the form http://HOST:PORT"
        );
        let authority = url.authority().cloned().context("it has no host")?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(limits.head_timeout));
        connector.set_keepalive(Some(SILENCE));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNCONFIRMED));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(limits.head.max(8192))
            .build(connector);
        Ok(Self {
            authority,
            client,
            guests: Routes::new(GUESTS.map(|(route, _)| (route, route)))?,
        })
    }

    /// Whether a request makes a guest, as far as a gateway can tell.
    pub(crate) fn makes_guest(&self, path: &str, method: &Method) -> bool {
        self.guests
            .find(path)
            .is_some_and(|found| GUESTS.contains(&(found.component, method.clone())))
    }

    /// Passes a request on. `slot` is kept until the response's body ends.
    ///
    /// Dropping the future, or the body, ends the request to the application too.
    pub(crate) async fn call(
        &self,
        mut request: Request<WasiBody>,
        slot: Slot,
    ) -> Result<Response<Answer>, Refusal> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = request
            .uri()
            .path_and_query()
            .cloned()
            .or(Some(PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Refusal::BadRequest)?;
        *request.version_mut() = Version::HTTP_11;
        let (sending, mut request) = Sending::of(request);
        let connection = capture_connection(&mut request);
        let mut response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                let refusal = refusal(&error);
                if matches!(refusal, Refusal::UpstreamAway | Refusal::UpstreamFailed) {
                    tracing::warn!("{:#}", anyhow::Error::from(error));
                }
                return Err(refusal);
            }
        };
        // Most hosts close a connection on which they have answered a request that goes on.
        if sending.upgrade().is_some()
            && let Some(connection) = &*connection.connection_metadata()
        {
            connection.poison();
        }
        request::strip(response.headers_mut());
        Ok(response.map(|body| Answer::Upstream(Passing { body, _slot: slot })))
    }
}

/// Who is to blame that there is no response: the client, whose body was passed on, or the application.
fn refusal(error: &hyper_util::client::legacy::Error) -> Refusal {
    let mut source = error.source();
    while let Some(error) = source {
        match error.downcast_ref() {
            Some(Error::HttpRequestBodySize(_)) => return Refusal::BodyTooLarge,
            Some(Error::ConnectionReadTimeout) => return Refusal::Timeout,
            Some(_) => return Refusal::BadRequest,
            None => source = error.source(),
        }
    }
    if error.is_connect() {
        Refusal::UpstreamAway
    } else {
        Refusal::UpstreamFailed
    }
}

/// A request's body, until the connection has taken all of it.
struct Sending {
    body: WasiBody,
    _sending: Arc<()>,
}

impl Sending {
    /// Makes it the body of a request, and tells whether it is there still.
    fn of(request: Request<WasiBody>) -> (Weak<()>, Request<Self>) {
        let sending = Arc::new(());
        let weak = Arc::downgrade(&sending);
        let request = request.map(|body| Self {
            body,
            _sending: sending,
        });
        (weak, request)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request as it comes, within the limits.
pub(crate) fn passed(body: Incoming, limits: &Limits) -> WasiBody {
    if body.is_end_stream() {
        return request::empty();
    }
    Bounded {
        body,
        left: limits.body,
        late: Box::pin(sleep(limits.body_timeout)),
    }
    .boxed_unsync()
}

struct Bounded {
    body: Incoming,
    /// How many bytes may still come.
    left: usize,
    late: Pin<Box<Sleep>>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(ended) => {
                return Poll::Ready(ended.map(|frame| frame.map_err(Error::from)));
            }
            Poll::Pending => {
                return self
                    .late
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(Error::ConnectionReadTimeout)));
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(Some(match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err(Error::HttpRequestBodySize(None)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
