//! The client library and its helpers for messaging, as modules and as classic scripts: a page needs nothing but the
//! server that it talks to.
//!
//! Both are built by `npm run build` in `client/`, which `cargo xtask build` sees to.

use guest::site::{self, File};
use guest::{Request, Response};

const FILES: [File; 4] = [
    script(
        "/witter/client.js",
        include_str!("../../../client/dist/witter.js"),
    ),
    script(
        "/witter/client.es5.js",
        include_str!("../../../client/dist/witter.es5.js"),
    ),
    script(
        "/witter/messaging.js",
        include_str!("../../../client/dist/messaging.js"),
    ),
    script(
        "/witter/messaging.es5.js",
        include_str!("../../../client/dist/messaging.es5.js"),
    ),
];

const fn script(path: &'static str, body: &'static str) -> File {
    File {
        path,
        content_type: "text/javascript; charset=utf-8",
        needs: "",
        body,
    }
}

async fn handle(request: Request) -> Response {
    site::answer(&FILES, &request)
}

guest::serve!(handle);

#[cfg(test)]
mod tests;
