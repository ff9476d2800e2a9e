//! From a request that was read to its response: limits, routes, components.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::answer::{Refusal, text};
use crate::body::{Answer, Broken};
use crate::dispatch::{Component, Failure};
use crate::gateway::{self, Upstream};
use crate::metrics::Metrics;
use crate::peers::{Full, Peers, Slot};
use crate::request;
use crate::routes::{Match, Routes};
use crate::telemetry::Tracer;
use crate::upgrade::{self, Asked, Handover};

/// Where Spin answers itself that it is there.
const HEALTH: &str = "/.well-known/spin/health";

/// The routes on which guests are made, however the path is spelled, and by which method: counted.
pub(crate) const GUESTS: [(&str, Method); 2] = [
    ("/witter/session", Method::POST),
    ("/witter/jsonp-session", Method::GET),
];

/// What a request may be, and how long it may take to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a head, its first line included.
    pub(crate) head: usize,
    /// Bytes of a body.
    pub(crate) body: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub(crate) idle_timeout: Duration,
}

/// A response, from whoever gave it.
pub(crate) struct Reply {
    pub(crate) response: Response<Answer>,
    /// Where the client's bytes go, when the component has accepted an upgrade.
    pub(crate) handover: Option<Handover>,
    /// The head may go out with the first bytes of the body.
    together: bool,
}

/// Who answers.
pub(crate) enum Backend {
    /// The components of an application that is served here.
    Components {
        routes: Routes,
        components: HashMap<String, Arc<Component>>,
    },
    /// An application that is served elsewhere.
    Upstream(Box<Upstream>),
}

/// Who answers one request.
enum Target<'a> {
    Component(&'a Arc<Component>, Match<'a>),
    Upstream(&'a Upstream),
}

/// What answers the requests of all connections.
pub(crate) struct Server {
    pub(crate) backend: Backend,
    /// Whether connections are upgraded.
    pub(crate) upgrades: bool,
    /// What connections begin with, if they do.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) peers: Peers,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// Who is told of requests, if anybody is.
    pub(crate) tracer: Option<Tracer>,
}

impl Server {
    pub(crate) async fn answer(
        &self,
        mut request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Reply {
        let begun = Instant::now();
        let (method, version) = (request.method().clone(), request.version());
        let tracer = self.tracer.as_ref();
        let tracing = tracer.and_then(|tracer| tracer.begin(request.headers_mut()));
        let mut found = None;
        let mut reply = self.find(request, peer, &mut found).await;
        let took = begun.elapsed();
        if let Ok(begins) = &mut reply
            && begins.together
            && let Err(broken) = begins.response.body_mut().begin().await
        {
            reply = Err(match broken {
                Broken::Instance => Refusal::InstanceEnded,
                broken => {
                    tracing::warn!("a response broke off before its body began: {broken}");
                    Refusal::ComponentFailed
                }
            });
        }
        let reply = reply.unwrap_or_else(|refusal| {
            self.metrics.refused(refusal);
            refusal.into()
        });
        let switches = reply.handover.is_some() && version == Version::HTTP_11;
        let status = if switches {
            StatusCode::SWITCHING_PROTOCOLS
        } else {
            reply.response.status()
        };
        let requests = &self.metrics.requests;
        requests.answered(found, &method, status, took);
        if let Some(tracing) = tracing {
            tracing.end(&method, found, status);
        }
        reply
    }

    /// Answers, and tells in `led_to` by which route.
    async fn find<'a>(
        &'a self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
        led_to: &mut Option<&'a str>,
    ) -> Result<Reply, Refusal> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if !path.starts_with('/') {
            return Err(Refusal::BadRequest);
        }
        let asked = upgrade::asked(&head, !body.is_end_stream(), self.upgrades)?;
        // To a path only extended CONNECT leads (RFC 9110, section 9.3.6; RFC 8441, section 4).
        if head.method == Method::CONNECT && asked.is_none() {
            return Err(Refusal::BadRequest);
        }
        let target = match &self.backend {
            Backend::Components { .. } if path == HEALTH => return Ok(text("OK").into()),
            Backend::Components { routes, components } => {
                let found = routes.find(&path).ok_or(Refusal::NotFound)?;
                let component = components.get(found.component).ok_or(Refusal::NotFound)?;
                *led_to = Some(found.route);
                Target::Component(component, found)
            }
            Backend::Upstream(upstream) => Target::Upstream(upstream),
        };
        let client = self.peers.client(peer.ip(), &head.headers);
        let slot = self
            .peers
            .request(peer.ip(), client)
            .map_err(Refusal::from)?;
        match &target {
            Target::Component(_, found) => {
                request::rewrite(&mut head, found, self.scheme(), peer, client);
            }
            Target::Upstream(_) => request::forward(&mut head, client),
        }
        if asked == Some(Asked::Here) {
            upgrade::mark(&mut head);
        }
        if target.makes_guest(&path, &head.method) {
            self.peers
                .admit_guest(client, Instant::now())
                .map_err(Refusal::TooManyGuests)?;
        }
        let Some(asked) = asked else {
            let body = match &target {
                Target::Component(..) => {
                    request::body(body, self.limits.body, self.limits.body_timeout).await?
                }
                Target::Upstream(_) => gateway::passed(body, &self.limits),
            };
            let request = http::Request::from_parts(head, body);
            return Ok(Reply {
                response: target.call(request, client, slot).await?,
                handover: None,
                together: true,
            });
        };
        let (handover, awaited) = upgrade::awaited();
        let request = http::Request::from_parts(head, awaited);
        let response = timeout(self.limits.body_timeout, target.call(request, client, slot))
            .await
            .map_err(|_| Refusal::Timeout)??;
        if response.status() != StatusCode::OK {
            let refused = upgrade::refused(response, handover, self.limits.body_timeout);
            return Ok(refused.await.into());
        }
        Ok(match asked {
            Asked::Here => Reply {
                response,
                handover: Some(handover),
                together: false,
            },
            Asked::Elsewhere => {
                // Where the component does not read it, nobody does.
                let body = body.map_err(|_| Error::ConnectionTerminated);
                handover.send(body.boxed_unsync()).ok();
                response.into()
            }
        })
    }
}

impl Target<'_> {
    fn makes_guest(&self, path: &str, method: &Method) -> bool {
        match self {
            Self::Component(_, found) => GUESTS.contains(&(found.route, method.clone())),
            Self::Upstream(upstream) => upstream.makes_guest(path, method),
        }
    }

    async fn call(
        self,
        request: http::Request<WasiBody>,
        client: IpAddr,
        slot: Slot,
    ) -> Result<Response<Answer>, Refusal> {
        match self {
            Self::Component(component, found) => component
                .call(request, client, slot)
                .await
                .map_err(|failure| match failure {
                    Failure::Ended => Refusal::InstanceEnded,
                    Failure::Fault(fault) => {
                        tracing::warn!(component = found.component, "{fault}");
                        Refusal::ComponentFailed
                    }
                }),
            Self::Upstream(upstream) => upstream.call(request, slot).await,
        }
    }
}

impl Server {
    fn scheme(&self) -> Scheme {
        if self.tls.is_some() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        }
    }
}

/// What URLs begin with, with TLS or without.
pub(crate) fn scheme(is_secure: bool) -> &'static str {
    if is_secure { "https" } else { "http" }
}

impl From<Response<Answer>> for Reply {
    fn from(response: Response<Answer>) -> Self {
        Self {
            response,
            handover: None,
            together: false,
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        refusal.response().into()
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        match full {
            Full::Host => Self::TooManyConnections,
            Full::Address => Self::TooManyFromAddress,
        }
    }
}
