//! What the host answers itself. Errors have the shape that the components' have.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE,
    REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};

use crate::body::Answer;

/// An error of the host's own: its status, its code, and who reads the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request is not HTTP.
    BadRequest,
    /// No route leads where it points.
    NotFound,
    /// It did not arrive in time.
    Timeout,
    /// Its body is longer than allowed.
    BodyTooLarge,
    /// Its request line is longer than allowed.
    TargetTooLong,
    /// Its head is longer than allowed.
    HeadTooLarge,
    /// It wants an upgrade to a protocol that the host does not know.
    UnknownProtocol,
    /// Its address holds all that one may.
    TooManyFromAddress,
    /// Its address made all the guests that one may; again after this long.
    TooManyGuests(Duration),
    /// The host holds all that it may.
    TooManyConnections,
    /// The component gave no response, or one that is none.
    ComponentFailed,
    /// The instance that the request was in ended. Another one is there.
    InstanceEnded,
    /// The application that a gateway stands in front of cannot be reached.
    UpstreamAway,
    /// It was reached, and gave no response.
    UpstreamFailed,
}

impl Refusal {
    /// What [`Self::reason`] may be.
    pub(crate) const REASONS: [&str; 14] = [
        "bad-request",
        "not-found",
        "timeout",
        "body-too-large",
        "target-too-long",
        "head-too-large",
        "unknown-protocol",
        "too-many-from-address",
        "too-many-guests",
        "too-many-connections",
        "component-failed",
        "instance-ended",
        "upstream-away",
        "upstream-failed",
    ];

    /// What it is counted as: the code is the same for several.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotFound => "not-found",
            Self::Timeout => "timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::TargetTooLong => "target-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::UnknownProtocol => "unknown-protocol",
            Self::TooManyFromAddress => "too-many-from-address",
            Self::TooManyGuests(_) => "too-many-guests",
            Self::TooManyConnections => "too-many-connections",
            Self::ComponentFailed => "component-failed",
            Self::InstanceEnded => "instance-ended",
            Self::UpstreamAway => "upstream-away",
            Self::UpstreamFailed => "upstream-failed",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooManyFromAddress | Self::TooManyGuests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::UnknownProtocol => StatusCode::NOT_IMPLEMENTED,
            Self::ComponentFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamFailed => StatusCode::BAD_GATEWAY,
            Self::TooManyConnections | Self::InstanceEnded | Self::UpstreamAway => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "invalid-request",
            Self::NotFound => "not-found",
            Self::Timeout => "timeout",
            Self::BodyTooLarge => "too-large",
            Self::TargetTooLong => "uri-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::UnknownProtocol => "unknown-protocol",
            Self::TooManyFromAddress | Self::TooManyGuests(_) => "rate-limited",
            Self::ComponentFailed => "internal",
            Self::TooManyConnections
            | Self::InstanceEnded
            | Self::UpstreamAway
            | Self::UpstreamFailed => "unavailable",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::BadRequest => "the request does not follow HTTP",
            Self::NotFound => "nothing answers at this path",
            Self::Timeout => "the request did not arrive in time",
            Self::BodyTooLarge => "the request's body is too long",
            Self::TargetTooLong => "the request's target is too long",
            Self::HeadTooLarge => "the request's head is too long",
            Self::UnknownProtocol => "connections are upgraded to websocket only",
            Self::TooManyFromAddress => "too many connections from one address",
            Self::TooManyGuests(_) => "too many guests from one address",
            Self::TooManyConnections => "too many connections",
            Self::ComponentFailed => "the component failed",
            Self::InstanceEnded => "the component's instance ended, another one is there",
            Self::UpstreamAway => "the application cannot be reached",
            Self::UpstreamFailed => "the application gave no response",
        }
    }

    /// Seconds after which trying again may help.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyGuests(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            Self::TooManyFromAddress
            | Self::TooManyConnections
            | Self::InstanceEnded
            | Self::UpstreamAway
            | Self::UpstreamFailed => Some(1),
            _ => None,
        }
    }

    fn body(self) -> String {
        // Neither has anything that JSON would escape.
        format!(
            r#"{{"error":"{}","detail":"{}"}}"#,
            self.code(),
            self.detail()
        )
    }

    /// The response to a request that was read.
    pub(crate) fn response(self) -> Response<Answer> {
        let mut response = Response::new(Answer::Own(Some(self.body().into())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after"),
        );
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    /// The same in HTTP/1.1's bytes, for a connection on which no request can be read; it is the last.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let response = self.response();
        let mut bytes = format!("HTTP/1.1 {}\r\nconnection: close\r\n", self.status()).into_bytes();
        for (name, value) in response.headers() {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        let body = self.body();
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        bytes
    }
}

/// A plain text of the host's own.
pub(crate) fn text(text: &'static str) -> Response<Answer> {
    let mut response = Response::new(Answer::Own(Some(Bytes::from_static(text.as_bytes()))));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted() {
        for refusal in [
            Refusal::BadRequest,
            Refusal::NotFound,
            Refusal::Timeout,
            Refusal::BodyTooLarge,
            Refusal::TargetTooLong,
            Refusal::HeadTooLarge,
            Refusal::UnknownProtocol,
            Refusal::TooManyFromAddress,
            Refusal::TooManyGuests(Duration::ZERO),
            Refusal::TooManyConnections,
            Refusal::ComponentFailed,
            Refusal::InstanceEnded,
            Refusal::UpstreamAway,
            Refusal::UpstreamFailed,
        ] {
            assert!(Refusal::REASONS.contains(&refusal.reason()), "{refusal:?}");
        }
    }
}
