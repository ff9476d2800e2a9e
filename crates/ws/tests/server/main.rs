//! The rules of RFC 6455 and RFC 7692 as cases, clients of others, and hostile input.

mod client;
mod closing;
mod deflate;
#[path = "../../examples/echo.rs"]
#[expect(dead_code, reason = "its main listens, the tests serve")]
mod echo;
mod frames;
mod handshake;
mod hostile;
mod peers;
mod sending;
mod text;
