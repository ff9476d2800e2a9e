//! Where batches go, and how they are signed: Standard Webhooks, version 1.0.0, with a symmetric secret.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Uri;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Where batches go.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    secret: Vec<u8>,
}

/// Neither its query nor the secret is anybody's to read.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("authority", &self.authority())
            .finish_non_exhaustive()
    }
}

/// Why nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Of another scheme, without a host, or no URL at all.
    #[error("webhook_scheme, webhook_host and webhook_path make no URL such as https://host/path")]
    Url,
    /// Not in the form of the standard, or of another length.
    #[error("webhook_secret: expected whsec_ and 24 to 64 bytes in base64")]
    Secret,
}

impl Endpoint {
    /// An endpoint by its URL and its secret, `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// What is wrong with which of the two.
    pub fn new(url: &str, secret: &str) -> Result<Self, BadEndpoint> {
        let uri: Uri = url.trim().parse().map_err(|_| BadEndpoint::Url)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = |authority: &http::uri::Authority| {
            !authority.host().is_empty() && !authority.as_str().contains('@')
        };
        if !is_http || !uri.authority().is_some_and(is_plain) || url.contains('#') {
            return Err(BadEndpoint::Url);
        }
        let secret = secret
            .trim()
            .strip_prefix("whsec_")
            .and_then(|secret| STANDARD.decode(secret).ok())
            .filter(|secret| (24..=64).contains(&secret.len()));
        Ok(Self {
            uri,
            secret: secret.ok_or(BadEndpoint::Secret)?,
        })
    }

    /// Whether connections to it are to be encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The host and, if it is told, the port.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// The path and the query.
    #[must_use]
    pub fn path_with_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// What tells this endpoint from another, of which nothing is to be read.
    #[must_use]
    pub fn digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(&Sha256::digest(self.uri.to_string())[..16])
    }

    /// The header `webhook-signature` for an attempt, `timestamp` in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, payload: &str) -> String {
        // A key of any length is taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return String::new();
        };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(payload.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn signatures_are_those_of_the_standards_own_library() {
        let endpoint = Endpoint::new("https://a.example", SECRET).expect("it is well-formed");
        assert_eq!(
            endpoint.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn an_endpoint_is_a_url_of_http_and_a_secret() {
        let url = "https://a.example:8443/hook?key=1";
        let endpoint = Endpoint::new(url, SECRET).expect("it is well-formed");
        assert!(endpoint.is_secure());
        assert_eq!(endpoint.authority(), "a.example:8443");
        assert_eq!(endpoint.path_with_query(), "/hook?key=1");
        let plain = Endpoint::new("http://127.0.0.1", SECRET).expect("it is well-formed");
        assert!(!plain.is_secure());
        assert_eq!(plain.path_with_query(), "/");
        assert_ne!(plain.digest(), endpoint.digest());
        for url in [
            "",
            "/hook",
            "a.example/hook",
            "ftp://a.example/",
            "https:///hook",
            "https://ann:secret@a.example/",
            "https://a.example/#x",
            "https://a example/",
        ] {
            assert_eq!(Endpoint::new(url, SECRET), Err(BadEndpoint::Url), "{url}");
        }
    }

    #[test]
    fn a_secret_has_24_to_64_bytes_in_base64() {
        let of = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for length in [24, 32, 64] {
            assert!(Endpoint::new("https://a.example", &of(length)).is_ok());
        }
        for secret in [
            of(23),
            of(65),
            String::new(),
            "whsec_".to_owned(),
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            "whsec_*".to_owned(),
        ] {
            let refused = Endpoint::new("https://a.example", &secret);
            assert_eq!(refused, Err(BadEndpoint::Secret), "{secret}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let endpoint = Endpoint::new("https://a.example/hook?key=1", SECRET).expect("well-formed");
        let shown = format!("{endpoint:?}");
        assert!(!shown.contains("key") && !shown.contains("77"), "{shown}");
    }
}
