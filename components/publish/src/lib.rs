//! Publishing: the sending side of every transport that only receives.

use guest::sending::{self, Source};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    sending::publish(request, Source::Body, |_| Ok(Json)).await
}

guest::serve!(handle);
