//! Listening to a channel, by a connection of its own.

use std::io;
use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, Msg, RedisError, Value};
use tokio::time::timeout;

use super::link::bounded;

/// How long a host shows that it serves before its nodes do: longer than they take to listen.
const SHOWN: Duration = Duration::from_secs(10);

/// A channel that is listened to. Others see that it is, for as long as this is held.
pub(crate) struct Subscription {
    asking: PubSubSink,
    messages: PubSubStream,
    channel: String,
    silence: Duration,
}

impl Subscription {
    /// After so long a `silence` the server is asked whether it is still there: a connection that a router has
    /// forgotten says nothing.
    pub(super) async fn new(
        client: &Client,
        channel: String,
        silence: Duration,
    ) -> Result<Self, RedisError> {
        let connect = async {
            let mut connection = client.get_async_pubsub().await?;
            connection.subscribe(&channel).await?;
            Ok(connection)
        };
        let (asking, messages) = bounded(connect).await?.split();
        Ok(Self {
            asking,
            messages,
            channel,
            silence,
        })
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// What is said next.
    ///
    /// # Errors
    /// The connection has ended, or the server is there no longer.
    pub(crate) async fn next(&mut self) -> Result<Msg, RedisError> {
        loop {
            match timeout(self.silence, self.messages.next()).await {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                Err(_) => drop(bounded(self.asking.ping::<Value>()).await?),
            }
        }
    }

    /// Returns when others do not see any more that somebody listens.
    pub(crate) async fn lost(&mut self) {
        while self.next().await.is_ok() {}
    }

    /// Shows for some seconds that somebody listens.
    pub(crate) async fn show(mut self) {
        timeout(SHOWN, self.lost()).await.ok();
    }

    /// Once this returns, others see it no more, if the server lets it be said.
    pub(crate) async fn end(mut self) {
        // Where it fails, the connection's end tells it.
        bounded(self.asking.unsubscribe(&self.channel)).await.ok();
    }
}
