//! Cases are data: a table of what is accepted and refused, and texts drawn at random.

mod cursor;
mod duplex;
mod encoding;
mod error;
mod framing;
mod origin;
mod publish;
mod refers;
mod request;
mod rooms;
mod session;
mod state;
mod texts;
