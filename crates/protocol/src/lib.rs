//! The protocol, version 1: request grammar, cursors, envelopes, framings and their escaping.
//!
//! Pure: no clock, randomness, async runtime, HTTP types or wasm. Everything here is total: input of any
//! kind gives a value or an [`Error`], never a panic, in time and stack that do not grow with its depth.
//!
//! # Reading
//! A query is `application/x-www-form-urlencoded` (WHATWG URL, section 5.1) over the characters of a
//! query (RFC 3986, section 3.4): pairs between `&`, `+` a space, `%` and two hexadecimal digits a byte
//! of UTF-8. Where that standard repairs, this grammar refuses: a `%` without its digits, bytes that are
//! not UTF-8, a second value of a parameter that has one. Parameters it does not know are ignored, so
//! that a newer client can talk to an older server; an empty `after` or `token` is an absent one.
//!
//! | parameter  | value                                             | absent |
//! |------------|---------------------------------------------------|--------|
//! | `channel`  | a [`Channel`]; 1 to 64 of them, distinct          | 400    |
//! | `after`    | a [`Cursor`]; the header `Last-Event-ID` wins     | from now on |
//! | `history`  | 0 to 1000 newest messages of each channel that the cursor does not name | 0 |
//! | `limit`    | 1 to 1000 envelopes in a batch                    | 100    |
//! | `wait`     | 0 to 55 seconds                                   | 25     |
//! | `before`   | an offset; with one channel, no cursor, no `history` | –   |
//! | `token`    | printable characters                              | none   |
//! | `heartbeat`| 1 to 55 seconds of silence before a stream beats; for [`Sse`](framing::Sse) also how | 15 |
//! | `presence` | to take part in the live state, see [`Known`] | does not |
//! | `callback` | of [`Jsonp`](framing::Jsonp) and [`Htmlfile`](framing::Htmlfile) | – |
//! | `origin`   | of [`Htmlfile`](framing::Htmlfile): an [`Origin`] | –      |
//! | `errors`   | `inline`, see [`inline_errors`]                   | by status |
//!
//! # Publishing
//! `{"id":…,"body":…}` or an array of 1 to 100 such, in JSON (RFC 8259) of UTF-8. An id has 1 to 64
//! bytes of printable ASCII without space. A body is any JSON value of at most 65,536 bytes, kept token
//! for token: only the white space between tokens goes, so numbers of any length and escapes of lone
//! surrogates come out as they went in. Members of other names are ignored.
//!
//! A draft with `"refers":{"kind":…,"offset":…}` is about the message at that offset of its channel, see [`Kind`].
//!
//! # Commanding
//! What is neither reading nor publishing is a [`Command`]: `{"me":{}}` in a request's body, in the query of a
//! script's, or on a WebSocket.
//!
//! # Answers
//! An error is `{"error":code,"detail":text}`, see [`Error`]. A message is an [`Envelope`]. How messages
//! come to a reader is a [`framing`].

mod channel;
mod command;
mod cursor;
mod duplex;
mod encoding;
mod envelope;
mod error;
pub mod framing;
mod json;
mod live;
mod origin;
mod patterns;
mod publish;
mod query;
mod refers;
mod request;
mod revoke;
mod rooms;
mod session;
mod state;
#[cfg(test)]
mod tests;

pub use channel::Channel;
pub use command::{Command, CommandQuery, Me};
pub use cursor::{Cursor, Position};
pub use duplex::{Ask, Reference, Reply, Verb};
pub use encoding::accepts_gzip;
pub use envelope::Envelope;
pub use error::Error;
pub use framing::Gap;
pub use live::{LiveCommand, Read, Typing};
pub use origin::{Origin, Origins, is_own};
pub use patterns::{BadPattern, Patterns};
pub use publish::{Draft, Drafts, PublishQuery, Stored};
pub use refers::{Kind, Refers};
pub use request::{Heartbeat, Known, ReadRequest, Start, inline_errors};
pub use revoke::{Revoke, Revoked};
pub use rooms::{Role, RoomCommand, Whom};
pub use session::{Session, display_name, parse_session, session_from_query};
pub use state::{Change, Mark, Person, State};

/// The most channels that one reader follows at once. Larger: a cursor no longer fits the longest URI
/// that servers accept, and one request opens that many rooms.
pub const MOST_CHANNELS: usize = 64;

/// The most drafts in one request. Larger: one request holds a channel's group commit for long.
pub const MOST_DRAFTS: usize = 100;

/// The longest body, in bytes of JSON text without white space between tokens. Larger: a channel's
/// newest messages no longer fit one value of common stores.
pub const LONGEST_BODY: usize = 65_536;
