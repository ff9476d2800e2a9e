//! Long polling: the request is held until there is something, or `wait` seconds are over.

use guest::delivery::{self, Waiting};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    delivery::once(request, Waiting::AsAsked, |_| Ok(Json)).await
}

guest::serve!(handle);
