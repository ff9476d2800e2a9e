//! WebSocket: frames to the reader, and what it asks, both ways on one connection.

use guest::{Request, Response};

async fn handle(request: Request) -> Response {
    match guest::origins("websocket_origins") {
        Ok(origins) => guest::duplex(request, origins).await,
        Err(error) => error.into(),
    }
}

guest::serve!(handle);
