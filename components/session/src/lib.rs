//! A credential for a guest, where the deployment allows guests.

use guest::{Method, Request, Response, messenger};
use protocol::{Error, Session};

const ALLOW: &str = "POST, OPTIONS";

async fn handle(request: Request) -> Response {
    match request.method() {
        Method::Post => welcome(request).await.into(),
        Method::Options => Response::preflight(ALLOW),
        _ => Error::MethodNotAllowed { allow: ALLOW }.into(),
    }
}

async fn welcome(request: Request) -> Result<Response, Error> {
    let caller = request.caller(None)?;
    let name = protocol::parse_session(&request.json().await?)?;
    let messenger::Session {
        token,
        sender,
        name,
        expires_at,
    } = messenger::welcome(caller, name).await?;
    Ok(Response::json(
        201,
        Session {
            token,
            sender,
            name,
            expires_at,
        }
        .to_json(),
    ))
}

guest::serve!(handle);
