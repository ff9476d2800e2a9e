//! Credentials, as the deployment's own server signs them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a deployment is told as its `token_secret`.
pub const SECRET: &str = "a secret that is long enough for HS256";

/// A JSON Web Token of these claims (RFC 7515, section 3.1), signed with [`SECRET`].
#[must_use]
pub fn token(claims: &str) -> String {
    sign(SECRET, r#"{"alg":"HS256"}"#, claims)
}

/// The same with another secret, or another header.
#[must_use]
pub fn sign(secret: &str, header: &str, claims: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let mac = hmac_sha256::HMAC::mac(&signed, secret);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}
