//! What is neither reading nor publishing: who I am, and what else a person may ask for.

use guest::sending::{self, Source};
use guest::{Request, Response};
use protocol::framing::Json;

async fn handle(request: Request) -> Response {
    sending::perform(request, Source::Body, |_| Ok(Json)).await
}

guest::serve!(handle);
