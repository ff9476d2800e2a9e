//! Which channels may have something to be sent.

use mailbox::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many documents the index is made of. More: a deliverer reads as many at a time; fewer: publishers in many channels
/// get into each other's way, and read longer documents while the endpoint is away.
pub const SHARDS: u32 = 32;

/// One document of the index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// The channels, and the number of who is about to take one out.
    pub(crate) channels: BTreeMap<String, Option<u64>>,
}

/// The name of a document of the index.
pub(crate) fn name(shard: u32) -> String {
    format!("webhook/index/{shard}")
}

/// The document that a channel's name belongs into: FNV-1a, which is the same everywhere and for ever.
pub(crate) fn shard_of(channel: &str) -> u32 {
    let hash = channel.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % SHARDS
}

impl Shard {
    /// Puts a channel in, or keeps it from being taken out; whether that changes anything.
    pub(crate) fn open(&mut self, channel: &str) -> bool {
        self.channels.insert(channel.to_owned(), None) != Some(None)
    }

    /// Whether a channel is in, and nobody is about to take it out.
    pub(crate) fn is_open(&self, channel: &str) -> bool {
        self.channels.get(channel) == Some(&None)
    }

    /// Begins to take a channel out; whether it is in.
    pub(crate) fn begin_to_close(&mut self, channel: &str, number: u64) -> bool {
        match self.channels.get_mut(channel) {
            Some(entry) => {
                *entry = Some(number);
                true
            }
            None => false,
        }
    }

    /// Whether it is this one's to take out.
    pub(crate) fn is_closing(&self, channel: &str, number: u64) -> bool {
        self.channels.get(channel) == Some(&Some(number))
    }
}

/// Reads a document of these that is JSON. One that is none is no empty one: messages would be forgotten.
pub(crate) fn read<D: Default + for<'a> Deserialize<'a>>(
    name: &str,
    content: Option<&[u8]>,
) -> Result<D, StoreError> {
    match content {
        Some(content) => serde_json::from_slice(content)
            .map_err(|error| StoreError(format!("the document {name} is damaged: {error}"))),
        None => Ok(D::default()),
    }
}

/// As it is stored.
pub(crate) fn written(document: &impl Serialize) -> Vec<u8> {
    // Maps with keys of text, numbers and texts: there is nothing in them that JSON has not.
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_taken_out_by_the_last_who_began_to() {
        let mut shard = Shard::default();
        assert!(!shard.begin_to_close("a", 1));
        assert!(shard.open("a"));
        assert!(!shard.open("a"));
        assert!(shard.begin_to_close("a", 1));
        assert!(!shard.is_open("a"));
        assert!(shard.begin_to_close("a", 2));
        assert!(!shard.is_closing("a", 1));
        assert!(shard.is_closing("a", 2));
        assert!(shard.open("a"));
        assert!(!shard.is_closing("a", 2));
    }

    #[test]
    fn a_damaged_document_is_no_empty_one() {
        assert_eq!(read::<Shard>("x", None), Ok(Shard::default()));
        assert!(read::<Shard>("x", Some(b"{")).is_err());
    }

    #[test]
    fn a_channel_keeps_its_shard() {
        // Of another function, what stands in a store would not be found again.
        for (channel, shard) in [("lobby", 19), ("@audit", 6), ("a", 12)] {
            assert_eq!(shard_of(channel), shard, "{channel}");
        }
    }
}
