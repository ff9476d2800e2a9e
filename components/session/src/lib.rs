//! A credential for a guest, where the deployment allows guests.

use guest::sending::{self, Source};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    sending::welcome(request, Source::Body, |_| Ok(Json)).await
}

guest::serve!(handle);
