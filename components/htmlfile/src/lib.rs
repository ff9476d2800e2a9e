//! The forever iframe: a document without end whose scripts call the page around it.

use guest::{Request, Response, delivery};
use protocol::framing::Htmlfile;

async fn handle(request: Request) -> Response {
    let settings =
        guest::variable("document_domain").and_then(|domain| Ok((domain, guest::sharing()?)));
    let (domain, origins) = match settings {
        Ok(settings) => settings,
        Err(error) => return error.into(),
    };
    let authority = request.authority().unwrap_or_default();
    let response = delivery::stream(request, |query| {
        Htmlfile::from_query(query, domain.clone(), |origin| {
            origins.admit(origin, &authority)
        })
    })
    .await
    // Our own scripts only, and they load nothing.
    .with(
        "content-security-policy",
        "default-src 'none'; script-src 'unsafe-inline'",
    );
    match domain {
        // Without it Chromium leaves `document.domain` as it is (WHATWG HTML, section 7.1.2).
        Some(_) => response.with("origin-agent-cluster", "?0"),
        None => response,
    }
}

guest::serve!(handle);
