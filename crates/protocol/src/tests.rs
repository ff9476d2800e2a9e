//! Cases are data: a table of what is accepted and refused, and texts drawn at random.

mod cursor;
mod duplex;
mod error;
mod framing;
mod publish;
mod request;
mod session;
mod texts;
