//! A WebSocket server's end of a connection: RFC 6455, RFC 8441, and the compression of RFC 7692.
//!
//! Pure: bytes in, events out; messages in, bytes out. No clock, randomness, I/O, async runtime, HTTP types or
//! wasm. Input of any kind gives an event, never a panic, in memory that [`Limits`] bounds.

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
