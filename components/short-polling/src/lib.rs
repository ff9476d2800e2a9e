//! Short polling: what there is, at once; the client asks again on a timer.

use guest::delivery::{self, Waiting};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    delivery::once(request, Json, Waiting::Never).await
}

guest::serve!(handle);
