//! The decisions: who a credential stands for, and what an identity may do.

use crate::bindings::exports::witter::messaging::policy::{
    Action, Context, Error, Guest_ as Guest, Identity, Place,
};
use crate::bindings::witter::messaging::types::Role;
use crate::config::{Config, ConfigError};
use crate::grants::Grants;
use crate::proven::{Credential, Proven};
use crate::token::{Claims, GUEST_PREFIX, GuestKey, Issuer, Key, TokenError, display_name, issuer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::Patterns;
use std::cell::RefCell;

/// How long a guest lasts. Shorter: somebody who keeps a page open all day is asked for a name again;
/// longer: a token that cannot be revoked stays good for longer, and the identity behind it comes back.
const GUEST_SECONDS: u64 = 24 * 60 * 60;

/// Fewer random bytes, and two guests could be drawn alike, or one be guessed.
const LEAST_ENTROPY: usize = 16;

/// A shorter one can be searched for.
const LEAST_SHARED_SECRET: usize = 32;

/// The rules of one deployment: its configuration, the keys parsed.
pub(crate) struct Policy {
    /// Where set, guests' tokens are signed with a key derived from it.
    secret_text: Option<String>,
    secret: Option<Key>,
    public_key: Option<Key>,
    guests: Option<Patterns>,
    anonymous_read: Patterns,
    proven: RefCell<Proven>,
}

impl Policy {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            secret: config
                .secret
                .as_ref()
                .map(|secret| Key::secret(secret.as_bytes())),
            secret_text: config.secret,
            public_key: config.public_key.map(|key| Key::public(key.as_bytes())),
            guests: config.guests,
            anonymous_read: config.anonymous_read,
            proven: RefCell::default(),
        }
    }

    pub(crate) fn authenticate(
        &self,
        credential: Option<&str>,
        context: &Context,
    ) -> Result<Identity, Error> {
        let Some(token) = credential else {
            return Ok(Identity {
                sender: None,
                name: String::new(),
                expires_at: None,
                issued_at: None,
                administers: false,
                grants: self.grants(Grants::default()),
            });
        };
        let mut proven = self.proven.borrow_mut();
        if let Some(credential) = proven.find(token, &context.shared_secret) {
            credential.term.check(context.now)?;
            return Ok(credential.identity.clone());
        }
        let credential = self.open(token, context)?;
        let identity = credential.identity.clone();
        proven.keep(token, credential);
        Ok(identity)
    }

    /// Looks at a token for the first time.
    fn open(&self, token: &str, context: &Context) -> Result<Credential, Error> {
        let (claims, grants) = match (issuer(token)?, &self.guests) {
            (Issuer::Guests, Some(channels)) => {
                let claims = self.guest_key(context)?.open(token, context.now)?;
                let grants = Grants {
                    read: channels.clone(),
                    publish: channels.clone(),
                    create: channels.clone(),
                    moderate: Patterns::default(),
                };
                (claims, self.grants(grants))
            }
            (Issuer::Guests, None) => return Err(TokenError::UnknownKey.into()),
            (Issuer::Secret, _) => self.member(self.secret.as_ref(), token, context)?,
            (Issuer::PublicKey, _) => self.member(self.public_key.as_ref(), token, context)?,
        };
        let term = claims.term();
        let identity = Identity {
            name: claims.display_name()?.to_owned(),
            expires_at: term.ends_at,
            issued_at: claims.issued_at(),
            administers: claims.administer,
            sender: Some(claims.sub),
            grants,
        };
        Ok(Credential { term, identity })
    }

    pub(crate) fn admit(
        &self,
        name: &str,
        entropy: &[u8],
        context: &Context,
    ) -> Result<Guest, Error> {
        if self.guests.is_none() {
            return Err(Error::Forbidden("this deployment has no guests".to_owned()));
        }
        let name = display_name(name).ok_or_else(|| {
            Error::Invalid("a name is 1 to 64 characters without control characters".to_owned())
        })?;
        if entropy.len() < LEAST_ENTROPY {
            return Err(Error::Unavailable(
                "too little entropy to draw a guest".to_owned(),
            ));
        }
        let sender = format!(
            "{GUEST_PREFIX}{}",
            URL_SAFE_NO_PAD.encode(&entropy[..LEAST_ENTROPY])
        );
        let iat = context.now / 1000;
        let exp = iat.saturating_add(GUEST_SECONDS);
        Ok(Guest {
            token: self.guest_key(context)?.mint(&sender, name, iat, exp),
            sender,
            name: name.to_owned(),
            expires_at: exp.saturating_mul(1000),
        })
    }

    fn member(
        &self,
        key: Option<&Key>,
        token: &str,
        context: &Context,
    ) -> Result<(Claims, String), TokenError> {
        let claims = key
            .ok_or(TokenError::UnknownKey)?
            .open(token, context.now)?;
        let patterns = |claim, list: &[String]| {
            Patterns::new(list.iter().map(String::as_str)).map_err(|_| TokenError::Grant(claim))
        };
        let grants = Grants {
            read: patterns("read", &claims.read)?,
            publish: patterns("publish", &claims.publish)?,
            create: patterns("create", &claims.create)?,
            moderate: patterns("moderate", &claims.moderate)?,
        };
        Ok((claims, self.grants(grants)))
    }

    fn guest_key(&self, context: &Context) -> Result<GuestKey, Error> {
        match &self.secret_text {
            Some(secret) => Ok(GuestKey::derive(secret.as_bytes())),
            None if context.shared_secret.len() >= LEAST_SHARED_SECRET => {
                Ok(GuestKey::derive(&context.shared_secret))
            }
            None => Err(Error::Unavailable(
                "there is no secret to sign guests with".to_owned(),
            )),
        }
    }

    /// Whoever shows a credential keeps what they could do without.
    fn grants(&self, grants: Grants) -> String {
        Grants {
            read: grants.read.or(&self.anonymous_read),
            ..grants
        }
        .to_string()
    }
}

/// One answer for each place, in order: a role speaks for itself, else the patterns decide.
pub(crate) fn permit(
    identity: &Identity,
    action: Action,
    places: &[Place],
) -> Vec<Result<(), Error>> {
    let grants = Grants::from_notes(&identity.grants);
    let (patterns, verb) = match action {
        Action::Read => (&grants.read, "reading"),
        Action::Publish => (&grants.publish, "publishing in"),
        Action::Create => (&grants.create, "creating"),
        Action::Moderate => (&grants.moderate, "moderating"),
    };
    let least = match action {
        Action::Read | Action::Publish => Some(Role::Member),
        Action::Moderate => Some(Role::Moderator),
        Action::Create => None,
    };
    // The channel of a private room is drawn for who creates it: `*` stands for it too.
    let drawn = |channel: &str| {
        let name = channel.strip_prefix('@')?;
        (action == Action::Create && name.starts_with("room~"))
            .then(|| patterns.match_channel(name))
    };
    let grants = |channel: &str| patterns.match_channel(channel) || drawn(channel) == Some(true);
    places
        .iter()
        .map(|Place { channel, role }| match &identity.sender {
            _ if grants(channel) => Ok(()),
            Some(_) if least.is_some_and(|least| role.is_some_and(|role| role >= least)) => Ok(()),
            Some(_) => Err(Error::Forbidden(format!("{verb} {channel} is not allowed"))),
            None => Err(Error::Unauthorized(format!(
                "{verb} {channel} needs a credential"
            ))),
        })
        .collect()
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        Self::Unauthorized(error.to_string())
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
