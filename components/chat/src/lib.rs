//! One plain page on which people talk: three files, no framework, no build step.

mod site;

use guest::{Method, Request, Response};
use protocol::Error;
use site::File;

async fn handle(request: Request) -> Response {
    match (site::file(request.path()), request.method()) {
        (None, _) => Error::NotFound.into(),
        // A server leaves the body of the answer to HEAD out by itself.
        (Some(file), Method::Get | Method::Head) => answer(file, request.header("if-none-match")),
        (Some(_), _) => Error::MethodNotAllowed { allow: "GET, HEAD" }.into(),
    }
}

fn answer(file: &File, if_none_match: Option<String>) -> Response {
    let etag = file.etag();
    let response = match if_none_match {
        Some(known) if site::matches(&known, &etag) => Response::empty(304),
        _ => Response::new(200, file.content_type, file.body),
    };
    response
        .with("etag", etag)
        // Kept, and asked for each time: after an update nobody gets the page of one version with the
        // script of another.
        .with("cache-control", "no-cache")
        .with("content-security-policy", site::CONTENT_SECURITY_POLICY)
}

guest::serve!(handle);
