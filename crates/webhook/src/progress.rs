//! How far a channel is delivered.

use mailbox::{Gap, Position};
use serde::{Deserialize, Serialize};

/// The document of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The place behind the last message that was accepted: its log's epoch, its offset, its tag.
    at: (u64, u64, u32),
    /// What is being sent: once written, it stays until it is accepted, or gone from the log.
    pub(crate) batch: Option<Extent>,
    /// What is missing before the batch, the offsets behind which it begins and ends: told with the next.
    gap: Option<(u64, u64)>,
}

/// The messages of a batch, by their offsets in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The name of a channel's document.
pub(crate) fn name(channel: &str) -> String {
    format!("webhook/channel/{channel}")
}

impl Progress {
    /// All up to here is delivered, or owed to nobody.
    pub(crate) fn up_to(place: Position) -> Self {
        Self {
            at: (place.epoch, place.offset, place.tag),
            batch: None,
            gap: None,
        }
    }

    pub(crate) fn at(&self) -> Position {
        let (epoch, offset, tag) = self.at;
        Position { epoch, offset, tag }
    }

    pub(crate) fn gap(&self) -> Option<Gap> {
        self.gap.map(|(after, resumed)| Gap { after, resumed })
    }

    /// The same, with this batch being sent.
    pub(crate) fn sending(&self, batch: Option<Extent>) -> Self {
        Self {
            batch,
            ..self.clone()
        }
    }

    /// Goes on from a later place, since what stood between is gone. Of a batch, what is left goes on under its id.
    pub(crate) fn skip(&self, gap: Gap, from: Position) -> Self {
        // Of another log, offsets say nothing of those before.
        let is_same = self.at.0 == from.epoch;
        let after = match self.gap {
            Some((after, _)) if is_same => after.min(gap.after),
            _ => gap.after,
        };
        let is_left = |batch: &Extent| batch.epoch == from.epoch && batch.last > from.offset;
        Self {
            at: (from.epoch, from.offset, from.tag),
            batch: self.batch.filter(is_left),
            gap: Some((after, gap.resumed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u64, offset: u64) -> Position {
        Position {
            epoch,
            offset,
            tag: 7,
        }
    }

    #[test]
    fn what_is_left_of_a_batch_keeps_its_id_and_gaps_grow_together() {
        let batch = Some(Extent {
            epoch: 1,
            first: 11,
            last: 20,
        });
        let sending = Progress {
            batch,
            ..Progress::up_to(place(1, 10))
        };
        let gap = |after, resumed| Gap { after, resumed };
        let partly = sending.skip(gap(10, 14), place(1, 14));
        assert_eq!((partly.batch, partly.gap()), (batch, Some(gap(10, 14))));
        let wholly = partly.skip(gap(14, 30), place(1, 30));
        assert_eq!((wholly.batch, wholly.gap()), (None, Some(gap(10, 30))));
        // Of a log that was not born when it was hooked.
        let unborn = Progress::default().sending(batch);
        assert_eq!(unborn.skip(gap(0, 14), place(1, 14)).batch, batch);
        let another = sending.skip(gap(0, 3), place(2, 3));
        assert_eq!((another.batch, another.gap()), (None, Some(gap(0, 3))));
    }
}
