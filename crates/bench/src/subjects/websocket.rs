//! A WebSocket.

use anyhow::{Result, anyhow, bail};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde::Deserialize;

use super::frames;
use crate::drafts::{Draft, Drafts};
use crate::publishing;
use crate::run::Inbox;
use crate::socket::Socket;
use crate::subject::{Delivery, Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    publish,
    ..witter::subject("witter websocket", Delivery::Socket, |target, inbox| {
        Box::pin(read(target, inbox))
    })
};

/// What a publisher is told; frames that answer nothing have none of it.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "ref")]
    reference: Option<u64>,
    error: Option<&'a str>,
    end: Option<&'a str>,
}

fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        // A socket is opened to read: publishers read where nothing is said.
        let quiet = Target {
            channel: "quiet".into(),
            ..target.clone()
        };
        let request = witter::upgrade("websocket", "", &quiet);
        let open = async || Socket::upgrade(target.connect().await?, &request).await;
        let store = async |socket: &mut Socket, draft: &Draft| {
            let question = format!(
                r#"{{"ref":1,"publish":{{"channel":"{}","id":"{}","body":{}}}}}"#,
                target.channel, draft.id, draft.body
            );
            if let Err(error) = socket.send(&question).await {
                return Ok(Err(error));
            }
            loop {
                let message = match socket.next().await {
                    Ok(message) => message,
                    Err(error) => return Ok(Err(error)),
                };
                match serde_json::from_slice(&message)? {
                    Answer {
                        error: Some(code @ ("unavailable" | "rate-limited")),
                        ..
                    } => return Ok(Err(anyhow!("{code}"))),
                    Answer {
                        error: Some(code), ..
                    } => bail!("a publish was refused: {code}"),
                    Answer {
                        end: Some(reason), ..
                    } => return Ok(Err(anyhow!("the socket ended: {reason}"))),
                    Answer {
                        reference: Some(_), ..
                    } => return Ok(Ok(())),
                    Answer { .. } => {}
                }
            }
        };
        publishing::publish(drafts, open, store).await
    }
    .boxed_local()
}

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
