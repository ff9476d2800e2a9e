//! The names of channels that belong to somebody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What stands of a digest in a name, in bytes: 192 bits, 32 characters. Fewer, and two pairs of people might
/// be drawn who share a channel; more, and a person's document holds fewer channels.
const DIGEST: usize = 24;

/// Whose a channel is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Everybody's whom the policy lets in; there may be a room to it.
    Public,
    /// `@room~…`: the members' of a room.
    Private,
    /// `@direct~…`: two people's.
    Direct,
    /// `@me~…`: one person's, to read alone.
    Own,
    /// `@audit`: the administrators', to read alone.
    Audit,
    /// Another with a leading `@`: those whom the policy lets in by name.
    Kept,
}

impl Kind {
    /// The kind of a channel of this name.
    #[must_use]
    pub fn of(channel: &str) -> Self {
        let Some(name) = channel.strip_prefix('@') else {
            return Self::Public;
        };
        match name.split_once('~') {
            Some(("room", _)) => Self::Private,
            Some(("direct", _)) => Self::Direct,
            Some(("me", _)) => Self::Own,
            None if name == "audit" => Self::Audit,
            _ => Self::Kept,
        }
    }
}

/// The channel of two people, whoever of them asks.
#[must_use]
pub fn direct_channel(one: &str, other: &str) -> String {
    let mut both = [one, other];
    both.sort_unstable();
    format!("@direct~{}", digest("witter direct", &both))
}

/// The channel in which a person is told what concerns them.
#[must_use]
pub fn own_channel(sender: &str) -> String {
    format!("@me~{}", digest("witter person", &[sender]))
}

/// The name of a person's document.
#[must_use]
pub fn person_document(sender: &str) -> String {
    format!("person/{}", digest("witter person", &[sender]))
}

/// The name of a room's document.
#[must_use]
pub fn room_document(channel: &str) -> String {
    format!("room/{channel}")
}

/// The name of the document of who spoke last in a channel.
#[must_use]
pub fn pace_document(channel: &str) -> String {
    format!("pace/{channel}")
}

/// A label that nothing else is hashed under, and identities, each behind its length: they may hold anything.
fn digest(label: &str, senders: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(label);
    for sender in senders {
        hash.update((sender.len() as u64).to_le_bytes());
        hash.update(sender);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..DIGEST])
}

/// The channel of a private room, of 16 characters that were drawn: one that nobody finds by trying.
#[must_use]
pub fn private_channel(drawn: &str) -> String {
    format!("@room~{drawn}")
}
