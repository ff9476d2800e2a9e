//! The page on which people talk: plain modules on the client library, no framework, no build step.

use guest::site::{self, File};
use guest::{Request, Response};

/// Our own scripts, requests and sockets to where they came from, and a frame and scripts from there for the
/// transports that read by them. Trusted Types let no text become a script or HTML; the one policy that they
/// admit is in `trusted.js`.
const NEEDS: &str = "script-src 'self'; connect-src 'self'; frame-src 'self'; \
    require-trusted-types-for 'script'; trusted-types default";

const FILES: [File; 30] = [
    page("/", include_str!("../page/index.html")),
    style("/base.css", include_str!("../page/base.css")),
    style("/layout.css", include_str!("../page/layout.css")),
    style("/stream.css", include_str!("../page/stream.css")),
    style("/dialogs.css", include_str!("../page/dialogs.css")),
    script("/actions.js", include_str!("../page/actions.js")),
    script("/app.js", include_str!("../page/app.js")),
    script("/chat.js", include_str!("../page/chat.js")),
    script("/composer.js", include_str!("../page/composer.js")),
    script("/connection.js", include_str!("../page/connection.js")),
    script("/dialogs.js", include_str!("../page/dialogs.js")),
    script("/dom.js", include_str!("../page/dom.js")),
    script("/emoji.js", include_str!("../page/emoji.js")),
    script("/kept.js", include_str!("../page/kept.js")),
    script("/message.js", include_str!("../page/message.js")),
    script("/people.js", include_str!("../page/people.js")),
    script("/room.js", include_str!("../page/room.js")),
    script("/rooms.js", include_str!("../page/rooms.js")),
    script("/rows.js", include_str!("../page/rows.js")),
    script("/settings.js", include_str!("../page/settings.js")),
    script("/shortcuts.js", include_str!("../page/shortcuts.js")),
    script("/side.js", include_str!("../page/side.js")),
    script("/stream.js", include_str!("../page/stream.js")),
    script("/text.js", include_str!("../page/text.js")),
    script("/theme.js", include_str!("../page/theme.js")),
    script("/timeline.js", include_str!("../page/timeline.js")),
    script("/trusted.js", include_str!("../page/trusted.js")),
    script("/words.js", include_str!("../page/words.js")),
    script("/words/en.js", include_str!("../page/words/en.js")),
    script("/words/zh.js", include_str!("../page/words/zh.js")),
];

const fn page(path: &'static str, body: &'static str) -> File {
    File {
        path,
        content_type: "text/html; charset=utf-8",
        needs: NEEDS,
        body,
    }
}

const fn style(path: &'static str, body: &'static str) -> File {
    File {
        path,
        content_type: "text/css; charset=utf-8",
        needs: "",
        body,
    }
}

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
