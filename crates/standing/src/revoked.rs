use crate::{Malformed, read, written};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// The most senders in one document. More: each request of any of them reads a longer one, of up to 120 bytes
/// for each; fewer: an administrator is told sooner that there is no room.
const MOST: usize = 256;

/// Whose credentials do not hold although their signatures do: one of 256 documents, among which the senders are
/// spread, so that a request reads a short one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Revoked {
    senders: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Credentials that were issued before this do not hold, in milliseconds since 1970.
    before: u64,
    /// By then all of those have expired, and the entry goes; none: it stays until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many senders are revoked: lift one whose credentials have all expired, or tell a new one until when it is to be kept"
)]
pub struct Full;

impl Revoked {
    /// The name of the document that tells of this sender.
    #[must_use]
    pub fn name(sender: &str) -> String {
        format!("revoked/{:02x}", xxh3_64(sender.as_bytes()) & 0xff)
    }

    /// Reads the document.
    ///
    /// # Errors
    /// It is none.
    pub fn read(content: Option<&[u8]>) -> Result<Self, Malformed> {
        read("revoked", content)
    }

    /// The document's new content.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        written(self)
    }

    /// Whether a sender's credential is revoked that was issued at this time, in milliseconds since 1970; one that
    /// does not tell was issued before any.
    #[must_use]
    pub fn has(&self, sender: &str, issued_at: Option<u64>) -> bool {
        let entry = self.senders.get(sender);
        entry.is_some_and(|entry| issued_at.is_none_or(|at| at < entry.before))
    }

    /// Revokes a sender's credentials that were issued before this time, all times in milliseconds since 1970; 0
    /// lifts it. The entry is kept until it is lifted, or until a time when all those credentials have expired.
    /// Entries of others whose time is over go.
    ///
    /// # Errors
    /// There is no room.
    pub fn revoke(
        &mut self,
        sender: &str,
        before: u64,
        until: Option<u64>,
        now: u64,
    ) -> Result<(), Full> {
        self.senders
            .retain(|_, entry| entry.until.is_none_or(|until| until > now));
        if before == 0 {
            self.senders.remove(sender);
        } else if self.senders.len() >= MOST && !self.senders.contains_key(sender) {
            return Err(Full);
        } else {
            self.senders
                .insert(sender.to_owned(), Entry { before, until });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_issued_before_is_revoked_and_what_does_not_tell_when() {
        let mut revoked = Revoked::default();
        assert!(!revoked.has("ann", None));
        revoked.revoke("ann", 1000, None, 5).expect("there is room");
        for (sender, issued_at, expected) in [
            ("ann", Some(999), true),
            ("ann", Some(1000), false),
            ("ann", Some(u64::MAX), false),
            ("ann", Some(0), true),
            ("ann", None, true),
            ("bob", Some(999), false),
            ("bob", None, false),
        ] {
            assert_eq!(
                revoked.has(sender, issued_at),
                expected,
                "{sender} {issued_at:?}"
            );
        }
        revoked.revoke("ann", 0, None, 5).expect("there is room");
        assert_eq!(revoked, Revoked::default());
    }

    #[test]
    fn an_entry_goes_when_all_that_it_revokes_has_expired() {
        let mut revoked = Revoked::default();
        revoked
            .revoke("ann", 10, Some(100), 10)
            .expect("there is room");
        revoked.revoke("bob", 10, None, 99).expect("there is room");
        assert!(revoked.has("ann", Some(9)));
        revoked.revoke("cy", 10, None, 100).expect("there is room");
        assert!(!revoked.has("ann", Some(9)));
        assert!(revoked.has("bob", Some(9)) && revoked.has("cy", Some(9)));
    }

    #[test]
    fn a_full_document_takes_those_that_it_has() {
        let mut revoked = Revoked::default();
        for number in 0..MOST {
            let until = (number == 7).then_some(50);
            let sender = format!("sender-{number}");
            revoked.revoke(&sender, 1, until, 0).expect("there is room");
        }
        assert_eq!(revoked.revoke("one more", 1, None, 0), Err(Full));
        assert_eq!(revoked.revoke("sender-3", 2, None, 0), Ok(()));
        // Whoever lifts what is not there is heard.
        assert_eq!(revoked.revoke("one more", 0, None, 0), Ok(()));
        assert_eq!(revoked.revoke("one more", 1, None, 50), Ok(()));
        assert!(!revoked.has("sender-7", None));
    }

    #[test]
    fn the_senders_are_spread_among_256_documents() {
        let names: std::collections::HashSet<_> = (0..10_000)
            .map(|number| Revoked::name(&format!("sender {number}/é")))
            .collect();
        assert_eq!(names.len(), 256);
        // All instances, of every version, look in the same one.
        assert_eq!(Revoked::name("ann"), "revoked/c8");
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let mut revoked = Revoked::default();
        revoked
            .revoke("a \"quoted\" sender", 1, Some(2), 0)
            .expect("there is room");
        revoked.revoke("bob", 1, None, 0).expect("there is room");
        assert_eq!(Revoked::read(Some(&revoked.write())), Ok(revoked));
        assert_eq!(Revoked::read(None), Ok(Revoked::default()));
        for content in ["", "[]", "{\"ann\":{}}"] {
            assert!(
                Revoked::read(Some(content.as_bytes())).is_err(),
                "{content}"
            );
        }
    }
}
