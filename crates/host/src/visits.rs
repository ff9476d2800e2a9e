//! Routes that the host asks by itself, as the manifest says: what a component has to do without being asked.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dispatch::Component;
use crate::manifest::Visit;

/// The visits of an application. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Visits(JoinSet<()>);

impl Visits {
    /// Begins to ask a route of this component.
    pub(crate) fn begin(&mut self, visit: Visit, component: Arc<Component>) {
        self.0.spawn(async move {
            loop {
                ask(&visit.route, &component).await;
                sleep(Duration::from_secs(visit.seconds)).await;
            }
        });
    }
}

/// A `POST` without a body; what is answered is nobody's.
async fn ask(route: &str, component: &Arc<Component>) {
    let uri = Uri::builder()
        .scheme("http")
        .authority("localhost")
        .path_and_query(route)
        .build();
    let Ok(uri) = uri else {
        tracing::warn!(route, "the route is no path that could be asked");
        return;
    };
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    match component.visit(request).await {
        Ok(response) if response.status().is_success() => {}
        Ok(response) if response.status() == StatusCode::NOT_FOUND => {
            tracing::debug!(route, "nothing is there to be done");
        }
        Ok(response) => tracing::warn!(route, status = %response.status(), "a visit was refused"),
        Err(failure) => tracing::warn!(route, "a visit failed: {failure}"),
    }
}
