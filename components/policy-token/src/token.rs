//! JSON Web Tokens (RFC 7519): what they must look like here, and the making of a guest's.
//!
//! The key decides the algorithm, never the token: a key opens tokens of its own algorithm alone, so
//! `none`, or a public key taken for the secret of an HMAC, opens nothing (RFC 8725, section 3.1).

use crate::crypto::{self, hmac_sha256};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
pub(crate) use protocol::display_name;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// What the identity of each guest begins with, and of nobody else. Made of characters that a channel's
/// name may have, as the whole identity of a guest is.
pub(crate) const GUEST_PREFIX: &str = "guest~";

/// The key id in a guest's token. It only says which key to try.
const GUEST_KEY_ID: &str = "witter-guest-1";

/// A longer token fits no header that servers and proxies let through (8 KiB is the usual limit);
/// a much shorter limit has no room for grants.
const LONGEST_TOKEN: usize = 8192;

/// The issuer's clock may run ahead of ours, in milliseconds. Smaller: fresh tokens are refused;
/// larger: tokens work that much earlier than meant. An expiry gets no such grace.
const CLOCK_SKEW: u64 = 60_000;

/// Why a token does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the credential is longer than {LONGEST_TOKEN} bytes")]
    TooLong,
    #[error("the credential is not a JSON Web Token")]
    Malformed,
    #[error("the credential is of a kind that is not accepted here")]
    UnknownKey,
    #[error("the signature of the credential does not fit")]
    Forged,
    #[error("the claims of the credential are malformed")]
    Claims,
    #[error("the credential is for another audience")]
    Audience,
    #[error("the credential is not valid yet")]
    NotYetValid,
    #[error("the credential has expired")]
    Expired,
    #[error("the claim sub is not 1 to 64 characters of printable ASCII")]
    Subject,
    #[error("the claim sub begins with {GUEST_PREFIX}, which is for guests")]
    ReservedSubject,
    #[error("the claim name is not 1 to 64 characters without control characters")]
    Name,
    #[error("the claim {0} holds something else than channel patterns")]
    Grant(&'static str),
}

/// Whose signature a token says it bears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    /// This component's, on a guest's token.
    Guests,
    /// The deployment's own server, with the secret it shares with us.
    Secret,
    /// The deployment's own server, with the private half of our public key.
    PublicKey,
}

/// Which key to try. Nothing is verified yet.
pub(crate) fn issuer(token: &str) -> Result<Issuer, TokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(TokenError::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // An algorithm that is in no register, `none` above all.
        ErrorKind::Json(error) if error.is_data() => TokenError::UnknownKey,
        _ => TokenError::Malformed,
    })?;
    match header {
        // An extension that must be understood, and is not (RFC 7515, section 4.1.11).
        Header { crit: Some(_), .. } => Err(TokenError::UnknownKey),
        Header {
            alg: Algorithm::HS256,
            kid: Some(id),
            ..
        } if id == GUEST_KEY_ID => Ok(Issuer::Guests),
        Header {
            alg: Algorithm::HS256,
            ..
        } => Ok(Issuer::Secret),
        Header {
            alg: Algorithm::EdDSA,
            ..
        } => Ok(Issuer::PublicKey),
        _ => Err(TokenError::UnknownKey),
    }
}

/// The claims of a token that holds, but for the grants still as they came.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    pub(crate) name: Option<String>,
    /// Channel patterns; without them, nothing is granted.
    #[serde(default)]
    pub(crate) read: Vec<String>,
    #[serde(default)]
    pub(crate) publish: Vec<String>,
    #[serde(default)]
    pub(crate) create: Vec<String>,
    #[serde(default)]
    pub(crate) moderate: Vec<String>,
    #[serde(default)]
    pub(crate) administer: bool,
    iat: Option<f64>,
    /// Seconds since 1970, fractions allowed (RFC 7519, section 2, NumericDate).
    exp: Option<f64>,
    nbf: Option<f64>,
    /// We have no name of our own: a token that names its audience is meant for others
    /// (RFC 7519, section 4.1.3).
    aud: Option<IgnoredAny>,
}

impl Claims {
    /// When the token holds.
    pub(crate) fn term(&self) -> Term {
        Term {
            begins_at: self.nbf.map(milliseconds),
            ends_at: self.exp.map(milliseconds),
        }
    }

    /// When the token was made, in milliseconds since 1970.
    pub(crate) fn issued_at(&self) -> Option<u64> {
        self.iat.map(milliseconds)
    }

    /// What to show: the claim `name`, else the identity.
    pub(crate) fn display_name(&self) -> Result<&str, TokenError> {
        display_name(self.name.as_deref().unwrap_or(&self.sub)).ok_or(TokenError::Name)
    }

    fn check(&self, now: u64, guest: bool) -> Result<(), TokenError> {
        if self.aud.is_some() {
            return Err(TokenError::Audience);
        }
        self.term().check(now)?;
        if !(1..=64).contains(&self.sub.len())
            || !self.sub.bytes().all(|b| matches!(b, b' '..=b'~'))
        {
            return Err(TokenError::Subject);
        }
        if self.sub.starts_with(GUEST_PREFIX) != guest {
            return Err(TokenError::ReservedSubject);
        }
        Ok(())
    }
}

/// When a token holds, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Term {
    begins_at: Option<u64>,
    pub(crate) ends_at: Option<u64>,
}

impl Term {
    pub(crate) fn check(self, now: u64) -> Result<(), TokenError> {
        let latest = now.saturating_add(CLOCK_SKEW);
        if self.begins_at.is_some_and(|begins_at| begins_at > latest) {
            return Err(TokenError::NotYetValid);
        }
        if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

/// Before 1970 is 1970, and beyond what fits is the end of time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-integer cast saturates, which is what is wanted"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// A key of the deployment's own server, with the one algorithm it is for.
pub(crate) struct Key {
    key: DecodingKey,
    validation: Validation,
}

impl Key {
    /// HS256.
    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self::new(DecodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// EdDSA; the 32 bytes of an Ed25519 public key.
    pub(crate) fn public(key: &[u8; 32]) -> Self {
        Self::new(DecodingKey::from_ed_der(key), Algorithm::EdDSA)
    }

    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        crypto::install();
        let mut validation = Validation::new(algorithm);
        // Claims are checked here, by the time that is handed in and with no exception for malformed ones.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { key, validation }
    }

    /// The claims of a member's token. `now` is in milliseconds since 1970.
    pub(crate) fn open(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let claims = self.verify(token)?;
        claims.check(now, false)?;
        Ok(claims)
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        match jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidAlgorithm => TokenError::UnknownKey,
                ErrorKind::InvalidSignature => TokenError::Forged,
                ErrorKind::Json(_) | ErrorKind::Utf8(_) => TokenError::Claims,
                _ => TokenError::Malformed,
            }),
        }
    }
}

/// The key of guests' tokens, derived from a secret of another use: it makes guests and nobody else,
/// whoever gets hold of it, and what the secret signs is never a guest.
pub(crate) struct GuestKey([u8; 32]);

impl GuestKey {
    pub(crate) fn derive(secret: &[u8]) -> Self {
        Self(hmac_sha256(secret, b"witter guest v1"))
    }

    /// The claims of a guest's token. `now` is in milliseconds since 1970.
    pub(crate) fn open(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let claims = Key::secret(&self.0).verify(token)?;
        claims.check(now, true)?;
        Ok(claims)
    }

    /// A token that `open` accepts until `exp`, in seconds since 1970.
    pub(crate) fn mint(&self, sub: &str, name: &str, iat: u64, exp: u64) -> String {
        #[derive(Serialize)]
        struct GuestClaims<'a> {
            sub: &'a str,
            name: &'a str,
            iat: u64,
            exp: u64,
        }

        crypto::install();
        let header = Header {
            kid: Some(GUEST_KEY_ID.to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let key = EncodingKey::from_secret(&self.0);
        jsonwebtoken::encode(
            &header,
            &GuestClaims {
                sub,
                name,
                iat,
                exp,
            },
            &key,
        )
        .expect("text and numbers become JSON, and HS256 signs anything")
    }
}
