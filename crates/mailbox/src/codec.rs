//! The values in the store: compact, versioned, checked.
//!
//! ```text
//! tail     1 | floor 8 | floor tag 4 | kept 8 | base 8 | base tag 4 | newest 8 | n 1 | doomed 8 × n | records
//! segment  1 | first 8 | n 1 | n × (first 8 | m 2 | fingerprint 8 × m) | records
//! record   length 4 | sent at 8 | tag 4 | fingerprint 8 | length 1 | sender | length 1 | id | length 2 | name
//!          | refers | body
//! refers   nothing, or where the name's length has its highest bit set: kind 1 | offset 8
//! ```
//! All integers are little-endian. The first byte is the version of the format.

use crate::{Draft, Message, Position, Refers, StoreError};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;
/// In the length of a name: that the record refers to another. No name is so long.
const REFERS: u16 = 1 << 15;

/// The newest messages of a channel, and what is told of the older ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The last offset that is no longer readable.
    pub(crate) floor: u64,
    pub(crate) floor_tag: u32,
    /// Segments exist behind this offset; those up to it are gone or doomed.
    pub(crate) kept: u64,
    /// The last offset before the records.
    pub(crate) base: u64,
    pub(crate) base_tag: u32,
    /// The first offset of the newest segment, the one that ends at `base`; 0: none.
    pub(crate) newest: u64,
    /// First offsets of segments to delete.
    pub(crate) doomed: Vec<u64>,
    pub(crate) records: Records,
}

/// Older messages, and the ids of those before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    /// The segments before this one, oldest first.
    pub(crate) previous: Vec<Previous>,
    pub(crate) records: Records,
}

/// What a segment tells of one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) first: u64,
    pub(crate) fingerprints: Vec<u64>,
}

/// Encoded messages, read where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// Of each record behind its length.
    ranges: Vec<Range<usize>>,
}

/// One encoded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) sent_at: u64,
    pub(crate) tag: u32,
    pub(crate) fingerprint: u64,
    pub(crate) sender: &'a str,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) refers: Option<Refers>,
    pub(crate) body: &'a str,
}

/// A digest of who sent which id: equal ones are looked at, different ones are different messages.
pub(crate) fn fingerprint(sender: &str, id: &str) -> u64 {
    let mut bytes = Vec::with_capacity(sender.len() + id.len() + 1);
    bytes.extend_from_slice(sender.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(id.as_bytes());
    xxh3_64(&bytes)
}

impl Tail {
    pub(crate) fn empty() -> Self {
        Self {
            floor: 0,
            floor_tag: 0,
            kept: 0,
            base: 0,
            base_tag: 0,
            newest: 0,
            doomed: Vec::new(),
            records: Records::default(),
        }
    }

    /// The offset of the newest message.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.records.len() as u64
    }

    /// The record of an offset that the tail still holds.
    pub(crate) fn record(&self, offset: u64) -> Option<Record<'_>> {
        let index = offset.checked_sub(self.base)?.checked_sub(1)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    /// The tag behind an offset, where the tail knows it.
    pub(crate) fn tag(&self, offset: u64) -> Option<u32> {
        match offset {
            0 => Some(0),
            _ if offset == self.floor => Some(self.floor_tag),
            _ if offset == self.base => Some(self.base_tag),
            _ => self.record(offset).map(|record| record.tag),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.doomed.len() * 8 + self.records.bytes.len());
        out.push(VERSION);
        out.extend_from_slice(&self.floor.to_le_bytes());
        out.extend_from_slice(&self.floor_tag.to_le_bytes());
        out.extend_from_slice(&self.kept.to_le_bytes());
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&self.base_tag.to_le_bytes());
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.push(u8::try_from(self.doomed.len()).unwrap_or(u8::MAX));
        for first in self.doomed.iter().take(u8::MAX.into()) {
            out.extend_from_slice(&first.to_le_bytes());
        }
        out.extend_from_slice(&self.records.bytes);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input(bytes);
        let tail = (|| {
            input.version()?;
            Some(Self {
                floor: input.u64()?,
                floor_tag: input.u32()?,
                kept: input.u64()?,
                base: input.u64()?,
                base_tag: input.u32()?,
                newest: input.u64()?,
                doomed: (0..input.u8()?)
                    .map(|_| input.u64())
                    .collect::<Option<_>>()?,
                records: Records::decode(input.0)?,
            })
        })();
        tail.filter(|tail| {
            tail.kept <= tail.base && tail.base.checked_add(u32::MAX.into()).is_some()
        })
        .ok_or_else(|| damaged("tail"))
    }
}

impl Segment {
    /// The offset of its last message.
    pub(crate) fn last(&self) -> u64 {
        self.first - 1 + self.records.len() as u64
    }

    /// The tag of its last message.
    pub(crate) fn last_tag(&self) -> u32 {
        self.records
            .iter()
            .next_back()
            .map_or(0, |record| record.tag)
    }

    pub(crate) fn record(&self, offset: u64) -> Option<Record<'_>> {
        self.records
            .get(usize::try_from(offset.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let ids: usize = self
            .previous
            .iter()
            .map(|p| 10 + p.fingerprints.len() * 8)
            .sum();
        let mut out = Vec::with_capacity(16 + ids + self.records.bytes.len());
        out.push(VERSION);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.push(u8::try_from(self.previous.len()).unwrap_or(u8::MAX));
        for previous in self.previous.iter().take(u8::MAX.into()) {
            out.extend_from_slice(&previous.first.to_le_bytes());
            let count = u16::try_from(previous.fingerprints.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&count.to_le_bytes());
            for fingerprint in previous.fingerprints.iter().take(count.into()) {
                out.extend_from_slice(&fingerprint.to_le_bytes());
            }
        }
        out.extend_from_slice(&self.records.bytes);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut input = Input(bytes);
        let segment = (|| {
            input.version()?;
            let first = input.u64()?;
            let previous = (0..input.u8()?)
                .map(|_| {
                    let first = input.u64()?;
                    let fingerprints = (0..input.u16()?)
                        .map(|_| input.u64())
                        .collect::<Option<_>>()?;
                    Some(Previous {
                        first,
                        fingerprints,
                    })
                })
                .collect::<Option<_>>()?;
            Some(Self {
                first,
                previous,
                records: Records::decode(input.0)?,
            })
        })();
        segment
            .filter(|segment| segment.first > 0 && segment.records.len() > 0)
            .ok_or_else(|| damaged("segment"))
    }

    /// What the next segment tells of this one.
    pub(crate) fn summary(&self) -> Previous {
        Previous {
            first: self.first,
            fingerprints: self
                .records
                .iter()
                .map(|record| record.fingerprint)
                .collect(),
        }
    }
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Their size in the document.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Record<'_>> {
        // Every range was parsed once when it was decoded or written.
        Record::decode(&self.bytes[self.ranges.get(index)?.clone()])
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Record<'_>> + ExactSizeIterator {
        (0..self.len()).map(|index| {
            self.get(index)
                .expect("every range was parsed when it was decoded or written")
        })
    }

    /// The fingerprint of a record, without parsing the rest.
    fn fingerprint(&self, index: usize) -> Option<u64> {
        let start = self.ranges.get(index)?.start + 12;
        Some(u64::from_le_bytes(
            self.bytes.get(start..start + 8)?.try_into().ok()?,
        ))
    }

    /// The index of a sender's id.
    pub(crate) fn find(&self, sender: &str, id: &str) -> Option<usize> {
        let wanted = fingerprint(sender, id);
        (0..self.len()).find(|&index| {
            self.fingerprint(index) == Some(wanted)
                && self
                    .get(index)
                    .is_some_and(|record| record.sender == sender && record.id == id)
        })
    }

    /// Takes the first `count` records away.
    pub(crate) fn split_front(&mut self, count: usize) -> Self {
        let cut = self
            .ranges
            .get(count)
            .map_or(self.bytes.len(), |range| range.start - 4);
        let rest = self.bytes.split_off(cut);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let rest = self.ranges.split_off(count);
        let ranges = std::mem::replace(&mut self.ranges, rest);
        for range in &mut self.ranges {
            *range = range.start - cut..range.end - cut;
        }
        Self { bytes, ranges }
    }

    /// How many of the first records one segment takes: up to the first at which one of the limits is
    /// reached. None: the segment is not full yet. Depends on nothing behind that record.
    pub(crate) fn full(&self, messages: usize, bytes: usize) -> Option<usize> {
        let by_bytes = self
            .ranges
            .iter()
            .position(|range| range.end >= bytes)
            .map(|at| at + 1);
        let by_count = (self.len() >= messages).then_some(messages);
        [by_bytes, by_count].into_iter().flatten().min()
    }

    /// Appends a message, where `previous` is the tag of the one before it.
    pub(crate) fn push(&mut self, draft: &Draft, offset: u64, sent_at: u64, previous: u32) -> u32 {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&sent_at.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        let hashed = self.bytes.len();
        self.bytes
            .extend_from_slice(&fingerprint(&draft.sender, &draft.id).to_le_bytes());
        // The caller has checked the lengths.
        self.bytes.push(draft.sender.len() as u8);
        self.bytes.extend_from_slice(draft.sender.as_bytes());
        self.bytes.push(draft.id.len() as u8);
        self.bytes.extend_from_slice(draft.id.as_bytes());
        let mark = if draft.refers.is_some() { REFERS } else { 0 };
        self.bytes
            .extend_from_slice(&(draft.name.len() as u16 | mark).to_le_bytes());
        self.bytes.extend_from_slice(draft.name.as_bytes());
        if let Some(refers) = draft.refers {
            self.bytes.push(refers.kind);
            self.bytes.extend_from_slice(&refers.offset.to_le_bytes());
        }
        self.bytes.extend_from_slice(draft.body.as_bytes());
        let length = (self.bytes.len() - start - 4) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        // The tag before is in the tag too, so that equal tags tell of equal logs up to there.
        let content = xxh3_64(&self.bytes[hashed..]);
        let tag = xxh3_64(
            &[content, offset, sent_at, previous.into()]
                .map(u64::to_le_bytes)
                .concat(),
        );
        let tag = tag as u32;
        self.bytes[start + 12..start + 16].copy_from_slice(&tag.to_le_bytes());
        self.ranges.push(start + 4..self.bytes.len());
        tag
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut ranges = Vec::with_capacity(64);
        let mut at = 0;
        while at < bytes.len() {
            let length = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
            let range = at + 4
                ..at.checked_add(4)?
                    .checked_add(usize::try_from(length).ok()?)?;
            Record::decode(bytes.get(range.clone())?)?;
            at = range.end;
            ranges.push(range);
        }
        Some(Self {
            bytes: bytes.to_vec(),
            ranges,
        })
    }
}

impl<'a> Record<'a> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let mut refers = false;
        Some(Self {
            sent_at: input.u64()?,
            tag: input.u32()?,
            fingerprint: input.u64()?,
            sender: {
                let length = input.u8()?;
                input.text(length.into())?
            },
            id: {
                let length = input.u8()?;
                input.text(length.into())?
            },
            name: {
                let length = input.u16()?;
                refers |= length & REFERS != 0;
                input.text((length & !REFERS).into())?
            },
            refers: if refers {
                Some(Refers {
                    kind: input.u8()?,
                    offset: input.u64()?,
                })
            } else {
                None
            },
            body: std::str::from_utf8(input.0).ok()?,
        })
    }

    /// Whether it says the same as a draft, whose sender and id it has.
    pub(crate) fn says(&self, draft: &Draft) -> bool {
        self.body == draft.body && self.refers == draft.refers
    }

    pub(crate) fn message(&self, offset: u64) -> Message {
        Message {
            offset,
            id: self.id.to_owned(),
            sender: self.sender.to_owned(),
            name: self.name.to_owned(),
            sent_at: self.sent_at,
            body: self.body.to_owned(),
            refers: self.refers,
        }
    }

    pub(crate) fn at(&self, epoch: u64, offset: u64) -> Position {
        Position {
            epoch,
            offset,
            tag: self.tag,
        }
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError(format!("the store holds a damaged {what}"))
}

/// Bytes still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn version(&mut self) -> Option<()> {
        (self.u8()? == VERSION).then_some(())
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, count: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(count)?).ok()
    }
}
