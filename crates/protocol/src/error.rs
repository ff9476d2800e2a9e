use crate::json::Object;

/// Why a request was not answered as it wished: one status, one code, one explanation.
///
/// Clients match [`code`](Self::code) only; the text is for people and may change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400 `invalid-request`: the request does not follow the grammar. The text names the part at fault.
    #[error("{0}")]
    Invalid(String),
    /// 401 `unauthorized`: no credential, or one that does not hold.
    #[error("{0}")]
    Unauthorized(String),
    /// 403 `forbidden`: the credential holds, and does not allow this.
    #[error("{0}")]
    Forbidden(String),
    /// 404 `not-found`: nothing is at this path.
    #[error("nothing is here")]
    NotFound,
    /// 405 `method-not-allowed`.
    #[error("the methods here are {allow}")]
    MethodNotAllowed {
        /// The methods, as the header `Allow` lists them.
        allow: &'static str,
    },
    /// 409 `id-reused`: the sender used this id before, for another body.
    #[error("the id was used before, for another body")]
    IdReused,
    /// 413 `too-large`: a body or a request over its limit.
    #[error("too much at once; a message's body has at most 65,536 bytes")]
    TooLarge,
    /// 415 `unsupported-media-type`.
    #[error("a request body is application/json or text/plain")]
    UnsupportedMediaType,
    /// 422 `unprocessable`: JSON, of the wrong shape. The text names the part at fault.
    #[error("{0}")]
    Unprocessable(String),
    /// 426 `upgrade-required`: a WebSocket where nobody upgraded the connection.
    #[error("this is a websocket of version 13, and nobody upgraded the connection")]
    UpgradeRequired,
    /// 429 `rate-limited`.
    #[error("too often; again in {retry_after} s")]
    RateLimited {
        /// When to try again, in seconds from now.
        retry_after: u32,
    },
    /// 503 `unavailable`: the store is away, or too contended, or the host about to stop. Trying again
    /// is safe.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    /// The HTTP status (RFC 9110, section 15; 429: RFC 6585, section 4).
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status_and_code().0
    }

    /// The code that clients match, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// The code with which a WebSocket is closed for this (RFC 6455, section 7.4; 1013: the IANA registry).
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::TooLarge => 1009,
            Self::RateLimited { .. } | Self::Unavailable(_) => 1013,
            _ => 1008,
        }
    }

    /// The headers that the status asks for, names in lower case.
    ///
    /// `Upgrade`, which 426 asks for too, is one that a `wasi:http` guest may not set: the host does.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Unauthorized(_) => vec![("www-authenticate", "Bearer".to_owned())],
            Self::MethodNotAllowed { allow } => vec![("allow", (*allow).to_owned())],
            Self::UpgradeRequired => vec![("sec-websocket-version", "13".to_owned())],
            _ => match self.retry_after() {
                Some(seconds) => vec![("retry-after", seconds.to_string())],
                None => Vec::new(),
            },
        }
    }

    /// When to try again, in seconds from now.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Unavailable(_) => Some(1),
            _ => None,
        }
    }

    /// `{"error":code,"detail":text}`, and `"retry_after":seconds` where there is one: not every reader sees
    /// the header.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.members(Object::new()).end()
    }

    /// Adds the members that an error has wherever it is told.
    pub(crate) fn members(&self, object: Object) -> Object {
        self.explain(object.text("error", self.code()))
    }

    /// Adds what stands behind the code.
    pub(crate) fn explain(&self, object: Object) -> Object {
        let object = object.text("detail", &self.to_string());
        let object = match self {
            // Which transport to take instead, without waiting.
            Self::UpgradeRequired => object.text("next", "sse"),
            _ => object,
        };
        match self.retry_after() {
            Some(seconds) => object.number("retry_after", seconds.into()),
            None => object,
        }
    }

    fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Self::Invalid(_) => (400, "invalid-request"),
            Self::Unauthorized(_) => (401, "unauthorized"),
            Self::Forbidden(_) => (403, "forbidden"),
            Self::NotFound => (404, "not-found"),
            Self::MethodNotAllowed { .. } => (405, "method-not-allowed"),
            Self::IdReused => (409, "id-reused"),
            Self::TooLarge => (413, "too-large"),
            Self::UnsupportedMediaType => (415, "unsupported-media-type"),
            Self::Unprocessable(_) => (422, "unprocessable"),
            Self::UpgradeRequired => (426, "upgrade-required"),
            Self::RateLimited { .. } => (429, "rate-limited"),
            Self::Unavailable(_) => (503, "unavailable"),
        }
    }
}
