//! What a deployment says about credentials.

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::{DecodePublicKey, spki};
use protocol::{BadPattern, Patterns};

/// A shorter key than the digest weakens HS256, and RFC 7518 (section 3.2) forbids it.
const SHORTEST_SECRET: usize = 32;

/// The variables of this component. An empty one counts as not set.
pub(crate) struct Config {
    /// `token_secret`: the key of HS256 tokens, its bytes as they stand.
    pub(crate) secret: Option<String>,
    /// `token_public_key`: the key of EdDSA tokens.
    pub(crate) public_key: Option<VerifyingKey>,
    /// `guest_channels` where `guests` is true: what a guest may read and publish in.
    pub(crate) guests: Option<Patterns>,
    /// `anonymous_read`: what may be read without a credential, and so with any.
    pub(crate) anonymous_read: Patterns,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration cannot be read: {0}")]
    Away(String),
    #[error("token_secret is shorter than {SHORTEST_SECRET} bytes")]
    ShortSecret,
    #[error("token_public_key is not an Ed25519 public key in PEM: {0}")]
    PublicKey(#[from] spki::Error),
    #[error("token_public_key is a weak key")]
    WeakPublicKey,
    #[error("guests is neither true nor false")]
    Guests,
    #[error("{0}: {1}")]
    Pattern(&'static str, BadPattern),
}

impl Config {
    /// `variable` answers none for one that is not defined.
    pub(crate) fn read(
        variable: impl Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<Self, ConfigError> {
        let variable = |name| match variable(name) {
            Ok(value) => Ok(value.filter(|value| !value.is_empty())),
            Err(why) => Err(ConfigError::Away(why)),
        };
        let patterns = |name, default: &str| {
            let list = variable(name)?;
            Patterns::parse(list.as_deref().unwrap_or(default))
                .map_err(|error| ConfigError::Pattern(name, error))
        };

        let secret = variable("token_secret")?;
        if secret
            .as_ref()
            .is_some_and(|secret| secret.len() < SHORTEST_SECRET)
        {
            return Err(ConfigError::ShortSecret);
        }
        let public_key = match variable("token_public_key")? {
            Some(pem) => Some(public_key(&pem)?),
            None => None,
        };
        let guest_channels = patterns("guest_channels", "*")?;
        let guests = match variable("guests")?.as_deref() {
            Some("true") => Some(guest_channels),
            Some("false") | None => None,
            Some(_) => return Err(ConfigError::Guests),
        };
        let anonymous_read = patterns("anonymous_read", "")?;
        Ok(Self {
            secret,
            public_key,
            guests,
            anonymous_read,
        })
    }
}

/// A SubjectPublicKeyInfo (RFC 8410) as `openssl pkey -pubout` writes it. Where line breaks do not
/// survive, in environment files for one, they may be written `\n`.
fn public_key(pem: &str) -> Result<VerifyingKey, ConfigError> {
    let key = VerifyingKey::from_public_key_pem(&pem.replace("\\n", "\n"))?;
    if key.is_weak() {
        Err(ConfigError::WeakPublicKey)
    } else {
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| {
            Ok(variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn nothing_is_allowed_where_nothing_is_set() {
        for variables in [
            [].as_slice(),
            &[
                ("token_secret", ""),
                ("token_public_key", ""),
                ("guests", ""),
                ("guest_channels", ""),
                ("anonymous_read", ""),
            ],
        ] {
            let config = read(variables).expect("the defaults hold");
            assert!(config.secret.is_none() && config.public_key.is_none());
            assert!(config.guests.is_none() && config.anonymous_read == Patterns::default());
        }
    }

    #[test]
    fn guests_may_use_every_channel_unless_told_otherwise() {
        let guests = |variables: &[_]| read(variables).expect("a good configuration").guests;
        assert_eq!(guests(&[("guests", "true")]), Patterns::parse("*").ok());
        assert_eq!(
            guests(&[("guests", "true"), ("guest_channels", "lobby, help.*")]),
            Patterns::parse("lobby help.*").ok()
        );
        assert_eq!(
            guests(&[("guests", "false"), ("guest_channels", "lobby")]),
            None
        );
    }

    #[test]
    fn a_public_key_may_have_its_line_breaks_escaped() {
        for pem in [
            PEM.to_owned(),
            PEM.replace('\n', "\r\n"),
            PEM.replace('\n', "\\n"),
        ] {
            assert!(read(&[("token_public_key", &pem)]).is_ok(), "{pem:?}");
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        let short = "s".repeat(31);
        let private = PEM.replace("PUBLIC", "PRIVATE");
        let rsa = "-----BEGIN PUBLIC KEY-----\nMCIwDQYJKoZIhvcNAQEBBQADEQAwDgIHAOA8Cxl8MwIDAQAB\n-----END PUBLIC KEY-----\n";
        // The identity element: with it as the key, one signature fits almost any message.
        let weak = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
        for (name, value) in [
            ("token_secret", short.as_str()),
            ("token_public_key", "nothing like PEM"),
            ("token_public_key", &private),
            ("token_public_key", rsa),
            ("token_public_key", weak),
            ("guests", "yes"),
            ("guest_channels", "a*b"),
            ("anonymous_read", "lobby, a/b"),
        ] {
            let error = read(&[(name, value)])
                .err()
                .expect("a bad value is refused")
                .to_string();
            assert!(error.starts_with(name), "{name}={value}: {error}");
        }
        assert!(read(&[("token_secret", &"s".repeat(32))]).is_ok());
    }

    #[test]
    fn a_configuration_that_is_away_is_an_error() {
        let read = Config::read(|_| Err("the vault is sealed".to_owned()));
        assert!(matches!(read, Err(ConfigError::Away(why)) if why.contains("sealed")));
    }
}
