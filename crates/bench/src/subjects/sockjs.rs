//! SockJS 0.3: a WebSocket, streaming by XHR, and polling by XHR. A session ends with its connection: who is cut
//! begins another one.

use std::ops::ControlFlow;

use anyhow::{Result, bail, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use super::lines;
use crate::drafts::{Draft, Drafts};
use crate::http::Connection;
use crate::peers;
use crate::publishing;
use crate::run::Inbox;
use crate::socket::{Answers, Socket};
use crate::subject::{Delivery, Maker, Store, Subject, Target};

pub(crate) const WEBSOCKET: Subject = Subject {
    name: "sockjs websocket",
    maker: Maker::Node,
    store: Store::Own,
    delivery: Delivery::Socket,
    beside: Some("witter websocket"),
    start: |setup| peers::node(setup, "sockjs.mjs", &[]),
    publish,
    read: |target, inbox| Box::pin(websocket(target, inbox)),
};

pub(crate) const XHR_STREAMING: Subject = Subject {
    name: "sockjs xhr-streaming",
    delivery: Delivery::Stream,
    beside: Some("witter xhr-streaming"),
    read: |target, inbox| Box::pin(xhr_streaming(target, inbox)),
    ..WEBSOCKET
};

pub(crate) const XHR_POLLING: Subject = Subject {
    name: "sockjs xhr-polling",
    delivery: Delivery::Held,
    beside: Some("witter long-polling"),
    read: |target, inbox| Box::pin(xhr_polling(target, inbox)),
    ..WEBSOCKET
};

fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let open = async || {
            let path = session("publish", "websocket");
            let mut socket = Socket::open_path(target.address, &path).await?;
            while socket.next().await? != b"o" {}
            Ok(socket)
        };
        // A message is a string in an array.
        let write = |draft: &Draft| Ok(serde_json::to_string(&[draft.message()])?);
        let accepts =
            |frame: &[u8], draft: &Draft, _: &mut Answers| Ok(Ok(draft.is_named_in(frame)));
        publishing::by_socket(drafts, open, write, accepts).await
    }
    .boxed_local()
}

/// The path of a new session: a server's number, which means nothing to one server, and an id.
fn session(prefix: &str, transport: &str) -> String {
    format!("/{prefix}/000/{:016x}/{transport}", fastrand::u64(..))
}

async fn websocket(target: Target, inbox: Inbox) -> Result<()> {
    let mut socket = Socket::open_path(target.address, &session("read", "websocket")).await?;
    socket
        .each(|frame, _| match take(frame, &inbox) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(reason) => bail!("the session ended: {reason}"),
        })
        .await
}

/// A response ends in order before the reader keeps too much of it; the session goes on in the next.
async fn xhr_streaming(target: Target, inbox: Inbox) -> Result<()> {
    let request = post(&session("read", "xhr_streaming"));
    loop {
        let mut end = ControlFlow::Continue(());
        lines::each(&target, &request, |line| {
            if end.is_continue() {
                end = take(line, &inbox);
            }
        })
        .await?;
        if let ControlFlow::Break(reason) = end {
            bail!("the session ended: {reason}");
        }
    }
}

async fn xhr_polling(target: Target, inbox: Inbox) -> Result<()> {
    let request = post(&session("read", "xhr"));
    let mut connection = Connection::open(target.address).await?;
    let mut body = Vec::new();
    loop {
        let status = connection.request(&request).await?;
        connection.rest(&mut body).await?;
        ensure!(status == 200, "status {status}");
        if let ControlFlow::Break(reason) = take(body.trim_ascii_end(), &inbox) {
            bail!("the session ended: {reason}");
        }
    }
}

fn post(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

/// Takes what a frame brings; the reason, where it is the end.
fn take(frame: &[u8], inbox: &Inbox) -> ControlFlow<String> {
    match frame.first() {
        Some(b'o') => inbox.set_ready(),
        Some(b'a') => inbox.receive(frame),
        // A heartbeat, or what a stream begins with.
        Some(b'h') | None => {}
        _ => return ControlFlow::Break(String::from_utf8_lossy(frame).into_owned()),
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[test]
    fn frames_are_told_by_their_first_letter() {
        let run = Run::new(1, 1);
        let prelude = "h".repeat(2048);
        let messages = r#"a["{\"id\":\"1\",\"body\":\"^0.0.5^\"}","{\"body\":\"^0.1.6^\"}"]"#;
        for (frame, ready, deliveries) in [
            (&*prelude, 0, 0),
            ("o", 1, 0),
            ("h", 1, 0),
            (messages, 1, 2),
            ("", 1, 2),
        ] {
            assert!(take(frame.as_bytes(), &run.inbox(0)).is_continue());
            assert_eq!((run.ready(), run.deliveries()), (ready, deliveries));
        }
        let end = r#"c[3000,"Go away!"]"#;
        assert_eq!(
            take(end.as_bytes(), &run.inbox(0)),
            ControlFlow::Break(end.to_owned())
        );
    }

    #[test]
    fn each_session_has_a_path_of_its_own() {
        let (one, other) = (session("read", "xhr"), session("read", "xhr"));
        assert_ne!(one, other);
        let parts: Vec<_> = one.split('/').collect();
        assert_eq!((parts[1], parts[2], parts[4]), ("read", "000", "xhr"));
    }
}
