//! A WebSocket.

use anyhow::{Result, anyhow, bail};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde::Deserialize;

use super::frames;
use crate::drafts::{Draft, Drafts};
use crate::publishing;
use crate::run::Inbox;
use crate::socket::{Answers, Socket};
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
    reference: Option<&'a str>,
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
        let write = |Draft { id, body, .. }: &Draft| {
            let channel = &target.channel;
            Ok(format!(
                r#"{{"ref":"{id}","publish":{{"channel":"{channel}","id":"{id}","body":{body}}}}}"#
            ))
        };
        publishing::by_socket(drafts, open, write, accepts).await
    }
    .boxed_local()
}

/// Whether a message says that the draft is stored.
fn accepts(message: &[u8], draft: &Draft, _: &mut Answers) -> Result<Result<bool>> {
    match serde_json::from_slice(message)? {
        Answer {
            error: Some(code @ ("unavailable" | "rate-limited")),
            ..
        } => Ok(Err(anyhow!("{code}"))),
        Answer {
            error: Some(code), ..
        } => bail!("a publish was refused: {code}"),
        Answer {
            end: Some(reason), ..
        } => Ok(Err(anyhow!("the socket ended: {reason}"))),
        Answer { reference, .. } => Ok(Ok(reference == Some(&draft.id))),
    }
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
