//! Short polling: what there is, at once; the client asks again on a timer.

use guest::delivery::{self, Waiting};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    delivery::once(request, Waiting::Never, |_| Ok(Json)).await
}

guest::serve!(handle);
