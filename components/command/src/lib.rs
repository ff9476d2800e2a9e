//! What is neither reading nor publishing: who I am, what else a person may ask for, and the delivery of what waits to
//! be sent to the webhook's endpoint.

use guest::sending::{self, Source};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    match request.path().rsplit('/').next() {
        Some("webhook") => sending::deliver(request).await,
        _ => sending::perform(request, Source::Body, |_| Ok(Json)).await,
    }
}

guest::serve!(handle);
