//! JSONP: a script element asks by its address and is answered by a call, across origins without CORS.
//! Publishing, commands and getting a credential go the same way.

use guest::delivery::{self, Waiting};
use guest::sending::{self, Source};
use guest::{Request, Response};
use protocol::framing::Jsonp;

async fn handle(request: Request) -> Response {
    let response = match request.path().rsplit('/').next() {
        Some("jsonp-publish") => sending::publish(request, Source::Query, Jsonp::from_query).await,
        Some("jsonp-command") => sending::perform(request, Source::Query, Jsonp::from_query).await,
        Some("jsonp-session") => sending::welcome(request, Source::Query, Jsonp::from_query).await,
        _ => delivery::once(request, Waiting::AsAsked, Jsonp::from_query).await,
    };
    // Pages that isolate themselves load scripts of others only with their leave (Fetch standard, section 3.7).
    response.with("cross-origin-resource-policy", "cross-origin")
}

guest::serve!(handle);
