//! A WebSocket.

use anyhow::{Result, bail};

use super::frames;
use crate::run::Inbox;
use crate::socket::Socket;
use crate::subject::{Delivery, Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter websocket", Delivery::Socket, |target, inbox| {
        Box::pin(read(target, inbox))
    });

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let request = witter::upgrade("websocket", &inbox.after(), &target);
    let mut socket = Socket::upgrade(target.connect().await?, &request).await?;
    socket
        .each(|message, _| match frames::take(message, &inbox) {
            Some(reason) => bail!("the stream ended: {reason}"),
            None => Ok(()),
        })
        .await
}
