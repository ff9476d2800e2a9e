//! Redis for components, by `spin:redis`: the server that the deployment names, and commands to it.
//!
//! The interface comes twice. The synchronous one holds the whole instance until Redis answers, and is all that a
//! synchronous function can use; by the asynchronous one only the calling task waits. Each has a connection of its
//! own, opened at the first command and again after an error.

mod bindings;
mod command;
mod connection;
mod prefix;
mod settings;
mod spared;
mod value;

pub use command::Command;
pub use connection::{Line, Redis};
pub use prefix::Prefix;
pub use value::Value;

/// Why there is no answer. Nothing in the text is secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The deployment does not say which server.
    #[error("this server is set up wrong: {0}")]
    Settings(String),
    /// The host lets nobody connect there.
    #[error("redis_url is no address of Redis, or its host is not among allowed_outbound_hosts")]
    Address,
    /// The host has no connection left.
    #[error("too many connections to Redis")]
    Connections,
    /// Redis, or the way there: it may have done what it was asked all the same.
    #[error("redis: {0}")]
    Redis(String),
    /// Redis answered something else than such a command is answered.
    #[error("redis: {0} was answered in another form than expected")]
    Form(&'static str),
}
