//! How messages become the bytes of a transport.
//!
//! A framing of a stream writes [`Frame`]s, one of an answer writes one JSON text. Each has one escaping
//! function, through which everything goes that is not its own punctuation: bodies are hostile.

mod htmlfile;
mod json;
mod jsonp;
mod ndjson;
mod script;
mod sse;

pub use htmlfile::Htmlfile;
pub use json::Json;
pub use jsonp::Jsonp;
pub use ndjson::NdJson;
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
    /// The live state of a channel, or what changed in it: no place in the log, and nothing that comes again.
    State {
        /// One JSON object, see [`State::to_json`](crate::State::to_json) and
        /// [`Change::to_json`](crate::Change::to_json).
        state: &'a str,
    },
    /// A channel that is no longer open to the reader; the others go on.
    Denied {
        /// The channel.
        channel: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// The end, told: the end of a body without it is a fault.
    End {
        /// Why; none: nothing is wrong, and the reader reopens from its cursor.
        error: Option<&'a Error>,
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
    /// What is missing before them, at most once for each channel.
    pub gaps: Vec<Gap<'a>>,
    /// The reader's cursor behind all of it; none on a page of history.
    pub cursor: Option<&'a str>,
    /// On a page of history that has more before it: where that ends.
    pub before: Option<u64>,
    /// The live state of those channels whose state the reader does not know, each one JSON object.
    pub state: Vec<&'a str>,
    /// For who takes part in it: what is known now, to ask with the next time.
    pub presence: Option<&'a str>,
}

/// What every framing is.
pub trait Framing {
    /// The header `Content-Type`.
    const CONTENT_TYPE: &'static str;

    /// Its readers see a body only where the status is 200: a refused request is told with that status,
    /// within the framing. Readers of the others may ask for it, see [`inline_errors`](crate::inline_errors).
    const INLINE_ERRORS: bool = false;

    /// A refused request as a whole body.
    fn refusal(&self, error: &Error) -> Vec<u8>;
}

/// A framing for a response that goes on.
///
/// A message's frame has four parts: the reader's own opening, a head that is the same for all readers of
/// the message, a tail that is the same for those of them that have the same cursor, and the reader's own
/// closing. Readers of one channel alone so share all that is costly to make.
pub trait StreamFraming: Framing {
    /// Ends a stream, in order, once it has written this much: its reader keeps what it has read.
    const MOST_BYTES: usize = usize::MAX;

    /// Ends a stream, in order, after this many seconds.
    const LONGEST: u32 = u32::MAX;

    /// What comes before the first frame.
    fn prelude(&self) -> Vec<u8>;

    /// Appends a message's head.
    fn head(envelope: &str, out: &mut Vec<u8>);

    /// Appends a message's tail.
    fn tail(cursor: &str, out: &mut Vec<u8>);

    /// Appends what stands between opening and closing of any other frame.
    fn body(&self, frame: &Frame<'_>, out: &mut Vec<u8>);

    /// Appends the opening.
    fn open(&self, _out: &mut Vec<u8>) {}

    /// Appends the closing.
    fn close(&self, _out: &mut Vec<u8>) {}

    /// Appends a whole frame.
    fn write(&self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        self.open(out);
        if let Frame::Envelope { envelope, cursor } = frame {
            Self::head(envelope, out);
            Self::tail(cursor, out);
        } else {
            self.body(frame, out);
        }
        self.close(out);
    }
}

/// A framing for a response of one JSON text: a batch, a receipt, a session.
pub trait AnswerFraming: Framing {
    /// The whole body.
    fn write(&self, json: String) -> Vec<u8>;
}

/// What comes first on a stream before browsers hand anything over: Internet Explorer's `XDomainRequest`
/// keeps the first 2 KiB back, WebKit and some proxies and virus scanners the first 1 KiB.
const PADDING: usize = 2048;

/// What a reader may keep of one stream, for the framings whose readers keep all of it: a page cannot let
/// go of a part of `responseText`, nor of a document. Smaller: a busy channel's readers reopen all the time;
/// larger: each page holds so much more, twice over in UTF-16.
const MOST_KEPT: usize = 1024 * 1024;

/// The longest that such a stream lasts, in seconds. Shorter: idle readers reopen for nothing; longer: what
/// a page has kept of a quiet channel goes late.
const LONGEST_KEPT: u32 = 300;

/// A stream that is refused: nothing but its end.
fn refused(framing: &impl StreamFraming, error: &Error) -> Vec<u8> {
    let mut out = framing.prelude();
    framing.write(&Frame::End { error: Some(error) }, &mut out);
    out
}

/// Appends text to a line. What would break the line in two, or make a parser drop it, is told as a space:
/// JSON has CR, LF and NUL at most between tokens, where a space means the same.
fn one_line(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().map(|byte| {
        if matches!(byte, b'\r' | b'\n' | 0) {
            b' '
        } else {
            byte
        }
    }));
}

/// What stands before the envelope in a message's frame of JSON.
const ENVELOPE: &str = "{\"envelope\":";

impl Frame<'_> {
    /// A message's frame of JSON up to its cursor: the same for all its readers.
    #[must_use]
    pub fn before(envelope: &str) -> String {
        format!("{ENVELOPE}{envelope}")
    }

    /// The rest of it, which is a reader's own.
    #[must_use]
    pub fn behind(cursor: &str) -> String {
        let rest = Object::new().text("cursor", cursor).end();
        rest.replacen('{', ",", 1)
    }

    /// The frame as one JSON object: `{"open":true,"cursor"}`, `{"envelope":{…},"cursor"}`,
    /// `{"gap":{"channel","after","resumed"},"cursor"}`, `{"heartbeat":true}`, `{"state":{"channel",…}}`,
    /// `{"denied":{"channel","error","detail"}}`, `{"end":"reopen"}` or `{"end":code,"detail"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Open { cursor } => Object::new().raw("open", "true").text("cursor", cursor),
            Self::Envelope { envelope, cursor } => {
                return format!("{ENVELOPE}{envelope}{}", Self::behind(cursor));
            }
            Self::Gap { gap, cursor } => Object::new()
                .raw("gap", &gap.to_json())
                .text("cursor", cursor),
            Self::Heartbeat => Object::new().raw("heartbeat", "true"),
            Self::State { state } => Object::new().raw("state", state),
            Self::Denied { channel, error } => Object::new().raw("denied", &denied(channel, error)),
            Self::End { error: None } => Object::new().text("end", "reopen"),
            Self::End { error: Some(error) } => {
                error.explain(Object::new().text("end", error.code()))
            }
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
    /// `{"envelopes":[…],"gaps":[…]}`, with `"cursor"`, `"before"`, `"state":[…]` and `"presence"` where there are any.
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
        if !self.state.is_empty() {
            object = object.raw("state", &array(&self.state));
        }
        if let Some(presence) = self.presence {
            object = object.text("presence", presence);
        }
        object.end()
    }
}

/// `{"channel","error","detail"}`.
fn denied(channel: &str, error: &Error) -> String {
    error.members(Object::new().text("channel", channel)).end()
}
