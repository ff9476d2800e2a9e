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
    let (framing, inline) = match framing(request.query()).and_then(|framing| {
        let inline = F::INLINE_ERRORS || protocol::inline_errors(request.query())?;
        Ok((framing, inline))
    }) {
        Ok(made) => made,
        Err(error) => return Response::error(&error),
    };
    let allow = verb.allow();
    let result = if verb.is(&method) {
        answer(request, &framing).await
    } else {
        Err(Error::MethodNotAllowed { allow })
    };
    match result {
        Ok(response) if inline => response.with_status(200),
        Ok(response) => response,
        Err(error) if inline => Response::new(200, F::CONTENT_TYPE, framing.refusal(&error)),
        Err(error) => Response::error(&error),
    }
}
