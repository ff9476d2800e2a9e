//! Tokens that were looked at before. To verify a signature and to read the claims costs more than all else that is asked
//! here of a request; what comes of it is the same each time, but for the time.

use crate::bindings::exports::witter::messaging::policy::Identity;
use crate::token::Term;
use std::collections::BTreeMap;

/// With more than so many bytes it starts anew. A token with its identity is about half a kilobyte: those of some
/// thousand people who come again and again.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// How much of a token's end finds it: 96 bits of its signature, so that no two that hold are alike.
const END: usize = 16;

/// What a token says that was signed by whom it should be.
pub(crate) struct Credential {
    pub(crate) term: Term,
    pub(crate) identity: Identity,
}

/// The tokens whose signature fits.
#[derive(Default)]
pub(crate) struct Proven {
    /// What guests were signed with.
    shared_secret: Vec<u8>,
    credentials: BTreeMap<[u8; END], (String, Credential)>,
    bytes: usize,
}

impl Proven {
    /// A token that was kept, under the same secret.
    pub(crate) fn find(&mut self, token: &str, shared_secret: &[u8]) -> Option<&Credential> {
        if self.shared_secret != shared_secret {
            *self = Self {
                shared_secret: shared_secret.to_owned(),
                ..Self::default()
            };
        }
        let (kept, credential) = self.credentials.get(end(token)?)?;
        (kept == token).then_some(credential)
    }

    /// Keeps a token that was proven under the secret of the last [`Proven::find`].
    pub(crate) fn keep(&mut self, token: &str, credential: Credential) {
        let Some(end) = end(token) else {
            return;
        };
        let Identity {
            sender,
            name,
            grants,
            ..
        } = &credential.identity;
        let identity = sender.as_ref().map_or(0, String::len) + name.len() + grants.len();
        let bytes = size_of::<(String, Credential)>() + token.len() + identity;
        if self.bytes + bytes > MOST_BYTES {
            self.credentials.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.credentials
            .insert(*end, (token.to_owned(), credential));
    }
}

fn end(token: &str) -> Option<&[u8; END]> {
    token.as_bytes().last_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(sender: &str) -> Credential {
        Credential {
            term: Term::default(),
            identity: Identity {
                sender: Some(sender.to_owned()),
                name: String::new(),
                expires_at: None,
                issued_at: None,
                administers: false,
                grants: String::new(),
            },
        }
    }

    fn sender(proven: &mut Proven, token: &str, secret: &[u8]) -> Option<String> {
        proven.find(token, secret)?.identity.sender.clone()
    }

    #[test]
    fn a_token_is_found_whole_and_under_its_secret_alone() {
        let mut proven = Proven::default();
        let token = "a.b.0123456789abcdef";
        assert_eq!(sender(&mut proven, token, b"one"), None);
        proven.keep(token, credential("ann"));
        assert_eq!(sender(&mut proven, token, b"one"), Some("ann".to_owned()));
        for other in ["a.c.0123456789abcdef", "0123456789abcdef", "f", ""] {
            assert_eq!(sender(&mut proven, other, b"one"), None, "{other}");
        }
        assert_eq!(sender(&mut proven, token, b"other"), None);
        assert_eq!(sender(&mut proven, token, b"one"), None, "it was forgotten");
    }

    #[test]
    fn however_many_there_are_it_holds_no_more_than_it_may() {
        let mut proven = Proven::default();
        for number in 0..40_000 {
            let token = format!("{number:01000}");
            assert_eq!(sender(&mut proven, &token, b""), None);
            proven.keep(&token, credential("ann"));
            assert!(proven.find(&token, b"").is_some());
            let kept: usize = proven
                .credentials
                .values()
                .map(|(token, _)| token.len())
                .sum();
            assert!(kept <= MOST_BYTES, "{kept}");
        }
    }
}
