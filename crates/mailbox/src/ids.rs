//! Which ids the segments hold.
//!
//! Segments are immutable and each tells the ids of many before it, so an instance reads a new one now and
//! then and knows all. What is kept here is a cache: dropping it costs reads, nothing else.

use crate::codec::Tail;
use crate::log::Snapshot;
use crate::{Channel, Draft, Env, Inner, Store, StoreError};
use std::collections::BTreeSet;
use std::rc::Rc;

#[derive(Default)]
pub(crate) struct Ids {
    epoch: u64,
    /// The newest segment whose ids are here, with those of all before it.
    newest: u64,
    /// The tag of its last message, which tells one log from another with the same numbers.
    tag: u32,
    /// (fingerprint, first offset of the segment).
    known: BTreeSet<(u64, u64)>,
    /// How many were known when those of gone segments were last dropped.
    swept: usize,
}

impl Ids {
    /// Whether these are all that the segments behind a tail hold.
    pub(crate) fn reach(&self, epoch: u64, tail: &Tail) -> bool {
        self.epoch == epoch && self.newest == tail.newest && self.tag == tail.base_tag
    }

    /// The segments behind a tail that may hold an id, by their first offsets.
    pub(crate) fn segments_with(&self, fingerprint: u64, tail: &Tail) -> impl Iterator<Item = u64> {
        let range = (fingerprint, tail.kept + 1)..=(fingerprint, u64::MAX);
        self.known.range(range).map(|&(_, first)| first)
    }
}

/// A message with this sender and id in a segment.
pub(crate) struct Found {
    pub(crate) offset: u64,
    /// It says the same.
    pub(crate) same: bool,
}

/// A segment that the tail counts on was not there: the tail has moved on, or the store is at fault.
pub(crate) struct Missing;

impl<S: Store, E: Env> Inner<S, E> {
    /// Brings the cache up to a tail.
    pub(crate) async fn learn_ids(
        &self,
        name: &str,
        snapshot: &Snapshot,
    ) -> Result<Result<(), Missing>, StoreError> {
        let channel = self.channel(name);
        let tail = &snapshot.tail;
        let (reach, epoch, newest, tag) = {
            let ids = channel.ids.borrow();
            let reach = ids.reach(snapshot.epoch, tail);
            (reach, ids.epoch, ids.newest, ids.tag)
        };
        // Where the log went on since, it may have been rolled back first, and be another.
        let same = reach
            || epoch == snapshot.epoch
                && (tail.kept + 1..tail.newest).contains(&newest)
                && self
                    .segment(name, epoch, newest)
                    .await?
                    .is_some_and(|segment| segment.last_tag() == tag);
        let known_to = {
            let mut ids = channel.ids.borrow_mut();
            if !same {
                *ids = Ids::default();
            }
            if ids.known.len() > 2 * ids.swept + 64 {
                ids.known.retain(|&(_, first)| first > tail.kept);
                ids.swept = ids.known.len();
            }
            ids.newest
        };
        let mut learned = Vec::new();
        let mut first = tail.newest;
        while first > known_to.max(tail.kept) {
            let Some(segment) = self.segment(name, snapshot.epoch, first).await? else {
                return Ok(Err(Missing));
            };
            // The oldest one that is told of is read next, for what it tells of those before it.
            first = segment
                .previous
                .first()
                .map_or(0, |previous| previous.first);
            learned.push(segment.summary());
            learned.extend(segment.previous);
        }
        let mut ids = channel.ids.borrow_mut();
        // Each segment tells of many that are known already.
        for summary in learned
            .into_iter()
            .filter(|summary| summary.first > known_to.max(tail.kept))
        {
            let first = summary.first;
            ids.known
                .extend(summary.fingerprints.into_iter().map(|print| (print, first)));
        }
        (ids.epoch, ids.newest, ids.tag) = (snapshot.epoch, tail.newest, tail.base_tag);
        drop(ids);
        if !reach {
            self.forget_others(name);
        }
        Ok(Ok(()))
    }

    /// Forgets the ids of all other channels into which nobody publishes just now, where those of all together are too
    /// many.
    fn forget_others(&self, name: &str) {
        let channels = self.channels.borrow();
        let known = |channel: &Rc<Channel>| channel.ids.borrow().known.len();
        if channels.values().map(known).sum::<usize>() > self.window.ids {
            for (other, channel) in channels.iter() {
                if other != name && channel.lane.borrow().is_idle() {
                    channel.ids.take();
                }
            }
        }
    }

    /// A draft's sender and id in the segments. The ids must have been learned up to this tail.
    pub(crate) async fn find_id(
        &self,
        name: &str,
        snapshot: &Snapshot,
        fingerprint: u64,
        draft: &Draft,
    ) -> Result<Result<Option<Found>, Missing>, StoreError> {
        let candidates: Vec<u64> = {
            let channel = self.channel(name);
            let ids = channel.ids.borrow();
            ids.segments_with(fingerprint, &snapshot.tail).collect()
        };
        for first in candidates {
            let Some(segment) = self.segment(name, snapshot.epoch, first).await? else {
                return Ok(Err(Missing));
            };
            if let Some(index) = segment.records.find(&draft.sender, &draft.id)
                && let Some(record) = segment.records.get(index)
            {
                let offset = first + index as u64;
                return Ok(Ok(Some(Found {
                    offset,
                    same: record.says(draft),
                })));
            }
        }
        Ok(Ok(None))
    }
}
