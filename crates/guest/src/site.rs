//! Pages that a component carries in itself, and what HTTP says about them.

use crate::{Method, Request, Response};
use protocol::Error;

/// What no page of ours needs: other people's scripts, forms that go elsewhere, a frame around it. The
/// style is a file beside the page, an icon stands in the page as a data URL.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// One file of a site.
#[derive(Debug)]
pub struct File {
    /// Where it is, from the root of the server.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What its Content-Security-Policy allows besides its own style: directives such as
    /// `script-src 'self'`, separated by semicolons; empty where it needs nothing.
    pub needs: &'static str,
    /// What is in it.
    pub body: &'static str,
}

/// Answers with the file at the request's path: 404 where there is none, 405 to other methods than GET and
/// HEAD, 304 where the browser has it already.
#[must_use]
pub fn answer(files: &[File], request: &Request) -> Response {
    match (
        files.iter().find(|file| file.path == request.path()),
        request.method(),
    ) {
        (None, _) => Error::NotFound.into(),
        // A server leaves the body of the answer to HEAD out by itself.
        (Some(file), Method::Get | Method::Head) => file.answer(request.header("if-none-match")),
        (Some(_), _) => Error::MethodNotAllowed { allow: "GET, HEAD" }.into(),
    }
}

impl File {
    fn answer(&self, if_none_match: Option<String>) -> Response {
        let etag = self.etag();
        let response = match if_none_match {
            Some(known) if matches(&known, &etag) => Response::empty(304),
            _ => Response::new(200, self.content_type, self.body),
        };
        response
            .with("etag", etag)
            // Kept, and asked for each time: after an update nobody gets the page of one version with the
            // script of another.
            .with("cache-control", "no-cache")
            .with("content-security-policy", self.policy())
    }

    fn policy(&self) -> String {
        [POLICY, self.needs].join("; ")
    }

    /// A strong validator (RFC 9110, section 8.8.3): FNV-1a, 64 bits, of the body.
    #[must_use]
    pub fn etag(&self) -> String {
        let hash = self
            .body
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("\"{hash:016x}\"")
    }
}

/// Whether `If-None-Match` names this validator (RFC 9110, section 13.1.2). Ours hold no comma.
fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|known| {
        // A proxy that compresses on the way weakens the validator.
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validator_is_found_among_others() {
        let etag = "\"0123456789abcdef\"";
        for (header, found) in [
            (etag, true),
            ("W/\"0123456789abcdef\"", true),
            ("\"a\", W/\"b\",\"0123456789abcdef\"", true),
            ("*", true),
            ("", false),
            ("0123456789abcdef", false),
            ("\"0123456789ABCDEF\"", false),
            ("w/\"0123456789abcdef\"", false),
            ("\"a\"", false),
        ] {
            assert_eq!(matches(header, etag), found, "{header}");
        }
    }

    #[test]
    fn each_text_has_a_validator_of_its_own() {
        let etag = |body| {
            let file = File {
                path: "/",
                content_type: "text/plain",
                needs: "",
                body,
            };
            file.etag()
        };
        assert_eq!(etag("a"), etag("a"));
        assert!(etag("a") != etag("b") && etag("a") != etag("") && etag("ab") != etag("ba"));
    }
}
