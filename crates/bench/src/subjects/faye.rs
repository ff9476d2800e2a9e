//! Faye 1.4: Bayeux by a WebSocket. A client that was cut goes on with its id, as Faye's own does, as long as the
//! server knows it.

use anyhow::{Context as _, Result, anyhow};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use memchr::{memchr, memmem};

use crate::drafts::{Draft, Drafts};
use crate::peers;
use crate::publishing::{self, Pending};
use crate::run::Inbox;
use crate::socket::{Answers, Socket};
use crate::subject::{CHANNEL, Delivery, Maker, Store, Subject, Target};

pub(crate) const SUBJECT: Subject = Subject {
    name: "faye websocket",
    maker: Maker::Node,
    store: Store::Own,
    delivery: Delivery::Socket,
    beside: Some("witter websocket"),
    start: |setup| peers::node(setup, "faye.mjs", &[]),
    publish,
    read: |target, inbox| Box::pin(read(target, inbox)),
};

const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["websocket"],"id":"1"}]"#;

fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let open = async || {
            let mut socket = Socket::open_path(target.address, "/faye").await?;
            socket.send(HANDSHAKE).await?;
            let answer = socket.next().await?;
            let client = client(&answer).context("a client without its id")?;
            Ok((socket, client))
        };
        let accepts = |answer: &[u8], draft: &Draft, _: &mut Answers| {
            if !draft.is_named_in(answer) {
                return Ok(Ok(false));
            }
            Ok(match memmem::find(answer, br#""successful":false"#) {
                None => Ok(true),
                Some(_) => Err(anyhow!("{}", String::from_utf8_lossy(answer))),
            })
        };
        let store = async |(socket, client): &mut (Socket, String), pending: &Pending| {
            let write = |draft: &Draft| {
                let (id, message) = (&draft.id, draft.message());
                Ok(format!(
                    r#"[{{"channel":"/{CHANNEL}","clientId":"{client}","id":"{id}","data":{message}}}]"#
                ))
            };
            socket.publish(pending, write, accepts).await
        };
        publishing::publish(drafts, open, store).await
    }
    .boxed_local()
}

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let mut socket = Socket::open_path(target.address, "/faye").await?;
    let known = inbox.cursor();
    if known.is_empty() {
        socket.send(HANDSHAKE).await?;
    } else {
        socket.send(&connect(&known)).await?;
    }
    let mut shaken = known;
    socket
        .each(|messages, answers| {
            match take(messages, &inbox) {
                Step::Subscribe(client) => {
                    answers.say(&format!(
                        r#"[{{"channel":"/meta/subscribe","clientId":"{client}","subscription":"/{CHANNEL}","id":"2"}}]"#
                    ));
                    shaken = client;
                }
                Step::Subscribed => {
                    inbox.set_cursor(shaken.as_bytes());
                    answers.say(&connect(&shaken));
                }
                Step::Connect => answers.say(&connect(&shaken)),
                Step::Handshake => answers.say(HANDSHAKE),
                Step::None => {}
            }
            Ok(())
        })
        .await
}

/// What a client does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It has this id.
    Subscribe(String),
    Subscribed,
    /// The held connect was answered.
    Connect,
    /// The server does not know it.
    Handshake,
    None,
}

/// Takes the messages in an array, and says what its own messages, if there are any, ask for.
fn take(messages: &[u8], inbox: &Inbox) -> Step {
    inbox.receive(messages);
    let has = |text: &[u8]| memmem::find(messages, text).is_some();
    if !has(br#""channel":"/meta/"#) {
        Step::None
    } else if has(br#""channel":"/meta/handshake""#) {
        client(messages).map_or(Step::Handshake, Step::Subscribe)
    } else if has(br#""reconnect":"handshake""#) {
        Step::Handshake
    } else if has(br#""channel":"/meta/subscribe""#) {
        Step::Subscribed
    } else {
        Step::Connect
    }
}

fn connect(client: &str) -> String {
    format!(
        r#"[{{"channel":"/meta/connect","clientId":"{client}","connectionType":"websocket","id":"3"}}]"#
    )
}

fn client(messages: &[u8]) -> Option<String> {
    const NAME: &[u8] = br#""clientId":""#;
    let value = &messages[memmem::find(messages, NAME)? + NAME.len()..];
    Some(String::from_utf8_lossy(&value[..memchr(b'"', value)?]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[test]
    fn each_answer_asks_for_the_next_step() {
        let run = Run::new(1, 1);
        for (messages, step, deliveries) in [
            (
                r#"[{"id":"1","channel":"/meta/handshake","successful":true,"clientId":"c7","advice":{"reconnect":"retry"}}]"#,
                Step::Subscribe("c7".to_owned()),
                0,
            ),
            (
                r#"[{"id":"2","clientId":"c7","channel":"/meta/subscribe","successful":true}]"#,
                Step::Subscribed,
                0,
            ),
            (
                r#"[{"channel":"/bench","data":{"body":"^0.0.5^"}}]"#,
                Step::None,
                1,
            ),
            (
                r#"[{"id":"3","channel":"/meta/connect","successful":true,"advice":{"reconnect":"retry"}},{"channel":"/bench","data":{"body":"^0.1.5^"}}]"#,
                Step::Connect,
                2,
            ),
            (
                r#"[{"id":"3","channel":"/meta/connect","successful":false,"advice":{"reconnect":"handshake"}}]"#,
                Step::Handshake,
                2,
            ),
        ] {
            assert_eq!(take(messages.as_bytes(), &run.inbox(0)), step, "{messages}");
            assert_eq!(run.deliveries(), deliveries, "{messages}");
        }
    }
}
