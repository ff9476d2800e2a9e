//! The tails that an instance wrote last.
//!
//! Who publishes next tries to go on from there, without a read: the swap tells whether it still stands.

use crate::log::Snapshot;
use std::collections::HashMap;

/// What is kept of all channels together, in bytes. More: fewer reads where thousands of channels are published to; less:
/// less memory. A tail has some 20 KiB at most, unless its messages are long.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// The tail that was written last.
pub(crate) struct Last<H> {
    pub(crate) snapshot: Snapshot,
    /// What it takes to replace it. None where the one before it stood no longer when this was written: where many write,
    /// to go on from this one would mostly cost more than it saves.
    pub(crate) held: Option<H>,
}

pub(crate) struct Known<H> {
    tails: HashMap<String, Last<H>>,
    bytes: usize,
}

impl<H> Default for Known<H> {
    fn default() -> Self {
        Self {
            tails: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<H> Known<H> {
    pub(crate) fn take(&mut self, channel: &str) -> Option<Last<H>> {
        let last = self.tails.remove(channel)?;
        self.bytes -= size(channel, &last);
        Some(last)
    }

    /// Keeps a tail. Where there is no room for it, all others are forgotten.
    pub(crate) fn keep(&mut self, channel: String, last: Last<H>) {
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

/// About: a tail is there as it is stored, taken apart, and once more where it is held.
fn size<H>(channel: &str, last: &Last<H>) -> usize {
    channel.len() + 3 * last.snapshot.bytes.len()
}
