//! How messages become the bytes of a transport.
//!
//! A framing of a stream writes [`Frame`]s, one of an answer writes a [`Batch`]. Each has one escaping
//! function, through which everything goes that is not its own punctuation: bodies are hostile.

mod json;
mod sse;

pub use json::Json;
pub use sse::Sse;

use crate::Error;
use crate::json::{Object, array};

/// One thing told on a stream.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// The stream is open, and the reader's place is this: comes first, so that whoever is cut before
    /// the first message has a place to go on from.
    Open {
        /// The reader's whole cursor.
        cursor: &'a str,
    },
    /// A message.
    Envelope {
        /// The envelope: one JSON object.
        envelope: &'a str,
        /// The reader's cursor behind the message.
        cursor: &'a str,
    },
    /// Messages that the reader will never see.
    Gap {
        /// Where, and how far.
        gap: Gap<'a>,
        /// The reader's cursor behind the gap.
        cursor: &'a str,
    },
    /// Nothing, told so that nobody in between takes silence for an end.
    Heartbeat,
    /// A channel that is no longer open to the reader; the others go on.
    Denied {
        /// The channel.
        channel: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// The end, told: the end of a body without it is a fault.
    End {
        /// `reopen`, or an error's code.
        reason: &'a str,
    },
}

/// Messages of one channel that are gone for good: those after `after` up to `resumed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The offset that the reader had asked to continue from.
    pub after: u64,
    /// The offset from which it continues.
    pub resumed: u64,
}

/// One whole answer.
#[derive(Clone, Debug, Default)]
pub struct Batch<'a> {
    /// The envelopes, oldest first within a channel.
    pub envelopes: Vec<&'a str>,
    /// What is missing before them.
    pub gaps: Vec<Gap<'a>>,
    /// The reader's cursor behind all of it; none on a page of history.
    pub cursor: Option<&'a str>,
    /// On a page of history that has more before it: where that ends.
    pub before: Option<u64>,
}

/// A framing for a response that goes on.
///
/// A message's frame is its head and its tail, so that readers of one message share the head's bytes and
/// differ in the tail: `write` of [`Frame::Envelope`] is the one behind the other.
pub trait StreamFraming {
    /// The header `Content-Type`.
    const CONTENT_TYPE: &'static str;

    /// What comes before the first frame.
    fn prelude(&self) -> Vec<u8>;

    /// Appends the part of a message's frame that is the same for all its readers.
    fn head(&self, envelope: &str, out: &mut Vec<u8>);

    /// Appends the rest, which is a reader's own.
    fn tail(&self, cursor: &str, out: &mut Vec<u8>);

    /// Appends a frame.
    fn write(&self, frame: &Frame<'_>, out: &mut Vec<u8>);

    /// A refused request as a body with status 200, for readers that cannot see another status; none: by
    /// its status.
    fn error(&self, _error: &Error) -> Option<Vec<u8>> {
        None
    }
}

/// A framing for a response of one batch.
pub trait BatchFraming {
    /// The header `Content-Type`.
    const CONTENT_TYPE: &'static str;

    /// Appends a batch.
    fn write(&self, batch: &Batch<'_>, out: &mut Vec<u8>);

    /// A refused request as a body with status 200, for readers that cannot see another status; none: by
    /// its status.
    fn error(&self, _error: &Error) -> Option<Vec<u8>> {
        None
    }
}

impl Frame<'_> {
    /// The frame as one JSON object: `{"open":true,"cursor"}`, `{"envelope":{…},"cursor"}`,
    /// `{"gap":{"channel","after","resumed"},"cursor"}`, `{"heartbeat":true}`,
    /// `{"denied":{"channel","error","detail"}}` or `{"end":reason}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Open { cursor } => Object::new().raw("open", "true").text("cursor", cursor),
            Self::Envelope { envelope, cursor } => Object::with_room(envelope.len() + cursor.len())
                .raw("envelope", envelope)
                .text("cursor", cursor),
            Self::Gap { gap, cursor } => Object::new()
                .raw("gap", &gap.to_json())
                .text("cursor", cursor),
            Self::Heartbeat => Object::new().raw("heartbeat", "true"),
            Self::Denied { channel, error } => Object::new().raw("denied", &denied(channel, error)),
            Self::End { reason } => Object::new().text("end", reason),
        }
        .end()
    }
}

impl Gap<'_> {
    /// `{"channel","after","resumed"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        Object::new()
            .text("channel", self.channel)
            .number("after", self.after)
            .number("resumed", self.resumed)
            .end()
    }
}

impl Batch<'_> {
    /// `{"envelopes":[…],"gaps":[…]}`, with `"cursor"` and `"before"` where there are any.
    #[must_use]
    pub fn to_json(&self) -> String {
        let envelopes = array(&self.envelopes);
        let mut object = Object::with_room(envelopes.len())
            .raw("envelopes", &envelopes)
            .raw("gaps", &array(self.gaps.iter().map(Gap::to_json)));
        if let Some(cursor) = self.cursor {
            object = object.text("cursor", cursor);
        }
        if let Some(before) = self.before {
            object = object.number("before", before);
        }
        object.end()
    }
}

/// `{"channel","error","detail"}`.
fn denied(channel: &str, error: &Error) -> String {
    error.members(Object::new().text("channel", channel)).end()
}
