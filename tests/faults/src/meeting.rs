//! Many who publish in one channel, and a reader of it by every transport, while something happens to the host.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use conformance::Transport;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Follower, Load, Offsets, Progress, Read, Sending, Way, check_read};

const LAST: &str = "last";
/// Publishers keep within so many messages of the slowest reader: who falls behind the window is told a
/// gap, and this is about loss.
const AHEAD: u64 = 500;

/// A meeting that goes on.
#[derive(Debug)]
pub struct Meeting {
    load: Arc<Load>,
    publishes: u64,
    publishers: JoinSet<Result<Offsets>>,
    readers: JoinSet<Result<(Transport, Vec<Read>)>>,
    offsets: Offsets,
}

impl Meeting {
    /// Opens the readers, then begins to publish so many messages, by so many who post and converse in turn.
    ///
    /// # Errors
    /// Where a reader does not open.
    pub async fn begin(
        address: watch::Receiver<SocketAddr>,
        channel: &str,
        publishes: u64,
        publishers: u64,
    ) -> Result<Self> {
        let progress = Progress::default();
        let load = Arc::new(Load::begin(address.clone(), channel, progress.clone()).await?);
        let mut readers = JoinSet::new();
        for &transport in Transport::ALL {
            let mut follower = Follower {
                way: Way::One(transport),
                channel: channel.to_owned(),
                last: LAST.to_owned(),
                address: address.clone(),
                cut: None,
            };
            let (place, progress) = (follower.begin().await?, progress.clone());
            readers.spawn(async move { Ok((transport, follower.follow(place, progress).await?)) });
        }
        let mut publishing = JoinSet::new();
        for publisher in 0..publishers {
            let (first, end) = (
                publishes * publisher / publishers,
                publishes * (publisher + 1) / publishers,
            );
            let load = Arc::clone(&load);
            publishing.spawn(async move {
                let ids = (first..end).map(|number| number.to_string());
                let sending = [Sending::Posting, Sending::Conversing][(publisher % 2) as usize];
                load.publish(sending, ids, || AHEAD).await
            });
        }
        Ok(Self {
            load,
            publishes,
            publishers: publishing,
            readers,
            offsets: Offsets::new(),
        })
    }

    /// Waits until the `nth` of so many equal parts of the messages is published.
    pub async fn reaches(&self, nth: u64, parts: u64) {
        self.load.reaches(self.publishes * nth / parts).await;
    }

    /// Waits until all is published.
    ///
    /// # Errors
    /// Where a publisher gave up.
    pub async fn published(&mut self) -> Result<()> {
        while let Some(published) = self.publishers.join_next().await {
            self.offsets.extend(published??);
        }
        Ok(())
    }

    /// Publishes the last message, and compares what was read with what was acknowledged.
    ///
    /// # Errors
    /// Where another number is stored, or a reader missed something, met it twice, or elsewhere.
    pub async fn end(mut self) -> Result<()> {
        let Self {
            load,
            publishes,
            readers,
            offsets,
            ..
        } = &mut self;
        offsets.extend(
            load.publish(Sending::Posting, [LAST.to_owned()], || AHEAD)
                .await?,
        );
        ensure!(
            offsets.get(LAST) == Some(&(*publishes + 1)),
            "{:?} messages are stored, {publishes} were published before the last",
            offsets.get(LAST)
        );
        while let Some(read) = readers.join_next().await {
            let (transport, read) = read??;
            check_read(&read, offsets).context(transport.name())?;
        }
        Ok(())
    }
}
