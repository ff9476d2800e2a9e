//! What is measured: a server, a way of publishing to it and a way of reading from it.
//!
//! Another transport, or another server altogether, is one file in `subjects` and one line in [`ALL`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use futures::future::LocalBoxFuture;
use serde::Serialize;

use crate::drafts::Drafts;
use crate::http::Connection;
use crate::peers::Peers;
use crate::run::Inbox;
use crate::server::{Cores, Server};
use crate::subjects::{
    faye, htmlfile, jsonp_polling, long_polling, nchan, short_polling, socket_io, sockjs, sse,
    websocket, ws, xhr_streaming,
};
use crate::witter;

/// Every row of the table, those side by side that deliver in the same way, ours first.
pub(crate) const ALL: &[Subject] = &[
    websocket::SUBJECT,
    WEBSOCKET_ON_REDIS,
    nchan::WEBSOCKET,
    socket_io::WEBSOCKET,
    sockjs::WEBSOCKET,
    faye::SUBJECT,
    ws::SUBJECT,
    sse::SUBJECT,
    SSE_ON_REDIS,
    xhr_streaming::SUBJECT,
    htmlfile::SUBJECT,
    nchan::EVENTSOURCE,
    sockjs::XHR_STREAMING,
    long_polling::SUBJECT,
    on_redis(long_polling::SUBJECT, "witter long-polling, redis"),
    jsonp_polling::SUBJECT,
    nchan::LONGPOLL,
    socket_io::POLLING,
    sockjs::XHR_POLLING,
    short_polling::SUBJECT,
];

const WEBSOCKET_ON_REDIS: Subject = on_redis(websocket::SUBJECT, "witter websocket, redis");
const SSE_ON_REDIS: Subject = on_redis(sse::SUBJECT, "witter sse, redis");

/// What is no default, and of interest where something goes wrong only.
pub(crate) const OPTIONS: &[Subject] = &[socket_io::RECOVERY];

/// Ways of publishing, those side by side that are published to in the same way, ours first.
pub(crate) const PUBLISHING: &[Publishing] = &[
    Publishing::posted(&sse::SUBJECT, "witter, fsync", Durability::Full),
    Publishing::posted(&sse::SUBJECT, "witter", Durability::Normal),
    Publishing::posted(&sse::SUBJECT, "witter, in memory", Durability::None),
    Publishing::posted(&SSE_ON_REDIS, "witter, redis, fsync", Durability::Full),
    Publishing::posted(&SSE_ON_REDIS, "witter, redis", Durability::Normal),
    Publishing::posted(&nchan::WEBSOCKET, "nchan", Durability::None),
    Publishing::sent(&websocket::SUBJECT, "witter, fsync", Durability::Full),
    Publishing::sent(&websocket::SUBJECT, "witter", Durability::Normal),
    Publishing::sent(&websocket::SUBJECT, "witter, in memory", Durability::None),
    Publishing::sent(
        &WEBSOCKET_ON_REDIS,
        "witter, redis, fsync",
        Durability::Full,
    ),
    Publishing::sent(&WEBSOCKET_ON_REDIS, "witter, redis", Durability::Normal),
    Publishing::sent(&socket_io::WEBSOCKET, "socket.io", Durability::None),
    Publishing::sent(&sockjs::WEBSOCKET, "sockjs", Durability::None),
    Publishing::sent(&faye::SUBJECT, "faye", Durability::None),
    Publishing::sent(&ws::SUBJECT, "ws", Durability::None),
    Publishing::pipelined(&websocket::SUBJECT, "witter, fsync", Durability::Full),
    Publishing::pipelined(&websocket::SUBJECT, "witter", Durability::Normal),
    Publishing::pipelined(&websocket::SUBJECT, "witter, in memory", Durability::None),
    Publishing::pipelined(
        &WEBSOCKET_ON_REDIS,
        "witter, redis, fsync",
        Durability::Full,
    ),
    Publishing::pipelined(&WEBSOCKET_ON_REDIS, "witter, redis", Durability::Normal),
    Publishing::pipelined(&socket_io::WEBSOCKET, "socket.io", Durability::None),
    Publishing::pipelined(&sockjs::WEBSOCKET, "sockjs", Durability::None),
    Publishing::pipelined(&faye::SUBJECT, "faye", Durability::None),
    Publishing::pipelined(&ws::SUBJECT, "ws", Durability::None),
];

/// The channel that everybody reads, where there is one.
pub(crate) const CHANNEL: &str = "bench";

/// One row.
pub(crate) struct Subject {
    /// What the row is called: the server, and its transport.
    pub(crate) name: &'static str,
    /// Whose server it is.
    pub(crate) maker: Maker,
    /// Where ours keeps what it stores.
    pub(crate) store: Store,
    /// How it reaches a browser.
    pub(crate) delivery: Delivery,
    /// The row of ours that it is compared with; none where it is ours.
    pub(crate) beside: Option<&'static str>,
    /// Starts a fresh server that keeps its data in the folder.
    pub(crate) start: fn(Setup<'_>) -> Started<'_>,
    /// Publishes every draft, in order, each until it is acknowledged. By a POST they go one by one.
    pub(crate) publish: fn(Target, Drafts) -> LocalBoxFuture<'static, Result<()>>,
    /// Reads the target's channel until the connection ends, from where the inbox is. It is called again then.
    pub(crate) read: fn(Target, Inbox) -> LocalBoxFuture<'static, Result<()>>,
}

/// One row of what is acknowledged.
pub(crate) struct Publishing {
    pub(crate) subject: &'static Subject,
    pub(crate) name: &'static str,
    /// How the subject's clients do it.
    pub(crate) means: Means,
    pub(crate) durability: Durability,
}

/// How clients publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Means {
    /// By a request for each message.
    Posts,
    /// By a WebSocket that stays open, each message when the one before is acknowledged.
    Socket,
    /// By a WebSocket, without waiting for that.
    Pipelined,
}

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Witter,
    /// Runs on Node.js.
    Node,
    /// A module of nginx.
    Nginx,
}

/// Where our host keeps what it stores; of peers, which keep everything in memory, nobody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// A file, or memory, of its own.
    #[default]
    #[value(name = "sqlite")]
    Own,
    /// A Redis, which many hosts may share.
    Redis,
}

/// How messages reach a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Delivery {
    /// A WebSocket.
    Socket,
    /// A response without end.
    Stream,
    /// A poll that is held.
    Held,
    /// A poll that is not.
    Polled,
}

/// A server on its way, and how clients reach it.
pub(crate) type Started<'a> = LocalBoxFuture<'a, Result<(Server, Target)>>;

/// How a server is to be started.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The built host.
    pub(crate) host: &'a Path,
    /// What is there of others.
    pub(crate) peers: &'a Peers,
    /// Empty, or what the server before it left; gone after the measurement.
    pub(crate) folder: &'a Path,
    pub(crate) cores: &'a Cores,
    pub(crate) durability: Durability,
    /// What the target tells clients.
    pub(crate) manners: Manners,
    /// How many messages of a channel ours keeps; none: as many as it does by default.
    pub(crate) kept: Option<u32>,
    /// Where the server was that it follows on.
    pub(crate) address: Option<SocketAddr>,
}

/// What an acknowledged message survives. Of peers, which keep all in memory, nobody asks for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing.
    None,
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
    /// The address that clients come from; none: as the system chooses. One address has some 28,000 ports.
    pub(crate) source: Option<IpAddr>,
    /// What readers read and publishers publish to.
    pub(crate) channel: Rc<str>,
    /// The credential of all clients of ours: guests are rationed.
    pub(crate) token: Rc<str>,
    pub(crate) manners: Manners,
    /// What the server says it is.
    pub(crate) version: Rc<str>,
}

/// A row of ours whose host keeps everything in a Redis.
const fn on_redis(subject: Subject, name: &'static str) -> Subject {
    Subject {
        name,
        store: Store::Redis,
        start: witter::start_on_redis,
        ..subject
    }
}

impl Target {
    /// Opens a connection to the server.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        Connection::open_from(self.source, self.address).await
    }
}

impl Subject {
    /// Whether a word of the command line means it: its name, or a word of that.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        let mut parts = self.name.split([' ', ',']);
        self.name == word || parts.any(|part| part == word)
    }
}

impl Publishing {
    const fn posted(subject: &'static Subject, name: &'static str, durability: Durability) -> Self {
        Self {
            subject,
            name,
            means: Means::Posts,
            durability,
        }
    }

    const fn sent(subject: &'static Subject, name: &'static str, durability: Durability) -> Self {
        Self {
            means: Means::Socket,
            ..Self::posted(subject, name, durability)
        }
    }

    const fn pipelined(
        subject: &'static Subject,
        name: &'static str,
        durability: Durability,
    ) -> Self {
        Self {
            means: Means::Pipelined,
            ..Self::posted(subject, name, durability)
        }
    }
}

impl Durability {
    /// What an acknowledged message survives.
    pub(crate) fn survives(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Normal => "kill -9",
            Self::Full => "loss of power",
        }
    }
}

impl Means {
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Posts => "by POST",
            Self::Socket => "by WebSocket",
            Self::Pipelined => "by WebSocket, several at once",
        }
    }
}

impl Delivery {
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Socket => "WebSockets",
            Self::Stream => "streams",
            Self::Held => "held polls",
            Self::Polled => "polls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_stands_behind_the_row_of_ours_that_it_is_compared_with() {
        for (at, subject) in ALL.iter().enumerate() {
            assert_eq!(subject.beside.is_none(), subject.maker == Maker::Witter);
            let Some(beside) = subject.beside else {
                continue;
            };
            let ours = ALL[..at].iter().find(|other| other.name == beside);
            let ours = ours.unwrap_or_else(|| panic!("{} before {}", beside, subject.name));
            assert_eq!(ours.delivery, subject.delivery, "{}", subject.name);
        }
        assert!(ALL.is_sorted_by_key(|subject| subject.delivery));
    }
}
