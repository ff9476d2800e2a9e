//! XHR streaming: JSON frames, one a line, for a page that reads `responseText` while it grows.

use guest::{Request, Response, delivery};
use protocol::framing::NdJson;

async fn handle(request: Request) -> Response {
    delivery::stream(request, |_| Ok(NdJson)).await
}

guest::serve!(handle);
