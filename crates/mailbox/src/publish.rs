//! Appending: one swap of the tail, verified.

use crate::birth::tail_key;
use crate::codec::{Previous, Segment, Tail, fingerprint};
use crate::known::Last;
use crate::lane::Results;
use crate::log::{Snapshot, segment_key};
use crate::{Draft, Env, Inner, PublishError, Receipt, Store, StoreError, Swap, equal};

/// Attempts before a publish gives up. Each lost one means that another instance won, so that the channel
/// moved; fewer fail under contention, more make a hopeless caller wait.
const ATTEMPTS: u32 = 16;
/// Reads of the tail after a swap before its outcome counts as unknown.
const LOOKS: u32 = 3;
/// A segment tells the ids of so many before it: about a thousand messages, 8 KiB.
const PREVIOUS: usize = 32;
/// Segments that leave in one step, or twice as many as are cut in it: that catches up.
const SWEEP: usize = 4;
/// A document counts those that are doomed in one byte.
const MOST_DOOMED: usize = u8::MAX as usize;
/// What is dated so far ahead, in milliseconds, was dated by a clock that is wrong.
const FAR_AHEAD_MS: u64 = 24 * 60 * 60 * 1000;

/// A draft, and what is known of it so far.
struct Pending<'a> {
    draft: &'a Draft,
    fingerprint: u64,
    result: Option<Result<Receipt, PublishError>>,
    /// The draft of this batch that has the same sender and id.
    twin: Option<usize>,
}

/// What an attempt tried to store.
struct Written<'a> {
    /// The document.
    bytes: &'a [u8],
    /// Where its last message would be, which one, and the tag it would have.
    offset: u64,
    draft: &'a Draft,
    tag: u32,
}

/// The tail that an attempt goes on from.
struct Ground<H> {
    snapshot: Snapshot,
    held: H,
    /// It was not read again.
    hoped: bool,
    /// Nobody else wrote since this instance did.
    alone: bool,
}

/// Whether what was written is in the log, and what it takes to replace it.
enum Verified<H> {
    Stored(Option<H>),
    Not,
}

enum Attempt {
    Done,
    /// Another instance was first.
    Lost,
    /// The tail that was known stands no longer.
    Overtaken,
}

impl<S: Store, E: Env> Inner<S, E> {
    /// Stores drafts of at most the allowed sizes; answers each. `last` is the tail that was written last, if anybody
    /// knows, and becomes the one that is written.
    pub(crate) async fn commit(
        &self,
        name: &str,
        drafts: &[Draft],
        last: &mut Option<Last<S::Held>>,
    ) -> Results {
        let mut pending = pending(drafts);
        let mut why = "too many publishers at once".to_owned();
        for attempt in 0..ATTEMPTS {
            match self.attempt(name, &mut pending, last).await {
                Ok(Attempt::Done) => break,
                Ok(Attempt::Lost) => self.back_off(attempt).await,
                Ok(Attempt::Overtaken) => {}
                Err(error) => {
                    why = error.0;
                    break;
                }
            }
        }
        let results: Vec<_> = pending
            .iter()
            .map(|one| {
                one.result
                    .clone()
                    .unwrap_or_else(|| Err(PublishError::Unavailable(why.clone())))
            })
            .collect();
        pending
            .iter()
            .enumerate()
            .map(|(index, one)| match one.twin {
                Some(first) if one.result.is_none() => {
                    as_twin(&results[first], same(&drafts[first], one.draft), &why)
                }
                _ => results[index].clone(),
            })
            .collect()
    }

    /// What became of a draft, if it was stored before.
    pub(crate) async fn stored(
        &self,
        name: &str,
        draft: &Draft,
    ) -> Result<Option<Receipt>, PublishError> {
        let looked = async {
            let mut pending = pending(std::slice::from_ref(draft));
            for _ in 0..LOOKS {
                let Some(epoch) = self.epoch(name).await? else {
                    return Ok(None);
                };
                if let Some(snapshot) = self.tail(name, epoch).await?
                    && self.recall(name, &snapshot, &mut pending).await?.is_ok()
                {
                    return Ok(pending[0].result.take());
                }
            }
            Err(StoreError("the store has lost a segment".to_owned()))
        };
        match looked.await {
            Ok(found) => found.transpose(),
            Err(error) => Err(PublishError::Unavailable(error.0)),
        }
    }

    async fn attempt(
        &self,
        name: &str,
        pending: &mut [Pending<'_>],
        last: &mut Option<Last<S::Held>>,
    ) -> Result<Attempt, StoreError> {
        let epoch = self.born(name).await?;
        let ground = match last.take() {
            // A swap that is won tells that the tail still stands; whatever else depends on it is for who has read it.
            Some(Last {
                snapshot,
                held: Some(held),
            }) if self.would_only_grow(name, epoch, &snapshot, pending) => Ground {
                snapshot,
                held,
                hoped: true,
                alone: true,
            },
            known => {
                let known = known.map(|known| known.snapshot);
                let head = known.as_ref().map(|known| known.tail.head());
                let Some((snapshot, held)) = self.held_tail(name, epoch, known).await? else {
                    self.born_again(name, epoch).await?;
                    return Ok(Attempt::Lost);
                };
                let alone = head == Some(snapshot.tail.head());
                Ground {
                    snapshot,
                    held,
                    hoped: false,
                    alone,
                }
            }
        };
        if !ground.hoped && self.recall(name, &ground.snapshot, pending).await?.is_err() {
            return self.moved_on(name, &ground.snapshot).await;
        }
        let mut cut = Vec::new();
        let outcome = self.append(name, ground, pending, &mut cut, last).await;
        if !matches!(outcome, Ok(Attempt::Done)) {
            self.take_back(name, epoch, &cut).await?;
        }
        outcome
    }

    /// Whether the drafts are only to be added to a tail that was not read again: as far as is known none of them is
    /// in the log, and there is room for them.
    fn would_only_grow(
        &self,
        name: &str,
        epoch: u64,
        snapshot: &Snapshot,
        pending: &[Pending<'_>],
    ) -> bool {
        let tail = &snapshot.tail;
        let channel = self.channel(name);
        let ids = channel.ids.borrow();
        let mut fresh = pending.iter().filter(|one| one.is_fresh());
        let (mut count, mut bytes) = (0, 0);
        snapshot.epoch == epoch
            && ids.reach(epoch, tail)
            && fresh.all(|one| {
                count += 1;
                bytes += size(one.draft);
                tail.records
                    .find(&one.draft.sender, &one.draft.id)
                    .is_none()
                    && ids.segments_with(one.fingerprint, tail).next().is_none()
            })
            && self.fits(tail, count, bytes)
    }

    /// Appends what is not in the log to a tail. `cut` is told of each segment before it is written, `last` of the tail
    /// that was.
    async fn append(
        &self,
        name: &str,
        ground: Ground<S::Held>,
        pending: &mut [Pending<'_>],
        cut: &mut Vec<u64>,
        last: &mut Option<Last<S::Held>>,
    ) -> Result<Attempt, StoreError> {
        let snapshot = &ground.snapshot;
        let fresh: Vec<usize> = (0..pending.len())
            .filter(|&index| pending[index].is_fresh())
            .collect();
        if fresh.is_empty() {
            return Ok(Attempt::Done);
        }

        let added: usize = fresh.iter().map(|&index| size(pending[index].draft)).sum();
        let mut next = snapshot.tail.clone();
        let is_whole = self
            .cut(name, snapshot, &mut next, fresh.len(), added, cut)
            .await?;
        if !is_whole {
            return self.moved_on(name, snapshot).await;
        }
        if !cut.is_empty() && !self.is_elected(name, snapshot.epoch).await? {
            return Ok(Attempt::Lost);
        }
        let first = next.head() + 1;
        let previous = snapshot
            .tail
            .records
            .iter()
            .next_back()
            .map_or(0, |record| record.sent_at);
        let sent_at = self.env.now().max(previous);
        // The tail always knows the tag of its last message.
        let mut tag = next.tag(next.head()).unwrap_or(0);
        for (offset, &index) in (first..).zip(&fresh) {
            tag = next
                .records
                .push(pending[index].draft, offset, sent_at, tag);
        }
        self.begin_later(name, &snapshot.tail, &mut next);

        let bytes = next.encode();
        let swapped = self.store.swap(ground.held, &bytes).await;
        // Only what follows on a tail that was read can be verified: on one that was known, the same may have followed long ago.
        if ground.hoped && swapped != Ok(Swap::Won) {
            return swapped.map(|_: Swap| Attempt::Overtaken);
        }
        let written = Written {
            bytes: &bytes,
            offset: next.head(),
            draft: pending[fresh[fresh.len() - 1]].draft,
            tag,
        };
        // From a store that says otherwise one could not tell whether the next swap was overtaken.
        let won = swapped == Ok(Swap::Won);
        let to_go_on = won && ground.alone;
        let Verified::Stored(held) = self
            .verify(name, snapshot.epoch, &written, to_go_on)
            .await?
        else {
            // Of a swap's outcomes only a failure is believed, and only here: a store that takes long to
            // fail would, tried again and again, hold the channel's publishers for minutes.
            return swapped.map(|_: Swap| Attempt::Lost);
        };
        for (offset, &index) in (first..).zip(&fresh) {
            pending[index].result = Some(Ok(Receipt {
                offset,
                duplicate: false,
            }));
        }
        let snapshot = Snapshot {
            epoch: snapshot.epoch,
            bytes,
            tail: next,
        };
        *last = won.then_some(Last { snapshot, held });
        Ok(Attempt::Done)
    }

    /// Looks every open draft up: in the tail first, then among the older ids.
    async fn recall(
        &self,
        name: &str,
        snapshot: &Snapshot,
        pending: &mut [Pending<'_>],
    ) -> Result<Result<(), crate::ids::Missing>, StoreError> {
        let tail = &snapshot.tail;
        let mut older = false;
        for one in pending.iter_mut().filter(|one| one.result.is_none()) {
            match tail.records.find(&one.draft.sender, &one.draft.id) {
                Some(index) => {
                    let same = tail
                        .records
                        .get(index)
                        .is_some_and(|record| record.says(one.draft));
                    one.found(tail.base + 1 + index as u64, same);
                }
                None => older = true,
            }
        }
        if !older {
            return Ok(Ok(()));
        }
        if let Err(missing) = self.learn_ids(name, snapshot).await? {
            return Ok(Err(missing));
        }
        for one in pending.iter_mut().filter(|one| one.result.is_none()) {
            match self
                .find_id(name, snapshot, one.fingerprint, one.draft)
                .await?
            {
                Ok(Some(found)) => one.found(found.offset, found.same),
                Ok(None) => {}
                Err(missing) => return Ok(Err(missing)),
            }
        }
        Ok(Ok(()))
    }

    /// Whether what was written is in the log. Its last message tells of all: others may have won with a
    /// batch that begins alike, but one that ends with the same tag is the same. `to_go_on`: the tail is held, if it is
    /// the one that was written.
    async fn verify(
        &self,
        name: &str,
        epoch: u64,
        written: &Written<'_>,
        to_go_on: bool,
    ) -> Result<Verified<S::Held>, StoreError> {
        let mut failure = StoreError("the outcome of a swap stayed unknown".to_owned());
        for look in 0..LOOKS {
            let outcome = async {
                let key = tail_key(name, epoch);
                let (bytes, held) = if to_go_on {
                    self.store.hold(&key).await?.unzip()
                } else {
                    (self.store.get(&key).await?, None)
                };
                // Nearly always; it need not be taken apart then.
                if bytes
                    .as_ref()
                    .is_some_and(|bytes| equal(bytes, written.bytes))
                {
                    return Ok(Some(Verified::Stored(held)));
                }
                let Some(now) = self.tail_of(name, epoch, bytes).await? else {
                    return Ok(Some(Verified::Not));
                };
                if now.tail.head() < written.offset {
                    return Ok(Some(Verified::Not));
                }
                let ours = |record: crate::codec::Record<'_>| {
                    record.sender == written.draft.sender
                        && record.id == written.draft.id
                        && record.tag == written.tag
                };
                // Gone: trimmed meanwhile, or about to be; the next look tells, or it stays unknown.
                let ours = self.look(name, &now, written.offset, ours).await?;
                Ok(ours.map(|ours| match ours {
                    true => Verified::Stored(None),
                    false => Verified::Not,
                }))
            };
            match outcome.await {
                Ok(Some(verified)) => return Ok(verified),
                Ok(None) => {}
                Err(error) => failure = error,
            }
            self.back_off(look).await;
        }
        Err(failure)
    }

    /// Moves full segments from the tail's front to keys of their own until the rest and what is added fit,
    /// and lets the oldest ones go. False: a segment that it needs is gone.
    async fn cut(
        &self,
        name: &str,
        snapshot: &Snapshot,
        next: &mut Tail,
        count: usize,
        bytes: usize,
        cut: &mut Vec<u64>,
    ) -> Result<bool, StoreError> {
        let window = &self.window;
        let mut newest = None;
        while !self.fits(next, count, bytes) {
            let full = next.records.full(
                window.tail_messages.div_ceil(2),
                window.tail_bytes.div_ceil(2),
            );
            let Some(full) = full else { break };
            let previous = match newest.take() {
                Some(segment) => telling(segment),
                None if next.newest > next.kept => {
                    match self.segment(name, snapshot.epoch, next.newest).await? {
                        Some(segment) => telling(segment),
                        None => return Ok(false),
                    }
                }
                None => Vec::new(),
            };
            let first = next.base + 1;
            let segment = Segment {
                first,
                previous,
                records: next.records.split_front(full),
            };
            cut.push(first);
            self.store
                .set(&segment_key(name, snapshot.epoch, first), &segment.encode())
                .await?;
            next.base = segment.last();
            next.base_tag = segment.last_tag();
            next.newest = first;
            newest = Some(segment);
        }
        let sweep = SWEEP.max(2 * cut.len()).min(MOST_DOOMED);
        Ok(cut.is_empty() || self.trim(name, snapshot, next, sweep).await?)
    }

    /// Whether so many more messages, of so many bytes, have room in a tail.
    fn fits(&self, tail: &Tail, count: usize, bytes: usize) -> bool {
        tail.records.len() + count <= self.window.tail_messages
            && tail.records.size() + bytes <= self.window.tail_bytes
    }

    /// Deletes the segments that the document has doomed, and dooms the next ones, `sweep` at most.
    async fn trim(
        &self,
        name: &str,
        snapshot: &Snapshot,
        next: &mut Tail,
        sweep: usize,
    ) -> Result<bool, StoreError> {
        self.clear(name, snapshot.epoch, &snapshot.tail.doomed)
            .await?;
        next.doomed.clear();
        let now = self.env.now();
        let aged = |sent_at: u64, age: u64| sent_at.saturating_add(age) < now;

        let retention = self.retention(name);

        // The window's beginning, where that is still among the segments of the document as it was read.
        let by_count = next.head().saturating_sub(retention.messages);
        if by_count > next.floor && by_count <= snapshot.tail.base {
            let Some(tag) = self.tag(name, snapshot, by_count).await? else {
                return Ok(false);
            };
            (next.floor, next.floor_tag) = (by_count, tag);
        }
        for _ in 0..sweep {
            if next.floor >= snapshot.tail.base {
                break;
            }
            let Some(segment) = self.segment_with(name, snapshot, next.floor + 1).await? else {
                return Ok(false);
            };
            let Some(last) = segment.records.iter().next_back() else {
                break;
            };
            if !aged(last.sent_at, retention.age_ms) {
                break;
            }
            (next.floor, next.floor_tag) = (segment.last(), last.tag);
        }
        for _ in 0..sweep {
            if next.kept >= snapshot.tail.base {
                break;
            }
            let Some(segment) = self.segment(name, snapshot.epoch, next.kept + 1).await? else {
                return Ok(false);
            };
            let Some(last) = segment.records.iter().next_back() else {
                break;
            };
            // Else one message that was dated years ahead would keep all that follow for as long.
            let forgotten = aged(last.sent_at, self.window.id_age_ms)
                || last.sent_at > now.saturating_add(FAR_AHEAD_MS);
            if segment.last() > next.floor || !forgotten {
                break;
            }
            next.doomed.push(segment.first);
            next.kept = segment.last();
        }
        Ok(true)
    }

    /// The window's beginning, where that is in the tail: of count and of age. Only messages of the
    /// document that was read leave by age.
    fn begin_later(&self, name: &str, read: &Tail, next: &mut Tail) {
        let now = self.env.now();
        let retention = self.retention(name);
        let by_count = next.head().saturating_sub(retention.messages);
        if by_count > next.floor
            && let Some(record) = next.record(by_count)
        {
            (next.floor, next.floor_tag) = (by_count, record.tag);
        }
        if next.floor < read.base {
            return;
        }
        while next.floor < read.head()
            && let Some(record) = read.record(next.floor + 1)
            && record.sent_at.saturating_add(retention.age_ms) < now
        {
            (next.floor, next.floor_tag) = (next.floor + 1, record.tag);
        }
    }

    /// A writer that lost may have written a segment after all others had let it go: nobody else would
    /// delete it. One that is still to come, or live, is the same whoever wrote it.
    async fn take_back(&self, name: &str, epoch: u64, written: &[u64]) -> Result<(), StoreError> {
        if written.is_empty() {
            return Ok(());
        }
        let Some(now) = self.tail(name, epoch).await? else {
            return Ok(());
        };
        let gone: Vec<u64> = written
            .iter()
            .copied()
            .filter(|&first| first <= now.tail.kept)
            .collect();
        self.clear(name, epoch, &gone).await
    }

    /// Deletes segments that no tail will ever name again.
    async fn clear(&self, name: &str, epoch: u64, firsts: &[u64]) -> Result<(), StoreError> {
        for &first in firsts {
            self.store.delete(&segment_key(name, epoch, first)).await?;
        }
        Ok(())
    }

    /// After a segment was missing: the tail has moved on, or the store has lost it, by evicting it or by
    /// being restored in part. Then the window begins behind all segments, so that the loss is told as a gap
    /// and the channel is not closed to its publishers for good.
    async fn moved_on(&self, name: &str, before: &Snapshot) -> Result<Attempt, StoreError> {
        let Some((now, held)) = self.held_tail(name, before.epoch, None).await? else {
            return Ok(Attempt::Lost);
        };
        if now.bytes != before.bytes {
            return Ok(Attempt::Lost);
        }
        let mut next = now.tail;
        if next.floor < next.base {
            (next.floor, next.floor_tag) = (next.base, next.base_tag);
        }
        (next.kept, next.newest) = (next.base, 0);
        let swapped = self.store.swap(held, &next.encode()).await;
        swapped.map(|_: Swap| Attempt::Lost)
    }

    /// Full jitter: from nothing up to a bound that doubles, 256 ms at most.
    pub(crate) async fn back_off(&self, attempt: u32) {
        let bound = 1 << (attempt + 1).min(8);
        self.env.sleep((self.env.random() % bound) as u32).await;
    }
}

impl Pending<'_> {
    /// Whether it is to be stored: it was not found, and none before it says the same.
    fn is_fresh(&self) -> bool {
        self.result.is_none() && self.twin.is_none()
    }

    fn found(&mut self, offset: u64, same: bool) {
        self.result = Some(if same {
            Ok(Receipt {
                offset,
                duplicate: true,
            })
        } else {
            Err(PublishError::IdReused)
        });
    }
}

fn pending(drafts: &[Draft]) -> Vec<Pending<'_>> {
    let mut first = std::collections::HashMap::new();
    drafts
        .iter()
        .enumerate()
        .map(|(index, draft)| Pending {
            draft,
            fingerprint: fingerprint(&draft.sender, &draft.id),
            result: None,
            twin: match *first.entry((&draft.sender, &draft.id)).or_insert(index) {
                twin if twin == index => None,
                twin => Some(twin),
            },
        })
        .collect()
}

/// The answer to a draft whose id stood before it in the batch, and which was not found in the log itself.
fn as_twin(
    first: &Result<Receipt, PublishError>,
    same: bool,
    why: &str,
) -> Result<Receipt, PublishError> {
    match first {
        Ok(receipt) if same => Ok(Receipt {
            duplicate: true,
            ..*receipt
        }),
        Ok(_) => Err(PublishError::IdReused),
        // The log holds another body than the first one's, which may be this one's.
        Err(PublishError::IdReused) if !same => Err(PublishError::Unavailable(why.to_owned())),
        Err(error) => Err(error.clone()),
    }
}

/// What the next segment tells of this one and of those before it.
fn telling(segment: Segment) -> Vec<Previous> {
    let summary = segment.summary();
    let mut previous = segment.previous;
    previous.push(summary);
    let surplus = previous.len().saturating_sub(PREVIOUS);
    previous.drain(..surplus);
    previous
}

/// Whether two drafts of one sender and id say the same.
fn same(one: &Draft, other: &Draft) -> bool {
    one.body == other.body && one.refers == other.refers
}

/// What a draft adds to the document, in bytes.
fn size(draft: &Draft) -> usize {
    let refers = if draft.refers.is_some() { 9 } else { 0 };
    28 + refers + draft.sender.len() + draft.id.len() + draft.name.len() + draft.body.len()
}
