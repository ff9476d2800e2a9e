//! Publishing: the sending side of every transport that only receives.

use guest::{Method, Request, Response, messenger};
use protocol::{Draft, Drafts, Error, PublishQuery, Stored};

const ALLOW: &str = "POST, OPTIONS";

async fn handle(request: Request) -> Response {
    match request.method() {
        Method::Post => publish(request).await.into(),
        Method::Options => Response::preflight(ALLOW),
        _ => Error::MethodNotAllowed { allow: ALLOW }.into(),
    }
}

async fn publish(request: Request) -> Result<Response, Error> {
    let PublishQuery { channel, token } = PublishQuery::parse(request.query())?;
    let caller = request.caller(token)?;
    let drafts = Drafts::parse(&request.json().await?)?;
    let outgoing = drafts.iter().map(|Draft { id, body }| messenger::Draft {
        id: id.clone(),
        body: body.clone(),
    });
    let results = messenger::publish(caller, channel.to_string(), outgoing.collect()).await?;
    let results = results.into_iter().map(|result| {
        let messenger::Receipt { offset, duplicate } = result?;
        Ok(Stored { offset, duplicate })
    });
    let (status, answer) = drafts.answer(&channel, results)?;
    Ok(Response::json(status, answer))
}

guest::serve!(handle);
