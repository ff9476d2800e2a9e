//! Those who spoke, and so are not typing any more.

use crate::PACE_MS;
use std::collections::{BTreeSet, HashMap};

/// Those who spoke and may still be told as typing, by their channels. Whether they are is looked at at most every
/// [`PACE_MS`] for each channel, at once where nobody spoke there for as long.
#[derive(Debug, Default)]
pub struct Speakers {
    channels: HashMap<String, Spoken>,
    /// When those were forgotten that are of no use any more.
    swept: u64,
}

/// Those who spoke in a channel.
#[derive(Debug, Default)]
struct Spoken {
    senders: BTreeSet<String>,
    /// It is about to be looked at.
    is_waiting: bool,
    /// From when on it may be looked at.
    due: u64,
}

impl Speakers {
    /// Notes at `now`, in milliseconds that only go forward, that somebody spoke. In how many milliseconds to
    /// [`take`](Self::take) the channel; none where somebody is about to.
    pub fn note(&mut self, channel: &str, sender: &str, now: u64) -> Option<u64> {
        // Not for each message: there may be many channels.
        if now >= self.swept + PACE_MS {
            self.swept = now;
            self.channels
                .retain(|_, spoken| spoken.is_waiting || now < spoken.due);
        }
        let own = self.channels.entry(channel.to_owned()).or_default();
        own.senders.insert(sender.to_owned());
        let begins = !std::mem::replace(&mut own.is_waiting, true);
        begins.then(|| own.due.saturating_sub(now))
    }

    /// Takes those who spoke in a channel, to look at them.
    pub fn take(&mut self, channel: &str, now: u64) -> BTreeSet<String> {
        let own = self.channels.entry(channel.to_owned()).or_default();
        own.is_waiting = false;
        own.due = now + PACE_MS;
        std::mem::take(&mut own.senders)
    }

    /// How many channels are kept.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }
}
