//! Long polling: the request is held until there is something, or `wait` seconds are over.

use guest::delivery::{self, Waiting};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    delivery::once(request, Json, Waiting::AsAsked).await
}

guest::serve!(handle);
