//! The techniques by name: one small page for each way of reaching a browser.
//!
//! A page is one file that stands for itself, its script in it, so that it can be read from top to bottom
//! and taken along. That is why the policies allow scripts in the page. What else they allow is what a
//! site's policy has to allow before it can go that way.

use guest::site::{self, File};
use guest::{Request, Response};

const OWN_SERVER: &str = "script-src 'unsafe-inline'; connect-src 'self'";
const OWN_FRAME: &str = "script-src 'unsafe-inline'; connect-src 'self'; frame-src 'self'";
// Where the other server is, the page's address may tell: any.
const OTHER_SERVER: &str = "script-src 'unsafe-inline'; connect-src http: https:";
const OTHER_FRAME: &str =
    "script-src 'unsafe-inline'; connect-src http: https:; frame-src http: https:";
const OTHER_SCRIPT: &str = "script-src 'unsafe-inline' http: https:";

const FILES: [File; 13] = [
    page(
        "/examples/",
        "",
        include_str!("../../../examples/index.html"),
    ),
    File {
        path: "/examples/examples.css",
        content_type: "text/css; charset=utf-8",
        needs: "",
        body: include_str!("../../../examples/examples.css"),
    },
    page(
        "/examples/short-polling.html",
        OWN_SERVER,
        include_str!("../../../examples/short-polling.html"),
    ),
    page(
        "/examples/long-polling.html",
        OWN_SERVER,
        include_str!("../../../examples/long-polling.html"),
    ),
    page(
        "/examples/xhr-streaming.html",
        OWN_SERVER,
        include_str!("../../../examples/xhr-streaming.html"),
    ),
    page(
        "/examples/forever-iframe.html",
        OWN_FRAME,
        include_str!("../../../examples/forever-iframe.html"),
    ),
    page(
        "/examples/forever-iframe-postmessage.html",
        OTHER_FRAME,
        include_str!("../../../examples/forever-iframe-postmessage.html"),
    ),
    page(
        "/examples/htmlfile-activex.html",
        OWN_FRAME,
        include_str!("../../../examples/htmlfile-activex.html"),
    ),
    page(
        "/examples/sse.html",
        OWN_SERVER,
        include_str!("../../../examples/sse.html"),
    ),
    page(
        "/examples/websocket.html",
        OWN_SERVER,
        include_str!("../../../examples/websocket.html"),
    ),
    page(
        "/examples/cors.html",
        OTHER_SERVER,
        include_str!("../../../examples/cors.html"),
    ),
    page(
        "/examples/xdomainrequest.html",
        OTHER_SERVER,
        include_str!("../../../examples/xdomainrequest.html"),
    ),
    page(
        "/examples/jsonp.html",
        OTHER_SCRIPT,
        include_str!("../../../examples/jsonp.html"),
    ),
];

const fn page(path: &'static str, needs: &'static str, body: &'static str) -> File {
    File {
        path,
        content_type: "text/html; charset=utf-8",
        needs,
        body,
    }
}

async fn handle(request: Request) -> Response {
    match request.path() {
        // The links on the pages are relative to the folder.
        "/examples" => Response::empty(308).with("location", "/examples/"),
        _ => site::answer(&FILES, &request),
    }
}

guest::serve!(handle);

#[cfg(test)]
mod tests;
