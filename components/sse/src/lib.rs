//! Server-sent events: a stream that a browser's `EventSource` reads and reopens by itself.

use guest::{Request, Response, delivery};
use protocol::framing::Sse;

async fn handle(request: Request) -> Response {
    delivery::stream(request, Sse::from_query).await
}

guest::serve!(handle);
