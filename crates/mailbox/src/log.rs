//! Finding what is stored: the tail, and the segments behind it.

use crate::birth::{pointer_key, tail_key};
use crate::codec::{Record, Segment, Tail};
use crate::{Env, Inner, Store, StoreError, equal};

/// A channel's tail as it was read, with its bytes for the swap.
pub(crate) struct Snapshot {
    pub(crate) epoch: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) tail: Tail,
}

pub(crate) fn segment_key(channel: &str, epoch: u64, first: u64) -> String {
    format!("w1/s/{channel}/{epoch:x}/{first}")
}

impl<S: Store, E: Env> Inner<S, E> {
    /// The tail of an epoch. None: the store was wiped, or rolled back to before the birth; what was cached
    /// is forgotten then.
    pub(crate) async fn tail(
        &self,
        name: &str,
        epoch: u64,
    ) -> Result<Option<Snapshot>, StoreError> {
        let bytes = self.store.get(&tail_key(name, epoch)).await?;
        self.tail_of(name, epoch, bytes).await
    }

    /// The same, to be replaced. Where the one that was written last is `known`, and still stands, it is not taken apart
    /// again.
    pub(crate) async fn held_tail(
        &self,
        name: &str,
        epoch: u64,
        known: Option<Snapshot>,
    ) -> Result<Option<(Snapshot, S::Held)>, StoreError> {
        let Some((bytes, held)) = self.store.hold(&tail_key(name, epoch)).await? else {
            return self.tail_of(name, epoch, None).await.map(|_| None);
        };
        let snapshot = match known {
            Some(known) if known.epoch == epoch && equal(&known.bytes, &bytes) => Some(known),
            _ => self.tail_of(name, epoch, Some(bytes)).await?,
        };
        Ok(snapshot.map(|snapshot| (snapshot, held)))
    }

    /// The tail whose bytes were read.
    pub(crate) async fn tail_of(
        &self,
        name: &str,
        epoch: u64,
        bytes: Option<Vec<u8>>,
    ) -> Result<Option<Snapshot>, StoreError> {
        if let Some(bytes) = bytes {
            let tail = Tail::decode(&bytes)?;
            // An empty one may be a candidate's, where the store was rolled back into an election.
            if tail.head() > 0 || self.elected(&pointer_key(name)).await? == Some(epoch) {
                return Ok(Some(Snapshot { epoch, bytes, tail }));
            }
        }
        self.forget(name);
        Ok(None)
    }

    /// Forgets what is known of a channel: it is not what it was.
    pub(crate) fn forget(&self, name: &str) {
        let channel = self.channel(name);
        channel.epoch.set(None);
        channel.ids.take();
    }

    pub(crate) async fn segment(
        &self,
        name: &str,
        epoch: u64,
        first: u64,
    ) -> Result<Option<Segment>, StoreError> {
        let bytes = self.store.get(&segment_key(name, epoch, first)).await?;
        bytes.map(|bytes| Segment::decode(&bytes)).transpose()
    }

    /// The segment that holds an offset below the tail. None: a segment on the way is gone.
    ///
    /// One read where messages are so small that segments are cut by their number, or where the offset is the first of its
    /// segment; else back from the newest, some thousand messages a step.
    pub(crate) async fn segment_with(
        &self,
        name: &str,
        snapshot: &Snapshot,
        offset: u64,
    ) -> Result<Option<Segment>, StoreError> {
        let Snapshot { epoch, tail, .. } = snapshot;
        if offset == 0 || offset > tail.base {
            return Ok(None);
        }
        let full = self.window.tail_messages.div_ceil(2) as u64;
        let counted = offset - (offset - 1) % full;
        for first in [counted, offset] {
            if let Some(segment) = self.segment(name, *epoch, first).await?
                && offset <= segment.last()
            {
                return Ok(Some(segment));
            }
            if counted == offset {
                break;
            }
        }
        let mut first = tail.newest;
        loop {
            let Some(segment) = self.segment(name, *epoch, first).await? else {
                return Ok(None);
            };
            if offset >= segment.first {
                return Ok((offset <= segment.last()).then_some(segment));
            }
            // The nearest one that begins at or below the offset, else as far back as is told.
            let nearest = segment
                .previous
                .iter()
                .rev()
                .find(|previous| previous.first <= offset);
            match nearest.or(segment.previous.first()) {
                Some(previous) => first = previous.first,
                None => return Ok(None),
            }
        }
    }

    /// The tag of the message at an offset. None: it is gone.
    pub(crate) async fn tag(
        &self,
        name: &str,
        snapshot: &Snapshot,
        offset: u64,
    ) -> Result<Option<u32>, StoreError> {
        if let Some(tag) = snapshot.tail.tag(offset) {
            return Ok(Some(tag));
        }
        let segment = self.segment_with(name, snapshot, offset).await?;
        Ok(segment
            .as_ref()
            .and_then(|segment| segment.record(offset))
            .map(|record| record.tag))
    }

    /// Looks at the message at an offset, in the tail or in its segment. None: it is gone, or not yet there.
    pub(crate) async fn look<T>(
        &self,
        name: &str,
        snapshot: &Snapshot,
        offset: u64,
        look: impl FnOnce(Record<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        if let Some(record) = snapshot.tail.record(offset) {
            return Ok(Some(look(record)));
        }
        let segment = self.segment_with(name, snapshot, offset).await?;
        Ok(segment
            .as_ref()
            .and_then(|segment| segment.record(offset))
            .map(look))
    }
}
