//! Reading forwards from a place, and backwards from an offset.

use crate::codec::Segment;
use crate::log::Snapshot;
use crate::{
    Env, Gap, History, Inner, Message, Page, Position, ReadError, Start, Store, StoreError,
};

/// Reads of the tail before a segment that stays missing counts as a fault of the store.
const LOOKS: u32 = 3;

impl<S: Store, E: Env> Inner<S, E> {
    pub(crate) async fn read(
        &self,
        name: &str,
        start: Start,
        limit: u32,
    ) -> Result<Page, ReadError> {
        for _ in 0..LOOKS {
            let snapshot = self.snapshot(name).await?;
            if let Some(page) = self.page(name, snapshot.as_ref(), start, limit).await? {
                return Ok(page);
            }
        }
        Err(ReadError("the store has lost a segment".to_owned()))
    }

    pub(crate) async fn history(
        &self,
        name: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<History, ReadError> {
        for _ in 0..LOOKS {
            let Some(snapshot) = self.snapshot(name).await? else {
                return Ok(History {
                    messages: Vec::new(),
                    before: None,
                });
            };
            if let Some(history) = self.back(name, &snapshot, before, limit).await? {
                return Ok(history);
            }
        }
        Err(ReadError("the store has lost a segment".to_owned()))
    }

    /// The tail as it is; none: the channel is not born.
    async fn snapshot(&self, name: &str) -> Result<Option<Snapshot>, StoreError> {
        // A cached epoch that the store no longer knows is forgotten by the first round.
        for _ in 0..2 {
            let Some(epoch) = self.epoch(name).await? else {
                return Ok(None);
            };
            if let Some(snapshot) = self.tail(name, epoch).await? {
                return Ok(Some(snapshot));
            }
        }
        Err(StoreError("the store has lost a tail".to_owned()))
    }

    /// None: a segment is missing, so the tail must have moved on.
    async fn page(
        &self,
        name: &str,
        snapshot: Option<&Snapshot>,
        start: Start,
        limit: u32,
    ) -> Result<Option<Page>, StoreError> {
        let Some(snapshot) = snapshot else {
            return Ok(Some(unborn(start)));
        };
        let Some((gap, from, mut segment)) = self.place(name, snapshot, start).await? else {
            return Ok(None);
        };
        let tail = &snapshot.tail;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut messages: Vec<(Position, Message)> = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next.offset < tail.head() && messages.len() < limit && bytes < self.window.page_bytes
        {
            let offset = next.offset + 1;
            if offset <= tail.base && segment.as_ref().is_none_or(|s: &Segment| s.last() < offset) {
                segment = self.segment_with(name, snapshot, offset).await?;
            }
            let record = match &segment {
                Some(segment) if offset <= tail.base => segment.record(offset),
                _ => tail.record(offset),
            };
            let Some(record) = record else {
                return Ok(None);
            };
            bytes += record.body.len();
            next = record.at(snapshot.epoch, offset);
            messages.push((next, record.message(offset)));
        }
        let more = next.offset < tail.head();
        Ok(Some(Page {
            gap,
            from,
            messages,
            next,
            more,
        }))
    }

    /// The place where a reader begins, what is missing before it, and the segment that it is in, if it is in one.
    async fn place(
        &self,
        name: &str,
        snapshot: &Snapshot,
        start: Start,
    ) -> Result<Option<(Option<Gap>, Position, Option<Segment>)>, StoreError> {
        let Snapshot { epoch, tail, .. } = snapshot;
        let (head, floor) = (tail.head(), tail.floor);
        let (offset, gap) = match start {
            Start::Live => (head, None),
            Start::Newest(count) => (head.saturating_sub(count.into()).max(floor), None),
            // Taken before the birth: from the first message.
            Start::After(at) if at.epoch == 0 => (
                floor,
                (floor > 0).then_some(Gap {
                    after: 0,
                    resumed: floor,
                }),
            ),
            Start::After(at) if at.epoch != *epoch => (
                floor,
                Some(Gap {
                    after: 0,
                    resumed: floor,
                }),
            ),
            Start::After(at) if at.offset > head => (
                head,
                Some(Gap {
                    after: floor,
                    resumed: head,
                }),
            ),
            Start::After(at) if at.offset < floor => (
                floor,
                Some(Gap {
                    after: at.offset,
                    resumed: floor,
                }),
            ),
            Start::After(at) => (at.offset, None),
        };
        let (tag, segment) = match tail.tag(offset) {
            Some(tag) => (Some(tag), None),
            None => {
                let segment = self.segment_with(name, snapshot, offset).await?;
                let record = segment.as_ref().and_then(|segment| segment.record(offset));
                (record.map(|record| record.tag), segment)
            }
        };
        let Some(tag) = tag else {
            return Ok(None);
        };
        let from = Position {
            epoch: *epoch,
            offset,
            tag,
        };
        // The same number, another message: a store that was rolled back and grew again.
        let gap = match start {
            Start::After(at) if gap.is_none() && at.epoch != 0 && at.tag != tag => Some(Gap {
                after: floor,
                resumed: offset,
            }),
            _ => gap,
        };
        Ok(Some((gap, from, segment)))
    }

    async fn back(
        &self,
        name: &str,
        snapshot: &Snapshot,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Option<History>, StoreError> {
        let tail = &snapshot.tail;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut offset = before.map_or(tail.head(), |before| {
            before.saturating_sub(1).min(tail.head())
        });
        let mut segment = None;
        while offset > tail.floor && messages.len() < limit && bytes < self.window.page_bytes {
            if offset <= tail.base && segment.as_ref().is_none_or(|s: &Segment| s.first > offset) {
                segment = self.segment_with(name, snapshot, offset).await?;
            }
            let record = match &segment {
                Some(segment) => segment.record(offset),
                None => tail.record(offset),
            };
            let Some(record) = record else {
                return Ok(None);
            };
            bytes += record.body.len();
            messages.push(record.message(offset));
            offset -= 1;
        }
        messages.reverse();
        let before = (offset > tail.floor).then_some(offset + 1);
        Ok(Some(History { messages, before }))
    }
}

/// What a channel that is not born holds: nothing, and for whoever remembers more, a gap.
fn unborn(start: Start) -> Page {
    let next = Position::default();
    let gap = match start {
        Start::After(at) if at.epoch != 0 => Some(Gap {
            after: at.offset,
            resumed: 0,
        }),
        _ => None,
    };
    Page {
        gap,
        from: next,
        messages: Vec::new(),
        next,
        more: false,
    }
}
