//! Who may do what, told by signed tokens.
//!
//! A credential is a JSON Web Token that the deployment's own server signed, with HS256 or with EdDSA,
//! or one that this component signed for a guest. The claims:
//!
//! | claim | meaning |
//! |---|---|
//! | `sub` | required: the identity, 1 to 64 bytes of printable ASCII, not beginning with `guest~` |
//! | `name` | what others see; `sub` where absent |
//! | `read`, `publish`, `create`, `moderate` | arrays of channel patterns: a name, `PREFIX*`, or `*` for all but those with a leading `@`; absent: none |
//! | `administer` | `true`: may do what concerns the deployment as a whole |
//! | `exp`, `nbf`, `iat` | optional, seconds since 1970 |
//! | `aud`, header `crit` | refused |
//!
//! A member of a channel may read and publish in it whatever the patterns, a moderator or owner moderate it too. Who may
//! create `room~…`, as with `*`, may create private rooms, whose channels are `@room~…`.
//! Everybody may also read what `anonymous_read` names. All decisions follow from the credential, the
//! configuration and the time that is handed in.

mod bindings;
mod config;
mod crypto;
mod grants;
mod policy;
mod proven;
#[cfg(test)]
mod tests;
mod token;

use bindings::exports::witter::messaging::policy as wit;
use config::{Config, ConfigError};
use policy::Policy;
use std::cell::OnceCell;

/// What `bindings` exports.
struct Component;

impl wit::Guest for Component {
    fn authenticate(
        credential: Option<String>,
        context: wit::Context,
    ) -> Result<wit::Identity, wit::Error> {
        with_policy(|policy| policy.authenticate(credential.as_deref(), &context))?
    }

    fn permit(
        identity: wit::Identity,
        action: wit::Action,
        places: Vec<wit::Place>,
    ) -> Vec<Result<(), wit::Error>> {
        policy::permit(&identity, action, &places)
    }

    /// Who may publish may publish anything.
    fn review(
        _: wit::Identity,
        _: wit::Place,
        _: String,
        _: wit::Context,
    ) -> Result<Option<String>, wit::Error> {
        Ok(None)
    }

    fn admit(
        name: String,
        entropy: Vec<u8>,
        context: wit::Context,
    ) -> Result<wit::Guest_, wit::Error> {
        with_policy(|policy| policy.admit(&name, &entropy, &context))?
    }
}

/// The configuration is read once in the life of an instance; an error is not kept, for it may pass.
fn with_policy<T>(decide: impl FnOnce(&Policy) -> T) -> Result<T, ConfigError> {
    thread_local! {
        static POLICY: OnceCell<Policy> = const { OnceCell::new() };
    }
    POLICY.with(|cell| {
        let policy = match cell.get() {
            Some(policy) => policy,
            None => {
                let config = Config::read(|name| {
                    bindings::wasi::config::store::get(name).map_err(|error| format!("{error:?}"))
                })?;
                cell.get_or_init(|| Policy::new(config))
            }
        };
        Ok(decide(policy))
    })
}
