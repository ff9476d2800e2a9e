//! A WebSocket server's end of a connection: RFC 6455, RFC 8441, and the compression of RFC 7692.
//!
//! Pure: bytes in, events out; messages in, bytes out. No clock, randomness, I/O, async runtime, HTTP types or
//! wasm. Input of any kind gives an event, never a panic, and the same ones however it is cut.
//!
//! ```
//! use ws::{Connection, Event, Limits, SendError};
//!
//! /// Echoes what the client sent, and gives what is to be written to it.
//! fn echo(connection: &mut Connection, mut input: &[u8]) -> Result<Vec<u8>, SendError> {
//!     let mut output = Vec::new();
//!     while let Some(event) = connection.handle(&mut input) {
//!         match event {
//!             Event::Text(text) => connection.send_text(&text)?,
//!             Event::Binary(bytes) => connection.send_binary(&bytes)?,
//!             Event::Ping(_) | Event::Pong(_) => {}
//!             // The answer is in the output; the caller writes it, and closes the stream.
//!             Event::Close { .. } | Event::Failed(_) => assert!(connection.is_closed()),
//!         }
//!         output.extend(connection.take_output());
//!     }
//!     Ok(output)
//! }
//!
//! let limits = Limits { frame: 70_000, message: 70_000, pending: 300_000 };
//! let mut connection = Connection::new(limits, None);
//! let input = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
//! assert_eq!(echo(&mut connection, input), Ok(b"\x81\x05Hello".to_vec()));
//! ```
//!
//! # What a connection holds
//! * Idle, its own size of some 300 bytes, and nothing else. Whoever adds a field or a buffer pays for it
//!   thousands of times.
//! * While a message is being received, as much again as came of it, and up to twice [`Limits::message`]:
//!   [`Connection::unfinished`]. One that is compressed is decompressed when it is whole, which takes up to twice
//!   [`Limits::message`] more, and 48 KB. All connections of a thread do that one after the other.
//! * While a message is being compressed, 280 KB, or 150 KB with the smallest window. All connections of a thread
//!   do that one after the other.
//! * What waits to be sent, up to [`Limits::pending`].

mod close;
mod connection;
mod deflate;
mod extension;
mod failure;
mod frame;
pub mod handshake;
mod list;
mod prepared;

pub use close::CloseCode;
pub use connection::{Connection, Event, Limits, SendError};
pub use extension::Deflate;
pub use failure::Failure;
pub use prepared::Prepared;
