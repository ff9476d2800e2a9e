//! The tails that an instance wrote last.
//!
//! Who publishes next tries to go on from there, without a read: the swap tells whether it still stands.

use crate::log::Snapshot;
use std::collections::HashMap;

/// What is kept of all channels together, in bytes. More: fewer reads where thousands of channels are published to; less:
/// less memory. A tail has some 20 KiB at most, unless its messages are long.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// The tail that was written last.
pub(crate) struct Last {
    pub(crate) snapshot: Snapshot,
    /// The one before it still stood when it was written. Where many write, to hope for this one would mostly cost more
    /// than it saves.
    pub(crate) alone: bool,
}

#[derive(Default)]
pub(crate) struct Known {
    tails: HashMap<String, Last>,
    bytes: usize,
}

impl Known {
    pub(crate) fn take(&mut self, channel: &str) -> Option<Last> {
        let last = self.tails.remove(channel)?;
        self.bytes -= size(channel, &last);
        Some(last)
    }

    /// Keeps a tail. Where there is no room for it, all others are forgotten.
    pub(crate) fn keep(&mut self, channel: String, last: Last) {
        self.take(&channel);
        let size = size(&channel, &last);
        if self.bytes + size > MOST_BYTES {
            *self = Self::default();
        }
        if size <= MOST_BYTES {
            self.bytes += size;
            self.tails.insert(channel, last);
        }
    }
}

/// About: a tail is there as it is stored, and taken apart.
fn size(channel: &str, last: &Last) -> usize {
    channel.len() + 2 * last.snapshot.bytes.len()
}
