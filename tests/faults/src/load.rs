//! Writers that try again until they are told where their messages are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conformance::{Client, Fault, Frame, Query, Session, Socket, Transport};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::{Progress, Read};

/// Between two tries at a host that is away.
const PAUSE: Duration = Duration::from_millis(5);

/// What a writer's WebSocket follows, since it has to follow something.
const SILENT: &str = "silent";

/// How a writer sends its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Each by a request of its own.
    Posting,
    /// On a WebSocket, for as long as it lives.
    Conversing,
}

/// What the writers of a channel share.
#[derive(Debug)]
pub struct Load {
    channel: String,
    address: watch::Receiver<SocketAddr>,
    session: Session,
    progress: Progress,
    acknowledged: AtomicU64,
    moved: Notify,
}

#[derive(Deserialize)]
struct Receipt {
    offset: u64,
}

/// Where each acknowledged message is, by its id.
pub type Offsets = HashMap<String, u64>;

impl Load {
    /// Writers of a channel, all of one guest, who are ahead of certain readers.
    ///
    /// # Errors
    /// Where the host takes no guest.
    pub async fn begin(
        address: watch::Receiver<SocketAddr>,
        channel: &str,
        progress: Progress,
    ) -> Result<Self> {
        let client = Client::new(*address.borrow());
        Ok(Self {
            channel: channel.to_owned(),
            address,
            session: client.session("Ann").await?,
            progress,
            acknowledged: AtomicU64::new(0),
            moved: Notify::new(),
        })
    }

    /// Publishes one message after the other, each until it is acknowledged. Before each, it waits while more
    /// than `ahead` acknowledged messages are not read by the slowest reader.
    ///
    /// # Errors
    /// Where the host refuses for another reason than to be away.
    pub async fn publish(
        &self,
        sending: Sending,
        ids: impl IntoIterator<Item = String>,
        mut ahead: impl FnMut() -> u64,
    ) -> Result<Offsets> {
        let mut offsets = Offsets::new();
        let mut address = self.address.clone();
        let mut client = Client::new(*address.borrow_and_update());
        let mut socket = None;
        for id in ids {
            let most = self.acknowledged.load(Ordering::Relaxed);
            self.progress.reaches(most.saturating_sub(ahead())).await;
            let offset = loop {
                if address.has_changed()? {
                    client = Client::new(*address.borrow_and_update());
                }
                let stored = match sending {
                    Sending::Posting => self.post(&client, &id).await?,
                    Sending::Conversing => self.say(&client, &mut socket, &id).await?,
                };
                match stored {
                    Some(offset) => break offset,
                    None => sleep(PAUSE).await,
                }
            };
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.moved.notify_waiters();
            let before = offsets.insert(id, offset);
            ensure!(before.is_none(), "an id was published twice");
        }
        Ok(offsets)
    }

    /// One try. None: the host is away, and nothing is known.
    async fn post(&self, client: &Client, id: &str) -> Result<Option<u64>> {
        let Ok(answer) = client.publish(&self.session, &self.channel, id, "0").await else {
            return Ok(None);
        };
        match answer.status.as_u16() {
            200 | 201 => Ok(Some(answer.json::<Receipt>()?.offset)),
            503 => Ok(None),
            _ => bail!("{answer:?}"),
        }
    }

    /// As [`Self::post`], on a WebSocket, which is opened where there is none and kept while it is good.
    async fn say(
        &self,
        client: &Client,
        kept: &mut Option<Socket>,
        id: &str,
    ) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Told {
            #[serde(rename = "ref")]
            reference: Option<String>,
            published: Option<Receipt>,
            error: Option<String>,
        }
        let mut socket = match kept.take() {
            Some(socket) => socket,
            None => match self.connect(client).await? {
                Some(socket) => socket,
                None => return Ok(None),
            },
        };
        let channel = &self.channel;
        let ask =
            format!(r#"{{"ref":"{id}","publish":{{"channel":"{channel}","id":"{id}","body":0}}}}"#);
        if let Err(fault) = socket.send(Frame::text(ask)).await {
            return is_away(fault);
        }
        let told = loop {
            match socket.text().await {
                Ok(text) => {
                    let told: Told = serde_json::from_str(&text).context(text)?;
                    if told.reference.as_deref() == Some(id) {
                        break told;
                    }
                }
                Err(fault) => return is_away(fault),
            }
        };
        *kept = Some(socket);
        match (told.published, told.error.as_deref()) {
            (Some(receipt), None) => Ok(Some(receipt.offset)),
            (None, Some("unavailable")) => Ok(None),
            (_, error) => bail!("{error:?}"),
        }
    }

    async fn connect(&self, client: &Client) -> Result<Option<Socket>> {
        let transport = Transport::Websocket;
        let query = Query::of([SILENT]).token(&self.session.token);
        let request = transport.request(client, &query.target(transport));
        let Ok(response) = client.open(request.body(Full::default())?).await else {
            return Ok(None);
        };
        if response.status() == 503 {
            return Ok(None);
        }
        match Socket::accepted(response).await {
            Ok(socket) => Ok(Some(socket)),
            Err(fault) => is_away(fault),
        }
    }

    /// Waits until so many messages are acknowledged.
    pub async fn reaches(&self, count: u64) {
        loop {
            let moved = self.moved.notified();
            if self.acknowledged.load(Ordering::Relaxed) >= count {
                return;
            }
            moved.await;
        }
    }
}

/// A connection that breaks tells nothing; whatever else is wrong is a fault.
fn is_away<T>(fault: Fault) -> Result<Option<T>> {
    match fault {
        Fault::Broken(_) => Ok(None),
        fault => Err(fault.into()),
    }
}

/// Whether a channel's reader met all that was acknowledged, each message once and where its writer was told.
///
/// # Errors
/// Where it did not.
pub fn check_read(read: &[Read], offsets: &Offsets) -> Result<()> {
    for (index, read) in (1..).zip(read) {
        ensure!(
            read.offset == index,
            "{read:?} is the message number {index}"
        );
        ensure!(
            offsets.get(&read.id) == Some(&index),
            "{read:?}, acknowledged {:?}",
            offsets.get(&read.id)
        );
    }
    ensure!(
        read.len() == offsets.len(),
        "{} of {} were read",
        read.len(),
        offsets.len()
    );
    Ok(())
}

/// The id of a writer's message.
#[must_use]
pub fn id_of(writer: u64, number: u64) -> String {
    format!("{writer}-{number}")
}

/// Whether the messages of each of so many writers come in the order in which it sent them.
///
/// # Errors
/// Where they do not.
pub fn check_writers(read: &[Read], writers: u64) -> Result<()> {
    for writer in 0..writers {
        let own = format!("{writer}-");
        let read = read.iter().filter(|read| read.id.starts_with(&own));
        for (number, read) in (0..).zip(read) {
            ensure!(
                read.id == id_of(writer, number),
                "{read:?} is its message number {number}"
            );
        }
    }
    Ok(())
}
