//! From a request that was read to its response: limits, routes, components.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response};
use hyper::body::Incoming;

use crate::answer::{Refusal, text};
use crate::body::Answer;
use crate::dispatch::{Component, Failure};
use crate::peers::{Full, Peers};
use crate::request;
use crate::routes::Routes;

/// Where Spin answers itself that it is there.
const HEALTH: &str = "/.well-known/spin/health";

/// The routes on which guests are made, however the path is spelled, and by which method: counted.
const GUESTS: [(&str, Method); 2] = [
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

/// What answers the requests of all connections.
pub(crate) struct Server {
    pub(crate) routes: Routes,
    pub(crate) components: HashMap<String, Arc<Component>>,
    pub(crate) peers: Peers,
    pub(crate) limits: Limits,
}

impl Server {
    /// The response, from whoever gives it.
    pub(crate) async fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Answer> {
        self.find(request, peer)
            .await
            .unwrap_or_else(Refusal::response)
    }

    async fn find(
        &self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Answer>, Refusal> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if !path.starts_with('/') {
            return Err(Refusal::BadRequest);
        }
        if path == HEALTH {
            return Ok(text("OK"));
        }
        let found = self.routes.find(&path).ok_or(Refusal::NotFound)?;
        let component = self
            .components
            .get(found.component)
            .ok_or(Refusal::NotFound)?;
        let client = self.peers.client(peer.ip(), &head.headers);
        let slot = self
            .peers
            .request(peer.ip(), client)
            .map_err(Refusal::from)?;
        if GUESTS
            .iter()
            .any(|(route, method)| found.route == *route && head.method == *method)
        {
            self.peers
                .admit_guest(client, Instant::now())
                .map_err(Refusal::TooManyGuests)?;
        }
        request::rewrite(&mut head, &found, peer, client);
        let body = request::body(body, self.limits.body, self.limits.body_timeout).await?;
        let request = http::Request::from_parts(head, body);
        component
            .call(request, client, slot)
            .await
            .map_err(|failure| match failure {
                Failure::Ended => Refusal::InstanceEnded,
                Failure::Fault(fault) => {
                    tracing::warn!(component = found.component, "{fault}");
                    Refusal::ComponentFailed
                }
            })
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
