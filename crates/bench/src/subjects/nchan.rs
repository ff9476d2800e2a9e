//! Nchan in nginx, read as its own client reads it, NchanSubscriber.js: a message's id is the place to go on from.

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use memchr::memmem;

use super::lines;
use super::sse::Event;
use crate::drafts::{Draft, Drafts};
use crate::http::Connection;
use crate::peers;
use crate::publishing;
use crate::run::Inbox;
use crate::socket::{Socket, UPGRADE};
use crate::subject::{Delivery, Maker, Setup, Started, Store, Subject, Target};

pub(crate) const WEBSOCKET: Subject = Subject {
    name: "nchan websocket",
    maker: Maker::Nginx,
    store: Store::Own,
    delivery: Delivery::Socket,
    beside: Some("witter websocket"),
    start,
    publish,
    read: |target, inbox| Box::pin(websocket(target, inbox)),
};

pub(crate) const EVENTSOURCE: Subject = Subject {
    name: "nchan eventsource",
    delivery: Delivery::Stream,
    beside: Some("witter sse"),
    read: |target, inbox| Box::pin(eventsource(target, inbox)),
    ..WEBSOCKET
};

pub(crate) const LONGPOLL: Subject = Subject {
    name: "nchan longpoll",
    delivery: Delivery::Held,
    beside: Some("witter long-polling"),
    read: |target, inbox| Box::pin(longpoll(target, inbox)),
    ..WEBSOCKET
};

/// A channel with one message: whoever reads it has a place to go on from.
fn start(setup: Setup<'_>) -> Started<'_> {
    async move {
        let (server, target) = peers::nginx(setup).await?;
        let mut connection = Connection::open(target.address).await?;
        store(&mut connection, &post("first")).await??;
        Ok((server, target))
    }
    .boxed_local()
}

fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let open = async || Ok(Connection::open(target.address).await?);
        let store = async |connection: &mut Connection, draft: &Draft| {
            store(connection, &post(&draft.message())).await
        };
        publishing::one_by_one(drafts, open, store).await
    }
    .boxed_local()
}

async fn store(connection: &mut Connection, request: &[u8]) -> Result<Result<()>> {
    let exchange = async {
        let status = connection.request(request).await?;
        connection.rest(&mut Vec::new()).await?;
        Ok(status)
    };
    match exchange.await {
        // There are readers, or there are none yet.
        Ok(201 | 202) => Ok(Ok(())),
        Ok(status) => bail!("a publish was refused: {status}"),
        Err(error) => Ok(Err(error)),
    }
}

fn post(body: &str) -> Vec<u8> {
    format!(
        "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn websocket(target: Target, inbox: Inbox) -> Result<()> {
    let cursor = inbox.cursor();
    let query = if cursor.is_empty() {
        String::new()
    } else {
        format!("?last_event_id={}", cursor.replace(':', "%3A"))
    };
    let request = format!(
        "GET /read{query} HTTP/1.1\r\nhost: localhost\r\n{UPGRADE}\
         sec-websocket-protocol: ws+meta.nchan\r\n\r\n"
    );
    let mut socket = Socket::open(target.address, request.as_bytes()).await?;
    socket.each(|message, _| take(message, &inbox)).await
}

/// A message with its headers before it, as the subprotocol `ws+meta.nchan` has it.
fn take(message: &[u8], inbox: &Inbox) -> Result<()> {
    let end = memmem::find(message, b"\n\n").context("a message without its id")?;
    let (head, body) = message.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let id = lines
        .find_map(|line| line.strip_prefix(b"id: "))
        .context("a message without its id")?;
    inbox.receive(body);
    inbox.set_cursor(id);
    Ok(())
}

async fn eventsource(target: Target, inbox: Inbox) -> Result<()> {
    let cursor = inbox.cursor();
    let last = if cursor.is_empty() {
        String::new()
    } else {
        format!("last-event-id: {cursor}\r\n")
    };
    let request =
        format!("GET /read HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{last}\r\n");
    let mut event = Event::default();
    lines::each(&target, request.as_bytes(), |line| {
        event.take(line, &inbox);
    })
    .await?;
    bail!("the stream ended")
}

async fn longpoll(target: Target, inbox: Inbox) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let mut body = Vec::new();
    loop {
        let cursor = inbox.cursor();
        let conditions = match cursor.split_once('\n') {
            Some((modified, tag)) => {
                format!("if-modified-since: {modified}\r\nif-none-match: {tag}\r\n")
            }
            None => String::new(),
        };
        let request = format!("GET /read HTTP/1.1\r\nhost: localhost\r\n{conditions}\r\n");
        let mut next = None;
        let status = connection
            .request_fields(request.as_bytes(), |fields| next = place(fields))
            .await?;
        connection.rest(&mut body).await?;
        match status {
            200 => {
                inbox.receive(&body);
                inbox.set_cursor(next.context("a message without its place")?.as_bytes());
            }
            // It was held as long as it may be.
            304 | 408 => {}
            _ => ensure!(false, "status {status}"),
        }
    }
}

/// The place behind a polled message: when it was published, and its how-manyth of that second.
fn place(fields: &[httparse::Header<'_>]) -> Option<String> {
    let field = |name: &str| {
        let field = fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok()
    };
    Some(format!("{}\n{}", field("last-modified")?, field("etag")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[test]
    fn a_message_gives_its_stamp_and_its_id() {
        let run = Run::new(1, 1);
        let message = b"id: 1795708272:3\ncontent-type: application/json\n\n{\"body\":\"^0.0.5^\"}";
        take(message, &run.inbox(0)).expect("it is well formed");
        assert_eq!(
            (run.deliveries(), run.inbox(0).cursor()),
            (1, "1795708272:3".to_owned())
        );
        for message in [&b""[..], b"^0.0.5^", b"content-type: x\n\n^0.0.5^"] {
            assert!(take(message, &run.inbox(0)).is_err());
        }
        assert_eq!(run.deliveries(), 1, "what has no place is not taken");
    }

    #[test]
    fn the_place_is_in_two_fields() {
        let field = |name, value: &'static str| httparse::Header {
            name,
            value: value.as_bytes(),
        };
        let (modified, tag) = (
            field("Last-Modified", "Thu, 26 Nov 2026 15:51:12 GMT"),
            field("ETag", "7"),
        );
        let expected = Some("Thu, 26 Nov 2026 15:51:12 GMT\n7".to_owned());
        assert_eq!(place(&[modified, tag]), expected);
        assert_eq!(place(&[modified]), None);
    }
}
