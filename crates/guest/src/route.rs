//! What every route does before and behind its own work.

use crate::http::{Method, Request, Response};
use protocol::Error;
use protocol::framing::Framing;

/// The one method that a route answers, beside `OPTIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
}

impl Verb {
    const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, OPTIONS",
            Self::Post => "POST, OPTIONS",
        }
    }

    fn is(self, method: &Method) -> bool {
        matches!(
            (self, method),
            (Self::Get, Method::Get) | (Self::Post, Method::Post)
        )
    }
}

/// Answers preflights and refuses other methods; makes the framing from the query, and tells errors where
/// its readers see them.
pub(crate) async fn route<F: Framing>(
    request: Request,
    verb: Verb,
    framing: impl FnOnce(&str) -> Result<F, Error>,
    answer: impl AsyncFnOnce(Request, &F) -> Result<Response, Error>,
) -> Response {
    let method = request.method();
    if matches!(method, Method::Options) {
        return Response::preflight(verb.allow());
    }
    let framing = match framing(request.query()) {
        Ok(framing) => framing,
        Err(error) => return Response::error(&error),
    };
    let asked = protocol::inline_errors(request.query());
    let inline = F::INLINE_ERRORS || asked == Ok(true);
    let allow = verb.allow();
    let result = match asked {
        Err(error) => Err(error),
        Ok(_) if !verb.is(&method) => Err(Error::MethodNotAllowed { allow }),
        Ok(_) => answer(request, &framing).await,
    };
    match result {
        Ok(response) if inline => response.with_status(200),
        Ok(response) => response,
        Err(error) if inline => Response::new(200, F::CONTENT_TYPE, framing.refusal(&error)),
        Err(error) => Response::error(&error),
    }
}
