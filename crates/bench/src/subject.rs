//! What is measured: a server, a way of publishing to it and a way of reading from it.
//!
//! Another transport, or another server altogether, is one file in `subjects` and one line in [`ALL`].

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use crate::drafts::Drafts;
use crate::run::Inbox;
use crate::server::{Cores, Server};
use crate::subjects::{
    htmlfile, jsonp_polling, long_polling, short_polling, sse, websocket, xhr_streaming,
};

/// Every row of the table.
pub(crate) const ALL: &[Subject] = &[
    short_polling::SUBJECT,
    long_polling::SUBJECT,
    jsonp_polling::SUBJECT,
    htmlfile::SUBJECT,
    xhr_streaming::SUBJECT,
    sse::SUBJECT,
    websocket::SUBJECT,
];

/// The channel that everybody reads.
pub(crate) const CHANNEL: &str = "bench";

/// One row.
pub(crate) struct Subject {
    /// What the row is called.
    pub(crate) name: &'static str,
    /// Starts a fresh server that keeps its data in the folder.
    pub(crate) start: fn(Setup<'_>) -> Started<'_>,
    /// Publishes every draft, in order, each until it is acknowledged.
    pub(crate) publish: fn(Target, Drafts) -> LocalBoxFuture<'static, Result<()>>,
    /// Reads [`CHANNEL`] until the connection ends, from where the inbox is. It is called again then.
    pub(crate) read: fn(Target, Inbox) -> LocalBoxFuture<'static, Result<()>>,
}

/// A server on its way, and how clients reach it.
pub(crate) type Started<'a> = LocalBoxFuture<'a, Result<(Server, Target)>>;

/// How a server is to be started.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The built host.
    pub(crate) host: &'a Path,
    /// Empty, and gone after the measurement.
    pub(crate) folder: &'a Path,
    pub(crate) cores: &'a Cores,
    pub(crate) durability: Durability,
    /// What the target tells clients.
    pub(crate) manners: Manners,
}

/// What an acknowledged message survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of the server, by `kill -9` too.
    Normal,
    /// The loss of power.
    Full,
}

/// How clients behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// From the start of one short poll to the start of the next.
    pub(crate) interval: Duration,
}

/// Where a client goes.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The credential of all clients: guests are rationed.
    pub(crate) token: Rc<str>,
    pub(crate) manners: Manners,
}
