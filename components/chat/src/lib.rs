//! One plain page on which people talk: three files, no framework, no build step.

use guest::site::{self, File};
use guest::{Request, Response};

const FILES: [File; 3] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        // Nothing but our own script, and requests to where it came from.
        needs: "script-src 'self'; connect-src 'self'",
        body: include_str!("../page/index.html"),
    },
    File {
        path: "/chat.css",
        content_type: "text/css; charset=utf-8",
        needs: "",
        body: include_str!("../page/chat.css"),
    },
    File {
        path: "/chat.js",
        content_type: "text/javascript; charset=utf-8",
        needs: "",
        body: include_str!("../page/chat.js"),
    },
];

async fn handle(request: Request) -> Response {
    site::answer(&FILES, &request)
}

guest::serve!(handle);

#[cfg(test)]
mod tests;
